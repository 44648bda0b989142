//! Time as the rotation rule sees it.
//!
//! A wall clock can be wrong, and can be set. So the rule counts *attested time*: milliseconds that both the wall clock
//! and the machine's steady clock agree have passed. It never runs ahead of true time, whatever is done to the wall
//! clock, and it does not count time for which there is no witness (a reboot).

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, as the wall clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch (a JWT's `NumericDate`).
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and `span` more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Milliseconds since `earlier`; negative when `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Attested milliseconds since the database was made. Only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Attested(i64);

impl Attested {
    /// From stored milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds, for storing.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Milliseconds since `earlier`.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// `span` in milliseconds; the longest that can be counted where it is longer.
#[must_use]
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// One point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// What the wall clock says.
    pub wall: UnixTime,
    /// What has surely passed.
    pub attested: Attested,
}

/// What the machine's clocks say right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: UnixTime,
    /// Milliseconds since boot, time asleep included. Cannot be set by anybody.
    pub steady: i64,
    /// Which boot `steady` counts from.
    pub boot: Boot,
}

/// Identifies one boot of one machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Boot(pub [u8; 16]);

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Turns readings into attested time. Its two fields are all that has to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestedClock {
    attested: Attested,
    last: Reading,
}

impl AttestedClock {
    /// Starts counting.
    #[must_use]
    pub const fn start(reading: Reading) -> Self {
        Self { attested: Attested(0), last: reading }
    }

    /// Goes on from what was stored.
    #[must_use]
    pub const fn resume(attested: Attested, last: Reading) -> Self {
        Self { attested, last }
    }

    /// Takes in a reading, and answers by how many milliseconds the wall clock moved more (or less) than time did.
    ///
    /// After a reboot the steady clock has nothing to compare with, so nothing is counted and the answer is zero.
    pub fn observe(&mut self, reading: Reading) -> i64 {
        let wall = reading.wall.millis_since(self.last.wall);
        let steady = reading.steady.saturating_sub(self.last.steady);
        let same_boot = reading.boot == self.last.boot && steady >= 0;
        self.last = reading;
        if !same_boot {
            return 0;
        }
        self.attested = Attested(self.attested.0.saturating_add(wall.min(steady).max(0)));
        wall.saturating_sub(steady)
    }

    /// Where the clock stands.
    #[must_use]
    pub const fn moment(&self) -> Moment {
        Moment { wall: self.last.wall, attested: self.attested }
    }

    /// The last reading, for storing.
    #[must_use]
    pub const fn last(&self) -> Reading {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Boot = Boot([1; 16]);
    const YEARS: i64 = 10 * 365 * 86_400_000;

    fn at(wall: i64, steady: i64) -> Reading {
        Reading { wall: UnixTime::from_millis(wall), steady, boot: BOOT }
    }

    fn attested_after(readings: &[Reading]) -> i64 {
        let mut clock = AttestedClock::start(readings[0]);
        for reading in &readings[1..] {
            clock.observe(*reading);
        }
        clock.moment().attested.millis()
    }

    #[test]
    fn counts_what_both_clocks_agree_on() {
        assert_eq!(attested_after(&[at(0, 0), at(1000, 1000), at(3000, 3000)]), 3000);
    }

    #[test]
    fn a_jump_of_the_wall_clock_counts_for_nothing() {
        assert_eq!(attested_after(&[at(0, 0), at(YEARS, 1000)]), 1000);
        assert_eq!(attested_after(&[at(YEARS, 0), at(0, 1000), at(1000, 2000)]), 1000);
    }

    #[test]
    fn a_restart_of_the_process_counts_and_a_reboot_does_not() {
        let mut clock = AttestedClock::resume(Attested::from_millis(5000), at(0, 0));
        clock.observe(at(60_000, 60_000));
        assert_eq!(clock.moment().attested.millis(), 65_000);
        clock.observe(Reading { boot: Boot([2; 16]), ..at(120_000, 120_000) });
        assert_eq!(clock.moment().attested.millis(), 65_000);
    }

    #[test]
    fn says_by_how_much_the_wall_clock_jumped() {
        let mut clock = AttestedClock::start(at(0, 0));
        assert_eq!(clock.observe(at(1000, 1000)), 0);
        assert_eq!(clock.observe(at(YEARS + 2000, 2000)), YEARS);
        assert_eq!(clock.observe(at(3000, 3000)), -YEARS);
        assert_eq!(clock.observe(Reading { boot: Boot([2; 16]), ..at(YEARS, 0) }), 0);
    }

    #[test]
    fn extreme_readings_do_not_overflow() {
        let all =
            [at(i64::MIN, i64::MAX), at(i64::MAX, i64::MIN), at(i64::MAX, i64::MAX), at(i64::MIN, i64::MAX)];
        assert!(attested_after(&all) >= 0);
    }
}
