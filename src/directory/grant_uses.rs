//! What clients ask for and get, until it is written: the token path adds to a number in memory, and once an hour for each
//! kind of request to a short list.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use m2mint_keys::time::{UnixTime, millis};
use papaya::Equivalent;
use parking_lot::Mutex;

use crate::store::grant_uses::{Grant, Times};

/// How fine the time of a use is kept.
const RESOLUTION: Duration = Duration::from_secs(3600);
/// How many kinds of requests are remembered; when there are more, all are forgotten, and noted once more than needed.
const MOST_SEEN: usize = 65_536;
/// How many uses wait to be written. What comes beyond is noted when it comes again.
const MOST_WAITING: usize = 65_536;

/// A client that asks for the same again.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    client: Box<str>,
    audience: Box<str>,
    scopes: Box<str>,
    is_asked: bool,
}

/// The same, to be looked up.
#[derive(Hash)]
struct KindRef<'a> {
    client: &'a str,
    audience: &'a str,
    scopes: &'a str,
    is_asked: bool,
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { client, audience, scopes, is_asked } = self;
        KindRef { client, audience, scopes, is_asked: *is_asked }.hash(state);
    }
}

impl Equivalent<Kind> for KindRef<'_> {
    fn equivalent(&self, kind: &Kind) -> bool {
        (self.client, self.audience, self.scopes, self.is_asked)
            == (&*kind.client, &*kind.audience, &*kind.scopes, kind.is_asked)
    }
}

/// What was used since it was last written.
#[derive(Default)]
pub struct GrantUses {
    seen: papaya::HashMap<Kind, AtomicI64>,
    seen_count: AtomicUsize,
    waiting: Mutex<HashMap<Grant, Times>>,
}

impl GrantUses {
    /// Notes that a client got a token for `audience` with `scopes`, separated by spaces, of which it named `asked`.
    pub fn note(&self, client: &str, audience: &str, scopes: &str, asked: Option<&[&str]>, now: UnixTime) {
        let is_asked = asked.is_some();
        if self.is_fresh(&KindRef { client, audience, scopes, is_asked }, now) {
            return;
        }
        let mut waiting = self.waiting.lock();
        // Split at spaces, an empty text is one empty scope: a token without any.
        for scope in scopes.split(' ') {
            let is_named = asked.is_some_and(|asked| scope.is_empty() || asked.contains(&scope));
            let times = Times { asked_at: is_named.then_some(now), granted_at: now };
            let grant = Grant { client: client.into(), audience: audience.into(), scope: scope.into() };
            if let Some(known) = waiting.get_mut(&grant) {
                *known = known.latest(times);
            } else if waiting.len() < MOST_WAITING {
                waiting.insert(grant, times);
            }
        }
    }

    /// Whether the same was noted lately; notes that it is now.
    fn is_fresh(&self, kind: &KindRef<'_>, now: UnixTime) -> bool {
        let seen = self.seen.pin();
        if let Some(last) = seen.get(kind) {
            let before = last.load(Ordering::Relaxed);
            let is_fresh = (0..millis(RESOLUTION)).contains(&now.millis().saturating_sub(before));
            // Of two at the same moment, one notes it.
            return is_fresh
                || last
                    .compare_exchange(before, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                    .is_err();
        }
        if self.seen_count.fetch_add(1, Ordering::Relaxed) >= MOST_SEEN {
            seen.clear();
            self.seen_count.store(1, Ordering::Relaxed);
        }
        let &KindRef { client, audience, scopes, is_asked } = kind;
        let kind = Kind { client: client.into(), audience: audience.into(), scopes: scopes.into(), is_asked };
        seen.insert(kind, AtomicI64::new(now.millis()));
        false
    }

    /// Takes what has not been written yet.
    #[must_use]
    pub fn take(&self) -> HashMap<Grant, Times> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// Takes back what could not be written.
    pub fn put_back(&self, uses: HashMap<Grant, Times>) {
        let mut waiting = self.waiting.lock();
        for (grant, times) in uses {
            let known = waiting.get(&grant).copied().unwrap_or(times);
            waiting.insert(grant, known.latest(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn scopes(uses: &HashMap<Grant, Times>) -> Vec<(&str, bool)> {
        let mut all: Vec<_> =
            uses.iter().map(|(grant, times)| (&*grant.scope, times.asked_at.is_some())).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_use_is_noted_once_an_hour_and_what_was_asked_for_apart_from_what_was_granted() {
        let uses = GrantUses::default();
        uses.note("a", "event", "event.edit event.update", Some(&["event.edit"]), at(0));
        assert_eq!(scopes(&uses.take()), [("event.edit", true), ("event.update", false)]);
        uses.note("a", "event", "event.edit event.update", Some(&["event.edit"]), at(3599));
        assert!(uses.take().is_empty());
        uses.note("a", "event", "event.edit event.update", None, at(3599));
        uses.note("a", "event", "", Some(&[]), at(3599));
        assert_eq!(scopes(&uses.take()), [("", true), ("event.edit", false), ("event.update", false)]);
        uses.note("a", "event", "event.edit event.update", Some(&["event.edit"]), at(3600));
        let taken = uses.take();
        assert_eq!(taken.len(), 2);
        uses.note("b", "event", "x", Some(&["x"]), at(3600));
        uses.put_back(taken);
        assert_eq!(uses.take().len(), 3);
    }

    #[test]
    fn memory_is_bounded_whatever_is_asked_for() {
        let uses = GrantUses::default();
        for number in 0..MOST_SEEN + 1000 {
            uses.note(&format!("c{number}"), "event", "x", Some(&["x"]), at(0));
        }
        assert!(uses.seen.len() <= MOST_SEEN && uses.take().len() == MOST_WAITING);
    }
}
