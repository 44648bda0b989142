//! When clients last asked for what they are granted, and got it.

use std::collections::BTreeMap;

use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, params};

use crate::store::Result;

/// What a client was granted: a scope at an audience. The scope is empty when a token had none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// Its id.
    pub client: Box<str>,
    /// The service.
    pub audience: Box<str>,
    /// The action.
    pub scope: Box<str>,
}

/// When it was last asked for, and granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `None` when it was only granted to requests that named no scope.
    pub asked_at: Option<UnixTime>,
    /// To within an hour.
    pub granted_at: UnixTime,
}

impl Times {
    /// The later of both.
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        Self {
            asked_at: self.asked_at.max(other.asked_at),
            granted_at: self.granted_at.max(other.granted_at),
        }
    }
}

/// Remembers uses, in the order in which the file keeps them. Those of clients that are gone are left out.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be written.
pub fn save(db: &Connection, uses: &BTreeMap<Grant, Times>) -> Result<()> {
    let Some(first) = uses.values().map(|times| times.granted_at).min() else { return Ok(()) };
    db.prepare_cached("UPDATE issuer SET grant_uses_since = ?1 WHERE grant_uses_since IS NULL")?
        .execute([first.millis()])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO grant_uses (client_id, audience, scope, asked_at, granted_at)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM clients WHERE id = ?1)
         ON CONFLICT (client_id, audience, scope) DO UPDATE SET
             asked_at = nullif(max(coalesce(asked_at, 0), coalesce(excluded.asked_at, 0)), 0),
             granted_at = max(granted_at, excluded.granted_at)",
    )?;
    for (grant, times) in uses {
        statement.execute(params![
            grant.client,
            grant.audience,
            grant.scope,
            times.asked_at.map(UnixTime::millis),
            times.granted_at.millis(),
        ])?;
    }
    Ok(())
}

/// Since when uses are written down; `None` when there was none yet.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn since(db: &Connection) -> Result<Option<UnixTime>> {
    let since: Option<i64> =
        db.query_row("SELECT max(grant_uses_since) FROM issuer", [], |row| row.get(0))?;
    Ok(since.map(UnixTime::from_millis))
}

/// The uses of one client: audience, scope, and when.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn of(db: &Connection, client: &str) -> Result<Vec<(String, String, Times)>> {
    let mut statement = db.prepare_cached(
        "SELECT audience, scope, asked_at, granted_at FROM grant_uses WHERE client_id = ?1 ORDER BY audience, scope",
    )?;
    let rows = statement.query_map([client], |row| {
        let asked_at = row.get::<_, Option<i64>>(2)?.map(UnixTime::from_millis);
        let times = Times { asked_at, granted_at: UnixTime::from_millis(row.get(3)?) };
        Ok((row.get(0)?, row.get(1)?, times))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
