//! The master key: where it is read from, and how another one takes its place.
//!
//! A new key is first written beside the old one (`FILE.new`), and takes its name when the database is sealed under it.
//! So whatever ends the program, one of the two files opens the database; the next start, or the next rotation, puts the
//! right one in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use m2mint_keys::crypto::CryptoError;
use m2mint_keys::seal::MasterKey;

use crate::config::{MasterKeySource, SecretText};
use crate::store::schema::folder_of;

/// Why there is no master key, in words for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The master key file is not there.
    #[error(
        "the master key {path} is missing, and the database {database} cannot be opened without it. Put it back, or restore both from a backup"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What it opens.
        database: PathBuf,
    },
    /// The master key file cannot be used.
    #[error("the master key {path} cannot be used: {reason}")]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others may read the master key.
    #[error("the master key {path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}")]
    Exposed {
        /// Where it is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no randomness to be had.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl MasterKeyError {
    fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Reads the master key. Only a database without keys may get a new one.
///
/// # Errors
/// [`MasterKeyError`]
pub fn read(source: &MasterKeySource, database: &Path, founded: bool) -> Result<MasterKey, MasterKeyError> {
    let (path, may_be_made, guarded) = match source {
        MasterKeySource::Text(text) => return parse(Path::new("M2MINT_MASTER_KEY"), text.expose()),
        MasterKeySource::File(path) => (path, false, false),
        MasterKeySource::Credential(path) => (path, false, true),
        MasterKeySource::Beside(path) => (path, !founded, false),
    };
    match read_file(path, guarded)? {
        Some(key) => Ok(key),
        None if may_be_made => {
            let key = MasterKey::generate()?;
            write_private(path, &key.to_text()).map_err(|error| MasterKeyError::unusable(path, error))?;
            Ok(key)
        }
        None => Err(MasterKeyError::Missing { path: path.clone(), database: database.to_owned() }),
    }
}

/// The master key of a database whose `check` it has to pass. A rotation that was interrupted after the database took
/// the new key is finished. A key that does not pass is answered too: whoever uses it says what is wrong.
///
/// # Errors
/// [`MasterKeyError`]
pub fn open(source: &MasterKeySource, database: &Path, check: &[u8]) -> Result<MasterKey, MasterKeyError> {
    let key = read(source, database, true);
    if key.as_ref().is_ok_and(|key| key.passes(check)) {
        return key;
    }
    match Place::of(source) {
        Some(place) => place.lock()?.finish(check)?.map_or(key, Ok),
        None => key,
    }
}

/// The master key that passes `check`, for a server that runs while it is rotated. Changes nothing.
#[must_use]
pub fn find(source: &MasterKeySource, check: &[u8]) -> Option<MasterKey> {
    let place = Place::of(source)?;
    // The new one may take the name of the old one between two looks.
    [&place.path, &place.successor(), &place.path]
        .into_iter()
        .filter_map(|path| read_file(path, false).ok().flatten())
        .find(|key| key.passes(check))
}

/// Reads a master key from a file that is its own to keep.
///
/// # Errors
/// [`MasterKeyError`]
pub fn read_private(path: &Path) -> Result<MasterKey, MasterKeyError> {
    read_file(path, false)?.ok_or_else(|| MasterKeyError::unusable(path, "there is no such file"))
}

fn read_file(path: &Path, guarded: bool) -> Result<Option<MasterKey>, MasterKeyError> {
    let text = match fs::read_to_string(path).map(SecretText::new) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(MasterKeyError::unusable(path, error)),
    };
    let mode = fs::metadata(path).map_or(0, |meta| meta.mode() & 0o777);
    if mode & 0o077 != 0 && !guarded {
        return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
    }
    parse(path, text.expose()).map(Some)
}

fn parse(path: &Path, text: &str) -> Result<MasterKey, MasterKeyError> {
    MasterKey::parse(text).map_err(|error| MasterKeyError::unusable(path, error))
}

/// A file in which a master key can be replaced: one of ours, not the environment's and not systemd's copy.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// The file of `source`, if it is in one that can be replaced.
    #[must_use]
    pub fn of(source: &MasterKeySource) -> Option<Self> {
        match source {
            MasterKeySource::File(path) | MasterKeySource::Beside(path) => {
                // A link is a way to keep the key elsewhere, and stays one.
                Some(Self { path: fs::canonicalize(path).unwrap_or_else(|_| path.clone()) })
            }
            MasterKeySource::Text(_) | MasterKeySource::Credential(_) => None,
        }
    }

    /// Where the key is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn successor(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        name.into()
    }

    /// Waits until nobody else replaces the key.
    ///
    /// # Errors
    /// [`MasterKeyError::Unusable`] when the folder cannot be opened.
    pub fn lock(self) -> Result<LockedPlace, MasterKeyError> {
        let folder = folder_of(&self.path).and_then(|folder| folder.lock().map(|()| folder));
        match folder {
            Ok(folder) => Ok(LockedPlace { place: self, folder }),
            Err(error) => Err(MasterKeyError::unusable(&self.path, error)),
        }
    }
}

/// A place that nobody else changes.
#[derive(Debug)]
pub struct LockedPlace {
    place: Place,
    folder: File,
}

impl LockedPlace {
    /// Puts the new key in place if the database, whose `check` it passes, is sealed under it already. Answers that key.
    ///
    /// # Errors
    /// [`MasterKeyError`]
    pub fn finish(&self, check: &[u8]) -> Result<Option<MasterKey>, MasterKeyError> {
        let key = read_file(&self.place.successor(), false)?.filter(|key| key.passes(check));
        if key.is_some() {
            self.put_in_place()?;
            tracing::warn!("the rotation of the master key was interrupted, and is finished now");
        }
        Ok(key)
    }

    /// Writes `key` beside the one that counts, to stay.
    ///
    /// # Errors
    /// [`MasterKeyError::Unusable`]
    pub fn prepare(&self, key: &MasterKey) -> Result<(), MasterKeyError> {
        let new = self.place.successor();
        let prepared = remove(&new).and_then(|()| write_private(&new, &key.to_text()));
        // A server that runs as another user has to be able to read it as it could the old one.
        let owned = prepared.and_then(|()| {
            let (old, new) = (fs::metadata(&self.place.path)?, File::open(&new)?);
            let is = new.metadata()?;
            if (old.uid(), old.gid()) == (is.uid(), is.gid()) {
                return Ok(());
            }
            fchown(&new, Some(old.uid()), Some(old.gid()))?;
            new.sync_all()
        });
        owned.map_err(|error| MasterKeyError::unusable(&new, error))
    }

    /// Gives the new key the name of the old one, which is gone then.
    ///
    /// # Errors
    /// [`MasterKeyError::Unusable`]
    pub fn put_in_place(&self) -> Result<(), MasterKeyError> {
        let moved =
            fs::rename(self.place.successor(), &self.place.path).and_then(|()| self.folder.sync_all());
        moved.map_err(|error| MasterKeyError::unusable(&self.place.path, error))
    }

    /// Forgets a new key under which nothing is sealed.
    pub fn give_up(&self) {
        // What stays opens nothing, and the next rotation writes over it.
        let _ = remove(&self.place.successor());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a secret to a new file that nobody else can read, and makes sure that it is there to stay.
///
/// # Errors
/// The system's; among them, that the file exists.
pub fn write_private(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    folder_of(path)?.sync_all()
}
