//! What was charged to whom, in a table of fixed size.
//!
//! An entry says until when it counts and how heavy it is. Where a new one finds no room, the one gives way that would
//! soonest count for nothing: whoever wants a heavy one gone has to make others heavier.

use std::ops::Range;

use crate::limits::usual::{WAYS, set_of};

/// What counts for an entry, in milliseconds.
pub trait Rule {
    /// How long it has to wait from `now`; 0 when it need not.
    fn wait(&self, entry: Entry, now: i64) -> i64;
    /// The entry after one more charge.
    fn charged(&self, entry: Entry, now: i64) -> Entry;
    /// The entry with the charge that made it `after` given back.
    fn given_back(&self, entry: Entry, after: Entry, now: i64) -> Entry;
    /// When it counts for nothing any more.
    fn void_at(&self, entry: Entry) -> i64;
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    until: i64,
    level: u16,
}

/// The first wait.
const FIRST_WAIT: i64 = 1000;

/// Some are free, and then each charge doubles the wait. As long as the longest wait, without one, forgives one.
#[derive(Debug, Clone, Copy)]
pub struct Penalty {
    /// How many are free.
    pub free: u32,
    /// The longest wait.
    pub longest: i64,
}

impl Penalty {
    fn level(&self, entry: Entry, now: i64) -> u16 {
        let forgiven = now.saturating_sub(entry.until).max(0) / self.longest.max(FIRST_WAIT);
        entry.level.saturating_sub(u16::try_from(forgiven).unwrap_or(u16::MAX))
    }

    fn after(&self, level: u16) -> i64 {
        match u32::from(level).checked_sub(self.free) {
            None => 0,
            Some(beyond) => FIRST_WAIT.checked_shl(beyond.min(32)).unwrap_or(i64::MAX).min(self.longest),
        }
    }
}

impl Rule for Penalty {
    fn wait(&self, entry: Entry, now: i64) -> i64 {
        // Never longer than the rule says, whatever the clock did.
        entry.until.saturating_sub(now).clamp(0, self.longest)
    }

    fn charged(&self, entry: Entry, now: i64) -> Entry {
        // One level beyond the longest wait is enough: more would only be harder to forgive.
        let worst = self.free.saturating_add(32).min(u32::from(u16::MAX));
        let level = self.level(entry, now).saturating_add(1).min(u16::try_from(worst).unwrap_or(u16::MAX));
        Entry { until: now.saturating_add(self.after(level)), level }
    }

    fn given_back(&self, entry: Entry, after: Entry, now: i64) -> Entry {
        let until = if entry.until == after.until { now.min(entry.until) } else { entry.until };
        Entry { until, level: entry.level.saturating_sub(1) }
    }

    fn void_at(&self, entry: Entry) -> i64 {
        entry.until.saturating_add(i64::from(entry.level).saturating_mul(self.longest.max(FIRST_WAIT)))
    }
}

/// A budget that fills up with time: the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// How much there is when it is full.
    pub at_once: u32,
    /// After how long there is one more.
    pub every: i64,
}

impl Budget {
    fn full(&self) -> i64 {
        i64::from(self.at_once).saturating_mul(self.every)
    }

    /// When it will be full again.
    fn debt_until(&self, entry: Entry, now: i64) -> i64 {
        entry.until.clamp(now, now.saturating_add(self.full()))
    }
}

impl Rule for Budget {
    fn wait(&self, entry: Entry, now: i64) -> i64 {
        let after = self.debt_until(entry, now).saturating_add(self.every);
        after.saturating_sub(now).saturating_sub(self.full()).max(0)
    }

    fn charged(&self, entry: Entry, now: i64) -> Entry {
        Entry { until: self.debt_until(entry, now).saturating_add(self.every), level: 1 }
    }

    fn given_back(&self, entry: Entry, _: Entry, _: i64) -> Entry {
        Entry { until: entry.until.saturating_sub(self.every), ..entry }
    }

    fn void_at(&self, entry: Entry) -> i64 {
        entry.until
    }
}

/// A charge that can be given back.
#[derive(Debug)]
pub struct Charge {
    key: u64,
    after: Entry,
}

/// A table of fixed size. A key has its place in one set of [`WAYS`].
pub struct Table {
    slots: Vec<Slot>,
    /// Where the first set begins: with a line of the processor's cache.
    first: usize,
}

const CACHE_LINE: usize = 64;

/// Key, and the entry in one word: pages of zeros that nobody writes to take no memory.
type Slot = [u64; 2];

const LEVEL_BITS: u32 = 16;

fn packed(entry: Entry) -> u64 {
    // 48 bits of milliseconds are 8,900 years.
    (entry.until.max(0).unsigned_abs() << LEVEL_BITS) | u64::from(entry.level)
}

fn unpacked(word: u64) -> Entry {
    Entry {
        until: i64::try_from(word >> LEVEL_BITS).unwrap_or(i64::MAX),
        level: u16::try_from(word & u64::from(u16::MAX)).unwrap_or(u16::MAX),
    }
}

impl Table {
    /// An empty table of so many entries, a power of two.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let slots = vec![[0; 2]; entries.next_power_of_two().max(WAYS) + CACHE_LINE / size_of::<Slot>()];
        let first = slots.as_ptr().align_offset(CACHE_LINE);
        // What cannot be aligned is only slower.
        Self { first: if first < CACHE_LINE / size_of::<Slot>() { first } else { 0 }, slots }
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// How long `key` has to wait.
    #[must_use]
    pub fn wait(&self, key: u64, rule: &impl Rule, now: i64) -> i64 {
        let set = self.slots.get(self.set(key)).unwrap_or_default();
        let found = set.iter().find(|[stored, word]| *stored == key && *word != 0);
        found.map_or(0, |[_, word]| rule.wait(unpacked(*word), now))
    }

    /// Charges `key` once.
    pub fn charge(&mut self, key: u64, rule: &impl Rule, now: i64) -> Charge {
        let known = self.slot(key).map(|slot| unpacked(slot[1]));
        let after = rule.charged(known.unwrap_or(Entry { until: now, level: 0 }), now);
        let slot = match known {
            Some(_) => self.slot(key),
            None => {
                let set = self.set(key);
                let set = self.slots.get_mut(set).unwrap_or_default();
                set.iter_mut().min_by_key(|[_, word]| match word {
                    0 => i64::MIN,
                    word => rule.void_at(unpacked(*word)),
                })
            }
        };
        if let Some(slot) = slot {
            *slot = [key, packed(after)];
        }
        Charge { key, after: unpacked(packed(after)) }
    }

    /// Gives a charge back.
    pub fn give_back(&mut self, charge: &Charge, rule: &impl Rule, now: i64) {
        if let Some(slot) = self.slot(charge.key) {
            slot[1] = packed(rule.given_back(unpacked(slot[1]), charge.after, now));
        }
    }

    /// Forgets everything that the key of a charge was ever charged.
    pub fn forget(&mut self, charge: &Charge) {
        if let Some(slot) = self.slot(charge.key) {
            *slot = [0; 2];
        }
    }

    fn slot(&mut self, key: u64) -> Option<&mut Slot> {
        let set = self.set(key);
        self.slots.get_mut(set)?.iter_mut().find(|[stored, word]| *stored == key && *word != 0)
    }

    /// Where the set of a key is.
    fn set(&self, key: u64) -> Range<usize> {
        let first = self.first + set_of(key, self.slots.len() / WAYS) * WAYS;
        first..first + WAYS
    }
}
