//! What the rest of the server sees of the keys.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use m2mint_keys::crypto;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::key_ring::{KeyRing, Policy};
use m2mint_keys::token::Minter;
use m2mint_keys::verify::{self, Verifier};

/// The longest that verifiers are told to cache the JWKS for, in seconds.
const MAX_AGE: u64 = 300;
/// How many tokens whose signature was good are remembered, for introspection and proxies.
const REMEMBERED: usize = 4096;

/// One state of the keys. Replaced as a whole, never changed.
#[derive(Debug)]
pub struct Published {
    /// Signs.
    pub minter: Arc<Minter>,
    /// The longest lifetime that the file knows the signing key to give.
    pub longest_lifetime: Duration,
    /// Checks tokens against the keys that are published.
    pub verifier: Verifier,
    /// `{"keys":[..]}`.
    pub jwks: Bytes,
    /// The same with `"status":"OK"`, as the SuperTokens core answers.
    pub jwks_with_status: Bytes,
    /// A strong entity tag of `jwks`, quotes included.
    pub etag: String,
    /// Seconds for which `jwks` may be cached.
    pub max_age: u64,
}

impl Published {
    /// What `ring` looks like from outside, with `minter` for its active key.
    #[must_use]
    pub fn new(ring: &KeyRing, minter: Arc<Minter>, policy: &Policy) -> Self {
        let set = JwkSet::new(ring.published().map(|key| &key.public));
        // A JWK Set is strings in vectors: there is nothing in it that could fail to serialize.
        let jwks = serde_json::to_string(&set).unwrap_or_default();
        let mut etag = URL_SAFE_NO_PAD.encode(crypto::sha256(jwks.as_bytes()));
        etag.truncate(22);
        Self {
            minter,
            longest_lifetime: ring.active().map_or(Duration::ZERO, |key| key.longest_lifetime),
            verifier: Verifier::new(
                verify::Policy { leeway: policy.clock_skew, ..verify::Policy::default() },
                &set,
            )
            .with_cache(REMEMBERED),
            jwks_with_status: jwks.replacen('{', r#"{"status":"OK","#, 1).into(),
            jwks: jwks.into(),
            etag: format!("\"{etag}\""),
            max_age: policy.propagation.as_secs().min(MAX_AGE),
        }
    }
}
