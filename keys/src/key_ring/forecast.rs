//! What a ring will do if nobody intervenes: the rule itself, run ahead on a copy.

use std::time::Duration;

use super::{KeyRecord, KeyRing, NewKey, Policy, State, Transition};
use crate::jwk::Kid;
use crate::time::{Attested, Moment, UnixTime};

/// More steps than any forecast takes, so that it ends whatever the policy.
const MOST_STEPS: usize = 200;

/// Something that will happen to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// Milliseconds from the moment of the forecast.
    pub in_millis: i64,
    /// The key.
    pub kid: Kid,
    /// What happens to it.
    pub change: Change,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is made, and published from then on.
    Published,
    /// It signs from then on.
    Signs,
    /// It signs no more, and stays published.
    Retired,
    /// It is published no more.
    Deleted,
}

impl KeyRing {
    /// Runs the rule ahead on a copy of the ring, until `promotions` of them have happened and what they retired is gone, or
    /// nothing more would happen by itself. Keys that do not exist yet come from `fresh`. Supposes that the server runs, and
    /// that each change is served as soon as it is made.
    #[must_use]
    pub fn forecast(
        &self,
        policy: &Policy,
        now: Moment,
        rotation_requested: bool,
        promotions: usize,
        longest_lifetime: Duration,
        mut fresh: impl FnMut() -> Option<NewKey>,
    ) -> Vec<Coming> {
        let (mut ring, mut requested, mut left) = (self.clone(), rotation_requested, promotions);
        let (mut passed, mut coming) = (0_i64, Vec::new());
        let mut policy = *policy;
        for _ in 0..MOST_STEPS {
            let moment = later(now, passed);
            let before = ring.clone();
            match ring.due(&policy, moment, requested) {
                Some(Transition::Promote) if left == 0 => break,
                Some(step) => {
                    let is_promotion = step == Transition::Promote;
                    let makes_key = is_promotion || step == Transition::AddStandby;
                    let key = if makes_key { fresh() } else { None };
                    if makes_key && key.is_none() {
                        break;
                    }
                    ring.apply(&step, moment, key, longest_lifetime);
                    if is_promotion {
                        requested = false;
                        left -= 1;
                        // Who lacks the next standby is not known yet.
                        policy.held_up = Duration::ZERO;
                    }
                    coming.extend(changes(&before, &ring).map(|(kid, change)| Coming {
                        in_millis: passed,
                        kid,
                        change,
                    }));
                }
                None => {
                    let promotion =
                        ring.outlook(&policy, moment, requested).promotion_in.filter(|_| left > 0);
                    let deletions =
                        ring.records().iter().filter_map(|key| ring.deletion_in(&key.kid, &policy, moment));
                    match deletions.chain(promotion).filter(|wait| *wait > 0).min() {
                        Some(wait) => passed = passed.saturating_add(wait),
                        None => break,
                    }
                }
            }
        }
        coming
    }
}

fn later(now: Moment, millis: i64) -> Moment {
    Moment {
        wall: UnixTime::from_millis(now.wall.millis().saturating_add(millis)),
        attested: Attested::from_millis(now.attested.millis().saturating_add(millis)),
    }
}

/// What is different, in the order in which people tell it.
fn changes(before: &KeyRing, after: &KeyRing) -> impl Iterator<Item = (Kid, Change)> {
    let state = |ring: &KeyRing, kid: &Kid| ring.get(kid).map(KeyRecord::state);
    let here = after.records().iter().filter_map(|key| {
        let change = match (state(before, &key.kid), key.state()) {
            (Some(State::Standby), State::Active) => Change::Signs,
            (Some(State::Active), State::Retired) => Change::Retired,
            (None, _) => Change::Published,
            _ => return None,
        };
        Some((key.kid.clone(), change))
    });
    let gone = before.records().iter().filter(|key| after.get(&key.kid).is_none());
    let mut all: Vec<_> = here.chain(gone.map(|key| (key.kid.clone(), Change::Deleted))).collect();
    all.sort_by_key(|(_, change)| match change {
        Change::Signs => 0,
        Change::Retired => 1,
        Change::Published => 2,
        Change::Deleted => 3,
    });
    all.into_iter()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::tests::{A, KEEP, L, at, key, policy, ring, rotated};
    use super::*;

    const DAY: i64 = 86_400_000;

    fn told(coming: &[Coming]) -> Vec<(i64, Kid, Change)> {
        coming.iter().map(|one| (one.in_millis, one.kid.clone(), one.change)).collect()
    }

    fn forecast(ring: &KeyRing, policy: &Policy, now: Moment, requested: bool) -> Vec<(i64, Kid, Change)> {
        let mut number = 100;
        let fresh = || {
            number += 1;
            Some(key(number))
        };
        told(&ring.forecast(policy, now, requested, 1, L, fresh))
    }

    #[test]
    fn without_a_timer_and_a_request_only_deletions_come() {
        assert_eq!(forecast(&ring(), &policy(), at(0), false), []);
        assert_eq!(forecast(&rotated(), &policy(), at(0), false), [(KEEP, key(1).kid, Change::Deleted)]);
    }

    #[test]
    fn a_request_comes_true_when_the_rule_lets_it() {
        assert_eq!(
            forecast(&rotated(), &policy(), at(1000), true),
            [
                (KEEP - 1000, key(1).kid, Change::Deleted),
                (A - 1000, key(3).kid, Change::Signs),
                (A - 1000, key(2).kid, Change::Retired),
                (A - 1000, key(101).kid, Change::Published),
                (A - 1000 + KEEP, key(2).kid, Change::Deleted),
            ]
        );
    }

    #[test]
    fn the_timer_asks_again_and_again() {
        let policy = Policy { every: Some(Duration::from_secs(90 * 86_400)), ..policy() };
        let mut number = 100;
        let fresh = || {
            number += 1;
            Some(key(number))
        };
        let coming = ring().forecast(&policy, at(0), false, 3, L, fresh);
        let signs: Vec<_> = coming.iter().filter(|one| one.change == Change::Signs).collect();
        assert_eq!(signs.iter().map(|one| one.in_millis / DAY).collect::<Vec<_>>(), [90, 180, 270]);
        assert_eq!(signs[1].kid, key(101).kid, "the key that the first rotation made");
    }

    /// What was foreseen is what happens when time passes in small steps.
    #[test]
    fn what_was_foreseen_happens() {
        let policy = Policy { every: Some(Duration::from_secs(30 * 3600)), ..policy() };
        let foreseen = forecast(&rotated(), &policy, at(0), true);
        let (mut real, mut requested, mut happened) = (rotated(), true, Vec::new());
        let mut promotions = 0;
        for minute in 0..=(A + KEEP) / 60_000 {
            let now = minute * 60_000;
            while let Some(step) = real.due(&policy, at(now), requested) {
                let before = real.clone();
                let promotes = step == Transition::Promote;
                real.apply(&step, at(now), promotes.then(|| key(101)), L);
                requested &= !promotes;
                promotions += usize::from(promotes);
                happened.extend(changes(&before, &real).map(|(kid, change)| (now, kid, change)));
            }
        }
        assert_eq!(promotions, 1);
        assert_eq!(happened, foreseen);
    }
}
