//! Opening the file: who may, with which guarantees, and in which version.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Numbered, forward only: `PRAGMA user_version` says how many have been applied.
const MIGRATIONS: [&str; 11] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_algorithms.sql"),
    include_str!("migrations/0003_audit.sql"),
    include_str!("migrations/0004_removed_clients.sql"),
    include_str!("migrations/0005_restrictions.sql"),
    include_str!("migrations/0006_admin_keys.sql"),
    include_str!("migrations/0007_services.sql"),
    include_str!("migrations/0008_verifiers.sql"),
    include_str!("migrations/0009_grant_uses.sql"),
    include_str!("migrations/0010_secret_addresses.sql"),
    include_str!("migrations/0011_waits.sql"),
];

/// The schema that this program writes.
pub const SCHEMA: usize = MIGRATIONS.len();

/// Marks the file as m2mint's (`PRAGMA application_id`): "m2mt".
const APPLICATION_ID: i32 = 0x6d32_6d74;

/// Why the file cannot be opened, for the person at the keyboard.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be used.
    #[error(
        "cannot open the database {path}: {reason}. Check that the folder exists, that this user may write there, and that \
         the disk is neither full nor read-only"
    )]
    Unusable {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// SQLite does not recognise it.
    #[error("{path} is not an SQLite database. Point `database` at another file, or restore a backup")]
    NotADatabase {
        /// The database file.
        path: PathBuf,
    },
    /// An SQLite database, but not ours.
    #[error("{path} is an SQLite database, but not one of m2mint's. Point `database` at another file")]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// It does not hold together.
    #[error("{path} is damaged: {reason}. Nothing was changed. Restore a backup")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite found first.
        reason: String,
    },
    /// Written by a later version.
    #[error(
        "{path} was written by a newer m2mint (schema {found}; this one knows up to {known}). Install that version again"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Schema version of the file.
        found: i64,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// Another process serves it.
    #[error("another m2mint already serves {path}. Stop it first, or use another database")]
    Claimed {
        /// The database file.
        path: PathBuf,
    },
    /// There is nothing to work on.
    #[error(
        "there is no database at {path}. Start `m2mint serve` once to make it, or name another with --database"
    )]
    Missing {
        /// The database file.
        path: PathBuf,
    },
}

impl OpenError {
    pub(super) fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Makes the file with mode 0600 where there is none, so that SQLite gives its log the same mode.
/// Answers whether it is new.
///
/// # Errors
/// [`OpenError::Unusable`] when it can neither be made nor opened for writing.
pub fn create_private(path: &Path) -> Result<bool, OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            let kept = file.sync_all().and_then(|()| folder_of(path)?.sync_all());
            kept.map(|()| true).map_err(|error| OpenError::unusable(path, error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map_err(|error| OpenError::unusable(path, error))?;
            Ok(fs::metadata(path).is_ok_and(|meta| meta.len() == 0))
        }
        Err(error) => Err(OpenError::unusable(path, error)),
    }
}

/// The folder of a file: syncing it keeps the names in it.
///
/// # Errors
/// The system's.
pub fn folder_of(path: &Path) -> std::io::Result<File> {
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// How long a server waits for a claim that another process holds: a verb of the command line looks for an instant
/// whether the file is served.
const CLAIM_PATIENCE: Duration = Duration::from_millis(500);

/// Only one process may drive the file's keys: the one that holds this.
#[derive(Debug)]
pub struct Claim(File);

impl Claim {
    /// Claims the file for serving.
    ///
    /// # Errors
    /// [`OpenError::Claimed`] when another process serves it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let given_up = Instant::now() + CLAIM_PATIENCE;
        loop {
            match Self::look(path) {
                Err(OpenError::Claimed { .. }) if Instant::now() < given_up => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }

    /// Claims the file if nobody holds it now.
    ///
    /// # Errors
    /// [`OpenError::Claimed`] when somebody does.
    pub fn look(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(|error| OpenError::unusable(path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::Claimed { path: path.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(OpenError::unusable(path, error)),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing is not enough: a process that was forked while this one held the claim keeps a copy of the
        // descriptor until it executes its program, and the lock would last as long. There is nobody to tell of an error.
        let _ = self.0.unlock();
    }
}

/// Opens the one connection that writes, and brings the schema up to date. It waits for `patience` while another process
/// writes.
///
/// # Errors
/// [`OpenError`], in words for the person who starts the program.
pub fn open_writer(path: &Path, patience: Duration) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let explain = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path: path.to_owned() },
        _ => OpenError::unusable(path, error),
    };
    let mut db =
        Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(explain)?;
    db.busy_timeout(patience).map_err(explain)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(explain)?;
    let application: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(explain)?;
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(explain)?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if usize::try_from(version).map_or(true, |version| version > MIGRATIONS.len()) {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
         PRAGMA cache_size = -2000;",
    )
    .map_err(explain)?;
    db.pragma_update(None, "journal_size_limit", LOG_KEPT).map_err(explain)?;
    migrate(&mut db).map_err(explain)?;
    if let Some(reason) = what_is_foreign(&db).map_err(explain)? {
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    plan_once(&db).map_err(explain)?;
    Ok(db)
}

/// Opens a connection that only reads.
///
/// # Errors
/// [`OpenError`] when the file cannot be opened.
pub fn open_reader(path: &Path, patience: Duration) -> Result<Connection, OpenError> {
    let explain = |error: rusqlite::Error| OpenError::unusable(path, error);
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(explain)?;
    db.busy_timeout(patience).map_err(explain)?;
    db.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -2000;").map_err(explain)?;
    plan_once(&db).map_err(explain)?;
    Ok(db)
}

/// Keeps statements, and how they are carried out: else some are planned anew for each value that they are given, which takes
/// longer than to carry them out.
fn plan_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Tables that Litestream makes in each database that it replicates, to be able to write something.
const OF_LITESTREAM: [&str; 2] = ["_litestream_seq", "_litestream_lock"];

/// How much of the log is kept as a file when everything in it is in the database, in bytes: as much as SQLite gathers in it
/// before it moves that.
const LOG_KEPT: i64 = 4 * 1024 * 1024;

fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// What stands in the file that no migration put there: a trigger or a view that is not m2mint's own could change what is
/// written, and hide it.
///
/// # Errors
/// SQLite's.
pub fn what_is_foreign(db: &Connection) -> rusqlite::Result<Option<String>> {
    const OBJECTS: &str =
        "SELECT type, name, CASE type WHEN 'trigger' THEN sql END FROM sqlite_schema ORDER BY type, name";
    type Object = (String, String, Option<String>);
    let objects = |db: &Connection| -> rusqlite::Result<Vec<Object>> {
        let mut statement = db.prepare(OBJECTS)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    };
    let mut own = Connection::open_in_memory()?;
    migrate(&mut own)?;
    // SQLite's own tables come when they are needed. A table by itself does nothing.
    let is_ours = |(kind, name, _): &Object| {
        let is_litestreams = kind == "table" && OF_LITESTREAM.contains(&name.as_str());
        !(name.starts_with("sqlite_") || is_litestreams)
    };
    let (own, found) = (objects(&own)?, objects(db)?);
    let foreign = found.iter().filter(|one| is_ours(one)).find(|one| !own.contains(one));
    let missing = own.iter().filter(|one| is_ours(one)).find(|one| !found.contains(one));
    Ok(match (foreign, missing) {
        (Some((kind, name, _)), _) => Some(format!("the {kind} {name:?} is not one that m2mint made")),
        (None, Some((kind, name, _))) => Some(format!("the {kind} {name} is missing")),
        (None, None) => None,
    })
}

fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let applied = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0));
    while applied(db)? < MIGRATIONS.len() {
        let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Read again under the lock: another process may have been quicker.
        let version = applied(&transaction)?;
        if let Some(migration) = MIGRATIONS.get(version) {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", version + 1)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_sqlite_that_nobody_uses_are_not_built_in() {
        let db = Connection::open_in_memory().unwrap();
        let mut statement = db.prepare("PRAGMA compile_options").unwrap();
        let options = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let options: Vec<_> = options.map(Result::unwrap).collect();
        assert!(options.iter().any(|option| option == "DEFAULT_FOREIGN_KEYS"), "{options:?}");
        for part in ["FTS", "RTREE", "SOUNDEX", "LOAD_EXTENSION"] {
            assert!(!options.iter().any(|option| option.contains(part)), "{options:?}");
        }
        for query in ["CREATE VIRTUAL TABLE t USING fts5(x)", "SELECT load_extension('x')"] {
            assert!(db.execute_batch(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_statement_is_planned_once_whatever_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m2mint.db");
        create_private(&path).unwrap();
        let writer = open_writer(&path, Duration::ZERO).unwrap();
        for db in [&writer, &open_reader(&path, Duration::ZERO).unwrap()] {
            for client in ["one", "two", "three"] {
                // With one column of a primary key of two.
                let secrets = "SELECT id, kind FROM client_secrets WHERE client_id = ?1 ORDER BY id";
                let mut statement = db.prepare_cached(secrets).unwrap();
                assert!(!statement.exists([client]).unwrap());
                assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
            }
        }
    }

    #[test]
    fn the_admin_key_of_before_there_were_names_stays_and_has_one() {
        let db = Connection::open_in_memory().unwrap();
        let (last, before) = MIGRATIONS[..6].split_last().unwrap();
        before.iter().for_each(|migration| db.execute_batch(migration).unwrap());
        for (hash, created_at) in [([2_u8; 32], 20), ([1; 32], 10)] {
            db.execute("INSERT INTO admin_keys VALUES (?1, ?2)", (hash, created_at)).unwrap();
        }
        db.execute_batch(last).unwrap();
        let kept = crate::store::admin_keys::all(&db).unwrap();
        let seen: Vec<_> =
            kept.iter().map(|key| (key.name.as_str(), key.hash.0[0], key.founding, key.expires_at)).collect();
        assert_eq!(seen, [("first", 1, true, None), ("first-2", 2, true, None)]);
        assert!(kept.iter().all(|key| key.roles == crate::model::Roles::unrestricted()));
    }

    #[test]
    fn a_claim_excludes_every_other_and_ends_when_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m2mint.db");
        create_private(&path).unwrap();
        let claim = Claim::take(&path).unwrap();
        assert!(matches!(Claim::look(&path), Err(OpenError::Claimed { .. })));
        // What a process that was just forked holds.
        let inherited = claim.0.try_clone().unwrap();
        drop(claim);
        drop(Claim::look(&path).unwrap());
        drop(inherited);
    }
}
