//! Verifiers that follow a set.

use std::sync::{Arc, PoisonError, RwLock};

use crate::jwk::JwkSet;
use crate::remote::{Current, RemoteError, RemoteJwks};
use crate::time::UnixTime;
use crate::verify::notices::Notice;
use crate::verify::session::{Session, SessionPolicy, SessionVerifier};
use crate::verify::{Policy, Rejection, Verified, Verifier};

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteRejection {
    /// It is not good.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Nobody knows: the keys cannot be had.
    #[error(transparent)]
    Unavailable(#[from] RemoteError),
}

/// Checks access tokens by the keys of an issuer. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct RemoteVerifier(Following<Verifier>);

impl RemoteVerifier {
    /// A verifier for the keys of `jwks`.
    #[must_use]
    pub fn new(jwks: RemoteJwks, policy: Policy) -> Self {
        Self(Following::new(jwks, Verifier::new(policy, &JwkSet::default())))
    }

    /// The same verifier, which remembers up to about `capacity` tokens that passed.
    #[must_use]
    pub fn with_cache(self, capacity: usize) -> Self {
        let verifier = self.0.now().1.clone().with_cache(capacity);
        Self(Following::new(self.0.jwks, verifier))
    }

    /// From now on, refuses the tokens that `notice` is about.
    pub fn revoke(&self, notice: Notice, now: UnixTime) {
        self.0.now().1.revoke(notice, now);
    }

    /// Checks `token` at the time `now`. Waits for the issuer only when the key of the token is not known, or the set is
    /// out of date.
    ///
    /// # Errors
    /// [`RemoteRejection`]
    pub async fn verify(&self, token: &str, now: UnixTime) -> Result<Arc<Verified>, RemoteRejection> {
        self.0.verify(|verifier| verifier.verify_cached(token, now)).await
    }
}

/// Checks session tokens by the keys of their issuer. Cheap to clone.
#[derive(Clone)]
pub struct RemoteSessionVerifier(Following<SessionVerifier>);

impl RemoteSessionVerifier {
    /// A verifier for the keys of `jwks`.
    #[must_use]
    pub fn new(jwks: RemoteJwks, policy: SessionPolicy) -> Self {
        Self(Following::new(jwks, SessionVerifier::new(policy, &JwkSet::default())))
    }

    /// Checks `token` at the time `now`.
    ///
    /// # Errors
    /// [`RemoteRejection`]
    pub async fn verify(&self, token: &str, now: UnixTime) -> Result<Session, RemoteRejection> {
        self.0.verify(|verifier| verifier.verify(token, now)).await
    }
}

trait WithKeys: Sized {
    fn with_keys(&self, set: &JwkSet) -> Self;
}

impl WithKeys for Verifier {
    fn with_keys(&self, set: &JwkSet) -> Self {
        self.with_keys(set)
    }
}

impl WithKeys for SessionVerifier {
    fn with_keys(&self, set: &JwkSet) -> Self {
        self.with_keys(set)
    }
}

/// A verifier for the present state of a set.
struct Following<V> {
    jwks: RemoteJwks,
    /// The state for which the verifier was made, and the verifier.
    verifier: Arc<RwLock<Arc<(u64, V)>>>,
}

impl<V> Clone for Following<V> {
    fn clone(&self) -> Self {
        Self { jwks: self.jwks.clone(), verifier: Arc::clone(&self.verifier) }
    }
}

impl<V: WithKeys> Following<V> {
    fn new(jwks: RemoteJwks, verifier: V) -> Self {
        Self { jwks, verifier: Arc::new(RwLock::new(Arc::new((0, verifier)))) }
    }

    fn now(&self) -> Arc<(u64, V)> {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, current: &Current) -> Arc<(u64, V)> {
        let known = self.now();
        if known.0 == current.version {
            return known;
        }
        let mut latest = self.verifier.write().unwrap_or_else(PoisonError::into_inner);
        if latest.0 < current.version {
            *latest = Arc::new((current.version, latest.1.with_keys(&current.set)));
        }
        Arc::clone(&latest)
    }

    async fn verify<T>(&self, check: impl Fn(&V) -> Result<T, Rejection>) -> Result<T, RemoteRejection> {
        let current = self.jwks.current().await?;
        match check(&self.of(&current).1) {
            Err(Rejection::UnknownKey) => {
                let newer = self.jwks.look_again(&current).await;
                Ok(check(&self.of(&newer).1)?)
            }
            outcome => Ok(outcome?),
        }
    }
}
