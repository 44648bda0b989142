//! Files of earlier versions, and of later ones.
//!
//! `fixtures/schema-N.sql` is what a server left that knew N migrations: clients, secrets, revoked tokens, rotated keys and
//! a request for another rotation, sealed under `fixtures/master.key`, which opens nothing else.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use m2mint::store::schema;
use rusqlite::Connection;

use crate::power::{self, Disk};
use crate::support::process::{command, run_to_end};
use crate::support::{Client, Process};
use crate::table::{Plan, Row};
use crate::vfs;

const MASTER_KEY: &str = include_str!("fixtures/master.key");
const FIXTURES: [&str; 11] = [
    include_str!("fixtures/schema-1.sql"),
    include_str!("fixtures/schema-2.sql"),
    include_str!("fixtures/schema-3.sql"),
    include_str!("fixtures/schema-4.sql"),
    include_str!("fixtures/schema-5.sql"),
    include_str!("fixtures/schema-6.sql"),
    include_str!("fixtures/schema-7.sql"),
    include_str!("fixtures/schema-8.sql"),
    include_str!("fixtures/schema-9.sql"),
    include_str!("fixtures/schema-10.sql"),
    include_str!("fixtures/schema-11.sql"),
];

/// Makes the file of an earlier version, with its master key, and answers where it is.
fn make(directory: &Path, fixture: &str) -> PathBuf {
    let file = directory.join("m2mint.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    db.execute_batch(fixture).unwrap();
    db.close().unwrap();
    let mut key = std::fs::OpenOptions::new();
    let mut key = key
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(directory.join("m2mint.db.key"))
        .unwrap();
    std::io::Write::write_all(&mut key, MASTER_KEY.as_bytes()).unwrap();
    file
}

fn version(db: &Connection) -> usize {
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// Schema and content, as text.
fn dump(db: &Connection) -> Result<String, rusqlite::Error> {
    let mut text = String::new();
    let mut tables = db.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")?;
    let tables = tables.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for table in tables {
        let (name, sql) = table?;
        text += &format!("{name} {sql}\n");
        if sql.starts_with("CREATE TABLE") {
            let mut rows = db.prepare(&format!("SELECT * FROM {name} ORDER BY 1, 2"))?;
            let columns = rows.column_count();
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    text += &format!("{:?} ", row.get_ref(column)?);
                }
                text.push('\n');
            }
        }
    }
    Ok(text)
}

pub fn a_file_of_each_earlier_schema_is_brought_up_to_date(_: &Plan) -> Vec<Row> {
    let latest = {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m2mint.db");
        schema::create_private(&file).unwrap();
        version(&schema::open_writer(&file, Duration::from_secs(1)).unwrap())
    };
    assert_eq!(latest, FIXTURES.len(), "every schema has its fixture, the newest one too");
    for (number, fixture) in FIXTURES.iter().enumerate() {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let file = make(directory.path(), fixture);
        let published = |db: &Connection| {
            db.prepare("SELECT kid FROM signing_keys WHERE revoked_at IS NULL")
                .unwrap()
                .query_map([], |row| row.get::<_, String>(0))
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        };
        let (found, kids) = {
            let db = Connection::open(&file).unwrap();
            (version(&db), published(&db))
        };
        assert_eq!(found, number + 1);
        let server = Process::again(Arc::clone(&directory), &[]);
        let jwks = server.jwks();
        assert!(!kids.is_empty() && kids.iter().all(|kid| jwks.contains(kid)), "{kids:?} {jwks}");
        for client in 0..3 {
            let (id, secret) = (format!("client-{client}"), format!("a chosen secret, number {client}"));
            server.token(&Client { id, secret });
        }
        assert!(server.verb(&["clients", "show", "made"]).contains("15m"));
        assert!(server.run(&["clients", "show", "removed"]).status.code() == Some(3));
        let requests = || {
            let db = Connection::open(&file).unwrap();
            db.query_row("SELECT count(*) FROM key_requests", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        server.wait_until("the request is met", || requests() == 0);
        server.verb(&["audit", "verify"]);
        assert_eq!(version(&Connection::open(&file).unwrap()), latest);
        server.stop();
    }
    vec![Row::new(
        "files of each schema: opened, brought up to date, clients and keys as they were",
        FIXTURES.len(),
        0,
    )]
}

pub fn an_upgrade_that_is_killed_or_loses_power_is_repeated(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, fixture) in FIXTURES.iter().enumerate().take(FIXTURES.len() - 1) {
        let directory = tempfile::tempdir().unwrap();
        let file = make(directory.path(), fixture);
        let bench = vfs::bench(directory.path());
        let disk = Disk::of(directory.path());
        bench.record();
        let db = schema::open_writer(&file, Duration::from_secs(1)).unwrap();
        let events = bench.stop();
        let expected = dump(&db).unwrap();
        drop(db);
        let outcome = power::replay_with(disk, &events, 1.max(plan.rounds as usize / 100), |place| {
            let db = schema::open_writer(place, Duration::from_secs(1)).map_err(|error| error.to_string())?;
            let found = dump(&db).map_err(|error| error.to_string())?;
            if found == expected { Ok(()) } else { Err("another content".into()) }
        });
        rows.push(power::row(
            &format!("kills and power losses in an upgrade from schema {}: repeated cleanly", number + 1),
            &outcome,
        ));
    }
    rows
}

pub fn a_newer_file_is_refused_untouched(_: &Plan) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let file = make(directory.path(), FIXTURES[FIXTURES.len() - 1]);
    Connection::open(&file).unwrap().pragma_update(None, "user_version", FIXTURES.len() + 1).unwrap();
    let state = || {
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (std::fs::read(&file).unwrap(), names)
    };
    let before = state();
    for verb in [&["--listen", "127.0.0.1:0"][..], &["clients", "create"], &["keys", "rotate"], &["keys"]] {
        let output = run_to_end(command(directory.path()).args(verb));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("newer m2mint"), "{said}");
        assert!(before == state(), "{verb:?} touched it");
    }
    vec![Row::new("a server and verbs on a newer file: refused, the file as it was", 4, 0)]
}
