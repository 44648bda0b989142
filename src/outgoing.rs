//! Requests that m2mint itself sends: they go where they are sent, and nowhere else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::tls;

/// How m2mint calls itself.
pub const AGENT: &str = concat!("m2mint/", env!("CARGO_PKG_VERSION"));

/// Sends requests, of which each may take as long as `patience` with its answer, to servers whose certificates `roots` have
/// signed. It follows no redirect and asks no proxy.
#[must_use]
pub fn agent(roots: &[Certificate<'static>], patience: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(roots))
        .unversioned_rustls_crypto_provider(Arc::new(tls::provider()))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(patience))
        .tls_config(tls)
        .user_agent(AGENT)
        .build()
        .into()
}

/// The certificates in a PEM file.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| error.to_string())?;
    Ok(read.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}
