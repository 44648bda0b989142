//! Admin keys with names and roles.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use m2mint::administration::admin_keys::{self, MAX_ADMIN_KEYS, NewAdminKey};
use m2mint::model::audit::Origin;
use m2mint::model::{AdminKey, AdminKeyName, Roles};
use m2mint::store::Store;
use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::http::call;
use crate::support::in_process::START;
use crate::support::process::command;
use crate::support::{Answer, Process, Server};

/// Adds a key to a file that a server works on, and answers it.
fn add(server: &Server, name: &str, roles: &str, expires_in: Option<u64>) -> String {
    let store = Store::open(&server.database(), None).unwrap();
    let new = NewAdminKey {
        name: AdminKeyName::parse(name).unwrap(),
        roles: Roles::parse(roles).unwrap(),
        expires_at: expires_in.map(|seconds| START.plus(Duration::from_secs(seconds))),
    };
    let key = AdminKey::generate().unwrap();
    admin_keys::add(&store, new, &key, START, &Origin::of("test")).unwrap();
    server.settle();
    key.expose().to_owned()
}

fn with_key(key: &str, method: &str, url: &str, body: &Value) -> Answer {
    let headers = [("api-key", key), ("content-type", "application/json; charset=utf-8")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(method, url, &headers, body.as_bytes())
}

fn listed(key: &str, url: &str) -> u16 {
    with_key(key, "GET", &format!("{url}/recipe/oauth/clients/list"), &Value::Null).status
}

/// What the audit log has of those who were not let in.
fn refusals(file: &Path) -> Vec<Value> {
    entries(file).into_iter().filter(|entry| entry["outcome"] == "refused").collect()
}

#[test]
fn each_role_allows_its_calls_and_no_others() {
    let server = Server::start();
    let client = server.task_service();
    let calls = [
        ("read", "GET", "/recipe/jwt/jwks", Value::Null),
        ("read", "GET", "/recipe/oauth/clients?clientId=x", Value::Null),
        ("read", "GET", "/recipe/oauth/clients/list", Value::Null),
        ("read", "GET", "/recipe/oauth/audiences", Value::Null),
        ("read", "POST", "/recipe/oauth/introspect", json!({"token": "x"})),
        ("clients", "POST", "/recipe/oauth/clients", json!({})),
        ("clients", "PUT", "/recipe/oauth/clients", json!({"clientId": client.id, "clientName": "x"})),
        ("clients", "POST", "/recipe/oauth/clients/remove", json!({"clientId": "x"})),
        ("clients", "POST", "/recipe/oauth/token", json!({"inputBody": {"grant_type": "x"}})),
        ("clients", "POST", "/recipe/oauth/token/revoke", json!({"token": "x"})),
        ("clients", "POST", "/recipe/oauth/tokens/revoke", json!({"client_id": "x"})),
        ("keys", "PUT", "/recipe/oauth/audiences", json!({"audience": "billing", "alg": "ES256"})),
    ];
    for held in ["read", "clients", "keys", "clients keys", "all"] {
        let key = add(&server, &held.replace(' ', "-"), held, None);
        for (needed, method, path, body) in &calls {
            let answer = with_key(&key, method, &server.endpoint(path), body);
            let allowed = *needed == "read" || held == "all" || held.split(' ').any(|role| role == *needed);
            if allowed {
                assert_eq!(answer.status, 200, "{held}: {method} {path}: {answer:?}");
            } else {
                assert_eq!(answer.status, 403, "{held}: {method} {path}: {answer:?}");
                assert!(answer.body.contains(&format!("the role {needed}")), "{answer:?}");
                assert!(answer.header("x-request-id").is_some(), "{answer:?}");
            }
        }
    }
}

#[test]
fn a_refused_role_changes_nothing_and_is_in_the_audit_log_by_the_name_of_the_key() {
    let server = Server::start();
    let client = server.task_service();
    let key = add(&server, "dashboard", "read", None);
    let answer = with_key(
        &key,
        "POST",
        &server.endpoint("/recipe/oauth/clients/remove"),
        &json!({"clientId": client.id}),
    );
    assert_eq!(answer.status, 403, "{answer:?}");
    server.token(&client);
    server.pass(61);
    let refused = refusals(&server.database()).remove(0);
    assert_eq!(refused["action"], "authorization.refuse", "{refused}");
    assert_eq!(refused["actor"], "admin_key dashboard", "{refused}");
    assert_eq!(refused["reason"], "POST /recipe/oauth/clients/remove takes the role clients", "{refused}");
    assert_eq!(refused["request"], answer.header("x-request-id").unwrap(), "{refused}");
}

#[test]
fn the_audit_log_names_the_key_that_did_it_and_never_shows_it() {
    let server = Server::start();
    let key = add(&server, "deploy", "clients", Some(3600));
    let made = with_key(&key, "POST", &server.endpoint("/recipe/oauth/clients"), &json!({}));
    assert_eq!(made.status, 200, "{made:?}");
    let entries = entries(&server.database());
    let of = |action: &str| entries.iter().rfind(|entry| entry["action"] == action).unwrap();
    assert_eq!(of("client.create")["actor"], "admin_key deploy");
    let added = of("admin_key.create");
    assert_eq!((&added["subject"], &added["changed"]["roles"]), (&json!("deploy"), &json!(["clients"])));
    assert_eq!(added["changed"]["expires_at"], "2027-01-15T09:00:00.000Z", "{added}");
    assert!(!json!(entries).to_string().contains(&key[4..]));
}

#[test]
fn a_key_that_has_expired_is_refused_like_one_that_never_was() {
    let server = Server::start();
    let key = add(&server, "short", "all", Some(60));
    assert_eq!(listed(&key, &server.url), 200);
    server.pass(59);
    assert_eq!(listed(&key, &server.url), 200);
    server.pass(1);
    let url = server.endpoint("/recipe/oauth/clients/list");
    let expired = with_key(&key, "GET", &url, &Value::Null);
    let unknown = with_key("m2a_nobody-has-this-one", "GET", &url, &Value::Null);
    let missing = call("GET", &url, &[], b"");
    for answer in [&expired, &unknown, &missing] {
        assert_eq!((answer.status, answer.body.as_str()), (401, "Invalid API key"));
        let names: Vec<_> = answer.headers.keys().collect();
        assert_eq!(names, expired.headers.keys().collect::<Vec<_>>());
    }
    server.pass(61);
    let reasons: Vec<_> =
        refusals(&server.database()).iter().map(|refused| refused["reason"].clone()).collect();
    let unknown = "no admin key, or a wrong one";
    assert_eq!(reasons, ["the admin key short has expired", unknown, unknown]);
}

#[test]
fn the_last_use_of_an_admin_key_is_written_behind() {
    let server = Server::start();
    let key = add(&server, "dashboard", "read", None);
    let read = || {
        let store = Store::open(&server.database(), None).unwrap();
        store.read(m2mint::store::admin_keys::all).unwrap().remove(0).last_used_at
    };
    for _ in 0..3 {
        assert_eq!(listed(&key, &server.url), 200);
    }
    assert_eq!(read(), None);
    server.pass(61);
    assert_eq!(read(), Some(START));
}

#[test]
fn what_is_stored_of_an_admin_key_is_its_hash() {
    let server = Server::start();
    let key = add(&server, "dashboard", "read", None);
    let store = Store::open(&server.database(), None).unwrap();
    let stored = store.read(m2mint::store::admin_keys::all).unwrap().remove(0);
    assert_eq!(stored.hash.0, m2mint_keys::crypto::sha256(key.as_bytes()));
    for name in ["m2mint.db", "m2mint.db-wal"] {
        let bytes = std::fs::read(server.database().with_file_name(name)).unwrap_or_default();
        assert!(!crate::support::memory::contains(&bytes, key.as_bytes()), "{name}");
    }
    assert!(!format!("{stored:?}").contains(&format!("{:?}", stored.hash.0)), "nor printed");
}

#[test]
fn there_are_limits_to_names_and_numbers() {
    let server = Server::start();
    let store = Store::open(&server.database(), None).unwrap();
    let add = |name: &str, expires_at| {
        let (name, roles) = (AdminKeyName::parse(name).unwrap(), Roles::parse("read").unwrap());
        let new = NewAdminKey { name, roles, expires_at };
        let key = AdminKey::generate().unwrap();
        let added = admin_keys::add(&store, new, &key, START, &Origin::of("test"));
        added.map(|_| ()).map_err(|error| error.to_string())
    };
    for wrong in ["", "two words", "line\nbreak", "\u{fc}", &"x".repeat(65)] {
        assert!(AdminKeyName::parse(wrong).is_err(), "{wrong:?}");
    }
    assert!(add("past", Some(START)).unwrap_err().contains("at least 1s"));
    (0..MAX_ADMIN_KEYS).for_each(|number| add(&format!("key-{number}"), None).unwrap());
    assert!(add("one-more", None).unwrap_err().contains("100 admin keys already"));
    admin_keys::remove(&store, "key-7", START, &Origin::of("test")).unwrap();
    assert!(add("key-8", None).unwrap_err().contains("key-8 exists already"));
    add("key-7", None).unwrap();
}

#[test]
fn keys_are_added_listed_and_removed_beside_a_running_server() {
    let server = Process::start();
    let added = server.verb(&["admin-keys", "add", "deploy", "--role", "clients", "--expires", "90d"]);
    assert!(added.contains("shown this once"), "{added}");
    let key = added.split_whitespace().find(|word| word.starts_with("m2a_")).unwrap().to_owned();
    assert_eq!(key.len(), 4 + 43 + 6);
    server.wait_until("the server knows the key", || listed(&key, &server.url) == 200);

    let made = server.verb_json(&["admin-keys", "add", "both", "--role", "read", "--role", "keys", "--json"]);
    assert_eq!(made["roles"], json!(["read", "keys"]));
    assert!(made["key"].as_str().unwrap().starts_with("m2a_"));

    let shown = server.verb(&["admin-keys", "list"]);
    for expected in ["NAME", "ROLES", "CREATED", "EXPIRES", "LAST USED", "deploy", "read keys", "never"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let json = server.verb_json(&["admin-keys", "list", "--json"]);
    let deploy = json.as_array().unwrap().iter().find(|key| key["name"] == "deploy").unwrap();
    assert_eq!(deploy["roles"], json!(["clients"]));
    assert!(deploy["expiresAt"].is_string() && deploy.get("key").is_none(), "{deploy}");
    for shown in [shown, json.to_string(), server.log.lock().clone()] {
        assert!(!shown.contains("m2a_"), "{shown}");
    }

    let asked = server.run(&["admin-keys", "remove", "deploy"]);
    assert_eq!(asked.status.code(), Some(3), "nobody was asked");
    assert_eq!(listed(&key, &server.url), 200);
    assert_eq!(server.verb(&["admin-keys", "remove", "deploy", "--yes"]), "removed: deploy\n");
    server.wait_until("the server refuses the key", || listed(&key, &server.url) == 401);
    assert_eq!(server.run(&["admin-keys", "remove", "deploy", "--yes"]).status.code(), Some(3));
}

#[test]
fn a_key_is_not_made_from_what_cannot_be_read() {
    let server = Process::start();
    let refused = |arguments: &[&str]| {
        let output = server.run(&[&["admin-keys", "add"], arguments].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, code, said) in [
        (&["deploy"][..], 2, "--role"),
        (&["deploy", "--role", "admin"], 2, "use read, clients, keys or all"),
        (&["deploy", "--role", "read", "--expires", "90"], 2, "--expires: not a duration"),
        (&["deploy", "--role", "read", "--expires", "0s"], 3, "at least 1s"),
        (&["two words", "--role", "read"], 3, "not allowed"),
    ] {
        let (found, text) = refused(arguments);
        assert!(found == code && text.contains(said), "{arguments:?}: {found} {text}");
    }
    server.verb(&["admin-keys", "add", "deploy", "--role", "read"]);
    let (code, text) = refused(&["deploy", "--role", "all"]);
    assert!(code == 3 && text.contains("exists already"), "{text}");
}

#[test]
fn the_key_of_the_first_start_has_a_name_and_all_roles_until_the_configuration_has_keys() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let start = || {
        let mut command = command(directory.path());
        command.env("M2MINT_LISTEN", "127.0.0.1:0");
        command
    };
    let server = Process::spawn(Arc::clone(&directory), start());
    let first = server.greeting.split_whitespace().find(|word| word.starts_with("m2a_")).unwrap().to_owned();
    let other = server.verb_json(&["admin-keys", "add", "other", "--role", "read", "--json"])["key"].clone();
    let other = other.as_str().unwrap();
    assert_eq!(server.verb_json(&["admin-keys", "list", "--json"])[0]["name"], "first");
    let made = with_key(&first, "POST", &server.endpoint("/recipe/oauth/clients"), &json!({}));
    assert_eq!(made.status, 200, "{made:?}");
    server.stop();

    // Keys with names go on beside those of the configuration; the one that was made for want of any does not.
    let mut command = start();
    command.env("M2MINT_API_KEY", crate::support::ADMIN_KEY);
    let server = Process::spawn(Arc::clone(&directory), command);
    for (key, status) in [(&*first, 401), (other, 200), (crate::support::ADMIN_KEY, 200)] {
        assert_eq!(listed(key, &server.url), status);
    }
    server.stop();

    let server = Process::spawn(Arc::clone(&directory), start());
    server.verb(&["admin-keys", "remove", "first", "--yes"]);
    server.wait_until("the first key is refused", || listed(&first, &server.url) == 401);
    server.stop();
    let server = Process::spawn(Arc::clone(&directory), start());
    assert_eq!(listed(&first, &server.url), 401, "and no start brings it back");
    assert!(!server.greeting.contains("m2a_"), "{}", server.greeting);
}
