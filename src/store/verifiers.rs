//! Who fetches the key set.

use std::sync::Arc;

use m2mint_keys::jwk::Kid;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, Row, params};

use crate::model::verifier::{Agent, Held, Verifier, Who};
use crate::store::{Result, StoreError};

/// All of them.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn all(db: &Connection) -> Result<Vec<Verifier>> {
    let query = "SELECT address, agent, alg, first_seen, last_seen, etag, kids FROM verifiers";
    let mut statement = db.prepare(query)?;
    let rows = statement.query_map([], |row| Ok(verifier(row)))?;
    rows.map(|row| row?).collect()
}

/// Stores one, in place of what was stored of it.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn put(db: &Connection, verifier: &Verifier) -> Result<()> {
    let Verifier { who, first_seen, last_seen, held } = verifier;
    let kids: Vec<&str> = held.kids.iter().map(Kid::as_str).collect();
    db.prepare_cached(
        "INSERT OR REPLACE INTO verifiers (address, agent, alg, first_seen, last_seen, etag, kids)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        address(who),
        who.agent.as_str(),
        alg(who),
        first_seen.millis(),
        last_seen.millis(),
        held.etag,
        kids.join(" "),
    ])?;
    Ok(())
}

/// Forgets one.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove(db: &Connection, who: &Who) -> Result<()> {
    db.prepare_cached("DELETE FROM verifiers WHERE address = ?1 AND agent = ?2 AND alg = ?3")?
        .execute(params![address(who), who.agent.as_str(), alg(who)])?;
    Ok(())
}

fn address(who: &Who) -> String {
    who.address.map(|address| address.to_string()).unwrap_or_default()
}

fn alg(who: &Who) -> &'static str {
    who.alg.map_or("", Algorithm::name)
}

fn verifier(row: &Row<'_>) -> Result<Verifier> {
    let text = |column| row.get::<_, String>(column);
    let time = |column| row.get(column).map(UnixTime::from_millis);
    let address = Some(text(0)?).filter(|address| !address.is_empty());
    let address = address.map(|address| address.parse()).transpose();
    let alg = Some(text(2)?).filter(|alg| !alg.is_empty());
    let alg = alg.map(|alg| Algorithm::SIGNING.into_iter().find(|known| known.name() == alg).ok_or(alg));
    let kids: Option<Vec<Kid>> = text(6)?.split(' ').filter(|kid| !kid.is_empty()).map(Kid::parse).collect();
    let corrupt = |what: &str| StoreError::Corrupt(format!("the {what} of a verifier"));
    Ok(Verifier {
        who: Who {
            address: address.map_err(|_| corrupt("address"))?,
            agent: Agent::of(&text(1)?),
            alg: alg.transpose().map_err(|_| corrupt("alg"))?,
        },
        first_seen: time(3)?,
        last_seen: time(4)?,
        held: Arc::new(Held { etag: text(5)?, kids: kids.ok_or_else(|| corrupt("kids"))? }),
    })
}
