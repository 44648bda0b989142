//! What clients ask for and get, until it is written: the token path adds to a number in memory, and once an hour for each
//! kind of request to a short list.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
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

/// What a client last asked for, and when that was noted: nearly every client asks for the same again and again, and then
/// nothing else has to be looked up. Half of it is a hash, and half are seconds; zero before it asked for anything.
#[derive(Debug, Default)]
pub struct LastKind(AtomicU64);

impl LastKind {
    fn is_fresh(&self, hash: u32, now: UnixTime) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let since = seconds(now).wrapping_sub(last as u32);
        (last >> 32) as u32 == hash && u64::from(since) < RESOLUTION.as_secs()
    }

    /// Whether it asked for nothing yet.
    fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn note(&self, hash: u32, noted: UnixTime) {
        self.0.store(u64::from(hash) << 32 | u64::from(seconds(noted)), Ordering::Relaxed);
    }
}

/// Seconds of which only differences count.
const fn seconds(time: UnixTime) -> u32 {
    time.secs() as u32
}

/// What was used since it was last written.
#[derive(Default)]
pub struct GrantUses {
    hasher: foldhash::quality::RandomState,
    /// What clients asked for that ask for several things in turn.
    seen: papaya::HashMap<Kind, AtomicI64>,
    seen_count: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// What is to be written.
#[derive(Default)]
struct Waiting {
    /// Uses as they were noted, one after the other; taken to pieces when they are written. Each is client, audience, granted
    /// scopes and, where scopes were named, those. None of its parts can hold a NUL or the end of a line.
    text: String,
    /// When they were.
    at: Vec<UnixTime>,
    /// How many grants are in them.
    grants: usize,
    put_back: BTreeMap<Grant, Times>,
}

impl Waiting {
    fn note(&mut self, client: &str, audience: &str, scopes: &str, asked: Option<&[&str]>, at: UnixTime) {
        let text = &mut self.text;
        for part in [client, "\0", audience, "\0", scopes] {
            text.push_str(part);
        }
        if let Some(asked) = asked {
            text.push('\0');
            for scope in asked {
                text.push_str(scope);
                text.push(' ');
            }
        }
        text.push('\n');
        self.at.push(at);
    }

    fn taken_to_pieces(self) -> BTreeMap<Grant, Times> {
        let Self { text, at, mut put_back, .. } = self;
        text.lines().zip(at).for_each(|(noted, at)| add(noted, at, &mut put_back));
        put_back
    }
}

/// Adds a use as it was noted.
fn add(noted: &str, at: UnixTime, uses: &mut BTreeMap<Grant, Times>) {
    let mut parts = noted.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    let (client, audience, scopes) = (part(), part(), part());
    let asked = parts.next();
    // Split at spaces, an empty text is one empty scope: a token without any.
    for scope in scopes.split(' ') {
        let is_named =
            asked.is_some_and(|asked| scope.is_empty() || asked.split(' ').any(|asked| asked == scope));
        let times = Times { asked_at: is_named.then_some(at), granted_at: at };
        let grant = Grant { client: client.into(), audience: audience.into(), scope: scope.into() };
        if let Some(known) = uses.get_mut(&grant) {
            *known = known.latest(times);
        } else if uses.len() < MOST_WAITING {
            uses.insert(grant, times);
        }
    }
}

impl GrantUses {
    /// Notes that a client, whose `last` this is, got a token for `audience` with `scopes`, separated by spaces, of which it
    /// named `asked`.
    pub fn note(
        &self,
        client: &str,
        last: &LastKind,
        audience: &str,
        scopes: &str,
        asked: Option<&[&str]>,
        now: UnixTime,
    ) {
        let is_asked = asked.is_some();
        let hash = (self.hasher.hash_one((audience, scopes, is_asked)) >> 32) as u32;
        if last.is_fresh(hash, now) {
            return;
        }
        let kind = KindRef { client, audience, scopes, is_asked };
        let noted = if last.is_none() { None } else { self.last_noted(&kind, now) };
        last.note(hash, noted.unwrap_or(now));
        if noted.is_some() {
            return;
        }
        let grants = scopes.split(' ').count();
        let mut waiting = self.waiting.lock();
        if waiting.grants + grants <= MOST_WAITING {
            waiting.grants += grants;
            waiting.note(client, audience, scopes, asked, now);
        }
    }

    /// When the same was noted, if it was lately; notes that it is now, if not.
    fn last_noted(&self, kind: &KindRef<'_>, now: UnixTime) -> Option<UnixTime> {
        let seen = self.seen.pin();
        if let Some(last) = seen.get(kind) {
            let before = last.load(Ordering::Relaxed);
            if (0..millis(RESOLUTION)).contains(&now.millis().saturating_sub(before)) {
                return Some(UnixTime::from_millis(before));
            }
            // Of two at the same moment, one notes it.
            let noted = last.compare_exchange(before, now.millis(), Ordering::Relaxed, Ordering::Relaxed);
            return noted.err().map(UnixTime::from_millis);
        }
        if self.seen_count.fetch_add(1, Ordering::Relaxed) >= MOST_SEEN {
            seen.clear();
            self.seen_count.store(1, Ordering::Relaxed);
        }
        let &KindRef { client, audience, scopes, is_asked } = kind;
        let kind = Kind { client: client.into(), audience: audience.into(), scopes: scopes.into(), is_asked };
        seen.insert(kind, AtomicI64::new(now.millis()));
        None
    }

    /// Takes what has not been written yet.
    #[must_use]
    pub fn take(&self) -> BTreeMap<Grant, Times> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.taken_to_pieces()
    }

    /// Takes back what could not be written.
    pub fn put_back(&self, uses: BTreeMap<Grant, Times>) {
        let mut waiting = self.waiting.lock();
        for (grant, times) in uses {
            let known = waiting.put_back.get(&grant).copied().unwrap_or(times);
            waiting.put_back.insert(grant, known.latest(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn scopes(uses: &BTreeMap<Grant, Times>) -> Vec<(&str, bool)> {
        let mut all: Vec<_> =
            uses.iter().map(|(grant, times)| (&*grant.scope, times.asked_at.is_some())).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_use_is_noted_once_an_hour_and_what_was_asked_for_apart_from_what_was_granted() {
        let (uses, a, b) = (GrantUses::default(), LastKind::default(), LastKind::default());
        uses.note("a", &a, "event", "event.edit event.update", Some(&["event.edit"]), at(0));
        assert_eq!(scopes(&uses.take()), [("event.edit", true), ("event.update", false)]);
        uses.note("a", &a, "event", "event.edit event.update", Some(&["event.edit"]), at(3599));
        assert!(uses.take().is_empty());
        uses.note("a", &a, "event", "event.edit event.update", None, at(3599));
        uses.note("a", &a, "event", "", Some(&[]), at(3599));
        assert_eq!(scopes(&uses.take()), [("", true), ("event.edit", false), ("event.update", false)]);
        uses.note("a", &a, "event", "event.edit event.update", Some(&["event.edit"]), at(3600));
        let taken = uses.take();
        assert_eq!(taken.len(), 2);
        uses.note("b", &b, "event", "x", Some(&["x"]), at(3600));
        uses.put_back(taken);
        assert_eq!(uses.take().len(), 3);
    }

    #[test]
    fn a_client_that_asks_for_the_same_again_is_known_by_itself() {
        let (uses, last) = (GrantUses::default(), LastKind::default());
        let note = |scopes: &str, seconds| uses.note("a", &last, "event", scopes, None, at(seconds));
        note("x", 0);
        assert_eq!(uses.take().len(), 1);
        note("x", 3599);
        assert!(uses.take().is_empty());
        assert!(uses.seen.is_empty());
        // What is asked for in turn is known elsewhere.
        note("y", 3599);
        note("x", 3599);
        note("y", 3599);
        let waiting = uses.waiting.lock().at.len();
        assert_eq!((uses.seen.len(), waiting, uses.take().len()), (2, 2, 2));
        note("y", 3600);
        note("x", 3600);
        assert!(uses.take().is_empty());
        // A clock that was set back says nothing of an hour.
        note("x", -1);
        assert_eq!(uses.take().len(), 1);
    }

    #[test]
    fn memory_is_bounded_whatever_is_asked_for() {
        let (uses, last) = (GrantUses::default(), LastKind::default());
        for number in 0..MOST_SEEN + 1000 {
            uses.note(&format!("c{number}"), &last, "event", &format!("x{number}"), Some(&["x"]), at(0));
        }
        assert!(uses.seen.len() <= MOST_SEEN && uses.seen.len() > 500);
        assert_eq!(uses.waiting.lock().at.len(), MOST_WAITING);
        assert_eq!(uses.take().len(), MOST_WAITING);
    }
}
