//! From texts to values, and what they must be.

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use m2mint_keys::key_ring::{Policy, PolicyError};
use m2mint_keys::seal::MasterKey;
use tracing_subscriber::filter::Targets;
use url::Url;

use crate::config::keys::{KEYS, Key};
use crate::config::layers::{Given, Layers};
use crate::config::log_format::LogFormat;
use crate::config::{
    BackupSettings, Config, ConnectionLimits, LONGEST_SESSION, Listen, MasterKeySource, Origin, Problems,
    SecretText, Shown, Sources, TlsFiles,
};
use crate::limits::{self, source::TrustedProxy};
use crate::model::audience::AudienceAlgorithm;
use crate::model::host::is_protected;
use crate::model::key_source::{Others, Source};
use crate::model::restrictions::{moment, parse_moment};
use crate::model::rule::{Rule, Rules};
use crate::model::{Host, Span};
use crate::traces;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3567));
const MOST_WORKERS: usize = 256;
/// First segments of paths that are no public API's.
const TAKEN_PATHS: [&str; 8] =
    ["admin", "recipe", "hello", "health", "version", "metrics", "apiversion", ".well-known"];
const SHORTEST_API_KEY: usize = 16;
const LONGEST_API_KEY: usize = 512;
const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
const LARGEST_SKEW: Duration = Duration::from_secs(3600);

/// Each takes two file descriptors and some 16 KiB.
const MOST_CONNECTIONS: usize = 100_000;
const FEWEST_CONNECTIONS: usize = 16;
const KIB: usize = 1024;
const BODY: RangeInclusive<usize> = 16 * KIB..=1024 * KIB;
const HEAD: RangeInclusive<usize> = 4 * KIB..=64 * KIB;
const UNFINISHED: RangeInclusive<usize> = 1024 * KIB..=1024 * 1024 * KIB;
/// Each is a time series for whoever stores it.
const MOST_NAMED_CLIENTS: usize = 1000;
const MOST_GUESSES: u32 = 1000;
const FEWEST_A_DAY: u32 = 50;
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = HOUR;

const SHORTEST_SESSION: Duration = Duration::from_secs(60);
/// More often, a backup would be made while the last one is still being made.
const SHORTEST_BACKUP: Duration = Duration::from_secs(60);
const MOST_BACKUPS: usize = 10_000;

const SHORTEST_AUDIT: Duration = Duration::from_secs(86_400);

/// Why plain HTTP is refused off loopback.
pub const PLAIN: &str = "secrets and tokens would cross the network in the clear: set tls.certificate and tls.private_key, or, where a proxy \
    in front does TLS, name its network in trusted_proxies; or accept that with insecure = true";
/// Why the admin API is refused there.
pub const PLAIN_ADMIN: &str = "the admin key would cross the network in the clear: set tls.certificate and tls.private_key, or listen on \
    loopback or unix:PATH";

const HOUR: Duration = Duration::from_secs(3600);

/// Reads every value. Where one is wrong, its default stands in so that the others can be checked too.
pub fn read(sources: &Sources, layers: &Layers, problems: &mut Problems) -> (Option<Config>, Vec<Shown>) {
    let mut reader = Reader { layers, problems, shown: HashMap::new() };
    let listen = reader.value("listen", Listen::Tcp(DEFAULT_LISTEN), parse_listen, show_listen);
    let admin_listen = reader.value("admin.listen", None, parse_admin_listen, |listen| {
        listen.as_ref().map_or("none".into(), show_listen)
    });
    let credentials = sources.directory("CREDENTIALS_DIRECTORY");
    let tls = reader.tls(credentials.as_deref());
    let state = sources.directory("STATE_DIRECTORY");
    let database = state.map_or_else(|| PathBuf::from("m2mint.db"), |state| state.join("m2mint.db"));
    let database = reader.value("database", database, parse_path, |path| path.display().to_string());
    let base_path = reader.value("base_path", "/auth".into(), parse_base_path, |path| {
        if path.is_empty() { "/".into() } else { path.clone() }
    });
    let insecure = reader.value("insecure", false, parse_bool, bool::to_string);
    let issuer = reader.issuer(&listen, tls.is_some(), insecure, &base_path);
    let api_keys = reader.api_keys(credentials.as_deref());
    let admin_hosts = reader.listed("admin.hosts", Vec::new(), &[';', ','], Host::parse);
    let session_idle = reader.span("admin.session_idle", Duration::from_secs(30 * 60));
    if session_idle < SHORTEST_SESSION || session_idle > LONGEST_SESSION {
        reader.problem("admin.session_idle", "it must be between 1m and 12h");
    }
    let master_key = reader.master_key(credentials.as_deref(), &database);
    let log = reader.value("log", "info".to_owned(), parse_log, String::clone);
    let log_format =
        reader.value("log_format", LogFormat::Auto, LogFormat::parse, |format| format.name().into());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = reader.value("workers", cpus, parse_within(1..=MOST_WORKERS), usize::to_string);
    let connections = ConnectionLimits {
        most: reader.value(
            "limits.connections",
            1024,
            parse_within(FEWEST_CONNECTIONS..=MOST_CONNECTIONS),
            usize::to_string,
        ),
        largest_body: reader.value("limits.body", 64 * KIB, parse_size(BODY), show_size),
        largest_head: reader.value("limits.head", 16 * KIB, parse_size(HEAD), show_size),
        most_unfinished: reader.value("limits.unfinished", 8 * KIB * KIB, parse_size(UNFINISHED), show_size),
        head_time: reader.span("limits.head_time", Duration::from_secs(10)),
        request_time: reader.span("limits.request_time", Duration::from_secs(20)),
        // Longer than proxies keep theirs, so that it is they who close.
        idle_time: reader.span("limits.idle_time", Duration::from_secs(75)),
        queue_time: reader.span("limits.queue_time", Duration::from_millis(20)),
    };
    if connections.queue_time < Duration::from_millis(1) {
        reader.problem("limits.queue_time", "it must be at least 1ms");
    }
    for (key, time) in [
        ("limits.head_time", connections.head_time),
        ("limits.request_time", connections.request_time),
        ("limits.idle_time", connections.idle_time),
    ] {
        if time < Duration::from_secs(1) {
            reader.problem(key, "it must be at least 1s");
        }
    }
    let lifetime = reader.span("token.lifetime", HOUR);
    let max_lifetime = reader.span("token.max_lifetime", 24 * HOUR);
    let all_scopes_by_default = reader.value("token.default_scope", false, parse_default_scope, |all| {
        if *all { "all".into() } else { "none".into() }
    });
    let trusted_proxies = reader.listed(
        "trusted_proxies",
        vec![TrustedProxy::Loopback, TrustedProxy::Unix],
        &[';', ','],
        TrustedProxy::parse,
    );
    // Loopback does not count: nobody else gets to a listener by it.
    let plain_http = insecure || trusted_proxies.iter().any(TrustedProxy::is_elsewhere);
    reader.check_listeners(&listen, admin_listen.as_ref(), tls.as_ref(), plain_http);
    let limits = reader.limits();
    let every = reader.value("rotation.every", Some(24 * 90 * HOUR), parse_every, |every| {
        every.map_or("never".into(), |every| Span(every).to_string())
    });
    let propagation = reader.span("rotation.propagation", 25 * HOUR);
    let clock_skew = reader.span("rotation.clock_skew", Duration::from_secs(60));
    let held_up = reader.value("rotation.wait_for_verifiers", None, parse_every, |limit| {
        limit.map_or("never".into(), |limit| Span(limit).to_string())
    });
    let rotation = Policy { every, propagation, clock_skew, held_up: held_up.unwrap_or_default() };
    let audiences = reader.audiences();
    let audit_keep = reader.span("audit.keep", 24 * 400 * HOUR);
    if audit_keep < SHORTEST_AUDIT {
        reader.problem("audit.keep", "what was done has to be kept for at least 1d");
    }
    let backup = reader.backup(&database);
    let metrics_public = reader.value("metrics.public", false, parse_bool, bool::to_string);
    let metrics_clients =
        reader.value("metrics.clients", 100, parse_within(0..=MOST_NAMED_CLIENTS), usize::to_string);
    let rules = Rules(reader.listed("forward_auth.rules", Vec::new(), &[';'], Rule::parse));
    let traces = reader.traces(insecure);
    let also = reader.also(insecure);
    reader.check_times(lifetime, max_lifetime, &rotation);
    let shown = KEYS.iter().filter_map(|key| reader.shown.remove(key.name)).collect();
    let config = master_key.map(|master_key| Config {
        listen,
        admin_listen,
        plain_http,
        tls,
        database,
        issuer,
        base_path,
        api_keys,
        admin_hosts,
        session_idle,
        master_key,
        log,
        log_format,
        workers,
        connections,
        lifetime,
        max_lifetime,
        all_scopes_by_default,
        audiences,
        rules,
        trusted_proxies,
        limits,
        rotation,
        audit_keep,
        backup,
        metrics_public,
        metrics_clients,
        also,
        traces,
    });
    (config, shown)
}

struct Reader<'a> {
    layers: &'a Layers,
    problems: &'a mut Problems,
    shown: HashMap<&'static str, Shown>,
}

impl Reader<'_> {
    fn value<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
        show: impl FnOnce(&T) -> String,
    ) -> T {
        let Some(given) = self.layers.get(key) else {
            self.show(key, show(&default), Origin::Default);
            return default;
        };
        let parsed = match given.texts.as_slice() {
            [text] => parse(text),
            _ => Err("a single value is expected here".into()),
        };
        match parsed {
            Ok(value) => {
                self.show(key, show(&value), given.origin.clone());
                value
            }
            Err(reason) => {
                self.problem(key, &reason);
                default
            }
        }
    }

    fn span(&mut self, key: &'static str, default: Duration) -> Duration {
        self.value(
            key,
            Span(default),
            |text| Span::parse(text).map_err(|error| error.to_string()),
            Span::to_string,
        )
        .0
    }

    fn also(&mut self, insecure: bool) -> Others {
        let sources = self.listed("jwks.also", Vec::new(), &[';', ','], Source::parse);
        let parse = |text: &str| match text {
            "none" => Ok(None),
            text => parse_moment(text).map(Some).map_err(str::to_owned),
        };
        let until = self.value("jwks.also_until", None, parse, |until| until.map_or("none".into(), moment));
        if !sources.is_empty() && until.is_none() {
            self.problem("jwks.also_until", "say when the last token of the other issuer expires");
        }
        if let Some(open) = sources.iter().find(|source| !insecure && !source.is_protected()) {
            let reason = format!(
                "{open} is not https: anybody on the way could put keys in (insecure = true allows it)"
            );
            self.problem("jwks.also", &reason);
        }
        Others { sources, until }
    }

    fn traces(&mut self, insecure: bool) -> traces::Settings {
        let endpoint = self.value("traces.endpoint", None, parse_collector, |endpoint| {
            endpoint.as_ref().map_or("none".into(), Url::to_string)
        });
        let sampled = self.value("traces.sample_ratio", 10_000, parse_part, show_part);
        if endpoint.is_some() && !traces::BUILT_IN {
            let reason = "this program was built without traces: build it with --features opentelemetry, or leave this out";
            self.problem("traces.endpoint", reason);
        }
        if endpoint.as_ref().is_some_and(|url| !insecure && !is_protected(url)) {
            let reason = "it is not https: anybody on the way could read who asks for what (insecure = true allows it)";
            self.problem("traces.endpoint", reason);
        }
        traces::Settings { endpoint, sampled }
    }

    fn show(&mut self, key: &'static str, value: String, origin: Origin) {
        self.shown.insert(key, Shown { key, value, origin });
    }

    fn problem(&mut self, key: &'static str, reason: &str) {
        let secret = Key::named(key).is_some_and(|key| key.secret);
        let given = self.layers.get(key);
        // A URL may hold a password, or a user whose name is one, which is what is wrong with it then.
        let has_user = |url: Url| !url.username().is_empty() || url.password().is_some();
        let has_password = |text: &String| Url::parse(text).is_ok_and(has_user);
        let secret = secret || given.is_some_and(|given| given.texts.iter().any(has_password));
        let value = given.filter(|_| !secret).map(|given| given.texts.join(", "));
        let value =
            value.or_else(|| self.shown.get(key).filter(|_| !secret).map(|shown| shown.value.clone()));
        let origin = given.map_or(Origin::Default, |given| given.origin.clone());
        self.problems.add(key, value, &origin, reason);
    }

    /// Certificate and private key: those that are named, or else systemd's credentials.
    fn tls(&mut self, credentials: Option<&Path>) -> Option<TlsFiles> {
        const KEYS: [(&str, &str); 2] =
            [("tls.certificate", "tls_certificate"), ("tls.private_key", "tls_private_key")];
        let credential =
            |name: &str| credentials.map(|folder| folder.join(name)).filter(|path| path.is_file());
        let is_silent = KEYS.iter().all(|(key, _)| !self.layers.contains_key(key));
        let [certificate, private_key] =
            KEYS.map(|(key, name)| match credential(name).filter(|_| is_silent) {
                Some(path) => {
                    self.show(key, path.display().to_string(), Origin::Credential(path.clone()));
                    Some(path)
                }
                None => self.optional_path(key),
            });
        let client_ca = self.optional_path("admin.client_ca");
        match (certificate, private_key) {
            (Some(certificate), Some(private_key)) => {
                let guarded = credentials.is_some_and(|folder| private_key.starts_with(folder));
                Some(TlsFiles { certificate, private_key, guarded, client_ca })
            }
            (certificate, private_key) => {
                let needed = match (&certificate, &private_key, &client_ca) {
                    (Some(_), _, _) => Some(("tls.private_key", "tls.certificate")),
                    (_, Some(_), _) => Some(("tls.certificate", "tls.private_key")),
                    (_, _, Some(_)) => Some(("tls.certificate", "admin.client_ca")),
                    _ => None,
                };
                // What is there and cannot be read has been reported.
                let needed =
                    needed.filter(|(missing, _)| !self.problems.0.iter().any(|one| one.key == *missing));
                if let Some((missing, named)) = needed {
                    self.problem(missing, &format!("it is needed where {named} is set"));
                }
                None
            }
        }
    }

    fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let parse = |text: &str| if text == "none" { Ok(None) } else { parse_path(text).map(Some) };
        self.value(key, None, parse, |path| {
            path.as_ref().map_or("none".into(), |path| path.display().to_string())
        })
    }

    /// Who may listen where, as far as the configuration alone can tell.
    fn check_listeners(
        &mut self,
        listen: &Listen,
        admin: Option<&Listen>,
        tls: Option<&TlsFiles>,
        plain_http: bool,
    ) {
        let is_open = |listen: &Listen| matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback());
        if is_open(listen) && tls.is_none() && !plain_http {
            self.problem("listen", PLAIN);
        }
        if admin.is_some_and(is_open) && tls.is_none() {
            self.problem("admin.listen", PLAIN_ADMIN);
        }
        let has_client_ca = tls.is_some_and(|tls| tls.client_ca.is_some());
        if has_client_ca && !matches!((admin, listen), (Some(Listen::Tcp(_)), _) | (None, Listen::Systemd)) {
            self.problem("admin.client_ca", "it guards the address in admin.listen: set that too");
        }
    }

    fn issuer(&mut self, listen: &Listen, tls: bool, insecure: bool, base_path: &str) -> Option<String> {
        let scheme = if tls { "https" } else { "http" };
        let derived = match listen {
            Listen::Tcp(address) if !address.ip().is_unspecified() => {
                Some(format!("{scheme}://{address}{base_path}"))
            }
            _ => None,
        };
        let loopback = matches!(listen, Listen::Tcp(address) if address.ip().is_loopback());
        let show = |issuer: &Option<String>| issuer.clone().or(derived.clone()).unwrap_or_default();
        let issuer = self.value("issuer", None, |text| parse_issuer(text).map(Some), show);
        if self.problems.0.iter().any(|problem| problem.key == "issuer" || problem.key == "listen") {
            return issuer;
        }
        let secure = issuer.as_ref().or(derived.as_ref()).is_some_and(|url| url.starts_with("https://"));
        if issuer.is_none() && derived.is_none() {
            self.problem(
                "issuer",
                "it cannot be derived from this `listen`: set the URL under which clients reach the server",
            );
        } else if !secure && !loopback && !insecure {
            self.problem(
                "issuer",
                "it must be an https URL because `listen` is not loopback; or set insecure = true",
            );
        }
        issuer
    }

    fn api_keys(&mut self, credentials: Option<&Path>) -> Vec<SecretText> {
        let credential = credentials.map(|directory| directory.join("api_key")).filter(|path| path.is_file());
        let (texts, origin) = match (self.layers.get("api_key"), credential) {
            (Some(Given { texts, origin: origin @ Origin::Environment(_) }), _) => (
                texts.iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned()).collect(),
                origin.clone(),
            ),
            (Some(Given { texts, origin }), _) => (texts.clone(), origin.clone()),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                    (lines.map(str::to_owned).collect::<Vec<_>>(), Origin::Credential(path))
                }
                Err(error) => {
                    self.problems.add(
                        "api_key",
                        None,
                        &Origin::Credential(path),
                        &format!("it cannot be read: {error}"),
                    );
                    return Vec::new();
                }
            },
            (None, None) => {
                self.show("api_key", "(made at first start)".into(), Origin::Default);
                return Vec::new();
            }
        };
        if texts.is_empty() {
            self.problems.add(
                "api_key",
                None,
                &origin,
                "the list is empty: nobody could administer this server",
            );
        }
        for (at, text) in texts.iter().enumerate() {
            let fits = (SHORTEST_API_KEY..=LONGEST_API_KEY).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits {
                let reason = format!(
                    "key {} must have {SHORTEST_API_KEY} to {LONGEST_API_KEY} visible ASCII characters without spaces",
                    at + 1
                );
                self.problems.add("api_key", None, &origin, &reason);
            }
        }
        let count = texts.len();
        self.show("api_key", format!("(set, {count} key{})", if count == 1 { "" } else { "s" }), origin);
        texts.into_iter().map(SecretText::new).collect()
    }

    fn backup(&mut self, database: &Path) -> BackupSettings {
        let every = self.value("backup.every", None, parse_every, |every| {
            every.map_or("never".into(), |every| Span(every).to_string())
        });
        if every.is_some_and(|every| every < SHORTEST_BACKUP) {
            self.problem("backup.every", "it must be at least 1m");
        }
        let keep = self.value("backup.keep", 14, parse_within(1..=MOST_BACKUPS), usize::to_string);
        let directory =
            self.value("backup.directory", database.with_file_name("backups"), parse_path, |path| {
                path.display().to_string()
            });
        BackupSettings { every, keep, directory }
    }

    fn audiences(&mut self) -> Vec<AudienceAlgorithm> {
        let audiences = self.listed("audiences", Vec::new(), &[';'], AudienceAlgorithm::parse);
        for (at, one) in audiences.iter().enumerate() {
            if audiences.iter().take(at).any(|before| before.name == one.name) {
                self.problem("audiences", &format!("{} is named twice", one.name));
            }
        }
        audiences
    }

    /// A list of texts, each of which says something for itself.
    fn listed<T: ToString, E: ToString>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        separators: &[char],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(Given { texts, origin }) = self.layers.get(key) else {
            self.show(key, show_list(&default), Origin::Default);
            return default;
        };
        // A variable and a flag hold one text: there, semicolons stand between its parts.
        let texts = texts.iter().flat_map(|text| text.split(separators)).map(str::trim);
        // As `config show` writes an empty list.
        let texts = texts.filter(|text| !text.is_empty() && *text != "none");
        let mut values = Vec::new();
        for (at, text) in texts.enumerate() {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(error) => {
                    let reason = format!("entry {}: {}", at + 1, error.to_string());
                    self.problems.add(key, Some(text.to_owned()), origin, &reason);
                }
            }
        }
        self.show(key, show_list(&values), origin.clone());
        values
    }

    fn limits(&mut self) -> limits::Settings {
        let default = limits::Settings::default();
        let limits = limits::Settings {
            guesses: self.value(
                "limits.guesses",
                default.guesses,
                parse_within(1..=MOST_GUESSES),
                u32::to_string,
            ),
            longest_wait: self.span("limits.longest_wait", default.longest_wait),
            guesses_a_day: self.value(
                "limits.guesses_a_day",
                default.guesses_a_day,
                parse_guesses_a_day,
                u32::to_string,
            ),
        };
        if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&limits.longest_wait) {
            self.problem("limits.longest_wait", "a wait is between 1s and 1h");
        }
        limits
    }

    fn master_key(&mut self, credentials: Option<&Path>, database: &Path) -> Option<MasterKeySource> {
        let mut beside = database.as_os_str().to_owned();
        beside.push(".key");
        let credential =
            credentials.map(|directory| directory.join("master_key")).filter(|path| path.is_file());
        match (self.layers.get("master_key"), self.layers.get("master_key_file")) {
            (Some(_), Some(_)) => {
                self.problem("master_key", "master_key_file is set too: use one of the two");
                None
            }
            (Some(Given { origin, texts }), None) => {
                let text = texts.concat();
                if !matches!(origin, Origin::Environment(_)) {
                    self.problem("master_key", "it is taken from the environment only; put it in a file of its own and name that in master_key_file");
                } else if let Err(error) = MasterKey::parse(&text) {
                    self.problem("master_key", &error.to_string());
                }
                self.show("master_key", "(set)".into(), origin.clone());
                Some(MasterKeySource::Text(SecretText::new(text)))
            }
            (None, Some(_)) => {
                let path = self.value("master_key_file", PathBuf::from(beside), parse_path, |path| {
                    path.display().to_string()
                });
                Some(MasterKeySource::File(path))
            }
            (None, None) => {
                let (path, origin) = match credential {
                    Some(path) => (path.clone(), Origin::Credential(path)),
                    None => (PathBuf::from(beside), Origin::Default),
                };
                self.show("master_key_file", path.display().to_string(), origin.clone());
                Some(match origin {
                    Origin::Default => MasterKeySource::Beside(path),
                    _ => MasterKeySource::Credential(path),
                })
            }
        }
    }

    fn check_times(&mut self, lifetime: Duration, max_lifetime: Duration, rotation: &Policy) {
        if lifetime < Duration::from_secs(1) {
            self.problem("token.lifetime", "a token must live for at least 1s");
        }
        if lifetime > max_lifetime {
            let reason = format!("it is longer than token.max_lifetime = {}", Span(max_lifetime));
            self.problem("token.lifetime", &reason);
        }
        if max_lifetime > LONGEST_LIFETIME {
            self.problem("token.max_lifetime", "a token may live for at most 365d");
        }
        if rotation.clock_skew > LARGEST_SKEW {
            self.problem("rotation.clock_skew", "clocks that are more than 1h apart cannot be allowed for");
        }
        if let Err(error) = rotation.check(max_lifetime) {
            let key =
                if error == PolicyError::NoPropagation { "rotation.propagation" } else { "rotation.every" };
            self.problem(key, &error.to_string());
        }
    }
}

fn show_list<T: ToString>(values: &[T]) -> String {
    let shown: Vec<String> = values.iter().map(T::to_string).collect();
    if shown.is_empty() { "none".into() } else { shown.join("; ") }
}

fn parse_guesses_a_day(text: &str) -> Result<u32, String> {
    let guesses = text.parse().ok().filter(|guesses| FEWEST_A_DAY <= *guesses);
    guesses.ok_or_else(|| {
        format!("write a number from {FEWEST_A_DAY} up: fewer lock out whoever mistypes a secret")
    })
}

fn parse_size(within: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> {
    move |text| size_of(text, &within)
}

fn size_of(text: &str, within: &RangeInclusive<usize>) -> Result<usize, String> {
    let units = [("KiB", KIB), ("MiB", KIB * KIB)];
    let size = units.into_iter().find_map(|(unit, factor)| {
        text.strip_suffix(unit)?.trim_end().parse::<usize>().ok()?.checked_mul(factor)
    });
    let size = size.filter(|size| within.contains(size));
    size.ok_or_else(|| {
        format!("write a size between {} and {}", show_size(within.start()), show_size(within.end()))
    })
}

fn show_size(bytes: &usize) -> String {
    format!("{}KiB", bytes / KIB)
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    if text == "systemd" {
        return Ok(Listen::Systemd);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("unix: needs a path".into())
        } else {
            Ok(Listen::Unix(path.into()))
        };
    }
    let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = address.as_deref().unwrap_or(text).parse().map(Listen::Tcp);
    address.map_err(|_| "write an IP address and a port such as 127.0.0.1:3567, unix:PATH, or systemd".into())
}

fn parse_admin_listen(text: &str) -> Result<Option<Listen>, String> {
    match text {
        // As `config show` writes it.
        "none" => Ok(None),
        "systemd" => {
            Err("systemd's sockets are those of listen; name one admin (FileDescriptorName=)".into())
        }
        text => parse_listen(text).map(Some),
    }
}

fn show_listen(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Systemd => "systemd".into(),
    }
}

fn parse_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.into()) }
}

fn parse_base_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if !(path.is_empty() || path.starts_with('/')) || !plain || path.contains("//") {
        return Err(
            "it must begin with a slash and hold letters, digits and - . _ ~ only, such as /auth".into()
        );
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("clients take . and .. out of a path".into());
    }
    let first = path.split('/').nth(1).unwrap_or_default();
    if TAKEN_PATHS.contains(&first) {
        return Err(format!("/{first} is the admin API's"));
    }
    Ok(path.to_owned())
}

fn parse_issuer(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let hosted = url.host().is_some();
    if !matches!(url.scheme(), "http" | "https") || !hosted || !plain {
        return Err("it must be an https URL without user, query and fragment".into());
    }
    if text.ends_with('/') {
        return Err(
            "leave out the slash at the end: verifiers compare the issuer character by character".into()
        );
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || b"\"\\".contains(&byte)) {
        return Err("it may hold visible ASCII characters only".into());
    }
    Ok(text.to_owned())
}

/// The URL for traces: that of a collector gets the path that OTLP says.
fn parse_collector(text: &str) -> Result<Option<Url>, String> {
    if text == "none" {
        return Ok(None);
    }
    let mut url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
        return Err("it must be an http or https URL without user, query and fragment, such as http://127.0.0.1:4318; what \
             a collector wants to know of its senders is set in OTEL_EXPORTER_OTLP_HEADERS"
            .into());
    }
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    Ok(Some(url))
}

/// A part of one, in millionths.
fn parse_part(text: &str) -> Result<u32, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    // Between nothing and a million, it loses only what is less than a millionth.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let millionths = part.map(|part: f64| (part * 1e6).round() as u32);
    millionths.ok_or_else(|| "write a number between 0 and 1".into())
}

fn show_part(millionths: &u32) -> String {
    (f64::from(*millionths) / 1e6).to_string()
}

fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".into())
}

fn parse_log(text: &str) -> Result<String, String> {
    // A single word that is no level would be taken for the name of a part of the program, and log nothing else.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ':']));
    if let Some(word) = words.into_iter().find(|word| !levels.contains(&word.to_ascii_lowercase().as_str())) {
        return Err(format!("{word:?} is no log level: write off, error, warn, info, debug or trace"));
    }
    let plain = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let checked = plain.parse::<Targets>();
    checked.map(|_| plain).map_err(|error| format!("not a log level or directive: {error}"))
}

/// A number within bounds, both of which are allowed.
fn parse_within<T: FromStr + PartialOrd + fmt::Display>(
    bounds: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("write a number between {} and {}", bounds.start(), bounds.end()))
    }
}

fn parse_default_scope(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "all" => Ok(true),
        _ => Err("write none or all".into()),
    }
}

fn parse_every(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "never" => Ok(None),
        text => Span::parse(text).map(|span| Some(span.0)).map_err(|error| format!("{error}; or never")),
    }
}
