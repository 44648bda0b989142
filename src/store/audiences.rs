//! Audiences that want their tokens signed with another algorithm than EdDSA.

use m2mint_keys::signing_key::Algorithm;
use rusqlite::{Connection, params};

use crate::model::Audience;
use crate::store::{Result, StoreError};

/// What is stored of an audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAudience {
    /// Its name.
    pub name: Audience,
    /// What its tokens are signed with.
    pub alg: Algorithm,
    /// Whether somebody vouches that no service checks tokens for it yet.
    pub at_once: bool,
}

/// All of them, by name.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn all(db: &Connection) -> Result<Vec<StoredAudience>> {
    let mut statement = db.prepare_cached("SELECT name, alg, at_once FROM audiences ORDER BY name")?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let parsed = rows.into_iter().map(|(name, alg, at_once)| {
        let name = Audience::parse(&name).map_err(StoreError::corrupt)?;
        let alg = Algorithm::from_name(&alg)
            .ok_or_else(|| StoreError::Corrupt(format!("the algorithm {alg} of the audience {name}")))?;
        Ok(StoredAudience { name, alg, at_once })
    });
    parsed.collect()
}

/// Stores what an audience wants. EdDSA is what every audience has of which nothing is stored.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save(db: &Connection, audience: &StoredAudience) -> Result<()> {
    let name = audience.name.as_str();
    if audience.alg == Algorithm::EdDsa {
        db.prepare_cached("DELETE FROM audiences WHERE name = ?1")?.execute([name])?;
    } else {
        // No REPLACE: it would not run the triggers of a deletion.
        db.prepare_cached(
            "INSERT INTO audiences (name, alg, at_once) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET alg = excluded.alg, at_once = excluded.at_once",
        )?
        .execute(params![name, audience.alg.name(), audience.at_once])?;
    }
    Ok(())
}
