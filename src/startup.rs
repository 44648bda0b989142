//! From a configuration to open files: database, master key, first keys, first admin key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::time::UnixTime;

use crate::administration;
use crate::clock::Clock;
use crate::config::{Config, MasterKeySource, SecretText};
use crate::directory::Directory;
use crate::directory::loading::Loading;
use crate::master_key::{self, MasterKeyError};
use crate::model::audit::Origin;
use crate::model::{AdminKey, AdminKeyName, Roles};
use crate::rotation::keeper::{self, FindMaster, Waiting};
use crate::rotation::keyring_file::SERVER;
use crate::rotation::{RotationError, Settings, keyring_file};
use crate::store::admin_keys::{AdminKeyHash, StoredAdminKey};
use crate::store::{Claim, OpenError, Store, StoreError, admin_keys, audit, keys, schema};
use crate::witness::{Witness, WitnessError};

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
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// There is no randomness to be had.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The database was put back.
    #[error(transparent)]
    Witness(#[from] WitnessError),
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

/// How often whoever reads a damaged file is told to stop, until that is done.
const INTERRUPTED_EVERY: Duration = Duration::from_millis(1);

/// Opens the database for serving; makes it, its master key, its first signing keys and an admin key where there are none.
///
/// # Errors
/// [`StartError`]
pub fn open(config: &Config, clock: &Clock) -> Result<Open, StartError> {
    schema::create_private(&config.database)?;
    let claim = Claim::take(&config.database)?;
    let store = Arc::new(Store::open(&config.database, Some(claim))?);
    let directory = Arc::new(read_whole(&store)?);
    match store.compact() {
        Ok(true) => tracing::info!("the database was made smaller: most of it was unused"),
        Ok(false) => {}
        // It is as good as before, only large.
        Err(error) => tracing::warn!(%error, "the database could not be made smaller"),
    }
    let issuer = store.read(keys::issuer)?;
    let founded = issuer.is_some();
    let witness = Witness::of(&config.master_key, &config.database);
    // Where the master key is gone too, nothing is left of what was.
    let is_all_gone = matches!(&config.master_key, MasterKeySource::Beside(key) if !key.exists());
    if !founded && !is_all_gone {
        witness.allow_founding()?;
    }
    let master = match &issuer {
        Some(issuer) => master_key::open(&config.master_key, &config.database, &issuer.master_check)?,
        None => master_key::read(&config.master_key, &config.database, false)?,
    };
    let witnessed = match &issuer {
        // A wrong master key comes first: it is told when the keys are opened.
        Some(issuer) if master.passes(&issuer.master_check) => {
            let known = store.read(|db| Ok(witness.check(db, issuer.created)))??;
            if known.is_none() {
                tracing::warn!("nothing outside the database tells whether it is the latest: {witness}");
            }
            known
        }
        _ => None,
    };
    let settings = rotation_settings(config);
    let mut new_admin_key = None;
    if !founded {
        let key = if config.api_keys.is_empty() { Some(AdminKey::generate()?) } else { None };
        let reading = clock.read();
        keyring_file::found(&store, &master, reading, &settings, |db| {
            let Some(key) = &key else { return Ok(()) };
            let key = first_admin_key(key, reading.wall)?;
            admin_keys::add(db, &key)?;
            audit::append(db, &administration::admin_keys::made(&key, &Origin::of(SERVER)))
        })?;
        directory.refresh(&store)?;
        new_admin_key = key;
    }
    let (kept, known) = (Arc::clone(&store), Arc::clone(&directory));
    let source = config.master_key.clone();
    let find_master: FindMaster = Box::new(move |check| master_key::find(&source, check));
    let witness = (witness, witnessed);
    let keeper =
        keeper::open(kept, known, clock.clone(), (master, find_master), settings, witness, !founded)?;
    Ok(Open { store, directory, keeper, new_admin_key })
}

/// Checks the file and reads it, side by side: with a million clients, each takes longer than a second. Damage is told rather
/// than what could not be read because of it.
fn read_whole(store: &Store) -> Result<Directory, StartError> {
    let reading = store.read(|db| Ok(db.get_interrupt_handle()))?;
    let is_read = AtomicBool::new(false);
    let loading = Loading::new(store);
    let check = || {
        let checked = store.check_beside_reading();
        if checked.is_ok() {
            loading.help();
        }
        // In a damaged file, reading may go round in circles. A statement that has yet to begin is not interrupted.
        while checked.is_err() && !is_read.load(Ordering::Acquire) {
            reading.interrupt();
            std::thread::sleep(INTERRUPTED_EVERY);
        }
        checked
    };
    let (checked, read) = std::thread::scope(|scope| {
        let check = scope.spawn(check);
        let read = loading.read();
        is_read.store(true, Ordering::Release);
        (check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), read)
    });
    checked?;
    if matches!(read, Err(StoreError::Corrupt(_))) {
        store.check_whole()?;
    }
    read?;
    Ok(loading.finish())
}

/// The part of a configuration that steers keys.
#[must_use]
pub fn rotation_settings(config: &Config) -> Settings {
    Settings {
        policy: config.rotation,
        lifetime: config.lifetime,
        audiences: config.audiences.clone(),
        audit_keep: config.audit_keep,
    }
}

/// What is stored of the admin key that the first start makes.
fn first_admin_key(key: &AdminKey, now: UnixTime) -> Result<StoredAdminKey, StoreError> {
    Ok(StoredAdminKey {
        name: AdminKeyName::parse("first").map_err(StoreError::corrupt)?,
        hash: AdminKeyHash(key.hash()),
        roles: Roles::unrestricted(),
        founding: true,
        created_at: now,
        expires_at: None,
        last_used_at: None,
    })
}

/// The admin keys of the configuration, as they are compared.
#[must_use]
pub fn configured_admin_keys(config: &Config) -> Vec<AdminKeyHash> {
    let hash = |key: &SecretText| AdminKeyHash(crypto::sha256(key.expose().as_bytes()));
    config.api_keys.iter().map(hash).collect()
}
