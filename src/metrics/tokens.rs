//! Tokens by client and audience. There may be a million clients, and whoever graphs them pays for each name: the busiest
//! are told by name, and all others together.
//!
//! Those who may become the busiest are counted one by one, four times as many as are told. Which are told is decided when
//! somebody reads. A counter that is told only ever grows, and so does that of all others.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use papaya::{Equivalent, HashMap};
use parking_lot::Mutex;

/// Under which client and audience all others are told.
pub const OTHER: &str = "other";
/// How many are counted one by one for each that is told.
const CANDIDATES: usize = 4;
/// So many are given room at once.
const FEW: usize = 1000;
/// One part in so many of those that are counted makes room when they are all taken.
const PART: usize = 4;
/// When only that part is free, one token in so many gets a place for its client.
const SAMPLE: u64 = 16;
/// After this long, a token weighs half as much as a new one.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// Who is told goes on being told until another one is so many times as busy.
const LEAD: f64 = 2.0;

/// Counts tokens.
pub struct Tokens {
    most: usize,
    slots: HashMap<Pair, Arc<Slot>, foldhash::quality::RandomState>,
    taken: AtomicUsize,
    beyond: AtomicU64,
    turned_away: AtomicU64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pair {
    client: Box<str>,
    audience: Box<str>,
}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        PairRef { client: &self.client, audience: &self.audience }.hash(state);
    }
}

/// A pair that is looked up.
#[derive(Hash)]
struct PairRef<'a> {
    client: &'a str,
    audience: &'a str,
}

impl Equivalent<Pair> for PairRef<'_> {
    fn equivalent(&self, pair: &Pair) -> bool {
        *self.client == *pair.client && *self.audience == *pair.audience
    }
}

#[derive(Default)]
struct Slot {
    count: AtomicU64,
    /// Touched by readers only, one at a time.
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// How much of the count readers have seen.
    seen: u64,
    /// How much of it was told by name.
    told: u64,
    /// How busy it lately was.
    weight: f64,
    is_told: bool,
}

struct Ledger {
    read: Instant,
    other: u64,
    beyond_seen: u64,
    /// Those that made room. Somebody may just be counting one more.
    leaving: Vec<Arc<Slot>>,
}

/// What was issued, as it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Client, audience and how many, sorted.
    pub named: Vec<(String, String, u64)>,
    /// All others.
    pub other: u64,
}

impl Tokens {
    /// The `most` busiest are told by name.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            // Twice as many as there will be: most clients are looked up and not found.
            slots: HashMap::with_capacity_and_hasher(
                most.min(FEW) * CANDIDATES * 2,
                foldhash::quality::RandomState::default(),
            ),
            taken: AtomicUsize::new(0),
            beyond: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            ledger: Mutex::new(Ledger {
                read: Instant::now(),
                other: 0,
                beyond_seen: 0,
                leaving: Vec::new(),
            }),
        }
    }

    /// How many are told by name.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Counts one.
    pub fn count(&self, client: &str, audience: &str) {
        let slots = self.slots.pin();
        if let Some(slot) = slots.get(&PairRef { client, audience }) {
            slot.count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Its name means all others.
        if (client, audience) == (OTHER, OTHER) || !self.is_let_in() {
            self.beyond.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let slot =
            slots.get_or_insert_with(Pair { client: client.into(), audience: audience.into() }, || {
                self.taken.fetch_add(1, Ordering::Relaxed);
                Arc::default()
            });
        slot.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is a place for one more. The last quarter is given to every so manieth token only, so that whoever is
    /// busy gets one sooner than whoever came once.
    fn is_let_in(&self) -> bool {
        let (taken, places) = (self.taken.load(Ordering::Relaxed), self.most * CANDIDATES);
        taken < places - places / PART
            || taken < places && self.turned_away.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE)
    }

    /// What was issued until `now`.
    #[must_use]
    pub fn tell(&self, now: Instant) -> Told {
        let mut ledger = self.ledger.lock();
        let elapsed = now.saturating_duration_since(ledger.read);
        let decay = 0.5_f64.powf(elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64());
        ledger.read = now;
        let beyond = self.beyond.load(Ordering::Relaxed);
        ledger.other += beyond - std::mem::replace(&mut ledger.beyond_seen, beyond);
        for slot in std::mem::take(&mut ledger.leaving) {
            ledger.other += slot.book.lock().see(&slot.count);
        }
        let slots = self.slots.pin();
        let mut ranked: Vec<_> = slots
            .iter()
            .map(|(pair, slot)| {
                let mut book = slot.book.lock();
                let fresh = book.see(&slot.count);
                book.weight = book.weight * decay + count_of(fresh);
                let rank = if book.is_told { book.weight * LEAD } else { book.weight };
                (rank, fresh, pair, slot)
            })
            .collect();
        ranked.sort_by(|(a, _, pair_a, _), (b, _, pair_b, _)| {
            b.total_cmp(a)
                .then_with(|| (&pair_a.client, &pair_a.audience).cmp(&(&pair_b.client, &pair_b.audience)))
        });
        let mut named = Vec::with_capacity(self.most.min(ranked.len()));
        for (at, (_, fresh, pair, slot)) in ranked.iter().enumerate() {
            let mut book = slot.book.lock();
            book.is_told = at < self.most;
            if book.is_told {
                book.told += fresh;
                named.push((pair.client.to_string(), pair.audience.to_string(), book.told));
            } else {
                ledger.other += fresh;
            }
        }
        if ranked.len() >= self.most * CANDIDATES {
            for (_, _, pair, slot) in ranked.iter().skip(self.most).rev().take(ranked.len() / PART) {
                slots.remove(*pair);
                self.taken.fetch_sub(1, Ordering::Relaxed);
                ledger.leaving.push(Arc::clone(slot));
            }
        }
        named.sort();
        Told { named, other: ledger.other }
    }
}

impl Book {
    /// What was counted since the last look.
    fn see(&mut self, count: &AtomicU64) -> u64 {
        let count = count.load(Ordering::Relaxed);
        count - std::mem::replace(&mut self.seen, count)
    }
}

/// Precise up to 2^53, which is more than anybody issues.
#[expect(clippy::cast_precision_loss)]
const fn count_of(tokens: u64) -> f64 {
    tokens as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(tokens: &Tokens, client: &str, count: u32) {
        (0..count).for_each(|_| tokens.count(client, "event"));
    }

    fn named(told: &Told) -> Vec<(&str, u64)> {
        told.named.iter().map(|(client, _, count)| (client.as_str(), *count)).collect()
    }

    #[test]
    fn each_client_and_audience_is_told_by_name_while_there_are_few() {
        let tokens = Tokens::new(3);
        issue(&tokens, "a", 2);
        tokens.count("a", "file");
        let told = tokens.tell(Instant::now());
        let expected = [("a", "event", 2), ("a", "file", 1)];
        assert_eq!(told.named, expected.map(|(client, audience, n)| (client.into(), audience.into(), n)));
        assert_eq!(told.other, 0);
    }

    #[test]
    fn the_busiest_are_told_by_name_and_all_others_together_and_nothing_is_lost() {
        let tokens = Tokens::new(2);
        for (client, count) in [("a", 5), ("b", 1), ("c", 9), ("d", 2)] {
            issue(&tokens, client, count);
        }
        let told = tokens.tell(Instant::now());
        assert_eq!((named(&told), told.other), (vec![("a", 5), ("c", 9)], 3));
    }

    #[test]
    fn a_thousand_clients_are_as_many_names_as_are_wanted() {
        let tokens = Tokens::new(10);
        let mut all = 0;
        for round in 0..5 {
            for client in 0..1000 {
                issue(&tokens, &format!("{client}"), 1);
                issue(&tokens, "busy", u32::from(client % 20 == 0));
                all += 1 + u64::from(client % 20 == 0);
            }
            let told = tokens.tell(Instant::now());
            assert!(told.named.len() <= 10 && tokens.slots.len() <= 40, "{round}");
        }
        let told = tokens.tell(Instant::now());
        assert!(told.named.iter().any(|(client, _, count)| client == "busy" && *count > 100), "{told:?}");
        assert!(told.named.iter().map(|(_, _, count)| count).sum::<u64>() + told.other <= all);
    }

    #[test]
    fn counters_only_grow_when_another_client_becomes_the_busiest() {
        let tokens = Tokens::new(1);
        issue(&tokens, "a", 10);
        issue(&tokens, "b", 1);
        let now = Instant::now();
        assert_eq!(named(&tokens.tell(now)), [("a", 10)]);
        issue(&tokens, "b", 15);
        let told = tokens.tell(now);
        assert_eq!((named(&told), told.other), (vec![("a", 10)], 16), "not twice as busy");
        issue(&tokens, "b", 10);
        let told = tokens.tell(now);
        assert_eq!((named(&told), told.other), (vec![("b", 10)], 16), "from now on by its name");
        issue(&tokens, "a", 100);
        let told = tokens.tell(now);
        assert_eq!((named(&told), told.other), (vec![("a", 110)], 16), "where it was left");
    }

    #[test]
    fn no_names_are_told_where_none_are_wanted_and_other_is_none() {
        let tokens = Tokens::new(0);
        issue(&tokens, "a", 3);
        assert_eq!(tokens.tell(Instant::now()), Told { named: Vec::new(), other: 3 });
        let tokens = Tokens::new(5);
        tokens.count(OTHER, OTHER);
        tokens.count(OTHER, "event");
        let told = tokens.tell(Instant::now());
        assert_eq!((named(&told), told.other), (vec![(OTHER, 1)], 1));
    }
}
