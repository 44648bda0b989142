//! Whatever is done to the audit log behind the server's back is found.

use m2mint::audit::verify::{Evidence, verify};
use m2mint_keys::audit::{BEGINNING, Hash, Head, link};
use m2mint_keys::jwk::Kid;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::Attested;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::in_process::START;
use crate::support::{Process, Server};

/// A file with a dozen entries and several signed heads, which nobody serves any more.
fn log() -> (Server, Connection) {
    let mut server = Server::start();
    let client = server.task_service();
    for number in 0..6 {
        server.admin(
            "PUT",
            "/recipe/oauth/clients",
            &json!({"clientId": client.id, "clientName": format!("{number}")}),
        );
    }
    server.rotate();
    server.stop();
    let db = Connection::open(server.database()).unwrap();
    (server, db)
}

#[track_caller]
fn first_bad(db: &Connection) -> Option<i64> {
    verify(db, &Evidence::default()).unwrap().err().map(|broken| broken.seq)
}

fn last(db: &Connection) -> i64 {
    db.query_row("SELECT max(seq) FROM audit", [], |row| row.get(0)).unwrap()
}

/// Writes every hash anew, as somebody would who knows how they are made.
fn rehash(db: &Connection) {
    let mut statement = db.prepare("SELECT seq, entry FROM audit ORDER BY seq").unwrap();
    let rows: Vec<(i64, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut hash = BEGINNING;
    for (seq, entry) in rows {
        hash = link(&hash, &entry);
        db.execute("UPDATE audit SET hash = ?2 WHERE seq = ?1", (seq, hash)).unwrap();
    }
}

#[test]
fn an_untouched_log_is_whole() {
    let (_server, db) = log();
    let report = verify(&db, &Evidence::default()).unwrap().unwrap();
    assert_eq!((report.first, report.last), (1, last(&db)));
    assert!(report.last >= 12 && report.heads >= 4, "{report:?}");
    assert_eq!(report.newest.unwrap().0.seq, report.last, "the end of a run is signed");
}

#[test]
fn every_edit_of_an_entry_is_found_where_it_is() {
    let (_server, db) = log();
    for seq in 1..=last(&db) {
        let before: String =
            db.query_row("SELECT entry FROM audit WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
        for edited in
            [before.replace(r#""outcome":"done""#, r#""outcome":"nope""#) + " ", String::new(), "{".into()]
        {
            db.execute("UPDATE audit SET entry = ?2 WHERE seq = ?1", (seq, edited)).unwrap();
            assert_eq!(first_bad(&db), Some(seq));
        }
        db.execute("UPDATE audit SET entry = ?2 WHERE seq = ?1", (seq, before)).unwrap();
        let flipped = "UPDATE audit SET hash = randomblob(32) WHERE seq = ?1";
        let hash: Hash =
            db.query_row("SELECT hash FROM audit WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
        db.execute(flipped, [seq]).unwrap();
        assert_eq!(first_bad(&db), Some(seq));
        db.execute("UPDATE audit SET hash = ?2 WHERE seq = ?1", (seq, hash)).unwrap();
    }
    assert_eq!(first_bad(&db), None);
}

#[test]
fn an_edit_with_every_hash_made_anew_is_found_at_the_next_signed_entry() {
    let (_server, db) = log();
    db.execute("UPDATE audit SET entry = replace(entry, 'api_key 1', 'api_key 2') WHERE seq = 5", [])
        .unwrap();
    rehash(&db);
    let signed: i64 =
        db.query_row("SELECT min(seq) FROM audit_heads WHERE seq >= 5", [], |row| row.get(0)).unwrap();
    assert_eq!(first_bad(&db), Some(signed));
}

#[test]
fn what_was_cut_while_a_server_ran_is_noticed_and_not_signed() {
    let server = Process::start();
    let client = server.client();
    server.wait_until("the server has seen it", || server.log.lock().contains(&client.id));
    let heads = |db: &Connection| {
        db.query_row("SELECT count(*) FROM audit_heads", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let db = Connection::open(server.path("m2mint.db")).unwrap();
    let before = heads(&db);
    db.execute("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", []).unwrap();
    server.wait_until("it is noticed", || server.log.lock().contains("was changed by somebody else"));
    server.verb(&["clients", "create", "--id", "later"]);
    let directory = std::sync::Arc::clone(&server.directory);
    server.stop();
    assert_eq!(heads(&db), before, "the end of a run is signed, but not of this one");
    let again = Process::again(directory, &[]);
    assert_eq!(again.run(&["audit", "verify"]).status.code(), Some(3), "what was noticed is not forgotten");
    assert!(again.verb(&["audit", "--action", "audit.break"]).contains("audit.break"));
}

#[test]
fn a_trigger_that_is_put_in_while_a_server_runs_hides_nothing() {
    let server = Process::start();
    server.client();
    let db = Connection::open(server.path("m2mint.db")).unwrap();
    let quiet = "CREATE TRIGGER quiet AFTER INSERT ON audit WHEN NEW.entry LIKE '%client.%'
                 BEGIN DELETE FROM audit WHERE seq = NEW.seq; END";
    db.execute_batch(quiet).unwrap();
    let made = || server.admin("POST", "/recipe/oauth/clients", &json!({"clientName": "ghost"})).status;
    assert_eq!(made(), 503);
    db.execute_batch("DROP TRIGGER quiet").unwrap();
    assert_eq!(made(), 200);
    server.verb(&["audit", "verify"]);
}

#[test]
fn a_log_that_was_emptied_is_no_new_one() {
    for emptied in [
        "DELETE FROM audit; DELETE FROM audit_heads",
        "DELETE FROM audit; DELETE FROM audit_heads; DELETE FROM audit_keys",
    ] {
        let (_server, db) = log();
        db.execute_batch(emptied).unwrap();
        assert_eq!(first_bad(&db), Some(1), "{emptied}");
    }
}

#[test]
fn every_cut_is_found() {
    let last = last(&log().1);
    for (statement, bad) in [
        ("DELETE FROM audit WHERE seq = 1".to_owned(), 1),
        ("DELETE FROM audit WHERE seq <= 3".to_owned(), 1),
        ("DELETE FROM audit WHERE seq = 5".to_owned(), 5),
        (format!("DELETE FROM audit WHERE seq = {last}"), last),
        (format!("DELETE FROM audit WHERE seq > {}", last - 3), last - 2),
        ("DELETE FROM audit".to_owned(), 1),
        // With its heads, so that nothing seems to be missing.
        ("DELETE FROM audit WHERE seq <= 3; DELETE FROM audit_heads WHERE seq <= 3".to_owned(), 1),
        // Closed up again.
        ("DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5".to_owned(), 5),
    ] {
        let (_server, db) = log();
        db.execute_batch(&statement).unwrap();
        assert_eq!(first_bad(&db), Some(bad), "{statement}");
    }
}

#[test]
fn every_reorder_is_found() {
    let (_server, db) = log();
    db.execute_batch(
        "UPDATE audit SET seq = -1 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6;
         UPDATE audit SET seq = 6 WHERE seq = -1",
    )
    .unwrap();
    assert_eq!(first_bad(&db), Some(5));
    rehash(&db);
    assert_eq!(first_bad(&db), Some(5), "entries know their place");
    let (_server, db) = log();
    db.execute_batch("INSERT INTO audit SELECT max(seq) + 2, hash, entry FROM audit").unwrap();
    assert_eq!(first_bad(&db), Some(last(&db) - 1));
}

#[test]
fn changed_or_missing_heads_are_found() {
    for statement in [
        "UPDATE audit_heads SET jws = replace(jws, substr(jws, -10, 2), 'AA') WHERE id = 2",
        "UPDATE audit_heads SET seq = seq + 1 WHERE id = 2",
        "UPDATE audit_heads SET jws = (SELECT jws FROM audit_heads WHERE id = 1) WHERE id = 2",
        "UPDATE audit_keys SET public = randomblob(32)",
        "DELETE FROM audit_keys",
        "DELETE FROM audit_heads",
    ] {
        let (_server, db) = log();
        db.execute_batch(statement).unwrap();
        assert!(first_bad(&db).is_some(), "{statement}");
    }
}

#[test]
fn a_log_that_was_written_anew_and_signed_with_another_key_is_found_by_the_master_key() {
    let (server, db) = log();
    db.execute("UPDATE audit SET entry = replace(entry, 'api_key 1', 'api_key 2')", []).unwrap();
    rehash(&db);
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let seq = last(&db);
    let hash = db.query_row("SELECT hash FROM audit WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
    let head = Head { first: 1, before: BEGINNING, seq, hash, at: START, attested: Attested::default() };
    db.execute_batch("DELETE FROM audit_heads; DELETE FROM audit_keys").unwrap();
    db.execute("INSERT INTO audit_heads (seq, jws) VALUES (?1, ?2)", (seq, head.sign(&key).unwrap()))
        .unwrap();
    let forged = (key.kid().as_str(), "EdDSA", key.public().bytes());
    db.execute("INSERT INTO audit_keys VALUES (?1, ?2, ?3)", forged).unwrap();
    assert_eq!(first_bad(&db), None, "nothing in the file tells");

    let kid: String = db
        .query_row(
            "SELECT kid FROM signing_keys WHERE promoted_at IS NOT NULL AND sealed IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let proven = [Kid::parse(&kid).unwrap()];
    let evidence = Evidence { proven: Some(&proven), head: None };
    assert_eq!(verify(&db, &evidence).unwrap().unwrap_err().seq, seq);
    drop(db);
    let directory = server.database();
    let output = crate::support::process::command(directory.parent().unwrap())
        .args(["audit", "verify"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_head_that_was_kept_elsewhere_finds_a_cut_tail_and_a_rewritten_log() {
    let server = Process::start();
    server.client();
    let head_before = server.verb(&["audit", "head"]);
    server.verb(&["clients", "create", "--id", "evil", "--scope", "a", "--audience", "b"]);
    let Process { .. } = &server;
    let directory = std::sync::Arc::clone(&server.directory);
    server.stop();
    let run = |arguments: &[&str]| {
        crate::support::process::command(directory.path()).args(arguments).output().unwrap()
    };
    let head = String::from_utf8(run(&["audit", "head"]).stdout).unwrap();
    let code = |head: &str| run(&["audit", "verify", "--json", "--head", head.trim()]).status.code();
    assert_eq!((code(&head_before), code(&head)), (Some(0), Some(0)));

    // Back to where the older head was the newest: nothing in the file itself is missing.
    let db = Connection::open(directory.path().join("m2mint.db")).unwrap();
    let kept: i64 = db.query_row("SELECT min(seq) FROM audit_heads", [], |row| row.get(0)).unwrap();
    db.execute_batch(&format!(
        "DELETE FROM audit WHERE seq > {kept}; DELETE FROM audit_heads WHERE seq > {kept}"
    ))
    .unwrap();
    assert_eq!(run(&["audit", "verify"]).status.code(), Some(0));
    assert_eq!((code(&head_before), code(&head)), (Some(0), Some(3)));
    let report: Value =
        serde_json::from_slice(&run(&["audit", "verify", "--json", "--head", head.trim()]).stdout).unwrap();
    assert_eq!((&report["ok"], &report["seq"]), (&json!(false), &json!(kept + 1)), "{report}");
    assert_eq!(code("not.a.head"), Some(3));
}

#[test]
fn a_server_never_signs_a_log_that_somebody_else_has_changed() {
    let (mut server, db) = log();
    let heads = || db.query_row("SELECT count(*) FROM audit_heads", [], |row| row.get::<_, i64>(0)).unwrap();
    let before = heads();
    db.execute("UPDATE audit SET hash = randomblob(32) WHERE seq = (SELECT max(seq) FROM audit)", [])
        .unwrap();
    server.restart();
    server.pass(2 * 3600);
    server.rotate();
    assert_eq!(heads(), before, "nothing is signed over it");
    assert_eq!(server.token(&server.task_service()).split('.').count(), 3, "and everything else goes on");
    assert!(first_bad(&db).is_some());
}
