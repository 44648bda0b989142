//! The table of configuration keys: names, defaults, meaning.

pub use crate::model::spelling::nearest;

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Path in the file; the environment variable follows from it.
    pub name: &'static str,
    /// The default, in words where it depends on something.
    pub default: &'static str,
    /// What it means, in a line.
    pub about: &'static str,
    /// Whether a change takes effect on SIGHUP.
    pub reloads: bool,
    /// Whether its value is a secret: never shown, and not taken from the command line.
    pub secret: bool,
}

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, default, about, reloads: false, secret: false }
}

const fn reloading(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { reloads: true, ..key(name, default, about) }
}

const fn secret(name: &'static str, default: &'static str, about: &'static str, reloads: bool) -> Key {
    Key { secret: true, reloads, ..key(name, default, about) }
}

/// Every key, in the order in which it is shown.
pub const KEYS: [Key; 48] = [
    key("listen", "127.0.0.1:3567", "address and port, unix:PATH, or systemd (its socket)"),
    key("admin.listen", "none", "address and port or unix:PATH of the admin API, which is nowhere else then"),
    key(
        "tls.certificate",
        "none",
        "PEM file with the certificate and its chain; $CREDENTIALS_DIRECTORY/tls_certificate",
    ),
    key("tls.private_key", "none", "PEM file with its private key; $CREDENTIALS_DIRECTORY/tls_private_key"),
    key(
        "admin.client_ca",
        "none",
        "PEM file: clients of admin.listen must show a certificate that one of these signed",
    ),
    key("database", "m2mint.db", "the single file; $STATE_DIRECTORY/m2mint.db under systemd"),
    key("issuer", "http://LISTEN + base_path", "the URL under which clients and verifiers know this server"),
    key(
        "insecure",
        "false",
        "allow plain HTTP, and an issuer without https, although listen is not loopback",
    ),
    key("base_path", "/auth", "path of the public API"),
    secret(
        "api_key",
        "made at first start",
        "admin key, or a list of them; at least 16 characters each",
        true,
    ),
    reloading(
        "admin.hosts",
        "none",
        "names under which the admin API is called, besides its address, localhost and the issuer's host",
    ),
    reloading("admin.session_idle", "30m", "after how long without use a session of the dashboard ends"),
    key(
        "master_key_file",
        "DATABASE.key",
        "seals private keys; $CREDENTIALS_DIRECTORY/master_key under systemd",
    ),
    secret("master_key", "none", "the master key itself; from the environment only", false),
    reloading("log", "info", "log level, or directives such as m2mint=debug"),
    key(
        "log_format",
        "auto",
        "auto: lines on a terminal, fields in the journal, JSON elsewhere; text, json or journal",
    ),
    key("workers", "number of CPUs", "threads that serve requests"),
    key("limits.connections", "1024", "connections at a time; when all are taken, idle ones make room"),
    key("limits.body", "64KiB", "the largest body of a request"),
    key("limits.head", "16KiB", "the largest head of a request"),
    key(
        "limits.unfinished",
        "8MiB",
        "what requests that are not whole yet take together; beyond that only small ones come to an end",
    ),
    key("limits.head_time", "10s", "how long a TLS handshake may take, and then the head of a request"),
    reloading("limits.request_time", "20s", "how long a request may take, body and all"),
    key(
        "limits.queue_time",
        "20ms",
        "how long requests for tokens may wait before some of them get 503 with Retry-After",
    ),
    key("limits.idle_time", "75s", "how long a connection is kept after an answer"),
    reloading("token.lifetime", "1h", "lifetime of a token whose client says nothing"),
    reloading("token.max_lifetime", "24h", "longest lifetime of any token"),
    reloading("token.default_scope", "none", "what a request without scope gets: none or all"),
    reloading(
        "trusted_proxies",
        "loopback; unix",
        "networks whose X-Forwarded-For says where a request comes from",
    ),
    reloading(
        "limits.guesses",
        "10",
        "wrong secrets in a row, from one address for one client id, before the first wait",
    ),
    reloading("limits.longest_wait", "5m", "longest wait after a wrong secret; it doubles from 1s"),
    reloading(
        "limits.guesses_a_day",
        "1900",
        "wrong secrets a day for one client id, from all addresses together",
    ),
    reloading("rotation.every", "90d", "how long a key signs; never leaves it to signals"),
    reloading("rotation.propagation", "25h", "longest time that a verifier caches the JWKS"),
    reloading("rotation.clock_skew", "60s", "how far clocks may be apart"),
    reloading(
        "rotation.wait_for_verifiers",
        "never",
        "how long a rotation waits, beyond propagation, for known verifiers that lack the standby",
    ),
    reloading("audiences", "none", "what tokens for an audience are signed with, where it is not EdDSA"),
    reloading("audit.keep", "400d", "how long the audit log is kept"),
    reloading("backup.every", "never", "how often the server makes a backup by itself, such as 1d"),
    reloading("backup.keep", "14", "how many of these backups are kept"),
    reloading("backup.directory", "backups, beside database", "the folder that they are in"),
    key("metrics.public", "false", "whether /metrics is told without an admin key, where the admin API is"),
    key(
        "metrics.clients",
        "100",
        "how many pairs of client and audience /metrics tells by name, the busiest ones",
    ),
    key(
        "traces.endpoint",
        "none",
        "URL of an OpenTelemetry collector, where the program was built with the feature opentelemetry",
    ),
    key(
        "traces.sample_ratio",
        "0.01",
        "the part of the requests that begin a trace, where no caller has begun one",
    ),
    key("jwks.also", "none", "URLs or files with public keys of another issuer, published beside ours"),
    key("jwks.also_until", "none", "until when they are: when the last token of that issuer expires"),
    reloading("forward_auth.rules", "none", "which token a request needs that a proxy asks about"),
];

impl Key {
    /// The key with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("M2MINT_{}", self.name.replace('.', "__").to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("listne", names()), Some("listen"));
        assert_eq!(nearest("rotation.propogation", names()), Some("rotation.propagation"));
        assert_eq!(nearest("colour", names()), None);
    }

    #[test]
    fn variables_follow_from_names() {
        assert_eq!(Key::named("rotation.propagation").unwrap().variable(), "M2MINT_ROTATION__PROPAGATION");
    }
}
