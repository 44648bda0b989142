//! The keys in the file: founding them, opening them, changing them in one transaction.

use std::sync::Arc;
use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRing, NewKey, RingError, State};
use m2mint_keys::seal::MasterKey;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::{AttestedClock, Moment, Reading, UnixTime};
use m2mint_keys::token::Minter;
use rusqlite::Connection;

use crate::audit::heads;
use crate::model::audit::{Action, Entry, Origin};
use crate::rotation::gate::{self, TOLERATED_JUMP};
use crate::rotation::keeper::HEARTBEAT;
use crate::rotation::rings::{self, Rings};
use crate::rotation::{RotationError, Settings};
use crate::store::keys::{Ring, Sealed};
use crate::store::{Store, StoreError, audit, clients, keys};
use crate::witness::Keys;

/// Who acts when nobody asked for it: the server, by its own rules.
pub const SERVER: &str = "server";

/// A key pair that was just made, sealed.
pub struct Fresh {
    /// Goes into the ring.
    pub key: NewKey,
    /// Goes into the file with it.
    pub sealed: Sealed,
}

impl Fresh {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`RotationError::Crypto`] when there is no randomness to be had.
    pub fn make(master: &MasterKey, algorithm: Algorithm) -> Result<Self, RotationError> {
        let (key, seed) = SigningKey::generate(algorithm)?;
        let sealed = master.seal(key.kid(), &seed)?;
        let kid = key.kid().clone();
        Ok(Self { key: NewKey { kid: kid.clone(), public: key.public().clone() }, sealed: (kid, sealed) })
    }
}

/// What the file said when it was opened.
pub struct Opened {
    /// Its keys.
    pub rings: Rings,
    /// Sign with the active ones.
    pub minters: Minters,
    /// Its clock, which goes on from where it stood.
    pub clock: AttestedClock,
    /// When the file was made.
    pub created: UnixTime,
    /// Milliseconds by which the wall clock is further than anything attests.
    pub jump: i64,
    /// Milliseconds by which the wall clock was surely set since the file was last written: back, when negative.
    pub was_set: i64,
}

/// A minter for the active key of each ring.
#[derive(Debug, Clone)]
pub struct Minters {
    /// That of [`rings::DEFAULT`].
    pub default: Arc<Minter>,
    /// All others.
    pub others: Vec<Arc<Minter>>,
}

impl Minters {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Minter>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// Minters for `halves`. Those that sign already are taken from `signing`.
    fn open(
        master: &MasterKey,
        halves: Vec<SigningHalf>,
        signing: Option<&Self>,
    ) -> Result<Self, RotationError> {
        let known = |kid: &Kid| signing.into_iter().flat_map(Self::iter).find(|minter| minter.kid() == kid);
        let mut minters = halves.into_iter().map(|(kid, sealed)| match known(&kid) {
            Some(signs_already) => Ok(Arc::clone(signs_already)),
            None => unseal(master, &kid, sealed),
        });
        let default = minters.next().ok_or(RotationError::NoKeys)??;
        Ok(Self { default, others: minters.collect::<Result<_, _>>()? })
    }
}

/// Founds the keys of a new file: in each ring one signs, one stands by. `also` joins the same transaction.
///
/// # Errors
/// [`RotationError`] when they cannot be made or stored.
pub fn found<T>(
    store: &Store,
    master: &MasterKey,
    reading: Reading,
    settings: &Settings,
    also: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, RotationError> {
    let clock = AttestedClock::start(reading);
    let check = master.make_check()?;
    let used = |algorithm: &Algorithm| {
        *algorithm == rings::DEFAULT || settings.audiences.iter().any(|audience| audience.alg == *algorithm)
    };
    let founded = Algorithm::SIGNING.into_iter().filter(used).map(|algorithm| {
        new_ring(master, algorithm, clock.moment(), settings.lifetime, EarlierSet::HeldByNobody)
    });
    let founded = founded.collect::<Result<Vec<_>, _>>()?;
    store.write(|db| {
        keys::create_issuer(db, &check, &clock)?;
        for (ring, fresh) in &founded {
            keys::save_ring(db, ring, fresh)?;
            tell_founding(db, ring, reading.wall)?;
        }
        Ok(also(db)?)
    })
}

/// Puts the keys of a new ring into the audit log.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn tell_founding(db: &Connection, ring: &Ring, now: UnixTime) -> Result<(), StoreError> {
    ring.keys.records().iter().try_for_each(|key| {
        let entry = Entry::new(now, &Origin::of(SERVER), Action::KeyFound).about(key.kid.as_str());
        audit::append(db, &entry.with("alg", ring.algorithm().name()).with("state", key.state().name()))
    })
}

/// Who can hold a key set from before a ring was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlierSet {
    /// No verifier: none was handed out yet.
    HeldByNobody,
    /// Any verifier, for as long as it caches one.
    MayBeHeld,
}

/// Makes a ring: its first key and the one that stands by.
///
/// # Errors
/// [`RotationError`] when keys cannot be made.
pub fn new_ring(
    master: &MasterKey,
    algorithm: Algorithm,
    now: Moment,
    lifetime: Duration,
    earlier: EarlierSet,
) -> Result<(Ring, Vec<Sealed>), RotationError> {
    let (active, standby) = (Fresh::make(master, algorithm)?, Fresh::make(master, algorithm)?);
    let known = earlier == EarlierSet::HeldByNobody;
    let make = if known { KeyRing::found } else { KeyRing::join };
    let keys = make(active.key, standby.key, now, lifetime);
    Ok((Ring { keys, rotation_asked: None, known }, vec![active.sealed, standby.sealed]))
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
    let (mut clock, created) = (issuer.clock, issuer.created);
    let last = clock.last();
    let jump = gate::jump(last, reading);
    let jump = if jump > TOLERATED_JUMP { jump } else { 0 };
    let since =
        if last.boot == reading.boot { reading.steady.saturating_sub(last.steady).max(0) } else { HEARTBEAT };
    let signed_until =
        UnixTime::from_millis(last.wall.millis().saturating_add(since).saturating_add(TOLERATED_JUMP));
    let seen = clock.observe(reading);
    // A reboot leaves nothing to compare with, but time never goes back.
    let was_set = if last.boot == reading.boot { seen } else { reading.wall.millis_since(last.wall).min(0) };
    let trusted =
        Reading { wall: UnixTime::from_millis(reading.wall.millis().saturating_sub(jump)), ..reading };
    let stored = AttestedClock::resume(clock.moment().attested, trusted);
    let (rings, minters) = change(store, master, &stored, None, true, |rings, _, db| {
        for ring in rings.iter_mut() {
            ring.keys.allow_lifetime(settings.lifetime);
            ring.keys.witness(signed_until);
        }
        let entry = Entry::new(reading.wall, &Origin::of(SERVER), Action::ServerStart);
        audit::append(db, &entry.with("version", env!("CARGO_PKG_VERSION")))?;
        Ok(Vec::new())
    })?;
    Ok(Opened { rings, minters, clock, created, jump, was_set })
}

/// Changes the rings of the file, as they are now, in one transaction, and answers them with a minter for each active key;
/// those that sign already are taken from `signing`. A key whose private half cannot be opened aborts the change.
///
/// When another key of the default ring signs from now on, both sign how far the audit log has come: the outgoing one
/// unless it was revoked. Without `sign_log`, none does: the log is not what it was.
///
/// # Errors
/// [`RotationError`]; unless it is [`StoreError::OutcomeUnknown`], nothing was changed.
pub fn change(
    store: &Store,
    master: &MasterKey,
    clock: &AttestedClock,
    signing: Option<&Minters>,
    sign_log: bool,
    decide: impl FnOnce(&mut Rings, Moment, &Connection) -> Result<Vec<Sealed>, RotationError>,
) -> Result<(Rings, Minters), RotationError> {
    store.write(|db| {
        let before = Rings::of(keys::rings(db)?)?;
        let mut rings = before.clone();
        let fresh = decide(&mut rings, clock.moment(), db)?;
        // A key that was sealed before the master key was rotated could never be opened.
        if !fresh.is_empty() && !keys::issuer(db)?.is_some_and(|issuer| master.passes(&issuer.master_check)) {
            return Err(RotationError::WrongMasterKey);
        }
        for ring in rings.iter().filter(|ring| before.get(ring.algorithm()) != Some(ring)) {
            keys::save_ring(db, ring, &fresh)?;
        }
        keys::save_clock(db, clock)?;
        let minters = Minters::open(master, signing_halves(db, rings.iter())?, signing)?;
        let (outgoing, incoming) = (signing.map(|signing| &signing.default), &minters.default);
        if sign_log && outgoing.is_none_or(|outgoing| outgoing.kid() != incoming.kid()) {
            let revoked = |kid| {
                let key = rings.get(rings::DEFAULT).and_then(|ring| ring.keys.get(kid));
                key.is_none_or(|key| key.state() == State::Revoked)
            };
            if let Some(outgoing) = outgoing.filter(|outgoing| !revoked(outgoing.kid())) {
                heads::sign(db, outgoing.key(), clock.moment())?;
            }
            heads::sign(db, incoming.key(), clock.moment())?;
        }
        Ok((rings, minters))
    })
}

/// Makes the keys of a file that was put back follow `later`, what is known of them from after the backup: none signs that
/// was retired or revoked since, and all that may have good tokens are published. One that is known to every verifier
/// signs, if the file has it; else a new one.
///
/// # Errors
/// [`RotationError`]; unless it is [`StoreError::OutcomeUnknown`], nothing was changed.
pub fn recover(
    store: &Store,
    master: &MasterKey,
    reading: Reading,
    settings: &Settings,
    later: &Keys,
    origin: &Origin,
) -> Result<(Rings, Minters), RotationError> {
    let issuer = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?;
    if !master.passes(&issuer.master_check) {
        return Err(RotationError::WrongMasterKey);
    }
    let mut clock = issuer.clock;
    clock.observe(reading);
    change(store, master, &clock, None, true, |rings, now, db| {
        let longest = longest_lifetime(db, settings)?;
        let mut sealed = Vec::new();
        for ring in rings.iter_mut() {
            let (one, other) =
                (Fresh::make(master, ring.algorithm())?, Fresh::make(master, ring.algorithm())?);
            let fresh = [one.key, other.key];
            ring.keys.follow(|kid| later.may_sign(kid), |kid| later.may_verify(kid), now, fresh, longest);
            let used = |kid: &Kid| ring.keys.get(kid).is_some();
            sealed.extend([one.sealed, other.sealed].into_iter().filter(|(kid, _)| used(kid)));
            let active = ring.keys.active().map(|key| key.kid.to_string()).unwrap_or_default();
            let entry = Entry::new(now.wall, origin, Action::KeyRecover).about(active);
            audit::append(db, &entry.with("alg", ring.algorithm().name()))?;
        }
        Ok(sealed)
    })
}

/// Seals every private half under `new`, in one transaction, and answers how many there are.
///
/// # Errors
/// [`RotationError::WrongMasterKey`] when `old` did not seal them; unless it is [`StoreError::OutcomeUnknown`], nothing
/// was changed.
pub fn reseal(
    store: &Store,
    old: &MasterKey,
    new: &MasterKey,
    now: UnixTime,
    origin: &Origin,
) -> Result<usize, RotationError> {
    let check = new.make_check()?;
    store.write(|db| {
        let issuer = keys::issuer(db)?.ok_or(RotationError::NoKeys)?;
        if !old.passes(&issuer.master_check) {
            return Err(RotationError::WrongMasterKey);
        }
        let sealed = keys::all_sealed(db)?;
        for (kid, sealed) in &sealed {
            let seed = old.open(kid, sealed).map_err(|_| RotationError::WrongMasterKey)?;
            keys::save_sealed(db, kid, &new.seal(kid, &seed)?)?;
        }
        keys::save_master_check(db, &check)?;
        let entry = Entry::new(now, origin, Action::MasterKeyRotate);
        audit::append(db, &entry.with("private_keys", sealed.len()))?;
        Ok(sealed.len())
    })
}

/// The rings of the file with a minter for each active key; those that sign already are taken from `signing`.
///
/// # Errors
/// [`RotationError`] when the file cannot be read, or a private half cannot be opened.
pub fn read(
    store: &Store,
    master: &MasterKey,
    signing: Option<&Minters>,
) -> Result<(Rings, Minters), RotationError> {
    let (rings, halves) = store.read(|db| {
        let snapshot = db.unchecked_transaction()?;
        let rings = keys::rings(&snapshot)?;
        let halves = signing_halves(&snapshot, &rings)?;
        Ok((rings, halves))
    })?;
    let minters = Minters::open(master, halves, signing)?;
    Ok((Rings::of(rings)?, minters))
}

/// The longest lifetime that a key made now may have to sign.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn longest_lifetime(db: &Connection, settings: &Settings) -> Result<Duration, StoreError> {
    Ok(clients::longest_lifetime(db)?.unwrap_or_default().max(settings.lifetime))
}

/// An active key and its private half, which has to be there.
type SigningHalf = (Kid, Option<Vec<u8>>);

fn signing_halves<'a>(
    db: &Connection,
    rings: impl IntoIterator<Item = &'a Ring>,
) -> Result<Vec<SigningHalf>, StoreError> {
    let active = rings.into_iter().filter_map(|ring| ring.keys.active());
    active.map(|active| Ok((active.kid.clone(), keys::sealed(db, &active.kid)?))).collect()
}

/// The minter of a key, whose private half has to be there.
///
/// # Errors
/// [`RotationError`] when it is not, or `master` did not seal it.
pub fn unseal(master: &MasterKey, kid: &Kid, sealed: Option<Vec<u8>>) -> Result<Arc<Minter>, RotationError> {
    let sealed = sealed.ok_or_else(|| RotationError::NoPrivateHalf(kid.to_string()))?;
    let seed = master.open(kid, &sealed).map_err(|_| RotationError::WrongMasterKey)?;
    let key = SigningKey::from_seed(&seed)?;
    if key.kid() != kid {
        return Err(StoreError::Corrupt(RingError::WrongKid(kid.clone()).to_string()).into());
    }
    Ok(Arc::new(Minter::new(key)))
}
