//! The keys as administrators see them, and what the rule will do next.

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRecord, Outlook, Policy, State};
use m2mint_keys::time::{Moment, UnixTime, millis};
use serde_json::Value;

use crate::clock::Clock;
use crate::model::audit::date_to_the_second as date;
use crate::rotation::RotationError;
use crate::rotation::keeper::in_words;
use crate::rotation::verifiers::Reach;
use crate::store::keys::Ring;
use crate::store::{Store, StoreError, audit, keys, verifiers};

/// How many verifiers that lack a key are named in a sentence.
const MOST_NAMED: usize = 3;

/// The moment, by the file's clock.
///
/// # Errors
/// When there are no keys in the file yet.
pub fn now(store: &Store) -> Result<Moment, RotationError> {
    let mut clock = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?.clock;
    clock.observe(Clock::system().read());
    Ok(clock.moment())
}

/// What the revocation of a key in this state does, in words; nothing when it is revoked.
#[must_use]
pub const fn on_revocation(state: State) -> Option<&'static str> {
    match state {
        State::Revoked => None,
        State::Active => {
            Some("It signs now: the standby takes over at once, and every token that it signed is refused.")
        }
        State::Retired => Some("Every token that it signed is refused."),
        State::Standby => Some("It has signed nothing; another standby takes its place."),
    }
}

/// The rings as people see them.
#[derive(Debug)]
pub struct View {
    /// Every ring.
    pub rings: Vec<RingView>,
    /// The numbers of the rotation rule.
    pub policy: Policy,
    /// When it was looked at.
    pub now: Moment,
    /// The last time that the clock was set.
    pub clock_set: Option<ClockSet>,
}

/// That the clock was set, as the audit log tells.
#[derive(Debug)]
pub struct ClockSet {
    /// When that was seen.
    pub at: String,
    /// By how much, if ahead.
    pub ahead_by: Option<String>,
    /// By how much, if back.
    pub back_by: Option<String>,
}

impl ClockSet {
    fn read(store: &Store) -> Result<Option<Self>, StoreError> {
        let entry = store.read(audit::newest_clock_jump)?;
        let entry = entry.and_then(|entry| serde_json::from_str::<Value>(&entry.line).ok());
        Ok(entry.map(|entry| {
            let text = |pointer| entry.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            Self {
                at: text("/at").unwrap_or_default(),
                ahead_by: text("/changed/ahead_by"),
                back_by: text("/changed/back_by"),
            }
        }))
    }
}

/// One ring, and what comes next in it.
#[derive(Debug)]
pub struct RingView {
    /// The ring.
    pub ring: Ring,
    /// What comes next in it.
    pub outlook: Outlook,
    /// Which known verifiers have its standby.
    pub reach: Reach,
    /// The numbers that it goes by.
    pub policy: Policy,
}

impl RingView {
    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> Option<&Kid> {
        self.ring.keys.active().map(|key| &key.kid)
    }

    /// Whether the standby takes over as soon as a server looks.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.outlook.hold.is_none() && self.outlook.promotion_in == Some(0)
    }

    /// The keys, the signing one first, the revoked ones last.
    pub fn ordered(&self) -> impl Iterator<Item = &KeyRecord> {
        let keys = &self.ring.keys;
        let revoked = keys.records().iter().filter(|key| key.state() == State::Revoked);
        keys.published().chain(revoked)
    }
}

impl View {
    /// Reads the rings, as they are at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn read(store: &Store, policy: Policy, now: Moment) -> Result<Self, StoreError> {
        let rings = store.read(keys::rings)?;
        let verifiers = store.read(verifiers::all)?;
        let view = |ring: Ring| {
            let reach = Reach::of(&ring, &verifiers, &policy, now.wall);
            let policy = reach.policy(&policy);
            let outlook = ring.keys.outlook(&policy, now, ring.rotation_asked.is_some());
            RingView { ring, outlook, reach, policy }
        };
        let clock_set = ClockSet::read(store)?;
        Ok(Self { rings: rings.into_iter().map(view).collect(), policy, now, clock_set })
    }

    /// Which ring is meant, where there are several.
    #[must_use]
    pub fn label(&self, ring: &RingView, end: &str) -> String {
        if self.rings.len() > 1 { format!("{}{end}", ring.ring.algorithm().name()) } else { String::new() }
    }

    /// The key `kid`.
    #[must_use]
    pub fn get(&self, kid: &Kid) -> Option<&KeyRecord> {
        self.rings.iter().find_map(|ring| ring.ring.keys.get(kid))
    }

    /// The time that it will be so many milliseconds from now.
    #[must_use]
    pub fn in_millis(&self, wait: i64) -> UnixTime {
        UnixTime::from_millis(self.now.wall.millis().saturating_add(wait))
    }

    /// When the state began.
    #[must_use]
    pub fn since(key: &KeyRecord) -> UnixTime {
        let began = match key.state() {
            State::Standby => key.published,
            State::Active => key.promoted,
            State::Retired => key.retired,
            State::Revoked => key.revoked,
        };
        began.map_or(key.created, |moment| moment.wall)
    }

    /// Until when the key signs, as far as can be told.
    #[must_use]
    pub fn signs_until(&self, ring: &RingView, key: &KeyRecord) -> Option<UnixTime> {
        match key.state() {
            State::Active => ring.outlook.promotion_in.map(|wait| self.in_millis(wait)),
            State::Retired | State::Revoked => {
                key.retired.or(key.revoked).filter(|_| key.promoted.is_some()).map(|m| m.wall)
            }
            State::Standby => None,
        }
    }

    /// Until when the key is published, as far as can be told.
    #[must_use]
    pub fn published_until(&self, ring: &RingView, key: &KeyRecord) -> Option<UnixTime> {
        let kept = millis(key.longest_lifetime).saturating_add(millis(self.policy.clock_skew));
        match key.state() {
            State::Standby => None,
            State::Active => ring.outlook.promotion_in.map(|wait| self.in_millis(wait.saturating_add(kept))),
            State::Retired => {
                ring.ring.keys.deletion_in(&key.kid, &self.policy, self.now).map(|wait| self.in_millis(wait))
            }
            State::Revoked => key.revoked.map(|moment| moment.wall),
        }
    }

    /// Which known verifiers have the standby of the ring, in words; `None` where no verifier is known.
    #[must_use]
    pub fn reach(&self, ring: &RingView) -> Option<String> {
        let Reach { having, lacking } = &ring.reach;
        let known = ring.reach.known();
        if known == 0 {
            return None;
        }
        let mut words = match known {
            1 => format!("{} of 1 known verifier has the standby", having.len()),
            _ => format!("{} of {known} known verifiers have the standby", having.len()),
        };
        for verifier in lacking.iter().take(MOST_NAMED) {
            let since = self.now.wall.millis_since(verifier.last_seen);
            words.push_str(&format!("; {} does not, last seen {} ago", verifier.who, in_words(Some(since))));
        }
        if let Some(more @ 1..) = lacking.len().checked_sub(MOST_NAMED) {
            words.push_str(&format!("; nor have {more} others: `m2mint keys verifiers` shows them"));
        }
        Some(words)
    }

    /// When the next rotation comes, and why not sooner, in words.
    #[must_use]
    pub fn next(&self, ring: &RingView) -> String {
        match (ring.outlook.promotion_in, ring.outlook.hold) {
            (None, _) => "the next rotation comes on a signal or by `m2mint keys rotate`".into(),
            (Some(_), None) => "the next rotation is due now".into(),
            (Some(wait), Some(hold)) => {
                format!(
                    "the next rotation comes in {} ({}): {}",
                    in_words(Some(wait)),
                    date(self.in_millis(wait)),
                    hold.reason()
                )
            }
        }
    }
}
