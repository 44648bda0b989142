//! The audit log: entries that are only ever added, and the heads that were signed of it.

use m2mint_keys::audit::{BEGINNING, Hash, link};
use m2mint_keys::jwk::PublicKey;
use m2mint_keys::signing_key::Algorithm;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::audit::Entry;
use crate::store::{Result, StoreError};

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number.
    pub seq: i64,
    /// Its hash, as the file says.
    pub hash: Vec<u8>,
    /// The entry, as it was hashed.
    pub line: String,
}

/// A head as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// How far it says that the log reaches.
    pub seq: i64,
    /// The signed text.
    pub jws: String,
}

/// Adds an entry. It belongs into the transaction of what it tells: neither is ever there without the other.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn append(db: &Connection, entry: &Entry) -> Result<()> {
    let (seq, before) = last(db)?.unwrap_or((0, BEGINNING));
    let seq = seq + 1;
    let line = entry.to_line(seq).map_err(StoreError::corrupt)?;
    let hash = link(&before, &line);
    db.prepare_cached("INSERT INTO audit (seq, hash, entry) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, hash, line])?;
    // Something in the file that is not ours could have taken it away again.
    if last(db)? != Some((seq, hash)) {
        return Err(StoreError::Corrupt("the audit log does not keep what is written to it".into()));
    }
    Ok(())
}

/// Number and hash of the newest entry.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn last(db: &Connection) -> Result<Option<(i64, Hash)>> {
    let mut statement = db.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The number of the newest entry; 0 when there is none.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn newest(db: &Connection) -> Result<i64> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(seq), 0) FROM audit")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// The entry `seq`.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn get(db: &Connection, seq: i64) -> Result<Option<StoredEntry>> {
    let mut statement = db.prepare_cached("SELECT seq, hash, entry FROM audit WHERE seq = ?1")?;
    Ok(statement.query_row([seq], stored_entry).optional()?)
}

/// The newest entry that tells that the clock was set.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn newest_clock_jump(db: &Connection) -> Result<Option<StoredEntry>> {
    // No text in an entry can look like this: quotes within one are escaped.
    let mut statement = db.prepare_cached(
        r#"SELECT seq, hash, entry FROM audit WHERE instr(entry, '"action":"clock.jump"') > 0 ORDER BY seq DESC LIMIT 1"#,
    )?;
    Ok(statement.query_row([], stored_entry).optional()?)
}

/// Hands the entries after number `after` to `look`, oldest first, until it answers `false`.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn for_each(db: &Connection, after: i64, mut look: impl FnMut(StoredEntry) -> bool) -> Result<()> {
    let mut statement =
        db.prepare_cached("SELECT seq, hash, entry FROM audit WHERE seq > ?1 ORDER BY seq")?;
    for entry in statement.query_map([after], stored_entry)? {
        if !look(entry?) {
            break;
        }
    }
    Ok(())
}

/// The same from the newest backwards.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn for_each_backwards(db: &Connection, look: impl FnMut(StoredEntry) -> bool) -> Result<()> {
    for_each_before(db, i64::MAX, look)
}

/// The same of those before number `seq`.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn for_each_before(db: &Connection, seq: i64, mut look: impl FnMut(StoredEntry) -> bool) -> Result<()> {
    let mut statement =
        db.prepare_cached("SELECT seq, hash, entry FROM audit WHERE seq < ?1 ORDER BY seq DESC")?;
    for entry in statement.query_map([seq], stored_entry)? {
        if !look(entry?) {
            break;
        }
    }
    Ok(())
}

fn stored_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry { seq: row.get(0)?, hash: row.get(1)?, line: row.get(2)? })
}

/// Adds a signed head, and remembers whose signature it is.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn add_head(db: &Connection, head: &StoredHead, key: &PublicKey) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO audit_keys (kid, alg, public) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![key.thumbprint().as_str(), key.algorithm().name(), key.bytes()])?;
    db.prepare_cached("INSERT INTO audit_heads (seq, jws) VALUES (?1, ?2)")?
        .execute(params![head.seq, head.jws])?;
    Ok(())
}

/// The heads, in the order in which they were signed.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn heads(db: &Connection) -> Result<Vec<StoredHead>> {
    let mut statement = db.prepare_cached("SELECT seq, jws FROM audit_heads ORDER BY id")?;
    let heads = statement.query_map([], stored_head)?;
    Ok(heads.collect::<rusqlite::Result<_>>()?)
}

/// Whether a head was ever signed, also when none is there any more.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn was_ever_signed(db: &Connection) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM audit_keys) OR EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'audit_heads')",
    )?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// The head that was signed last.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn newest_head(db: &Connection) -> Result<Option<StoredHead>> {
    let mut statement = db.prepare_cached("SELECT seq, jws FROM audit_heads ORDER BY id DESC LIMIT 1")?;
    Ok(statement.query_row([], stored_head).optional()?)
}

fn stored_head(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredHead> {
    Ok(StoredHead { seq: row.get(0)?, jws: row.get(1)? })
}

/// The key `kid`, if it ever signed a head.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn key(db: &Connection, kid: &str) -> Result<Option<PublicKey>> {
    let mut statement = db.prepare_cached("SELECT alg, public FROM audit_keys WHERE kid = ?1")?;
    let row = statement.query_row([kid], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(row.and_then(|(alg, public): (String, Vec<u8>)| {
        Algorithm::from_name(&alg).and_then(|alg| PublicKey::from_bytes(alg, &public))
    }))
}

/// Forgets the entries up to number `seq`, and the heads that were signed of them.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn prune(db: &Connection, seq: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM audit WHERE seq <= ?1")?.execute([seq])?;
    db.prepare_cached("DELETE FROM audit_heads WHERE seq <= ?1")?.execute([seq])?;
    Ok(())
}
