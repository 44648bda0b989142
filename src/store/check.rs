//! Whether a file holds together: every table, every index, and that no row belongs to nothing.

use std::hash::BuildHasher;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use crate::store::OpenError;

/// Looks through the whole file for what cannot be. With a million clients it takes one second, or three when clients with
/// neighbouring ids are of different ages.
///
/// # Errors
/// [`OpenError::Damaged`]
pub fn whole(db: &Connection, path: &Path) -> Result<(), OpenError> {
    told(db, path, integrity_check(db), "PRAGMA foreign_key_check")
}

/// The same without looking for secrets that are of no client, which whoever reads all clients meets; and in one second,
/// whatever the ages are.
///
/// # Errors
/// [`OpenError::Damaged`]
pub fn beside_reading(db: &Connection, path: &Path) -> Result<(), OpenError> {
    const ORPHANS: &str = "SELECT orphan.\"table\" FROM sqlite_schema, pragma_foreign_key_check(name) AS orphan \
         WHERE type = 'table' AND name <> 'client_secrets'";
    let found = match holds_together(db) {
        Ok(true) => Ok(WHOLE.to_owned()),
        // What is wrong is told in the words of the check of everything.
        Ok(false) | Err(_) => integrity_check(db),
    };
    told(db, path, found, ORPHANS)
}

/// What SQLite says of what it found nothing wrong with.
const WHOLE: &str = "ok";

fn integrity_check(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

fn told(
    db: &Connection,
    path: &Path,
    found: rusqlite::Result<String>,
    orphans: &str,
) -> Result<(), OpenError> {
    let orphan = || db.query_row(orphans, [], |row| row.get::<_, String>(0)).optional();
    let reason = match found {
        Ok(found) if found == WHOLE => match orphan() {
            Ok(None) => return Ok(()),
            Ok(Some(table)) => format!("a row of {table} belongs to nothing"),
            Err(error) => error.to_string(),
        },
        Ok(found) => found,
        Err(error) => error.to_string(),
    };
    // SQLite may tell in several lines.
    let reason = reason.lines().collect::<Vec<_>>().join("; ");
    Err(OpenError::Damaged { path: path.to_owned(), reason })
}

/// The indexes of clients, each of a number, where there is one, and then of the id.
const INDEXES_OF_CLIENTS: [(&str, &str); 2] =
    [("clients_by_age", "created_at"), ("clients_by_lifetime", "token_lifetime")];

/// Whether `PRAGMA integrity_check` would find nothing. That looks up each client in each index, all over the file; here the
/// indexes of clients are read in order instead. May say no to what that lets pass, never the opposite.
fn holds_together(db: &Connection) -> rusqlite::Result<bool> {
    const OTHER_TABLES: &str = "SELECT name FROM pragma_table_list AS t \
         WHERE schema = 'main' AND type = 'table' AND name <> 'clients' \
         AND (wr OR EXISTS (SELECT * FROM sqlite_schema WHERE type = 'index' AND tbl_name = t.name))";
    const INDEXES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'clients'";
    let snapshot = db.unchecked_transaction()?;
    let is_whole =
        |pragma: &str| snapshot.query_row(pragma, [], |row| Ok(row.get_ref(0)?.as_str()? == WHOLE));
    // Everything but what is in indexes, and the order of tables whose primary key is no number.
    if !is_whole("PRAGMA quick_check(1)")? {
        return Ok(false);
    }
    let tables: Vec<String> =
        snapshot.prepare(OTHER_TABLES)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        if !is_whole(&format!("PRAGMA integrity_check('{table}')"))? {
            return Ok(false);
        }
    }
    let indexes: usize = snapshot.query_row(INDEXES, [], |row| row.get(0))?;
    Ok(indexes == INDEXES_OF_CLIENTS.len() && indexes_of_clients_hold(&snapshot)?)
}

/// Whether the table of clients is in order, and each of its indexes is, and holds what the table does.
fn indexes_of_clients_hold(snapshot: &Connection) -> rusqlite::Result<bool> {
    let hasher = foldhash::quality::RandomState::default();
    let [(_, first), (_, second)] = INDEXES_OF_CLIENTS;
    let mut sums = [Sum::default(); INDEXES_OF_CLIENTS.len()];
    // No index holds both.
    let mut table = snapshot.prepare(&format!("SELECT {first}, {second}, id FROM clients ORDER BY id"))?;
    let mut rows = table.query([])?;
    let mut last = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(2)?.as_bytes()?;
        if id <= last.as_slice() {
            return Ok(false);
        }
        last.clear();
        last.extend_from_slice(id);
        for (column, sum) in sums.iter_mut().enumerate() {
            if let Some(number) = row.get(column)? {
                sum.add(&hasher, number, id);
            }
        }
    }
    for ((index, column), in_table) in INDEXES_OF_CLIENTS.into_iter().zip(sums) {
        let query = format!("SELECT {column}, id FROM clients INDEXED BY {index} WHERE {column} IS NOT NULL");
        let mut entries = snapshot.prepare(&query)?;
        let mut rows = entries.query([])?;
        let (mut sum, mut last) = (Sum::default(), (i64::MIN, Vec::new()));
        while let Some(row) = rows.next()? {
            let (number, id) = (row.get(0)?, row.get_ref(1)?.as_bytes()?);
            if (number, id) < (last.0, last.1.as_slice()) {
                return Ok(false);
            }
            sum.add(&hasher, number, id);
            last.0 = number;
            last.1.clear();
            last.1.extend_from_slice(id);
        }
        if sum != in_table {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same for the same entries in whichever order, and for no others: under a key of the process, which no file knows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    count: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, hasher: &impl BuildHasher, number: i64, id: &[u8]) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hasher.hash_one((number, id)));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::store::schema::{create_private, open_reader, open_writer};

    /// A database in which clients with neighbouring ids are of different ages, after what somebody did to it.
    fn changed_by_hand(statements: &str) -> (tempfile::TempDir, PathBuf, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m2mint.db");
        create_private(&path).unwrap();
        let db = open_writer(&path, Duration::ZERO).unwrap();
        db.execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO clients (id, name, scope, audience, token_lifetime, extra, created_at, updated_at)
             SELECT printf('client-%d', i), 'one', 'event.view', 'event', iif(i % 7, NULL, i % 3), '{{}}', i * 7919 % 1000, 1
             FROM n;
             INSERT INTO revoked_tokens VALUES ('one', 1, 1), ('other', 2, 2);
             {statements}"
        ))
        .unwrap();
        db.close().unwrap();
        let db = open_reader(&path, Duration::ZERO).unwrap();
        (directory, path, db)
    }

    /// Makes a change that an index does not hear of.
    fn behind(index: &str, change: &str) -> String {
        format!(
            "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '{index}';
             PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = '{index}'; PRAGMA writable_schema = RESET;
             {change};
             PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; PRAGMA writable_schema = RESET;"
        )
    }

    /// What both checks say.
    #[track_caller]
    fn damage(db: &Connection, path: &Path) -> String {
        assert!(!holds_together(db).unwrap());
        let beside = beside_reading(db, path).unwrap_err().to_string();
        assert_eq!(beside, whole(db, path).unwrap_err().to_string());
        beside
    }

    #[test]
    fn an_index_that_does_not_hold_what_its_table_does_is_damage() {
        for (index, change) in [
            ("clients_by_age", "UPDATE clients SET created_at = created_at + 1 WHERE id = 'client-500'"),
            // Two exchange what they have.
            (
                "clients_by_age",
                "UPDATE clients SET created_at = iif(created_at = 7, 8, 7) WHERE created_at IN (7, 8)",
            ),
            ("clients_by_age", "DELETE FROM clients WHERE id = 'client-9'"),
            (
                "clients_by_age",
                "INSERT INTO clients (id, name, scope, audience, extra, created_at, updated_at) VALUES ('x', '', '', '', '', 5, 5)",
            ),
            ("clients_by_lifetime", "UPDATE clients SET token_lifetime = 9 WHERE id = 'client-7'"),
            ("clients_by_lifetime", "UPDATE clients SET token_lifetime = 1 WHERE id = 'client-8'"),
            ("revoked_tokens_by_expiry", "UPDATE revoked_tokens SET expires_at = 3 WHERE jti = 'one'"),
        ] {
            let (_directory, path, db) = changed_by_hand(&behind(index, change));
            let said = damage(&db, &path);
            assert!(said.contains(index), "{change}: {said}");
        }
    }

    #[test]
    fn a_table_or_an_index_that_is_out_of_order_is_damage() {
        for name in ["clients", "clients_by_age", "client_secrets"] {
            let (_directory, path, db) = changed_by_hand(
                "DELETE FROM clients WHERE created_at > 5;
                 INSERT INTO client_secrets (client_id, id, kind, hash, created_at)
                 SELECT id, 1, 'sha256', zeroblob(32), 1 FROM clients",
            );
            let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
            let root: usize = db.query_row(root, [name], |row| row.get(0)).unwrap();
            db.close().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let page = &mut bytes[(root - 1) * 4096..];
            assert_eq!(page[0], 10, "a page that points to no others");
            // Where the first two entries are.
            page[8..12].rotate_left(2);
            fs::write(&path, &bytes).unwrap();
            let db = open_reader(&path, Duration::ZERO).unwrap();
            let said = damage(&db, &path);
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn what_is_whole_is_found_whole_without_the_check_of_everything() {
        let (_directory, path, db) = changed_by_hand("");
        assert!(holds_together(&db).unwrap());
        beside_reading(&db, &path).unwrap();
        whole(&db, &path).unwrap();
    }
}
