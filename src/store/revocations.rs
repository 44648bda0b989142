//! Revoked tokens: their ids, kept until they would have expired anyway.

use m2mint_keys::time::{Moment, UnixTime};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::Result;

/// Remembers that the token `jti`, which expires at `expires_at`, is revoked as of `now`.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn add(db: &Connection, jti: &str, expires_at: UnixTime, now: Moment) -> Result<()> {
    let left = expires_at.millis_since(now.wall).max(0);
    db.prepare_cached(
        "INSERT INTO revoked_tokens (jti, expires_at, keep_until_attested) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![jti, expires_at.millis(), now.attested.millis().saturating_add(left)])?;
    Ok(())
}

/// All of them.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn all(db: &Connection) -> Result<Vec<(String, UnixTime)>> {
    let mut statement = db.prepare("SELECT jti, expires_at FROM revoked_tokens")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, UnixTime::from_millis(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When the revoked token `jti` expires, if it is there.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn get(db: &Connection, jti: &str) -> Result<Option<UnixTime>> {
    let mut statement = db.prepare_cached("SELECT expires_at FROM revoked_tokens WHERE jti = ?1")?;
    Ok(statement.query_row([jti], |row| Ok(UnixTime::from_millis(row.get(0)?))).optional()?)
}

/// Forgets those that have expired at `now`: by the wall clock, and by the time that has surely passed. A clock that is
/// set ahead and back again brings no revoked token to life.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn sweep(db: &Connection, now: Moment) -> Result<usize> {
    Ok(db
        .prepare_cached("DELETE FROM revoked_tokens WHERE expires_at < ?1 AND keep_until_attested < ?2")?
        .execute([now.wall.millis(), now.attested.millis()])?)
}
