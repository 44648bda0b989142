//! What is known of the signing keys outside the database: how an old copy of it is recognised.
//!
//! A database that is put back from a backup does not know of the keys that were made, retired or revoked since, but
//! verifiers do. So after each change of keys, before it is served, a small file beside the master key gets the number and
//! hash of the newest entry of the audit log, and which keys may sign and which are published still. A database whose
//! log does not hold that entry is an older one, or another's, and no server starts on it before somebody has said so:
//! `m2mint keys recover`.
//!
//! The file holds no secret. Where the master key's folder cannot be written, or the master key is no file, it lies beside
//! the database; then only a restore of that one file is noticed, not one of the whole folder.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::State;
use m2mint_keys::time::UnixTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::config::MasterKeySource;
use crate::model::audit::hex;
use crate::rotation::rings::Rings;
use crate::store::schema::folder_of;
use crate::store::{self, StoreError, audit};

/// Which keys there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Those that sign, or will sign next.
    pub signing: Vec<String>,
    /// Those that are published so that their tokens verify.
    pub retired: Vec<String>,
}

impl Keys {
    /// Those of `rings`.
    #[must_use]
    pub fn of(rings: &Rings) -> Self {
        let mut keys = Self::default();
        for record in rings.iter().flat_map(|ring| ring.keys.records()) {
            match record.state() {
                State::Active | State::Standby => keys.signing.push(record.kid.to_string()),
                State::Retired => keys.retired.push(record.kid.to_string()),
                State::Revoked => {}
            }
        }
        keys
    }

    /// Whether a key may sign.
    #[must_use]
    pub fn may_sign(&self, kid: &Kid) -> bool {
        self.signing.iter().any(|known| known == kid.as_str())
    }

    /// Whether tokens of a key may still be good.
    #[must_use]
    pub fn may_verify(&self, kid: &Kid) -> bool {
        self.retired.iter().any(|known| known == kid.as_str())
    }
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Where the database is that it is about.
    pub path: PathBuf,
    /// When that was made, in milliseconds.
    pub created: i64,
    /// The newest entry of the audit log by then.
    pub entry: i64,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// The keys by then.
    pub keys: Keys,
}

/// Why no server may start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The database is an old one.
    #[error(
        "{database} was put back from a backup: {witness} knows of later changes of keys, which verifiers may know too. Put the \
         latest database back, or run `m2mint keys recover` to go on with this one"
    )]
    Restored {
        /// The database.
        database: PathBuf,
        /// What tells.
        witness: PathBuf,
    },
    /// The database is empty.
    #[error(
        "{database} is empty, and {witness} knows of one with signing keys. Put that back; or, to begin anew, remove {witness}"
    )]
    Emptied {
        /// The database.
        database: PathBuf,
        /// What tells.
        witness: PathBuf,
    },
    /// The file cannot be read.
    #[error("{witness} cannot be read: {reason}. If this is the latest database, remove that file")]
    Unreadable {
        /// What should tell.
        witness: PathBuf,
        /// Why it does not.
        reason: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the file is kept.
#[derive(Debug, Clone)]
pub struct Witness {
    database: PathBuf,
    /// The better place first.
    places: Vec<PathBuf>,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.places.first() {
            Some(place) => write!(f, "there is no {}", place.display()),
            None => f.write_str("there is no witness"),
        }
    }
}

impl Witness {
    /// That of a database.
    #[must_use]
    pub fn of(source: &MasterKeySource, database: &Path) -> Self {
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".witness");
            PathBuf::from(name)
        };
        let key = match source {
            MasterKeySource::File(path) | MasterKeySource::Beside(path) => Some(beside(path)),
            // What systemd hands over lies in a folder that is made anew for each start.
            MasterKeySource::Credential(_) | MasterKeySource::Text(_) => None,
        };
        let database = &std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
        Self { database: database.to_owned(), places: key.into_iter().chain([beside(database)]).collect() }
    }

    /// Where it may be, the better place first.
    #[must_use]
    pub fn places(&self) -> &[PathBuf] {
        &self.places
    }

    /// The same, with this place as the better one.
    #[must_use]
    pub fn at(mut self, place: &Path) -> Self {
        self.places.sort_by_key(|other| other != place);
        self
    }

    /// The latest that is known of the database made at `created`, and where it stands.
    ///
    /// # Errors
    /// [`WitnessError::Unreadable`]
    pub fn read(&self, created: UnixTime) -> Result<Option<(Record, PathBuf)>, WitnessError> {
        let mut found: Option<(Record, PathBuf)> = None;
        for place in &self.places {
            let Some(record) = read(place)? else { continue };
            if record.created != created.millis() {
                tracing::warn!("{} is about another database", place.display());
            } else if found.as_ref().is_none_or(|(latest, _)| latest.entry < record.entry) {
                found = Some((record, place.clone()));
            }
        }
        Ok(found)
    }

    /// Whether a database that has no keys may get some.
    ///
    /// # Errors
    /// [`WitnessError::Emptied`] when it had.
    pub fn allow_founding(&self) -> Result<(), WitnessError> {
        for place in &self.places {
            if read(place)?.is_some_and(|record| record.path == self.database) {
                return Err(WitnessError::Emptied {
                    database: self.database.clone(),
                    witness: place.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether the database is no older than what is known of it. Answers what is known.
    ///
    /// # Errors
    /// [`WitnessError::Restored`] when it is.
    pub fn check(&self, db: &Connection, created: UnixTime) -> Result<Option<Keys>, WitnessError> {
        let Some((record, place)) = self.read(created)? else { return Ok(None) };
        if follows(db, &record)? {
            return Ok(Some(record.keys));
        }
        Err(WitnessError::Restored { database: self.database.clone(), witness: place })
    }

    /// Writes down the keys as the database holds them now, to stay.
    ///
    /// # Errors
    /// The system's, when there is no place for it.
    pub fn write(&self, created: UnixTime, last: (i64, &[u8]), keys: &Keys) -> io::Result<()> {
        let (path, hash) = (self.database.clone(), hex(last.1));
        let record = Record { path, created: created.millis(), entry: last.0, hash, keys: keys.clone() };
        let text = serde_json::to_string(&record)? + "\n";
        let mut outcome = Err(ErrorKind::NotFound.into());
        for place in self.places.iter().filter(|place| self.may_replace(place, created)) {
            outcome = replace(place, &text);
            if outcome.is_ok() {
                self.remove_others(place, created);
                break;
            }
        }
        outcome
    }

    /// Databases may share a master key: what is about another one that is still there stays.
    fn may_replace(&self, place: &Path, created: UnixTime) -> bool {
        let record = read(place).ok().flatten();
        record.is_none_or(|record| record.created == created.millis() || record.path == self.database)
    }

    fn remove_others(&self, place: &Path, created: UnixTime) {
        for other in self.places.iter().filter(|other| *other != place) {
            if other.exists() && self.may_replace(other, created) {
                // Where it cannot be removed, it is older than what was just written.
                let _ = fs::remove_file(other);
            }
        }
    }
}

/// Whether the audit log holds the entry that is known, or has forgotten it because it is old.
fn follows(db: &Connection, record: &Record) -> store::Result<bool> {
    if audit::newest(db)? < record.entry {
        return Ok(false);
    }
    Ok(audit::get(db, record.entry)?.is_none_or(|entry| hex(&entry.hash) == record.hash))
}

fn read(place: &Path) -> Result<Option<Record>, WitnessError> {
    let unreadable = |reason: String| WitnessError::Unreadable { witness: place.to_owned(), reason };
    match fs::read_to_string(place) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// There is the old text or the new one, whatever happens meanwhile.
fn replace(place: &Path, text: &str) -> io::Result<()> {
    let mut new = place.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    // A server that runs as another user has to be able to read it as it could the old one.
    if let Ok(old) = fs::metadata(place) {
        let is = file.metadata()?;
        if (old.uid(), old.gid()) != (is.uid(), is.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
    }
    file.sync_all()?;
    fs::rename(&new, place)?;
    folder_of(place)?.sync_all()
}
