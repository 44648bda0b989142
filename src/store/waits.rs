//! Processes that changed the file and wait until the one that serves it acts by that.

use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, params};

use crate::store::Result;

/// A point up to which somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(i64);

/// Begins to wait until the server acts by all that was committed before.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn begin(db: &Connection, now: UnixTime) -> Result<Wait> {
    db.prepare_cached("INSERT INTO waits (since) VALUES (?1)")?.execute([now.millis()])?;
    Ok(Wait(db.last_insert_rowid()))
}

/// Whether the server does.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn is_over(db: &Connection, wait: Wait) -> Result<bool> {
    let mut statement = db.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM waits WHERE id = ?1)")?;
    Ok(statement.query_row([wait.0], |row| row.get(0))?)
}

/// The last one who waits, if anybody does.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn latest(db: &Connection) -> Result<Option<Wait>> {
    let latest: Option<i64> =
        db.prepare_cached("SELECT max(id) FROM waits")?.query_row([], |row| row.get(0))?;
    Ok(latest.map(Wait))
}

/// Lets everybody go on who began to wait no later than this one.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn end(db: &Connection, up_to: Wait) -> Result<()> {
    db.prepare_cached("DELETE FROM waits WHERE id <= ?1")?.execute(params![up_to.0])?;
    Ok(())
}
