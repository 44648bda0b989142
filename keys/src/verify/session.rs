//! SuperTokens session access tokens: what a user's browser brings. Never good as an access token, nor the other way
//! round: key sets, policies, `stt` and types are kept apart.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::jwk::JwkSet;
use crate::signing_key::Algorithm;
use crate::time::UnixTime;
use crate::verify::verified::{Dates, SESSION_HANDLE, text, token_type};
use crate::verify::{Keys, Policy, Rejection, is_plain, members};

/// SuperTokens token type: a session access token.
const STT_SESSION_TOKEN: u8 = 0;

/// Whose session tokens are accepted.
#[derive(Debug, Clone)]
pub struct SessionPolicy {
    /// The `iss` that is expected: the API domain of the backend that holds the sessions, with its base path.
    pub issuer: String,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

/// A user's session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// `sub`: the user.
    pub user_id: String,
    /// `sessionHandle`: the session.
    pub handle: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// Every other claim: `tId`, `rsub`, and what the backend put into the session.
    pub extra: Map<String, Value>,
}

/// Checks session tokens against their own key set and policy.
#[derive(Debug, Clone)]
pub struct SessionVerifier {
    policy: SessionPolicy,
    keys: Keys,
}

impl SessionVerifier {
    /// A verifier for the keys of `set`, which are not those of access tokens. SuperTokens signs sessions with RSA.
    #[must_use]
    pub fn new(policy: SessionPolicy, set: &JwkSet) -> Self {
        Self { policy, keys: Keys::of(set, &[Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]) }
    }

    /// The same verifier after the issuer has published another key set.
    #[must_use]
    pub fn with_keys(&self, set: &JwkSet) -> Self {
        Self { policy: self.policy.clone(), keys: self.keys.replaced_by(set) }
    }

    /// Checks `token` at the time `now`.
    ///
    /// # Errors
    /// The first [`Rejection`] met.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Session, Rejection> {
        let (_, payload) = self.keys.payload(token, is_plain)?;
        let mut claims = members(&payload)?;
        let Dates { issued_at, expires_at, not_before } = Dates::take(&mut claims)?;
        let policy = Policy { leeway: self.policy.leeway, ..Policy::default() };
        Dates { issued_at, expires_at, not_before }.check(&policy, now)?;
        if text(&mut claims, "iss")? != self.policy.issuer {
            return Err(Rejection::WrongIssuer);
        }
        token_type(&mut claims, STT_SESSION_TOKEN)?;
        let (user_id, handle) = (text(&mut claims, "sub")?, text(&mut claims, SESSION_HANDLE)?);
        Ok(Session { user_id, handle, issued_at, expires_at, extra: claims.rest() })
    }
}
