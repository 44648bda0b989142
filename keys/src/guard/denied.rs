//! The answer to those who may not.

use std::fmt;

use crate::bearer::{BearerError, Challenge};
use crate::verify::Rejection;

/// Why a caller may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no token.
    NoToken,
    /// There are several, or what is there is none.
    InvalidRequest,
    /// The token is not good, or not good for this.
    Rejected(Rejection),
    /// A session, where only access tokens are let in.
    SessionNotAllowed,
    /// The keys of the issuer cannot be had.
    Unavailable,
}

/// A request that is not let in, and what to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    reason: Reason,
    challenge: Option<String>,
}

impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason.description())
    }
}

impl Reason {
    fn error(&self) -> Option<BearerError> {
        match self {
            Self::NoToken | Self::Unavailable => None,
            Self::InvalidRequest => Some(BearerError::InvalidRequest),
            Self::Rejected(rejection) => Some(rejection.error()),
            Self::SessionNotAllowed => Some(BearerError::InsufficientScope),
        }
    }

    fn description(&self) -> String {
        match self {
            Self::NoToken => "a bearer token is needed".into(),
            Self::InvalidRequest => {
                "there must be exactly one bearer token, in the Authorization header".into()
            }
            Self::Rejected(rejection) => rejection.to_string(),
            Self::SessionNotAllowed => "a session is not enough here".into(),
            Self::Unavailable => "tokens cannot be checked now; try again shortly".into(),
        }
    }
}

impl Denied {
    pub(super) fn new(
        reason: Reason,
        realm: &str,
        scopes: &[String],
        resource_metadata: Option<&str>,
    ) -> Self {
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let challenge = (reason != Reason::Unavailable).then(|| {
            let description = &reason.description();
            Challenge { realm, error: reason.error(), description, scopes: &scopes, resource_metadata }
                .to_header()
        });
        Self { reason, challenge }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The HTTP status: 400, 401, 403, or 503.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.reason {
            Reason::Unavailable => 503,
            _ => self.reason.error().map_or(401, BearerError::status),
        }
    }

    /// Header fields of the answer.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let challenge = self.challenge.as_deref().map(|challenge| ("www-authenticate", challenge));
        let retry = (self.reason == Reason::Unavailable).then_some(("retry-after", "5"));
        let fixed = [("cache-control", "no-store"), ("content-type", "application/json")];
        challenge.into_iter().chain(retry).chain(fixed)
    }

    /// Body of the answer: the error of RFC 6750 §3.1 in JSON.
    #[must_use]
    pub fn body(&self) -> String {
        let error = match self.reason {
            Reason::Unavailable => "temporarily_unavailable",
            _ => self.reason.error().map_or("invalid_token", BearerError::code),
        };
        serde_json::json!({"error": error, "error_description": self.reason.description()}).to_string()
    }
}
