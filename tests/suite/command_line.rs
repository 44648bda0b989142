//! The command line, beside a running server and without one.

use rustix::process::Signal;

use crate::support::process::command;
use crate::support::{Client, Process};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_secret_that_cannot_be_shown_is_no_success() {
    let server = Process::start();
    for verb in [
        &["clients", "create", "--id", "unseen"][..],
        &["secrets", "add", "unseen"],
        &["admin-keys", "add", "unseen", "--role", "read"],
        &["keys"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(server.directory.path()).args(verb).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?} {said}");
        assert!(said.contains("could not be written") && said.contains("No space left"), "{said}");
    }
}

#[test]
fn keys_shows_every_key_and_what_comes_next() {
    let server = Process::start();
    let shown = server.verb(&["keys"]);
    for expected in [
        "KID",
        "ALG",
        "STATE",
        "SINCE",
        "SIGNS UNTIL",
        "PUBLISHED UNTIL",
        "LONGEST LIFETIME",
        "active",
        "standby",
        "1h",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(shown.contains("the next rotation comes in"), "{shown}");
    // Between two calls, a second may pass.
    server
        .wait_until("both verbs show the same", || server.verb(&["keys"]) == server.verb(&["keys", "list"]));
    let json = server.verb_json(&["keys", "--json"]);
    for field in
        ["kid", "alg", "state", "since", "signs_until", "published_until", "longest_lifetime_seconds"]
    {
        assert!(json["keys"][0].get(field).is_some(), "{field}: {json}");
    }
    assert_eq!(json["next"]["transition"], "rotate");
    assert!(json["next"]["reason"].is_string() && json["next"]["in_seconds"].is_i64(), "{json}");
}

#[test]
fn keys_rotate_rotates_or_says_when() {
    let server = Process::start();
    let client = server.client();
    let before = server.verb_json(&["keys", "--json"]);
    let said = server.verb(&["keys", "rotate"]);
    assert!(
        said.starts_with("rotated: ") && said.contains(before["keys"][1]["kid"].as_str().unwrap()),
        "{said}"
    );
    assert_eq!(crate::support::token::kid(&server.token(&client)), before["keys"][1]["kid"]);
    let said = server.verb(&["keys", "rotate"]);
    assert!(
        said.contains("queued") && said.contains("1d 1h") && said.contains("verifiers may still cache"),
        "{said}"
    );
    assert!(server.verb_json(&["keys", "--json"])["next"]["reason"].as_str().unwrap().contains("verifiers"));
}

#[test]
fn keys_revoke_takes_a_key_out_at_once_and_the_standby_signs() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    let active = crate::support::token::kid(&token);
    let refused = server.run(&["keys", "revoke", &active]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("--yes"));
    assert!(server.jwks().contains(&active));

    server.verb(&["keys", "revoke", &active, "--yes"]);
    assert!(!server.jwks().contains(&active));
    let introspected =
        server.admin("POST", "/recipe/oauth/introspect", &serde_json::json!({"token": token})).json();
    assert_eq!(introspected["active"], false);
    assert_ne!(crate::support::token::kid(&server.token(&client)), active);
    let keys = server.verb_json(&["keys", "--json"]);
    let state =
        |wanted: &str| keys["keys"].as_array().unwrap().iter().filter(|key| key["state"] == wanted).count();
    assert_eq!((state("active"), state("standby"), state("revoked")), (1, 1, 1), "{keys}");
    // A thumbprint may begin with a hyphen.
    for again in [&*active, "no-such-key", "-no-such-key"] {
        assert_eq!(server.run(&["keys", "revoke", again, "--yes"]).status.code(), Some(3));
        assert_eq!(server.run(&["keys", "revoke", "--yes", again]).status.code(), Some(3));
    }
}

#[test]
fn what_is_asked_of_keys_without_a_server_happens_before_the_next_one_serves() {
    let server = Process::start();
    let client = server.client();
    let active = crate::support::token::kid(&server.token(&client));
    let directory = std::sync::Arc::clone(&server.directory);
    let run = |arguments: &[&str]| {
        crate::support::process::command(directory.path()).args(arguments).output().unwrap()
    };
    server.stop();
    let said = run(&["keys", "revoke", &active, "--yes"]);
    assert!(said.status.success() && text(&said.stdout).contains("no server is running"), "{said:?}");
    let server = Process::again(std::sync::Arc::clone(&directory), &[]);
    assert!(!server.jwks().contains(&active));
    server.token(&client);
}

#[test]
fn when_a_verb_ends_the_server_acts_by_it() {
    let server = Process::start();
    let made = server.verb_json(&[
        "clients",
        "create",
        "--name",
        "Task Service",
        "--scope",
        "event.* file.view",
        "--audience",
        "event",
        "--audience",
        "file",
        "--audience-scopes",
        "event=event.*",
        "--audience-scopes",
        "file=file.view",
        "--lifetime",
        "15m",
        "--json",
    ]);
    let field = |name: &str| made[name].as_str().unwrap().to_owned();
    let client = Client { id: field("clientId"), secret: field("clientSecret") };
    let ask = |audience: &str, scope: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &*client.id),
            ("client_secret", &*client.secret),
            ("audience", audience),
            ("scope", scope),
        ];
        crate::support::post_form(&server.endpoint("/auth/oauth/token"), &fields)
    };
    assert_eq!(ask("event", "event.view").json()["expires_in"], 900);
    assert_eq!(ask("event", "file.view").error(), "invalid_scope");

    assert!(server.verb(&["clients", "list"]).contains("Task Service"));
    assert_eq!(server.verb_json(&["clients", "show", &client.id, "--json"])["scope"], "event.* file.view");
    server.verb(&["clients", "update", &client.id, "--enabled", "false"]);
    assert_eq!(ask("event", "event.view").status, 401);
    server.verb(&["clients", "update", &client.id, "--enabled", "true"]);
    assert_eq!(ask("event", "event.view").status, 200);

    assert_eq!(server.run(&["clients", "remove", &client.id]).status.code(), Some(3));
    server.verb(&["clients", "remove", &client.id, "--yes"]);
    assert_eq!(ask("event", "event.view").status, 401);
    assert_eq!(server.run(&["clients", "show", &client.id]).status.code(), Some(3));
}

#[test]
fn a_server_that_does_not_act_by_it_yet_is_told_of_and_does_later() {
    let server = Process::start();
    let client = server.client();
    server.signal(Signal::STOP);
    let late = server.run(&["clients", "update", &client.id, "--enabled", "false"]);
    assert!(late.status.success());
    assert!(text(&late.stderr).contains("does not act by it yet"), "{}", text(&late.stderr));
    let asked = server.run(&["keys", "rotate"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("has not met the request yet"), "{}", text(&asked.stderr));
    let active = server.active_kid("EdDSA");
    server.signal(Signal::CONT);
    server.wait_until("disabled", || server.try_token(&client).is_err());
    server.wait_until("rotated", || server.active_kid("EdDSA") != active);
}

#[test]
fn secrets_come_and_go() {
    let server = Process::start();
    let old = server.client();
    let added = server.verb_json(&["secrets", "add", &old.id, "--expires-in", "90d", "--json"]);
    let new = Client { secret: added["clientSecret"].as_str().unwrap().to_owned(), ..old.clone() };
    server.token(&new);
    let listed = server.verb_json(&["secrets", "list", &old.id, "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(
        !listed.to_string().contains("m2s_")
            && listed[1]["expiresAt"].is_string()
            && listed[0]["expiresAt"].is_null()
    );
    let first = listed[0]["id"].to_string();
    assert_eq!(server.run(&["secrets", "remove", &old.id, &first]).status.code(), Some(3));
    server.verb(&["secrets", "remove", &old.id, &first, "--yes"]);
    assert!(server.try_token(&old).is_err());
    server.token(&new);
}

#[test]
fn a_backup_taken_while_serving_is_a_whole_database() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    server.verb(&["backup", "copy.db"]);
    assert_eq!(server.run(&["backup", "copy.db"]).status.code(), Some(3), "it is not overwritten");
    let directory = std::sync::Arc::clone(&server.directory);
    server.stop();
    std::fs::rename(directory.path().join("copy.db"), directory.path().join("m2mint.db")).unwrap();
    let server = Process::again(directory, &[]);
    assert!(server.jwks().contains(&crate::support::token::kid(&token)));
    server.token(&client);
}

#[test]
fn a_rotation_by_signal_is_seen_by_the_command_line() {
    let server = Process::start();
    let before = server.verb_json(&["keys", "--json"])["keys"][0]["kid"].clone();
    server.signal(Signal::USR1);
    server.wait_until("rotated", || server.verb_json(&["keys", "--json"])["keys"][0]["kid"] != before);
}

#[test]
fn verbs_without_a_database_say_how_to_get_one() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["keys"][..], &["clients", "list"], &["secrets", "list", "x"], &["backup", "copy.db"]]
    {
        let output = crate::support::process::command(directory.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("m2mint serve"), "{}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
