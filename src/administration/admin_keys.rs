//! What is done to admin keys.

use m2mint_keys::time::UnixTime;
use serde_json::json;

use super::{AdministrationError, Result};
use crate::model::audit::{Action, Entry, Origin, date};
use crate::model::{AdminKey, AdminKeyName, Roles};
use crate::store::admin_keys::{self, AdminKeyHash, StoredAdminKey};
use crate::store::{Store, audit};

/// The most admin keys that are stored: each request is compared with all of them.
pub const MAX_ADMIN_KEYS: usize = 100;

/// An admin key to be made.
#[derive(Debug)]
pub struct NewAdminKey {
    /// Its name.
    pub name: AdminKeyName,
    /// What its holder may do.
    pub roles: Roles,
    /// When it stops being accepted.
    pub expires_at: Option<UnixTime>,
}

/// Makes an admin key: this is the only time that it is seen.
///
/// # Errors
/// [`AdministrationError`] when a rule or the file refuses it.
pub fn add(
    store: &Store,
    new: NewAdminKey,
    key: &AdminKey,
    now: UnixTime,
    origin: &Origin,
) -> Result<StoredAdminKey> {
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(AdministrationError::AdminKeyExpired);
    }
    let NewAdminKey { name, roles, expires_at } = new;
    let stored = StoredAdminKey {
        name,
        hash: AdminKeyHash(key.hash()),
        roles,
        founding: false,
        created_at: now,
        expires_at,
        last_used_at: None,
    };
    store.write(|db| {
        if admin_keys::all(db)?.len() >= MAX_ADMIN_KEYS {
            return Err(AdministrationError::TooManyAdminKeys);
        }
        if !admin_keys::add(db, &stored)? {
            return Err(AdministrationError::DuplicateAdminKey(stored.name.clone()));
        }
        audit::append(db, &made(&stored, origin))?;
        Ok(())
    })?;
    Ok(stored)
}

/// What the audit log tells of a new key.
#[must_use]
pub fn made(key: &StoredAdminKey, origin: &Origin) -> Entry {
    Entry::new(key.created_at, origin, Action::AdminKeyCreate)
        .about(key.name.as_str())
        .with("roles", json!(key.roles.names().collect::<Vec<_>>()))
        .with("expires_at", key.expires_at.map(date))
}

/// Removes an admin key.
///
/// # Errors
/// [`AdministrationError`] when there is none of this name, or the file refuses.
pub fn remove(store: &Store, name: &str, now: UnixTime, origin: &Origin) -> Result<()> {
    store.write(|db| {
        if !admin_keys::remove(db, name)? {
            return Err(AdministrationError::UnknownAdminKey(name.to_owned()));
        }
        Ok(audit::append(db, &Entry::new(now, origin, Action::AdminKeyRemove).about(name))?)
    })
}
