//! Which secret was lately right where: read without a lock, in a table of fixed size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2mint_keys::time::millis;

/// Entries that a key can have its place in: one line of the processor's cache.
pub const WAYS: usize = 8;
/// How long something counts as usual.
const LATELY: Duration = Duration::from_secs(30 * 86_400);
/// How fine the time is kept. The longest time that fits in 16 bits is 7 years.
const HOUR: Duration = Duration::from_secs(3600);
const STAMP_BITS: u32 = 16;

/// What was right, each as 48 bits of a keyed hash beside the hour in which it was right last. Its place in the table says
/// 14 bits more.
pub struct Usual {
    sets: Box<[Set]>,
    since: i64,
}

/// Begins where a line of the cache does.
#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// How lately something was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// In this hour: to note it again would change nothing.
    ThisHour,
    /// Earlier.
    Before,
}

/// In which of so many sets, a power of two, the key has its place.
#[must_use]
pub fn set_of(key: u64, sets: usize) -> usize {
    // The lower bits.
    usize::try_from(key).unwrap_or(usize::MAX) % sets.max(1)
}

impl Usual {
    /// Nothing is usual yet.
    #[must_use]
    pub fn new(entries: usize, now: i64) -> Self {
        let sets = entries.next_power_of_two().max(WAYS) / WAYS;
        Self { sets: (0..sets).map(|_| Set::default()).collect(), since: now }
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Whether `key` was right lately, and then how lately.
    #[must_use]
    pub fn knows(&self, key: u64, now: i64) -> Option<Seen> {
        let wanted = key >> STAMP_BITS;
        let mut found = self.set(key).iter().map(|entry| entry.load(Ordering::Relaxed));
        let entry = found.find(|entry| *entry != 0 && entry >> STAMP_BITS == wanted)?;
        let hours_ago = self.stamp(now).saturating_sub(stamp_of(entry));
        let seen = if hours_ago == 0 { Seen::ThisHour } else { Seen::Before };
        (hours_ago <= hours(LATELY)).then_some(seen)
    }

    /// `key` is right now.
    pub fn note(&self, key: u64, now: i64) {
        let stamp = self.stamp(now);
        let fresh = key >> STAMP_BITS << STAMP_BITS | stamp;
        let set = self.set(key);
        let same = set.iter().find(|entry| {
            let entry = entry.load(Ordering::Relaxed);
            entry != 0 && entry >> STAMP_BITS == key >> STAMP_BITS
        });
        let oldest = || set.iter().min_by_key(|entry| stamp_of(entry.load(Ordering::Relaxed)));
        if let Some(entry) = same.or_else(oldest)
            // Once an hour: writing would take the line away from the other processors.
            && entry.load(Ordering::Relaxed) != fresh
        {
            // Two at once may choose the same place: one of them is noted the next time.
            entry.store(fresh, Ordering::Relaxed);
        }
    }

    /// `key` is not right any more.
    pub fn forget(&self, key: u64) {
        for entry in self.set(key) {
            if entry.load(Ordering::Relaxed) >> STAMP_BITS == key >> STAMP_BITS {
                entry.store(0, Ordering::Relaxed);
            }
        }
    }

    fn set(&self, key: u64) -> &[AtomicU64] {
        self.sets.get(set_of(key, self.sets.len())).map_or(&[], |set| &set.0)
    }

    /// Never 0: that is an entry that nobody has.
    fn stamp(&self, now: i64) -> u64 {
        let hour = now.saturating_sub(self.since).max(0) / millis(HOUR);
        hour.unsigned_abs().saturating_add(1).min(u64::from(u16::MAX))
    }
}

fn stamp_of(entry: u64) -> u64 {
    entry & u64::from(u16::MAX)
}

fn hours(span: Duration) -> u64 {
    span.as_secs() / HOUR.as_secs()
}
