//! The configuration: flags before environment before file before defaults, every problem reported at once.
//!
//! | module | holds |
//! |---|---|
//! | [`keys`] | the table of keys |
//! | [`layers`] | where values come from |
//! | [`values`] | from texts to values, and what they must be |

pub mod keys;
pub mod layers;
pub mod log_format;
pub mod values;

pub use log_format::LogFormat;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use m2mint_keys::key_ring::Policy;
use zeroize::Zeroizing;

use crate::limits::{self, source::TrustedProxy};
use crate::model::Host;
use crate::model::audience::AudienceAlgorithm;
use crate::model::key_source::Others;
use crate::model::rule::Rules;
use crate::traces;

pub use layers::{Origin, Sources};

/// After this long, a session of the dashboard ends however busy it is.
pub const LONGEST_SESSION: Duration = Duration::from_secs(12 * 3600);

/// A secret from the configuration. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// The sockets that systemd hands over.
    Systemd,
}

/// The files that TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub private_key: PathBuf,
    /// Whether somebody else sees to it that nobody reads the private key: systemd, for its credentials.
    pub guarded: bool,
    /// Who signs the certificates of administrators.
    pub client_ca: Option<PathBuf>,
}

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// The environment.
    Text(SecretText),
    /// A file that somebody named: it has to be there.
    File(PathBuf),
    /// A credential that systemd hands over, and guards.
    Credential(PathBuf),
    /// The file beside the database, made with it.
    Beside(PathBuf),
}

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the server listens.
    pub listen: Listen,
    /// Where the admin API has sockets of its own; `None` leaves it on those of `listen`.
    pub admin_listen: Option<Listen>,
    /// Whether plain HTTP is served off loopback.
    pub plain_http: bool,
    /// Certificate and private key; without them, HTTP is plain.
    pub tls: Option<TlsFiles>,
    /// The single file.
    pub database: PathBuf,
    /// `iss`; `None` derives it from the address that was bound.
    pub issuer: Option<String>,
    /// Path of the public API, without a trailing slash; empty for the root.
    pub base_path: String,
    /// Admin keys; without any, the stored one counts.
    pub api_keys: Vec<SecretText>,
    /// Names under which the admin API is called.
    pub admin_hosts: Vec<Host>,
    /// After how long without use a session of the dashboard ends.
    pub session_idle: Duration,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// Log directives.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// Threads that serve requests.
    pub workers: usize,
    /// What connections and requests may take.
    pub connections: ConnectionLimits,
    /// Lifetime of a token whose client says nothing.
    pub lifetime: Duration,
    /// Longest lifetime of any token.
    pub max_lifetime: Duration,
    /// Whether a request without scope gets every scope of the client.
    pub all_scopes_by_default: bool,
    /// Audiences that want their tokens signed with an algorithm of their own.
    pub audiences: Vec<AudienceAlgorithm>,
    /// Which token a request needs that a proxy asks about.
    pub rules: Rules,
    /// Who says where a request comes from.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// How often somebody may guess at a secret.
    pub limits: limits::Settings,
    /// The numbers of the rotation rule.
    pub rotation: Policy,
    /// How long entries of the audit log are kept.
    pub audit_keep: Duration,
    /// The backups that the server makes by itself.
    pub backup: BackupSettings,
    /// Whether metrics are told without an admin key.
    pub metrics_public: bool,
    /// How many pairs of client and audience metrics tell by name.
    pub metrics_clients: usize,
    /// Whose keys are published beside ours.
    pub also: Others,
    /// Where traces go.
    pub traces: traces::Settings,
}

/// The backups that a server makes by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupSettings {
    /// How often; `None` makes none.
    pub every: Option<Duration>,
    /// How many are kept.
    pub keep: usize,
    /// The folder that they are in.
    pub directory: PathBuf,
}

/// What connections and requests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many at a time.
    pub most: usize,
    /// Bytes that the body of a request may have.
    pub largest_body: usize,
    /// The largest head of a request, in bytes.
    pub largest_head: usize,
    /// What requests that are not whole yet may take together, in bytes.
    pub most_unfinished: usize,
    /// How long the head of a request may take to come.
    pub head_time: Duration,
    /// How long a request may take, body and all.
    pub request_time: Duration,
    /// How long a connection is kept after an answer.
    pub idle_time: Duration,
    /// How long requests for tokens may wait for a worker before some of them are refused.
    pub queue_time: Duration,
}

/// One key as it came out, for `config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// Its value; a secret is masked.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The same, key by key, for people.
    pub shown: Vec<Shown>,
    /// What is odd but no obstacle.
    pub warnings: Vec<String>,
}

/// Something that is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What it was set to; `None` for secrets.
    pub value: Option<String>,
    /// Where that came from.
    pub origin: Origin,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, " (from {}): {}", self.origin, self.reason)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Reads the configuration.
///
/// # Errors
/// [`Problems`], all of them at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let (loaded, problems) = read(sources);
    loaded.filter(|_| problems.0.is_empty()).ok_or(problems)
}

/// Reads the configuration, good or not: for those who look for further problems in it.
#[must_use]
pub fn read(sources: &Sources) -> (Option<Loaded>, Problems) {
    let (mut problems, mut warnings) = (Problems::default(), Vec::new());
    let layers = layers::read(sources, &mut problems, &mut warnings);
    let (config, shown) = values::read(sources, &layers, &mut problems);
    (config.map(|config| Loaded { config, shown, warnings }), problems)
}

/// The keys whose values differ and that need a restart to take effect.
#[must_use]
pub fn needing_restart(old: &[Shown], new: &[Shown]) -> Vec<&'static str> {
    let differs = |key: &&keys::Key| {
        let value =
            |shown: &[Shown]| shown.iter().find(|one| one.key == key.name).map(|one| one.value.clone());
        value(old) != value(new)
    };
    keys::KEYS.iter().filter(|key| !key.reloads).filter(differs).map(|key| key.name).collect()
}
