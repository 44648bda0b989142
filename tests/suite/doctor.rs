//! `m2mint doctor`: what is wrong is found, and what it says mends it.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::tls::TlsServer;
use crate::support::{Process, process};

/// Runs it where a server works, or worked.
fn examine(directory: &Path, more: &[&str]) -> (Output, Value) {
    let output = process::command(directory).args(["doctor", "--json"]).args(more).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, json)
}

/// Runs it on the file of a running server, as its configuration would say where that listens.
fn look(server: &Process, more: &[&str]) -> Value {
    let listen = server.url.strip_prefix("http://").unwrap();
    examine(server.directory.path(), &[&["--listen", listen], more].concat()).1
}

/// What a check found, other than that all is well: level, what, fix.
fn troubles(json: &Value, check: &str) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = json["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    let findings: Vec<_> = findings.collect();
    assert!(!findings.is_empty(), "{check}: {json}");
    let bad =
        findings.into_iter().filter(|finding| finding["level"] == "warning" || finding["level"] == "failure");
    bad.map(|finding| (text(&finding["level"]), text(&finding["what"]), text(&finding["fix"]))).collect()
}

#[track_caller]
fn only(json: &Value, check: &str, level: &str, told: &str) -> String {
    let found = troubles(json, check);
    let [(is, what, fix)] = &*found else { panic!("{check}: {found:?}") };
    assert!(is == level && what.contains(told), "{check}: {is}: {what}");
    fix.clone()
}

#[track_caller]
fn none(json: &Value, check: &str) {
    assert_eq!(troubles(json, check), [], "{check}");
}

/// Does what a finding says, as it is printed.
fn mend(directory: &Path, fix: &str) {
    let fix = fix.replace("m2mint ", &format!("{} ", env!("CARGO_BIN_EXE_m2mint")));
    let mut shell = Command::new("sh");
    let output = shell.current_dir(directory).args(["-c", &fix]).output().unwrap();
    assert!(output.status.success(), "{fix}: {output:?}");
}

#[test]
fn a_server_that_is_well_has_nothing_wrong_with_it() {
    let server = Process::start();
    server.client();
    let found = look(&server, &[]);
    for check in [
        "configuration",
        "exposure",
        "database",
        "master key",
        "permissions",
        "write-ahead log",
        "server",
        "issuer",
        "certificate",
        "rotation",
        "audit log",
        "expiry",
    ] {
        none(&found, check);
    }
    let told = process::command(server.directory.path()).args(["doctor", "--offline"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.lines().any(|line| line.starts_with("ok       audit log")), "{told}");
    assert!(told.contains("skipped  issuer           --offline"), "{told}");
}

#[test]
fn the_exit_code_tells_a_failure_from_what_needs_a_look() {
    let server = Process::start();
    server.verb(&["admin-keys", "add", "deploy", "--role", "read", "--expires", "3d"]);
    let listen = server.url.strip_prefix("http://").unwrap();
    let (output, json) = examine(server.directory.path(), &["--listen", listen]);
    // What the machine's own clock and units are like is not this test's.
    let others = ["clock", "systemd", "disk space"].iter().any(|check| !troubles(&json, check).is_empty());
    assert!(others || output.status.code() == Some(3), "{json}");
    assert!(others || json["status"] == "warning", "{json}");
    let (output, json) =
        examine(server.directory.path(), &["--listen", listen, "--set", "trusted_proxies=0.0.0.0/0"]);
    assert_eq!((output.status.code(), &json["status"]), (Some(1), &json!("failure")));
    only(&json, "exposure", "failure", "X-Forwarded-For");
    let (output, json) = examine(server.directory.path(), &["--set", "rotation.propagation=soon"]);
    assert_eq!(output.status.code(), Some(1));
    only(&json, "configuration", "failure", "rotation.propagation = soon");
}

#[test]
fn files_that_others_can_read_or_change_are_found_and_the_fix_mends_it() {
    let server = Process::start();
    fs::write(server.path("m2mint.toml"), "api_key = \"a-key-that-stands-in-a-file\"\n").unwrap();
    let spoil = |name: &str, mode: u32, told: &str| {
        fs::set_permissions(server.path(name), Permissions::from_mode(mode)).unwrap();
        let fix = only(&look(&server, &[]), "permissions", "failure", told);
        mend(server.directory.path(), &fix);
        none(&look(&server, &[]), "permissions");
    };
    fs::set_permissions(server.path("m2mint.toml"), Permissions::from_mode(0o640)).unwrap();
    spoil("m2mint.toml", 0o644, "m2mint.toml can be read by others (mode 0644)");
    spoil("m2mint.toml", 0o660, "m2mint.toml can be changed by others (mode 0660)");
    spoil("m2mint.db.key.witness", 0o666, "witness can be changed by others");
    spoil(".", 0o777, "can replace the database");
    // SQLite gives its log the mode of the database.
    fs::set_permissions(server.path("m2mint.db"), Permissions::from_mode(0o640)).unwrap();
    let found = troubles(&look(&server, &[]), "permissions");
    assert!(
        found.iter().any(|(_, what, _)| what.starts_with("m2mint.db can be read by others (mode 0640)")),
        "{found:?}"
    );
    found.iter().for_each(|(_, _, fix)| mend(server.directory.path(), fix));
    none(&look(&server, &[]), "permissions");
    fs::set_permissions(server.path("m2mint.db.key"), Permissions::from_mode(0o644)).unwrap();
    let found = look(&server, &[]);
    only(&found, "master key", "failure", "can be read by others");
    mend(server.directory.path(), &only(&found, "permissions", "failure", "m2mint.db.key"));
    none(&look(&server, &[]), "master key");
    fs::write(server.path("m2mint.db.admin_key"), "").unwrap();
    only(&look(&server, &[]), "permissions", "warning", "admin key of the first start");
}

#[test]
fn a_server_that_does_not_run_is_missed() {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let (output, json) = examine(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    only(&json, "server", "failure", "no server works on the database");
    none(&json, "issuer");
    let nowhere = tempfile::tempdir().unwrap();
    only(&examine(nowhere.path(), &[]).1, "database", "failure", "there is no database");
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0, "nothing is made");
}

/// A proxy that keeps what it is told to, instead of asking the server behind it.
fn proxy(documents: impl Fn(&str, &str) -> String + Send + 'static) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, own) = (Arc::new(AtomicBool::new(false)), url.clone());
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let mut stream = stream.unwrap();
            let mut head = [0; 2048];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let body = documents(&own, head.split(' ').nth(1).unwrap_or_default());
            // Whoever hangs up early has asked enough.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (url, stop)
}

fn end((url, stop): (String, Arc<AtomicBool>)) {
    stop.store(true, Ordering::Relaxed);
    let _ = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap());
}

#[test]
fn the_issuer_is_asked_through_whatever_stands_before_it() {
    let server = Process::start();
    let old = server.jwks();
    server.verb(&["keys", "rotate"]);
    server.wait_until("rotated", || server.jwks() != old);
    let discovery = |own: &str| json!({"issuer": own, "jwks_uri": format!("{own}/jwks.json")}).to_string();

    let kept = old.clone();
    let stale = proxy(move |own, path| if path == "/jwks.json" { kept.clone() } else { discovery(own) });
    let found = look(&server, &["--issuer", &stale.0]);
    let troubles = troubles(&found, "issuer");
    assert!(
        troubles.iter().any(|(level, what, _)| level == "failure" && what.contains("lacks the standby key")),
        "{troubles:?}"
    );
    assert!(
        troubles
            .iter()
            .any(|(level, what, _)| level == "warning" && what.contains("clock of whoever answers")),
        "{troubles:?}"
    );
    end(stale);

    let stranger = proxy(|_, _| json!({"issuer": "https://auth.example"}).to_string());
    only(
        &look(&server, &["--issuer", &stranger.0]),
        "issuer",
        "failure",
        "another issuer, \"https://auth.example\"",
    );
    end(stranger);

    only(&look(&server, &["--issuer", &server.endpoint("/elsewhere")]), "issuer", "failure", "status 404");
    only(&look(&server, &["--issuer", "http://127.0.0.1:1"]), "issuer", "failure", "cannot be asked");
    let elsewhere = examine(server.directory.path(), &["--listen", "127.0.0.1:1"]).1;
    only(&elsewhere, "server", "failure", "cannot be asked");
}

#[test]
fn keys_that_should_not_be_served_are_found_and_those_of_another_issuer_are_not() {
    let server = Process::start();
    let old: Value = serde_json::from_str(&server.jwks()).unwrap();
    let active = server.active_kid("EdDSA");
    server.verb(&["keys", "revoke", &active, "--yes"]);
    server.wait_until("it is out", || !server.jwks().contains(&active));
    let mut set: Value = serde_json::from_str(&server.jwks()).unwrap();
    let revoked = old["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *active).unwrap();
    set["keys"].as_array_mut().unwrap().push(revoked.clone());
    let kept = set.to_string();
    let stale = proxy(move |own, path| match path {
        "/jwks.json" => kept.clone(),
        _ => json!({"issuer": own, "jwks_uri": format!("{own}/jwks.json")}).to_string(),
    });
    let found = troubles(&look(&server, &["--issuer", &stale.0]), "issuer");
    assert!(
        found.iter().any(|(level, what, _)| level == "failure" && what.contains("which is revoked")),
        "{found:?}"
    );
    end(stale);

    // Of another issuer, and published beside ours on purpose.
    fs::write(server.path("others.json"), old.to_string()).unwrap();
    let others = server.path("others.json").display().to_string();
    let until = "2099-01-01T00:00:00Z";
    let beside = Process::with(&[("M2MINT_JWKS__ALSO", &others), ("M2MINT_JWKS__ALSO_UNTIL", until)]);
    assert!(beside.jwks().contains(&active));
    only(&look(&beside, &[]), "issuer", "warning", "has a key that the database does not publish");
    let said = [format!("jwks.also={others}"), format!("jwks.also_until={until}")];
    none(&look(&beside, &["--set", &said[0], "--set", &said[1]]), "issuer");
}

#[test]
fn certificates_are_looked_at_where_they_lie_and_where_they_are_shown() {
    let server = TlsServer::with(&[]);
    let issuer = format!("https://localhost:{}/auth", server.address().rsplit(':').next().unwrap());
    let tls = ["--set", "tls.certificate=tls.crt", "--set", "tls.private_key=tls.key", "--ca", "ca.pem"];
    let examine = |issuer: &str| {
        let listen = server.address();
        examine(
            server.process.directory.path(),
            &[&tls[..], &["--listen", &listen, "--issuer", issuer]].concat(),
        )
        .1
    };
    // It calls itself by its address.
    let own = format!("https://{}/auth", server.address());
    let found = examine(&own);
    none(&found, "certificate");
    only(&found, "issuer", "warning", "reaches the admin API too");
    only(&examine(&issuer), "issuer", "failure", "another issuer");

    server.authority.pair_until(2021).write(server.process.directory.path());
    let shown = server.certificate();
    server.process.wait_until("the new certificate is in use", || {
        server.connect().map_or(true, |connection| connection.certificate() != shown)
    });
    let found = examine(&own);
    let troubles = troubles(&found, "certificate");
    assert_eq!(troubles.len(), 2, "in the file, and over the network: {troubles:?}");
    assert!(
        troubles.iter().all(|(level, what, _)| level == "failure" && what.contains("expired at 2021-01-01")),
        "{troubles:?}"
    );
    only(&found, "issuer", "failure", "certificate");
}

#[test]
fn what_the_database_holds_is_looked_through() {
    let server = Process::with(&[("M2MINT_ROTATION__PROPAGATION", "1s")]);
    let directory = Arc::clone(&server.directory);
    server.verb(&["backup", "backup.db"]);
    server.verb(&["keys", "rotate"]);
    server.wait_until("rotated", || server.verb(&["keys"]).contains("retired"));
    server.stop();
    let path = |name: &str| directory.path().join(name);
    let examined = || examine(directory.path(), &[]).1;
    none(&examined(), "audit log");

    fs::copy(path("m2mint.db"), path("latest.db")).unwrap();
    fs::copy(path("backup.db"), path("m2mint.db")).unwrap();
    let fix = only(&examined(), "audit log", "failure", "put back from a backup");
    mend(directory.path(), &format!("{fix} --yes"));
    none(&examined(), "audit log");

    let master = fs::read(path("m2mint.db.key")).unwrap();
    fs::write(path("m2mint.db.key"), "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=").unwrap();
    only(&examined(), "master key", "failure", "does not open the keys");
    fs::write(path("m2mint.db.key"), master).unwrap();

    let db = Connection::open(path("m2mint.db")).unwrap();
    db.execute(
        "UPDATE signing_keys SET promoted_at = promoted_at + 9000000000 WHERE promoted_at IS NOT NULL",
        [],
    )
    .unwrap();
    drop(db);
    let found = troubles(&examined(), "clock");
    assert!(
        found
            .iter()
            .any(|(level, what, _)| level == "failure" && what.contains("before the signing key was one")),
        "{found:?}"
    );
}

#[test]
fn a_damaged_log_and_a_damaged_file_are_found() {
    let server = Process::start();
    server.client();
    let directory = Arc::clone(&server.directory);
    server.stop();
    let path = directory.path().join("m2mint.db");
    Connection::open(&path).unwrap().execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
    only(&examine(directory.path(), &[]).1, "audit log", "failure", "broken at entry 2");
    fs::write(&path, "nothing").unwrap();
    only(&examine(directory.path(), &[]).1, "database", "failure", "not an SQLite database");
}

#[test]
fn a_clock_that_was_set_is_remembered() {
    let server = Process::start();
    let directory = Arc::clone(&server.directory);
    server.stop();
    // As if it had said an hour less when the server last looked.
    let db = Connection::open(directory.path().join("m2mint.db")).unwrap();
    db.execute("UPDATE issuer SET clock_wall = clock_wall - 3600000", []).unwrap();
    drop(db);
    let server = Process::again(directory, &[]);
    server.wait_until("it is told", || {
        let found = troubles(&look(&server, &[]), "clock");
        found.iter().any(|(level, what, _)| level == "warning" && what.contains("it was set ahead by"))
    });
}

#[test]
fn what_expires_soon_is_told_and_the_fix_mends_it() {
    let server = Process::start();
    let made =
        server.verb_json(&["clients", "create", "--id", "task-service", "--audience", "event", "--json"]);
    assert!(made["clientSecret"].is_string());
    server.verb(&["secrets", "add", "task-service", "--expires-in", "30d"]);
    server.verb(&["secrets", "remove", "task-service", "1", "--yes"]);
    none(&look(&server, &[]), "expiry");
    server.verb(&["secrets", "add", "task-service", "--expires-in", "3d"]);
    none(&look(&server, &[]), "expiry");
    server.verb(&["secrets", "remove", "task-service", "2", "--yes"]);
    let fix = only(&look(&server, &[]), "expiry", "warning", "the last secret of the client task-service");
    mend(server.directory.path(), &fix);
    none(&look(&server, &[]), "expiry");
    server.verb(&["admin-keys", "add", "deploy", "--role", "read", "--role", "clients", "--expires", "3d"]);
    let fix = only(&look(&server, &[]), "expiry", "warning", "the admin key deploy expires");
    mend(server.directory.path(), &fix);
    assert!(server.verb(&["admin-keys", "list"]).contains("deploy-next"));

    // The old secret is still in use, though there is a new one.
    let client = server.client();
    server.verb(&["secrets", "rotate", &client.id, "--grace", "5d", "--to-file", "newer-secret"]);
    server.token(&client);
    let directory = Arc::clone(&server.directory);
    // Its use is written down in the end.
    server.stop();
    let found = troubles(&examine(directory.path(), &[]).1, "expiry");
    let told = |(_, what, _): &(String, String, String)| what.contains("an instance has not got the new one");
    assert!(found.iter().any(told), "{found:?}");
}
