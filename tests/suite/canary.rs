//! `m2mint keys canary`: shows who knows the next key, and is good for nothing else.

use std::process::Output;
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet as ForeignSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use m2mint_keys::verify::Rejection;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::http::{basic, call};
use crate::support::token::{claims, kid, now, verify};
use crate::support::{Process, form, process};

fn try_canary(server: &Process, more: &[&str]) -> Output {
    let issuer = server.endpoint("/auth");
    let mut command = process::command(server.directory.path());
    command.args(["keys", "canary", "--audience", "event", "--json", "--issuer", &issuer]).args(more);
    command.output().unwrap()
}

#[track_caller]
fn canary(server: &Process) -> Value {
    let output = try_canary(server, &[]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, told: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && said.contains(told), "{told}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn kid_of(server: &Process, alg: &str, state: &str) -> String {
    let keys = server.verb_json(&["keys", "--json"]);
    let found =
        keys["keys"].as_array().unwrap().iter().find(|key| key["alg"] == alg && key["state"] == state);
    found.unwrap_or_else(|| panic!("{keys}"))["kid"].as_str().unwrap().to_owned()
}

/// Starts a server, and waits until the next key is served.
fn start() -> Process {
    let server = Process::start();
    server.wait_until("the standby is served", || try_canary(&server, &[]).status.success());
    server
}

/// A service that checks with a library that is not ours: who calls, if the signature and the times are good.
fn foreign(token: &str, jwks: &str) -> Option<Value> {
    let set: ForeignSet = serde_json::from_str(jwks).unwrap();
    let key = DecodingKey::from_jwk(set.find(&kid(token))?).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["event"]);
    Some(decode::<Value>(token, &key, &validation).unwrap().claims)
}

#[test]
fn whoever_knows_the_standby_knows_the_canary_and_nobody_else_does() {
    let server = start();
    let before = server.jwks();
    server.verb(&["keys", "rotate"]);
    server.wait_until("rotated", || server.jwks() != before);
    server.wait_until("the next standby is served", || try_canary(&server, &[]).status.success());
    let canary = canary(&server);
    let token = canary["token"].as_str().unwrap();
    let standby = kid_of(&server, "EdDSA", "standby");
    assert!(canary["kid"] == *standby && kid(token) == standby, "{canary}");
    // A service that still holds the key set of before, and one that has the latest.
    assert_eq!(verify(token, &before, now()), Err(Rejection::UnknownKey));
    assert_eq!(foreign(token, &before), None);
    assert_eq!(verify(token, &server.jwks(), now()), Err(Rejection::Canary));
    let seen = foreign(token, &server.jwks()).unwrap();
    assert!(seen["scp"] == json!([]) && seen["scope"] == "" && seen["m2mint_canary"] == true, "{seen}");
    assert_eq!(Rejection::Canary.error().status(), 403);
    assert_eq!(Rejection::UnknownKey.error().status(), 401);
    let claims = claims(token);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims["iss"], server.endpoint("/auth"));
}

#[test]
fn m2mint_itself_takes_it_for_nothing() {
    let server = start();
    let client = server.client();
    let canary = canary(&server);
    let token = canary["token"].as_str().unwrap();
    let answer = server.admin("POST", "/recipe/oauth/introspect", &json!({"token": token})).json();
    assert_eq!(answer["active"], false, "{answer}");
    let headers = [
        ("authorization", &*basic(&client.id, &client.secret)),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = call(
        "POST",
        &server.endpoint("/auth/oauth/introspect"),
        &headers,
        form(&[("token", token)]).as_bytes(),
    );
    assert_eq!(answer.json(), json!({"active": false}));
    let bearer = format!("Bearer {token}");
    for (path, headers) in
        [("/auth/oauth/token", "authorization"), ("/recipe/oauth/clients/list", "authorization")]
    {
        let answer = call("GET", &server.endpoint(path), &[(headers, &bearer)], b"");
        assert!(answer.status >= 400, "{path}: {answer:?}");
    }
    // Nobody can be, or become, the client that it names.
    let name = claims(token)["client_id"].as_str().unwrap().to_owned();
    let made = server.admin("POST", "/recipe/oauth/clients", &json!({"clientId": name}));
    assert!(made.status == 400 || made.json()["status"] == "OAUTH_ERROR", "{made:?}");
    let explained = server.run(&["verify", token, "--issuer", &server.endpoint("/auth")]);
    let told = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert_eq!(explained.status.code(), Some(3));
    assert!(told.contains("by the standby key") && told.contains("refused: a canary"), "{told}");
}

#[test]
fn no_other_token_is_one_and_no_other_token_is_signed_by_the_standby() {
    let server = start();
    let client = server.client();
    let standby = kid_of(&server, "EdDSA", "standby");
    let body = json!({
        "iss": "https://auth.example",
        "inputBody": {"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret},
        "access_token": {"m2mint_canary": true, "tenant": "blue"},
    });
    let answer = server.admin("POST", "/recipe/oauth/token", &body).json();
    let token = answer["access_token"].as_str().unwrap();
    assert!(claims(token)["m2mint_canary"].is_null() && claims(token)["tenant"] == "blue", "{answer}");
    let count =
        |action: &str| server.verb_json(&["audit", "--action", action, "--json"]).as_array().unwrap().len();
    let before = count("key.canary");
    canary(&server);
    assert_eq!(count("key.canary"), before + 1);
    let told = server.verb_json(&["audit", "--action", "key.canary", "--json"]);
    let last = told.as_array().unwrap().last().unwrap().clone();
    assert!(last["subject"] == *standby && last["changed"]["audience"] == "event", "{last}");
    assert!(last["actor"].as_str().unwrap().starts_with("command line"), "{last}");
    for token in [token.to_owned(), server.token(&client)] {
        assert_ne!(kid(&token), standby);
    }
    // The log is signed by the key that signs.
    let head = server.verb(&["audit", "head"]);
    assert_ne!(kid(head.trim()), standby);
    server.verb(&["audit", "verify"]);
}

#[test]
fn a_rotation_goes_on_as_if_there_had_been_no_canary() {
    let server = start();
    let client = server.client();
    let canary = canary(&server);
    server.verb(&["keys", "rotate"]);
    assert_eq!(server.active_kid("EdDSA"), canary["kid"].as_str().unwrap());
    let token = server.token(&client);
    assert_eq!(kid(&token), canary["kid"].as_str().unwrap());
    assert!(verify(&token, &server.jwks(), now()).is_ok());
    // It is what it was, by the key that signs now.
    assert_eq!(verify(canary["token"].as_str().unwrap(), &server.jwks(), now()), Err(Rejection::Canary));
    let directory = Arc::clone(&server.directory);
    server.stop();
    Process::again(directory, &[]).token(&client);
}

#[test]
fn it_is_good_no_longer_than_any_token_of_its_key() {
    let server = Process::with(&[("M2MINT_TOKEN__LIFETIME", "5s"), ("M2MINT_TOKEN__MAX_LIFETIME", "5s")]);
    server.wait_until("the standby is served", || try_canary(&server, &[]).status.success());
    let claims = claims(canary(&server)["token"].as_str().unwrap());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 5);
}

#[test]
fn an_audience_gets_it_from_the_ring_that_signs_for_it() {
    let server = start();
    server.verb(&["audiences", "set", "event", "--alg", "ES256", "--at-once"]);
    server.wait_until("its standby is served", || {
        let output = try_canary(&server, &[]);
        output.status.success()
            && serde_json::from_slice::<Value>(&output.stdout).unwrap()["kid"]
                == *kid_of(&server, "ES256", "standby")
    });
    let token = canary(&server);
    assert_eq!(verify(token["token"].as_str().unwrap(), &server.jwks(), now()), Err(Rejection::Canary));
}

#[test]
fn without_the_right_master_key_clock_and_database_there_is_none() {
    let nowhere = tempfile::tempdir().unwrap();
    let mut init = process::command(nowhere.path());
    assert!(init.args(["init", "--yes"]).output().unwrap().status.success());
    let unserved =
        process::command(nowhere.path()).args(["keys", "canary", "--audience", "event"]).output().unwrap();
    refused(&unserved, 3, "not served yet");

    let server = start();
    refused(&try_canary(&server, &["--audience", "no audience"]), 2, "");
    let path = |name: &str| server.path(name);
    let master = std::fs::read(path("m2mint.db.key")).unwrap();
    std::fs::write(path("m2mint.db.key"), "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=").unwrap();
    refused(&try_canary(&server, &[]), 1, "the master key does not open this database");
    std::fs::write(path("m2mint.db.key"), master).unwrap();
    server.verb(&["backup", "backup.db"]);
    server.verb(&["keys", "rotate"]);
    let (directory, issuer) = (Arc::clone(&server.directory), server.endpoint("/auth"));
    server.stop();

    let again = || {
        let mut command = process::command(directory.path());
        command.args(["keys", "canary", "--audience", "event", "--issuer", &issuer]).output().unwrap()
    };
    let db = Connection::open(directory.path().join("m2mint.db")).unwrap();
    db.execute("UPDATE issuer SET clock_wall = clock_wall - 3600000", []).unwrap();
    refused(&again(), 3, "the clock is ahead");
    db.execute("UPDATE issuer SET clock_wall = clock_wall + 3600000", []).unwrap();
    drop(db);
    assert!(again().status.success(), "no server has to run: {:?}", again());
    std::fs::rename(directory.path().join("backup.db"), directory.path().join("m2mint.db")).unwrap();
    refused(&again(), 3, "m2mint keys recover");
}
