//! Backups: made by hand and by the server, read again, and put back.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::http::{admin, get};
use crate::support::process::{command, run_to_end};
use crate::support::token::{kid, now, verify};
use crate::support::{Process, Server};

/// Keys that may be rotated every second.
const SETTINGS: [(&str, &str); 2] =
    [("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_ROTATION__EVERY", "never")];

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Backups that have their name.
fn whole(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.ends_with(".db")).collect()
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    run_to_end(command(directory).args(arguments))
}

/// Runs a verb that has to fail with this code, and answers what it says.
#[track_caller]
fn refused(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(directory, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[track_caller]
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_backup_is_private_and_was_opened_again_before_it_got_its_name() {
    let server = Process::start();
    server.client();
    let told = server.verb_json(&["backup", "one.db", "--json"]);
    assert_eq!(
        (&told["clients"], &told["privateKeys"], &told["openedByMasterKey"]),
        (&1.into(), &2.into(), &true.into())
    );
    assert_eq!(mode(&server.path("one.db")), 0o600);
    assert_eq!(told["bytes"], std::fs::metadata(server.path("one.db")).unwrap().len());
    assert!(refused(server.directory.path(), &["backup", "one.db"], 3).contains("exists already"));
    assert!(!names(server.directory.path()).iter().any(|name| name.contains("partial")));
}

#[test]
fn a_copy_whose_private_keys_do_not_open_is_no_backup() {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let file = rusqlite::Connection::open(directory.path().join("m2mint.db")).unwrap();
    file.execute("UPDATE signing_keys SET sealed = zeroblob(length(sealed)) WHERE promoted_at IS NULL", [])
        .unwrap();
    drop(file);
    let before = names(directory.path());
    let said = refused(directory.path(), &["backup", "one.db"], 1);
    assert!(said.contains("the master key does not open the signing key"), "{said}");
    assert_eq!(names(directory.path()), before);
}

#[test]
fn a_backup_goes_out_by_standard_output_and_comes_back_by_standard_input() {
    let server = Process::start();
    let client = server.client();
    let before = names(server.directory.path());
    let output = server.run(&["backup", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.starts_with(b"SQLite format 3\0"));
    assert_eq!(names(server.directory.path()), before);
    assert_eq!(server.run(&["backup", "-", "--json"]).status.code(), Some(2));

    let directory = Arc::clone(&server.directory);
    server.stop();
    std::fs::remove_file(directory.path().join("m2mint.db")).unwrap();
    let mut restore = command(directory.path());
    restore.args(["restore", "-", "--yes"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = restore.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    assert!(child.wait().unwrap().success());
    let server = Process::again(directory, &[]);
    server.token(&client);
}

#[test]
fn nothing_is_put_back_under_a_running_server() {
    let server = Process::start();
    server.verb(&["backup", "one.db"]);
    let client = server.client();
    let before = std::fs::read(server.path("m2mint.db")).unwrap();
    let said = refused(server.directory.path(), &["restore", "one.db", "--yes"], 3);
    assert!(said.contains("already serves"), "{said}");
    assert_eq!(std::fs::read(server.path("m2mint.db")).unwrap(), before);
    server.token(&client);
}

#[test]
fn a_restore_asks_and_keeps_what_was_there_before() {
    let server = Process::start();
    let client = server.client();
    server.verb(&["backup", "one.db"]);
    server.verb(&["clients", "remove", &client.id, "--yes"]);
    let later = server.client();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let before = names(directory.path());
    let said = refused(directory.path(), &["restore", "one.db"], 3);
    assert!(said.contains("--yes") && said.contains("is undone"), "{said}");
    assert_eq!(names(directory.path()), before);

    let told: Value =
        serde_json::from_str(&done(directory.path(), &["restore", "one.db", "--yes", "--json"])).unwrap();
    let kept = PathBuf::from(told["kept"].as_str().unwrap());
    assert_eq!(
        (mode(&directory.path().join(&kept)), mode(&directory.path().join("m2mint.db"))),
        (0o600, 0o600)
    );
    let listed = done(directory.path(), &["clients", "list", "--database", kept.to_str().unwrap()]);
    assert!(listed.contains(&later.id), "{listed}");

    let server = Process::again(directory, &[]);
    server.token(&client);
    assert!(server.try_token(&later).is_err());
    assert!(server.verb(&["audit"]).contains("database.restore"));
    server.verb(&["audit", "verify"]);
}

#[test]
fn a_database_that_is_a_link_stays_one() {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let (link, volume) = (directory.path().join("m2mint.db"), directory.path().join("volume"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::rename(&link, volume.join("real.db")).unwrap();
    std::os::unix::fs::symlink(volume.join("real.db"), &link).unwrap();
    done(directory.path(), &["backup", "one.db"]);
    done(directory.path(), &["restore", "one.db", "--yes"]);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let kept = names(&volume);
    assert!(kept.iter().any(|name| name.starts_with("real.db.before-restore-")), "{kept:?}");
    assert!(done(directory.path(), &["audit"]).contains("database.restore"));
}

#[test]
fn a_backup_from_before_a_rotation_is_put_back_by_who_accepts_what_that_means() {
    let server = Process::with(&SETTINGS);
    let client = server.client();
    let token = server.token(&client);
    server.verb(&["backup", "one.db"]);
    server.signal(Signal::USR1);
    server.wait_until("rotated", || kid(&server.token(&client)) != kid(&token));
    let later = server.token(&client);
    let directory = Arc::clone(&server.directory);
    server.stop();
    let before = names(directory.path());
    let said = refused(directory.path(), &["restore", "one.db", "--yes"], 3);
    assert!(said.contains("from before a change of keys") && said.contains("--accept-older-keys"), "{said}");
    assert_eq!(names(directory.path()), before);
    drop(Process::again(Arc::clone(&directory), &SETTINGS));

    let said = done(directory.path(), &["restore", "one.db", "--yes", "--accept-older-keys"]);
    assert!(said.contains(&format!("{} signs when the server starts", kid(&later))), "{said}");
    // Nothing is left for `keys recover`: the server starts.
    let server = Process::again(directory, &SETTINGS);
    assert_eq!(kid(&server.token(&client)), kid(&later));
    let jwks = server.jwks();
    for token in [&token, &later] {
        assert!(verify(token, &jwks, now()).is_ok(), "{jwks}");
    }
}

#[test]
fn what_is_no_good_backup_changes_nothing() {
    let server = Process::start();
    let client = server.client();
    server.verb(&["backup", "good.db"]);
    let other = Process::start();
    other.verb(&["backup", "other.db"]);
    std::fs::copy(other.path("other.db"), server.path("other.db")).unwrap();
    let directory = Arc::clone(&server.directory);
    let path = |name: &str| directory.path().join(name);
    server.stop();
    std::fs::write(path("text.db"), "this is no database, whatever its name says").unwrap();
    let good = std::fs::read(path("good.db")).unwrap();
    std::fs::write(path("half.db"), &good[..good.len() / 2]).unwrap();
    std::fs::write(path("empty.db"), b"").unwrap();
    let before = names(directory.path());
    for (name, reason) in [
        ("text.db", "is not an SQLite database"),
        ("half.db", ""),
        ("empty.db", "holds no signing keys"),
        ("other.db", "master key"),
        ("none.db", "none.db cannot be read"),
    ] {
        let said = refused(directory.path(), &["restore", name, "--yes"], 1);
        assert!(said.contains(reason), "{name}: {said}");
        assert_eq!(names(directory.path()), before, "{name}");
    }
    assert!(refused(directory.path(), &["restore", "m2mint.db", "--yes"], 3).contains("the database itself"));
    Process::again(Arc::clone(&directory), &[]).token(&client);
}

#[test]
fn a_database_that_is_damaged_is_replaced_and_kept_as_it_is() {
    let server = Process::start();
    let client = server.client();
    server.verb(&["backup", "one.db"]);
    let directory = Arc::clone(&server.directory);
    server.kill();
    let database = directory.path().join("m2mint.db");
    let damaged = vec![0x5a; 8192];
    std::fs::write(&database, &damaged).unwrap();
    let told: Value =
        serde_json::from_str(&done(directory.path(), &["restore", "one.db", "--yes", "--json"])).unwrap();
    let kept = told["kept"].as_str().unwrap();
    assert_eq!(std::fs::read(directory.path().join(kept)).unwrap(), damaged);
    // A log that is the other file's would be taken for that of the new one.
    assert!(!directory.path().join("m2mint.db-wal").exists());
    Process::again(directory, &[]).token(&client);
}

#[test]
fn a_server_makes_backups_after_each_change_of_keys_and_keeps_the_newest() {
    let server = Process::with(&[
        SETTINGS[0],
        SETTINGS[1],
        ("M2MINT_BACKUP__EVERY", "1d"),
        ("M2MINT_BACKUP__KEEP", "1"),
    ]);
    let client = server.client();
    let folder = server.path("backups");
    server.wait_until("a backup is made at the start", || whole(&folder).len() == 1);
    let first = whole(&folder);
    assert_eq!((mode(&folder), mode(&folder.join(&first[0]))), (0o700, 0o600));
    let signer = server.active_kid("EdDSA");
    server.signal(Signal::USR1);
    server.wait_until("rotated", || server.active_kid("EdDSA") != signer);
    let mut newest = first.clone();
    server.wait_until("the keys are in a backup, the only one", || {
        newest = whole(&folder);
        newest.len() == 1 && newest != first
    });
    let newest = newest.remove(0);
    let metrics = || admin("GET", &server.endpoint("/metrics"), "").body;
    server.wait_until("both are counted", || metrics().contains("m2mint_backups_total{outcome=\"made\"} 2"));
    assert!(metrics().contains("m2mint_backups_total{outcome=\"failed\"} 0"));
    assert!(metrics().contains("m2mint_backup_age_seconds "));
    // Put back, it is behind nothing.
    let signer = server.active_kid("EdDSA");
    let directory = Arc::clone(&server.directory);
    server.stop();
    done(directory.path(), &["restore", &format!("backups/{newest}"), "--yes"]);
    let server = Process::again(directory, &SETTINGS);
    assert_eq!(kid(&server.token(&client)), signer);
}

#[test]
fn backups_are_made_when_their_time_has_passed_and_not_because_a_server_starts() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let mut server = Server::with(&[("backup.every", "1d"), ("backup.directory", &place)]);
    let count = || whole(folder.path()).len();
    wait_until(|| count() == 1);
    server.restart();
    server.pass(86_400 - 60);
    // Long enough for two looks.
    let metrics = || admin("GET", &server.endpoint("/metrics"), "").body;
    wait_until(|| metrics().contains("m2mint_backup_age_seconds 86340"));
    assert_eq!(count(), 1);
    server.pass(60);
    wait_until(|| count() == 2);
}

#[test]
fn a_backup_that_fails_is_told_and_the_server_stays_ready() {
    let server =
        Process::with(&[("M2MINT_BACKUP__EVERY", "1h"), ("M2MINT_BACKUP__DIRECTORY", "/proc/nowhere")]);
    let failed = || {
        let metrics = admin("GET", &server.endpoint("/metrics"), "").body;
        metrics.contains("m2mint_backups_total{outcome=\"failed\"} 1")
    };
    server.wait_until("it is counted", failed);
    server.wait_until("the log says so", || server.log.lock().contains("no backup could be made"));
    assert_eq!(get(&server.endpoint("/health/ready")).status, 200);
}

#[test]
fn by_default_a_server_makes_none() {
    let server = Process::start();
    let metrics = admin("GET", &server.endpoint("/metrics"), "").body;
    assert!(metrics.contains("m2mint_backups_total{outcome=\"made\"} 0"), "{metrics}");
    let directory = Arc::clone(&server.directory);
    server.stop();
    assert!(!directory.path().join("backups").exists());
}

/// Waits until something is so that another thread does.
#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let given_up = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < given_up, "it did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
