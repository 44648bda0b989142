//! Secrets that are used although they will not be accepted much longer: who still has to get the new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2mint_keys::time::{UnixTime, millis};
use parking_lot::Mutex;

use crate::model::audit::date_to_the_second;

/// How many addresses are remembered, of all secrets together.
const MOST: usize = 4096;
/// How often one address is logged.
const LOG_EVERY: Duration = Duration::from_secs(3600);
/// How long before its end a secret counts that no other has replaced.
const SOON: Duration = Duration::from_secs(7 * 86_400);
/// How long a use counts.
const COUNTS_FOR: Duration = Duration::from_secs(86_400);

/// A secret with an end that was just accepted.
#[derive(Debug, Clone, Copy)]
pub struct RetiringUse<'a> {
    /// Whose it is.
    pub client: &'a str,
    /// Which of the client's secrets.
    pub secret: i64,
    /// When it stops being accepted.
    pub ends_at: UnixTime,
    /// Whether the client has a later one that is accepted.
    pub is_replaced: bool,
    /// Where it came from; `None` for a program on this machine.
    pub from: Option<IpAddr>,
}

/// A secret that will not be accepted much longer, and was used lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillUsed {
    /// Whose it is.
    pub client: String,
    /// Which of the client's secrets.
    pub secret: i64,
    /// When it stops being accepted.
    pub ends_at: UnixTime,
    /// From how many addresses it was used within a day.
    pub addresses: usize,
}

type Place = (Box<str>, i64, Option<IpAddr>);

struct Seen {
    ends_at: UnixTime,
    last: UnixTime,
    logged: UnixTime,
}

/// Which of them were used lately, from where.
#[derive(Default)]
pub struct Retiring {
    uses: AtomicU64,
    seen: Mutex<HashMap<Place, Seen>>,
}

impl Retiring {
    /// Notes a use. It is logged when the address is a new one, or an hour has passed.
    pub fn note(&self, used: &RetiringUse<'_>, now: UnixTime) {
        let &RetiringUse { client, secret, ends_at, is_replaced, from } = used;
        if !is_replaced && ends_at.millis_since(now) > millis(SOON) {
            return;
        }
        self.uses.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.seen.lock();
        if seen.len() >= MOST {
            seen.retain(|_, seen| seen.counts(now));
        }
        let place = (Box::from(client), secret, from);
        let is_known = seen.get(&place).is_some_and(|seen| now.millis_since(seen.logged) < millis(LOG_EVERY));
        let logged = seen.get(&place).filter(|_| is_known).map_or(now, |seen| seen.logged);
        if seen.len() < MOST || seen.contains_key(&place) {
            seen.insert(place, Seen { ends_at, last: now, logged });
        }
        drop(seen);
        if !is_known {
            tracing::warn!(
                client_id = client,
                secret,
                from = %from.map_or_else(|| "this machine".to_owned(), |from| from.to_string()),
                ends = date_to_the_second(ends_at),
                replaced = is_replaced,
                "a secret that will soon not be accepted any more is still used"
            );
        }
    }

    /// How often such secrets were used, looked at about once a minute for each.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Those that were used within a day and still are accepted, `most` at most, the first to end first.
    #[must_use]
    pub fn still_used(&self, most: usize, now: UnixTime) -> Vec<StillUsed> {
        let mut found: HashMap<(Box<str>, i64), (UnixTime, usize)> = HashMap::new();
        for ((client, secret, _), seen) in self.seen.lock().iter().filter(|(_, seen)| seen.counts(now)) {
            let (ends_at, addresses) = found.entry((client.clone(), *secret)).or_insert((seen.ends_at, 0));
            *ends_at = (*ends_at).min(seen.ends_at);
            *addresses += 1;
        }
        let still_used = found.into_iter().map(|((client, secret), (ends_at, addresses))| StillUsed {
            client: client.into(),
            secret,
            ends_at,
            addresses,
        });
        let mut all: Vec<_> = still_used.collect();
        all.sort_by(|a, b| (a.ends_at, &a.client, a.secret).cmp(&(b.ends_at, &b.client, b.secret)));
        all.truncate(most);
        all
    }
}

impl Seen {
    fn counts(&self, now: UnixTime) -> bool {
        now < self.ends_at && now.millis_since(self.last) < millis(COUNTS_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn used(client: &str, ends: i64, is_replaced: bool, from: [u8; 4]) -> RetiringUse<'_> {
        RetiringUse { client, secret: 1, ends_at: at(ends), is_replaced, from: Some(from.into()) }
    }

    #[test]
    fn replaced_secrets_and_those_that_end_within_a_week_count_for_a_day() {
        let retiring = Retiring::default();
        retiring.note(&used("a", 90 * DAY, false, [192, 0, 2, 1]), at(0));
        assert_eq!((retiring.uses(), retiring.still_used(9, at(0))), (0, vec![]));
        retiring.note(&used("a", 90 * DAY, true, [192, 0, 2, 1]), at(0));
        retiring.note(&used("a", 90 * DAY, true, [192, 0, 2, 2]), at(0));
        retiring.note(&used("b", 6 * DAY, false, [192, 0, 2, 1]), at(0));
        let told = |most, now| -> Vec<_> {
            retiring.still_used(most, at(now)).into_iter().map(|one| (one.client, one.addresses)).collect()
        };
        assert_eq!(told(9, 1), [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        assert_eq!(told(1, 1), [("b".to_owned(), 1)]);
        assert_eq!(told(9, DAY), []);
        assert_eq!(retiring.uses(), 3);
    }

    #[test]
    fn memory_is_bounded_however_many_addresses_there_are() {
        let retiring = Retiring::default();
        for number in 0..MOST + 100 {
            let [.., a, b] = number.to_be_bytes();
            retiring.note(&used("a", DAY, true, [10, 0, a, b]), at(0));
        }
        assert_eq!(retiring.seen.lock().len(), MOST);
        retiring.note(&used("b", 3 * DAY, true, [10, 0, 0, 0]), at(2 * DAY));
        assert_eq!(retiring.seen.lock().len(), 1, "what no longer counts makes room");
    }
}
