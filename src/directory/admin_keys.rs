//! Who may administer: the keys of the configuration, and those of the file.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use m2mint_keys::crypto;
use m2mint_keys::time::{UnixTime, millis};
use parking_lot::Mutex;

use crate::directory::USE_RESOLUTION;
use crate::model::{AdminKeyName, Roles};
use crate::store::admin_keys::{self, AdminKeyHash, StoredAdminKey, Use};
use crate::store::{Result, Store};

/// Every admin key that may be accepted.
#[derive(Default)]
pub struct AdminKeys {
    configured: ArcSwap<Vec<AdminKeyHash>>,
    stored: ArcSwap<Vec<Known>>,
    used: Mutex<HashMap<AdminKeyHash, UnixTime>>,
}

struct Known {
    key: StoredAdminKey,
    last_used_at: AtomicI64,
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The key by its name or its place in the configuration, for the audit log.
    pub name: String,
    /// What it may be used for.
    pub roles: Roles,
}

/// Why a key is not accepted. For the audit log alone: whoever sent it is told nothing of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAccepted {
    /// There is no such key.
    Unknown,
    /// It was one until lately.
    Expired(AdminKeyName),
    /// The first start made it, and the configuration has keys now.
    Replaced(AdminKeyName),
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no admin key, or a wrong one"),
            Self::Expired(name) => write!(f, "the admin key {name} has expired"),
            Self::Replaced(name) => write!(f, "api_key in the configuration replaces the admin key {name}"),
        }
    }
}

impl AdminKeys {
    /// From now on, these are the keys of the configuration.
    pub fn set_configured(&self, keys: Vec<AdminKeyHash>) {
        self.configured.store(keys.into());
    }

    /// Whether the configuration has keys: then that of the first start is not accepted.
    #[must_use]
    pub fn are_configured(&self) -> bool {
        !self.configured.load().is_empty()
    }

    /// Reads those of the file anew. They are few.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] when the file cannot be read, or makes no sense.
    pub fn reload(&self, store: &Store) -> Result<()> {
        let known = |key: StoredAdminKey| Known {
            last_used_at: AtomicI64::new(key.last_used_at.map_or(i64::MIN, UnixTime::millis)),
            key,
        };
        let keys = store.read(admin_keys::all)?;
        self.stored.store(keys.into_iter().map(known).collect::<Vec<_>>().into());
        Ok(())
    }

    /// Whose key `presented` is at `now`. It is compared with each of them, in constant time.
    ///
    /// # Errors
    /// [`NotAccepted`], for the audit log.
    pub fn find(&self, presented: &str, now: UnixTime) -> std::result::Result<Holder, NotAccepted> {
        self.still(&AdminKeyHash(crypto::sha256(presented.as_bytes())), now)
    }

    /// Whose key has this hash at `now`, for somebody who has shown the key before.
    ///
    /// # Errors
    /// [`NotAccepted`], when it is none any more.
    pub fn still(&self, key: &AdminKeyHash, now: UnixTime) -> std::result::Result<Holder, NotAccepted> {
        let digest = key.0;
        let (configured, stored) = (self.configured.load(), self.stored.load());
        let is_it = |hash: &AdminKeyHash| crypto::digests_equal(&hash.0, &digest);
        // `filter` and `last` look at all of them, wherever the right one stands.
        let place = configured.iter().zip(1..).filter(|(hash, _)| is_it(hash)).last();
        let known = stored.iter().filter(|known| is_it(&known.key.hash)).last();
        if let Some((_, place)) = place {
            return Ok(Holder { name: format!("api_key {place}"), roles: Roles::unrestricted() });
        }
        let known = known.ok_or(NotAccepted::Unknown)?;
        let name = &known.key.name;
        if known.key.founding && !configured.is_empty() {
            return Err(NotAccepted::Replaced(name.clone()));
        }
        if known.key.expires_at.is_some_and(|end| now >= end) {
            return Err(NotAccepted::Expired(name.clone()));
        }
        self.note_use(known, now);
        Ok(Holder { name: format!("admin_key {name}"), roles: known.key.roles.clone() })
    }

    /// How many keys the configuration has.
    #[must_use]
    pub fn configured(&self) -> usize {
        self.configured.load().len()
    }

    /// Written to the file later, in batches.
    fn note_use(&self, known: &Known, now: UnixTime) {
        let last = known.last_used_at.load(Ordering::Relaxed);
        if now.millis().saturating_sub(last) >= millis(USE_RESOLUTION)
            && known
                .last_used_at
                .compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.used.lock().insert(known.key.hash, now);
        }
    }

    /// Takes the uses that have not been written yet.
    #[must_use]
    pub fn take_uses(&self) -> Vec<Use> {
        self.used.lock().drain().collect()
    }

    /// Takes back what could not be written, for the next write. What was noted since is newer.
    pub fn put_back_uses(&self, uses: Vec<Use>) {
        let mut used = self.used.lock();
        for (key, at) in uses {
            used.entry(key).or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn hash(key: &str) -> AdminKeyHash {
        AdminKeyHash(crypto::sha256(key.as_bytes()))
    }

    fn keys(configured: &[&str]) -> AdminKeys {
        let keys = AdminKeys::default();
        keys.set_configured(configured.iter().map(|key| hash(key)).collect());
        let known = |(name, founding, expires_at): (&str, bool, Option<UnixTime>)| Known {
            key: StoredAdminKey {
                name: AdminKeyName::parse(name).unwrap(),
                hash: hash(name),
                roles: Roles::new([Role::Read]).unwrap(),
                founding,
                created_at: NOW,
                expires_at,
                last_used_at: None,
            },
            last_used_at: AtomicI64::new(i64::MIN),
        };
        let stored = [("first", true, None), ("dashboard", false, None), ("ended", false, Some(NOW))];
        keys.stored.store(stored.into_iter().map(known).collect::<Vec<_>>().into());
        keys
    }

    #[test]
    fn a_key_is_found_by_its_name_or_its_place() {
        let keys = keys(&["one", "two"]);
        let found = |key| keys.find(key, NOW).map(|holder| holder.name);
        assert_eq!(found("two"), Ok("api_key 2".into()));
        assert_eq!(found("dashboard"), Ok("admin_key dashboard".into()));
        for wrong in ["three", "", "dashboar", "Dashboard"] {
            assert_eq!(found(wrong), Err(NotAccepted::Unknown), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_good_until_the_moment_at_which_it_expires() {
        let keys = keys(&[]);
        assert!(keys.find("ended", UnixTime::from_millis(NOW.millis() - 1)).is_ok());
        assert!(matches!(keys.find("ended", NOW), Err(NotAccepted::Expired(_))));
    }

    #[test]
    fn the_key_of_the_first_start_counts_only_while_the_configuration_has_none() {
        assert!(keys(&[]).find("first", NOW).is_ok());
        assert!(matches!(keys(&["one"]).find("first", NOW), Err(NotAccepted::Replaced(_))));
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let keys = keys(&[]);
        let used_at = |second| {
            keys.find("dashboard", NOW.plus(std::time::Duration::from_secs(second))).unwrap();
            keys.take_uses().len()
        };
        assert_eq!([0, 1, 59, 60, 61].map(used_at), [1, 0, 0, 1, 0]);
    }
}
