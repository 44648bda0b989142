//! One request for a token (RFC 6749 §4.4).

use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::client::Secret;
use crate::remote::http::{Endpoint, Http, RemoteError, read, unreachable};

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The issuer refuses it (RFC 6749 §5.2): the client, its secret, or what was asked for.
    #[error("the issuer refuses a token: {error}: {description}")]
    Refused {
        /// `error`, such as `invalid_client`.
        error: String,
        /// `error_description`.
        description: String,
    },
    /// The secret cannot be read.
    #[error("the client secret cannot be read: {0}")]
    Secret(String),
    /// The issuer cannot be reached, or cannot answer now.
    #[error(transparent)]
    Unavailable(RemoteError),
    /// The answer is not one of a token endpoint.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
}

/// What is asked for, by whom.
pub(super) struct TokenRequest {
    pub(super) client_id: String,
    pub(super) secret: Secret,
    pub(super) audience: String,
    pub(super) scope: String,
}

/// A token, and for how long it is good.
pub(super) struct Granted {
    pub(super) token: Zeroizing<String>,
    pub(super) lifetime: Duration,
}

/// What went wrong, and how long the issuer asks to be left alone.
pub(super) struct Failure {
    pub(super) error: TokenError,
    pub(super) retry_after: Option<Duration>,
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        TokenError::Unavailable(error).into()
    }
}

impl TokenRequest {
    pub(super) async fn send(&self, http: &Http, endpoint: &Endpoint) -> Result<Granted, Failure> {
        let secret = self.secret.read().await.map_err(TokenError::Secret)?;
        // RFC 6749 §2.3.1: both are form-encoded before they are put together.
        let encode = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
        let (client_id, secret) = (encode(&self.client_id), encode(&secret));
        let mut form = vec![("grant_type", "client_credentials"), ("audience", &self.audience)];
        if !self.scope.is_empty() {
            form.push(("scope", &self.scope));
        }
        let request = http
            .client()
            .post(endpoint.url().clone())
            .basic_auth(&*client_id, Some(&*secret))
            .header(ACCEPT, "application/json")
            .form(&form);
        let response = request.send().await.map_err(unreachable)?;
        if response.status() == StatusCode::OK {
            return Ok(granted(&Zeroizing::new(read(response).await?))?);
        }
        let retry_after = retry_after(&response);
        let status = response.status();
        let error = refusal(response).await.unwrap_or(TokenError::Unavailable(if status.is_redirection() {
            RemoteError::Redirected
        } else {
            RemoteError::Status(status.as_u16())
        }));
        Err(Failure { error, retry_after })
    }
}

/// RFC 6749 §5.1.
fn granted(body: &[u8]) -> Result<Granted, TokenError> {
    #[derive(Deserialize)]
    struct Body {
        access_token: String,
        token_type: String,
        expires_in: u64,
    }
    let body: Body =
        serde_json::from_slice(body).map_err(|error| TokenError::Malformed(error.to_string()))?;
    let token = Zeroizing::new(body.access_token);
    if !body.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Malformed("the token is not a bearer token".into()));
    }
    // It goes into a header: whatever cannot stand there is no token.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed("the token is not one".into()));
    }
    Ok(Granted { token, lifetime: Duration::from_secs(body.expires_in) })
}

/// RFC 6749 §5.2; `None` when it is something else that went wrong.
async fn refusal(response: Response) -> Option<TokenError> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    if !response.status().is_client_error() || response.status() == StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let Body { error, error_description } = serde_json::from_slice(&read(response).await.ok()?).ok()?;
    Some(TokenError::Refused { error, description: error_description })
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}
