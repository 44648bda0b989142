//! TLS: certificate and private key, taken anew when their files change, without ending a connection.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{
    NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier,
    danger::ClientCertVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, InconsistentKeys, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// What is offered, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How long before its end a certificate is warned about.
const NOTICE: Duration = Duration::from_secs(7 * 86_400);

/// Where systems keep the authorities that they trust: Debian and Arch, Fedora, openSUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file with the authorities that this machine trusts: that of OpenSSL's variable, else the system's.
#[must_use]
pub fn trusted_authorities() -> Option<PathBuf> {
    let variable = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    variable.or_else(|| SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// Why there is no TLS, in words for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The configuration key that names it.
        key: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A file holds something else.
    #[error("{path} {reason}")]
    Unusable {
        /// The configuration key that names it.
        key: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Others may read the private key.
    #[error("{path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}")]
    Exposed {
        /// Where it is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Certificate and private key are not a pair.
    #[error("{private_key} does not belong to the certificate in {certificate}")]
    NoPair {
        /// Where the certificate is.
        certificate: PathBuf,
        /// Where the private key is.
        private_key: PathBuf,
    },
}

impl TlsError {
    /// The configuration key that it is about.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::Unusable { key, .. } => key,
            Self::Exposed { .. } | Self::NoPair { .. } => "tls.private_key",
        }
    }
}

/// What the files say.
pub struct Contents {
    /// For everybody.
    pub public: Arc<ServerConfig>,
    /// For administrators; where a CA is set, they have to show a certificate of it.
    pub admin: Arc<ServerConfig>,
    /// What is odd but no obstacle.
    pub warnings: Vec<String>,
}

impl Contents {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let chain = certificates("tls.certificate", &files.certificate)?;
        let warnings = chain.first().and_then(|first| outdated(first, &provider, SystemTime::now()));
        let warnings =
            warnings.map(|reason| format!("the certificate in {} {reason}", files.certificate.display()));
        let key = private_key(files)?;
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::NoPair {
                certificate: files.certificate.clone(),
                private_key: files.private_key.clone(),
            },
            rustls::Error::InvalidCertificate(reason) => unusable(
                "tls.certificate",
                &files.certificate,
                format!("holds a certificate that cannot be used: {reason}"),
            ),
            // What the key is made of stays out of the message.
            _ => unusable(
                "tls.private_key",
                &files.private_key,
                "holds a private key of a kind that is not supported",
            ),
        })?;
        let pair = Arc::new(pair);
        let public = Arc::new(server_config(&provider, None, &pair)?);
        let admin = match &files.client_ca {
            Some(path) => Arc::new(server_config(&provider, Some(client_verifier(path, &provider)?), &pair)?),
            None => Arc::clone(&public),
        };
        Ok(Self { public, admin, warnings: warnings.into_iter().collect() })
    }
}

/// TLS as it is now.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Contents>,
    stamps: Mutex<Stamps>,
}

/// By which it is known that files have changed.
struct Stamps {
    taken: Vec<Option<Stamp>>,
    seen: Vec<Option<Stamp>>,
}

/// Device, number, size, and when content and permissions last changed.
type Stamp = (u64, u64, u64, [(i64, i64); 2]);

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let contents = Contents::read(&files)?;
        contents.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let stamps = Mutex::new(Stamps { taken: stamps.clone(), seen: stamps });
        Ok(Self { files, current: ArcSwap::from_pointee(contents), stamps })
    }

    /// What a connection that comes now is met with.
    #[must_use]
    pub fn current(&self) -> Arc<Contents> {
        self.current.load_full()
    }

    /// Takes the files anew. Where they are no good, what was taken before stays, and the log says why.
    pub fn reload(&self) {
        let stamps = stamps(&self.files);
        self.take(stamps);
    }

    /// Takes the files anew if they have changed and are no longer being changed: who replaces a certificate and its key
    /// does so one after the other.
    pub fn look(&self) {
        let stamps = stamps(&self.files);
        let mut known = self.stamps.lock();
        let is_settled = known.seen == stamps;
        known.seen.clone_from(&stamps);
        if known.taken != stamps && is_settled {
            drop(known);
            self.take(stamps);
        }
    }

    fn take(&self, stamps: Vec<Option<Stamp>>) {
        match Contents::read(&self.files) {
            Ok(contents) => {
                contents.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                self.current.store(Arc::new(contents));
                tracing::info!("the certificate in {} is in use", self.files.certificate.display());
            }
            Err(error) => tracing::error!("the certificate of before stays in use: {}: {error}", error.key()),
        }
        let mut known = self.stamps.lock();
        known.taken.clone_from(&stamps);
        known.seen = stamps;
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Some((meta.dev(), meta.ino(), meta.size(), times))
    };
    [Some(&files.certificate), Some(&files.private_key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(stamp)
        .collect()
}

/// The cryptography of this build.
#[must_use]
pub fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    return rustls::crypto::ring::default_provider();
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    pair: &Arc<CertifiedKey>,
) -> Result<ServerConfig, TlsError> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&versions);
    // Both providers have suites for both versions.
    let builder = builder.map_err(|error| unusable("tls.certificate", Path::new("TLS"), error))?;
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(pair)));
    let mut config = match verifier {
        Some(verifier) => {
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
            // A resumed session would not be asked for its certificate again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn client_verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let key = "admin.client_ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        let added = roots.add(certificate);
        added.map_err(|error| {
            unusable(key, path, format!("holds a certificate that cannot be used: {error}"))
        })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map_err(|error: VerifierBuilderError| unusable(key, path, format!("cannot be used: {error}")))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes =
        fs::read(path).map_err(|reason| TlsError::Unreadable { key, path: path.to_owned(), reason })?;
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(chain) if chain.is_empty() => Err(unusable(key, path, "holds no certificate in PEM")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(key, path, format!("is no PEM: {error}"))),
    }
}

fn private_key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (key, path) = ("tls.private_key", &files.private_key);
    let unreadable = |reason| TlsError::Unreadable { key, path: path.clone(), reason };
    let mode = fs::metadata(path).map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 && !files.guarded {
        return Err(TlsError::Exposed { path: path.clone(), mode });
    }
    let bytes = fs::read(path).map(Zeroizing::new).map_err(unreadable)?;
    // The parser's own message could repeat a line of the file.
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| unusable(key, path, "holds no private key in PEM that is not encrypted"))
}

/// What is wrong with the time for which a certificate is good, or will be within a week.
#[must_use]
pub fn outdated(
    certificate: &CertificateDer<'_>,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Option<String> {
    let since = |time: SystemTime| {
        UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    };
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let day = |time: UnixTime| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        humantime::format_rfc3339_seconds(time).to_string()
    };
    // Nobody is trusted here, so it always fails: for its time, before anything else is looked at.
    let fault = |at: SystemTime| {
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &RootCertStore::empty(),
            &[],
            since(at),
            algorithms,
        )
        .err()
    };
    let end = |error| match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(not_after)
        }
        _ => None,
    };
    match fault(now)? {
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(format!("is not valid before {}: clients refuse it", day(not_before)))
        }
        fault_now => match (end(fault_now), fault(now + NOTICE).and_then(end)) {
            (Some(ended), _) => Some(format!("expired at {}: clients refuse it", day(ended))),
            (None, Some(ends)) => Some(format!("expires at {}", day(ends))),
            (None, None) => None,
        },
    }
}

fn unusable(key: &'static str, path: &Path, reason: impl ToString) -> TlsError {
    TlsError::Unusable { key, path: path.to_owned(), reason: reason.to_string() }
}
