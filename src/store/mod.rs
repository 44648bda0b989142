//! The SQLite file. No HTTP type in here, and no decision: what is stored was decided elsewhere.
//!
//! | module | holds |
//! |---|---|
//! | [`schema`] | opening, pragmas, migrations |
//! | [`check`] | whether the file holds together |
//! | [`clients`] | clients and their secrets |
//! | [`audiences`] | what audiences want their tokens signed with |
//! | [`keys`] | signing keys, the attested clock, requests for the key keeper |
//! | [`revocations`] | revoked tokens |
//! | [`audit`] | the audit log and its signed heads |
//! | [`changes`] | what changed since, also by other processes |
//! | [`grant_uses`] | when clients last used what they are granted |
//! | [`services`] | registered services |
//! | [`verifiers`] | who fetches the key set |
//! | [`admin_keys`] | who may administer, besides whoever holds a key of the configuration |

pub mod admin_keys;
pub mod audiences;
pub mod audit;
pub mod changes;
pub mod check;
pub mod clients;
pub mod grant_uses;
pub mod keys;
pub mod revocations;
pub mod schema;
pub mod services;
pub mod verifiers;
pub mod waits;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, InterruptHandle, Transaction, TransactionBehavior};

use crate::metrics::histogram::Histogram;
use crate::traces;

pub use rusqlite::ErrorCode;
pub use schema::{Claim, OpenError};

/// Why a read or a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, gone, or refuses. Nothing was changed.
    #[error("the database cannot be used right now: {0}")]
    Unavailable(#[source] rusqlite::Error),
    /// COMMIT failed with an I/O error. A restart may still find the change in the log, until [`Store::settle`].
    #[error("it is not known whether the database took the change: {0}")]
    OutcomeUnknown(#[source] rusqlite::Error),
    /// The file holds something that m2mint would never write.
    #[error("the database holds a value that makes no sense: {0}")]
    Corrupt(String),
    /// Another file has the name of the one that was opened, or none has. Nothing was changed.
    #[error("the database file was replaced or removed while this program used it: restart it")]
    Replaced,
    /// The file cannot be opened again after an error.
    #[error("the database could not be reopened: {0}")]
    Reopen(#[from] OpenError),
    /// A statement that contradicts the schema: a defect of m2mint, or a value that is taken already.
    #[error("the database refused the change: {0}")]
    Refused(#[source] rusqlite::Error),
}

impl StoreError {
    /// What is in the file makes no sense, for this reason.
    pub(crate) fn corrupt(reason: impl ToString) -> Self {
        Self::Corrupt(reason.to_string())
    }

    fn busy() -> Self {
        Self::Unavailable(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            None,
        ))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error),
            Some(_) => Self::Unavailable(error),
            None => Self::Corrupt(error.to_string()),
        }
    }
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Stands for a state of the file. Only comparing two of them means anything; the first is none of any file.
pub type DataVersion = (u64, i64);

/// How long a server waits for another process that writes. A request that cannot be stored is refused, so that whoever
/// sent it knows, and the server can stop in time.
const PATIENCE_SERVING: Duration = Duration::from_secs(1);
/// How long everybody else waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a change may have to wait for the log to be emptied.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(50);
/// How long it is left alone when somebody holds it up.
const HELD_UP: Duration = Duration::from_secs(2);
/// Fewer unused bytes than this are not worth the writing.
const WORTH_COMPACTING: u64 = 16 * 1024 * 1024;

/// How long commits take, in microseconds: from a disk that only says so to one that is about to fail.
const COMMIT_TIMES: &[u64] =
    &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// The file: one writer, one reader.
pub struct Store {
    path: PathBuf,
    patience: Duration,
    writer: Mutex<Option<Connection>>,
    reader: Mutex<Option<Connection>>,
    /// How often the reader was opened.
    reader_opened: AtomicU64,
    /// By which it is known that the schema is the one that was looked at; 0 before.
    schema_version: AtomicI64,
    /// Device and number of the file that was opened.
    file: (u64, u64),
    /// Whether the log may hold a change that nobody acknowledged, beyond where everybody reads.
    unsettled: AtomicBool,
    /// Whether the last read, and the last write, could not be done.
    reading_fails: AtomicBool,
    writing_fails: AtomicBool,
    /// Whether a change came to nothing, for a reason of its own or the disk's.
    writing_doubted: AtomicBool,
    /// Since when the log could not be emptied.
    held_up: Mutex<Option<Instant>>,
    commits: Histogram,
    /// Held as long as this process serves the file. Closed last: closing any descriptor of a file drops SQLite's locks on it.
    _claim: Option<Claim>,
}

impl Store {
    /// Opens an existing database, or makes one.
    ///
    /// # Errors
    /// [`OpenError`], in words for the person who starts the program.
    pub fn open(path: &Path, claim: Option<Claim>) -> std::result::Result<Self, OpenError> {
        let patience = if claim.is_some() { PATIENCE_SERVING } else { PATIENCE };
        let writer = schema::open_writer(path, patience)?;
        let reader = schema::open_reader(path, patience)?;
        let file = file_at(path).map_err(|error| OpenError::unusable(path, error))?;
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            schema_version: AtomicI64::new(0),
            patience,
            writer: Mutex::new(Some(writer)),
            reader: Mutex::new(Some(reader)),
            reader_opened: AtomicU64::new(1),
            unsettled: AtomicBool::new(false),
            reading_fails: AtomicBool::new(false),
            writing_fails: AtomicBool::new(false),
            writing_doubted: AtomicBool::new(false),
            held_up: Mutex::new(None),
            commits: Histogram::new(COMMIT_TIMES),
            _claim: claim,
        })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks through the whole file for what cannot be, and holds up nobody who reads.
    ///
    /// # Errors
    /// [`OpenError::Damaged`]
    pub fn check_whole(&self) -> std::result::Result<(), OpenError> {
        check::whole(&schema::open_reader(&self.path, self.patience)?, &self.path)
    }

    /// The same while [`clients::for_issuing`] reads all clients, with what that does not meet by itself.
    ///
    /// # Errors
    /// [`OpenError::Damaged`]
    pub fn check_beside_reading(&self) -> std::result::Result<(), OpenError> {
        check::beside_reading(&schema::open_reader(&self.path, self.patience)?, &self.path)
    }

    /// Reads.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let read = self.read_once(query);
        let fails = matches!(read, Err(StoreError::Unavailable(_) | StoreError::Reopen(_)));
        self.reading_fails.store(fails, Ordering::Relaxed);
        read
    }

    /// Reads on a connection of its own: whoever takes long holds up nobody.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn read_apart<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        query(&schema::open_reader(&self.path, self.patience)?)
    }

    fn read_once<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut slot = self.reader.lock();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => {
                self.reader_opened.fetch_add(1, Ordering::Relaxed);
                schema::open_reader(&self.path, self.patience)?
            }
        };
        let result = query(&connection);
        // A connection that met an I/O error may hold on to a view of the file that is gone.
        if !matches!(result, Err(StoreError::Unavailable(_))) {
            *slot = Some(connection);
        }
        result
    }

    /// Changes the file in one transaction. When this returns `Ok`, the change is durable.
    ///
    /// # Errors
    /// Whatever `change` says, which then left no trace, or a [`StoreError`] of the transaction itself.
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut came_to_nothing = false;
        let _traced = traces::step("sqlite write");
        let written = self.write_once(|db| change(db).inspect_err(|_| came_to_nothing = true));
        if came_to_nothing {
            self.writing_doubted.store(true, Ordering::Relaxed);
        } else {
            self.writing_fails.store(written.is_err(), Ordering::Relaxed);
        }
        written
    }

    fn write_once<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let (mut slot, mut connection) = self.take_writer()?;
        let changed = self.transact(&mut connection, change);
        // It stays open, also after an error: as long as any connection is, nobody recovers the log, and nobody sees what did
        // not commit. A failed sync may have lost what it was to write, whatever a later sync says, so nothing may be built
        // upon that. A rollback that failed leaves a connection that can begin nothing.
        *slot = Some(connection).filter(Connection::is_autocommit);
        changed
    }

    /// The connection that writes, and where it belongs when that is done. What is the same for every change is not generic,
    /// so that it is there once.
    fn take_writer(&self) -> Result<(MutexGuard<'_, Option<Connection>>, Connection)> {
        // What goes into a file that nobody finds any more would be lost, and SQLite's log beside it is the other file's.
        if !file_at(&self.path).is_ok_and(|file| file == self.file) {
            return Err(StoreError::Replaced);
        }
        let mut slot = self.writer.try_lock_for(self.patience).ok_or_else(StoreError::busy)?;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => schema::open_writer(&self.path, self.patience)?,
        };
        Ok((slot, connection))
    }

    /// How long commits took, those that failed too.
    #[must_use]
    pub const fn commits(&self) -> &Histogram {
        &self.commits
    }

    /// How large the file and its log are, in bytes.
    #[must_use]
    pub fn sizes(&self) -> (u64, u64) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        (size(&self.path), size(Path::new(&log)))
    }

    /// Whether the file could last be read, and written.
    #[must_use]
    pub fn is_usable(&self) -> (bool, bool) {
        (!self.reading_fails.load(Ordering::Relaxed), !self.writing_fails.load(Ordering::Relaxed))
    }

    /// After a write that was not done, looks whether the file can be written.
    pub fn probe(&self) {
        let is_doubted = self.writing_doubted.swap(false, Ordering::Relaxed);
        if is_doubted || self.writing_fails.load(Ordering::Relaxed) {
            let fails = self.write_once(touch).is_err();
            self.writing_fails.store(fails, Ordering::Relaxed);
        }
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        connection: &mut Connection,
        change: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let transaction = self.begin(connection)?;
        let value = change(&transaction)?;
        self.commit(transaction)?;
        Ok(value)
    }

    fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(StoreError::Unavailable)?;
        self.check_schema(&transaction)?;
        Ok(transaction)
    }

    fn commit(&self, transaction: Transaction<'_>) -> Result<()> {
        let (began, traced) = (Instant::now(), traces::step("sqlite commit"));
        let committed = transaction.commit();
        drop(traced);
        self.commits.observe(began.elapsed());
        match committed {
            Ok(()) => Ok(()),
            // Only a full disk is known to leave nothing behind.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Err(StoreError::Unavailable(error))
            }
            Err(error) => {
                self.unsettled.store(true, Ordering::Release);
                Err(StoreError::OutcomeUnknown(error))
            }
        }
    }

    /// Whether somebody has changed the schema meanwhile, by hand or with another version.
    fn check_schema(&self, db: &Connection) -> Result<()> {
        let version: i64 = db.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if self.schema_version.load(Ordering::Relaxed) == version {
            return Ok(());
        }
        if let Some(reason) = schema::what_is_foreign(db)? {
            return Err(StoreError::Corrupt(reason));
        }
        self.schema_version.store(version, Ordering::Relaxed);
        Ok(())
    }

    /// After a commit that failed, makes sure that the change did not happen: a restart might find it in the log. Any later
    /// write takes its place there.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be written.
    pub fn settle(&self) -> Result<()> {
        if !self.unsettled.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write(touch)?;
        self.unsettled.store(false, Ordering::Release);
        Ok(())
    }

    /// Moves everything from the log into the file and empties the log, so that nothing erased is left in it.
    /// Answers whether that worked: another process that reads can hold it up. Then the next attempts come to nothing until
    /// some seconds have passed, because changes have to wait for each.
    pub fn checkpoint(&self) -> bool {
        let mut held_up = self.held_up.lock();
        if held_up.is_some_and(|since| since.elapsed() < HELD_UP) {
            return false;
        }
        let done = self.checkpoint_now(CHECKPOINT_PATIENCE);
        *held_up = if done { None } else { Some(Instant::now()) };
        done
    }

    fn checkpoint_now(&self, patience: Duration) -> bool {
        let slot = self.writer.lock();
        let Some(writer) = slot.as_ref() else { return false };
        let empty = || {
            writer.busy_timeout(patience)?;
            let busy = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
            writer.busy_timeout(self.patience)?;
            busy
        };
        empty().is_ok_and(|busy: i64| busy == 0)
    }

    /// Gives the disk back what the file does not need, where that is more than what it does: what was removed leaves room in
    /// the file, which only later rows would fill. Answers whether it did. Takes as long as writing what is left.
    ///
    /// # Errors
    /// [`StoreError`] when there is no room to do it, or another process holds it up. Nothing was changed then.
    pub fn compact(&self) -> Result<bool> {
        let slot = self.writer.lock();
        let Some(writer) = slot.as_ref() else { return Ok(false) };
        let number = |pragma: &str| writer.query_row(pragma, [], |row| row.get::<_, u64>(0));
        let (all, free) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
        if free < all / 2 || free.saturating_mul(number("PRAGMA page_size")?) < WORTH_COMPACTING {
            return Ok(false);
        }
        writer.execute_batch("VACUUM")?;
        drop(slot);
        // The file becomes short when the log is in it.
        self.checkpoint_now(self.patience);
        Ok(true)
    }

    /// Differs from what it was before whenever the file was changed since, by whomever.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn data_version(&self) -> Result<DataVersion> {
        if !file_at(&self.path).is_ok_and(|file| file == self.file) {
            return Err(StoreError::Replaced);
        }
        // Always asked of the reader, which never writes: to it, the writer's changes are those of another connection.
        let version = self.read(|db| Ok(db.query_row("PRAGMA data_version", [], |row| row.get(0))?))?;
        Ok((self.reader_opened.load(Ordering::Relaxed), version))
    }

    /// Writes a consistent copy of the database to a file that is empty, or does not exist yet. `begun` gets what
    /// interrupts that.
    ///
    /// # Errors
    /// [`StoreError`] when the copy cannot be made.
    pub fn backup(&self, to: &Path, begun: impl FnOnce(InterruptHandle)) -> Result<()> {
        // A connection of its own: reading for long holds up nobody, and the reader must not write, not even elsewhere.
        let db = schema::open_writer(&self.path, self.patience)?;
        begun(db.get_interrupt_handle());
        db.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(())
    }
}

fn file_at(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Writes what is there already.
fn touch(db: &Transaction<'_>) -> Result<()> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(db.pragma_update(None, "user_version", version)?)
}

impl Drop for Store {
    fn drop(&mut self) {
        self.reader.get_mut().take();
        // The last connection to close folds the log into the file and removes it.
        self.writer.get_mut().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_short_again_after_a_change_that_made_it_long() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m2mint.db");
        schema::create_private(&path).unwrap();
        let store = Store::open(&path, None).unwrap();
        let fill = |db: &Transaction<'_>| -> Result<()> {
            let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                INSERT INTO revoked_tokens (jti, expires_at, keep_until_attested) SELECT hex(randomblob(512)), 1, 1 FROM n";
            Ok(db.execute(rows, []).map(drop)?)
        };
        store.write(fill).unwrap();
        assert!(store.sizes().1 > 8 * 1024 * 1024);
        for _ in 0..3 {
            store.write(touch).unwrap();
        }
        assert!(store.sizes().1 <= 4 * 1024 * 1024, "{}", store.sizes().1);
    }
}
