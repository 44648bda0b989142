//! `GET /metrics`: what the server counts, in OpenMetrics.
//!
//! It tells names of clients and how much they do, so it is where the admin API is, and takes an admin key with the role
//! `read`, unless `metrics.public` says that nobody else gets there.

use std::future::{Ready, ready};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use actix_web::dev::Payload;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use m2mint_keys::crypto::BACKEND;

use crate::background;
use crate::connections::Count;
use crate::http::State;
use crate::http::admin::admin;
use crate::http::error::AdminError;
use crate::http::exchange::Exchanges;
use crate::http::health::Parts;
use crate::metrics::endpoint::{Endpoint, Outcome};
use crate::metrics::text::{Format, Kind, Text};
use crate::metrics::tokens::OTHER;
use crate::metrics::{DOORS, REASONS};
use crate::rotation::standing::{STATES, Trouble};
use crate::store::schema::SCHEMA;

/// Proof that somebody may read metrics.
pub struct Watcher;

impl FromRequest for Watcher {
    type Error = AdminError;
    type Future = Ready<Result<Self, AdminError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let is_public = request.app_data::<Data<State>>().is_some_and(|state| state.metrics_public);
        ready(if is_public { Ok(Self) } else { admin(request).map(|_| Self) })
    }
}

/// Handles the request.
///
/// # Errors
/// When the server is stopping.
pub async fn get(
    _: Watcher,
    request: HttpRequest,
    state: Data<State>,
    exchanges: Data<Exchanges>,
) -> Result<HttpResponse, AdminError> {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    // It takes milliseconds where there are many clients, and looks at the file system.
    let written = background::run(move || write(&state, &exchanges, format)).await;
    let written = written.map_err(|_| AdminError::Unavailable("the server is stopping".into()))?;
    let response = HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(written);
    Ok(response)
}

fn write(state: &State, exchanges: &Exchanges, format: Format) -> String {
    let mut text = Text::new(format);
    about_the_program(&mut text, state);
    about_requests(&mut text, state, exchanges);
    about_tokens(&mut text, state);
    about_secrets(&mut text, state);
    about_keys(&mut text, state);
    about_the_database(&mut text, state);
    about_backups(&mut text, state);
    about_connections(&mut text, &state.connections.count());
    about_the_process(&mut text);
    text.end()
}

fn about_the_program(text: &mut Text, state: &State) {
    let schema = SCHEMA.to_string();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("backend", BACKEND), ("schema", &schema)];
    text.family("m2mint_build", Kind::Info, "Which program this is.").sample(&labels, 1);
    text.family("m2mint_ready", Kind::Gauge, "Whether a part does what it is there for (/health/ready).");
    for (part, is_ready) in Parts::of(state).each() {
        text.sample(&[("part", part)], u8::from(is_ready));
    }
    let (ahead, back) = state.keeper.clock_jumps();
    text.family(
        "m2mint_clock_jumps",
        Kind::Counter,
        "How often the wall clock was set, by more than 2 seconds.",
    )
    .sample(&[("direction", "ahead")], ahead)
    .sample(&[("direction", "back")], back);
}

fn about_requests(text: &mut Text, state: &State, exchanges: &Exchanges) {
    let metrics = &state.metrics;
    // What was never asked for has no series, except for what everybody graphs.
    let is_told = |endpoint: &Endpoint| {
        matches!(endpoint, Endpoint::Token | Endpoint::Jwks)
            || metrics.latencies(*endpoint).is_some_and(|latencies| latencies.read().count > 0)
    };
    let told: Vec<Endpoint> = Endpoint::ALL.into_iter().filter(is_told).collect();
    text.family("m2mint_requests", Kind::Counter, "Requests, by what was asked for and how that ended.");
    for endpoint in &told {
        for outcome in Outcome::ALL {
            let labels = [("endpoint", endpoint.name()), ("outcome", outcome.name())];
            text.sample(&labels, metrics.requests(*endpoint, outcome));
        }
    }
    let help = "How long requests took, from the end of their head to the answer.";
    text.family("m2mint_request_duration_seconds", Kind::Histogram, help);
    for endpoint in &told {
        if let Some(latencies) = metrics.latencies(*endpoint) {
            text.histogram(&[("endpoint", endpoint.name())], &latencies.read());
        }
    }
    text.family("m2mint_requests_under_way", Kind::Gauge, "Requests that are being handled.")
        .sample(&[], exchanges.count().0);
    let help = "Who was not let in, by door and whether it was tried at all.";
    text.family("m2mint_authentications_refused", Kind::Counter, help);
    for (door, door_name) in DOORS {
        for (why, reason) in REASONS {
            text.sample(&[("door", door_name), ("reason", reason)], metrics.refused(door, why));
        }
    }
}

fn about_tokens(text: &mut Text, state: &State) {
    let told = state.issuer.tokens().tell(Instant::now());
    let help = "Tokens issued, by client and audience; the less busy ones together as other.";
    text.family("m2mint_tokens_issued", Kind::Counter, help);
    for (client, audience, count) in &told.named {
        text.sample(&[("client", client), ("audience", audience)], count);
    }
    text.sample(&[("client", OTHER), ("audience", OTHER)], told.other);
    text.family("m2mint_clients", Kind::Gauge, "Clients that there are.")
        .sample(&[], state.directory.count());
}

fn about_secrets(text: &mut Text, state: &State) {
    let (retiring, now) = (state.directory.retiring(), state.clock.wall());
    let help = "Uses of secrets that will soon not be accepted any more, looked at once a minute for each.";
    text.family("m2mint_retiring_secret_uses", Kind::Counter, help).sample(&[], retiring.uses());
    let still_used = retiring.still_used(state.issuer.tokens().most(), now);
    let ids: Vec<_> = still_used.iter().map(|one| one.secret.to_string()).collect();
    let help = "Until a secret that was used within a day stops being accepted; the first to end.";
    text.family("m2mint_retiring_secret_end_seconds", Kind::Gauge, help);
    for (one, id) in still_used.iter().zip(&ids) {
        let labels = [("client", one.client.as_str()), ("secret", id.as_str())];
        text.sample(&labels, seconds(one.ends_at.millis_since(now)));
    }
    let help = "From how many addresses it was used within a day.";
    text.family("m2mint_retiring_secret_addresses", Kind::Gauge, help);
    for (one, id) in still_used.iter().zip(&ids) {
        text.sample(&[("client", one.client.as_str()), ("secret", id.as_str())], one.addresses);
    }
}

fn about_keys(text: &mut Text, state: &State) {
    let standing = state.keeper.standing();
    text.family("m2mint_keys", Kind::Gauge, "Signing keys, by algorithm and state.");
    for ring in &standing.rings {
        for (key_state, count) in STATES.iter().zip(ring.keys) {
            text.sample(&[("alg", ring.algorithm.name()), ("state", key_state.name())], count);
        }
    }
    let help = "Whether a rotation was asked for and waits.";
    text.family("m2mint_rotation_queued", Kind::Gauge, help);
    for ring in &standing.rings {
        text.sample(&[("alg", ring.algorithm.name())], u8::from(ring.is_queued));
    }
    let help = "Until the standby signs; nothing where only a signal rotates.";
    text.family("m2mint_rotation_next_seconds", Kind::Gauge, help);
    for ring in &standing.rings {
        if let Some(wait) = ring.promotion_in {
            text.sample(&[("alg", ring.algorithm.name())], seconds(wait));
        }
    }
    let help = "Until the next retired or revoked key is deleted; nothing where there is none.";
    text.family("m2mint_key_deletion_next_seconds", Kind::Gauge, help);
    for ring in &standing.rings {
        if let Some(wait) = ring.deletion_in {
            text.sample(&[("alg", ring.algorithm.name())], seconds(wait));
        }
    }
    let help = "Verifiers that are known to fetch the key set, by whether they have the standby.";
    text.family("m2mint_verifiers", Kind::Gauge, help);
    for ring in &standing.rings {
        let (having, lacking) = ring.verifiers;
        text.sample(&[("alg", ring.algorithm.name()), ("standby", "held")], having);
        text.sample(&[("alg", ring.algorithm.name()), ("standby", "lacking")], lacking);
    }
    text.family(
        "m2mint_keys_held_up",
        Kind::Gauge,
        "Whether keys cannot be kept up to date, by what is in the way.",
    );
    for (trouble, cause) in
        [(Trouble::Database, "database"), (Trouble::MasterKey, "master_key"), (Trouble::Keys, "keys")]
    {
        text.sample(&[("cause", cause)], u8::from(standing.trouble == Some(trouble)));
    }
}

fn about_the_database(text: &mut Text, state: &State) {
    let help = "How long the disk took for a commit.";
    text.family("m2mint_database_commit_duration_seconds", Kind::Histogram, help)
        .histogram(&[], &state.store.commits().read());
    let (file, log) = state.store.sizes();
    text.family("m2mint_database_file_bytes", Kind::Gauge, "Size of the database file.").sample(&[], file);
    text.family("m2mint_database_wal_bytes", Kind::Gauge, "Size of its write-ahead log.").sample(&[], log);
}

/// Of a server that has never made one, and found none, only the counters are told.
fn about_backups(text: &mut Text, state: &State) {
    let (made, failed) = state.backups.counts();
    let help = "Backups that the server made by itself (backup.every), by how that ended.";
    text.family("m2mint_backups", Kind::Counter, help)
        .sample(&[("outcome", "made")], made)
        .sample(&[("outcome", "failed")], failed);
    if let Some((at, bytes)) = state.backups.newest() {
        let since = state.clock.wall().millis_since(at);
        text.family("m2mint_backup_age_seconds", Kind::Gauge, "Since the newest of them was made.")
            .sample(&[], seconds(since));
        text.family("m2mint_backup_bytes", Kind::Gauge, "Size of the newest of them.").sample(&[], bytes);
    }
}

fn about_connections(text: &mut Text, count: &Count) {
    let Count { open, most, welcomed, made_room, refused } = count;
    text.family("m2mint_connections_open", Kind::Gauge, "Connections that there are.").sample(&[], open);
    text.family("m2mint_connections_limit", Kind::Gauge, "Connections that there may be.").sample(&[], most);
    text.family("m2mint_connections", Kind::Counter, "Connections that ever came.").sample(&[], welcomed);
    let help = "Idle connections that were ended to make room.";
    text.family("m2mint_connections_ended", Kind::Counter, help).sample(&[], made_room);
    let help = "Connections for which there was no room.";
    text.family("m2mint_connections_refused", Kind::Counter, help).sample(&[], refused);
}

/// Under the names that every process has in Prometheus.
fn about_the_process(text: &mut Text) {
    text.family("process_start_time_seconds", Kind::Gauge, "When the process began, in seconds since 1970.")
        .sample(&[], *STARTED);
    if let Some(resident) = resident_bytes() {
        text.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory.").sample(&[], resident);
    }
}

static STARTED: LazyLock<f64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));

/// Notes when the process began.
pub fn note_start() {
    LazyLock::force(&STARTED);
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Milliseconds of a wait, in seconds.
fn seconds(millis: i64) -> f64 {
    std::time::Duration::from_millis(millis.max(0).unsigned_abs()).as_secs_f64()
}
