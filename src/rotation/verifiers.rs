//! Which verifiers have fetched the next key.
//!
//! Everybody who fetches the key set is noted in memory; who comes back is a verifier, and is written to the file too, so
//! that it is known across restarts. There is room for [`MOST`]: strangers go first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use m2mint_keys::key_ring::Policy;
use m2mint_keys::time::{Moment, UnixTime, millis};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::limits::source::Source;
use crate::model::verifier::{Held, Verifier, Who};
use crate::store::keys::Ring;
use crate::store::{Result, verifiers};

/// How many are remembered.
pub const MOST: usize = 1024;
/// How many of them are at one address, or in one /64 (IPv6): nobody makes up so many that there is no room for others.
pub const MOST_AT_ONE_PLACE: usize = 64;
/// Who does not fetch the key set for so long, or for twice as long as anybody may keep one, verifies nothing any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// How long a change waits to be written down together with others, in milliseconds.
const SETTLES: i64 = 5_000;

/// Those who fetch the key set.
#[derive(Debug, Default)]
pub struct Verifiers {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    by_name: HashMap<Who, Verifier>,
    /// Of whom the file does not know everything.
    unsaved: HashSet<Who>,
    /// Whom the file has to forget.
    forgotten: HashSet<Who>,
    /// Whether somebody new, or another key set, is among that: not just that somebody came again.
    is_news: bool,
    /// When it was last written.
    saved: Option<Moment>,
}

/// What the file has to be told.
#[derive(Debug, Default)]
pub struct Unsaved {
    changed: Vec<Verifier>,
    forgotten: Vec<Who>,
}

impl Verifiers {
    /// Those that are known from earlier.
    #[must_use]
    pub fn known(earlier: Vec<Verifier>) -> Self {
        let by_name =
            earlier.into_iter().take(MOST).map(|verifier| (verifier.who.clone(), verifier)).collect();
        Self { seen: Mutex::new(Seen { by_name, ..Seen::default() }) }
    }

    /// Notes that `who` was given `held`, or told that it has it already.
    pub fn note(&self, who: Who, held: &Arc<Held>, now: UnixTime) {
        let mut seen = self.seen.lock();
        let seen = &mut *seen;
        if let Some(verifier) = seen.by_name.get_mut(&who) {
            let before = (verifier.comes_back(), Arc::clone(&verifier.held));
            verifier.last_seen = verifier.last_seen.max(now);
            verifier.held = Arc::clone(held);
            let after = verifier.comes_back();
            if after {
                seen.is_news |= !before.0 || before.1.etag != held.etag;
                seen.unsaved.insert(who);
            }
            return;
        }
        let place = Source::of(who.address);
        let here = seen.by_name.values().filter(|known| Source::of(known.who.address).is_beside(place));
        let makes_room = if here.clone().count() >= MOST_AT_ONE_PLACE {
            least(here)
        } else if seen.by_name.len() >= MOST {
            least(seen.by_name.values())
        } else {
            None
        };
        if let Some(who) = makes_room {
            seen.forget(&who);
        }
        let verifier = Verifier { who: who.clone(), first_seen: now, last_seen: now, held: Arc::clone(held) };
        seen.by_name.insert(who, verifier);
    }

    /// How many known verifiers have the standby of `ring`, and how many do not.
    #[must_use]
    pub fn count(&self, ring: &Ring, policy: &Policy, now: UnixTime) -> (usize, usize) {
        let seen = self.seen.lock();
        let known = seen.by_name.values().filter(|verifier| counts(verifier, ring, policy, now));
        known.fold((0, 0), |(having, lacking), verifier| match has_standby(verifier, ring) {
            true => (having + 1, lacking),
            false => (having, lacking + 1),
        })
    }

    /// The numbers to go by in `ring`: who lacks its standby holds up a promotion.
    #[must_use]
    pub fn policy(&self, ring: &Ring, policy: &Policy, now: UnixTime) -> Policy {
        // There is nobody to look for where nobody is waited for.
        let lacking = if policy.held_up.is_zero() { 0 } else { self.count(ring, policy, now).1 };
        policy_where(lacking, policy)
    }

    /// Who has the standby of `ring`, and who does not.
    #[must_use]
    pub fn reach(&self, ring: &Ring, policy: &Policy, now: UnixTime) -> Reach {
        Reach::of(ring, self.seen.lock().by_name.values(), policy, now)
    }

    /// How many are remembered, strangers too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.lock().by_name.len()
    }

    /// Whether nobody has fetched the key set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has to be written to the file now: news soon, the rest when `everything` is asked for.
    #[must_use]
    pub fn take_unsaved(&self, policy: &Policy, now: Moment, everything: bool) -> Option<Unsaved> {
        let mut seen = self.seen.lock();
        let is_early = |saved: Moment| now.attested.millis_since(saved.attested) < SETTLES;
        if !everything && (!seen.is_news || seen.saved.is_some_and(is_early)) {
            return None;
        }
        let gone: Vec<Who> = seen
            .by_name
            .values()
            .filter(|verifier| is_gone(verifier, policy, now.wall))
            .map(|verifier| verifier.who.clone())
            .collect();
        gone.iter().for_each(|who| seen.forget(who));
        let changed = seen.unsaved.iter().filter_map(|who| seen.by_name.get(who)).cloned().collect();
        let unsaved = Unsaved { changed, forgotten: seen.forgotten.drain().collect() };
        seen.unsaved.clear();
        (seen.is_news, seen.saved) = (false, Some(now));
        (!unsaved.is_empty()).then_some(unsaved)
    }

    /// What could not be written is tried again.
    pub fn put_back(&self, unsaved: Unsaved) {
        let mut seen = self.seen.lock();
        seen.is_news = true;
        seen.unsaved.extend(unsaved.changed.into_iter().map(|verifier| verifier.who));
        let forgotten: Vec<_> =
            unsaved.forgotten.into_iter().filter(|who| !seen.by_name.contains_key(who)).collect();
        seen.forgotten.extend(forgotten);
    }
}

impl Seen {
    fn forget(&mut self, who: &Who) {
        let Some(verifier) = self.by_name.remove(who) else { return };
        self.unsaved.remove(who);
        if verifier.comes_back() {
            self.forgotten.insert(verifier.who);
        }
    }
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.forgotten.is_empty()
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] when the file cannot be written.
    pub fn save(&self, db: &Connection) -> Result<()> {
        self.forgotten.iter().try_for_each(|who| verifiers::remove(db, who))?;
        self.changed.iter().try_for_each(|verifier| verifiers::put(db, verifier))
    }
}

/// How far the standby of a ring has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The known verifiers that have it.
    pub having: Vec<Verifier>,
    /// The known verifiers that do not, those first that have been away for the longest time.
    pub lacking: Vec<Verifier>,
}

impl Reach {
    /// How far the standby of `ring` has come among `verifiers`, of which strangers, and those that are gone, do not count.
    #[must_use]
    pub fn of<'a>(
        ring: &Ring,
        verifiers: impl IntoIterator<Item = &'a Verifier>,
        policy: &Policy,
        now: UnixTime,
    ) -> Self {
        let known = verifiers.into_iter().filter(|verifier| counts(verifier, ring, policy, now)).cloned();
        let (having, mut lacking): (Vec<_>, Vec<_>) = known.partition(|verifier| has_standby(verifier, ring));
        lacking.sort_by_key(|verifier| verifier.last_seen);
        Self { having, lacking }
    }

    /// The numbers to go by in that ring: nobody holds up a key that everybody has.
    #[must_use]
    pub fn policy(&self, policy: &Policy) -> Policy {
        policy_where(self.lacking.len(), policy)
    }

    /// Each known verifier, and whether it has the standby; those first that do not.
    pub fn each(&self) -> impl Iterator<Item = (&Verifier, bool)> {
        let lacking = self.lacking.iter().map(|verifier| (verifier, false));
        lacking.chain(self.having.iter().map(|verifier| (verifier, true)))
    }

    /// How many verifiers are known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.having.len() + self.lacking.len()
    }
}

/// Strangers first; and of those, who has not been here for the longest time.
fn least<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> Option<Who> {
    verifiers.min_by_key(|known| (known.comes_back(), known.last_seen)).map(|known| known.who.clone())
}

fn policy_where(lacking: usize, policy: &Policy) -> Policy {
    Policy { held_up: if lacking == 0 { Duration::ZERO } else { policy.held_up }, ..*policy }
}

/// Whether `ring` has to do with it: it is no stranger, wants the keys of the ring, and is still there.
fn counts(verifier: &Verifier, ring: &Ring, policy: &Policy, now: UnixTime) -> bool {
    verifier.comes_back() && verifier.wants(ring.algorithm()) && !is_gone(verifier, policy, now)
}

fn has_standby(verifier: &Verifier, ring: &Ring) -> bool {
    ring.keys.standby().is_none_or(|standby| verifier.holds(&standby.kid))
}

fn is_gone(verifier: &Verifier, policy: &Policy, now: UnixTime) -> bool {
    let kept = FORGOTTEN_AFTER.max(policy.propagation.saturating_add(policy.held_up).saturating_mul(2));
    now.millis_since(verifier.last_seen) > millis(kept)
}
