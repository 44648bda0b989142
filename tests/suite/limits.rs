//! Metadata, paths, and requests that no client library sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::http::call;
use crate::support::{Process, Server, get, post_form};

#[test]
fn discovery_follows_from_the_configured_issuer_alone() {
    let server = Server::with(&[("issuer", "https://auth.example.com/auth")]);
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/auth",
        "/.well-known/openid-configuration/auth",
        "/auth/.well-known/openid-configuration",
        "/auth/.well-known/oauth-authorization-server",
    ] {
        let headers = [
            ("host", "evil.example.com"),
            ("x-forwarded-host", "evil.example.com"),
            ("x-forwarded-proto", "gopher"),
        ];
        let answer = call("GET", &server.endpoint(path), &headers, b"");
        assert_eq!(answer.status, 200, "{path}");
        let json = answer.json();
        assert_eq!(json["issuer"], "https://auth.example.com/auth");
        assert_eq!(json["token_endpoint"], "https://auth.example.com/auth/oauth/token");
        assert_eq!(json["jwks_uri"], "https://auth.example.com/auth/jwt/jwks.json");
        assert_eq!(json["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(json["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
        assert!(!answer.body.contains("evil"));
    }
}

#[test]
fn the_base_path_can_be_changed() {
    for (base_path, token) in [("/oidc", "/oidc/oauth/token"), ("/", "/oauth/token")] {
        let server = Server::with(&[("base_path", base_path)]);
        assert_eq!(get(&server.endpoint(token)).status, 405, "{base_path}");
        assert_eq!(get(&server.endpoint("/auth/oauth/token")).status, 404, "{base_path}");
        assert_eq!(get(&server.endpoint("/.well-known/openid-configuration")).status, 200);
    }
}

#[test]
fn a_request_id_is_taken_over_when_it_is_plain() {
    let server = Server::start();
    let with = |id: &str| {
        call("GET", &server.endpoint("/hello"), &[("x-request-id", id)], b"")
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(with("proxy-1:abc_2.3"), "proxy-1:abc_2.3");
    for odd in ["has space", "quote\"", &"x".repeat(65)] {
        assert_eq!(with(odd).len(), 16, "{odd}");
    }
    assert_ne!(with(""), with(""));
}

fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    // The server may cut off what it does not understand, even before all of it was sent.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn odd_requests_do_no_harm() {
    let server = Server::start();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000));
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    for request in [
        &b"\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
        b"POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /hello HTTP/9.9\r\nhost: x\r\n\r\n",
        long.as_bytes(),
        format!("GET /hello HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes(),
    ] {
        let answer = raw(&server, request);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    assert!(raw(&server, b"GET /hello HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"));
    let two = raw(&server, b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\nGET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(two.matches("HTTP/1.1 200").count(), 2, "{two}");
    assert_eq!(get(&server.endpoint("/hello")).status, 200);
}

#[test]
fn a_body_may_come_in_pieces_and_no_more_of_it_is_taken_than_is_allowed() {
    let server = Server::start();
    let form = "grant_type=client_credentials&client_id=nobody&client_secret=guessed";
    let ask = |header: &str, body: &str| {
        let head = "POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/x-www-form-urlencoded\r\n";
        raw(&server, format!("{head}{header}\r\n\r\n{body}").as_bytes())
    };
    let in_pieces_of = |length: usize, body: &str| {
        let chunks = body.as_bytes().chunks(length);
        let chunk = |chunk: &[u8]| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
        let chunks: String = chunks.map(chunk).collect();
        ask("transfer-encoding: chunked", &format!("{chunks}0\r\n\r\n"))
    };
    let whole = ask(&format!("content-length: {}", form.len()), form);
    // All of it was read: it is the secret that is wrong.
    for answer in [whole, in_pieces_of(1, form), in_pieces_of(7, form), in_pieces_of(form.len(), form)] {
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("\"invalid_client\""), "{answer}");
    }
    let filled = |length: usize| format!("{form}&filler={}", "x".repeat(length - form.len() - 8));
    let (largest, larger) = (filled(64 * 1024), filled(64 * 1024 + 1));
    for length in [1000, usize::MAX] {
        let answer = in_pieces_of(length, &largest);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let answer = in_pieces_of(length, &larger);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"invalid_request\""), "{answer}");
    }
    let missing = ask(&format!("content-length: {}", form.len() + 1), form);
    assert!(!missing.contains(" 401 "), "{missing}");
}

#[test]
fn there_is_nothing_elsewhere() {
    let server = Server::start();
    for path in ["/", "/auth", "/auth/oauth", "/recipe", "/auth/oauth/token/", "/../etc/passwd"] {
        assert_eq!(get(&server.endpoint(path)).status, 404, "{path}");
    }
}

#[test]
fn wrong_secrets_do_not_pile_up_memory() {
    let server = Process::with(&[("M2MINT_LIMITS__GUESSES", "100")]);
    let fields = json!({"audience": ["event"], "clientSecret": "a secret that somebody chose"});
    server.admin("POST", "/recipe/oauth/clients", &fields);
    let guess = |number: usize| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "nobody"),
            ("client_secret", &*format!("guess number {number:010}")),
        ];
        post_form(&server.endpoint("/auth/oauth/token"), &fields).status
    };
    let memory = || server.resident_kib() / 1024;
    // One hash takes 19 MiB.
    assert_eq!(guess(0), 401);
    let before = memory();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let guess = &guess;
            scope.spawn(move || (1..=5).for_each(|number| assert_eq!(guess(thread * 5 + number), 401)));
        }
    });
    assert!(memory() < before + 19, "{before} MiB, and {} MiB after 20 more guesses", memory());
}
