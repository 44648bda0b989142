//! `m2mint verify`: what a token says, and what would be answered to it.

use std::io::Write as _;
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::{Process, process};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Explains a token that comes by standard input.
fn verify(server: &Process, token: &str, more: &[&str]) -> Output {
    let mut command = process::command(server.directory.path());
    command.args(["verify", "-", "--issuer", &server.endpoint("/auth")]).args(more);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments ends without having read anything.
    let _ = child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn is_good(output: &Output, told: &str) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains(told), "{told}: {}", text(&output.stdout));
}

#[track_caller]
fn is_refused(output: &Output, told: &str) {
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for shown in [&output.stdout, &output.stderr] {
        assert!(text(shown).contains(told), "{told}: {}", text(shown));
    }
}

#[test]
fn every_claim_is_explained_and_the_signature_is_not_shown() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    let output = verify(&server, &token, &[]);
    for told in
        ["who issued it", "the client that asked for it", "event.create", "expires in 1h", "an access token"]
    {
        is_good(&output, told);
    }
    is_good(&output, &format!("good, by the active key {}", server.active_kid("EdDSA")));
    let shown = text(&output.stdout);
    assert!(!shown.contains(token.rsplit('.').next().unwrap()), "what is shown is no token");
    for claim in
        ["alg", "typ", "kid", "iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "scp", "stt"]
    {
        assert!(shown.lines().any(|line| line.starts_with(claim)), "{claim}: {shown}");
    }
    let json = verify(&server, &token, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["good"] == true && json["claims"]["aud"] == "event" && json["reason"].is_null(), "{json}");
}

#[test]
fn what_a_service_would_answer_is_told_with_the_reason() {
    let server = Process::start();
    let token = server.token(&server.client());
    is_good(&verify(&server, &token, &["--audience", "event"]), "accepted at event");
    let asked = ["--audience", "event", "--scope", "event.create"];
    is_good(&verify(&server, &token, &asked), "accepted at event, for event.create");
    is_refused(&verify(&server, &token, &["--audience", "file"]), "meant for another audience: \"event\"");
    is_refused(&verify(&server, &token, &["--scope", "event.delete"]), "the scope event.delete is missing");
    let elsewhere = ["--set", "issuer=https://auth.example"];
    let mut command = process::command(server.directory.path());
    let output = command.args(["verify", &token]).args(elsewhere).output().unwrap();
    is_refused(&output, "issued by somebody else");
    let json = verify(&server, &token, &["--audience", "file", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["good"] == false && json["reason"].as_str().unwrap().contains("audience"), "{json}");
}

#[test]
fn what_was_forged_or_broken_is_not_believed() {
    let server = Process::start();
    let token = server.token(&server.client());
    let parts: Vec<_> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let mut claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["scope"] = "event.delete".into();
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
    let output = verify(&server, &forged, &[]);
    is_refused(&output, "the signature is wrong");
    assert!(text(&output.stdout).contains("Believe nothing"), "{output:?}");

    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "\u{1b}[2J\u{202e}of nobody"}).to_string();
    let output =
        verify(&server, &format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), parts[1], parts[2]), &[]);
    is_refused(&output, "signed with a key that is not published");
    assert!(
        !text(&output.stdout).contains(['\u{1b}', '\u{202e}']),
        "it cannot command the terminal: {output:?}"
    );
    // Refused before anybody looks at the signature, which is nobody's: the kid is of a key that is published.
    let mut header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    header["typ"] = "JWT".into();
    let other_type = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1]);
    for (token, reason) in [(&*other_type, "not an access token"), (&token[..token.len() - 1], "base64url")] {
        let output = verify(&server, token, &[]);
        is_refused(&output, reason);
        let told = text(&output.stdout);
        assert!(told.contains("Believe nothing") && !told.contains("good, by"), "{output:?}");
    }
    for nonsense in ["", "nonsense", "a.b", "a.b.c", "....", &"x".repeat(20_000)] {
        assert_eq!(verify(&server, nonsense, &[]).status.code(), Some(3), "{nonsense}");
    }
}

#[test]
fn what_introspection_refuses_is_refused() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    server.verb(&["clients", "update", &client.id, "--enabled", "false"]);
    is_refused(&verify(&server, &token, &[]), "is disabled");
    server.verb(&[
        "clients",
        "update",
        &client.id,
        "--enabled",
        "true",
        "--not-before",
        "2099-01-01T00:00:00Z",
    ]);
    is_refused(&verify(&server, &token, &[]), "it is not the time of the client");
    server.verb(&["clients", "update", &client.id, "--not-before", "none"]);
    is_good(&verify(&server, &token, &[]), "good");

    let fields = [("token", &*token), ("client_id", &*client.id), ("client_secret", &*client.secret)];
    server.wait_until("revoked", || {
        crate::support::post_form(&server.endpoint("/auth/oauth/revoke"), &fields).status == 200
    });
    is_refused(&verify(&server, &token, &[]), "it was revoked");

    let other = server.token(&client);
    server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": client.id}));
    is_refused(&verify(&server, &other, &[]), "every token of");

    let client = server.client();
    let last = server.token(&client);
    server.verb(&["clients", "remove", &client.id, "--yes"]);
    is_refused(&verify(&server, &last, &[]), "is gone");
}

#[test]
fn tokens_of_retired_keys_are_good_and_those_of_revoked_ones_are_not() {
    let server = Process::start();
    let token = server.token(&server.client());
    let kid = server.active_kid("EdDSA");
    server.verb(&["keys", "rotate"]);
    is_good(&verify(&server, &token, &[]), &format!("good, by the retired key {kid}"));
    server.verb(&["keys", "revoke", &kid, "--yes"]);
    let output = verify(&server, &token, &[]);
    is_refused(&output, "signed with a key that is not published");
    assert!(text(&output.stdout).contains("is revoked"), "{output:?}");
}

#[test]
fn a_token_that_has_expired_is_refused() {
    let lifetime = [("M2MINT_TOKEN__LIFETIME", "1s"), ("M2MINT_TOKEN__MAX_LIFETIME", "1s")];
    let server = Process::with(&lifetime);
    let token = server.token(&server.client());
    server.wait_until("it has expired", || verify(&server, &token, &[]).status.code() == Some(3));
    is_refused(&verify(&server, &token, &[]), "it has expired");
}

#[test]
fn a_key_set_in_a_file_is_enough() {
    let server = Process::start();
    let token = server.token(&server.client());
    std::fs::write(server.path("jwks.json"), server.jwks()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let set = server.path("jwks.json");
        let mut command = process::command(elsewhere.path());
        command.args(["verify", &token, "--jwks"]).arg(set).args(more).output().unwrap()
    };
    is_good(&run(&["--audience", "event"]), "accepted at event");
    is_refused(&run(&["--audience", "file"]), "meant for another audience");
    std::fs::write(server.path("jwks.json"), "{\"keys\":[]}").unwrap();
    is_refused(&run(&[]), "signed with a key that is not published");
    std::fs::write(server.path("jwks.json"), "nothing").unwrap();
    assert_eq!(run(&[]).status.code(), Some(1));
    assert_eq!(verify(&server, &token, &["--jwks", "-"]).status.code(), Some(2));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "no database is made");
}
