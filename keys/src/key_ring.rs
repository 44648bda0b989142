//! The rotation rule, as a pure state machine.
//!
//! A ring is the set of keys of one algorithm. What state a key is in follows from its stored stamps and the time,
//! never from memory: a ring that was read back from the file is the ring. [`KeyRing::due`] says what should happen
//! now, [`KeyRing::apply`] makes it so, and the caller commits the changed records before anybody sees them.
//!
//! The rule, with A = [`Policy::propagation`], L = [`KeyRecord::longest_lifetime`], s = [`Policy::clock_skew`]:
//! 1. The standby is promoted only A after it was first served, unless it was in the very first key set. Verifiers that are
//!    known to lack it can hold it up for a while longer ([`Policy::held_up`]).
//! 2. A retired key is deleted only L + s after its last possible signature.
//! 3. A promotion retires the active key, erases its private half and makes the next standby, in one step.
//! 4. A rotation that is asked for too early waits; it is neither obeyed nor forgotten.
//! 5. A revoked key is out at once; if it was the active one, the standby signs at once.
//! 6. All waiting is counted in attested time *and* wall time ([`crate::time`]).
//! 7. A policy whose numbers contradict the rule is refused ([`Policy::check`]).
//! 8. At most [`MAX_PUBLISHED`] keys are published; a rotation that would need one more waits.
//!
//! An issuer has a ring for each algorithm that its audiences ask for. The rule holds in each of them; one that joins the
//! others later signs for nobody before [`KeyRing::known_in`] is 0, unless somebody vouches that no verifier can hold an
//! older key set.

pub mod forecast;

use std::fmt;
use std::time::Duration;

use crate::jwk::{Kid, PublicKey};
use crate::signing_key::Algorithm;
use crate::time::{Attested, Moment, UnixTime, millis};

/// The most keys that are published at a time: a common verifier caches five.
pub const MAX_PUBLISHED: usize = 4;

/// The numbers that steer a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a key signs before the next takes over; `None` leaves it to requests.
    pub every: Option<Duration>,
    /// A: the longest time for which a verifier caches the key set.
    pub propagation: Duration,
    /// s: how far clocks may be apart.
    pub clock_skew: Duration,
    /// How much longer than A the standby is published before it signs: while somebody who is known to fetch the key set has
    /// one without it, the longest that this may hold up a promotion, and zero otherwise.
    pub held_up: Duration,
}

/// Numbers that contradict the rotation rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No verifier can know a key the instant that it is made.
    #[error(
        "rotation.propagation = 0s would sign with keys that no verifier has seen; it must be at least 1s"
    )]
    NoPropagation,
    /// The timer would ask for rotations faster than standbys become known.
    #[error(
        "rotation.every = {} is shorter than rotation.propagation = {}: \
         a standby could not be known to every verifier in time",
        Plain(*.every),
        Plain(*.propagation)
    )]
    FasterThanPropagation {
        /// The configured period.
        every: Duration,
        /// The configured propagation.
        propagation: Duration,
    },
    /// Retired keys would pile up behind the limit of published keys.
    #[error(
        "rotation.every = {} would need more than {MAX_PUBLISHED} published keys: tokens live up to {} \
         and clocks may differ by {}, so it must be at least {}",
        Plain(*.every),
        Plain(*.lifetime),
        Plain(*.clock_skew),
        Plain(*.at_least)
    )]
    TooManyKeys {
        /// The configured period.
        every: Duration,
        /// The longest token lifetime.
        lifetime: Duration,
        /// The configured skew.
        clock_skew: Duration,
        /// The shortest period that works.
        at_least: Duration,
    },
}

/// A duration in the largest unit that divides it.
struct Plain(Duration);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let units = [("h", 3600), ("m", 60), ("s", 1)];
        match units.into_iter().find(|(_, length)| secs.is_multiple_of(*length)) {
            Some((unit, length)) => write!(f, "{}{unit}", secs / length),
            None => write!(f, "{secs}s"),
        }
    }
}

impl Policy {
    /// Point 7 of the rule: refuses numbers that contradict it, with the numbers.
    ///
    /// # Errors
    /// A [`PolicyError`] that names the numbers and the least that would do.
    pub fn check(&self, longest_lifetime: Duration) -> Result<(), PolicyError> {
        if self.propagation < Duration::from_secs(1) {
            return Err(PolicyError::NoPropagation);
        }
        let Some(every) = self.every else { return Ok(()) };
        if every < self.propagation {
            return Err(PolicyError::FasterThanPropagation { every, propagation: self.propagation });
        }
        // Active and standby leave room for this many retired keys, each of which stays for L + s.
        let room = u32::try_from(MAX_PUBLISHED - 2).unwrap_or(u32::MAX);
        let at_least = longest_lifetime.saturating_add(self.clock_skew) / room;
        if every < at_least {
            return Err(PolicyError::TooManyKeys {
                every,
                lifetime: longest_lifetime,
                clock_skew: self.clock_skew,
                at_least,
            });
        }
        Ok(())
    }
}

/// What a key is for right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Published, and will sign next.
    Standby,
    /// Published and signing.
    Active,
    /// Published so that its tokens verify; its private half is gone.
    Retired,
    /// Taken out before its time; neither published nor able to sign.
    Revoked,
}

impl State {
    /// The word for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

/// What is stored of a key. Everything else follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// RFC 7638 thumbprint of `public`.
    pub kid: Kid,
    /// The public half.
    pub public: PublicKey,
    /// When it was made.
    pub created: UnixTime,
    /// Whether it was in the very first key set that this issuer served: no verifier can have an older one.
    pub founding: bool,
    /// When it was first served. `None` until the server has confirmed that it is.
    pub published: Option<Moment>,
    /// When it became the active key.
    pub promoted: Option<Moment>,
    /// When it stopped being the active key.
    pub retired: Option<Moment>,
    /// The highest wall time at which it can have signed. It never goes back: what was signed by a clock that ran
    /// ahead stays signed when the clock is set back.
    pub signed_until: Option<UnixTime>,
    /// When it was surely out of use. `None` on a retired key until the server has confirmed the switch.
    pub out_of_use: Option<Attested>,
    /// When it was revoked.
    pub revoked: Option<Moment>,
    /// L: the longest lifetime that any of its tokens can have.
    pub longest_lifetime: Duration,
}

impl KeyRecord {
    /// A key that was just made: a standby that nobody has seen yet.
    fn new(key: NewKey, now: Moment, longest_lifetime: Duration) -> Self {
        Self {
            kid: key.kid,
            public: key.public,
            created: now.wall,
            founding: false,
            published: None,
            promoted: None,
            retired: None,
            signed_until: None,
            out_of_use: None,
            revoked: None,
            longest_lifetime,
        }
    }

    /// The state, from the stamps.
    #[must_use]
    pub const fn state(&self) -> State {
        if self.revoked.is_some() {
            State::Revoked
        } else if self.retired.is_some() {
            State::Retired
        } else if self.promoted.is_some() {
            State::Active
        } else {
            State::Standby
        }
    }

    /// Whether the private half must exist. It is erased for ever when this turns false.
    #[must_use]
    pub const fn has_private_half(&self) -> bool {
        matches!(self.state(), State::Standby | State::Active)
    }
}

/// The public half of a key that was just made, on its way into a ring.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Thumbprint of `public`.
    pub kid: Kid,
    /// The public half.
    pub public: PublicKey,
}

/// Why stored records do not make a ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Exactly one key has to sign.
    #[error("{0} active keys where exactly one is needed")]
    NotOneActive(usize),
    /// At most one key may be next.
    #[error("{0} standby keys where one is needed")]
    ManyStandbys(usize),
    /// All keys of a ring have one algorithm.
    #[error("keys of several algorithms in one ring")]
    MixedAlgorithms,
    /// A stored kid is not the thumbprint of its public key.
    #[error("the kid {0} does not belong to its public key")]
    WrongKid(Kid),
}

/// A request that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// There is no such key in the ring.
    #[error("there is no key {0}")]
    Unknown(Kid),
    /// It is out already.
    #[error("the key {0} is revoked already")]
    AlreadyRevoked(Kid),
}

/// There is nothing that a canary could be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanaryError {
    /// There is no standby.
    #[error("there is no standby")]
    NoStandby,
    /// No key set with the standby in it was served.
    #[error("the standby is not served yet: no service can know it")]
    NotServed,
}

/// A step that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The last change is being served now: stamps that were left open can be set.
    ConfirmServed,
    /// There is no standby: make one.
    AddStandby,
    /// The standby takes over and a new standby is made.
    Promote,
    /// A retired or revoked key has been kept long enough.
    Delete(Kid),
}

/// Why a promotion does not happen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody asked, and the timer has not run out.
    NotAsked,
    /// Some verifier may not have the standby yet (point 1).
    Propagating,
    /// A verifier that is known does not have the standby yet ([`Policy::held_up`]).
    Lacking,
    /// One key more would be too many (point 8).
    TooManyPublished,
    /// The last change is not known to be served yet.
    Unconfirmed,
}

impl Hold {
    /// The reason in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "the rotation period has not ended",
            Self::Propagating => "verifiers may still cache a key set without the standby",
            Self::Lacking => "a known verifier has not fetched the standby yet",
            Self::TooManyPublished => {
                "the oldest retired key must be deleted first, so that at most 4 are published"
            }
            Self::Unconfirmed => "the standby is not served yet",
        }
    }
}

/// When the next promotion comes, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Milliseconds until the promotion, as far as can be told; `None` when nothing will cause one.
    pub promotion_in: Option<i64>,
    /// What it waits for; `None` when it is due now.
    pub hold: Option<Hold>,
}

/// The keys of one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<KeyRecord>,
}

impl KeyRing {
    /// The first ring of an issuer: one key signs, one stands by, and both are in the first key set ever served.
    #[must_use]
    pub fn found(active: NewKey, standby: NewKey, now: Moment, longest_lifetime: Duration) -> Self {
        let record = |key| KeyRecord { founding: true, ..KeyRecord::new(key, now, longest_lifetime) };
        Self::with_signer(record(active), record(standby), now)
    }

    /// The ring of a further algorithm, made when the issuer has served key sets already. Somebody may hold one of those:
    /// see [`KeyRing::known_in`].
    #[must_use]
    pub fn join(active: NewKey, standby: NewKey, now: Moment, longest_lifetime: Duration) -> Self {
        let record = |key| KeyRecord::new(key, now, longest_lifetime);
        Self::with_signer(record(active), record(standby), now)
    }

    fn with_signer(active: KeyRecord, standby: KeyRecord, now: Moment) -> Self {
        let active = KeyRecord { promoted: Some(now), signed_until: Some(now.wall), ..active };
        Self { keys: vec![active, standby] }
    }

    /// A ring from stored records, oldest first.
    ///
    /// # Errors
    /// A [`RingError`] when the records contradict each other: a file that was edited, or two files mixed.
    pub fn from_records(keys: Vec<KeyRecord>) -> Result<Self, RingError> {
        let count = |state| keys.iter().filter(|key| key.state() == state).count();
        if count(State::Active) != 1 {
            return Err(RingError::NotOneActive(count(State::Active)));
        }
        if count(State::Standby) > 1 {
            return Err(RingError::ManyStandbys(count(State::Standby)));
        }
        if let Some(wrong) = keys.iter().find(|key| key.public.thumbprint() != key.kid) {
            return Err(RingError::WrongKid(wrong.kid.clone()));
        }
        let ring = Self { keys };
        if ring.keys.iter().any(|key| key.public.algorithm() != ring.algorithm()) {
            return Err(RingError::MixedAlgorithms);
        }
        Ok(ring)
    }

    /// All records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// The record of `kid`.
    #[must_use]
    pub fn get(&self, kid: &Kid) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.kid == *kid)
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> Option<&KeyRecord> {
        self.in_state(State::Active)
    }

    /// The key that will sign next.
    #[must_use]
    pub fn standby(&self) -> Option<&KeyRecord> {
        self.in_state(State::Standby)
    }

    /// The keys to publish: the active one first, then the standby, then retired ones, newest first.
    pub fn published(&self) -> impl Iterator<Item = &KeyRecord> {
        let retired = self.keys.iter().rev().filter(|key| key.state() == State::Retired);
        self.active().into_iter().chain(self.standby()).chain(retired)
    }

    /// The algorithm of this ring.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.active().map_or(Algorithm::EdDsa, |key| key.public.algorithm())
    }

    /// Milliseconds until every verifier can have the key that signs: 0 when all can. In a ring that joined others this is
    /// point 1 of the rule for its first key; every later one was a standby long enough.
    #[must_use]
    pub fn known_in(&self, policy: &Policy, now: Moment) -> i64 {
        self.active().map_or(i64::MAX, |active| Self::propagated_in(active, policy, now))
    }

    fn propagated_in(key: &KeyRecord, policy: &Policy, now: Moment) -> i64 {
        Self::published_for(key, policy.propagation, now)
    }

    /// Milliseconds until `key` has been published for `span`.
    fn published_for(key: &KeyRecord, span: Duration, now: Moment) -> i64 {
        match key {
            KeyRecord { founding: true, .. } => 0,
            KeyRecord { published: Some(published), .. } => remaining(now.attested, published.attested, span),
            KeyRecord { published: None, .. } => millis(span),
        }
    }

    /// The next step that is due now, if any. Call again after [`KeyRing::apply`]: a step can make another one due.
    #[must_use]
    pub fn due(&self, policy: &Policy, now: Moment, rotation_requested: bool) -> Option<Transition> {
        if self.unconfirmed() {
            return Some(Transition::ConfirmServed);
        }
        if let Some(key) = self.keys.iter().find(|key| Self::deletable_in(key, policy, now) == Some(0)) {
            return Some(Transition::Delete(key.kid.clone()));
        }
        if self.standby().is_none() {
            return Some(Transition::AddStandby);
        }
        let outlook = self.outlook(policy, now, rotation_requested);
        (outlook.hold.is_none() && outlook.promotion_in == Some(0)).then_some(Transition::Promote)
    }

    /// When the next promotion will come, and why not now.
    #[must_use]
    pub fn outlook(&self, policy: &Policy, now: Moment, rotation_requested: bool) -> Outlook {
        let asked_in = if rotation_requested {
            Some(0)
        } else {
            let promoted = self.active().and_then(|key| key.promoted);
            policy
                .every
                .zip(promoted)
                .map(|(every, promoted)| remaining(now.attested, promoted.attested, every))
        };
        let known_in = self
            .standby()
            .map_or(millis(policy.propagation), |standby| Self::propagated_in(standby, policy, now));
        let is_served = |standby: &KeyRecord| standby.founding || standby.published.is_some();
        let known_hold =
            if self.standby().is_some_and(is_served) { Hold::Propagating } else { Hold::Unconfirmed };
        // Until A has passed, most of those who lack it are about to fetch it.
        let fetched_by = policy.propagation.saturating_add(policy.held_up);
        let fetched_in = self
            .standby()
            .filter(|_| known_in == 0)
            .map_or(0, |standby| Self::published_for(standby, fetched_by, now));
        let room_in = self.room_in(policy, now);
        let waits = [
            (asked_in.unwrap_or(0), Hold::NotAsked),
            (fetched_in, Hold::Lacking),
            (known_in, known_hold),
            (room_in, Hold::TooManyPublished),
        ];
        // The last of the longest: what will still hold it up when all else has given way.
        let (longest, hold) = waits.into_iter().max_by_key(|(wait, _)| *wait).unwrap_or((0, Hold::NotAsked));
        match asked_in {
            None => Outlook { promotion_in: None, hold: Some(Hold::NotAsked) },
            Some(_) if longest == 0 => Outlook { promotion_in: Some(0), hold: None },
            Some(_) => Outlook { promotion_in: Some(longest), hold: Some(hold) },
        }
    }

    /// Milliseconds until `kid` may be deleted; `None` while it is standby or active, or there is no such key.
    #[must_use]
    pub fn deletion_in(&self, kid: &Kid, policy: &Policy, now: Moment) -> Option<i64> {
        self.get(kid).and_then(|key| Self::deletable_in(key, policy, now))
    }

    /// Makes a due step happen. Steps that make a key take it from `fresh`.
    ///
    /// The caller commits the records, with private halves erased where [`KeyRecord::has_private_half`] says so,
    /// and then serves the new state.
    pub fn apply(
        &mut self,
        step: &Transition,
        now: Moment,
        fresh: Option<NewKey>,
        longest_lifetime: Duration,
    ) {
        match step {
            Transition::ConfirmServed => self.confirm_served(now),
            Transition::AddStandby => self.add_standby(fresh, now, longest_lifetime),
            Transition::Promote => {
                self.retire_active(now);
                self.promote_standby(now, longest_lifetime);
                self.add_standby(fresh, now, longest_lifetime);
            }
            Transition::Delete(kid) => self.keys.retain(|key| key.kid != *kid),
        }
    }

    /// Point 5: takes `kid` out at once. If it signed, the standby signs from now on, known to every verifier or not.
    ///
    /// # Errors
    /// [`RevokeError`] when there is nothing to revoke.
    pub fn revoke(
        &mut self,
        kid: &Kid,
        now: Moment,
        fresh: Option<NewKey>,
        longest_lifetime: Duration,
    ) -> Result<(), RevokeError> {
        let state = self.get(kid).map(KeyRecord::state).ok_or_else(|| RevokeError::Unknown(kid.clone()))?;
        if state == State::Revoked {
            return Err(RevokeError::AlreadyRevoked(kid.clone()));
        }
        if state == State::Active && self.standby().is_none() {
            // Only a crash between two steps leaves a ring without a standby; the fresh key then signs itself.
            self.add_standby(fresh.clone(), now, longest_lifetime);
        }
        for key in self.keys.iter_mut().filter(|key| key.kid == *kid) {
            key.revoked = Some(now);
        }
        if state == State::Active {
            self.promote_standby(now, longest_lifetime);
        }
        if self.standby().is_none() {
            let unused = fresh.filter(|key| self.get(&key.kid).is_none());
            self.add_standby(unused, now, longest_lifetime);
        }
        Ok(())
    }

    /// Makes a ring that was put back from a backup follow what is known of it from after that: a key that `may_sign` stays,
    /// one that `may_verify` only is retired, any other is out. The standby signs where no active key is left; where that is
    /// missing too, a fresh key, which no verifier knows yet. The caller commits as after [`KeyRing::apply`].
    pub fn follow(
        &mut self,
        may_sign: impl Fn(&Kid) -> bool,
        may_verify: impl Fn(&Kid) -> bool,
        now: Moment,
        fresh: [NewKey; 2],
        longest_lifetime: Duration,
    ) {
        for key in &mut self.keys {
            let signs = key.has_private_half();
            if key.revoked.is_some() || signs && may_sign(&key.kid) {
                continue;
            }
            if !may_verify(&key.kid) {
                key.revoked = Some(now);
            } else if signs {
                // It may have signed until now, for as long as anything may be signed for now.
                key.promoted = key.promoted.or(Some(now));
                key.retired = Some(now);
                key.signed_until = key.signed_until.max(Some(now.wall));
                key.longest_lifetime = key.longest_lifetime.max(longest_lifetime);
            }
        }
        let mut fresh = fresh.into_iter();
        if self.active().is_none() {
            if self.standby().is_none() {
                self.add_standby(fresh.next(), now, longest_lifetime);
            }
            self.promote_standby(now, longest_lifetime);
        }
        if self.standby().is_none() {
            self.add_standby(fresh.next(), now, longest_lifetime);
        }
    }

    /// Remembers that tokens may live for `lifetime`. Must be committed before any such token is signed.
    /// Answers whether anything changed.
    pub fn allow_lifetime(&mut self, lifetime: Duration) -> bool {
        let mut raised = false;
        for key in self.keys.iter_mut().filter(|key| key.has_private_half()) {
            raised |= key.longest_lifetime < lifetime;
            key.longest_lifetime = key.longest_lifetime.max(lifetime);
        }
        raised
    }

    /// Remembers that the active key may have signed at `wall`. After a jump of the clock, this has to be committed
    /// before anything is signed.
    pub fn witness(&mut self, wall: UnixTime) {
        for key in self.keys.iter_mut().filter(|key| key.state() == State::Active) {
            key.signed_until = key.signed_until.max(Some(wall));
        }
    }

    /// Lets the standby sign one canary at `now`, and answers which key that is and for how long the canary may be good: no
    /// longer than the key is sure to be published, whatever becomes of it. Must be committed before it is signed.
    ///
    /// # Errors
    /// [`CanaryError`] when nobody can know the standby yet.
    pub fn allow_canary(&mut self, now: Moment, lifetime: Duration) -> Result<(Kid, Duration), CanaryError> {
        let standby = self.keys.iter_mut().find(|key| key.state() == State::Standby);
        let standby = standby.ok_or(CanaryError::NoStandby)?;
        if standby.published.is_none() {
            return Err(CanaryError::NotServed);
        }
        standby.signed_until = standby.signed_until.max(Some(now.wall));
        Ok((standby.kid.clone(), lifetime.min(standby.longest_lifetime)))
    }

    fn in_state(&self, state: State) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.state() == state)
    }

    fn unconfirmed(&self) -> bool {
        self.keys.iter().any(|key| match key.state() {
            State::Standby | State::Active => key.published.is_none(),
            State::Retired => key.out_of_use.is_none(),
            State::Revoked => false,
        })
    }

    fn confirm_served(&mut self, now: Moment) {
        for key in &mut self.keys {
            match key.state() {
                State::Standby | State::Active => key.published = key.published.or(Some(now)),
                State::Retired if key.out_of_use.is_none() => {
                    key.out_of_use = Some(now.attested);
                    key.signed_until = key.signed_until.max(Some(now.wall));
                }
                State::Retired | State::Revoked => {}
            }
        }
    }

    fn add_standby(&mut self, fresh: Option<NewKey>, now: Moment, longest_lifetime: Duration) {
        self.keys.extend(fresh.map(|key| KeyRecord::new(key, now, longest_lifetime)));
    }

    fn retire_active(&mut self, now: Moment) {
        for key in self.keys.iter_mut().filter(|key| key.state() == State::Active) {
            key.retired = Some(now);
            key.signed_until = key.signed_until.max(Some(now.wall));
        }
    }

    fn promote_standby(&mut self, now: Moment, longest_lifetime: Duration) {
        for key in self.keys.iter_mut().filter(|key| key.state() == State::Standby) {
            key.promoted = Some(now);
            // It may have signed canaries before.
            key.signed_until = key.signed_until.max(Some(now.wall));
            key.longest_lifetime = key.longest_lifetime.max(longest_lifetime);
        }
    }

    /// Milliseconds until a promotion would leave at most [`MAX_PUBLISHED`] keys.
    fn room_in(&self, policy: &Policy, now: Moment) -> i64 {
        // A promotion retires one key and adds one: the count grows by one.
        let over = (self.published().count() + 1).saturating_sub(MAX_PUBLISHED);
        let mut waits: Vec<i64> = self
            .keys
            .iter()
            .filter(|key| key.state() == State::Retired)
            .map(|key| Self::deletable_in(key, policy, now).unwrap_or(i64::MAX))
            .collect();
        waits.sort_unstable();
        over.checked_sub(1).map_or(0, |last| waits.get(last).copied().unwrap_or(i64::MAX))
    }

    fn deletable_in(key: &KeyRecord, policy: &Policy, now: Moment) -> Option<i64> {
        let keep = key.longest_lifetime.saturating_add(policy.clock_skew);
        let attested_since = |since: Option<Attested>| {
            since.map_or(millis(keep), |since| remaining(now.attested, since, keep))
        };
        match key.state() {
            State::Standby | State::Active => None,
            State::Retired => {
                let wall = key.signed_until.map_or(0, |last| last.plus(keep).millis_since(now.wall));
                Some(attested_since(key.out_of_use).max(wall))
            }
            // Kept only so that people see it: nothing depends on it.
            State::Revoked => Some(attested_since(key.revoked.map(|revoked| revoked.attested))),
        }
    }
}

fn remaining(now: Attested, since: Attested, span: Duration) -> i64 {
    millis(span).saturating_sub(now.millis_since(since)).max(0)
}

#[cfg(test)]
mod tests;
