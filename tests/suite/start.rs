//! Starting on an empty machine, starting again, refusing to start, stopping.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::process::command;
use crate::support::{ADMIN_KEY, Process, form};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn first_start() -> Process {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut command = command(directory.path());
    command.args(["--listen", "127.0.0.1:0"]);
    Process::spawn(directory, command)
}

#[test]
fn the_first_start_makes_everything_and_shows_the_admin_key_this_once() {
    let server = first_start();
    for name in ["m2mint.db", "m2mint.db-wal", "m2mint.db-shm", "m2mint.db.key"] {
        assert_eq!(mode(&server.path(name)), 0o600, "{name}");
    }
    let key = server
        .greeting
        .lines()
        .find_map(|line| line.trim().strip_prefix("admin key "))
        .unwrap()
        .trim()
        .to_owned();
    assert!(key.starts_with("m2a_"), "{}", server.greeting);
    // The command that is printed works when it is pasted.
    let begin = server.greeting.find("curl").unwrap();
    let pasted = std::process::Command::new("sh").arg("-c").arg(&server.greeting[begin..]).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(made["status"], "OK", "{made}");
    let kids = server.verb_json(&["keys", "--json"]);
    assert_eq!(kids["keys"].as_array().unwrap().len(), 2);
    assert!(!server.log.lock().contains(&key));
    let directory = Arc::clone(&server.directory);
    server.stop();

    let mut again = command(directory.path());
    again.args(["--listen", "127.0.0.1:0"]);
    let server = Process::spawn(directory, again);
    assert!(
        !server.greeting.contains("m2a_") && !server.greeting.contains("admin key"),
        "{}",
        server.greeting
    );
    assert_eq!(server.verb_json(&["keys", "--json"])["keys"], kids["keys"]);
    let answer = crate::support::call(
        "GET",
        &server.endpoint("/recipe/oauth/clients/list"),
        &[("api-key", &key)],
        b"",
    );
    assert_eq!(answer.json()["clients"].as_array().unwrap().len(), 1);
}

/// Starts in a directory and expects it to fail.
#[track_caller]
fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(directory)
        .env("M2MINT_API_KEY", ADMIN_KEY)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

/// A directory in which a server ran once.
fn used() -> Arc<tempfile::TempDir> {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    directory
}

/// The same, whose database somebody changed by hand.
fn changed_by_hand(statements: &str) -> Arc<tempfile::TempDir> {
    let directory = used();
    change_by_hand(directory.path(), statements);
    directory
}

fn change_by_hand(directory: &Path, statements: &str) {
    let db = rusqlite::Connection::open(directory.join("m2mint.db")).unwrap();
    db.execute_batch(statements).unwrap();
    db.close().unwrap();
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let line = refusal(directory.path(), &["--set", &format!("listen={address}")]);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_file_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let line = refusal(directory.path(), &["--database", "/proc/m2mint.db"]);
    assert!(line.contains("/proc/m2mint.db"), "{line}");
    let line = refusal(directory.path(), &["--database", "no/such/folder/m2mint.db"]);
    assert!(line.contains("no/such/folder"), "{line}");
    let line = refusal(directory.path(), &["--database", "."]);
    assert!(line.contains("cannot open"), "{line}");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m2mint.db");
    std::fs::write(&file, "a letter to somebody\n".repeat(100)).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(refusal(directory.path(), &[]).contains("not an SQLite database"));
    assert_eq!(std::fs::read(&file).unwrap(), before);

    std::fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE letters (text TEXT)").unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(refusal(directory.path(), &[]).contains("not one of m2mint's"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let directory = used();
    let file = directory.path().join("m2mint.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(refusal(directory.path(), &[]).contains("newer"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let directory = used();
    let file = directory.path().join("m2mint.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The last page is some table's or index's.
    let page = bytes.len() - 4096;
    bytes[page..page + 100].fill(0x5a);
    std::fs::write(&file, &bytes).unwrap();
    let said = refusal(directory.path(), &[]);
    assert!(said.contains("is damaged") && said.contains("Restore a backup"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_file_that_takes_for_ever_to_read_is_refused() {
    const PAGE: usize = 4096;
    const DEPTH: usize = 12;
    let directory = changed_by_hand(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO clients (id, name, scope, audience, extra, created_at, updated_at)
         SELECT printf('client-%040d', i), 'one of many', 'event.view', 'event', '{}', 1, 1 FROM n",
    );
    let file = directory.path().join("m2mint.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'clients'";
    let root: usize = db.query_row(root, [], |row| row.get(0)).unwrap();
    db.close().unwrap();

    let mut bytes = std::fs::read(&file).unwrap();
    let pages = bytes.len() / PAGE;
    let page = bytes[(root - 1) * PAGE..root * PAGE].to_vec();
    assert_eq!(page[0], 2, "a page that points to others");
    let number = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    // Where it does: once at its end, and at the beginning of each cell.
    let pointers: Vec<usize> =
        std::iter::once(8).chain((0..number(3)).map(|cell| number(12 + 2 * cell))).collect();
    assert!(pointers.len() > 5);
    let pointing_to = |target: &[u8]| {
        let mut page = page.clone();
        pointers.iter().for_each(|at| page[*at..at + 4].copy_from_slice(target));
        page
    };
    let target = |page: usize| u32::try_from(page).unwrap().to_be_bytes();
    for level in 1..=DEPTH {
        let below = if level == DEPTH { page[8..12].to_vec() } else { target(pages + level + 1).to_vec() };
        bytes.extend(pointing_to(&below));
    }
    bytes[(root - 1) * PAGE..root * PAGE].copy_from_slice(&pointing_to(&target(pages + 1)));
    bytes[28..32].copy_from_slice(&target(pages + DEPTH));
    std::fs::write(&file, &bytes).unwrap();

    assert!(refusal(directory.path(), &[]).contains("is damaged"));
}

#[test]
fn a_file_with_a_row_that_belongs_to_nothing_is_refused() {
    for (row, table) in [
        (
            "INSERT INTO client_secrets VALUES ('nobody', 1, 'sha256', zeroblob(32), 1, NULL, NULL, NULL)",
            "client_secrets",
        ),
        ("INSERT INTO grant_uses VALUES ('nobody', 'event', '', NULL, 1)", "grant_uses"),
        ("INSERT INTO service_actions VALUES ('nothing', 'event.view', '')", "service_actions"),
    ] {
        let directory = changed_by_hand(&format!("PRAGMA foreign_keys = OFF; {row}"));
        let said = refusal(directory.path(), &[]);
        let expected = format!("is damaged: a row of {table} belongs to nothing");
        assert!(said.contains(&expected) && said.contains("Restore a backup"), "{said}");
    }
}

/// More clients than one reads alone, with ids before and after those that m2mint makes.
const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
     INSERT INTO clients (id, name, scope, audience, extra, created_at, updated_at)
     SELECT printf('%s-%05d', iif(i % 3, 'a', 't'), i), 'one of many', 'event.view', 'event', '{}', 1, 1 FROM n;";

#[test]
fn many_clients_are_there_after_a_start() {
    let server = Process::start();
    let client = server.client();
    let directory = Arc::clone(&server.directory);
    server.stop();
    change_by_hand(directory.path(), MANY);
    let server = Process::again(directory, &[]);
    server.token(&client);
    let metrics =
        crate::support::call("GET", &server.endpoint("/metrics"), &[("api-key", ADMIN_KEY)], b"").body;
    assert!(metrics.lines().any(|line| line == "m2mint_clients 30001"), "{metrics}");
}

#[test]
fn a_secret_of_nobody_among_many_clients_is_refused() {
    for nobody in ["a-", "nobody", "z"] {
        let directory = changed_by_hand(&format!(
            "PRAGMA foreign_keys = OFF; {MANY}
             INSERT INTO client_secrets VALUES ('{nobody}', 1, 'sha256', zeroblob(32), 1, NULL, NULL, NULL)"
        ));
        let said = refusal(directory.path(), &[]);
        assert!(said.contains("is damaged: a row of client_secrets belongs to nothing"), "{said}");
    }
}

#[test]
fn a_file_with_a_trigger_or_a_view_of_somebody_else_is_refused() {
    for (object, name) in [
        (
            "CREATE TRIGGER quiet AFTER INSERT ON audit BEGIN DELETE FROM audit WHERE seq = NEW.seq; END",
            "quiet",
        ),
        ("ALTER TABLE audit RENAME TO told; CREATE VIEW audit AS SELECT * FROM told WHERE seq < 3", "told"),
        ("DROP TRIGGER client_changed", "client_changed"),
    ] {
        let directory = changed_by_hand(object);
        let said = refusal(directory.path(), &[]);
        assert!(said.contains("is damaged") && said.contains(name), "{said}");
        let verb = command(directory.path()).args(["clients", "create"]).output().unwrap();
        assert!(String::from_utf8_lossy(&verb.stderr).contains(name) && !verb.status.success());
    }
}

#[test]
fn a_wrong_or_missing_or_open_master_key() {
    let directory = used();
    let key = directory.path().join("m2mint.db.key");
    let right = std::fs::read(&key).unwrap();

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(directory.path(), &[]).contains("can be read by others (mode 0644)"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    std::fs::write(&key, "A".repeat(43)).unwrap();
    assert!(refusal(directory.path(), &[]).contains("does not open this database"));
    std::fs::write(&key, "").unwrap();
    assert!(refusal(directory.path(), &[]).contains("not a master key"));
    std::fs::remove_file(&key).unwrap();
    assert!(refusal(directory.path(), &[]).contains("is missing"));
    assert!(!key.exists(), "no new key for an existing database");
    assert!(
        refusal(directory.path(), &["--set", "master_key_file=elsewhere.key"])
            .contains("elsewhere.key is missing")
    );

    std::fs::write(&key, right).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    Process::again(directory, &[]).stop();
}

#[test]
fn another_m2mint_on_the_same_file() {
    let server = Process::start();
    assert!(refusal(server.directory.path(), &[]).contains("another m2mint already serves"));
    let client = server.client();
    server.token(&client);
}

#[test]
fn numbers_that_break_the_rotation_rule() {
    let directory = tempfile::tempdir().unwrap();
    let line = refusal(directory.path(), &["--set", "rotation.every=24h"]);
    assert!(line.contains("24h") && line.contains("25h"), "{line}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_stop_leaves_no_log_and_takes_less_than_five_seconds() {
    let server = Process::start();
    let client = server.client();
    server.token(&client);
    let directory = Arc::clone(&server.directory);
    // Idle connections hold up nobody.
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert!(server.stop() < Duration::from_secs(5));
    drop(idle);
    let mut left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["m2mint.db", "m2mint.db.key", "m2mint.db.key.witness"]);
    assert_eq!(
        rusqlite::Connection::open(directory.path().join("m2mint.db"))
            .unwrap()
            .query_row("SELECT count(*) FROM clients", [], |row| row.get::<_, i64>(0))
            .unwrap(),
        1
    );
}

#[test]
fn a_stop_cuts_off_no_request_that_is_under_way() {
    let server = Process::start();
    let client = server.client();
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let body = form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &client.id),
        ("client_secret", &client.secret),
    ]);
    let (sent, rest) = body.split_at(10);
    let mut slow = TcpStream::connect(&address).unwrap();
    write!(
        slow,
        "POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{sent}",
        body.len()
    )
    .unwrap();
    // Answered after it was begun: so the server has it by now.
    server.token(&client);
    server.signal(Signal::TERM);
    server.wait_until("stopping", || server.log.lock().contains("stopping"));
    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[test]
fn a_locked_file_holds_up_neither_a_request_nor_a_stop() {
    let server = Process::start();
    let mut other = rusqlite::Connection::open(server.path("m2mint.db")).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| server.admin("POST", "/recipe/oauth/clients", &json!({}))))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for answer in answers {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    }
    assert!(server.stop() < Duration::from_secs(5));
    drop(lock);
}

#[test]
fn a_stop_under_load_refuses_cleanly_and_cuts_off_nobody() {
    let server = Process::start();
    let client = server.client();
    let (done, served, cut) =
        (AtomicBool::new(false), AtomicUsize::new(0), parking_lot::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match server.try_token(&client) {
                        Ok(_) => drop(served.fetch_add(1, Ordering::Relaxed)),
                        // Turned away: by a closed port, or in words.
                        Err(error) if error.contains("refused") || error.contains("status: 503") => return,
                        Err(error) => return cut.lock().push(error),
                    }
                }
            });
        }
        server.wait_until("under load", || served.load(Ordering::Relaxed) > 100);
        server.signal(Signal::TERM);
        server.wait_until("stopped", || server.log.lock().contains("stopped after"));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(*cut.lock(), Vec::<String>::new());
}

#[test]
fn two_starts_on_an_empty_directory_agree_on_one_server() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let first = Process::again(Arc::clone(&directory), &[]);
    assert_eq!(json!(first.verb_json(&["keys", "--json"])["keys"].as_array().unwrap().len()), 2);
    refusal(directory.path(), &[]);
    first.stop();
    Process::again(directory, &[]).stop();
}

#[test]
fn a_file_where_the_socket_should_be_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain");
    std::fs::write(&path, "precious").unwrap();
    let listen = format!("unix:{}", path.display());
    let output = command(directory.path())
        .env("M2MINT_LISTEN", &listen)
        .env("M2MINT_ISSUER", "https://auth.example.com/auth")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&listen), "{output:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_admin_key_that_cannot_be_shown_is_kept_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child =
        command(directory.path()).env("M2MINT_LISTEN", "127.0.0.1:0").stdout(full).spawn().unwrap();
    let file = directory.path().join("m2mint.db.admin_key");
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::fs::read_to_string(&file).map_or(0, |key| key.len()) < 54 {
        assert!(std::time::Instant::now() < given_up, "no file");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();
}
