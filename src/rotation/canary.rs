//! Canaries: tokens that the standby signs, so that the owner of a service can see before a rotation that the service knows
//! the key. Nothing else makes a standby sign.

use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::CanaryError as RingError;
use m2mint_keys::seal::MasterKey;
use m2mint_keys::time::{Reading, UnixTime};
use m2mint_keys::token::CANARY_LIFETIME;

use crate::model::Audience;
use crate::model::audience::AudienceAlgorithm;
use crate::model::audit::{Action, Entry, Origin, date};
use crate::rotation::RotationError;
use crate::rotation::gate::{TOLERATED_JUMP, jump};
use crate::rotation::keyring_file::unseal;
use crate::rotation::rings::{DEFAULT, Rings, wishes};
use crate::store::{Store, StoreError, audiences, audit, keys};

/// Why there is no canary.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// There is no key for it.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// What is signed by a clock that runs ahead outlives its key.
    #[error(
        "the clock is ahead of what the database knows, and nothing is signed by such a clock before a running server has \
         written it down: start the server, or wait a minute"
    )]
    ClockAhead,
    /// The keys.
    #[error(transparent)]
    Rotation(#[from] RotationError),
}

impl From<StoreError> for CanaryError {
    fn from(error: StoreError) -> Self {
        Self::Rotation(error.into())
    }
}

/// A canary.
#[derive(Debug)]
pub struct Canary {
    /// The token.
    pub token: String,
    /// The standby that signed it.
    pub kid: Kid,
    /// Until when it is good.
    pub expires_at: UnixTime,
}

/// Signs a canary of `issuer` for `audience` with the standby of the ring that signs for it. The audit log and the key's
/// record tell of it before it is signed.
///
/// # Errors
/// [`CanaryError`]
pub fn sign(
    store: &Store,
    master: &MasterKey,
    reading: Reading,
    configured: &[AudienceAlgorithm],
    (issuer, audience): (&str, &Audience),
    origin: &Origin,
) -> Result<Canary, CanaryError> {
    let now = reading.wall;
    let (minter, lifetime) = store.write(|db| {
        let stored = keys::issuer(db)?.ok_or(RotationError::NoKeys)?;
        if !master.passes(&stored.master_check) {
            return Err(RotationError::WrongMasterKey.into());
        }
        let mut clock = stored.clock;
        if jump(clock.last(), reading) > TOLERATED_JUMP {
            return Err(CanaryError::ClockAhead);
        }
        clock.observe(reading);
        let mut rings = Rings::of(keys::rings(db)?)?;
        let wishes = wishes(configured, &audiences::all(db)?);
        let wish = wishes.iter().find(|wish| wish.name == *audience);
        let algorithm = wish.map_or(DEFAULT, |wish| wish.signed_with(&rings));
        let ring = rings.get_mut(algorithm).ok_or(RotationError::NoKeys)?;
        let (kid, lifetime) = ring.keys.allow_canary(clock.moment(), Duration::from_secs(CANARY_LIFETIME))?;
        let minter = unseal(master, &kid, keys::sealed(db, &kid)?)?;
        keys::save_ring(db, ring, &[])?;
        let entry = Entry::new(now, origin, Action::KeyCanary).about(kid.as_str());
        let entry = entry.with("audience", audience.as_str()).with("expires_at", date(now.plus(lifetime)));
        audit::append(db, &entry)?;
        Ok::<_, CanaryError>((minter, lifetime.as_secs()))
    })?;
    let token = minter.mint_canary(issuer, audience.as_str(), now, lifetime).map_err(RotationError::from)?;
    let expires_at = UnixTime::from_secs(now.secs().saturating_add_unsigned(lifetime));
    Ok(Canary { token, kid: minter.kid().clone(), expires_at })
}
