//! `/admin/v1`: cursors, entity tags, idempotency keys, problems.

use serde_json::{Value, json};

use crate::support::http::call;
use crate::support::{ADMIN_KEY, Answer, Server};

/// A call with the admin key and these headers.
#[track_caller]
fn v1(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut all = vec![("authorization", concat!("Bearer ", "admin-key-of-the-tests-0123456789"))];
    assert!(all[0].1.ends_with(ADMIN_KEY));
    all.extend(headers);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    if !body.is_empty() {
        all.push(("content-type", "application/json"));
    }
    call(method, &server.endpoint(&format!("/admin/v1{path}")), &all, body.as_bytes())
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let answer = v1(server, "GET", path, &[], &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// That an answer is a problem of this kind.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["type"]),
        (status, &json!(format!("urn:m2mint:problem:{kind}"))),
        "{answer:?}"
    );
    assert_eq!(json["status"], status);
    assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
}

#[track_caller]
fn make(server: &Server, client: &Value) -> Value {
    let answer = v1(server, "POST", "/clients", &[], client);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

#[test]
fn a_client_is_made_read_changed_and_removed() {
    let server = Server::start();
    let made = v1(
        &server,
        "POST",
        "/clients",
        &[],
        &json!({"clientId": "task/service", "clientName": "Task Service", "scope": ["event.create", "file.*"],
                "audience": ["event", "file"], "tokenLifetime": "15m", "metadata": {"team": "a"}}),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let path = "/clients/task%2Fservice";
    assert_eq!(made.header("location"), Some(&*format!("/admin/v1{path}")));
    let secret = made.json()["clientSecret"].as_str().unwrap().to_owned();
    let client = crate::support::Client { id: "task/service".into(), secret };
    assert!(server.is_active(&server.token(&client)));

    let read = v1(&server, "GET", path, &[], &Value::Null);
    assert_eq!(read.json(), made.json()["client"]);
    assert_eq!(read.header("etag"), made.header("etag"));
    assert_eq!(read.json()["metadata"], json!({"team": "a"}));

    let if_match = [("if-match", read.header("etag").unwrap())];
    let change = json!({"enabled": false, "tokenLifetime": null});
    let changed = v1(&server, "PATCH", path, &if_match, &change);
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["enabled"], false);
    assert_eq!(changed.json()["tokenLifetime"], Value::Null);
    assert_eq!(changed.json()["scope"], json!(["event.create", "file.*"]), "what was not said stays");
    assert_ne!(changed.header("etag"), read.header("etag"));

    assert_problem(&v1(&server, "DELETE", path, &if_match, &Value::Null), 412, "precondition-failed");
    let if_match = [("if-match", changed.header("etag").unwrap())];
    assert_eq!(v1(&server, "DELETE", path, &if_match, &Value::Null).status, 204);
    assert_problem(&v1(&server, "GET", path, &[], &Value::Null), 404, "client-not-found");
}

#[test]
fn nobody_changes_what_they_have_not_seen() {
    let server = Server::start();
    make(&server, &json!({"clientId": "a"}));
    let change = json!({"clientName": "mine"});
    assert_problem(&v1(&server, "PATCH", "/clients/a", &[], &change), 428, "precondition-required");
    assert_problem(&v1(&server, "DELETE", "/clients/a", &[], &Value::Null), 428, "precondition-required");
    let seen = v1(&server, "GET", "/clients/a", &[], &Value::Null);
    let if_match = [("if-match", seen.header("etag").unwrap())];
    assert_eq!(v1(&server, "PATCH", "/clients/a", &if_match, &json!({"clientName": "theirs"})).status, 200);
    assert_problem(&v1(&server, "PATCH", "/clients/a", &if_match, &change), 412, "precondition-failed");
    assert_eq!(get(&server, "/clients/a")["clientName"], "theirs");
    assert_eq!(v1(&server, "PATCH", "/clients/a", &[("if-match", "*")], &change).status, 200);
}

#[test]
fn a_change_over_the_other_api_makes_an_etag_old() {
    let server = Server::start();
    make(&server, &json!({"clientId": "a", "clientName": "x"}));
    let seen = v1(&server, "GET", "/clients/a", &[], &Value::Null);
    // There and back again: it looks the same, and is not what was seen.
    for name in ["y", "x"] {
        server.clock.pass(10);
        let body = json!({"clientId": "a", "clientName": name});
        assert_eq!(server.admin("PUT", "/recipe/oauth/clients", &body).json()["status"], "OK");
    }
    let if_match = [("if-match", seen.header("etag").unwrap())];
    let answer = v1(&server, "PATCH", "/clients/a", &if_match, &json!({"enabled": false}));
    assert_problem(&answer, 412, "precondition-failed");
}

#[test]
fn pages_hold_every_client_once() {
    let server = Server::start();
    for number in 0..7 {
        make(
            &server,
            &json!({"clientId": format!("c{number}"), "clientName": if number % 2 == 0 { "Even" } else { "odd" }}),
        );
    }
    let ids = |query: &str| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&server, &format!("/clients?limit=2{query}{cursor}"));
            let clients = page["clients"].as_array().unwrap();
            assert!(clients.len() <= 2);
            ids.extend(clients.iter().map(|client| client["clientId"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    };
    assert_eq!(ids(""), ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    assert_eq!(ids("&search=EVEN"), ["c0", "c2", "c4", "c6"]);
    assert_eq!(ids("&search=C3"), ["c3"]);
    assert_eq!(ids("&search=%25"), [""; 0], "no character stands for others");
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x", "sort=name"] {
        let answer = v1(&server, "GET", &format!("/clients?{query}"), &[], &Value::Null);
        assert_problem(&answer, 400, "invalid-request");
    }
}

#[test]
fn a_repeated_post_gets_the_answer_of_the_first() {
    let server = Server::start();
    let key = [("idempotency-key", "0123")];
    let body = json!({"clientName": "once"});
    let first = v1(&server, "POST", "/clients", &key, &body);
    let second = v1(&server, "POST", "/clients", &key, &body);
    assert_eq!((first.status, &first.body), (201, &second.body));
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(get(&server, "/clients")["clients"].as_array().unwrap().len(), 1);
    let other = v1(&server, "POST", "/clients", &key, &json!({"clientName": "twice"}));
    assert_problem(&other, 422, "idempotency-key-reused");
    // The same key for another call is another request.
    let id = first.json()["client"]["clientId"].as_str().unwrap().to_owned();
    let rotated = v1(&server, "POST", &format!("/clients/{id}/secrets/rotate"), &key, &json!({}));
    assert_eq!(rotated.status, 201, "{rotated:?}");
    // And so it is for another administrator, who is shown nothing of this.
    let other = v1(&server, "POST", "/admin-keys", &[], &json!({"name": "other", "roles": ["clients"]}));
    let headers = [("api-key", other.json()["key"].as_str().unwrap().to_owned())];
    let headers = [("api-key", &*headers[0].1), key[0], ("content-type", "application/json")];
    let theirs = call("POST", &server.endpoint("/admin/v1/clients"), &headers, body.to_string().as_bytes());
    assert_eq!(theirs.status, 201, "{theirs:?}");
    assert_ne!(theirs.body, first.body);
    // It ends.
    server.clock.pass(600_000);
    assert_ne!(v1(&server, "POST", "/clients", &key, &body).body, first.body);
    for wrong in [String::new(), "é".into(), "x".repeat(256)] {
        let answer = v1(&server, "POST", "/clients", &[("idempotency-key", &wrong)], &body);
        assert_problem(&answer, 400, "invalid-request");
    }
}

#[test]
fn another_key_of_the_same_name_is_shown_nothing_of_an_answer() {
    let server = Server::start();
    let bob = || {
        let made = v1(&server, "POST", "/admin-keys", &[], &json!({"name": "bob", "roles": ["clients"]}));
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let order = |key: &str| {
        let headers =
            [("api-key", key), ("idempotency-key", "order-1"), ("content-type", "application/json")];
        call("POST", &server.endpoint("/admin/v1/clients"), &headers, br#"{"clientName":"once"}"#)
    };
    let first = bob();
    let made = order(&first);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(order(&first).body, made.body);
    assert_eq!(v1(&server, "DELETE", "/admin-keys/bob", &[], &Value::Null).status, 204);
    let second = order(&bob());
    assert_eq!(second.status, 201, "{second:?}");
    assert_ne!(second.json()["clientSecret"], made.json()["clientSecret"]);
}

#[test]
fn a_page_ends_at_so_many_bytes_and_the_next_one_goes_on() {
    let server = Server::start();
    for number in 0..30 {
        make(
            &server,
            &json!({"clientId": format!("c{number:02}"), "metadata": {"text": "x".repeat(60_000)}}),
        );
    }
    let first = get(&server, "/clients?limit=500");
    let names = |page: &Value| page["clients"].as_array().unwrap().len();
    assert!((15..30).contains(&names(&first)), "{}", names(&first));
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = get(&server, &format!("/clients?limit=500&cursor={cursor}"));
    assert_eq!(names(&first) + names(&second), 30);
}

#[test]
fn null_takes_away_or_is_refused_and_is_never_passed_over() {
    let server = Server::start();
    make(
        &server,
        &json!({"clientId": "task", "scope": ["a"], "audience": ["event"], "sourceNetworks": ["10.0.0.0/8"]}),
    );
    let change = |body: Value| {
        let etag = v1(&server, "GET", "/clients/task", &[], &Value::Null).header("etag").unwrap().to_owned();
        v1(&server, "PATCH", "/clients/task", &[("if-match", &*etag)], &body)
    };
    let answer = change(json!({"sourceNetworks": null}));
    assert_eq!((answer.status, &answer.json()["sourceNetworks"]), (200, &json!([])), "{answer:?}");
    for name in ["enabled", "scope", "audience", "metadata", "clientName"] {
        let answer = change(json!({(name): null}));
        assert_problem(&answer, 400, "invalid-request");
    }
}

#[test]
fn a_secret_that_would_never_be_accepted_is_not_made() {
    let server = Server::start();
    let answer = v1(&server, "POST", "/clients", &[], &json!({"clientId": "task", "secretExpiresIn": "0s"}));
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(v1(&server, "GET", "/clients/task", &[], &Value::Null).status, 404);
}

#[test]
fn a_refusal_is_not_remembered_for_a_key() {
    let server = Server::start();
    let (key, body) = ([("idempotency-key", "k")], json!({"clientId": "a"}));
    make(&server, &body);
    assert_problem(&v1(&server, "POST", "/clients", &key, &body), 409, "conflict");
    assert_eq!(v1(&server, "DELETE", "/clients/a", &[("if-match", "*")], &Value::Null).status, 204);
    assert_eq!(v1(&server, "POST", "/clients", &key, &body).status, 201);
}

#[test]
fn secrets_rotate_with_a_grace() {
    let server = Server::start();
    let made = make(&server, &json!({"clientId": "a", "audience": ["event"], "scope": ["event.create"]}));
    let client =
        |secret: &Value| crate::support::Client { id: "a".into(), secret: secret.as_str().unwrap().into() };
    let old = client(&made["clientSecret"]);
    let rotated = v1(&server, "POST", "/clients/a/secrets/rotate", &[], &json!({"grace": "1h"}));
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let new = client(&rotated.json()["clientSecret"]);
    assert_eq!(rotated.json()["retiring"][0]["id"], 1);
    server.token(&old);
    server.token(&new);
    let listed = get(&server, "/clients/a/secrets");
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&new.secret));
    assert_eq!(v1(&server, "DELETE", "/clients/a/secrets/1", &[], &Value::Null).status, 204);
    assert_problem(
        &v1(&server, "DELETE", "/clients/a/secrets/1", &[], &Value::Null),
        404,
        "secret-not-found",
    );
    assert_problem(&v1(&server, "GET", "/clients/b/secrets", &[], &Value::Null), 404, "client-not-found");
    let chosen = json!({"clientSecret": "chosen-by-somebody-else", "expiresIn": "1d"});
    let added = v1(&server, "POST", "/clients/a/secrets", &[], &chosen);
    assert_eq!((added.status, &added.json()["clientSecret"]), (201, &Value::Null), "who gave it knows it");
    server.token(&client(&json!("chosen-by-somebody-else")));
    let weak = v1(&server, "POST", "/clients/a/secrets", &[], &json!({"clientSecret": "hunter2"}));
    assert_problem(&weak, 400, "invalid-request");
    assert!(!weak.body.contains("hunter2"), "{weak:?}");
}

#[test]
fn every_token_of_a_client_is_revoked() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    server.clock.pass(1000);
    let path = format!("/clients/{}/tokens/revoke", client.id);
    assert_eq!(v1(&server, "POST", &path, &[], &Value::Null).status, 204);
    assert!(!server.is_active(&token));
    assert_problem(
        &v1(&server, "POST", "/clients/no/tokens/revoke", &[], &Value::Null),
        404,
        "client-not-found",
    );
}

#[test]
fn the_plan_says_when_a_rotation_happens_and_the_rotation_says_the_same() {
    let server = Server::start();
    let [active, standby] = <[String; 2]>::try_from(server.kids()).unwrap();
    let plan = get(&server, "/keys/plan");
    assert_eq!(plan["rings"][0]["signs"], *active);
    assert_eq!(plan["rings"][0]["signalNow"]["inSeconds"], 0, "{plan}");
    let rotated = v1(&server, "POST", "/keys/rotate", &[], &Value::Null);
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(rotated.json()["rings"][0]["rotated"], true);
    assert_eq!(rotated.json()["rings"][0]["signs"], *standby);
    assert_eq!(server.kids()[0], standby);

    // The new standby is not known to everybody yet.
    let planned = get(&server, "/keys/plan")["rings"][0]["signalNow"].clone();
    let queued = v1(&server, "POST", "/keys/rotate", &[], &json!({"alg": "EdDSA"}));
    assert_eq!(queued.status, 202, "{queued:?}");
    let ring = &queued.json()["rings"][0];
    assert_eq!((&ring["rotated"], &ring["next"]["asked"]), (&json!(false), &json!(true)));
    assert_eq!((&ring["next"]["at"], &ring["next"]["reason"]), (&planned["at"], &planned["reason"]));
    assert_eq!(server.kids()[0], standby);
    assert_problem(&v1(&server, "POST", "/keys/rotate", &[], &json!({"alg": "ES256"})), 422, "refused");
    assert_problem(
        &v1(&server, "POST", "/keys/rotate", &[], &json!({"alg": "RS256"})),
        400,
        "invalid-request",
    );
}

#[test]
fn a_revoked_key_is_gone_when_the_answer_comes() {
    let server = Server::start();
    let token = server.token(&server.task_service());
    let [active, standby] = <[String; 2]>::try_from(server.kids()).unwrap();
    let shown = get(&server, "/keys");
    assert!(shown["keys"][0]["onRevocation"].as_str().unwrap().contains("the standby takes over"), "{shown}");
    let revoked = v1(&server, "POST", &format!("/keys/{active}/revoke"), &[], &Value::Null);
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!((&revoked.json()["signs"], &revoked.json()["tookOver"]), (&json!(standby), &json!(true)));
    assert!(!server.kids().contains(&active) && !server.is_active(&token));
    let again = v1(&server, "POST", &format!("/keys/{active}/revoke"), &[], &Value::Null);
    assert_problem(&again, 409, "conflict");
    assert_problem(&v1(&server, "POST", "/keys/nonsense/revoke", &[], &Value::Null), 404, "key-not-found");
}

#[test]
fn an_audience_is_given_an_algorithm() {
    let server = Server::with(&[("audiences", "fixed ES256")]);
    let change = json!({"alg": "ES256", "atOnce": true});
    let set = v1(&server, "PUT", "/audiences/https%3A%2F%2Fbilling.example%2Fv1", &[], &change);
    assert_eq!(set.status, 200, "{set:?}");
    let expected = json!({"audience": "https://billing.example/v1", "alg": "ES256", "signedWith": "ES256",
                          "inSeconds": 0, "at": set.json()["at"], "configured": false});
    assert_eq!(set.json(), expected);
    assert_eq!(get(&server, "/audiences")["audiences"][1], expected);
    assert_problem(&v1(&server, "PUT", "/audiences/fixed", &[], &change), 422, "refused");
    assert_problem(&v1(&server, "PUT", "/audiences/a", &[], &json!({"alg": "none"})), 400, "invalid-request");
    assert_problem(&v1(&server, "PUT", "/audiences/a", &[], &json!({})), 400, "invalid-request");
}

#[test]
fn admin_keys_are_made_and_removed() {
    let server = Server::start();
    let new = json!({"name": "deploy", "roles": ["clients"], "expiresIn": "90d"});
    let made = v1(&server, "POST", "/admin-keys", &[], &new);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/admin/v1/admin-keys/deploy")),
        "{made:?}"
    );
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let with_it =
        |method: &str, path: &str| call(method, &server.endpoint(path), &[("api-key", key.as_str())], b"");
    assert_eq!(with_it("GET", "/admin/v1/clients").status, 200);
    assert_problem(&with_it("GET", "/admin/v1/admin-keys"), 403, "missing-role");
    assert_problem(&with_it("POST", "/admin/v1/keys/rotate"), 403, "missing-role");
    assert!(!get(&server, "/admin-keys").to_string().contains(&key));
    assert_problem(&v1(&server, "POST", "/admin-keys", &[], &new), 409, "conflict");
    assert_eq!(v1(&server, "DELETE", "/admin-keys/deploy", &[], &Value::Null).status, 204);
    assert_problem(&with_it("GET", "/admin/v1/clients"), 401, "invalid-admin-key");
    assert_problem(
        &v1(&server, "DELETE", "/admin-keys/deploy", &[], &Value::Null),
        404,
        "admin-key-not-found",
    );
}

#[test]
fn the_audit_log_is_read_in_pages_and_checked() {
    let server = Server::start();
    for number in 0..5 {
        make(&server, &json!({"clientId": format!("c{number}")}));
    }
    let (mut subjects, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&server, &format!("/audit?limit=2&action=client{cursor}"));
        subjects.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["subject"].clone()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(subjects, ["c4", "c3", "c2", "c1", "c0"]);
    assert_eq!(get(&server, "/audit?client=c3")["entries"].as_array().unwrap().len(), 1);
    assert_eq!(get(&server, "/audit?until=2000-01-01T00:00:00Z")["entries"], json!([]));
    for query in ["since=yesterday", "cursor=0", "limit=501"] {
        let answer = v1(&server, "GET", &format!("/audit?{query}"), &[], &Value::Null);
        assert_problem(&answer, 400, "invalid-request");
    }
    let head = get(&server, "/audit/head");
    let checked = v1(&server, "POST", "/audit/verify", &[], &json!({"head": head["head"]})).json();
    assert_eq!(
        (&checked["ok"], &checked["newestHead"]["keyProven"]),
        (&json!(true), &json!(true)),
        "{checked}"
    );
    let broken = v1(&server, "POST", "/audit/verify", &[], &json!({"head": "a.b.c"})).json();
    assert_eq!(broken["ok"], false, "{broken}");
}

#[test]
fn every_refusal_is_a_problem() {
    let server = Server::with(&[("limits.guesses", "3")]);
    let long = json!({"clientName": "x".repeat(70_000)});
    assert_problem(&v1(&server, "POST", "/clients", &[], &long), 413, "too-large");
    assert_problem(&v1(&server, "GET", "/nothing", &[], &Value::Null), 404, "no-such-path");
    let wrong_method = v1(&server, "PUT", "/clients", &[], &json!({}));
    assert_problem(&wrong_method, 405, "method-not-allowed");
    assert_eq!(wrong_method.header("allow"), Some("GET, HEAD, POST"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_problem(&v1(&server, "POST", "/clients", &form, &Value::Null), 415, "not-json");
    for (body, field) in [
        (json!({"scope": "a b"}), "scope"),
        (json!({"audience": ["a b"]}), "audience"),
        (json!({"tokenLifetime": "1"}), "tokenLifetime"),
        (json!({"sourceNetworks": ["x"]}), "sourceNetworks"),
        (json!({"notBefore": "soon"}), "notBefore"),
        (json!({"clientId": ""}), "clientId"),
        (json!({"secretExpiresIn": "never"}), "secretExpiresIn"),
    ] {
        let answer = v1(&server, "POST", "/clients", &[], &body);
        assert_problem(&answer, 400, "invalid-request");
        assert_eq!(answer.json()["field"], field, "{answer:?}");
    }
    let wide = json!({"audienceScopes": {"a": ["x"]}, "scope": ["y"]});
    assert_problem(&v1(&server, "POST", "/clients", &[], &wide), 422, "refused");
    let page = [("origin", "https://evil.example")];
    assert_problem(&v1(&server, "GET", "/clients", &page, &Value::Null), 403, "cross-site");
    assert_problem(
        &v1(&server, "GET", "/clients", &[("host", "evil.example")], &Value::Null),
        421,
        "wrong-host",
    );
    let url = server.endpoint("/admin/v1/clients");
    for _ in 0..3 {
        let denied = call("GET", &url, &[("api-key", "wrong")], b"");
        assert_problem(&denied, 401, "invalid-admin-key");
        assert!(denied.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let stopped = call("GET", &url, &[("api-key", "wrong")], b"");
    assert_problem(&stopped, 429, "too-many-guesses");
    assert!(stopped.header("retry-after").is_some());
}

const EVENT: &str = "/services/https%3A%2F%2Fevent";

/// Registers a service.
#[track_caller]
fn register(server: &Server, service: &Value) -> Answer {
    let answer = v1(server, "POST", "/services", &[], service);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

#[test]
fn a_service_is_registered_read_changed_and_removed() {
    let server = Server::start();
    let actions =
        json!([{"name": "event.edit", "description": ""}, {"name": "event.view", "description": "Shows"}]);
    let new = json!({"audience": "https://event", "description": "Calendar", "actions": actions});
    let made = register(&server, &new);
    assert_eq!(made.header("location"), Some(&*format!("/admin/v1{EVENT}")));
    let read = v1(&server, "GET", EVENT, &[], &Value::Null);
    assert_eq!((read.json(), read.header("etag")), (made.json(), made.header("etag")));
    let shown =
        json!({"audience": "https://event", "description": "Calendar", "actions": actions, "aliases": []});
    assert_eq!(read.json(), shown);

    let seen = [("if-match", read.header("etag").unwrap())];
    let change = json!({
        "removeActions": ["event.view"],
        "renameActions": [{"from": "event.edit", "to": "event.update", "aliasFor": "1h"}],
        "addActions": [{"name": "event.view", "description": "Shows an event"}],
    });
    let changed = v1(&server, "PATCH", EVENT, &seen, &change);
    assert_eq!(changed.status, 200, "{changed:?}");
    let shown = json!({
        "audience": "https://event", "description": "Calendar",
        "actions": [{"name": "event.update", "description": ""}, {"name": "event.view", "description": "Shows an event"}],
        "aliases": [{"name": "event.edit", "action": "event.update", "until": "2027-01-15T09:00:00Z"}],
    });
    assert_eq!((changed.json(), get(&server, EVENT)), (shown.clone(), shown));

    assert_problem(&v1(&server, "PATCH", EVENT, &seen, &change), 412, "precondition-failed");
    assert_problem(&v1(&server, "DELETE", EVENT, &seen, &Value::Null), 412, "precondition-failed");
    assert_problem(&v1(&server, "PATCH", EVENT, &[], &change), 428, "precondition-required");
    assert_problem(&v1(&server, "DELETE", EVENT, &[], &Value::Null), 428, "precondition-required");
    let seen = [("if-match", changed.header("etag").unwrap())];
    let removed =
        v1(&server, "PATCH", EVENT, &seen, &json!({"removeActions": ["event.edit"], "description": ""}));
    assert_eq!((&removed.json()["aliases"], &removed.json()["description"]), (&json!([]), &json!("")));
    let seen = [("if-match", removed.header("etag").unwrap())];
    assert_eq!(v1(&server, "DELETE", EVENT, &seen, &Value::Null).status, 204);
    assert_problem(&v1(&server, "GET", EVENT, &[], &Value::Null), 404, "service-not-found");
    let acts: Vec<_> = crate::audit::entries(&server.database())
        .into_iter()
        .filter(|entry| entry["subject"] == "https://event")
        .map(|entry| {
            (entry["action"].clone(), entry["changed"]["actions"].clone(), entry["request"].is_string())
        })
        .collect();
    let both = json!({"from": "event.edit event.view", "to": "event.update event.view"});
    assert_eq!(acts[1], (json!("service.update"), both, true));
    let names: Vec<_> = acts.iter().map(|(action, ..)| action.clone()).collect();
    assert_eq!(names, ["service.create", "service.update", "service.update", "service.remove"]);
}

#[test]
fn a_service_that_is_registered_there_counts_at_once() {
    let server = Server::start();
    let client = json!({"clientId": "task", "audience": ["event"], "scope": ["event.edit"]});
    let made = make(&server, &client);
    let task =
        crate::support::Client { id: "task".into(), secret: made["clientSecret"].as_str().unwrap().into() };
    register(&server, &json!({"audience": "event", "actions": [{"name": "event.edit"}]}));
    let rename = json!({"renameActions": [{"from": "event.edit", "to": "event.update"}]});
    assert_eq!(v1(&server, "PATCH", "/services/event", &[("if-match", "*")], &rename).status, 200);
    let scope = |asked: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &*task.id),
            ("client_secret", &*task.secret),
            ("scope", asked),
        ];
        crate::support::post_form(&server.token_url(), &fields).json()["scope"].clone()
    };
    assert_eq!(scope("event.update"), "event.update event.edit");
    server.pass(90 * 86_400);
    assert_eq!((scope("event.edit"), scope("event.update")), (Value::Null, json!("event.update")));
    let wrong = json!({"clientId": "b", "audience": ["event"], "scope": ["event.updaet"]});
    let refused = v1(&server, "POST", "/clients", &[], &wrong);
    assert_problem(&refused, 422, "refused");
    assert!(refused.body.contains("did you mean event.update?"), "{refused:?}");
}

#[test]
fn what_is_wrong_with_a_service_is_a_problem_that_says_what_was_meant() {
    let server = Server::start();
    let actions = json!([{"name": "event.view"}, {"name": "event.update"}]);
    register(&server, &json!({"audience": "event", "actions": actions}));
    let said = |method: &str, path: &str, body: Value, status: u16, kind: &str| {
        let answer = v1(&server, method, path, &[("if-match", "*")], &body);
        assert_problem(&answer, status, kind);
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    for (method, body) in [("GET", Value::Null), ("DELETE", Value::Null), ("PATCH", json!({}))] {
        let detail = said(method, "/services/evnt", body, 404, "service-not-found");
        assert_eq!(detail, "there is no service evnt; did you mean event?", "{method}");
    }
    let detail = said("POST", "/services", json!({"audience": "event"}), 409, "conflict");
    assert!(detail.contains("registered already"), "{detail}");
    let patch = |body: Value, status: u16, kind: &str| said("PATCH", "/services/event", body, status, kind);
    let detail = patch(json!({"removeActions": ["event.edit"]}), 422, "refused");
    assert!(detail.ends_with("did you mean event.update?"), "{detail}");
    let detail = patch(json!({"renameActions": [{"from": "event.veiw", "to": "event.see"}]}), 422, "refused");
    assert!(detail.ends_with("did you mean event.view?"), "{detail}");
    patch(
        json!({"renameActions": [{"from": "event.view", "to": "event.see", "aliasFor": "0s"}]}),
        422,
        "refused",
    );
    patch(json!({"addActions": [{"name": "event.view"}]}), 422, "refused");
    patch(json!({"addActions": [{"name": "event.*"}]}), 422, "refused");
    patch(json!({"addActions": [{"name": "openid"}]}), 422, "refused");
    patch(json!({"description": "x".repeat(501)}), 422, "refused");
    // One step that is refused undoes those before it.
    patch(json!({"removeActions": ["event.view"], "addActions": [{"name": "event.update"}]}), 422, "refused");
    assert_eq!(get(&server, "/services/event")["actions"].as_array().unwrap().len(), 2);
    for (body, field) in [
        (json!({"addActions": [{"name": "a b"}]}), "addActions"),
        (json!({"renameActions": [{"from": "event.view", "to": "a b"}]}), "renameActions"),
        (json!({"renameActions": [{"from": "event.view", "to": "a", "aliasFor": "x"}]}), "renameActions"),
        (json!({"description": null}), "description"),
    ] {
        let answer = v1(&server, "PATCH", "/services/event", &[("if-match", "*")], &body);
        assert_problem(&answer, 400, "invalid-request");
        assert_eq!(answer.json()["field"], field, "{answer:?}");
    }
    for body in [json!({}), json!({"audience": "a b"}), json!({"audience": "a", "scope": "x"})] {
        said("POST", "/services", body, 400, "invalid-request");
    }
}

#[test]
fn a_service_is_registered_once_for_an_idempotency_key_and_by_whoever_may_change_clients() {
    let server = Server::start();
    let (key, body) = ([("idempotency-key", "k")], json!({"audience": "event"}));
    let first = v1(&server, "POST", "/services", &key, &body);
    let again = v1(&server, "POST", "/services", &key, &body);
    assert_eq!((first.status, again.status, &again.body), (201, 201, &first.body));
    assert_eq!(again.header("etag"), first.header("etag"));
    for (role, status) in [("read", 403), ("keys", 403), ("clients", 200)] {
        let made = v1(&server, "POST", "/admin-keys", &[], &json!({"name": role, "roles": [role]}));
        let key = made.json()["key"].as_str().unwrap().to_owned();
        let headers = [("api-key", &*key), ("if-match", "*"), ("content-type", "application/json")];
        let with_it = |method: &str, path: &str, body: &[u8]| {
            call(method, &server.endpoint(path), &headers, body).status
        };
        let path = "/admin/v1/services/event";
        assert_eq!(with_it("PATCH", path, br#"{"description": "x"}"#), status, "{role}");
        assert_eq!(
            (with_it("GET", path, b""), with_it("GET", "/admin/v1/misfits", b"")),
            (200, 200),
            "{role}"
        );
    }
}

/// What stands under `name` on all pages of a list.
fn on_all_pages(server: &Server, path: &str, name: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(server, &format!("{path}{cursor}"));
        all.extend(page[name].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn pages_hold_every_service_and_every_misfit_once() {
    let server = Server::start();
    for number in 0..5 {
        let id = format!("c{number}");
        make(&server, &json!({"clientId": id, "audience": ["a1", "b"], "scope": ["x.view", "x.edti"]}));
        make(&server, &json!({"clientId": format!("fits{number}"), "audience": ["b"], "scope": ["x.view"]}));
    }
    for audience in ["b", "a2", "a1", "c"] {
        register(
            &server,
            &json!({"audience": audience, "actions": [{"name": "x.view"}, {"name": "x.edit"}]}),
        );
    }
    let services = on_all_pages(&server, "/services?limit=2", "services");
    let names: Vec<_> = services.iter().map(|service| service["audience"].clone()).collect();
    assert_eq!(names, ["a1", "a2", "b", "c"]);
    let misfits = on_all_pages(&server, "/misfits?limit=2", "misfits");
    let expected: Vec<_> = (0..5)
        .map(|number| json!({"clientId": format!("c{number}"), "scope": "x.edti", "audience": ["a1", "b"], "meant": "x.edit"}))
        .collect();
    assert_eq!(misfits, expected);
    assert_eq!(on_all_pages(&server, "/misfits?limit=2&audience=b", "misfits"), expected);
    assert_eq!(get(&server, "/misfits?audience=c"), json!({"misfits": [], "nextCursor": null}));
    for path in [
        "/services?limit=0",
        "/services?cursor=a%20b",
        "/misfits?limit=501",
        "/misfits?cursor=x",
        "/misfits?scope=x",
    ] {
        assert_problem(&v1(&server, "GET", path, &[], &Value::Null), 400, "invalid-request");
    }
}

#[test]
fn a_page_of_services_ends_at_so_many_bytes() {
    let server = Server::start();
    let actions = |from: usize| -> Vec<_> {
        (from..from + 100)
            .map(|number| json!({"name": format!("x.{number}"), "description": "x".repeat(500)}))
            .collect()
    };
    for number in 0..8 {
        register(&server, &json!({"audience": format!("s{number}"), "actions": actions(0)}));
    }
    let first = get(&server, "/services?limit=500");
    assert!((1..8).contains(&first["services"].as_array().unwrap().len()), "{}", first["nextCursor"]);
    assert_eq!(on_all_pages(&server, "/services?limit=500", "services").len(), 8);
}

#[test]
fn what_clients_do_not_use_is_told_in_pages() {
    let server = Server::start();
    let secrets: Vec<_> = (0..5)
        .map(|number| {
            let grants = json!({"event": ["event.view", "event.create"], "file": ["file.*"]});
            let client = json!({"clientId": format!("c{number}"), "audienceScopes": grants});
            make(&server, &client)["clientSecret"].as_str().unwrap().to_owned()
        })
        .collect();
    let ask = |number: usize| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &*format!("c{number}")),
            ("client_secret", &*secrets[number]),
            ("audience", "event"),
            ("scope", "event.view"),
        ];
        assert_eq!(crate::support::post_form(&server.token_url(), &fields).status, 200);
    };
    ask(0);
    server.pass(86_400);
    ask(1);
    // What is used is written down behind.
    server.pass(3600);
    let first = get(&server, "/unused?for=12h&limit=2");
    let row = |id: &str, kind: &str, audience: Value, scope: Value, last: Value| json!({"clientId": id, "kind": kind, "secret": null, "audience": audience, "scope": scope, "used": null, "lastUsedAt": last});
    let unused = json!([
        row("c0", "client", Value::Null, Value::Null, json!("2027-01-15T08:00:00Z")),
        row("c1", "audience", json!("file"), Value::Null, Value::Null),
        row("c1", "scope", json!("event"), json!("event.create"), Value::Null),
    ]);
    assert_eq!(first["unused"], unused, "{first}");
    assert_eq!(
        (&first["usedBefore"], &first["grantUsesSince"]),
        (&json!("2027-01-15T21:00:00Z"), &json!("2027-01-15T08:00:00Z"))
    );
    assert_eq!(
        (&first["narrower"][0]["enabled"], &first["narrower"][0]["scope"]),
        (&json!(false), &json!(["event.view", "event.create", "file.*"]))
    );
    assert_eq!(
        (&first["narrower"][1]["audience"], &first["narrower"][1]["scope"]),
        (&json!(["event"]), &json!(["event.view"]))
    );
    let all = on_all_pages(&server, "/unused?for=12h&limit=2", "narrower");
    let ids: Vec<_> = all.iter().map(|client| client["clientId"].clone()).collect();
    assert_eq!(ids, ["c0", "c1", "c2", "c3", "c4"]);
    assert_eq!(get(&server, "/unused")["unused"], json!([]), "nothing is as old as a month");
    assert_eq!(get(&server, "/clients/c1")["audience"], json!(["event", "file"]), "to look changes nothing");
    for query in ["for=soon", "for=1", "limit=0", "cursor=x", "span=1d"] {
        assert_problem(
            &v1(&server, "GET", &format!("/unused?{query}"), &[], &Value::Null),
            400,
            "invalid-request",
        );
    }
}

fn declaration(text: &str, more: &Value) -> Value {
    let mut body = json!({"files": [{"name": "a.toml", "text": text}]});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    body
}

const DECLARED: &str = r#"
[services.event]
actions = ["event.create"]
[clients.nightly]
lifetime = "15m"
grants.event = ["event.create"]
"#;

#[test]
fn what_is_declared_is_planned_and_then_done_with_secrets_that_are_shown_once() {
    let server = Server::start();
    let body = declaration(DECLARED, &Value::Null);
    let plan = v1(&server, "POST", "/declaration/plan", &[], &body);
    assert_eq!(plan.status, 200, "{plan:?}");
    let fields = json!([
        {"field": "lifetime", "from": null, "to": "\"15m\""},
        {"field": "grants.event", "from": null, "to": "[\"event.create\"]"},
    ]);
    assert_eq!(
        plan.json()["changes"][1],
        json!({"action": "add", "kind": "client", "name": "nightly", "fields": fields})
    );
    assert_eq!(plan.json()["applied"], false);
    assert_eq!(get(&server, "/clients")["clients"], json!([]), "a plan changes nothing");

    assert_problem(&v1(&server, "POST", "/declaration", &[], &body), 428, "precondition-required");
    let seen = [("if-match", plan.header("etag").unwrap()), ("idempotency-key", "k")];
    let done = v1(&server, "POST", "/declaration", &seen, &body);
    assert_eq!((done.status, &done.json()["changes"]), (200, &plan.json()["changes"]), "{done:?}");
    let secret = done.json()["clientSecrets"]["nightly"].as_str().unwrap().to_owned();
    assert!(server.is_active(&server.token(&crate::support::Client { id: "nightly".into(), secret })));
    assert_eq!(v1(&server, "POST", "/declaration", &seen, &body).body, done.body, "once for a key");
    let other = [("if-match", "*"), ("idempotency-key", "k")];
    assert_problem(&v1(&server, "POST", "/declaration", &other, &body), 422, "idempotency-key-reused");
    let again = v1(&server, "POST", "/declaration", &[("if-match", "*")], &body);
    assert_eq!(again.json(), json!({"changes": [], "applied": true}));

    // What somebody else does in between makes it another plan.
    let body = declaration(&DECLARED.replace("15m", "30m"), &Value::Null);
    let plan = v1(&server, "POST", "/declaration/plan", &[], &body);
    let change = json!({"tokenLifetime": "10m"});
    assert_eq!(v1(&server, "PATCH", "/clients/nightly", &[("if-match", "*")], &change).status, 200);
    let seen = [("if-match", plan.header("etag").unwrap())];
    assert_problem(&v1(&server, "POST", "/declaration", &seen, &body), 412, "precondition-failed");
    assert_eq!(get(&server, "/clients/nightly")["tokenLifetime"], "10m");
    let acts: Vec<_> = crate::audit::entries(&server.database())
        .into_iter()
        .filter(|entry| entry["actor"] == "admin_key configuration" || entry["request"].is_string())
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(acts, ["service.create", "client.create", "client.update"]);
}

#[test]
fn a_declaration_with_a_mistake_or_against_a_rule_changes_nothing() {
    let server = Server::start();
    make(&server, &json!({"clientId": "old"}));
    for (text, more, kind, said) in [
        (
            "[clients.a]\nlifetme = \"1h\"",
            json!({}),
            "invalid-declaration",
            "a.toml:2: unknown key clients.a.lifetme; did you mean lifetime?",
        ),
        (
            "[clients.a]\nsupertokens = '{\"scope\": \"x\"}'",
            json!({}),
            "invalid-declaration",
            "clients.a.supertokens",
        ),
        ("", json!({"secretSha256": {"a": "0".repeat(64)}}), "invalid-declaration", "a is not declared"),
        ("[clients.b]", json!({"prune": true}), "refused", "every one of them would be removed"),
        ("[clients.a]\nlifetime = \"90d\"", json!({}), "refused", "client a: the lifetime 90d is longer"),
        (
            "[services.event]\nactions = [\"event.view\"]\n[clients.a]\ngrants.event = [\"event.veiw\"]",
            json!({}),
            "refused",
            "did you mean event.view?",
        ),
    ] {
        let body = declaration(text, &more);
        for path in ["/declaration/plan", "/declaration"] {
            let answer = v1(&server, "POST", path, &[("if-match", "*")], &body);
            assert_problem(&answer, 422, kind);
            assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{answer:?}");
        }
    }
    let bad = declaration("[clients.a]", &json!({"secretSha256": {"a": "hunter2"}}));
    let answer = v1(&server, "POST", "/declaration", &[("if-match", "*")], &bad);
    assert_problem(&answer, 400, "invalid-request");
    assert!(!answer.body.contains("hunter2"));
    assert_eq!(get(&server, "/clients")["clients"].as_array().unwrap().len(), 1);
    assert_eq!(get(&server, "/services")["services"], json!([]));
    // It may be larger than other requests, and not as large as one likes.
    let long = |bytes: usize| declaration(&format!("#{}", "x".repeat(bytes)), &Value::Null);
    assert_eq!(v1(&server, "POST", "/declaration/plan", &[], &long(1_000_000)).status, 200);
    assert_problem(&v1(&server, "POST", "/declaration/plan", &[], &long(1_100_000)), 413, "too-large");
}

#[test]
fn the_parts_of_the_declaration_make_one_file_that_changes_nothing() {
    let server = Server::start();
    for number in 0..3 {
        register(
            &server,
            &json!({"audience": format!("s {number}").replace(' ', "/"), "actions": [{"name": "a.b"}]}),
        );
        make(
            &server,
            &json!({"clientId": format!("c{number}"), "audience": ["s/1"], "scope": ["a.b"], "metadata": {"a": 1}}),
        );
    }
    let rename = json!({"renameActions": [{"from": "a.b", "to": "a.c"}]});
    assert_eq!(v1(&server, "PATCH", "/services/s%2F1", &[("if-match", "*")], &rename).status, 200);
    let (mut whole, mut cursor, mut parts) = (String::new(), String::new(), 0);
    loop {
        let part = get(&server, &format!("/declaration?limit=2{cursor}"));
        whole = whole + part["toml"].as_str().unwrap() + "\n";
        parts += 1;
        match part["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        (parts, whole.matches("[services.").count(), whole.matches("[clients.").count()),
        (4, 3, 3),
        "{whole}"
    );
    let plan = v1(&server, "POST", "/declaration/plan", &[], &declaration(&whole, &json!({"prune": true})));
    assert_eq!((plan.status, &plan.json()["changes"]), (200, &json!([])), "{plan:?}");
    assert_problem(&v1(&server, "GET", "/declaration?cursor=x", &[], &Value::Null), 400, "invalid-request");
}
