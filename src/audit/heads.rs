//! Signing how far the log reaches, and forgetting what is old.
//!
//! What has been changed behind the server's back is never signed: a new head is only made of a log that still holds
//! what the one before it says.

use std::time::Duration;

use m2mint_keys::audit::{BEGINNING, Hash, Head, link};
use m2mint_keys::signing_key::SigningKey;
use m2mint_keys::time::{Moment, millis};
use rusqlite::Connection;

use crate::audit::AuditError;
use crate::model::audit::date;
use crate::store::audit::{self as log, StoredHead};
use crate::store::{Result, StoreError};

/// Where a log begins: the number of its oldest entry, and the hash before that.
type Start = (i64, Hash);

/// Signs the log as it is now with `key`. A log that does not follow from its newest head is not signed.
///
/// # Errors
/// [`AuditError`] when the file cannot be used.
pub fn sign(db: &Connection, key: &SigningKey, now: Moment) -> std::result::Result<(), AuditError> {
    match start(db)? {
        Ok(start) => sign_from(db, key, now, start),
        Err(reason) => {
            complain(&reason);
            Ok(())
        }
    }
}

/// Whether there is anything that no head covers.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn is_unsigned(db: &Connection) -> Result<bool> {
    Ok(log::newest(db)? > log::newest_head(db)?.map_or(0, |head| head.seq))
}

/// Forgets what is older than `keep`, by the wall clock and by the time that has surely passed, and signs from where the
/// log begins then. Without anything that old, it only signs what is unsigned.
///
/// # Errors
/// [`AuditError`] when the file cannot be used.
pub fn prune_and_sign(
    db: &Connection,
    key: &SigningKey,
    now: Moment,
    keep: Duration,
) -> std::result::Result<(), AuditError> {
    let start = match start(db)? {
        Ok(start) => start,
        Err(reason) => {
            complain(&reason);
            return Ok(());
        }
    };
    match oldest_kept(db, now, keep)? {
        Some((seq, hash)) => {
            log::prune(db, seq)?;
            tracing::info!("the audit log forgot its entries up to number {seq}");
            sign_from(db, key, now, (seq + 1, hash))
        }
        None if is_unsigned(db)? => sign_from(db, key, now, start),
        None => Ok(()),
    }
}

fn sign_from(
    db: &Connection,
    key: &SigningKey,
    now: Moment,
    (first, before): Start,
) -> std::result::Result<(), AuditError> {
    let Some((seq, hash)) = log::last(db)? else { return Ok(()) };
    let head = Head { first, before, seq, hash, at: now.wall, attested: now.attested };
    let jws = head.sign(key)?;
    Ok(log::add_head(db, &StoredHead { seq, jws }, key.public())?)
}

/// Says in the log of the process that the audit log was changed.
pub fn complain(reason: &str) {
    tracing::error!(
        target: "audit",
        "the audit log was changed by somebody else, and is not signed any more: {reason}. See `m2mint audit verify`"
    );
}

/// Where the log begins, if it still holds what its newest head says and goes on from there; otherwise what is wrong.
fn start(db: &Connection) -> Result<std::result::Result<Start, String>> {
    let Some(newest) = log::newest_head(db)? else {
        return Ok(chain(db, (0, BEGINNING))?.map(|()| (1, BEGINNING)));
    };
    let head = match read(db, &newest)? {
        Ok(head) => head,
        Err(reason) => return Ok(Err(reason)),
    };
    match log::get(db, head.seq)? {
        Some(entry) if entry.hash == head.hash => {}
        _ => return Ok(Err(format!("entry {} is not the one that was signed", head.seq))),
    }
    Ok(chain(db, (head.seq, head.hash))?.map(|()| (head.first, head.before)))
}

/// Whether every entry after `from` follows from the one before it.
fn chain(db: &Connection, from: Start) -> Result<std::result::Result<(), String>> {
    let (mut seq, mut hash) = from;
    let mut broken = None;
    log::for_each(db, from.0, |entry| {
        seq += 1;
        hash = link(&hash, &entry.line);
        if entry.seq != seq || entry.hash != hash {
            broken = Some(format!("entry {seq} does not follow from the one before it"));
        }
        broken.is_none()
    })?;
    Ok(broken.map_or(Ok(()), Err))
}

fn read(db: &Connection, stored: &StoredHead) -> Result<std::result::Result<Head, String>> {
    let mut failed = None;
    let read = Head::verify(&stored.jws, |kid| {
        log::key(db, kid).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(read
            .map(|(head, _)| head)
            .map_err(|error| format!("the head of entry {}: {error}", stored.seq))),
    }
}

/// The newest entry that may be forgotten, with its hash. Only what a head covers may, and never the newest entry.
fn oldest_kept(db: &Connection, now: Moment, keep: Duration) -> Result<Option<Start>> {
    let keep = millis(keep);
    let limit = date(m2mint_keys::time::UnixTime::from_millis(now.wall.millis().saturating_sub(keep)));
    let newest = log::newest(db)?;
    let mut found = None;
    for stored in log::heads(db)? {
        let Ok(head) = read(db, &stored)? else { break };
        if now.attested.millis_since(head.attested) < keep || head.seq >= newest {
            break;
        }
        let Some(entry) = log::get(db, head.seq)? else { continue };
        let at = serde_json::from_str::<serde_json::Value>(&entry.line).ok();
        let at = at.as_ref().and_then(|entry| entry.get("at")?.as_str());
        if at.is_none_or(|at| *at >= *limit) || entry.hash != head.hash {
            break;
        }
        found = Some((head.seq, head.hash));
    }
    Ok(found)
}

impl From<rusqlite::Error> for AuditError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::from(error))
    }
}
