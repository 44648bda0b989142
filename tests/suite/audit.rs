//! The audit log tells what was done, by whom, from where, and never a secret.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::clients_api::add_secret;
use crate::support::http::{call, try_call};
use crate::support::{Process, Server, post_form};

/// Every entry of a file, oldest first.
pub fn entries(file: &std::path::Path) -> Vec<Value> {
    let db = Connection::open(file).unwrap();
    let mut statement = db.prepare("SELECT entry FROM audit ORDER BY seq").unwrap();
    let lines = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn of_action(file: &std::path::Path, action: &str) -> Vec<Value> {
    entries(file).into_iter().filter(|entry| entry["action"] == action).collect()
}

#[test]
fn every_act_of_an_administrator_leaves_one_entry() {
    let server = Server::start();
    let count = || entries(&server.database()).len();
    let begun = count();
    let client = server.task_service();
    let made = of_action(&server.database(), "client.create").remove(0);
    assert_eq!((&made["subject"], &made["actor"]), (&json!(client.id), &json!("api_key 1")), "{made}");
    assert_eq!((&made["address"], &made["outcome"]), (&json!("127.0.0.1"), &json!("done")), "{made}");
    assert_eq!(made["changed"]["audience"], json!({"from": "", "to": "event file"}), "{made}");
    assert_eq!(made["changed"]["secret"], json!(1), "{made}");

    let token = server.token(&client);
    let headers = [
        ("api-key", crate::support::ADMIN_KEY),
        ("content-type", "application/json"),
        ("x-request-id", "from-the-proxy-7"),
    ];
    let body =
        json!({"clientId": client.id, "scope": "file.view", "metadata": {"hidden": "hidden"}}).to_string();
    call("PUT", &server.endpoint("/recipe/oauth/clients"), &headers, body.as_bytes());
    let changed = of_action(&server.database(), "client.update").remove(0);
    assert_eq!(changed["request"], "from-the-proxy-7", "{changed}");
    assert_eq!(changed["changed"]["scope"]["to"], "file.view", "{changed}");
    assert_eq!(changed["changed"]["others"], json!(["metadata"]), "{changed}");
    assert!(changed["changed"]["audience"].is_null(), "what stays is not told: {changed}");

    add_secret(&server, &client.id, Some(3600));
    server.admin("POST", "/recipe/oauth/token/revoke", &json!({"token": token}));
    server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": client.id}));
    server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id}));
    server.admin("PUT", "/recipe/oauth/audiences", &json!({"audience": "billing", "alg": "ES256"}));
    let actions: Vec<_> =
        entries(&server.database())[begun..].iter().map(|entry| entry["action"].clone()).collect();
    let expected = [
        "client.create",
        "client.update",
        "secret.add",
        "token.revoke",
        "tokens.revoke",
        "client.remove",
        "audience.set",
        // The keys of the ring that the audience wants.
        "key.found",
        "key.found",
    ];
    assert_eq!(actions, expected);

    // What changes nothing tells nothing.
    server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id}));
    server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "scope": "x"}));
    server.admin("GET", "/recipe/oauth/clients/list", &Value::Null);
    assert_eq!(count(), begun + expected.len());
}

#[test]
fn every_step_of_a_key_is_told_with_who_asked() {
    let server = Server::with(&[("rotation.every", "90d")]);
    let first = server.kids();
    server.rotate();
    let second = server.kids();
    server.pass(90 * 86_400);
    let told: Vec<_> = entries(&server.database())
        .iter()
        .map(|entry| {
            [&entry["action"], &entry["actor"], &entry["subject"]]
                .map(|text| text.as_str().unwrap_or("").to_owned())
        })
        .collect();
    let row = |action: &str, actor: &str, subject: &str| [action, actor, subject].map(str::to_owned);
    assert_eq!(told[0], row("key.found", "server", &first[0]));
    assert_eq!(told[1], row("key.found", "server", &first[1]));
    assert_eq!(told[2], row("server.start", "server", ""));
    assert_eq!(told[3], row("key.rotation_ask", "test", ""));
    assert_eq!(told[4], row("key.rotate", "request", &first[1]));
    assert!(told.contains(&row("key.delete", "timer", &first[0])), "{told:?}");
    assert!(told.contains(&row("key.rotate", "timer", &second[1])), "{told:?}");
    let rotated = of_action(&server.database(), "key.rotate").remove(0);
    assert_eq!(rotated["changed"]["signing"], json!({"from": first[0], "to": first[1]}));
    assert_eq!(rotated["changed"]["standby"], json!(second[1]));
}

#[test]
fn a_clock_that_jumped_ahead_is_told_when_it_is_signed_by() {
    let server = Server::start();
    let client = server.task_service();
    server.clock.jump(3_600_000);
    server.token(&client);
    let told = of_action(&server.database(), "clock.trust");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["changed"]["ahead_by"], "1h");
}

#[test]
fn who_was_not_let_in_is_told_a_little_later_and_counted_exactly() {
    let server = Server::start();
    let client = server.task_service();
    let guess = |id: &str| {
        let fields =
            [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", "m2s_wrong_secret")];
        assert_eq!(post_form(&server.token_url(), &fields).status, 401);
    };
    (0..7).for_each(|_| guess(&client.id));
    guess("m2s_secret-in-the-wrong-field");
    (0..5).for_each(|number| guess(&format!("nobody-{number}")));
    // Noise at one door hides nobody at another.
    for _ in 0..6 {
        assert_eq!(
            call("GET", &server.endpoint("/recipe/oauth/clients/list"), &[("api-key", "wrong-key")], b"")
                .status,
            401
        );
    }
    assert!(of_action(&server.database(), "authentication.refuse").is_empty(), "written behind");
    server.pass(61);
    let told = of_action(&server.database(), "authentication.refuse");
    let known: Vec<_> = told.iter().filter(|entry| entry["subject"] == json!(client.id)).collect();
    assert_eq!(known.len(), 7);
    assert_eq!((&known[0]["outcome"], &known[0]["address"]), (&json!("refused"), &json!("127.0.0.1")));
    assert!(known[0]["request"].is_string() && known[0]["reason"].is_string(), "{}", known[0]);
    let listed = told.iter().filter(|entry| entry["changed"].is_null()).count();
    let counted: u64 = told
        .iter()
        .map(|entry| {
            let count = |name: &str| entry["changed"][name].as_u64().unwrap_or(0);
            count("clients") + count("admin_keys")
        })
        .sum();
    assert_eq!((listed, counted), (16, 3), "{told:?}");
    let text = json!(told).to_string();
    assert!(!text.contains("m2s_") && !text.contains("wrong-key"), "{text}");

    // Those of the last minute are written when the server stops, and it counts from the start again.
    guess(&client.id);
    let database = server.database();
    let mut server = server;
    server.stop();
    let told = entries(&database);
    assert_eq!(told[told.len() - 2]["action"], "authentication.refuse");
    assert_eq!(told[told.len() - 1]["action"], "server.stop");
}

#[test]
fn a_client_that_revokes_its_own_token_is_the_one_who_did_it() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let url = server.endpoint("/auth/oauth/revoke");
    let fields = [("client_id", &*client.id), ("client_secret", &*client.secret), ("token", &*token)];
    assert_eq!(post_form(&url, &fields).status, 200);
    let told = of_action(&server.database(), "token.revoke").remove(0);
    assert_eq!(told["actor"], format!("client {}", client.id));
    assert_eq!(told["changed"]["jti"], crate::support::token::claims(&token)["jti"]);
}

#[test]
fn the_command_line_tells_shows_and_checks() {
    let server = Process::start();
    server.verb(&["clients", "create", "--id", "task", "--scope", "a", "--audience", "b"]);
    server.verb(&["secrets", "add", "task"]);
    server.verb(&["keys", "rotate"]);
    let listed = server.verb_json(&["audit", "--json", "--client", "task"]);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["action"], "client.create");
    assert!(listed[0]["actor"].as_str().unwrap().starts_with("command line ("), "{}", listed[0]);
    assert_eq!(listed[0]["hash"].as_str().unwrap().len(), 64);
    let number = |arguments: &[&str]| server.verb_json(arguments).as_array().unwrap().len();
    assert_eq!(number(&["audit", "list", "--json", "--limit", "1"]), 1);
    assert_eq!(number(&["audit", "list", "--json", "--since", "1h", "--action", "secret"]), 1);
    assert_eq!(number(&["audit", "list", "--json", "--until", "1h"]), 0);
    assert_eq!(
        number(&["audit", "list", "--json", "--since", "2001-01-31", "--until", "2001-02-01T00:00:00Z"]),
        0
    );
    assert_eq!(server.run(&["audit", "--since", "yesterday"]).status.code(), Some(2));
    let table = server.verb(&["audit"]);
    assert!(table.contains("key.rotate") && table.contains("key.rotation_ask"), "{table}");

    // The log of the process repeats what the audit log tells, whoever wrote it.
    server.wait_until("the log tells", || server.log.lock().contains(r#""action":"secret.add""#));
    let report = server.verb_json(&["audit", "verify", "--json"]);
    assert_eq!(
        (&report["ok"], &report["newest_head"]["key_proven"]),
        (&json!(true), &json!(true)),
        "{report}"
    );
    let head = server.verb(&["audit", "head"]);
    server.verb(&["audit", "verify", "--head", head.trim()]);
    std::fs::write(server.path("head.txt"), &head).unwrap();
    server.verb(&["clients", "remove", "task", "--yes"]);
    server.verb(&["audit", "verify", "--head", "head.txt"]);
    // No head passes as a token, at any endpoint that takes one.
    let answer = server.admin("POST", "/recipe/oauth/introspect", &json!({"token": head.trim()}));
    assert_eq!(answer.json()["active"], false);
    let bearer = format!("Bearer {}", head.trim());
    let url = server.endpoint("/auth/verify?audience=b");
    assert_eq!(try_call("GET", &url, &[("authorization", &bearer)], b"").unwrap().status, 401);
}

#[test]
fn what_is_older_than_the_configured_time_is_forgotten_and_the_rest_still_proven() {
    let server = Server::with(&[("audit.keep", "30d"), ("rotation.every", "never")]);
    let client = server.task_service();
    let touch = |name: &str| {
        server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "clientName": name}));
    };
    for day in 0..29 {
        touch(&format!("day {day}"));
        server.pass(86_400);
    }
    assert_eq!(entries(&server.database())[0]["seq"], 1, "nothing is old enough");
    server.pass(5 * 86_400);
    touch("now");
    server.pass(3_700);
    let left = entries(&server.database());
    assert!(left[0]["seq"].as_i64().unwrap() > 4, "{}", left[0]);
    assert!(left.iter().any(|entry| entry["changed"]["name"]["to"] == "day 28"));
    let verify = |file: &std::path::Path| {
        let db = Connection::open(file).unwrap();
        m2mint::audit::verify::verify(&db, &m2mint::audit::verify::Evidence::default()).unwrap()
    };
    let report = verify(&server.database()).unwrap();
    assert_eq!(report.first, left[0]["seq"].as_i64().unwrap());

    // A clock that is set ahead makes nothing old: only time that has passed does.
    server.clock.jump(3650 * 86_400_000);
    server.token(&client);
    server.pass(3_700);
    assert_eq!(entries(&server.database())[0]["seq"], left[0]["seq"]);
    assert!(verify(&server.database()).is_ok());
}
