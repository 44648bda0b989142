//! Signing keys, the attested clock, and what other processes ask the key keeper to do.

use std::collections::HashMap;
use std::time::Duration;

use m2mint_keys::jwk::{Kid, PublicKey};
use m2mint_keys::key_ring::{KeyRecord, KeyRing};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{Attested, AttestedClock, Boot, Moment, Reading, UnixTime, millis};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::store::{Result, StoreError};

/// What the file as a whole says.
#[derive(Debug)]
pub struct Issuer {
    /// The sealed constant that recognises the master key.
    pub master_check: Vec<u8>,
    /// When the file was made.
    pub created: UnixTime,
    /// Attested time, and the reading to go on from.
    pub clock: AttestedClock,
}

/// A ring, and what the file says of it beside its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Its keys.
    pub keys: KeyRing,
    /// When a rotation was asked for that has not happened yet.
    pub rotation_asked: Option<UnixTime>,
    /// Whether every verifier has had the time to get its keys.
    pub known: bool,
}

impl Ring {
    /// The algorithm of its keys.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.keys.algorithm()
    }
}

/// What somebody asks the keeper of the keys to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRequest {
    /// Rotate as soon as the rule allows: the ring of this algorithm, or all of them.
    Rotate(Option<Algorithm>),
    /// Take this key out now.
    Revoke(Kid),
}

/// The row that describes the file; `None` in a file that was never served.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn issuer(db: &Connection) -> Result<Option<Issuer>> {
    let query = "SELECT master_check, attested, clock_wall, clock_steady, clock_boot, created_at FROM issuer";
    let row = db.query_row(query, [], |row| {
        let reading = Reading {
            wall: UnixTime::from_millis(row.get(2)?),
            steady: row.get(3)?,
            boot: Boot(row.get(4)?),
        };
        Ok(Issuer {
            master_check: row.get(0)?,
            created: UnixTime::from_millis(row.get(5)?),
            clock: AttestedClock::resume(Attested::from_millis(row.get(1)?), reading),
        })
    });
    Ok(row.optional()?)
}

/// Makes the row that describes the file.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn create_issuer(db: &Connection, master_check: &[u8], clock: &AttestedClock) -> Result<()> {
    let last = clock.last();
    db.execute(
        "INSERT INTO issuer (id, master_check, created_at, attested, clock_wall, clock_steady, clock_boot)
         VALUES (1, ?1, ?2, ?3, ?2, ?4, ?5)",
        params![master_check, last.wall.millis(), clock.moment().attested.millis(), last.steady, last.boot.0],
    )?;
    Ok(())
}

/// Stores how far the attested clock has come.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_clock(db: &Connection, clock: &AttestedClock) -> Result<()> {
    let last = clock.last();
    db.prepare_cached(
        "UPDATE issuer SET attested = ?1, clock_wall = ?2, clock_steady = ?3, clock_boot = ?4",
    )?
    .execute(params![clock.moment().attested.millis(), last.wall.millis(), last.steady, last.boot.0])?;
    Ok(())
}

const COLUMNS: &str = "kid, public, founding, created_at, published_at, published_attested, promoted_at, \
     promoted_attested, retired_at, retired_attested, revoked_at, revoked_attested, signed_until, \
     out_of_use_attested, longest_lifetime, alg";

/// The rings of the file, the one for EdDSA first; none while there are no keys.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, or its keys contradict each other.
pub fn rings(db: &Connection) -> Result<Vec<Ring>> {
    let mut rings =
        db.prepare_cached("SELECT alg, rotation_asked, known FROM key_rings ORDER BY alg <> 'EdDSA', alg")?;
    let rings = rings.query_map([], |row| {
        let asked = row.get::<_, Option<i64>>(1)?.map(UnixTime::from_millis);
        Ok((row.get::<_, String>(0)?, asked, row.get(2)?))
    })?;
    let mut keys =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM signing_keys WHERE alg = ?1 ORDER BY id"))?;
    let ring = |(alg, rotation_asked, known): (String, _, _)| {
        let records = keys.query_map([alg], record)?.collect::<rusqlite::Result<Vec<_>>>()?;
        let keys = KeyRing::from_records(records).map_err(StoreError::corrupt)?;
        Ok(Ring { keys, rotation_asked, known })
    };
    rings.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().map(ring).collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let moment = |wall: usize| -> rusqlite::Result<Option<Moment>> {
        let (wall, attested): (Option<i64>, Option<i64>) = (row.get(wall)?, row.get(wall + 1)?);
        Ok(wall.zip(attested).map(|(wall, attested)| Moment {
            wall: UnixTime::from_millis(wall),
            attested: Attested::from_millis(attested),
        }))
    };
    let kid: String = row.get(0)?;
    let kid = Kid::parse(&kid).ok_or(rusqlite::Error::InvalidColumnName("kid".into()))?;
    let (public, alg): (Vec<u8>, String) = (row.get(1)?, row.get(15)?);
    let public = Algorithm::from_name(&alg).and_then(|alg| PublicKey::from_bytes(alg, &public));
    let public = public.ok_or(rusqlite::Error::InvalidColumnName("public".into()))?;
    Ok(KeyRecord {
        kid,
        public,
        founding: row.get(2)?,
        created: UnixTime::from_millis(row.get(3)?),
        published: moment(4)?,
        promoted: moment(6)?,
        retired: moment(8)?,
        revoked: moment(10)?,
        signed_until: row.get::<_, Option<i64>>(12)?.map(UnixTime::from_millis),
        out_of_use: row.get::<_, Option<i64>>(13)?.map(Attested::from_millis),
        longest_lifetime: Duration::from_millis(row.get::<_, u64>(14)?),
    })
}

/// The sealed private half of `kid`, if it still exists.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn sealed(db: &Connection, kid: &Kid) -> Result<Option<Vec<u8>>> {
    let mut statement = db.prepare_cached("SELECT sealed FROM signing_keys WHERE kid = ?1")?;
    Ok(statement.query_row([kid.as_str()], |row| row.get(0)).optional()?.flatten())
}

/// Every private half, sealed, with its key.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn all_sealed(db: &Connection) -> Result<Vec<Sealed>> {
    let mut statement = db.prepare("SELECT kid, sealed FROM signing_keys WHERE sealed IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let mut all = Vec::new();
    for row in rows {
        let (kid, sealed) = row?;
        let kid = Kid::parse(&kid).ok_or_else(|| StoreError::Corrupt("a kid is malformed".into()))?;
        all.push((kid, sealed));
    }
    Ok(all)
}

/// Replaces the sealed form of a private half that exists.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_sealed(db: &Connection, kid: &Kid, sealed: &[u8]) -> Result<()> {
    db.execute(
        "UPDATE signing_keys SET sealed = ?2 WHERE kid = ?1 AND sealed IS NOT NULL",
        params![kid.as_str(), sealed],
    )?;
    Ok(())
}

/// Replaces the constant that recognises the master key, and lets a running server know.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_master_check(db: &Connection, check: &[u8]) -> Result<()> {
    db.execute("UPDATE issuer SET master_check = ?1", [check])?;
    db.execute("INSERT INTO changes (kind, id) VALUES ('key', 'master')", [])?;
    Ok(())
}

/// A private half that was just made: its key and its sealed form.
pub type Sealed = (Kid, Vec<u8>);

/// Makes the file hold exactly this ring of its algorithm, oldest key first. Private halves that must not exist any more are erased in the
/// same step; those of new keys come from `fresh`.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_ring(db: &Connection, ring: &Ring, fresh: &[Sealed]) -> Result<()> {
    let alg = ring.algorithm().name();
    let mut statement = db.prepare_cached("SELECT kid, sealed FROM signing_keys WHERE alg = ?1")?;
    let stored = statement.query_map([alg], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let stored: HashMap<String, Option<Vec<u8>>> = stored.collect::<rusqlite::Result<_>>()?;
    let sealed = |kid: &Kid| {
        let new = fresh.iter().find(|(made, _)| made == kid).map(|(_, sealed)| sealed);
        new.or_else(|| stored.get(kid.as_str()).and_then(Option::as_ref))
    };
    db.prepare_cached("INSERT OR REPLACE INTO key_rings (alg, rotation_asked, known) VALUES (?1, ?2, ?3)")?
        .execute(params![alg, ring.rotation_asked.map(UnixTime::millis), ring.known])?;
    // Written anew as a whole: there are a handful of rows, and no order of updates that keeps each state unique.
    db.execute("DELETE FROM signing_keys WHERE alg = ?1", [alg])?;
    let mut insert = db.prepare_cached(&format!(
        "INSERT INTO signing_keys ({COLUMNS}, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    ))?;
    let wall = |moment: Option<Moment>| moment.map(|moment| moment.wall.millis());
    let attested = |moment: Option<Moment>| moment.map(|moment| moment.attested.millis());
    for key in ring.keys.records() {
        insert.execute(params![
            key.kid.as_str(),
            key.public.bytes(),
            key.founding,
            key.created.millis(),
            wall(key.published),
            attested(key.published),
            wall(key.promoted),
            attested(key.promoted),
            wall(key.retired),
            attested(key.retired),
            wall(key.revoked),
            attested(key.revoked),
            key.signed_until.map(UnixTime::millis),
            key.out_of_use.map(Attested::millis),
            millis(key.longest_lifetime),
            alg,
            sealed(&key.kid).filter(|_| key.has_private_half()),
        ])?;
    }
    Ok(())
}

/// Remembers that tokens may live for `lifetime`, before any such token is signed.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn allow_lifetime(db: &Connection, lifetime: Duration) -> Result<()> {
    db.prepare_cached(
        "UPDATE signing_keys SET longest_lifetime = ?1 WHERE sealed IS NOT NULL AND longest_lifetime < ?1",
    )?
    .execute([millis(lifetime)])?;
    Ok(())
}

/// Leaves a request for the process that serves the file.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn ask(db: &Connection, request: &KeyRequest, now: UnixTime) -> Result<()> {
    let (kind, kid, alg) = match request {
        KeyRequest::Rotate(alg) => ("rotate", None, alg.map(Algorithm::name)),
        KeyRequest::Revoke(kid) => ("revoke", Some(kid.as_str()), None),
    };
    db.execute(
        "INSERT INTO key_requests (kind, kid, alg, asked_at) VALUES (?1, ?2, ?3, ?4)",
        params![kind, kid, alg, now.millis()],
    )?;
    Ok(())
}

/// The requests that wait, oldest first, with the id under which [`answer`] takes them away.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn requests(db: &Connection) -> Result<Vec<(i64, KeyRequest)>> {
    let mut statement = db.prepare_cached("SELECT id, kind, kid, alg FROM key_requests ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        let (kind, kid): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        let alg: Option<String> = row.get(3)?;
        let request = match kid.as_deref().and_then(Kid::parse) {
            Some(kid) if kind == "revoke" => KeyRequest::Revoke(kid),
            _ => KeyRequest::Rotate(alg.as_deref().and_then(Algorithm::from_name)),
        };
        Ok((row.get(0)?, request))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes a request away.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn answer(db: &Connection, id: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM key_requests WHERE id = ?1")?.execute([id])?;
    Ok(())
}
