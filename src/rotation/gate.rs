//! Whether the clock may be trusted to sign by.
//!
//! A token that is signed while the wall clock runs ahead outlives its key, unless the file knows of it. So a clock that
//! has jumped forward first has to be written down: until then, nothing is signed.

use std::sync::atomic::{AtomicI64, Ordering};

use m2mint_keys::time::{Reading, UnixTime};
use parking_lot::Mutex;

use crate::clock::Clock;

/// How far the wall clock may move ahead of real time before that has to be written down, in milliseconds.
pub const TOLERATED_JUMP: i64 = 2_000;
/// How long a look at the clock is good for, in milliseconds.
const GOOD_FOR: i64 = 10_000;

/// The wall clock is ahead of what the file knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJumped;

/// Shared by the keeper, which opens it, and everybody who signs.
#[derive(Debug)]
pub struct Gate {
    allowed_until: AtomicI64,
    trusted: Mutex<Option<Reading>>,
}

impl Gate {
    /// A gate that lets nobody sign yet.
    #[must_use]
    pub const fn closed() -> Self {
        Self { allowed_until: AtomicI64::new(i64::MIN), trusted: Mutex::new(None) }
    }

    /// Trusts the clock as of `reading`.
    pub fn trust(&self, reading: Reading) {
        let mut trusted = self.trusted.lock();
        *trusted = Some(reading);
        self.allowed_until.store(good_until(reading), Ordering::Release);
    }

    /// The time to sign at.
    ///
    /// # Errors
    /// [`ClockJumped`] when the clock has moved ahead by more than time has passed.
    pub fn now(&self, clock: &Clock) -> Result<UnixTime, ClockJumped> {
        let now = clock.wall();
        if now.millis() <= self.allowed_until.load(Ordering::Acquire) {
            return Ok(now);
        }
        // The keeper is late, or the clock has jumped: the steady clock tells which.
        let trusted = *self.trusted.lock();
        let reading = clock.read();
        let plausible = trusted.is_some_and(|trusted| jump(trusted, reading) <= TOLERATED_JUMP);
        plausible.then_some(reading.wall).ok_or(ClockJumped)
    }
}

/// By how many milliseconds the wall clock moved ahead of what the steady one attests. After a reboot that is all of it.
#[must_use]
pub fn jump(from: Reading, to: Reading) -> i64 {
    let attested = if from.boot == to.boot { to.steady.saturating_sub(from.steady).max(0) } else { 0 };
    to.wall.millis_since(from.wall).saturating_sub(attested)
}

const fn good_until(reading: Reading) -> i64 {
    reading.wall.millis().saturating_add(GOOD_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn gate() -> (Gate, Clock, ManualClock) {
        let manual = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let clock = Clock::Manual(manual.clone());
        let gate = Gate::closed();
        gate.trust(clock.read());
        (gate, clock, manual)
    }

    #[test]
    fn nobody_signs_before_the_clock_was_looked_at() {
        let (_, clock, _) = gate();
        assert_eq!(Gate::closed().now(&clock), Err(ClockJumped));
    }

    #[test]
    fn signing_goes_on_while_the_keeper_is_held_up() {
        let (gate, clock, manual) = gate();
        manual.pass(3_600_000);
        assert_eq!(gate.now(&clock), Ok(clock.wall()));
    }

    #[test]
    fn a_clock_that_jumped_ahead_signs_nothing_until_it_is_trusted() {
        let (gate, clock, manual) = gate();
        manual.jump(3_600_000);
        assert_eq!(gate.now(&clock), Err(ClockJumped));
        gate.trust(clock.read());
        assert_eq!(gate.now(&clock), Ok(clock.wall()));
    }

    #[test]
    fn a_clock_that_was_set_back_signs() {
        let (gate, clock, manual) = gate();
        manual.jump(-3_600_000);
        assert_eq!(gate.now(&clock), Ok(clock.wall()));
        gate.trust(clock.read());
        manual.jump(3_600_000);
        assert_eq!(gate.now(&clock), Err(ClockJumped));
    }
}
