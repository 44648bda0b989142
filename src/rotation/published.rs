//! What the rest of the server sees of the keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use m2mint_keys::crypto;
use m2mint_keys::jwk::{Jwk, JwkSet, Kid};
use m2mint_keys::key_ring::Policy;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::token::Minter;
use m2mint_keys::verify::{self, Verifier};

use crate::model::verifier::Held;
use crate::rotation::keyring_file::Minters;
use crate::rotation::rings::{Rings, Wish};
use crate::store::keys::Ring;

/// The longest that verifiers are told to cache the JWKS for, in seconds.
pub const MAX_AGE: u32 = 300;
/// How many tokens whose signature was good are remembered, for introspection and proxies.
const REMEMBERED: usize = 4096;

/// One state of the keys. Replaced as a whole, never changed.
#[derive(Debug)]
pub struct Published {
    /// Signs where the audience wants nothing else.
    default: Arc<Signer>,
    /// Signs for audiences with an algorithm of their own.
    by_audience: HashMap<Box<str>, Arc<Signer>>,
    /// The keys of all of them.
    signing: Vec<Kid>,
    /// Checks tokens against the keys that are published.
    pub verifier: Verifier,
    /// Every key.
    pub all: KeySet,
    /// The keys of each algorithm.
    by_algorithm: Vec<(Algorithm, KeySet)>,
    /// All keys with `"status":"OK"`, as the SuperTokens core answers.
    pub with_status: Bytes,
    /// Seconds for which a key set may be cached.
    pub max_age: u64,
}

/// Signs tokens with the active key of a ring.
#[derive(Debug)]
pub struct Signer {
    /// The key.
    pub minter: Arc<Minter>,
    /// The longest lifetime that the file knows the key to give.
    pub longest_lifetime: Duration,
}

/// A JWKS, ready to send.
#[derive(Debug)]
pub struct KeySet {
    /// `{"keys":[..]}`.
    pub body: Bytes,
    /// What is known of whoever holds it; the entity tag is strong.
    pub held: Arc<Held>,
}

impl KeySet {
    fn new(set: &JwkSet) -> Self {
        // A JWK Set is strings in vectors: there is nothing in it that could fail to serialize.
        let body = serde_json::to_string(set).unwrap_or_default();
        let mut etag = URL_SAFE_NO_PAD.encode(crypto::sha256(body.as_bytes()));
        etag.truncate(22);
        let kids = set.keys.iter().filter_map(|key| Kid::parse(&key.kid)).collect();
        Self { body: body.into(), held: Arc::new(Held { etag: format!("\"{etag}\""), kids }) }
    }
}

/// A set as the SuperTokens core answers it.
fn with_status(body: &[u8]) -> Bytes {
    String::from_utf8_lossy(body).replacen('{', r#"{"status":"OK","#, 1).into()
}

impl Published {
    /// What `rings` look like from outside, with `minters` for their active keys and what audiences want.
    #[must_use]
    pub fn new(rings: &Rings, minters: &Minters, wishes: &[Wish], policy: &Policy) -> Self {
        let published = |ring: &Ring| JwkSet::new(ring.keys.published().map(|key| &key.public));
        let all = JwkSet::new(rings.iter().flat_map(|ring| ring.keys.published()).map(|key| &key.public));
        let signer = |minter: &Arc<Minter>| {
            let ring = rings.get(minter.algorithm());
            let active = ring.and_then(|ring| ring.keys.active());
            Arc::new(Signer {
                minter: Arc::clone(minter),
                longest_lifetime: active.map_or(Duration::ZERO, |active| active.longest_lifetime),
            })
        };
        let others: Vec<_> = minters.others.iter().map(signer).collect();
        let with_own = wishes.iter().filter_map(|wish| {
            let algorithm = wish.signed_with(rings);
            let signer = others.iter().find(|signer| signer.minter.algorithm() == algorithm)?;
            Some((wish.name.as_str().into(), Arc::clone(signer)))
        });
        let everything = KeySet::new(&all);
        Self {
            default: signer(&minters.default),
            by_audience: with_own.collect(),
            signing: rings.iter().filter_map(|ring| Some(ring.keys.active()?.kid.clone())).collect(),
            verifier: Verifier::new(
                verify::Policy { leeway: policy.clock_skew, ..verify::Policy::default() },
                &all,
            )
            .with_cache(REMEMBERED),
            with_status: with_status(&everything.body),
            all: everything,
            by_algorithm: rings
                .iter()
                .map(|ring| (ring.algorithm(), KeySet::new(&published(ring))))
                .collect(),
            max_age: policy.propagation.as_secs().min(MAX_AGE.into()),
        }
    }

    /// Every key together with those of others, as a set and with a status. Whoever holds it holds all of ours.
    #[must_use]
    pub fn with_others(&self, others: &[Jwk]) -> (KeySet, Bytes) {
        let mut set = JwkSet::parse(&self.all.body).unwrap_or_default();
        for other in others {
            if set.keys.iter().all(|key| key.kid != other.kid) {
                set.keys.push(other.clone());
            }
        }
        let KeySet { body, held } = KeySet::new(&set);
        let held = Held { etag: held.etag.clone(), kids: self.all.held.kids.clone() };
        let with_status = with_status(&body);
        (KeySet { body, held: Arc::new(held) }, with_status)
    }

    /// Who signs tokens for `audience`.
    #[must_use]
    pub fn signer(&self, audience: &str) -> &Signer {
        self.by_audience.get(audience).unwrap_or(&self.default)
    }

    /// The keys that sign. Their private halves are open, so they were sealed with the master key.
    #[must_use]
    pub fn signing_kids(&self) -> Vec<Kid> {
        self.signing.clone()
    }

    /// The published keys of the algorithm called `name`, if there are any.
    #[must_use]
    pub fn of_algorithm(&self, name: &str) -> Option<(Algorithm, &KeySet)> {
        let found = self.by_algorithm.iter().find(|(algorithm, _)| algorithm.is_called(name));
        found.map(|(algorithm, set)| (*algorithm, set))
    }

    /// What tokens are signed with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.by_algorithm.iter().map(|(algorithm, _)| *algorithm)
    }
}
