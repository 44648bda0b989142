//! Another master key takes the place of the old one, while a server serves and whatever is killed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2mint_keys::jwk::Kid;
use m2mint_keys::seal::MasterKey;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;

use crate::live_rotation::QUICK;
use crate::support::Process;
use crate::support::process::command;

const ROUNDS: u32 = 40;

fn key_in(file: &Path) -> Option<MasterKey> {
    std::fs::read_to_string(file).ok().map(|text| MasterKey::parse(&text).unwrap())
}

/// How many private halves there are, if `key` opens each of them and is the one that the file knows.
fn opened_by(directory: &Path, key: &MasterKey) -> Option<usize> {
    let db = Connection::open(directory.join("m2mint.db")).unwrap();
    let check: Vec<u8> = db.query_row("SELECT master_check FROM issuer", [], |row| row.get(0)).unwrap();
    let mut statement = db.prepare("SELECT kid, sealed FROM signing_keys WHERE sealed IS NOT NULL").unwrap();
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    let opened: Vec<bool> = rows
        .map(|row| row.unwrap())
        .map(|(kid, sealed)| key.open(&Kid::parse(&kid).unwrap(), &sealed).is_ok())
        .collect();
    let all = opened.iter().all(|opened| *opened);
    assert!(
        all == key.passes(&check) && (all || !opened.contains(&true)),
        "sealed under one key: {opened:?}"
    );
    all.then_some(opened.len())
}

fn rotate_signing_key(server: &Process) {
    let active = || server.verb_json(&["keys", "--json"])["keys"][0]["kid"].as_str().unwrap().to_owned();
    let before = active();
    server.signal(Signal::USR1);
    server.wait_until("rotated", || active() != before);
}

#[test]
fn every_private_key_is_sealed_anew_and_the_running_server_goes_on() {
    let server = Process::with(&QUICK);
    let client = server.client();
    let (file, directory) = (server.path("m2mint.db.key"), Arc::clone(&server.directory));
    let old = key_in(&file).unwrap();
    assert_eq!(opened_by(directory.path(), &old), Some(2));
    server.verb(&["backup", "before.db"]);
    let said = server.verb_json(&["master-key", "rotate", "--yes", "--json"]);
    assert_eq!(said["resealed"], 2, "{said}");
    let new = key_in(&file).unwrap();
    assert_eq!((opened_by(directory.path(), &old), opened_by(directory.path(), &new)), (None, Some(2)));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!server.path("m2mint.db.key.new").exists());

    // The server seals the next keys under the new one.
    server.token(&client);
    rotate_signing_key(&server);
    rotate_signing_key(&server);
    assert_eq!(opened_by(directory.path(), &new), Some(2));
    server.wait_until("it says so", || server.log.lock().contains("rotated; the new one is in use"));
    server.token(&client);
    let told = server.verb_json(&["audit", "--json", "--action", "master_key"]);
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    server.stop();
    let server = Process::again(Arc::clone(&directory), &QUICK);
    server.token(&client);
    drop(server);

    // A backup of before opens with the key of before, and with no other.
    std::fs::copy(directory.path().join("before.db"), directory.path().join("m2mint.db")).unwrap();
    for name in ["m2mint.db-wal", "m2mint.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(name));
    }
    let output = command(directory.path()).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("does not open this database"), "{error}");
    let output = command(directory.path()).args(["master-key", "rotate", "--yes"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("does not open this database"), "{error}");
    std::fs::write(&file, &*old.to_text()).unwrap();
    // Keys were rotated since.
    let output = command(directory.path()).args(["keys", "recover", "--yes"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(Process::again(directory, &QUICK));
}

#[test]
fn killed_at_any_point_one_of_two_files_opens_everything() {
    let mut server = Process::with(&QUICK);
    let client = server.client();
    let directory = Arc::clone(&server.directory);
    let (file, new) = (server.path("m2mint.db.key"), server.path("m2mint.db.key.new"));
    let begun = Instant::now();
    server.verb(&["master-key", "rotate", "--yes"]);
    let whole = begun.elapsed().max(Duration::from_millis(10));
    let (mut changed, mut left_over, mut killed) = (0, 0, 0);
    for round in 0..ROUNDS {
        let before = std::fs::read(&file).unwrap();
        let mut verb = command(directory.path());
        let mut verb = verb.args(["master-key", "rotate", "--yes"]).stdout(Stdio::null()).spawn().unwrap();
        // From before the first write to after the last, in no order.
        std::thread::sleep(whole * (round * 7919 % ROUNDS + 5) / ROUNDS);
        let _ = verb.kill();
        killed += u32::from(!verb.wait().unwrap().success());
        let opens = |path: &Path| key_in_part(path).and_then(|key| opened_by(directory.path(), &key));
        assert!(opens(&file).or_else(|| opens(&new)) == Some(2), "round {round}");
        changed += u32::from(std::fs::read(&file).unwrap() != before);
        left_over += u32::from(new.exists());
        server.token(&client);
        if round % 8 == 7 {
            rotate_signing_key(&server);
            assert!(opens(&file).or_else(|| opens(&new)) == Some(2), "round {round}");
        }
        if round % 16 == 15 {
            server.kill();
            server = Process::again(Arc::clone(&directory), &QUICK);
            assert_eq!(opens(&file), Some(2), "the start puts the right key in place");
        }
    }
    println!(
        "{ROUNDS} rounds: {killed} killed, {changed} with another key after, {left_over} with a key left over"
    );
    assert!(killed > 0 && changed > 0, "{killed} killed, {changed} changed");
    server.verb(&["master-key", "rotate", "--yes"]);
    server.verb(&["master-key", "rotate", "--yes"]);
    assert!(!new.exists());
    rotate_signing_key(&server);
    assert_eq!(opened_by(directory.path(), &key_in(&file).unwrap()), Some(2));
    server.verb(&["audit", "verify"]);
}

/// A key in a file that may have been written in part.
fn key_in_part(file: &Path) -> Option<MasterKey> {
    MasterKey::parse(&std::fs::read_to_string(file).ok()?).ok()
}

/// What a kill between the commit and the renaming leaves.
fn interrupted() -> Arc<tempfile::TempDir> {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    let (file, new) = (server.path("m2mint.db.key"), server.path("m2mint.db.key.new"));
    let old = std::fs::read(&file).unwrap();
    server.verb(&["master-key", "rotate", "--yes"]);
    std::fs::rename(&file, &new).unwrap();
    std::fs::write(&file, old).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    server.stop();
    directory
}

#[test]
fn a_rotation_that_was_interrupted_is_finished_by_the_next_start() {
    let directory = interrupted();
    let server = Process::again(Arc::clone(&directory), &[]);
    assert!(!server.path("m2mint.db.key.new").exists());
    assert_eq!(opened_by(directory.path(), &key_in(&server.path("m2mint.db.key")).unwrap()), Some(2));
    server.wait_until("it says so", || server.log.lock().contains("is finished now"));
}

#[test]
fn a_rotation_that_was_interrupted_is_finished_by_the_next_one() {
    let directory = interrupted();
    let path = |name: &str| directory.path().join(name);
    let new = std::fs::read(path("m2mint.db.key.new")).unwrap();
    let output = command(directory.path()).args(["master-key", "rotate", "--yes"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read(path("m2mint.db.key")).unwrap(), new, "finished, and not rotated once more");
    assert!(!path("m2mint.db.key.new").exists());
    drop(Process::again(directory, &[]));
}

#[test]
fn a_key_from_the_environment_is_replaced_by_one_in_a_file() {
    let text = |key: &MasterKey| key.to_text().to_string();
    fn with_key(key: &str) -> Vec<(&str, &str)> {
        [("M2MINT_MASTER_KEY", key)].into_iter().chain(QUICK).collect()
    }
    let (old, new) = (text(&MasterKey::generate().unwrap()), text(&MasterKey::generate().unwrap()));
    let server = Process::with(&with_key(&old));
    let client = server.client();
    let directory = Arc::clone(&server.directory);
    let rotate = |arguments: &[&str]| {
        let all = [&["master-key", "rotate", "--yes"], arguments].concat();
        let output = command(directory.path()).env("M2MINT_MASTER_KEY", &old).args(all).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = rotate(&[]);
    assert!(code == Some(3) && said.contains("--new-key-file"), "{said}");
    std::fs::write(server.path("new"), &new).unwrap();
    std::fs::set_permissions(server.path("new"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, said) = rotate(&["--new-key-file", "new"]);
    assert!(code == Some(1) && said.contains("chmod 600"), "{said}");
    std::fs::set_permissions(server.path("new"), PermissionsExt::from_mode(0o600)).unwrap();
    let (code, said) = rotate(&["--new-key-file", "new"]);
    assert!(code == Some(0) && said.contains("restart"), "{said}");
    assert!(!said.contains(&old) && !said.contains(&new), "{said}");
    assert_eq!(opened_by(directory.path(), &MasterKey::parse(&new).unwrap()), Some(2));
    let (code, said) = rotate(&["--new-key-file", "new"]);
    assert!(code == Some(0) && said.contains("nothing to do"), "{said}");

    // Until it is restarted it issues tokens, and makes no key that nobody could open.
    server.wait_until("it says so", || server.log.lock().contains("give it to the server and restart it"));
    server.token(&client);
    server.admin("PUT", "/recipe/oauth/audiences", &json!({"audience": "billing", "alg": "ES256"}));
    server.signal(Signal::USR1);
    server.wait_until("it cannot", || server.log.lock().contains("cannot be kept up to date"));
    assert_eq!(opened_by(directory.path(), &MasterKey::parse(&new).unwrap()), Some(2));
    server.token(&client);
    server.stop();
    let server = Process::again(Arc::clone(&directory), &with_key(&new));
    server.token(&client);
    // The rotation that was asked for comes now, and so do the keys for the audience.
    server.wait_until("rotated", || server.verb(&["keys"]).contains("retired"));
    assert_eq!(opened_by(directory.path(), &MasterKey::parse(&new).unwrap()), Some(4));
}

#[test]
fn nothing_is_replaced_unless_somebody_means_it() {
    let server = Process::start();
    let before = std::fs::read(server.path("m2mint.db.key")).unwrap();
    assert_eq!(server.run(&["master-key", "rotate"]).status.code(), Some(3));
    assert_eq!(std::fs::read(server.path("m2mint.db.key")).unwrap(), before);
}

#[test]
fn a_key_that_is_kept_elsewhere_by_a_link_is_replaced_there() {
    let server = Process::with(&QUICK);
    let (link, elsewhere) = (server.path("m2mint.db.key"), server.path("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let kept = elsewhere.join("key");
    std::fs::rename(&link, &kept).unwrap();
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    let before = std::fs::read(&kept).unwrap();
    server.verb(&["master-key", "rotate", "--yes"]);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(std::fs::read(&kept).unwrap(), before);
    rotate_signing_key(&server);
}
