//! From a configuration to open files: database, master key, first keys, first admin key.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::seal::MasterKey;

use crate::clock::Clock;
use crate::config::{Config, MasterKeySource, SecretText};
use crate::directory::Directory;
use crate::http::admin::AdminKeys;
use crate::model::AdminKey;
use crate::rotation::keeper::{self, Waiting};
use crate::rotation::{RotationError, Settings, keyring_file};
use crate::store::{Claim, OpenError, Store, StoreError, admin_keys, schema};

/// Why the server does not start, in words for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys in it.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The master key file is not there.
    #[error(
        "the master key {path} is missing, and the database {database} cannot be opened without it. Put it back, or restore both from a backup"
    )]
    MasterKeyMissing {
        /// Where it should be.
        path: PathBuf,
        /// What it opens.
        database: PathBuf,
    },
    /// The master key file cannot be used.
    #[error("the master key {path} cannot be used: {reason}")]
    MasterKeyUnusable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others may read the master key.
    #[error("the master key {path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}")]
    MasterKeyExposed {
        /// Where it is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no randomness to be had.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Everything that the server works on.
pub struct Open {
    /// The file.
    pub store: Arc<Store>,
    /// Clients, in memory.
    pub directory: Arc<Directory>,
    /// Keys.
    pub keeper: Waiting,
    /// The admin key, when it was made just now.
    pub new_admin_key: Option<AdminKey>,
}

/// Opens the database for serving; makes it, its master key, its first signing keys and an admin key where there are none.
///
/// # Errors
/// [`StartError`]
pub fn open(config: &Config, clock: &Clock) -> Result<Open, StartError> {
    schema::create_private(&config.database)?;
    let claim = Claim::take(&config.database)?;
    let store = Arc::new(Store::open(&config.database, Some(claim))?);
    let founded = keyring_file::is_founded(&store)?;
    let master = master_key(&config.master_key, &config.database, founded)?;
    let settings = rotation_settings(config);
    let mut new_admin_key = None;
    if !founded {
        let key = if config.api_keys.is_empty() { Some(AdminKey::generate()?) } else { None };
        let reading = clock.read();
        keyring_file::found(&store, &master, reading, &settings, |db| {
            key.as_ref().map_or(Ok(()), |key| admin_keys::add(db, &key.hash(), reading.wall))
        })?;
        new_admin_key = key;
    }
    let directory = Arc::new(Directory::load(&store)?);
    let (kept, known) = (Arc::clone(&store), Arc::clone(&directory));
    let keeper = keeper::open(kept, known, clock.clone(), master, settings, !founded)?;
    Ok(Open { store, directory, keeper, new_admin_key })
}

/// The part of a configuration that steers keys.
#[must_use]
pub fn rotation_settings(config: &Config) -> Settings {
    Settings { policy: config.rotation, lifetime: config.lifetime, audiences: config.audiences.clone() }
}

/// Who may administer: the configured keys, or the one that the first start made.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn admin_keys(config: &Config, store: &Store) -> Result<AdminKeys, StoreError> {
    let hash = |key: &SecretText| crypto::sha256(key.expose().as_bytes());
    Ok(AdminKeys::new(if config.api_keys.is_empty() {
        store.read(admin_keys::all)?
    } else {
        config.api_keys.iter().map(hash).collect()
    }))
}

/// The master key. Only a database without keys may get a new one.
///
/// # Errors
/// [`StartError`]
pub fn master_key(source: &MasterKeySource, database: &Path, founded: bool) -> Result<MasterKey, StartError> {
    let (path, may_be_made, guarded) = match source {
        MasterKeySource::Text(text) => return parse(Path::new("M2MINT_MASTER_KEY"), text.expose()),
        MasterKeySource::File(path) => (path, false, false),
        MasterKeySource::Credential(path) => (path, false, true),
        MasterKeySource::Beside(path) => (path, !founded, false),
    };
    match fs::read_to_string(path).map(SecretText::new) {
        Ok(text) => {
            let mode = fs::metadata(path).map_or(0, |meta| meta.mode() & 0o777);
            if mode & 0o077 != 0 && !guarded {
                return Err(StartError::MasterKeyExposed { path: path.clone(), mode });
            }
            parse(path, text.expose())
        }
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_made => make(path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StartError::MasterKeyMissing { path: path.clone(), database: database.to_owned() })
        }
        Err(error) => Err(StartError::MasterKeyUnusable { path: path.clone(), reason: error.to_string() }),
    }
}

fn parse(path: &Path, text: &str) -> Result<MasterKey, StartError> {
    MasterKey::parse(text)
        .map_err(|error| StartError::MasterKeyUnusable { path: path.to_owned(), reason: error.to_string() })
}

fn make(path: &Path) -> Result<MasterKey, StartError> {
    let key = MasterKey::generate()?;
    write_private(path, &key.to_text()).map_err(|error| StartError::MasterKeyUnusable {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(key)
}

/// Writes a secret to a new file that nobody else can read, and makes sure that it is there to stay.
///
/// # Errors
/// The system's; among them, that the file exists.
pub fn write_private(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
