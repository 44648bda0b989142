//! `m2mint keys [list]|rotate|revoke`
//!
//! Keys are changed by the server alone. These verbs leave it a request in the file and wait for the outcome; without a
//! server, the request is met when the next one starts.

use std::time::{Duration, Instant};

use clap::Subcommand;
use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRecord, KeyRing, Outlook, Policy, State};
use m2mint_keys::time::{Moment, UnixTime, millis};
use serde_json::{Value, json};

use crate::cli::output::{self, CliError, Result, date};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::model::Span;
use crate::rotation::RotationError;
use crate::rotation::keeper::in_words;
use crate::store::keys::KeyRequest;
use crate::store::{Claim, OpenError, Store, keys};

/// How long to wait for the server to meet a request.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// What to do with the signing keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show every key, its state, and the next transition
    List,
    /// Let the standby sign from now on, or as soon as every verifier can know it
    Rotate,
    /// Take a key out of the JWKS at once: its tokens are refused from now on
    Revoke {
        /// Key id, as `m2mint keys` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When there is no such key, or the file cannot be used.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    // Closed again before the store opens the file: closing any descriptor of it would drop SQLite's locks.
    let served = match Claim::look(&config.database) {
        Ok(_) => false,
        Err(OpenError::Claimed { .. }) => true,
        Err(_) => return Err(OpenError::Missing { path: config.database.clone() }.into()),
    };
    let store = Store::open(&config.database, None)?;
    match action {
        Action::List => {
            let view = View::read(&store, config.rotation)?;
            if as_json { output::json(&view.to_json()) } else { view.print() }
        }
        Action::Rotate => rotate(&store, served, config.rotation, as_json),
        Action::Revoke { kid, yes } => revoke(&store, served, config.rotation, kid, *yes, as_json),
    }
}

fn rotate(store: &Store, served: bool, policy: Policy, as_json: bool) -> Result {
    let before = View::read(store, policy)?.signing();
    ask(store, served, &KeyRequest::Rotate)?;
    // The request is durable; a rotation that is due follows at once.
    let given_up = Instant::now() + PATIENCE;
    let mut after = View::read(store, policy)?;
    while served && after.is_due() && after.signing() == before && Instant::now() < given_up {
        std::thread::sleep(LOOK);
        after = View::read(store, policy)?;
    }
    if as_json {
        return output::json(&after.to_json());
    }
    if !served {
        output::line("no server is running: the rotation will be looked at when it starts");
    } else if after.signing() == before {
        output::line(&format!("queued: {}", after.next()));
    } else {
        output::line(&format!("rotated: {} signs from now on", after.signing().unwrap_or_default()));
    }
    Ok(())
}

fn revoke(store: &Store, served: bool, policy: Policy, kid: &str, yes: bool, as_json: bool) -> Result {
    let view = View::read(store, policy)?;
    let record = Kid::parse(kid).and_then(|kid| view.ring.get(&kid).cloned());
    let record = record
        .ok_or_else(|| CliError::Refused(format!("there is no key {kid}; `m2mint keys` shows them all")))?;
    let effect = match record.state() {
        State::Revoked => return Err(CliError::Refused(format!("the key {kid} is revoked already"))),
        State::Active => {
            "It signs now: the standby takes over at once, and every token that it signed is refused."
        }
        State::Retired => "Every token that it signed is refused.",
        State::Standby => "It has signed nothing; another standby takes its place.",
    };
    output::confirm(&format!("Revoke {kid}? {effect}"), yes)?;
    ask(store, served, &KeyRequest::Revoke(record.kid.clone()))?;
    let view = View::read(store, policy)?;
    if as_json {
        return output::json(&view.to_json());
    }
    match view.ring.get(&record.kid).map(KeyRecord::state) {
        Some(State::Revoked) | None => {
            output::line(&format!(
                "revoked: {kid}\n{} signs from now on",
                view.signing().unwrap_or_default()
            ));
        }
        Some(_) => output::line("no server is running: the key will be revoked before the next one serves"),
    }
    Ok(())
}

fn ask(store: &Store, served: bool, request: &KeyRequest) -> Result {
    let now = Clock::system().wall();
    store.write(|db| keys::ask(db, request, now))?;
    let given_up = Instant::now() + PATIENCE;
    while served && !store.read(keys::requests)?.is_empty() {
        if Instant::now() > given_up {
            return Err(CliError::Failed(
                "the server has not met the request yet; see `m2mint keys` and its log".into(),
            ));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The ring as people see it.
struct View {
    ring: KeyRing,
    policy: Policy,
    now: Moment,
    outlook: Outlook,
}

impl View {
    fn read(store: &Store, policy: Policy) -> Result<Self> {
        let (ring, issuer) = store.read(|db| Ok((keys::ring(db)?, keys::issuer(db)?)))?;
        let (Some(ring), Some(issuer)) = (ring, issuer) else { return Err(RotationError::NoKeys.into()) };
        let mut clock = issuer.clock;
        clock.observe(Clock::system().read());
        let now = clock.moment();
        let outlook = ring.outlook(&policy, now, issuer.rotation_asked.is_some());
        Ok(Self { ring, policy, now, outlook })
    }

    fn signing(&self) -> Option<String> {
        self.ring.active().map(|key| key.kid.to_string())
    }

    fn is_due(&self) -> bool {
        self.outlook.hold.is_none() && self.outlook.promotion_in == Some(0)
    }

    fn in_millis(&self, wait: i64) -> UnixTime {
        UnixTime::from_millis(self.now.wall.millis().saturating_add(wait))
    }

    /// When the state began.
    fn since(key: &KeyRecord) -> UnixTime {
        let began = match key.state() {
            State::Standby => key.published,
            State::Active => key.promoted,
            State::Retired => key.retired,
            State::Revoked => key.revoked,
        };
        began.map_or(key.created, |moment| moment.wall)
    }

    /// Until when the key signs, as far as can be told.
    fn signs_until(&self, key: &KeyRecord) -> Option<UnixTime> {
        match key.state() {
            State::Active => self.outlook.promotion_in.map(|wait| self.in_millis(wait)),
            State::Retired | State::Revoked => {
                key.retired.or(key.revoked).filter(|_| key.promoted.is_some()).map(|m| m.wall)
            }
            State::Standby => None,
        }
    }

    /// Until when the key is published, as far as can be told.
    fn published_until(&self, key: &KeyRecord) -> Option<UnixTime> {
        let kept = millis(key.longest_lifetime).saturating_add(millis(self.policy.clock_skew));
        match key.state() {
            State::Standby => None,
            State::Active => self.outlook.promotion_in.map(|wait| self.in_millis(wait.saturating_add(kept))),
            State::Retired => {
                self.ring.deletion_in(&key.kid, &self.policy, self.now).map(|wait| self.in_millis(wait))
            }
            State::Revoked => key.revoked.map(|moment| moment.wall),
        }
    }

    fn next(&self) -> String {
        match (self.outlook.promotion_in, self.outlook.hold) {
            (None, _) => "the next rotation comes on a signal or by `m2mint keys rotate`".into(),
            (Some(_), None) => "the next rotation is due now".into(),
            (Some(wait), Some(hold)) => {
                format!(
                    "the next rotation comes in {} ({}): {}",
                    in_words(Some(wait)),
                    date(self.in_millis(wait)),
                    hold.reason()
                )
            }
        }
    }

    fn print(&self) -> Result {
        let when = |time: Option<UnixTime>| time.map_or_else(|| "-".to_owned(), date);
        let row = |key: &KeyRecord| {
            vec![
                key.kid.to_string(),
                key.state().name().to_owned(),
                date(Self::since(key)),
                when(self.signs_until(key)),
                when(self.published_until(key)),
                Span(key.longest_lifetime).to_string(),
            ]
        };
        let rows: Vec<_> = self.ordered().map(row).collect();
        output::table(
            &["KID", "STATE", "SINCE", "SIGNS UNTIL", "PUBLISHED UNTIL", "LONGEST LIFETIME"],
            &rows,
        );
        output::line("");
        output::line(&self.next());
        Ok(())
    }

    fn ordered(&self) -> impl Iterator<Item = &KeyRecord> {
        let revoked = self.ring.records().iter().filter(|key| key.state() == State::Revoked);
        self.ring.published().chain(revoked)
    }

    fn to_json(&self) -> Value {
        let key = |key: &KeyRecord| {
            json!({
                "kid": key.kid.as_str(),
                "alg": key.public.algorithm().name(),
                "state": key.state().name(),
                "since": date(Self::since(key)),
                "signs_until": self.signs_until(key).map(date),
                "published_until": self.published_until(key).map(date),
                "longest_lifetime_seconds": key.longest_lifetime.as_secs(),
            })
        };
        json!({
            "keys": self.ordered().map(key).collect::<Vec<_>>(),
            "next": {
                "transition": "rotate",
                "in_seconds": self.outlook.promotion_in.map(|wait| wait.max(0) / 1000),
                "at": self.outlook.promotion_in.map(|wait| date(self.in_millis(wait))),
                "reason": self.outlook.hold.map(m2mint_keys::key_ring::Hold::reason),
            },
        })
    }
}
