//! Audiences with an algorithm of their own: a second ring of keys, one JWKS, and no verifier that is surprised.

use serde_json::{Value, json};

use crate::support::in_process::START;
use crate::support::token::{kid, part, verify};
use crate::support::{Process, Server, call, get};

const A: i64 = 25 * 3600;

fn alg(token: &str) -> Value {
    part(token, 0)["alg"].clone()
}

fn algs(server: &Server, query: &str) -> Vec<String> {
    let set = get(&server.endpoint(&format!("/auth/jwt/jwks.json{query}"))).json();
    set["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn set(server: &Server, fields: &Value) -> Value {
    let answer = server.admin("PUT", "/recipe/oauth/audiences", fields);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn without_such_an_audience_there_is_one_ring() {
    let server = Server::start();
    assert_eq!(algs(&server, ""), ["EdDSA", "EdDSA"]);
    let discovery = get(&server.endpoint("/.well-known/openid-configuration")).json();
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
    assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json?alg=ES256")).body, r#"{"keys":[]}"#);
}

#[test]
fn a_token_is_signed_by_its_audiences_algorithm_and_the_client_has_no_say() {
    let server = Server::with(&[("audiences", "event ES256")]);
    let client = server.task_service();
    let token = server.token(&client);
    assert_eq!(alg(&token), "ES256");
    assert!(verify(&token, &get(&server.endpoint("/auth/jwt/jwks.json")).body, START).is_ok());
    assert!(server.is_active(&token));
    let at_file = crate::support::post_form(
        &server.token_url(),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("audience", "file"),
            ("alg", "ES256"),
        ],
    );
    assert_eq!(alg(at_file.json()["access_token"].as_str().unwrap()), "EdDSA");
}

#[test]
fn one_jwks_holds_both_rings_and_each_can_be_had_alone() {
    let server = Server::with(&[("audiences", "event ES256")]);
    assert_eq!(algs(&server, ""), ["EdDSA", "EdDSA", "ES256", "ES256"]);
    assert_eq!(algs(&server, "?alg=ES256"), ["ES256", "ES256"]);
    assert_eq!(algs(&server, "?kid=x&alg=EdDSA"), ["EdDSA", "EdDSA"]);
    assert_eq!(algs(&server, "?alg=RS256"), [""; 0]);
    let discovery = get(&server.endpoint("/auth/.well-known/openid-configuration")).json();
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["EdDSA", "ES256"]));

    let tags = ["", "?alg=ES256", "?alg=EdDSA", "?alg=RS256"].map(|query| {
        let url = server.endpoint(&format!("/auth/jwt/jwks.json{query}"));
        let tag = get(&url).header("etag").unwrap().to_owned();
        assert_eq!(call("GET", &url, &[("if-none-match", &tag)], b"").status, 304);
        tag
    });
    let different: std::collections::HashSet<_> = tags.iter().collect();
    assert_eq!(different.len(), tags.len());
}

#[test]
fn as_long_as_nobody_has_seen_a_key_set_new_keys_sign_at_once() {
    let server = Server::start();
    let client = server.task_service();
    let answer = set(&server, &json!({"audience": "event", "alg": "ES256"}));
    assert_eq!(
        answer,
        json!({"status": "OK", "audience": "event", "alg": "ES256", "signedWith": "ES256", "from": null})
    );
    assert_eq!(alg(&server.token(&client)), "ES256");
}

#[test]
fn once_somebody_may_hold_a_key_set_new_keys_sign_when_everybody_can_have_them() {
    let mut server = Server::start();
    let client = server.task_service();
    let old_set = get(&server.endpoint("/auth/jwt/jwks.json")).body;
    let answer = set(&server, &json!({"audience": "event", "alg": "ES256"}));
    assert_eq!((&answer["signedWith"], answer["from"].is_string()), (&json!("EdDSA"), true), "{answer}");
    let token = server.token(&client);
    assert_eq!(alg(&token), "EdDSA");
    assert!(verify(&token, &old_set, START).is_ok());
    server.restart();
    server.pass(A - 1);
    assert_eq!(alg(&server.token(&client)), "EdDSA");
    server.pass(1);
    let token = server.token(&client);
    assert_eq!(alg(&token), "ES256");
    assert_eq!(kid(&token), get(&server.endpoint("/auth/jwt/jwks.json?alg=ES256")).json()["keys"][0]["kid"]);

    // What every verifier knows by now, a further audience has at once.
    let answer = set(&server, &json!({"audience": "file", "alg": "ES256"}));
    assert_eq!(answer["signedWith"], "ES256");
}

#[test]
fn a_restarted_server_does_not_claim_that_nobody_has_seen_its_keys() {
    let mut server = Server::start();
    server.restart();
    assert_eq!(set(&server, &json!({"audience": "event", "alg": "ES256"}))["signedWith"], "EdDSA");
}

#[test]
fn for_an_audience_that_nobody_checks_yet_nobody_has_to_be_waited_for() {
    let server = Server::start();
    server.kids();
    set(&server, &json!({"audience": "file", "alg": "ES256"}));
    let answer = set(&server, &json!({"audience": "event", "alg": "ES256", "atOnce": true}));
    assert_eq!(answer["signedWith"], "ES256");
    assert_eq!(alg(&server.token(&server.task_service())), "ES256");
    let all = server.admin("GET", "/recipe/oauth/audiences", &Value::Null).json();
    let signed_with: Vec<_> =
        all["audiences"].as_array().unwrap().iter().map(|one| &one["signedWith"]).collect();
    assert_eq!(signed_with, ["ES256", "EdDSA"], "file still waits");
}

#[test]
fn an_audience_goes_back_to_eddsa_at_once_and_its_old_tokens_still_verify() {
    let server = Server::with(&[]);
    set(&server, &json!({"audience": "event", "alg": "ES256"}));
    let client = server.task_service();
    let token = server.token(&client);
    let answer = set(&server, &json!({"audience": "event", "alg": "EdDSA"}));
    assert_eq!(answer["signedWith"], "EdDSA");
    assert_eq!(alg(&server.token(&client)), "EdDSA");
    assert!(verify(&token, &get(&server.endpoint("/auth/jwt/jwks.json")).body, START).is_ok());
    let all = server.admin("GET", "/recipe/oauth/audiences", &Value::Null).json();
    assert_eq!(all, json!({"status": "OK", "audiences": []}));
}

#[test]
fn what_is_no_algorithm_to_sign_with_is_refused() {
    let server = Server::with(&[("audiences", "billing ES256")]);
    let put = |fields: Value| server.admin("PUT", "/recipe/oauth/audiences", &fields);
    for (fields, error) in [
        (json!({"audience": "event", "alg": "RS256"}), "use EdDSA or ES256"),
        (json!({"audience": "event", "alg": "none"}), "use EdDSA or ES256"),
        (json!({"audience": "two words", "alg": "ES256"}), "not allowed"),
        (json!({"audience": "billing", "alg": "EdDSA"}), "the configuration says"),
    ] {
        let answer = put(fields).json();
        assert_eq!(answer["status"], "OAUTH_ERROR", "{answer}");
        assert!(answer["errorDescription"].as_str().unwrap().contains(error), "{answer}");
    }
    for fields in
        [json!({}), json!({"audience": "a", "alg": 1}), json!({"audience": "a", "alg": "ES256", "now": 1})]
    {
        assert_eq!(put(fields).status, 400);
    }
}

#[test]
fn a_reload_gives_an_audience_its_algorithm() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("m2mint.toml");
    std::fs::write(&file, "log = \"info\"\n").unwrap();
    let server = Process::again(
        directory,
        &[("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_CONFIG", "m2mint.toml")],
    );
    let client = server.client();
    server.jwks();
    std::fs::write(
        &file,
        "[audiences.event]\nalg = \"ES256\"\n[audiences.\"https://erp.example.com/V1\"]\nalg = \"ES256\"\n",
    )
    .unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_until("tokens are signed with ES256", || alg(&server.token(&client)) == "ES256");
    let audiences = server.verb_json(&["--config", "m2mint.toml", "audiences", "--json"]);
    assert_eq!(audiences[1]["audience"], "https://erp.example.com/V1", "{audiences}");
}

#[test]
fn the_command_line_sets_and_shows_what_audiences_are_signed_with() {
    let server = Process::start();
    assert_eq!(server.verb(&["audiences"]), "tokens for every audience are signed with EdDSA\n");
    server.jwks();
    let waits = server.verb(&["audiences", "set", "event", "--alg", "ES256"]);
    assert!(waits.contains("in 1d 1h") && waits.contains("--at-once"), "{waits}");
    assert_eq!(alg(&server.token(&server.client())), "EdDSA");
    let now = server.verb(&["audiences", "set", "event", "--alg", "ES256", "--at-once"]);
    assert_eq!(now, "tokens for event are signed with ES256 from now on\n");
    assert_eq!(alg(&server.token(&server.client())), "ES256");
    let shown = server.verb(&["audiences", "list"]);
    assert!(shown.contains("event     ES256  ES256            now"), "{shown}");
    let wrong = server.run(&["audiences", "set", "event", "--alg", "HS256"]);
    assert_eq!(wrong.status.code(), Some(2));

    // Each ring rotates by itself, or both together.
    let before = (server.active_kid("EdDSA"), server.active_kid("ES256"));
    let said = server.verb(&["keys", "rotate", "--alg", "EdDSA"]);
    assert!(said.starts_with("rotated: EdDSA"), "{said}");
    let after = (server.active_kid("EdDSA"), server.active_kid("ES256"));
    assert!(after.0 != before.0 && after.1 == before.1);
    let said = server.verb(&["keys", "rotate"]);
    assert!(said.contains("queued: EdDSA") && said.contains("queued: ES256"), "{said}");
    let keys = server.verb(&["keys"]);
    assert!(keys.contains("ES256: the next rotation comes in"), "{keys}");
}

#[test]
fn revoking_the_key_of_one_ring_leaves_the_other_alone() {
    let server = Process::with(&[("M2MINT_AUDIENCES", "event ES256")]);
    let client = server.client();
    let token = server.token(&client);
    let before = (server.active_kid("EdDSA"), server.active_kid("ES256"));
    server.verb(&["keys", "revoke", &before.1, "--yes"]);
    let after = (server.active_kid("EdDSA"), server.active_kid("ES256"));
    assert!(after.0 == before.0 && after.1 != before.1);
    assert!(!server.jwks().contains(&before.1));
    assert_eq!(kid(&server.token(&client)), after.1);
    let body = json!({"token": token});
    assert_eq!(server.admin("POST", "/recipe/oauth/introspect", &body).json()["active"], false);
}
