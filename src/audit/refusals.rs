//! Who was not let in, until it is written to the audit log.
//!
//! Under attack only the first few of a minute at each door are kept one by one; all others are counted, and nobody is
//! counted twice. Whoever makes a noise at one door hides nobody at another. Noting one takes a lock for those few, and an addition for the rest.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use m2mint_keys::time::UnixTime;
use parking_lot::Mutex;

use crate::model::audit::{Action, Entry, Origin};

pub use crate::model::audit::Door;

/// How many are kept one by one at each door between two writes, which are a minute apart.
pub const KEPT: usize = 10;

const DOORS: usize = 4;

/// Somebody who was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// At which door.
    pub door: Door,
    /// When.
    pub at: UnixTime,
    /// From where.
    pub origin: Origin,
    /// The client, if there is one of that name. Other names are not kept: they may be secrets in the wrong field.
    pub client: Option<String>,
    /// Why, as far as the log may know.
    pub reason: String,
}

/// Those who were not let in since the last write.
#[derive(Debug, Default)]
pub struct Refusals {
    taken: [AtomicUsize; DOORS],
    kept: Mutex<Vec<Refused>>,
    more: [AtomicU64; DOORS],
}

/// What one write takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    kept: Vec<Refused>,
    more: [u64; DOORS],
}

impl Refusals {
    /// Notes one. `describe` is only asked when there is room.
    pub fn note(&self, door: Door, describe: impl FnOnce() -> Refused) {
        let door = door as usize;
        let (Some(taken), Some(more)) = (self.taken.get(door), self.more.get(door)) else { return };
        if taken.load(Ordering::Relaxed) < KEPT && taken.fetch_add(1, Ordering::Relaxed) < KEPT {
            let refused = describe();
            self.kept.lock().push(refused);
            return;
        }
        more.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes all of them, and makes room for new ones.
    #[must_use]
    pub fn take(&self) -> Batch {
        let kept = std::mem::take(&mut *self.kept.lock());
        self.taken.iter().for_each(|taken| taken.store(0, Ordering::Relaxed));
        Batch { kept, more: self.more.each_ref().map(|more| more.swap(0, Ordering::Relaxed)) }
    }

    /// Takes back what could not be written, for the next write.
    pub fn put_back(&self, batch: Batch) {
        for refused in &batch.kept {
            self.taken.get(refused.door as usize).map(|taken| taken.fetch_add(1, Ordering::Relaxed));
        }
        self.kept.lock().extend(batch.kept);
        for (more, count) in self.more.iter().zip(batch.more) {
            more.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Batch {
    /// Its entries: one for each that was kept, and those that count the others.
    #[must_use]
    pub fn entries(&self, now: UnixTime) -> Vec<Entry> {
        let one = |refused: &Refused| {
            let action = match refused.door {
                Door::Client | Door::Admin => Action::AuthenticationRefuse,
                Door::Role => Action::AuthorizationRefuse,
                Door::Token => Action::TokenRefuse,
            };
            let entry = Entry::new(refused.at, &refused.origin, action).because(&refused.reason);
            match &refused.client {
                Some(client) => entry.about(client),
                None => entry,
            }
        };
        let mut entries: Vec<_> = self.kept.iter().map(one).collect();
        let [clients, admins, roles, tokens] = self.more;
        if clients + admins > 0 {
            entries.push(
                Entry::new(now, &Origin::of("many"), Action::AuthenticationRefuse)
                    .because("too many to be listed one by one")
                    .with("clients", clients)
                    .with("admin_keys", admins),
            );
        }
        for (action, what, count) in
            [(Action::AuthorizationRefuse, "admin_keys", roles), (Action::TokenRefuse, "clients", tokens)]
        {
            if count > 0 {
                entries.push(
                    Entry::new(now, &Origin::of("many"), action)
                        .because("too many to be listed one by one")
                        .with(what, count),
                );
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn refused() -> Refused {
        Refused {
            door: Door::Client,
            at: NOW,
            origin: Origin::of("nobody"),
            client: None,
            reason: "wrong".into(),
        }
    }

    #[test]
    fn a_few_are_kept_and_the_rest_is_counted_exactly() {
        let refusals = Refusals::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        refusals.note(Door::Client, refused);
                        refusals.note(Door::Admin, refused);
                    }
                });
            }
        });
        let batch = refusals.take();
        assert_eq!(batch.kept.len(), 2 * KEPT);
        assert_eq!(batch.more, [40_000 - KEPT as u64, 40_000 - KEPT as u64, 0, 0]);
        assert_eq!(batch.entries(NOW).len(), 2 * KEPT + 1);
        assert_eq!(refusals.take(), Batch::default());
    }

    #[test]
    fn what_could_not_be_written_is_not_lost() {
        let refusals = Refusals::default();
        (0..KEPT + 5).for_each(|_| refusals.note(Door::Client, refused));
        refusals.put_back(refusals.take());
        refusals.note(Door::Client, refused);
        refusals.note(Door::Admin, refused);
        let batch = refusals.take();
        assert_eq!((batch.kept.len(), batch.more), (KEPT + 1, [6, 0, 0, 0]));
    }
}
