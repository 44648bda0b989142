//! Verification of access tokens: strict where libraries are lax.
//!
//! | module | holds |
//! |---|---|
//! | [`rejection`] | why a token is refused, one variant a reason |
//! | [`verified`] | what a good token says |
//! | [`session`] | SuperTokens session tokens, which are never access tokens |
//! | [`cache`] | tokens that passed before |
//! | [`notices`] | tokens that are known to be revoked |

pub mod cache;
pub mod notices;
pub mod rejection;
pub mod session;
pub mod verified;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json::{Members, Unreadable};
use crate::jwk::{JwkSet, PublicKey};
use crate::signing_key::Algorithm;
use crate::time::UnixTime;
use crate::verify::cache::Cache;
use crate::verify::notices::{Notice, Notices};
pub use crate::verify::rejection::Rejection;
pub use crate::verify::verified::Verified;

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far the clocks of an issuer and a resource server may be apart where nothing else is said.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// The longest signature: that of an RSA key of 8192 bits.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// What a verifier demands of a token.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The `iss` that is expected; `None` accepts what the key set's owner signed under any name.
    pub issuer: Option<String>,
    /// The `aud` that is expected. A resource server always sets it: a token for another service is none of its own.
    pub audience: Option<String>,
    /// Scopes that must all be there.
    pub scopes: Vec<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Whether `typ` may be `JWT`, as issuers that do not follow RFC 9068 write it. Then only `stt` tells an access
    /// token from an ID token.
    pub plain_typ: bool,
    /// Whether `aud` may name others too: each of them could use the token here.
    pub shared_audience: bool,
}

impl Policy {
    /// What a resource server demands: tokens of `issuer`, for `audience` and nobody else, by clocks that are at most
    /// [`DEFAULT_LEEWAY`] apart.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let leeway = DEFAULT_LEEWAY;
        Self { issuer: Some(issuer.into()), audience: Some(audience.into()), leeway, ..Self::default() }
    }
}

/// A published key.
#[derive(Debug, PartialEq)]
struct Key {
    kid: String,
    public: PublicKey,
}

/// Checks tokens against a key set and a policy.
#[derive(Debug, Clone)]
pub struct Verifier {
    policy: Arc<Policy>,
    keys: Keys,
    cache: Option<Arc<Cache>>,
    notices: Arc<Notices>,
}

impl Verifier {
    /// A verifier for the keys of `set`. Keys that cannot verify access tokens are passed over.
    #[must_use]
    pub fn new(policy: Policy, set: &JwkSet) -> Self {
        let keys = Keys::of(set, &[Algorithm::EdDsa, Algorithm::Es256]);
        Self { policy: Arc::new(policy), keys, cache: None, notices: Arc::default() }
    }

    /// The same verifier, which remembers up to about `capacity` tokens that passed.
    #[must_use]
    pub fn with_cache(self, capacity: usize) -> Self {
        Self { cache: Some(Arc::new(Cache::new(capacity))), ..self }
    }

    /// The same verifier after the issuer has published another key set. What it remembers of tokens stays, but for
    /// those whose key is gone.
    #[must_use]
    pub fn with_keys(&self, set: &JwkSet) -> Self {
        Self { keys: self.keys.replaced_by(set), ..self.clone() }
    }

    /// What is demanded of a token.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// From now on, refuses the tokens that `notice` is about. It concerns every verifier that was made from this one.
    pub fn revoke(&self, notice: Notice, now: UnixTime) {
        self.notices.add(notice, now);
    }

    /// Checks `token` at the time `now`.
    ///
    /// # Errors
    /// The first [`Rejection`] met. Nothing that an unverified token says is believed: the signature is checked first.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Verified, Rejection> {
        self.check(token, now).map(|(verified, _)| verified)
    }

    /// The same for a token that may have been seen before: a hit costs a hash. Without [`Verifier::with_cache`] there
    /// are no hits.
    ///
    /// # Errors
    /// A [`Rejection`], as from [`Verifier::verify`].
    pub fn verify_cached(&self, token: &str, now: UnixTime) -> Result<Arc<Verified>, Rejection> {
        let Some(cache) = &self.cache else { return self.verify(token, now).map(Arc::new) };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLong);
        }
        let digest = Cache::digest(token);
        if let Some((verified, key)) = cache.get(&digest)
            && self.keys.hold(&key)
        {
            verified.check_time(&self.policy, now)?;
            self.notices.check(&verified)?;
            return Ok(verified);
        }
        let (verified, key) = self.check(token, now)?;
        let verified = Arc::new(verified);
        cache.put(digest, Arc::clone(&verified), key);
        Ok(verified)
    }

    fn check(&self, token: &str, now: UnixTime) -> Result<(Verified, Arc<Key>), Rejection> {
        let (key, payload) = self.keys.payload(token, |typ| {
            // RFC 9068 §4: "at+jwt" or "application/at+jwt"; RFC 7515 §4.1.9: media types compare without case.
            typ.is_some_and(|typ| {
                typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
            }) || self.policy.plain_typ && is_plain(typ)
        })?;
        let verified = Verified::read(members(&payload)?, &self.policy, now)?;
        self.notices.check(&verified)?;
        Ok((verified, Arc::clone(key)))
    }
}

/// Whether `typ` says no more than that this is a JWT (RFC 7519 §5.1).
fn is_plain(typ: Option<&str>) -> bool {
    typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"))
}

/// Keys by their kid.
#[derive(Debug, Clone)]
struct Keys {
    algorithms: &'static [Algorithm],
    keys: Vec<Arc<Key>>,
}

impl Keys {
    fn of(set: &JwkSet, algorithms: &'static [Algorithm]) -> Self {
        Self { algorithms, keys: Vec::new() }.replaced_by(set)
    }

    /// The keys of `set`. One that was there before is the same one.
    fn replaced_by(&self, set: &JwkSet) -> Self {
        let keys = set.keys.iter().filter_map(|jwk| {
            let public = jwk.public_key().ok().filter(|key| self.algorithms.contains(&key.algorithm()))?;
            let key = Key { kid: jwk.kid.clone(), public };
            let known = self.keys.iter().find(|known| ***known == key).cloned();
            Some(known.unwrap_or_else(|| Arc::new(key)))
        });
        Self { keys: keys.collect(), algorithms: self.algorithms }
    }

    fn hold(&self, key: &Arc<Key>) -> bool {
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
    }

    /// The payload of a token whose `typ` is acceptable and whose signature is good, with the key that made it.
    fn payload(
        &self,
        token: &str,
        acceptable: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<(&Arc<Key>, Vec<u8>), Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::NotThreeParts)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::NotThreeParts)?;
        if payload.contains('.') {
            return Err(Rejection::NotThreeParts);
        }
        let header = decode(header)?;
        let header = members(&header)?;
        // Whatever else the header says of keys (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
        if header.get("crit").is_some() {
            return Err(Rejection::CriticalExtension);
        }
        if header.get("typ").is_some() && header.text("typ").is_none() || !acceptable(header.text("typ")) {
            return Err(Rejection::WrongType);
        }
        let kid = header.text("kid").ok_or(Rejection::UnknownKey)?;
        let key = self.keys.iter().find(|key| key.kid == kid).ok_or(Rejection::UnknownKey)?;
        if !header.text("alg").is_some_and(|alg| key.public.algorithm().is_called(alg)) {
            return Err(Rejection::WrongAlgorithm);
        }
        let mut buffer = [0; MAX_SIGNATURE_BYTES];
        let length =
            URL_SAFE_NO_PAD.decode_slice(signature, &mut buffer).map_err(|_| Rejection::BadEncoding)?;
        let signature = buffer.get(..length).unwrap_or_default();
        if !key.public.verifies(signed.as_bytes(), signature) {
            return Err(Rejection::BadSignature);
        }
        Ok((key, decode(payload)?))
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::BadEncoding)
}

fn members(json: &[u8]) -> Result<Members<'_>, Rejection> {
    Members::read(json).map_err(|unreadable| match unreadable {
        Unreadable::NotAnObject => Rejection::BadJson,
        Unreadable::DuplicateMember => Rejection::DuplicateMember,
    })
}

#[cfg(test)]
mod tests;
