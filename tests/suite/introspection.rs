//! Introspection (RFC 7662) and revocation (RFC 7009): who is told what, and what lasts.

use serde_json::{Value, json};

use crate::support::http::{basic, call};
use crate::support::{Answer, Client, Server, form};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[track_caller]
fn ask(server: &Server, path: &str, client: &Client, token: &str) -> Answer {
    let headers = [("authorization", &*basic(&client.id, &client.secret)), FORM];
    call("POST", &server.endpoint(path), &headers, form(&[("token", token)]).as_bytes())
}

#[track_caller]
fn introspect(server: &Server, client: &Client, token: &str) -> Value {
    let answer = ask(server, "/auth/oauth/introspect", client, token);
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    answer.json()
}

fn inactive() -> Value {
    json!({"active": false})
}

#[test]
fn an_active_token_is_described_by_all_its_claims() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let told = introspect(&server, &client, &token);
    let mut expected = json!({"active": true, "token_type": "Bearer"});
    expected
        .as_object_mut()
        .unwrap()
        .extend(crate::support::token::claims(&token).as_object().unwrap().clone());
    assert_eq!(told, expected);
}

#[test]
fn a_client_is_told_about_tokens_that_concern_it_and_no_others() {
    let server = Server::start();
    let owner = server.task_service();
    let token = server.token(&owner);
    let named = server.client(&json!({"clientId": "event", "audience": []}));
    let same_audience = server.client(&json!({"audience": ["event", "mail"]}));
    let stranger = server.client(&json!({"audience": ["mail"]}));
    for client in [&owner, &named, &same_audience] {
        assert_eq!(introspect(&server, client, &token)["active"], true, "{client:?}");
    }
    assert_eq!(introspect(&server, &stranger, &token), inactive());
}

#[test]
fn what_is_no_good_token_is_inactive_and_nothing_else_is_said() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for wrong in ["x", "a.b.c", head, &format!("{head}.{flipped}{}", &signature[1..]), &format!("{token} ")] {
        assert_eq!(introspect(&server, &client, wrong), inactive(), "{wrong}");
    }
    server.pass(3600);
    assert_eq!(introspect(&server, &client, &token), inactive(), "expired");
}

#[test]
fn credentials_are_checked_first() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let wrong = Client { secret: "wrong".into(), ..client.clone() };
    for path in ["/auth/oauth/introspect", "/auth/oauth/revoke"] {
        let answer = ask(&server, path, &wrong, &token);
        assert_eq!((answer.status, &*answer.error()), (401, "invalid_client"));
        assert!(answer.header("www-authenticate").is_some());
        let url = server.endpoint(path);
        assert_eq!(call("POST", &url, &[FORM], form(&[("token", &token)]).as_bytes()).status, 401);
        let headers = [("authorization", &*basic(&client.id, &client.secret)), FORM];
        assert_eq!(call("POST", &url, &headers, b"").error(), "invalid_request");
        assert_eq!(call("GET", &url, &[], b"").status, 405);
    }
    assert!(server.is_active(&token));
}

#[test]
fn a_revoked_token_stays_revoked_after_a_restart_until_it_expires_and_is_then_forgotten() {
    let mut server = Server::start();
    let client = server.task_service();
    let (revoked, kept) = (server.token(&client), server.token(&client));
    let answer = ask(&server, "/auth/oauth/revoke", &client, &revoked);
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert_eq!((server.is_active(&revoked), server.is_active(&kept)), (false, true));
    server.restart();
    assert_eq!((server.is_active(&revoked), server.is_active(&kept)), (false, true));
    let rows = || {
        let file = rusqlite::Connection::open(server.database()).unwrap();
        file.query_row("SELECT count(*) FROM revoked_tokens", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    server.pass(3000);
    assert_eq!(rows(), 1);
    server.pass(700);
    assert_eq!(rows(), 0);
}

#[test]
fn a_clock_that_is_set_ahead_and_back_brings_no_revoked_token_to_life() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    ask(&server, "/auth/oauth/revoke", &client, &token);
    let day = 86_400_000;
    server.clock.jump(day);
    server.settle();
    server.token(&client);
    server.pass(120);
    server.clock.jump(-day);
    server.settle();
    assert!(!server.is_active(&token));
}

#[test]
fn revoking_what_is_unknown_is_a_success() {
    let server = Server::start();
    let client = server.task_service();
    for token in ["unknown", "a.b.c"] {
        assert_eq!(ask(&server, "/auth/oauth/revoke", &client, token).status, 200);
    }
}

#[test]
fn the_token_of_another_client_cannot_be_revoked() {
    let server = Server::start();
    let (owner, other) = (server.task_service(), server.task_service());
    let token = server.token(&owner);
    let answer = ask(&server, "/auth/oauth/revoke", &other, &token);
    assert_eq!((answer.status, &*answer.error()), (400, "invalid_request"));
    assert!(server.is_active(&token));
}

#[test]
fn revoking_all_ends_every_token_issued_until_now_and_none_after() {
    let mut server = Server::start();
    let (client, other) = (server.task_service(), server.task_service());
    let (before, of_other) = (server.token(&client), server.token(&other));
    let answer = server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": client.id}));
    assert_eq!(answer.json(), json!({"status": "OK"}));
    // In the same second, a millisecond later.
    server.clock.pass(1);
    let after = server.token(&client);
    for _ in 0..2 {
        assert_eq!([&before, &after, &of_other].map(|token| server.is_active(token)), [false, true, true]);
        server.restart();
    }
    let unknown = server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": "nobody"}));
    assert_eq!(unknown.json(), json!({"status": "OK"}));
}

#[test]
fn tokens_of_a_disabled_or_removed_client_are_inactive() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "enabled": false}));
    assert!(!server.is_active(&token));
    server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "enabled": true}));
    assert!(server.is_active(&token));
    server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id}));
    assert!(!server.is_active(&token));
}

#[test]
fn the_core_revokes_by_admin_key_with_or_without_credentials() {
    let server = Server::start();
    let (client, other) = (server.task_service(), server.task_service());
    let revoke = |body: Value| server.admin("POST", "/recipe/oauth/token/revoke", &body).json();
    let tokens: Vec<_> = (0..3).map(|_| server.token(&client)).collect();
    assert_eq!(revoke(json!({"token": tokens[0]})), json!({"status": "OK"}));
    let mut body = json!({"token": tokens[1], "client_id": client.id, "client_secret": client.secret});
    assert_eq!(revoke(body.clone()), json!({"status": "OK"}));
    body["token"] = json!(tokens[2]);
    body["client_secret"] = json!("wrong");
    assert_eq!(revoke(body.clone())["error"], "invalid_client");
    let header = basic(&client.id, &client.secret);
    assert!(server.is_active(&tokens[2]));
    assert_eq!(
        revoke(json!({"token": tokens[2], "client_id": other.id, "client_secret": other.secret}))["status"],
        "OAUTH_ERROR"
    );
    assert_eq!(revoke(json!({"token": tokens[2], "authorizationHeader": header})), json!({"status": "OK"}));
    assert!(tokens.iter().all(|token| !server.is_active(token)));
}

#[test]
fn the_core_introspects_for_a_scope() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let ask = |scope: &str| {
        server.admin("POST", "/recipe/oauth/introspect", &json!({"token": token, "scope": scope})).json()
    };
    assert_eq!(
        (&ask("event.create")["active"], &ask("event.create")["status"]),
        (&json!(true), &json!("OK"))
    );
    assert_eq!(ask("event.view"), json!({"status": "OK", "active": false}));
    assert_eq!(ask("")["active"], true);
}

#[test]
fn tokens_of_a_client_that_was_removed_are_none_of_the_next_one_with_its_id() {
    let server = Server::start();
    let fields = json!({"clientId": "task", "audience": ["event"], "scope": "event.create"});
    let revoked = server.token(&server.client(&fields));
    server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": "task"}));
    server.clock.pass(1);
    let old = {
        server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": "task"}));
        let token = server.token(&server.client(&fields));
        server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": "task"}));
        token
    };
    server.clock.pass(1);
    let client = server.client(&fields);
    assert_eq!((server.is_active(&revoked), server.is_active(&old)), (false, false));
    assert!(server.is_active(&server.token(&client)));
}
