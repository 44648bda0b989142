//! Putting a copy in the place of the database.
//!
//! The copy is written beside the database, looked through, and brought to the keys that are known of from after it was
//! made (see [`crate::witness`]), before it takes the place of the database in one step. What was there before is kept
//! under another name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use m2mint_keys::seal::MasterKey;
use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, OpenFlags};

use crate::backup::{BackupError, Contents, Opener, look_inside, remove};
use crate::clock::Clock;
use crate::config::Config;
use crate::master_key;
use crate::model::audit::{Action, Entry, Origin, date_to_the_second};
use crate::model::restrictions::parse_moment;
use crate::rotation::keyring_file;
use crate::rotation::rings::Rings;
use crate::startup::{StartError, rotation_settings};
use crate::store::schema::{create_private, folder_of};
use crate::store::{Claim, Store, StoreError, audit, keys};
use crate::witness::{self, Record, Witness, WitnessError};

/// Why a copy is not put in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is none, is damaged, or cannot be written beside the database.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What is needed to judge it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system.
    #[error("{path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Another program works on the database.
    #[error("another program has {database} open: end it first")]
    InUse {
        /// The database.
        database: PathBuf,
    },
}

macro_rules! from {
    ($($error:ty => $by:ty),+) => {
        $(impl From<$error> for RestoreError {
            fn from(error: $error) -> Self {
                <$by>::from(error).into()
            }
        })+
    };
}

from!(
    crate::store::OpenError => BackupError,
    StoreError => BackupError,
    WitnessError => StartError,
    crate::rotation::RotationError => StartError,
    crate::master_key::MasterKeyError => StartError
);

impl RestoreError {
    fn unusable(path: &Path, reason: io::Error) -> Self {
        Self::Unusable { path: path.to_owned(), reason }
    }
}

/// A copy that lies beside the database, is whole, and opens with the master key. It goes away again, unless it is put in
/// place.
#[derive(Debug)]
pub struct Candidate {
    database: PathBuf,
    copy: PathBuf,
    /// Held until it is in place. Nobody begins to serve meanwhile.
    _claim: Claim,
    /// Whether the file that is claimed was made for that.
    is_new: bool,
    found: Found,
}

/// What was found in a copy, and around it.
#[derive(Debug)]
struct Found {
    master: MasterKey,
    witness: Witness,
    created: UnixTime,
    contents: Contents,
    newest: Option<UnixTime>,
    /// What is known of later keys, and where that stands.
    later: Option<(Record, PathBuf)>,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// Where the database that was there before is now.
    pub kept: Option<PathBuf>,
    /// The keys that sign from now on, where they had to follow what is known of later ones.
    pub recovered: Option<Vec<String>>,
}

impl Candidate {
    /// Copies `from` beside the database that `config` names, and looks through it.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing was changed then.
    pub fn prepare(config: &Config, from: &mut dyn Read) -> Result<Self, RestoreError> {
        // A link to it stays one.
        let database = fs::canonicalize(&config.database).unwrap_or_else(|_| config.database.clone());
        let is_new = !database.exists();
        create_private(&database)?;
        let claim = Claim::take(&database)?;
        let copy = beside(&database, ".restoring");
        let found = Found::look(config, from, &copy).inspect_err(|_| {
            discard(&copy);
            if is_new {
                discard(&database);
            }
        })?;
        Ok(Self { database, copy, _claim: claim, is_new, found })
    }

    /// What it holds.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.found.contents
    }

    /// When the last thing happened that it knows of.
    #[must_use]
    pub fn newest(&self) -> Option<UnixTime> {
        self.found.newest
    }

    /// Where it stands that there were later changes of keys, if there were.
    #[must_use]
    pub fn known_later(&self) -> Option<&Path> {
        self.found.later.as_ref().map(|(_, place)| place.as_path())
    }

    /// Puts it in the place of the database. Where later changes of keys are known of, its keys follow those first.
    ///
    /// # Errors
    /// [`RestoreError`]; the database is what it was then, or the copy is in place.
    pub fn put_in_place(self, config: &Config, origin: &Origin) -> Result<Restored, RestoreError> {
        let reading = Clock::system().read();
        let store = Store::open(&self.copy, None)?;
        let mut rings: Option<Rings> = None;
        if let Some((later, _)) = &self.found.later {
            let settings = rotation_settings(config);
            let recovered =
                keyring_file::recover(&store, &self.found.master, reading, &settings, &later.keys, origin)?;
            rings = Some(recovered.0);
        }
        let entry = Entry::new(reading.wall, origin, Action::DatabaseRestore);
        store.write(|db| audit::append(db, &entry.with("is_behind_the_keys", self.found.later.is_some())))?;
        let last = store.read(audit::last)?;
        // The last connection to close folds the log into the file.
        drop(store);
        if beside(&self.copy, "-wal").exists() {
            return Err(RestoreError::InUse { database: self.copy.clone() });
        }
        let kept = if self.is_new { None } else { Some(self.keep_the_other(reading.wall)?) };
        fs::rename(&self.copy, &self.database)
            .and_then(|()| folder_of(&self.database)?.sync_all())
            .map_err(|error| RestoreError::unusable(&self.database, error))?;
        let mut recovered = None;
        if let (Some(rings), Some((_, place)), Some((seq, hash))) = (rings, &self.found.later, last) {
            let keys = witness::Keys::of(&rings);
            // Were this interrupted, the next start would refuse, and `m2mint keys recover` would do it again.
            let written = self.found.witness.clone().at(place).write(self.found.created, (seq, &hash), &keys);
            written.map_err(|error| RestoreError::unusable(place, error))?;
            let active = rings.iter().filter_map(|ring| ring.keys.active());
            recovered = Some(active.map(|key| key.kid.to_string()).collect());
        }
        Ok(Restored { kept, recovered })
    }

    /// Gives the database that is there another name too. Its log is folded into it; where it is damaged, the log gets that
    /// name with it.
    fn keep_the_other(&self, now: UnixTime) -> Result<PathBuf, RestoreError> {
        let date = date_to_the_second(now).replace(':', "");
        let mut kept = beside(&self.database, &format!(".before-restore-{date}"));
        if kept.exists() {
            kept = beside(&kept, &format!("-{}", std::process::id()));
        }
        let is_whole = fold_log(&self.database);
        for side in ["-wal", "-shm"] {
            let (from, to) = (beside(&self.database, side), beside(&kept, side));
            if !from.exists() {
                continue;
            }
            if is_whole {
                return Err(RestoreError::InUse { database: self.database.clone() });
            }
            fs::rename(&from, to).map_err(|error| RestoreError::unusable(&from, error))?;
        }
        // Some file systems have no links; then there is no database for a moment.
        fs::hard_link(&self.database, &kept)
            .or_else(|_| fs::rename(&self.database, &kept))
            .map_err(|error| RestoreError::unusable(&kept, error))?;
        Ok(kept)
    }
}

impl Found {
    fn look(config: &Config, from: &mut dyn Read, copy: &Path) -> Result<Self, RestoreError> {
        write_copy(from, copy, &config.database).map_err(|error| RestoreError::unusable(copy, error))?;
        // One of an older version is brought up to date here, and not by the server that starts on it.
        let store = Store::open(copy, None)?;
        store.check_whole()?;
        let issuer = store.read(keys::issuer)?;
        let issuer = issuer.ok_or_else(|| BackupError::NoKeys { path: copy.to_owned() })?;
        let master = master_key::open(&config.master_key, &config.database, &issuer.master_check)?;
        if !master.passes(&issuer.master_check) {
            return Err(crate::rotation::RotationError::WrongMasterKey.into());
        }
        let opener = Opener { source: &config.master_key, database: &config.database };
        let contents = store.read(|db| Ok(look_inside(db, copy, opener)))??;
        let newest = store.read(|db| audit::get(db, audit::newest(db)?))?;
        let newest = newest.and_then(|entry| {
            let line: serde_json::Value = serde_json::from_str(&entry.line).ok()?;
            parse_moment(line.get("at")?.as_str()?).ok()
        });
        let witness = Witness::of(&config.master_key, &config.database);
        let later = match store.read(|db| Ok(witness.check(db, issuer.created)))? {
            Err(WitnessError::Restored { .. }) => witness.read(issuer.created)?,
            checked => {
                checked?;
                None
            }
        };
        let created = issuer.created;
        Ok(Self { master, witness, created, contents, newest, later })
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        discard(&self.copy);
        if self.is_new && fs::metadata(&self.database).is_ok_and(|file| file.len() == 0) {
            discard(&self.database);
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database that nobody needs, with its log.
fn discard(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // What stays is written over the next time.
        let _ = remove(&beside(path, suffix));
    }
}

/// Copies what was given, to stay, readable for whom the database is.
fn write_copy(from: &mut dyn Read, copy: &Path, database: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(copy, suffix))?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
    io::copy(from, &mut file)?;
    let old = match fs::metadata(database) {
        Ok(old) if old.len() > 0 => old,
        // An empty one was made just now, by whoever runs this.
        _ => folder_of(database)?.metadata()?,
    };
    let is = file.metadata()?;
    if (old.uid(), old.gid()) != (is.uid(), is.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.sync_all()
}

/// Moves everything from the log of a database into it. Answers whether it could be opened for that.
fn fold_log(database: &Path) -> bool {
    let fold = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(database, flags)?;
        db.busy_timeout(Duration::from_secs(1))?;
        let _: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    fold().is_ok()
}

/// Whether two files hold the same, or are the same: a restore of a database over itself would be a mistake.
///
/// # Errors
/// The system's.
pub fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?.metadata()?, fs::metadata(other));
    Ok(other.is_ok_and(|other| (one.dev(), one.ino()) == (other.dev(), other.ino())))
}
