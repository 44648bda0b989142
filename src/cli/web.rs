//! HTTP as the command line speaks it: it goes where it is sent, and nowhere else.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::cli::output::{CliError, Result};
use crate::tls;

/// How long a request may take, with its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// Where systems keep the authorities that they trust: Debian and Arch, Fedora, openSUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates are trusted.
#[derive(Debug, Args)]
pub struct Trust {
    /// PEM file with the authorities to trust [default: $SSL_CERT_FILE, else the system's]
    #[arg(long, value_name = "FILE")]
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
        let variable =
            || std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let system = || SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file());
        self.ca.clone().or_else(variable).or_else(system)
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
                let text = std::fs::read(&path).map_err(|error| failed(&error))?;
                let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
                let read = read.map_err(|error| failed(&error))?;
                if read.is_empty() {
                    return Err(failed(&"the file holds no certificate in PEM"));
                }
                read
            }
        };
        let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(tls::provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .tls_config(tls)
            .user_agent(concat!("m2mint/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Web(config.into()))
    }
}

impl Web {
    /// Asks for a document.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn get(&self, url: &str) -> std::result::Result<Answer, String> {
        self.run(Request::get(url).header("accept", "application/json").body(Vec::new()))
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
        let request = Request::post(url)
            .header("accept", "application/json")
            .header("authorization", authorization)
            .header("content-type", "application/x-www-form-urlencoded");
        self.run(request.body(form.as_bytes().to_vec()))
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

/// Whether nobody on the way can read or change what is sent there: https, or this machine.
#[must_use]
pub fn is_protected(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || url.scheme() == "http" && loopback
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
