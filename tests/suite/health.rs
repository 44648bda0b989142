//! What is said of how the server is, to whoever starts, watches and restarts it.

use serde_json::json;

use crate::support::http::call;
use crate::support::{Server, get};

#[test]
fn whoever_asks_is_told_without_a_key_that_the_server_lives_and_is_ready() {
    let server = Server::start();
    let live = get(&server.endpoint("/health/live"));
    assert_eq!((live.status, live.json()), (200, json!({"status": "live"})));
    let ready = get(&server.endpoint("/health/ready"));
    let parts = json!({"database": "ok", "signing_key": "ok", "workers": "ok", "clock": "ok"});
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready", "parts": parts})));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    assert_eq!(call("HEAD", &server.endpoint("/health/ready"), &[], b"").status, 200);
    assert_eq!(call("POST", &server.endpoint("/health/ready"), &[], b"").status, 405);
}

#[test]
fn the_version_names_program_backend_and_schema() {
    let server = Server::start();
    let version = get(&server.endpoint("/version")).json();
    assert_eq!(version["name"], "m2mint");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["backend"], m2mint_keys::crypto::BACKEND);
    assert!(version["schema"].as_u64().unwrap() >= 6);
}

#[test]
fn a_database_that_cannot_be_written_is_not_ready_and_tokens_are_issued_all_the_same() {
    let server = Server::start();
    let client = server.task_service();
    let other = rusqlite::Connection::open(server.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &json!({"clientName": "x"})).status, 503);
    let ready = get(&server.endpoint("/health/ready"));
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["parts"]["database"], "cannot be written; tokens are issued all the same");
    assert_eq!(get(&server.endpoint("/health/live")).status, 200);
    server.token(&client);
    other.execute_batch("ROLLBACK").unwrap();
    // The next look finds it.
    server.settle();
    assert_eq!(get(&server.endpoint("/health/ready")).status, 200);
}

#[test]
fn a_change_that_is_refused_for_a_reason_of_its_own_says_nothing_about_the_database() {
    let server = Server::start();
    let twice = json!({"clientId": "twice", "audience": ["event"]});
    server.client(&twice);
    assert_ne!(server.admin("POST", "/recipe/oauth/clients", &twice).json()["status"], "OK");
    assert_eq!(get(&server.endpoint("/health/ready")).status, 200);
}

#[test]
fn a_clock_that_says_a_time_before_the_signing_key_is_not_ready() {
    let server = Server::start();
    server.clock.jump(-3_600_000);
    server.settle();
    let ready = get(&server.endpoint("/health/ready"));
    assert_eq!(ready.status, 503);
    assert!(ready.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(ready.json()["status"], "not ready");
    assert_eq!(ready.json()["parts"]["clock"], "says a time before the signing key was one");
    assert_eq!(ready.json()["parts"]["database"], "ok");
    server.clock.jump(3_600_000);
    server.settle();
    assert_eq!(get(&server.endpoint("/health/ready")).status, 200);
}

#[test]
fn a_clock_that_was_set_ahead_is_ready_as_the_next_token_has_that_written_down() {
    let server = Server::start();
    let client = server.task_service();
    server.clock.jump(3_600_000);
    server.settle();
    assert_eq!(get(&server.endpoint("/health/ready")).status, 200);
    server.token(&client);
}
