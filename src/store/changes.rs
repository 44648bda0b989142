//! What changed since a point in the log of changes.

use rusqlite::{Connection, OptionalExtension as _};

use crate::store::Result;

/// How many entries are kept for processes that have not read them yet.
const KEPT: i64 = 10_000;

/// Something that has to be reread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A client, or one of its secrets.
    Client(String),
    /// A revoked token, by its id.
    Token(String),
    /// Signing keys, or a request concerning them.
    Keys,
}

/// Changes after a point in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These, up to this point.
    These(Vec<Change>, i64),
    /// The log does not reach back that far: reread everything.
    Everything,
}

/// The newest point in the log.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn latest(db: &Connection) -> Result<i64> {
    let seq = db.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'changes'", [], |row| row.get(0));
    Ok(seq.optional()?.unwrap_or(0))
}

/// What changed after `seq`.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn since(db: &Connection, seq: i64) -> Result<Changes> {
    // One snapshot for both questions.
    let snapshot = db.unchecked_transaction()?;
    let oldest: Option<i64> = snapshot.query_row("SELECT min(seq) FROM changes", [], |row| row.get(0))?;
    let newest = latest(&snapshot)?;
    if newest < seq || (newest > seq && oldest.is_none_or(|oldest| oldest > seq + 1)) {
        return Ok(Changes::Everything);
    }
    let mut statement =
        snapshot.prepare_cached("SELECT DISTINCT kind, id FROM changes WHERE seq > ?1 AND seq <= ?2")?;
    let rows = statement.query_map([seq, newest], |row| {
        let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(match kind.as_str() {
            "client" => Change::Client(id),
            "token" => Change::Token(id),
            _ => Change::Keys,
        })
    })?;
    Ok(Changes::These(rows.collect::<rusqlite::Result<_>>()?, newest))
}

/// Forgets all but the newest entries.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn prune(db: &Connection) -> Result<()> {
    let newest = latest(db)?;
    db.prepare_cached("DELETE FROM changes WHERE seq <= ?1")?.execute([newest - KEPT])?;
    Ok(())
}
