//! Copies of the database: made while a server works on it, and looked through before anybody relies on them.
//!
//! | module | holds |
//! |---|---|
//! | [`schedule`] | the copies that a server makes by itself, and which of them it keeps |
//! | [`restore`] | putting a copy in the place of the database |

pub mod restore;
pub mod schedule;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use m2mint_keys::seal::MasterKey;
use rusqlite::{Connection, InterruptHandle, OpenFlags};

use crate::config::MasterKeySource;
use crate::master_key;
use crate::store::{self, OpenError, Store, StoreError, check, clients, keys, schema};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be written, or does not hold together.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refuses.
    #[error("{path} cannot be written: {reason}")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A private key in it does not open.
    #[error("{path} is damaged: the master key does not open the signing key {kid} in it")]
    Sealed {
        /// The copy.
        path: PathBuf,
        /// Which key.
        kid: String,
    },
    /// There are no signing keys in it.
    #[error("{path} holds no signing keys: no server has ever served it")]
    NoKeys {
        /// The copy.
        path: PathBuf,
    },
}

impl BackupError {
    fn unwritable(path: &Path, reason: io::Error) -> Self {
        Self::Unwritable { path: path.to_owned(), reason }
    }
}

/// What a copy holds, as it was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Size in bytes.
    pub bytes: u64,
    /// Clients.
    pub clients: usize,
    /// Private signing keys, sealed.
    pub private_keys: usize,
    /// Whether the master key was at hand, and opened each of them.
    pub opened: bool,
}

/// Where the master key comes from, for a copy that has to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Opener<'a> {
    /// Its source.
    pub source: &'a MasterKeySource,
    /// The database that it seals.
    pub database: &'a Path,
}

impl Opener<'_> {
    fn find(&self, check: &[u8]) -> Option<MasterKey> {
        // While it is rotated, it may be in either of two files.
        let read = master_key::read(self.source, self.database, true).ok();
        read.filter(|key| key.passes(check)).or_else(|| master_key::find(self.source, check))
    }
}

/// Writes a consistent copy of the database to `to`, also while a server works on it, and reads it again. The file gets its
/// name when it is whole: whatever ends the program, there is no half of one under that name. `begun` gets what
/// interrupts the copying.
///
/// # Errors
/// [`BackupError`]; then nothing is left of it.
pub fn make(
    store: &Store,
    to: &Path,
    opener: Opener<'_>,
    begun: impl FnOnce(InterruptHandle),
) -> Result<Contents, BackupError> {
    let partial = partial_of(to);
    let made = write(store, &partial, opener, begun).and_then(|contents| {
        let named = fs::rename(&partial, to).and_then(|()| schema::folder_of(to)?.sync_all());
        named.map(|()| contents).map_err(|error| BackupError::unwritable(to, error))
    });
    if made.is_err() {
        // There may be nothing to remove.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// The name of a copy before it is whole.
fn partial_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn write(
    store: &Store,
    partial: &Path,
    opener: Opener<'_>,
    begun: impl FnOnce(InterruptHandle),
) -> Result<Contents, BackupError> {
    // What a run that was interrupted left behind.
    remove(partial).map_err(|error| BackupError::unwritable(partial, error))?;
    // Empty and private before anything is in it.
    schema::create_private(partial)?;
    store.backup(partial, begun)?;
    let synced = File::open(partial).and_then(|file| file.sync_all());
    synced.map_err(|error| BackupError::unwritable(partial, error))?;
    verify(partial, opener)
}

/// Reads a copy from end to end: whether it holds together, is m2mint's, and whether the master key, where that is at hand,
/// opens every private key in it. Changes nothing.
///
/// # Errors
/// [`BackupError`]
pub fn verify(copy: &Path, opener: Opener<'_>) -> Result<Contents, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(copy, flags).map_err(StoreError::from)?;
    check::whole(&db, copy)?;
    if let Some(reason) = schema::what_is_foreign(&db).map_err(StoreError::from)? {
        return Err(OpenError::Damaged { path: copy.to_owned(), reason }.into());
    }
    look_inside(&db, copy, opener)
}

fn look_inside(db: &Connection, copy: &Path, opener: Opener<'_>) -> Result<Contents, BackupError> {
    let clients = clients::count(db)?;
    let sealed = keys::all_sealed(db)?;
    // A database that was never served has no keys yet, and a copy of it is one all the same.
    let master = keys::issuer(db)?.and_then(|issuer| opener.find(&issuer.master_check));
    if let Some(master) = &master {
        let closed = sealed.iter().find(|(kid, sealed)| master.open(kid, sealed).is_err());
        if let Some((kid, _)) = closed {
            return Err(BackupError::Sealed { path: copy.to_owned(), kid: kid.to_string() });
        }
    }
    let bytes = fs::metadata(copy).map_err(|error| BackupError::unwritable(copy, error))?.len();
    Ok(Contents { bytes, clients, private_keys: sealed.len(), opened: master.is_some() })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether SQLite was told to stop.
fn was_interrupted(error: &BackupError) -> bool {
    let BackupError::Store(StoreError::Unavailable(error)) = error else { return false };
    error.sqlite_error_code() == Some(store::ErrorCode::OperationInterrupted)
}
