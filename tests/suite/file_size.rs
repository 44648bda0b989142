//! The database and its log stay small by themselves, also beside a program that replicates them.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::Process;
use crate::support::token::kid;

const MIB: u64 = 1024 * 1024;

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_file_that_is_mostly_unused_is_made_smaller_at_the_start() {
    let server = Process::start();
    let client = server.client();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let path = directory.path().join("m2mint.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TABLE much (x);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO much SELECT randomblob(1024) FROM n;
         DROP TABLE much;",
    )
    .unwrap();
    drop(file);
    assert!(length(&path) > 16 * MIB);
    let server = Process::again(directory, &[]);
    server.wait_until("it is small", || length(&path) < MIB);
    server.token(&client);
    server.verb(&["audit", "verify"]);
}

/// What Litestream does to a database, as far as others notice: two tables of its own, and a reader that never ends.
struct Replicating {
    _reader: Connection,
}

impl Replicating {
    fn begin(database: &Path) -> Self {
        let file = Connection::open(database).unwrap();
        file.execute_batch(
            "CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER);
             INSERT INTO _litestream_seq (id, seq) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET seq = seq + 1;
             BEGIN; SELECT count(*) FROM _litestream_seq;",
        )
        .unwrap();
        Self { _reader: file }
    }
}

#[test]
fn a_program_that_replicates_the_file_holds_up_nobody() {
    let server =
        Process::with(&[("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_ROTATION__EVERY", "never")]);
    let client = server.client();
    let replicating = Replicating::begin(&server.path("m2mint.db"));
    let signer = server.active_kid("EdDSA");
    server.signal(Signal::USR1);
    server.wait_until("rotated", || server.active_kid("EdDSA") != signer);
    // Each is stored, and answered with a client: none waits for the log to be emptied for longer than a server waits.
    (0..20).for_each(|_| drop(server.client()));
    server.verb(&["backup", "one.db"]);
    drop(replicating);
    server.wait_until("the log is emptied", || length(&server.path("m2mint.db-wal")) == 0);

    // Both tables stay in the file, and in the backup, and bother nobody.
    let directory = Arc::clone(&server.directory);
    server.stop();
    let restore =
        crate::support::process::command(directory.path()).args(["restore", "one.db", "--yes"]).output();
    assert!(restore.unwrap().status.success());
    let server = Process::again(directory, &[]);
    assert_ne!(kid(&server.token(&client)), signer);
}

#[test]
fn nothing_but_tables_goes_by_the_names_of_a_replicating_program() {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let file = Connection::open(directory.path().join("m2mint.db")).unwrap();
    file.execute_batch("CREATE TRIGGER _litestream_seq AFTER DELETE ON clients BEGIN SELECT 1; END;")
        .unwrap();
    drop(file);
    let serve = crate::support::process::run_to_end(&mut crate::support::process::command(directory.path()));
    assert!(String::from_utf8_lossy(&serve.stderr).contains("is not one that m2mint made"));
}
