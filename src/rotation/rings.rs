//! The rings of an issuer, one an algorithm, and which of them signs for which audience.

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRing, Policy};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::Moment;
use rusqlite::Connection;

use crate::model::Audience;
use crate::model::audience::AudienceAlgorithm;
use crate::rotation::RotationError;
use crate::store::StoreError;
use crate::store::audiences::{self, StoredAudience};
use crate::store::keys::{self, Ring};

/// The algorithm of every audience that wants no other.
pub const DEFAULT: Algorithm = Algorithm::EdDsa;

/// Every ring, that of [`DEFAULT`] first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rings(Vec<Ring>);

impl Rings {
    /// The rings of a file.
    ///
    /// # Errors
    /// [`RotationError::NoKeys`] when that of [`DEFAULT`] is not among them.
    pub fn of(rings: Vec<Ring>) -> Result<Self, RotationError> {
        match rings.first() {
            Some(first) if first.algorithm() == DEFAULT => Ok(Self(rings)),
            _ => Err(RotationError::NoKeys),
        }
    }

    /// Every ring.
    pub fn iter(&self) -> std::slice::Iter<'_, Ring> {
        self.0.iter()
    }

    /// Every ring, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Ring> {
        self.0.iter_mut()
    }

    /// The ring of an algorithm, if there is one.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<&Ring> {
        self.iter().find(|ring| ring.algorithm() == algorithm)
    }

    /// The ring of an algorithm, to be changed.
    pub fn get_mut(&mut self, algorithm: Algorithm) -> Option<&mut Ring> {
        self.iter_mut().find(|ring| ring.algorithm() == algorithm)
    }

    /// The keys of the ring that has the key `kid`.
    pub fn holding(&mut self, kid: &Kid) -> Option<&mut KeyRing> {
        self.iter_mut().map(|ring| &mut ring.keys).find(|keys| keys.get(kid).is_some())
    }

    /// Takes in a ring of another algorithm.
    pub fn add(&mut self, ring: Ring) {
        self.0.push(ring);
    }
}

/// What an audience is to be signed for with, by the configuration or by the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The audience.
    pub name: Audience,
    /// The algorithm.
    pub alg: Algorithm,
    /// Whether somebody vouches that no service checks tokens for it yet.
    pub at_once: bool,
    /// Whether it stands in the configuration, which goes before the file.
    pub configured: bool,
}

impl Wish {
    /// What its tokens are signed with now: until every verifier can have the keys of a new ring, [`DEFAULT`].
    #[must_use]
    pub fn signed_with(&self, rings: &Rings) -> Algorithm {
        let ready = |ring: &Ring| ring.known || self.at_once;
        if rings.get(self.alg).is_some_and(ready) { self.alg } else { DEFAULT }
    }

    /// Milliseconds until its tokens are signed as it wants; `None` while there is no ring.
    #[must_use]
    pub fn met_in(&self, rings: &Rings, policy: &Policy, now: Moment) -> Option<i64> {
        let ring = rings.get(self.alg)?;
        Some(if ring.known || self.at_once { 0 } else { ring.keys.known_in(policy, now) })
    }
}

/// What all audiences want of which anything is known.
#[must_use]
pub fn wishes(configured: &[AudienceAlgorithm], stored: &[StoredAudience]) -> Vec<Wish> {
    let in_file = |name: &Audience| stored.iter().find(|stored| stored.name == *name);
    let configured = configured.iter().map(|one| Wish {
        name: one.name.clone(),
        alg: one.alg,
        at_once: in_file(&one.name).is_some_and(|stored| stored.at_once && stored.alg == one.alg),
        configured: true,
    });
    let mut wishes: Vec<Wish> = configured.collect();
    for StoredAudience { name, alg, at_once } in stored {
        if !wishes.iter().any(|wish| wish.name == *name) {
            wishes.push(Wish { name: name.clone(), alg: *alg, at_once: *at_once, configured: false });
        }
    }
    wishes.sort_by(|a, b| a.name.cmp(&b.name));
    wishes
}

/// Where an audience stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceStatus {
    /// What it wants.
    pub wish: Wish,
    /// What its tokens are signed with now.
    pub signed_with: Algorithm,
    /// Milliseconds until they are signed as it wants; `None` while no server has made the keys.
    pub met_in: Option<i64>,
}

/// Where the audiences stand of which anything is known.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn audiences(
    db: &Connection,
    configured: &[AudienceAlgorithm],
    policy: &Policy,
    now: Moment,
) -> Result<Vec<AudienceStatus>, StoreError> {
    let rings = Rings(keys::rings(db)?);
    let status = |wish: Wish| AudienceStatus {
        signed_with: wish.signed_with(&rings),
        met_in: wish.met_in(&rings, policy, now),
        wish,
    };
    Ok(wishes(configured, &audiences::all(db)?).into_iter().map(status).collect())
}
