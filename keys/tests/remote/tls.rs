//! Keys over HTTPS: from whom a certificate says that it is, and from nobody else.

use std::sync::Arc;

use m2mint_keys::remote::{RemoteError, RemoteJwks, Settings};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::support::{Fake, Issuer, Reply, run};

/// A server with a certificate for `name`, and the certificate.
fn server(name: &str) -> (Fake, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let jwks = Issuer::new().jwks();
    (Fake::start_with(Some(Arc::new(config)), move |_| Reply::ok(jwks.clone())), cert.der().to_vec())
}

async fn fetch(server: &Fake, trusted: Vec<Vec<u8>>) -> Result<(), RemoteError> {
    let settings = Settings { root_certificates: trusted, ..Settings::default() };
    RemoteJwks::at_with(&format!("https://localhost:{}/", server.address.port()), settings)?.prefetch().await
}

#[test]
fn a_certificate_has_to_be_trusted_and_the_hosts_own() {
    run(async {
        let (right, certificate) = server("localhost");
        assert_eq!(fetch(&right, vec![certificate.clone()]).await, Ok(()));
        assert!(
            matches!(fetch(&right, vec![]).await, Err(RemoteError::Unreachable(_))),
            "nobody vouches for it"
        );
        let (wrong, certificate) = server("auth.example.com");
        assert!(
            matches!(fetch(&wrong, vec![certificate]).await, Err(RemoteError::Unreachable(_))),
            "another name"
        );
    });
}

#[test]
fn a_malformed_certificate_is_refused_at_once() {
    let settings = Settings { root_certificates: vec![b"nonsense".to_vec()], ..Settings::default() };
    assert!(matches!(RemoteJwks::at_with("https://localhost", settings), Err(RemoteError::Tls(_))));
}
