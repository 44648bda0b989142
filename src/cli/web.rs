//! HTTP as the command line speaks it.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use ureq::tls::Certificate;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::output::{CliError, Result};
use crate::model::host;
use crate::outgoing;
use crate::tls;

/// How long a request may take, with its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whose certificates are trusted.
#[derive(Debug, Args)]
pub struct Trust {
    /// PEM file with the authorities to trust [default: $SSL_CERT_FILE, else the system's]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// An HTTP client. It follows no redirect and asks no proxy: what it sends may be a secret.
pub struct Web(Agent);

/// An answer, read to its end.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; wiped, for it may hold a token.
    pub body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The value of a header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Trust {
    /// The file that was named, else that of OpenSSL's variable, else the system's. Without any, nobody is trusted.
    fn file(&self) -> Option<PathBuf> {
        self.ca.clone().or_else(tls::trusted_authorities)
    }

    /// A client that trusts these.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn web(&self) -> Result<Web> {
        let roots = match self.file() {
            None => Vec::new(),
            Some(path) => {
                let failed = |why: &dyn fmt::Display| {
                    CliError::Failed(format!("the authorities in {}: {why}", path.display()))
                };
                let read = outgoing::authorities(&path).map_err(|error| failed(&error))?;
                if read.is_empty() {
                    return Err(failed(&"the file holds no certificate in PEM"));
                }
                read
            }
        };
        Ok(Web::trusting(&roots))
    }
}

impl Web {
    /// One for plain HTTP, which trusts nobody's certificate.
    #[must_use]
    pub fn without_tls() -> Self {
        Self::trusting(&[])
    }

    fn trusting(roots: &[Certificate<'static>]) -> Self {
        Self(outgoing::agent(roots, PATIENCE))
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn get(&self, url: &str) -> std::result::Result<Answer, String> {
        self.run(Request::get(url).header("accept", "application/json").body(Vec::new()))
    }

    /// Asks for a document, with headers that say more. One that is a secret stands in no log.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> std::result::Result<Answer, String> {
        let mut request = Request::get(url).header("accept", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request.body(Vec::new()))
    }

    /// Sends a form.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn post_form(
        &self,
        url: &str,
        authorization: &str,
        form: &str,
    ) -> std::result::Result<Answer, String> {
        let headers = [
            ("accept", "application/json"),
            ("authorization", authorization),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send("POST", url, &headers, form.as_bytes().to_vec())
    }

    /// Any request.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> std::result::Result<Answer, String> {
        let request = Request::builder().method(method).uri(url);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.run(request.body(body))
    }

    fn run(
        &self,
        request: std::result::Result<Request<Vec<u8>>, ureq::http::Error>,
    ) -> std::result::Result<Answer, String> {
        let request = request.map_err(|error| error.to_string())?;
        let mut answer = self.0.run(request).map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
        let body = Zeroizing::new(body.map_err(|error| error.to_string())?);
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }
}

/// The certificate that a server shows, whoever signed it. Nothing is sent there: the handshake is broken off.
///
/// # Errors
/// Why none was shown, in words.
pub fn certificate(url: &str) -> std::result::Result<CertificateDer<'static>, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let provider = Arc::new(tls::provider());
    let look = Arc::new(Look { seen: Mutex::new(None), provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        // Not dangerous: it accepts nobody.
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&look) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let addresses = (bare, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut last = "its name has no address".to_owned();
    for address in addresses {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).and_then(|socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        let mut socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        let ended = connection.complete_io(&mut socket);
        let seen = look.seen.lock().take();
        return seen.ok_or_else(|| match ended {
            Err(error) => error.to_string(),
            Ok(_) => "no certificate was shown".into(),
        });
    }
    Err(last)
}

/// Looks at a certificate, and refuses it.
#[derive(Debug)]
struct Look {
    seen: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock() = Some(certificate.clone().into_owned());
        Err(rustls::Error::General("it was only looked at".into()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("it was only looked at".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("it was only looked at".into()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether nobody on the way can read or change what is sent there: https, or this machine.
#[must_use]
pub fn is_protected(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| host::is_protected(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for url in ["https://auth.example", "http://127.0.0.1:3567/auth", "http://[::1]/", "http://localhost"]
        {
            assert!(is_protected(url), "{url}");
        }
        for url in
            ["http://auth.example", "http://127.0.0.1.example", "http://10.0.0.1", "ftp://localhost", "auth"]
        {
            assert!(!is_protected(url), "{url}");
        }
    }
}
