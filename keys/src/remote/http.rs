//! What is fetched, from where, and how much of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, IF_NONE_MATCH};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;
use serde::Deserialize;

use crate::jwk::JwkSet;
use crate::remote::Settings;

/// The largest document that is read.
pub const MAX_BYTES: usize = 64 * 1024;
/// For how long a set is fresh when the issuer says nothing.
const DEFAULT_FRESH: Duration = Duration::from_secs(300);
/// For how long it is fresh at most, whatever the issuer says.
const MAX_FRESH: Duration = Duration::from_secs(24 * 3600);
/// How often a request may be sent on, within one host.
const MAX_REDIRECTS: usize = 3;

/// Why something cannot be had from an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Not a URL, or one with a user or a fragment in it.
    #[error("not an acceptable URL: {0}")]
    BadUrl(String),
    /// Keys that come unprotected are anybody's. Only to this machine may plain `http` be spoken.
    #[error("the URL must be https (plain http is for loopback addresses only)")]
    NotHttps,
    /// A certificate that should be trusted is malformed, or TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// No connection, no answer in time, or one that broke off.
    #[error("the issuer cannot be reached: {0}")]
    Unreachable(String),
    /// An answer with another status than 200.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// The issuer sent the request on to another host, or too often.
    #[error("the issuer redirects to another place")]
    Redirected,
    /// More than [`MAX_BYTES`].
    #[error("the answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a JWK Set, or not the metadata of an issuer.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    /// A JWK Set in which no key can verify anything: it replaces no other.
    #[error("the key set has no usable key")]
    NoUsableKey,
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    #[error("the metadata names another issuer")]
    WrongIssuer,
    /// The metadata does not name what is looked for.
    #[error("the metadata names no {0}")]
    NoSuchEndpoint(&'static str),
}

/// A URL from which secrets or keys may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: Url,
    /// As it was given: an issuer is compared by its text.
    text: String,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteError> {
        let url = Url::parse(text).map_err(|error| RemoteError::BadUrl(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(RemoteError::BadUrl("it holds a user or a fragment".into()));
        }
        if !is_protected(&url) {
            return Err(RemoteError::NotHttps);
        }
        Ok(Self { url, text: text.to_owned() })
    }

    #[cfg(feature = "client")]
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Where the metadata of this issuer may be: OpenID Connect Discovery 1.0 §4, RFC 8414 §3.
    fn metadata_urls(&self) -> [Url; 2] {
        let path = self.url.path().trim_end_matches('/');
        let with = |path: String| {
            let mut url = self.url.clone();
            url.set_path(&path);
            url.set_query(None);
            url
        };
        [
            with(format!("{path}/.well-known/openid-configuration")),
            with(format!("/.well-known/oauth-authorization-server{path}")),
        ]
    }
}

fn is_protected(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || url.scheme() == "http" && loopback
}

/// What an issuer says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    pub(crate) jwks_uri: Option<String>,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "for those who ask for tokens"))]
    pub(crate) token_endpoint: Option<String>,
}

/// What a request for a set came to.
pub(crate) struct Fetched {
    pub(crate) answer: Answer,
    /// For how long the set need not be asked for again.
    pub(crate) fresh_for: Duration,
}

pub(crate) enum Answer {
    /// The set that is known already.
    Unchanged,
    Set {
        set: JwkSet,
        etag: Option<String>,
    },
}

/// An HTTP client that goes only where it is sent.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    #[cfg(feature = "client")]
    for_services: Client,
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Self, RemoteError> {
        let tls = |error: String| RemoteError::Tls(error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = settings.root_certificates.iter().map(|der| CertificateDer::from(der.clone()));
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(error.to_string()))?
            // Not dangerous: it is the verifier of the platform.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.map_err(|error| tls(error.to_string()))?))
            .with_no_client_auth();
        let builder = || Client::builder().tls_backend_preconfigured(config.clone()).no_proxy();
        let build = |builder: ClientBuilder| builder.build().map_err(|error| tls(in_full(&error)));
        let home =
            Policy::custom(|attempt| if stays_home(&attempt) { attempt.follow() } else { attempt.stop() });
        let agent = concat!("m2mint-keys/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            client: build(builder().timeout(settings.timeout).redirect(home).user_agent(agent))?,
            #[cfg(feature = "client")]
            for_services: build(builder())?,
        })
    }

    /// For requests to this issuer.
    #[cfg(feature = "client")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// For requests to services: they may redirect, and take their time.
    #[cfg(feature = "client")]
    pub(crate) fn client_for_services(&self) -> Client {
        self.for_services.clone()
    }

    /// The metadata of `issuer`, which must call itself so.
    pub(crate) async fn metadata(&self, issuer: &Endpoint) -> Result<Metadata, RemoteError> {
        let [openid, oauth] = issuer.metadata_urls();
        let body = match self.get(openid, None).await {
            Err(RemoteError::Status(404)) => self.get(oauth, None).await?,
            answer => answer?,
        };
        let body = read(body).await?;
        let metadata: Metadata =
            serde_json::from_slice(&body).map_err(|error| RemoteError::Malformed(error.to_string()))?;
        if metadata.issuer == issuer.text { Ok(metadata) } else { Err(RemoteError::WrongIssuer) }
    }

    /// The key set at `url`, unless it is still the one with this tag.
    pub(crate) async fn jwks(&self, url: &Endpoint, etag: Option<&str>) -> Result<Fetched, RemoteError> {
        let response = self.get(url.url.clone(), etag).await?;
        let fresh_for = fresh_for(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched { answer: Answer::Unchanged, fresh_for });
        }
        let etag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let set = JwkSet::parse(&read(response).await?)
            .map_err(|error| RemoteError::Malformed(error.to_string()))?;
        if set.keys.iter().all(|jwk| jwk.public_key().is_err()) {
            return Err(RemoteError::NoUsableKey);
        }
        Ok(Fetched { answer: Answer::Set { set, etag }, fresh_for })
    }

    async fn get(&self, url: Url, etag: Option<&str>) -> Result<Response, RemoteError> {
        let mut request = self.client.get(url).header(ACCEPT, "application/jwk-set+json, application/json");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(response),
            status if status.is_redirection() => Err(RemoteError::Redirected),
            status => Err(RemoteError::Status(status.as_u16())),
        }
    }
}

/// Whether a redirect stays with the host that was asked.
fn stays_home(attempt: &Attempt<'_>) -> bool {
    let origin = attempt.previous().first().map(Url::origin);
    attempt.previous().len() <= MAX_REDIRECTS && origin == Some(attempt.url().origin())
}

/// The body, as far as it is not absurd.
pub(crate) async fn read(mut response: Response) -> Result<Vec<u8>, RemoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(RemoteError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(crate) fn unreachable(error: reqwest::Error) -> RemoteError {
    RemoteError::Unreachable(in_full(&error.without_url()))
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// RFC 9111 §5.2.2.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let directives = || {
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase())
    };
    if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Duration::ZERO;
    }
    let max_age = directives().find_map(|directive| {
        let seconds = directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds))
    });
    max_age.unwrap_or(DEFAULT_FRESH).min(MAX_FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for url in
            ["https://auth.example.com", "http://127.0.0.1:3567/auth", "http://[::1]/", "http://localhost:1"]
        {
            assert!(Endpoint::parse(url).is_ok(), "{url}");
        }
        for url in
            ["http://auth.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "ftp://127.0.0.1"]
        {
            assert_eq!(Endpoint::parse(url), Err(RemoteError::NotHttps), "{url}");
        }
        for url in ["auth", "", "https://user@auth.example.com", "https://auth.example.com/#x", "https://"] {
            assert!(matches!(Endpoint::parse(url), Err(RemoteError::BadUrl(_))), "{url}");
        }
    }

    #[test]
    fn metadata_is_looked_for_in_two_places() {
        let urls = |issuer| Endpoint::parse(issuer).unwrap().metadata_urls().map(String::from);
        assert_eq!(
            urls("https://auth.example.com/auth"),
            [
                "https://auth.example.com/auth/.well-known/openid-configuration",
                "https://auth.example.com/.well-known/oauth-authorization-server/auth"
            ]
        );
        assert_eq!(
            urls("https://auth.example.com"),
            [
                "https://auth.example.com/.well-known/openid-configuration",
                "https://auth.example.com/.well-known/oauth-authorization-server"
            ]
        );
    }

    #[test]
    fn freshness_is_what_the_issuer_says_within_reason() {
        let fresh = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, reqwest::header::HeaderValue::from_static(value));
            }
            fresh_for(&headers).as_secs()
        };
        assert_eq!(fresh(&[]), 300);
        assert_eq!(fresh(&["public, max-age=60"]), 60);
        assert_eq!(fresh(&["public", "Max-Age=\"61\""]), 61);
        assert_eq!(fresh(&["max-age=600, no-store"]), 0);
        assert_eq!(fresh(&["no-cache"]), 0);
        assert_eq!(fresh(&["max-age=99999999"]), 86_400);
        assert_eq!(fresh(&["max-age=soon"]), 300);
    }
}
