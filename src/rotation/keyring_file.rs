//! The keys in the file: founding them, opening them, changing them in one transaction.

use std::sync::Arc;
use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRing, NewKey, RingError};
use m2mint_keys::seal::MasterKey;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::{AttestedClock, Moment, Reading, UnixTime};
use m2mint_keys::token::Minter;
use rusqlite::Connection;

use crate::rotation::gate::{self, TOLERATED_JUMP};
use crate::rotation::keeper::HEARTBEAT;
use crate::rotation::{RotationError, Settings};
use crate::store::keys::Sealed;
use crate::store::{Store, StoreError, clients, keys};

/// A key pair that was just made, sealed.
pub struct Fresh {
    /// Goes into the ring.
    pub key: NewKey,
    sealed: Sealed,
}

impl Fresh {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`RotationError::Crypto`] when there is no randomness to be had.
    pub fn make(master: &MasterKey) -> Result<Self, RotationError> {
        let (key, seed) = SigningKey::generate(Algorithm::EdDsa)?;
        let sealed = master.seal(key.kid(), &seed)?;
        let kid = key.kid().clone();
        Ok(Self { key: NewKey { kid: kid.clone(), public: key.public().clone() }, sealed: (kid, sealed) })
    }
}

/// What the file said when it was opened.
pub struct Opened {
    /// Its keys.
    pub ring: KeyRing,
    /// Signs with the active one.
    pub minter: Arc<Minter>,
    /// Its clock, which goes on from where it stood.
    pub clock: AttestedClock,
    /// Milliseconds by which the wall clock is further than anything attests.
    pub jump: i64,
    /// When a rotation was asked for that has not happened yet.
    pub rotation_asked: Option<UnixTime>,
}

/// Whether a file has keys already. If so, the master key must be the one that sealed them.
///
/// # Errors
/// [`RotationError`] when the file cannot be read.
pub fn is_founded(store: &Store) -> Result<bool, RotationError> {
    Ok(store.read(keys::issuer)?.is_some())
}

/// Founds the keys of a new file: one signs, one stands by. `also` joins the same transaction.
///
/// # Errors
/// [`RotationError`] when they cannot be made or stored.
pub fn found<T>(
    store: &Store,
    master: &MasterKey,
    reading: Reading,
    lifetime: Duration,
    also: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, RotationError> {
    let clock = AttestedClock::start(reading);
    let (active, standby) = (Fresh::make(master)?, Fresh::make(master)?);
    let ring = KeyRing::found(active.key, standby.key, clock.moment(), lifetime);
    let check = master.make_check()?;
    store.write(|db| {
        keys::create_issuer(db, &check, &clock)?;
        keys::save_ring(db, &ring, &[active.sealed, standby.sealed])?;
        Ok(also(db)?)
    })
}

/// Opens the keys of a file, and notes that they may sign for `settings.lifetime`.
///
/// A run that was killed may have signed after it last wrote its clock down. So the file learns the latest time at which
/// it can have: the clock was signed by only while it went on evenly from what was written.
///
/// # Errors
/// [`RotationError::WrongMasterKey`] when `master` did not seal them.
pub fn open(
    store: &Store,
    master: &MasterKey,
    reading: Reading,
    settings: &Settings,
) -> Result<Opened, RotationError> {
    let issuer = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?;
    if !master.passes(&issuer.master_check) {
        return Err(RotationError::WrongMasterKey);
    }
    let mut clock = issuer.clock;
    let last = clock.last();
    let jump = gate::jump(last, reading);
    let jump = if jump > TOLERATED_JUMP { jump } else { 0 };
    let since =
        if last.boot == reading.boot { reading.steady.saturating_sub(last.steady).max(0) } else { HEARTBEAT };
    let signed_until =
        UnixTime::from_millis(last.wall.millis().saturating_add(since).saturating_add(TOLERATED_JUMP));
    clock.observe(reading);
    let trusted =
        Reading { wall: UnixTime::from_millis(reading.wall.millis().saturating_sub(jump)), ..reading };
    let stored = AttestedClock::resume(clock.moment().attested, trusted);
    let (ring, minter) = change(store, master, &stored, None, |ring, _, _| {
        ring.allow_lifetime(settings.lifetime);
        ring.witness(signed_until);
        Ok(None)
    })?;
    let minter = minter.ok_or(RotationError::NoKeys)?;
    Ok(Opened { ring, minter, clock, jump, rotation_asked: issuer.rotation_asked })
}

/// Changes the ring of the file, as it is now, in one transaction, and answers the ring and a minter for its active key
/// unless that is still `signing`. A key whose private half cannot be opened aborts the change.
///
/// # Errors
/// [`RotationError`]; unless it is [`StoreError::OutcomeUnknown`], nothing was changed.
pub fn change(
    store: &Store,
    master: &MasterKey,
    clock: &AttestedClock,
    signing: Option<&Kid>,
    decide: impl FnOnce(&mut KeyRing, Moment, &Connection) -> Result<Option<Fresh>, RotationError>,
) -> Result<(KeyRing, Option<Arc<Minter>>), RotationError> {
    store.write(|db| {
        let mut ring = keys::ring(db)?.ok_or(RotationError::NoKeys)?;
        let fresh = decide(&mut ring, clock.moment(), db)?;
        let fresh: Vec<Sealed> = fresh.map(|fresh| fresh.sealed).into_iter().collect();
        keys::save_ring(db, &ring, &fresh)?;
        keys::save_clock(db, clock)?;
        let minter = minter(db, master, &ring, signing)?;
        Ok((ring, minter))
    })
}

/// The ring of the file and a minter for its active key, unless that is still `signing`.
///
/// # Errors
/// [`RotationError`] when the file cannot be read, or the private half cannot be opened.
pub fn read(
    store: &Store,
    master: &MasterKey,
    signing: Option<&Kid>,
) -> Result<(KeyRing, Option<Arc<Minter>>), RotationError> {
    let (ring, sealed) = store.read(|db| {
        let ring = keys::ring(db)?;
        let sealed = ring
            .as_ref()
            .and_then(KeyRing::active)
            .map(|active| keys::sealed(db, &active.kid))
            .transpose()?;
        Ok((ring, sealed.flatten()))
    })?;
    let ring = ring.ok_or(RotationError::NoKeys)?;
    let minter = match ring.active().filter(|active| Some(&active.kid) != signing) {
        Some(active) => Some(unseal(master, &active.kid, sealed)?),
        None => None,
    };
    Ok((ring, minter))
}

/// The longest lifetime that a key made now may have to sign.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn longest_lifetime(db: &Connection, settings: &Settings) -> Result<Duration, StoreError> {
    Ok(clients::longest_lifetime(db)?.unwrap_or_default().max(settings.lifetime))
}

fn minter(
    db: &Connection,
    master: &MasterKey,
    ring: &KeyRing,
    signing: Option<&Kid>,
) -> Result<Option<Arc<Minter>>, RotationError> {
    match ring.active().filter(|active| Some(&active.kid) != signing) {
        Some(active) => unseal(master, &active.kid, keys::sealed(db, &active.kid)?).map(Some),
        None => Ok(None),
    }
}

fn unseal(master: &MasterKey, kid: &Kid, sealed: Option<Vec<u8>>) -> Result<Arc<Minter>, RotationError> {
    let sealed = sealed.ok_or_else(|| RotationError::NoPrivateHalf(kid.to_string()))?;
    let seed = master.open(kid, &sealed).map_err(|_| RotationError::WrongMasterKey)?;
    let key = SigningKey::from_seed(&seed)?;
    if key.kid() != kid {
        return Err(StoreError::Corrupt(RingError::WrongKid(kid.clone()).to_string()).into());
    }
    Ok(Arc::new(Minter::new(key)))
}
