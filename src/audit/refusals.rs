//! Who was not let in, until it is written to the audit log.
//!
//! Under attack only the first few of a minute are kept one by one; all others are counted, and nobody is counted
//! twice. Noting one takes a lock for those few, and an addition for the rest.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use m2mint_keys::time::UnixTime;
use parking_lot::Mutex;

use crate::model::audit::{Action, Entry, Origin};

pub use crate::model::audit::Door;

/// How many are kept one by one between two writes, which are a minute apart.
pub const KEPT: usize = 10;

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
    taken: AtomicUsize,
    kept: Mutex<Vec<Refused>>,
    clients: AtomicU64,
    admins: AtomicU64,
    roles: AtomicU64,
    tokens: AtomicU64,
}

/// What one write takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    kept: Vec<Refused>,
    clients: u64,
    admins: u64,
    roles: u64,
    tokens: u64,
}

impl Refusals {
    /// Notes one. `describe` is only asked when there is room.
    pub fn note(&self, door: Door, describe: impl FnOnce() -> Refused) {
        if self.taken.load(Ordering::Relaxed) < KEPT && self.taken.fetch_add(1, Ordering::Relaxed) < KEPT {
            let refused = describe();
            self.kept.lock().push(refused);
            return;
        }
        let counter = match door {
            Door::Client => &self.clients,
            Door::Admin => &self.admins,
            Door::Role => &self.roles,
            Door::Token => &self.tokens,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes all of them, and makes room for new ones.
    #[must_use]
    pub fn take(&self) -> Batch {
        let kept = std::mem::take(&mut *self.kept.lock());
        self.taken.store(0, Ordering::Relaxed);
        let count = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Batch {
            kept,
            clients: count(&self.clients),
            admins: count(&self.admins),
            roles: count(&self.roles),
            tokens: count(&self.tokens),
        }
    }

    /// Takes back what could not be written, for the next write.
    pub fn put_back(&self, batch: Batch) {
        self.taken.fetch_add(batch.kept.len(), Ordering::Relaxed);
        self.kept.lock().extend(batch.kept);
        self.clients.fetch_add(batch.clients, Ordering::Relaxed);
        self.admins.fetch_add(batch.admins, Ordering::Relaxed);
        self.roles.fetch_add(batch.roles, Ordering::Relaxed);
        self.tokens.fetch_add(batch.tokens, Ordering::Relaxed);
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
        if self.clients + self.admins > 0 {
            entries.push(
                Entry::new(now, &Origin::of("many"), Action::AuthenticationRefuse)
                    .because("too many to be listed one by one")
                    .with("clients", self.clients)
                    .with("admin_keys", self.admins),
            );
        }
        for (action, what, count) in [
            (Action::AuthorizationRefuse, "admin_keys", self.roles),
            (Action::TokenRefuse, "clients", self.tokens),
        ] {
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
        assert_eq!(batch.kept.len(), KEPT);
        assert_eq!(batch.clients + batch.admins + KEPT as u64, 80_000);
        assert_eq!(batch.entries(NOW).len(), KEPT + 1);
        assert_eq!(refusals.take(), Batch::default());
    }

    #[test]
    fn what_could_not_be_written_is_not_lost() {
        let refusals = Refusals::default();
        (0..KEPT + 5).for_each(|_| refusals.note(Door::Client, refused));
        refusals.put_back(refusals.take());
        refusals.note(Door::Admin, refused);
        let batch = refusals.take();
        assert_eq!((batch.kept.len(), batch.clients, batch.admins), (KEPT, 5, 1));
    }
}
