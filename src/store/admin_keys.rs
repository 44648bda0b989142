//! Admin keys that the server made itself. Those in the configuration are not stored.

use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, params};

use crate::store::Result;

/// Stores the hash of a new admin key.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn add(db: &Connection, hash: &[u8; 32], now: UnixTime) -> Result<()> {
    db.execute("INSERT INTO admin_keys (hash, created_at) VALUES (?1, ?2)", params![hash, now.millis()])?;
    Ok(())
}

/// The hashes of all stored admin keys.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn all(db: &Connection) -> Result<Vec<[u8; 32]>> {
    let mut statement = db.prepare("SELECT hash FROM admin_keys")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
