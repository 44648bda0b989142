//! Where the keys stand, for whoever watches the server.

use m2mint_keys::key_ring::{Hold, KeyRecord, Policy, State};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{Moment, UnixTime};

use crate::rotation::RotationError;
use crate::rotation::gate::TOLERATED_JUMP;
use crate::rotation::rings::Rings;
use crate::rotation::verifiers::Verifiers;
use crate::store::keys::Ring;

/// What the keeper saw at its last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Every ring, one an algorithm.
    pub rings: Vec<RingStanding>,
    /// What holds up the keys.
    pub trouble: Option<Trouble>,
    /// Whether the wall clock says a time before the signing key became the signing key.
    pub clock_is_behind: bool,
}

/// What holds up the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The file cannot be read or written.
    Database,
    /// No key can be made: the master key was rotated to one that cannot be found. What is there goes on signing.
    MasterKey,
    /// The keys in the file cannot be used.
    Keys,
}

/// Where a ring stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingStanding {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// How many keys there are in each state, in the order of [`STATES`].
    pub keys: [usize; STATES.len()],
    /// Whether a rotation was asked for and has not happened.
    pub is_queued: bool,
    /// What the next promotion waits for.
    pub hold: Option<Hold>,
    /// Milliseconds until the next promotion; `None` when nothing will cause one.
    pub promotion_in: Option<i64>,
    /// How many known verifiers have the standby, and how many do not.
    pub verifiers: (usize, usize),
    /// Milliseconds until the next retired or revoked key is deleted; `None` when there is none.
    pub deletion_in: Option<i64>,
}

/// Every state, in the order of a key's life.
pub const STATES: [State; 4] = [State::Standby, State::Active, State::Retired, State::Revoked];

impl Standing {
    /// Where `rings` stand at `now`, after the keeper met `error`. The wall clock says `wall`, trusted or not.
    #[must_use]
    pub fn new(
        rings: &Rings,
        policy: &Policy,
        verifiers: &Verifiers,
        now: Moment,
        wall: UnixTime,
        error: Option<&RotationError>,
    ) -> Self {
        let promoted = rings.iter().filter_map(|ring| ring.keys.active()?.promoted);
        let latest = promoted.map(|promoted| promoted.wall).max();
        Self {
            rings: rings.iter().map(|ring| RingStanding::new(ring, policy, verifiers, now)).collect(),
            trouble: error.and_then(Trouble::of),
            clock_is_behind: latest.is_some_and(|latest| latest.millis_since(wall) > TOLERATED_JUMP),
        }
    }
}

impl Trouble {
    fn of(error: &RotationError) -> Option<Self> {
        match error {
            RotationError::Store(_) | RotationError::Audit(_) => Some(Self::Database),
            RotationError::WrongMasterKey => Some(Self::MasterKey),
            RotationError::Crypto(_) | RotationError::NoPrivateHalf(_) | RotationError::NoKeys => {
                Some(Self::Keys)
            }
            RotationError::Revoke(_) | RotationError::Stopping => None,
        }
    }
}

impl RingStanding {
    fn new(ring: &Ring, policy: &Policy, verifiers: &Verifiers, now: Moment) -> Self {
        let known = verifiers.count(ring, policy, now.wall);
        let policy = &verifiers.policy(ring, policy, now.wall);
        let outlook = ring.keys.outlook(policy, now, ring.rotation_asked.is_some());
        let records = ring.keys.records();
        let count = |state| records.iter().filter(|key| key.state() == state).count();
        let deletion_in = |key: &KeyRecord| ring.keys.deletion_in(&key.kid, policy, now);
        Self {
            algorithm: ring.algorithm(),
            keys: STATES.map(count),
            is_queued: ring.rotation_asked.is_some(),
            hold: outlook.hold,
            verifiers: known,
            promotion_in: outlook.promotion_in,
            deletion_in: records.iter().filter_map(deletion_in).min(),
        }
    }
}
