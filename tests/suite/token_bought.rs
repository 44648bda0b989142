//! `m2mint token`: a token, bought as a client buys it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::tls::TlsServer;
use crate::support::{Client, Process, process};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Buys as somebody who has the secret in the environment.
fn buy(server: &Process, client: &Client, more: &[&str]) -> Output {
    command(server, client, more).env("M2MINT_CLIENT_SECRET", &client.secret).output().unwrap()
}

fn command(server: &Process, client: &Client, more: &[&str]) -> Command {
    let mut command = process::command(server.directory.path());
    command.args(["token", &client.id, "--issuer", &server.endpoint("/auth")]).args(more);
    command
}

#[track_caller]
fn explained(server: &Process, token: &str, more: &[&str]) -> Value {
    let mut command = process::command(server.directory.path());
    command.args(["verify", token.trim(), "--json", "--issuer", &server.endpoint("/auth")]).args(more);
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn the_token_alone_is_printed_and_it_is_good() {
    let server = Process::start();
    let client = server.client();
    let output = buy(&server, &client, &["--audience", "event", "--scope", "event.create"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let token = text(&output.stdout);
    assert_eq!(token.split_whitespace().count(), 1, "{token}");
    let verdict = explained(&server, &token, &["--audience", "event", "--scope", "event.create"]);
    assert!(verdict["good"] == true && verdict["claims"]["client_id"] == *client.id, "{verdict}");
    // The client has one audience only, and asks for nothing.
    let verdict = explained(&server, &text(&buy(&server, &client, &[]).stdout), &[]);
    assert!(verdict["claims"]["aud"] == "event" && verdict["claims"]["scope"] == "", "{verdict}");
    let answer: Value = serde_json::from_slice(&buy(&server, &client, &["--json"]).stdout).unwrap();
    assert!(answer["expires_in"] == 3600 && answer["access_token"].is_string(), "{answer}");
}

#[test]
fn the_secret_comes_from_a_file_or_from_standard_input_too() {
    let server = Process::start();
    let client = server.client();
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(server.path("secret")).unwrap();
    writeln!(file, "{}", client.secret).unwrap();
    // A file that is named wins over the variable.
    let output = command(&server, &client, &["--secret-file", "secret"])
        .env("M2MINT_CLIENT_SECRET", "some other secret")
        .output()
        .unwrap();
    assert_eq!(explained(&server, &text(&output.stdout), &[])["good"], true, "{output:?}");

    let mut piped = command(&server, &client, &["--secret-file", "-"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(client.secret.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(explained(&server, &text(&output.stdout), &[])["good"], true, "{output:?}");

    for (told, more, value) in [
        ("M2MINT_CLIENT_SECRET", &[][..], None),
        ("M2MINT_CLIENT_SECRET is empty", &[], Some(" ")),
        ("--secret-file - is empty", &["--secret-file", "-"], None),
        ("unexpected argument", &["--secret", "anything"], None),
    ] {
        let mut command = command(&server, &client, more);
        let output = command.envs(value.map(|value| ("M2MINT_CLIENT_SECRET", value))).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}: {output:?}");
        assert!(text(&output.stderr).contains(told), "{told}: {output:?}");
    }
    assert_eq!(buy(&server, &client, &["--secret-file", "no-such-file"]).status.code(), Some(1));
}

#[test]
fn what_is_asked_and_answered_is_told_without_secret_and_token() {
    let server = Process::start();
    let client = server.client();
    let output = buy(&server, &client, &["--scope", "event.create", "--verbose"]);
    let (token, told) = (text(&output.stdout), text(&output.stderr));
    for part in [
        &*format!("> curl '{}'", server.endpoint("/auth/oauth/token")),
        "-d scope=event.create",
        "status 200",
        "3600 (1h)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains(&client.secret) && !told.contains(token.trim()), "{told}");
}

#[test]
fn a_refusal_says_what_to_look_at() {
    let server = Process::start();
    let client = server.client();
    let wrong = Client { secret: "m2s_of_somebody_else".into(), ..client.clone() };
    for (code, told, who, more) in [
        (3, "m2mint secrets list", &wrong, &[][..]),
        (3, "invalid_scope", &client, &["--scope", "event.delete"]),
        (3, "m2mint clients show", &client, &["--audience", "file"]),
        (3, "is not https", &client, &["--token-endpoint", "http://auth.example/token"]),
        (1, "cannot be asked", &client, &["--token-endpoint", "http://127.0.0.1:1/token"]),
        (1, "answers with status 404", &client, &["--token-endpoint", &server.endpoint("/nowhere")]),
    ] {
        let output = buy(&server, who, more);
        assert_eq!(output.status.code(), Some(code), "{told}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(text(&output.stderr).contains(told), "{told}: {output:?}");
        assert!(!text(&output.stderr).contains(&who.secret), "{output:?}");
    }
    let output = buy(&server, &client, &["--scope", "event.delete", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.code() == Some(3) && answer["error"] == "invalid_scope", "{output:?}");
}

#[test]
fn an_issuer_has_to_call_itself_by_the_name_it_is_asked_by() {
    let server = Process::with(&[("M2MINT_ISSUER", "https://auth.example/auth")]);
    let output = buy(&server, &server.client(), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("names another issuer, https://auth.example/auth"), "{output:?}");
}

#[test]
fn an_issuer_that_anybody_could_answer_for_is_not_asked_where_to_send_the_secret() {
    let server = Process::start();
    let mut command = process::command(server.directory.path());
    command.args(["token", "task-service", "--issuer", "http://192.0.2.1/auth"]);
    let output = command.env("M2MINT_CLIENT_SECRET", "secret-of-the-tests").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("http://192.0.2.1/auth is not https"), "{output:?}");
}

#[test]
fn over_tls_the_issuer_is_one_whose_authority_is_trusted() {
    let server = TlsServer::with(&[]);
    let made = server.process.verb_json(&[
        "clients",
        "create",
        "--audience",
        "event",
        "--scope",
        "event.create",
        "--json",
    ]);
    let text_of = |name: &str| made[name].as_str().unwrap().to_owned();
    let client = Client { id: text_of("clientId"), secret: text_of("clientSecret") };
    let bought = || buy(&server.process, &client, &["--ca", "ca.pem"]);
    let mut output = bought();
    server.process.wait_until("the server knows the client", || {
        output = bought();
        output.status.success()
    });
    let jwks = server.curl(&[], "/auth/jwt/jwks.json").1;
    std::fs::write(server.process.path("jwks.json"), jwks).unwrap();
    let verdict = explained(&server.process, &text(&output.stdout), &["--jwks", "jwks.json"]);
    assert_eq!(verdict["good"], true, "{output:?} {verdict}");
    let output = buy(&server.process, &client, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("certificate"), "{output:?}");
    assert_eq!(buy(&server.process, &client, &["--ca", "m2mint.db"]).status.code(), Some(1));
}
