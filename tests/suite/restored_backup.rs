//! A database that is put back from a backup, while verifiers know of later keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::process::{command, run_to_end};
use crate::support::token::{kid, now, verify};
use crate::support::{ADMIN_KEY, Client, Process};

/// Keys that may be rotated every second, and tokens that outlive the test.
const SETTINGS: [(&str, &str); 2] =
    [("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_ROTATION__EVERY", "never")];

/// A server with a client and a token, and a backup of its database.
struct Story {
    server: Process,
    client: Client,
    /// Signed by the key that was active when the backup was made.
    token: String,
}

impl Story {
    fn begin(settings: &[(&str, &str)]) -> Self {
        let server = Process::with(&[&SETTINGS[..], settings].concat());
        let client = server.client();
        let token = server.token(&client);
        server.verb(&["backup", "backup.db"]);
        Self { server, client, token }
    }

    fn rotate(&self) -> String {
        // The file has the change a moment before the server signs by it.
        let signer = || kid(&self.server.token(&self.client));
        let before = signer();
        self.server.signal(Signal::USR1);
        self.server.wait_until("rotated", || signer() != before);
        self.server.token(&self.client)
    }

    /// Puts the backup in the place of the database.
    fn put_back(self) -> (Arc<TempDir>, Client, String) {
        let directory = Arc::clone(&self.server.directory);
        self.server.stop();
        std::fs::rename(directory.path().join("backup.db"), directory.path().join("m2mint.db")).unwrap();
        (directory, self.client, self.token)
    }
}

/// Starts a server that has to refuse, and answers its one line.
#[track_caller]
fn refusal(directory: &Path, settings: &[(&str, &str)]) -> String {
    let mut serve = command(directory);
    serve.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
    let output = run_to_end(serve.envs(settings.iter().copied()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert_eq!(output.stdout, b"");
    said
}

#[track_caller]
fn recover(directory: &Path) -> String {
    let output = command(directory).args(["keys", "recover", "--yes"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_backup_from_before_a_rotation_signs_nothing_until_somebody_says_so() {
    let story = Story::begin(&[]);
    let later = story.rotate();
    let (directory, client, token) = story.put_back();
    for _ in 0..2 {
        let said = refusal(directory.path(), &SETTINGS);
        assert!(said.contains("put back from a backup") && said.contains("m2mint keys recover"), "{said}");
    }
    // Whoever looks is told, and the master key that opens the latest database stays.
    let run = |verb: &[&str]| run_to_end(command(directory.path()).args(verb));
    let (keys, audit) = (run(&["keys"]), run(&["audit", "verify"]));
    let reseal = run(&["master-key", "rotate", "--yes"]);
    for (output, code) in [(keys, 0), (audit, 3), (reseal, 3)] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("put back from a backup"), "{said}");
    }
    // Without a terminal nobody is asked.
    let unasked = command(directory.path()).args(["keys", "recover"]).output().unwrap();
    assert_eq!(unasked.status.code(), Some(3));
    refusal(directory.path(), &SETTINGS);

    let said = recover(directory.path());
    assert!(said.contains(&kid(&later)), "{said}");
    let server = Process::again(directory, &SETTINGS);
    // The key that signed last signs on: every verifier has it. Tokens of both keys are good.
    assert_eq!(kid(&server.token(&client)), kid(&later));
    let jwks = server.jwks();
    for token in [&token, &later] {
        assert!(verify(token, &jwks, now()).is_ok(), "{jwks}");
    }
    let file = rusqlite::Connection::open(server.path("m2mint.db")).unwrap();
    let query = "SELECT sealed IS NULL FROM signing_keys WHERE kid = ?1";
    assert!(file.query_row(query, [kid(&token)], |row| row.get::<_, bool>(0)).unwrap(), "it may not sign");
    server.verb(&["audit", "verify"]);
    assert!(server.verb(&["audit", "--action", "key.recover"]).contains(&kid(&later)));
    // Nothing is left to be recovered from, and keys rotate as always.
    server.signal(Signal::USR1);
    server.wait_until("rotated", || server.active_kid("EdDSA") != kid(&later));
    let directory = Arc::clone(&server.directory);
    server.stop();
    assert!(recover(directory.path()).contains("nothing to do"));
    drop(Process::again(directory, &SETTINGS));
}

#[test]
fn a_backup_from_before_two_rotations_publishes_what_signed_and_signs_with_a_new_key() {
    let story = Story::begin(&[]);
    let second = story.rotate();
    let third = story.rotate();
    let (directory, client, token) = story.put_back();
    refusal(directory.path(), &SETTINGS);
    recover(directory.path());
    let server = Process::again(directory, &SETTINGS);
    let (jwks, signer) = (server.jwks(), kid(&server.token(&client)));
    assert!(![&token, &second, &third].map(|token| kid(token)).contains(&signer));
    // Of the third key only the lost file had the public half.
    for token in [&token, &second] {
        assert!(verify(token, &jwks, now()).is_ok(), "{jwks}");
    }
    assert!(jwks.contains(&signer));
}

#[test]
fn a_database_that_is_replaced_under_a_running_server_takes_no_change_that_would_be_lost() {
    let story = Story::begin(&[]);
    let (server, database) = (&story.server, story.server.path("m2mint.db"));
    std::fs::rename(server.path("backup.db"), &database).unwrap();
    let answer = server.admin("POST", "/recipe/oauth/clients", &json!({"clientName": "lost"}));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    server.wait_until("the log says so", || server.log.lock().contains("was replaced or removed"));
    server.token(&story.client);
    std::fs::remove_file(&database).unwrap();
    let answer = server.admin("POST", "/recipe/oauth/clients", &json!({"clientName": "lost"}));
    assert_eq!(answer.status, 503);
}

#[test]
fn a_key_that_was_revoked_after_the_backup_stays_out() {
    let story = Story::begin(&[]);
    story.server.verb(&["keys", "revoke", &kid(&story.token), "--yes"]);
    let (directory, client, token) = story.put_back();
    refusal(directory.path(), &SETTINGS);
    recover(directory.path());
    let server = Process::again(directory, &SETTINGS);
    assert!(!server.jwks().contains(&kid(&token)));
    assert_ne!(kid(&server.token(&client)), kid(&token));
    let answer = server.admin("POST", "/recipe/oauth/introspect", &json!({"token": token})).json();
    assert_eq!(answer["active"], false);
}

#[test]
fn a_backup_with_the_same_keys_starts_as_always() {
    let story = Story::begin(&[]);
    let later = story.server.client();
    let (directory, client, token) = story.put_back();
    let server = Process::again(directory, &SETTINGS);
    assert_eq!(kid(&server.token(&client)), kid(&token));
    assert!(server.try_token(&later).is_err());
}

#[test]
fn a_database_that_is_empty_though_it_had_keys_gets_no_others() {
    let story = Story::begin(&[]);
    std::fs::write(story.server.path("backup.db"), b"").unwrap();
    let (directory, ..) = story.put_back();
    let said = refusal(directory.path(), &SETTINGS);
    assert!(said.contains("is empty") && said.contains("to begin anew"), "{said}");
    std::fs::remove_file(directory.path().join("m2mint.db.key.witness")).unwrap();
    drop(Process::again(directory, &SETTINGS));
}

#[test]
fn where_the_master_key_is_no_file_the_witness_lies_beside_the_database() {
    let key = m2mint_keys::seal::MasterKey::generate().unwrap().to_text().to_string();
    let settings = [("M2MINT_MASTER_KEY", &*key)];
    let story = Story::begin(&settings);
    story.rotate();
    assert!(story.server.path("m2mint.db.witness").exists());
    let (directory, ..) = story.put_back();
    let said = refusal(directory.path(), &[&SETTINGS[..], &settings].concat());
    assert!(said.contains("m2mint.db.witness"), "{said}");
}

#[test]
fn a_witness_that_cannot_be_read_is_said() {
    let story = Story::begin(&[]);
    let place = story.server.path("m2mint.db.key.witness");
    let text = std::fs::read_to_string(&place).unwrap();
    assert!(text.contains(&kid(&story.token)) && !text.contains(&story.client.secret));
    let (directory, ..) = story.put_back();
    std::fs::write(&place, &text[..text.len() / 2]).unwrap();
    let said = refusal(directory.path(), &SETTINGS);
    assert!(said.contains("m2mint.db.key.witness cannot be read"), "{said}");
}

#[test]
fn two_databases_may_share_a_master_key() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("key");
    std::fs::write(&path, m2mint_keys::seal::MasterKey::generate().unwrap().to_text().as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = path.display().to_string();
    let settings = [&SETTINGS[..], &[("M2MINT_MASTER_KEY_FILE", &*path)]].concat();
    let (one, other) = (Process::with(&settings), Process::with(&settings));
    for server in [one, other] {
        let before = server.active_kid("EdDSA");
        server.signal(Signal::USR1);
        server.wait_until("rotated", || server.active_kid("EdDSA") != before);
        std::thread::sleep(Duration::from_millis(10));
        let directory = Arc::clone(&server.directory);
        server.stop();
        drop(Process::again(directory, &settings));
    }
}
