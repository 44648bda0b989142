//! Clients beyond SuperTokens' fields: secrets that come and go, scopes by audience, wildcards.

use std::time::Duration;

use m2mint::administration;
use m2mint::model::ClientSecret;
use m2mint::model::audit::Origin;
use m2mint::store::Store;
use serde_json::json;

use crate::support::in_process::START;
use crate::support::{Client, Server};
use crate::token_dialects::{ALL, Dialect};

/// Gives a client one more secret, through the file, as the command line does.
pub fn add_secret(server: &Server, id: &str, expires_in: Option<u64>) -> Client {
    let store = Store::open(&server.database(), None).unwrap();
    let secret = ClientSecret::generate().unwrap();
    let expires_at = expires_in.map(|secs| START.plus(Duration::from_secs(secs)));
    administration::add_secret(&store, id, &secret, START, expires_at, &Origin::of("test")).unwrap();
    Client { id: id.to_owned(), secret: secret.expose().to_owned() }
}

#[test]
fn a_secret_is_rotated_by_having_two_for_a_while() {
    let server = Server::start();
    let old = server.client(&json!({"audience": ["event"]}));
    let new = add_secret(&server, &old.id, None);
    server.settle();
    for client in [&old, &new] {
        assert_eq!(Dialect::Form.token(&server, client, &[]).status, 200);
    }
    let store = Store::open(&server.database(), None).unwrap();
    let first = administration::secrets(&store, &old.id).unwrap()[0].id;
    administration::remove_secret(&store, &old.id, first, START, &Origin::of("test")).unwrap();
    server.settle();
    assert_eq!(Dialect::Form.token(&server, &old, &[]).status, 401);
    assert_eq!(Dialect::Form.token(&server, &new, &[]).status, 200);
}

#[test]
fn the_last_use_of_a_secret_is_written_behind() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"]}));
    assert_eq!(Dialect::Form.token(&server, &client, &[]).status, 200);
    let last_use = || {
        let store = Store::open(&server.database(), None).unwrap();
        administration::secrets(&store, &client.id).unwrap()[0].last_used_at
    };
    assert_eq!(last_use(), None);
    server.pass(61);
    assert_eq!(last_use(), Some(START));
}

#[test]
fn a_chosen_secret_works_again_and_again() {
    let server = Server::start();
    let client = server.client(&json!({"clientSecret": "a secret of our own choice", "audience": ["event"]}));
    for _ in 0..3 {
        assert_eq!(Dialect::Form.token(&server, &client, &[]).status, 200);
    }
    let wrong = Client { secret: "a secret of our own choicE".into(), ..client };
    assert_eq!(Dialect::Form.token(&server, &wrong, &[]).status, 401);
}

#[test]
fn scopes_by_audience_keep_one_service_out_of_the_other() {
    let server = Server::start();
    let client = server.client(&json!({
        "scope": "event.* file.view", "audience": ["event", "file"],
        "audienceScopes": {"event": ["event.*"], "file": ["file.view"]},
        "metadata": {"audienceScopes": "is the user's own"},
    }));
    for dialect in ALL {
        for (audience, scope, status) in [
            ("event", "event.view", 200),
            ("event", "event.delete", 200),
            ("file", "file.view", 200),
            ("event", "file.view", 400),
            ("file", "event.view", 400),
            ("file", "file.delete", 400),
        ] {
            let answer = dialect.token(&server, &client, &[("audience", audience), ("scope", scope)]);
            assert_eq!(answer.status, status, "{dialect:?} {audience} {scope}: {answer:?}");
            if status == 400 {
                assert_eq!(answer.error(), "invalid_scope");
            }
        }
    }
}

#[test]
fn without_a_map_every_scope_goes_with_every_audience() {
    let server = Server::start();
    let client = server.task_service();
    for (audience, scope) in [("event", "file.view"), ("file", "event.view")] {
        assert_eq!(
            Dialect::Form.token(&server, &client, &[("audience", audience), ("scope", scope)]).status,
            200
        );
    }
}

#[test]
fn a_wildcard_grant_gives_the_concrete_scope_that_was_asked_for() {
    let server = Server::start();
    let client = server.task_service();
    let answer = Dialect::Form.token(&server, &client, &[("audience", "file"), ("scope", "file.view")]);
    assert_eq!(answer.json()["scope"], "file.view");
}

#[test]
fn a_change_counts_before_it_is_acknowledged() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"], "scope": "event.view"}));
    for round in 0..20 {
        let scope = format!("event.view round.{round}");
        server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "scope": scope}));
        let answer = Dialect::Form.token(&server, &client, &[("scope", &format!("round.{round}"))]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id}));
    assert_eq!(Dialect::Form.token(&server, &client, &[]).status, 401);
}
