//! Admin keys by name. Those in the configuration are not stored.

use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, Row, params};

use crate::model::{AdminKeyName, Roles};
use crate::store::{Result, StoreError};

/// A stored admin key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAdminKey {
    /// Its name.
    pub name: AdminKeyName,
    /// What is kept of it.
    pub hash: AdminKeyHash,
    /// What its holder may do.
    pub roles: Roles,
    /// Whether the first start made it: then it counts only while the configuration has no key.
    pub founding: bool,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it stops being accepted.
    pub expires_at: Option<UnixTime>,
    /// When it was last accepted, to within a minute.
    pub last_used_at: Option<UnixTime>,
}

/// SHA-256 of an admin key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdminKeyHash(pub [u8; 32]);

impl std::fmt::Debug for AdminKeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminKeyHash(..)")
    }
}

/// Which key was used, and when.
pub type Use = (AdminKeyHash, UnixTime);

/// Stores a new admin key. Answers `false`, and changes nothing, when the name is taken.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn add(db: &Connection, key: &StoredAdminKey) -> Result<bool> {
    let added = db
        .prepare_cached(
            "INSERT INTO admin_keys (name, hash, roles, founding, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            key.name.as_str(),
            key.hash.0,
            key.roles.to_string(),
            key.founding,
            key.created_at.millis(),
            key.expires_at.map(UnixTime::millis),
        ])?;
    Ok(added == 1)
}

/// All stored admin keys, oldest first.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, or holds what is no admin key.
pub fn all(db: &Connection) -> Result<Vec<StoredAdminKey>> {
    let mut statement = db.prepare_cached(
        "SELECT name, hash, roles, founding, created_at, expires_at, last_used_at FROM admin_keys
         ORDER BY created_at, name",
    )?;
    let rows = statement.query_map([], |row| Ok(stored(row)))?;
    rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().collect()
}

/// Removes an admin key, and answers whether it was there.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove(db: &Connection, name: &str) -> Result<bool> {
    Ok(db.prepare_cached("DELETE FROM admin_keys WHERE name = ?1")?.execute([name])? == 1)
}

/// Remembers when admin keys were last accepted.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_last_used(db: &Connection, used: &[Use]) -> Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE admin_keys SET last_used_at = ?2 WHERE hash = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
    )?;
    for (hash, at) in used {
        statement.execute(params![hash.0, at.millis()])?;
    }
    Ok(())
}

fn stored(row: &Row<'_>) -> Result<StoredAdminKey> {
    let (name, roles): (String, String) = (row.get(0)?, row.get(2)?);
    Ok(StoredAdminKey {
        name: AdminKeyName::parse(&name).map_err(StoreError::corrupt)?,
        hash: AdminKeyHash(row.get(1)?),
        roles: Roles::parse(&roles).map_err(StoreError::corrupt)?,
        founding: row.get(3)?,
        created_at: UnixTime::from_millis(row.get(4)?),
        expires_at: row.get::<_, Option<i64>>(5)?.map(UnixTime::from_millis),
        last_used_at: row.get::<_, Option<i64>>(6)?.map(UnixTime::from_millis),
    })
}
