//! What stands between callers and a service: takes the bearer token of a request, has it checked, says who calls, and
//! answers those who may not (RFC 6750 §3).
//!
//! | module | holds |
//! |---|---|
//! | [`caller`] | who calls |
//! | [`denied`] | the answer to those who may not |
//! | [`metadata`] | how clients find out where to get a token (RFC 9728) |
//! | [`actix`] | middleware and extractor for actix-web |
//! | [`tower`] | layer for tower, and so for axum |

#[cfg(feature = "actix")]
pub mod actix;
pub mod caller;
pub mod denied;
pub mod metadata;
#[cfg(feature = "tower")]
pub mod tower;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bearer;
pub use crate::guard::caller::Caller;
pub use crate::guard::denied::{Denied, Reason};
use crate::guard::metadata::{Metadata, MetadataError};
use crate::remote::{RemoteError, RemoteJwks, RemoteRejection, RemoteSessionVerifier, RemoteVerifier};
use crate::time::{UnixTime, millis};
use crate::verify::session::SessionPolicy;
use crate::verify::{Policy, Rejection};

/// How many verified tokens a guard remembers.
const REMEMBERED: usize = 4096;

/// Guards a service. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    realm: String,
    access: RemoteVerifier,
    sessions: Option<RemoteSessionVerifier>,
    metadata: Option<Metadata>,
    issuer: Option<String>,
    clock: fn() -> UnixTime,
}

impl Guard {
    /// Guards the service that `issuer` knows as `audience`. The issuer's keys are fetched when the first token comes.
    ///
    /// # Errors
    /// [`RemoteError`] when `issuer` is not an acceptable URL.
    pub fn new(issuer: &str, audience: &str) -> Result<Self, RemoteError> {
        Ok(Self::with(RemoteJwks::discover(issuer)?, Policy::new(issuer, audience)))
    }

    /// Guards by any key set and policy.
    #[must_use]
    pub fn with(jwks: RemoteJwks, policy: Policy) -> Self {
        Self(Arc::new(Inner {
            realm: policy.audience.clone().unwrap_or_default(),
            issuer: policy.issuer.clone(),
            access: RemoteVerifier::new(jwks, policy).with_cache(REMEMBERED),
            sessions: None,
            metadata: None,
            clock: wall_clock,
        }))
    }

    /// The same guard, which also knows SuperTokens session tokens, by the keys and the policy of *their* issuer. They are
    /// let in only where [`Requirement::or_session`] says so.
    #[must_use]
    pub fn with_sessions(self, jwks: RemoteJwks, policy: SessionPolicy) -> Self {
        let sessions = Some(RemoteSessionVerifier::new(jwks, policy));
        Self(Arc::new(Inner { sessions, ..Inner::clone(&self.0) }))
    }

    /// The same guard, which tells clients where to get tokens (RFC 9728). `resource` is the URL under which clients
    /// know this service.
    ///
    /// # Errors
    /// [`MetadataError`] when it is not an acceptable URL.
    pub fn with_metadata(self, resource: &str, scopes: &[&str]) -> Result<Self, MetadataError> {
        let metadata = Some(Metadata::new(resource, self.0.issuer.as_deref(), scopes)?);
        Ok(Self(Arc::new(Inner { metadata, ..Inner::clone(&self.0) })))
    }

    /// The same guard by another clock.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixTime) -> Self {
        Self(Arc::new(Inner { clock, ..Inner::clone(&self.0) }))
    }

    /// Demands all of these scopes of an access token: middleware and layer in one.
    pub fn require<'a>(&self, scopes: impl IntoIterator<Item = &'a str>) -> Requirement {
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        Requirement { guard: self.clone(), scopes, or_session: false }
    }

    /// What is published at [`metadata::PATH`]; `None` without [`Guard::with_metadata`].
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.0.metadata.as_ref()
    }

    async fn caller<'h>(
        &self,
        authorizations: impl Iterator<Item = Option<&'h str>>,
    ) -> Result<Caller, Reason> {
        let now = (self.0.clock)();
        let token = only_token(authorizations)?;
        let unknown = match self.0.access.verify(token, now).await {
            Ok(verified) => return Ok(Caller::of(verified)),
            Err(RemoteRejection::Unavailable(_)) => return Err(Reason::Unavailable),
            Err(RemoteRejection::Rejected(rejection)) => rejection,
        };
        // Whose token it is follows from its type and key. What neither issuer made is refused as an access token.
        match &self.0.sessions {
            Some(sessions) if matches!(unknown, Rejection::UnknownKey | Rejection::WrongType) => {
                match sessions.verify(token, now).await {
                    Ok(session) => Ok(Caller::Session(session)),
                    Err(RemoteRejection::Unavailable(_)) => Err(Reason::Unavailable),
                    Err(RemoteRejection::Rejected(Rejection::UnknownKey | Rejection::WrongType)) => {
                        Err(Reason::Rejected(unknown))
                    }
                    Err(RemoteRejection::Rejected(rejection)) => Err(Reason::Rejected(rejection)),
                }
            }
            _ => Err(Reason::Rejected(unknown)),
        }
    }
}

/// RFC 6750 §2: exactly one token, in the header.
fn only_token<'h>(mut authorizations: impl Iterator<Item = Option<&'h str>>) -> Result<&'h str, Reason> {
    let Some(authorization) = authorizations.next() else { return Err(Reason::NoToken) };
    if authorizations.next().is_some() {
        return Err(Reason::InvalidRequest);
    }
    // A header that is not text has no token in it.
    let token = bearer::token(authorization.ok_or(Reason::InvalidRequest)?);
    token.map_err(|_| Reason::InvalidRequest)?.ok_or(Reason::NoToken)
}

/// What a route demands of its callers. Made by [`Guard::require`].
#[derive(Clone)]
pub struct Requirement {
    guard: Guard,
    scopes: Vec<String>,
    or_session: bool,
}

impl Requirement {
    /// Lets in users with a session too. A session has no scopes: what its user may do is for the service to know.
    #[must_use]
    pub fn or_session(self) -> Self {
        Self { or_session: true, ..self }
    }

    /// Who calls, if they may.
    ///
    /// # Errors
    /// [`Denied`]: the answer to send instead.
    pub async fn admit<'h>(
        &self,
        authorizations: impl Iterator<Item = Option<&'h str>>,
    ) -> Result<Caller, Denied> {
        let admitted = match self.guard.caller(authorizations).await {
            Ok(Caller::Session(_)) if !self.or_session => Err(Reason::SessionNotAllowed),
            Ok(Caller::Service(token) | Caller::UserDelegated(token))
                if !self.scopes.iter().all(|scope| token.allows(scope)) =>
            {
                let missing = self.scopes.iter().find(|scope| !token.allows(scope)).cloned();
                Err(Reason::Rejected(Rejection::MissingScope(missing.unwrap_or_default())))
            }
            caller => caller,
        };
        admitted.map_err(|reason| {
            let Inner { realm, metadata, .. } = &*self.guard.0;
            Denied::new(reason, realm, &self.scopes, metadata.as_ref().map(Metadata::url))
        })
    }
}

fn wall_clock() -> UnixTime {
    // Before 1970 nothing is valid.
    UnixTime::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}
