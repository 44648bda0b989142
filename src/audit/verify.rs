//! Whether anything in the log was changed, cut or moved.

use m2mint_keys::audit::{BEGINNING, Hash, Head, link};
use m2mint_keys::jwk::Kid;
use rusqlite::Connection;
use serde_json::Value;

use crate::model::audit::Action;
use crate::store::Result;
use crate::store::audit as log;

/// What a whole log is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of the oldest entry.
    pub first: i64,
    /// The number of the newest.
    pub last: i64,
    /// Its hash.
    pub hash: Hash,
    /// How many signed heads it agrees with.
    pub heads: usize,
    /// The newest head and the key that signed it; none while no server was ever started.
    pub newest: Option<(Head, Kid)>,
}

/// Where a log is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log is broken at entry {seq}: {reason}")]
pub struct Broken {
    /// The number of the first bad entry.
    pub seq: i64,
    /// What is wrong with it.
    pub reason: String,
}

impl Broken {
    fn at(seq: i64, reason: impl Into<String>) -> Self {
        Self { seq, reason: reason.into() }
    }
}

/// What is known beside the file.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    /// The keys whose private halves the master key opens. Nobody without the master key can have put one of them into
    /// the file, so the newest head must be one of theirs. `None` when the master key is not at hand.
    pub proven: Option<&'a [Kid]>,
    /// A head that was kept elsewhere.
    pub head: Option<&'a str>,
}

/// Checks every entry and every head.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn verify(db: &Connection, evidence: &Evidence<'_>) -> Result<std::result::Result<Report, Broken>> {
    let snapshot = db.unchecked_transaction()?;
    let mut heads = Vec::new();
    for stored in log::heads(&snapshot)? {
        match read(&snapshot, &stored.jws)? {
            Ok((head, kid)) if head.seq == stored.seq => heads.push((head, kid)),
            Ok(_) => return Ok(Err(Broken::at(stored.seq, "a signed head of it is filed under its number"))),
            Err(reason) => return Ok(Err(Broken::at(stored.seq, format!("its signed head: {reason}")))),
        }
    }
    let kept = match evidence.head {
        None => None,
        Some(text) => match read(&snapshot, text)? {
            Ok((head, _)) => Some(head),
            Err(reason) => return Ok(Err(Broken::at(0, format!("the head that was given: {reason}")))),
        },
    };
    if heads.is_empty() && log::was_ever_signed(&snapshot)? {
        return Ok(Err(Broken::at(1, "the log was signed, and its signed heads are gone")));
    }
    let mut walk = Walk::begin(&heads);
    let mut broken = None;
    log::for_each(&snapshot, i64::MIN, |entry| {
        broken = walk.step(&entry, &heads, kept.as_ref()).err();
        broken.is_none()
    })?;
    Ok(match broken {
        Some(broken) => Err(broken),
        None => walk.end(heads, kept.as_ref(), evidence.proven),
    })
}

fn read(db: &Connection, jws: &str) -> Result<std::result::Result<(Head, Kid), String>> {
    let mut failed = None;
    let read = Head::verify(jws.trim(), |kid| {
        log::key(db, kid).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(read.map(|(head, key)| (head, key.thumbprint())).map_err(|error| error.to_string())),
    }
}

/// A walk from the oldest entry to the newest.
struct Walk {
    first: i64,
    before: Hash,
    seq: i64,
    hash: Hash,
    /// The first entry that a server wrote: it signs the log in the same step.
    started: Option<i64>,
}

impl Walk {
    fn begin(heads: &[(Head, Kid)]) -> Self {
        let (first, before) = heads.last().map_or((1, BEGINNING), |(head, _)| (head.first, head.before));
        Self { first, before, seq: first - 1, hash: before, started: None }
    }

    fn step(
        &mut self,
        entry: &log::StoredEntry,
        heads: &[(Head, Kid)],
        kept: Option<&Head>,
    ) -> std::result::Result<(), Broken> {
        let expected = self.seq + 1;
        if entry.seq < expected {
            return Err(Broken::at(entry.seq, format!("the log begins with entry {}", self.first)));
        }
        if entry.seq > expected {
            return Err(Broken::at(expected, "it is missing"));
        }
        let hash = link(&self.hash, &entry.line);
        let read: Value = serde_json::from_str(&entry.line).unwrap_or_default();
        if entry.hash != hash || read.get("seq").and_then(Value::as_i64) != Some(expected) {
            return Err(Broken::at(expected, "it was changed, moved, or put in another's place"));
        }
        let mut signed = heads.iter().map(|(head, _)| head).chain(kept);
        if signed.any(|head| head.seq == expected && head.hash != hash) {
            return Err(Broken::at(
                expected,
                "it is not the entry that was signed, or something before it is not",
            ));
        }
        if read.get("action").and_then(Value::as_str) == Some(Action::AuditBreak.name()) {
            return Err(Broken::at(expected, "it says that a server found an entry gone that it had seen"));
        }
        if read.get("action").and_then(Value::as_str) == Some(Action::ServerStart.name()) {
            self.started = self.started.or(Some(expected));
        }
        (self.seq, self.hash) = (expected, hash);
        Ok(())
    }

    fn end(
        self,
        heads: Vec<(Head, Kid)>,
        kept: Option<&Head>,
        proven: Option<&[Kid]>,
    ) -> std::result::Result<Report, Broken> {
        let reached = heads.iter().map(|(head, _)| head).chain(kept).map(|head| head.seq).max();
        if reached.is_some_and(|reached| reached > self.seq) {
            return Err(Broken::at(self.seq + 1, "it is missing: a signed head reaches further"));
        }
        if let (Some(started), true) = (self.started, heads.is_empty()) {
            return Err(Broken::at(
                started,
                "a server signs the log when it starts, and no signed head is here",
            ));
        }
        for (head, _) in &heads {
            if head.seq + 1 == self.first && head.hash != self.before || head.first > self.first {
                return Err(Broken::at(head.seq, "its signed head contradicts the newest one"));
            }
        }
        if let Some(kept) = kept.filter(|kept| kept.seq < self.first) {
            if kept.seq + 1 < self.first {
                return Err(Broken::at(
                    kept.seq,
                    format!(
                        "the head that was given is too old to be compared: the log begins with entry {}",
                        self.first
                    ),
                ));
            }
            if kept.hash != self.before {
                return Err(Broken::at(kept.seq, "it is not the entry that was signed"));
            }
        }
        let newest = heads.last().cloned();
        if let (Some((head, kid)), Some(proven)) = (&newest, proven)
            && !proven.contains(kid)
        {
            return Err(Broken::at(
                head.seq,
                format!(
                    "the newest head is signed with {kid}, whose private half is not under the master key"
                ),
            ));
        }
        Ok(Report { first: self.first, last: self.seq, hash: self.hash, heads: heads.len(), newest })
    }
}
