//! How often somebody may guess at a secret.
//!
//! A guess is charged before anything is hashed, at three places: to the id at the address that it comes from, to that
//! address, and to the id wherever it comes from. The first two double the wait with each wrong secret; the third is a
//! budget a day. A right secret gives the charge back. Nothing depends on whether a client exists.
//!
//! Nobody is locked out by what others do: a secret that was lately right at an address passes there without being
//! charged, and the addresses where an id was lately right have a budget that strangers do not use up.
//!
//! | module | holds |
//! |---|---|
//! | [`source`] | where a request comes from |
//! | [`usual`] | which secret was lately right where |
//! | [`charges`] | what was charged, in a table of fixed size |
//! | [`turns`] | how many tokens a client got in the last minute |

pub mod charges;
pub mod source;
pub mod turns;
pub mod usual;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use m2mint_keys::time::millis;
use parking_lot::Mutex;

use crate::limits::charges::{Budget, Charge, Penalty, Table};
use crate::limits::source::Source;
use crate::limits::usual::{Seen, Usual};

/// Entries for ids, and as many for addresses and for ids at addresses.
const CHARGES: usize = 1 << 16;
/// Entries for what was right; a client takes two at each of its addresses.
const USUAL: usize = 1 << 17;
/// How many more wrong secrets an address may send than an id at that address: it may have many clients.
const CLIENTS_AT_AN_ADDRESS: u32 = 10;
/// The longest wait of an address: clients there that are new have to wait with it.
const LONGEST_WAIT_OF_AN_ADDRESS: Duration = Duration::from_secs(60);
/// Which part of the guesses a day are those from the client's own addresses: one in so many.
const OWN_SHARE: u32 = 5;
const DAY: Duration = Duration::from_secs(86_400);

/// The numbers of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Wrong secrets in a row from one address for one id before the first wait.
    pub guesses: u32,
    /// The longest wait between two wrong secrets from one address for one id.
    pub longest_wait: Duration,
    /// Wrong secrets a day for one id, from all addresses together.
    pub guesses_a_day: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { guesses: 10, longest_wait: Duration::from_secs(300), guesses_a_day: 1900 }
    }
}

/// What a secret is presented for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door<'a> {
    /// A client that says to have this id.
    Client(&'a str),
    /// The same, named by the holder of an admin key on behalf of others: its own address is not to blame.
    ClientOfAnother(&'a str),
    /// Administration.
    Admin,
}

impl<'a> Door<'a> {
    /// What is guessed at. Whoever knocks for another knocks at the same door.
    const fn key(self) -> (bool, &'a str) {
        match self {
            Self::Client(id) | Self::ClientOfAnother(id) => (true, id),
            Self::Admin => (false, ""),
        }
    }
}

/// A secret may not be tried before so much time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(Duration);

impl Wait {
    /// For `Retry-After`, in whole seconds (RFC 9110 §10.2.3).
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
    }

    fn of(millis: i64) -> Self {
        Self(Duration::from_millis(millis.max(0).unsigned_abs()))
    }
}

/// Leave to try a secret.
#[derive(Debug)]
#[must_use = "what was right has to be noted"]
pub struct Leave {
    /// This secret of this id at this address.
    secret: u64,
    /// This id at this address, unless it has been noted in this hour.
    place: Option<u64>,
    charged: Option<Charged>,
}

impl Leave {
    /// Whether this secret was right there lately: that it is right again need not be noted.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        self.place.is_none() && self.charged.is_none()
    }
}

/// What a guess was charged.
#[derive(Debug)]
struct Charged {
    place: Charge,
    address: Option<Charge>,
    id: Option<Charge>,
    own: bool,
}

/// The limits.
pub struct Limiter {
    /// Under a key of this process: nobody outside of it can choose which ids share an entry.
    hasher: RandomState,
    usual: Usual,
    ledger: Mutex<Ledger>,
}

struct Ledger {
    ids: Table,
    places: Table,
    settings: Settings,
}

impl Limiter {
    /// Nothing was charged yet. `now` counts from anywhere, in milliseconds that only go forward.
    #[must_use]
    pub fn new(settings: Settings, now: i64) -> Self {
        let ledger = Ledger { ids: Table::new(CHARGES), places: Table::new(CHARGES), settings };
        Self { hasher: RandomState::new(), usual: Usual::new(USUAL, now), ledger: Mutex::new(ledger) }
    }

    /// From now on, by these numbers. What was charged stays.
    pub fn set(&self, settings: Settings) {
        self.ledger.lock().settings = settings;
    }

    /// Whether `presented` may be tried. A secret that was lately right there takes no lock and is charged nothing. `own`
    /// says that the client is expected at this address.
    ///
    /// # Errors
    /// How long to [`Wait`]. Strangers wait as long for an id that exists as for one that does not.
    pub fn admit(
        &self,
        door: Door<'_>,
        source: Source,
        presented: &str,
        own: impl FnOnce() -> bool,
        now: i64,
    ) -> Result<Leave, Wait> {
        let secret = self.hasher.hash_one((door.key(), source, presented));
        let place = || self.hasher.hash_one((door.key(), source));
        match self.usual.knows(secret, now) {
            Some(Seen::ThisHour) => return Ok(Leave { secret, place: None, charged: None }),
            Some(Seen::Before) => return Ok(Leave { secret, place: Some(place()), charged: None }),
            None => {}
        }
        let place = place();
        let own = self.usual.knows(place, now).is_some() || own();
        let address = (!matches!(door, Door::ClientOfAnother(_))).then(|| self.hasher.hash_one(source));
        let id = (door != Door::Admin).then(|| self.hasher.hash_one((door.key(), own)));
        let mut ledger = self.ledger.lock();
        let rules = Rules::of(&ledger.settings, own);
        let waits = [
            ledger.places.wait(place, &rules.place, now),
            address.map_or(0, |address| ledger.places.wait(address, &rules.address, now)),
            id.map_or(0, |id| ledger.ids.wait(id, &rules.id, now)),
        ];
        if let Some(wait) = waits.into_iter().max().filter(|wait| *wait > 0) {
            return Err(Wait::of(wait));
        }
        let charged = Charged {
            place: ledger.places.charge(place, &rules.place, now),
            address: address.map(|address| ledger.places.charge(address, &rules.address, now)),
            id: id.map(|id| ledger.ids.charge(id, &rules.id, now)),
            own,
        };
        Ok(Leave { secret, place: Some(place), charged: Some(charged) })
    }

    /// The secret was right. It is from now on what is usual there.
    pub fn right(&self, leave: &Leave, now: i64) {
        // Both are noted together, so that what was noted of the one holds for the other.
        if let Some(place) = leave.place {
            self.usual.note(leave.secret, now);
            self.usual.note(place, now);
        }
        let Some(charged) = &leave.charged else { return };
        let mut ledger = self.ledger.lock();
        ledger.places.forget(&charged.place);
        ledger.give_back(charged, now);
    }

    /// The secret was wrong. What was charged stays charged; and if it was right once, it no longer is.
    pub fn wrong(&self, leave: &Leave) {
        if leave.charged.is_none() {
            self.usual.forget(leave.secret);
        }
    }

    /// The secret was not tried after all.
    pub fn untried(&self, leave: &Leave, now: i64) {
        let Some(charged) = &leave.charged else { return };
        let mut ledger = self.ledger.lock();
        let rules = Rules::of(&ledger.settings, charged.own);
        ledger.places.give_back(&charged.place, &rules.place, now);
        ledger.give_back(charged, now);
    }

    /// How many bytes the tables take. They never take more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let ledger = self.ledger.lock();
        self.usual.bytes() + ledger.ids.bytes() + ledger.places.bytes()
    }
}

impl Ledger {
    fn give_back(&mut self, charged: &Charged, now: i64) {
        let rules = Rules::of(&self.settings, charged.own);
        if let Some(address) = &charged.address {
            self.places.give_back(address, &rules.address, now);
        }
        if let Some(id) = &charged.id {
            self.ids.give_back(id, &rules.id, now);
        }
    }
}

/// What the settings mean for each of the three.
struct Rules {
    place: Penalty,
    address: Penalty,
    id: Budget,
}

impl Rules {
    fn of(settings: &Settings, own: bool) -> Self {
        // What is guessed from the client's own addresses has a budget of its own: neither uses up the other's.
        let own_share = settings.guesses_a_day / OWN_SHARE;
        let share = if own { own_share } else { settings.guesses_a_day - own_share };
        // A third at once and the rest spread over the day: never more in any 24 hours.
        let at_once = (share / 3).max(1);
        let spread = share.saturating_sub(at_once).max(1);
        Self {
            place: Penalty { free: settings.guesses, longest: millis(settings.longest_wait) },
            address: Penalty {
                free: settings.guesses.saturating_mul(CLIENTS_AT_AN_ADDRESS),
                longest: millis(settings.longest_wait.min(LONGEST_WAIT_OF_AN_ADDRESS)),
            },
            id: Budget { at_once, every: millis(DAY) / i64::from(spread) },
        }
    }
}

#[cfg(test)]
mod tests;
