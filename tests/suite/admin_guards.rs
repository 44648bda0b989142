//! What web pages can send to the admin API, and that none of it gets anywhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::audit::entries;
use crate::support::process::command;
use crate::support::{ADMIN_KEY, Process, Server};

const LIST: &str = "/recipe/oauth/clients/list";

/// A request as it goes over the wire: `line` and these headers, and no others.
fn request(line: &str, headers: &[(&str, &str)], body: &str) -> String {
    let chunked = headers.iter().any(|(name, _)| *name == "transfer-encoding");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if body.is_empty() || chunked {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    format!("{line}\r\n{headers}{length}connection: close\r\n\r\n{body}")
}

/// Status and the rest of an answer.
#[derive(Debug)]
struct Answer(u16, String);

fn read(text: String) -> Answer {
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer(status.unwrap_or_else(|| panic!("{text:?}")), text.to_lowercase())
}

fn send(server: &Server, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(authority(server)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request(line, headers, body).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    read(text)
}

fn authority(server: &Server) -> &str {
    server.url.strip_prefix("http://").unwrap()
}

fn port(server: &Server) -> &str {
    authority(server).rsplit_once(':').unwrap().1
}

/// A call with the admin key, and `more` headers, the host among them.
fn list(server: &Server, more: &[(&str, &str)]) -> Answer {
    send(server, &format!("GET {LIST} HTTP/1.1"), &[&[("api-key", ADMIN_KEY)], more].concat(), "")
}

#[test]
fn a_name_that_a_page_points_here_gets_nowhere() {
    let server =
        Server::with(&[("issuer", "https://auth.example.com/auth"), ("admin.hosts", "m2mint, alias:8443")]);
    let port = port(&server);
    let at = |name: &str| format!("{name}:{port}");
    let known = ["127.0.0.1", "localhost", "LocalHost", "[::1]", "m2mint", "auth.example.com"].map(at);
    for host in known.iter().map(String::as_str).chain(["auth.example.com", "m2mint", "alias:8443"]) {
        assert_eq!(list(&server, &[("host", host)]).0, 200, "{host}");
    }
    let unknown =
        ["evil.example", "192.0.2.7", "localhost.evil.example", "m2mint.evil.example", "alias"].map(at);
    for host in unknown.iter().map(String::as_str).chain(["127.0.0.1:1", "localhost", "alias"]) {
        let answer = list(&server, &[("host", host)]);
        assert_eq!(answer.0, 421, "{host}: {answer:?}");
        for said in [host, "admin.hosts", "x-request-id: "] {
            assert!(answer.1.contains(said), "{said}: {answer:?}");
        }
    }
    for headers in [&[][..], &[("host", "")], &[("host", "evil example")], &[("host", "u@localhost")]] {
        let answer = list(&server, headers);
        assert!(answer.0 == 421 || answer.0 == 400, "{headers:?}: {answer:?}");
    }
    let here = at("127.0.0.1");
    assert_ne!(list(&server, &[("host", &here), ("host", "evil.example")]).0, 200);
    // What stands in the first line counts too.
    let line = format!("GET http://evil.example{LIST} HTTP/1.1");
    assert_eq!(send(&server, &line, &[("host", &here), ("api-key", ADMIN_KEY)], "").0, 421);
    let old = format!("GET {LIST} HTTP/1.0");
    assert_eq!(send(&server, &old, &[("api-key", ADMIN_KEY)], "").0, 421);
    assert_eq!(send(&server, &old, &[("api-key", ADMIN_KEY), ("host", &here)], "").0, 200);
    // Every path of the admin API, also those that are nothing; and nothing else.
    assert_eq!(send(&server, "GET /recipe/nothing HTTP/1.1", &[("host", "evil.example")], "").0, 421);
    assert_eq!(send(&server, "GET /auth/jwt/jwks.json HTTP/1.1", &[("host", "evil.example")], "").0, 200);
}

#[test]
fn a_reload_takes_other_names() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("m2mint.toml");
    std::fs::write(&file, "[admin]\nhosts = []\n").unwrap();
    let server = Process::again(std::sync::Arc::clone(&directory), &[]);
    let status = || {
        let headers = [("api-key", ADMIN_KEY), ("host", "m2mint:3567")];
        crate::support::call("GET", &server.endpoint(LIST), &headers, b"").status
    };
    assert_eq!(status(), 421);
    std::fs::write(&file, "[admin]\nhosts = [\"m2mint\"]\n").unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_until("the name is known", || status() == 200);
}

#[test]
fn a_unix_socket_has_no_name_that_could_be_pointed_elsewhere() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut command = command(directory.path());
    command.env("M2MINT_LISTEN", "unix:socket").env("M2MINT_ISSUER", "https://auth.example.com/auth");
    command.env("M2MINT_API_KEY", ADMIN_KEY);
    let server = Process::spawn(directory, command);
    let ask = |line: &str, headers: &[(&str, &str)]| {
        let mut stream = UnixStream::connect(server.path("socket")).unwrap();
        let headers = [&[("api-key", ADMIN_KEY)], headers].concat();
        stream.write_all(request(line, &headers, "").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        read(text).0
    };
    assert_eq!(ask(&format!("GET {LIST} HTTP/1.1"), &[("host", "whatever")]), 200);
    assert_eq!(ask(&format!("GET {LIST} HTTP/1.0"), &[]), 200);
    let page = [("host", "whatever"), ("origin", "https://evil.example")];
    assert_eq!(ask(&format!("GET {LIST} HTTP/1.1"), &page), 403);
}

#[test]
fn a_page_of_another_site_gets_nowhere_and_is_told_nothing_that_lets_it_in() {
    let server = Server::start();
    let here = authority(&server).to_owned();
    let own = format!("http://{here}");
    let other_port = "http://127.0.0.1:1";
    for (name, value, status) in [
        ("origin", &*own, 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "", 403),
        ("origin", other_port, 403),
        ("origin", &own.replace("http:", "chrome-extension:"), 403),
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "none", 200),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "whatever-comes-next", 403),
    ] {
        let answer = list(&server, &[("host", &here), (name, value)]);
        assert_eq!(answer.0, status, "{name}: {value}: {answer:?}");
        assert!(answer.1.contains("x-request-id: ") && !answer.1.contains("access-control-"), "{answer:?}");
    }
    // What a browser asks before it sends a header of the page's own.
    let preflight = [
        ("host", &*here),
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "api-key,content-type"),
    ];
    for path in [LIST, "/recipe/oauth/clients", "/recipe/nothing"] {
        let answer = send(&server, &format!("OPTIONS {path} HTTP/1.1"), &preflight, "");
        assert!(answer.0 == 403 && !answer.1.contains("access-control-"), "{answer:?}");
    }
    server.pass(61);
    let refused = entries(&server.database());
    let refused = refused.iter().find(|entry| entry["outcome"] == "refused").unwrap();
    assert!(refused["reason"].as_str().unwrap().contains("web pages"), "{refused}");
    assert_eq!(refused["address"], "127.0.0.1");
}

#[test]
fn a_body_that_a_form_could_send_is_not_read() {
    let server = Server::start();
    let here = authority(&server).to_owned();
    let post = |key: &str, types: &[&str], body: &str| {
        let mut headers = vec![("host", &*here), ("api-key", key)];
        headers.extend(types.iter().map(|value| ("content-type", *value)));
        send(&server, "POST /recipe/oauth/clients HTTP/1.1", &headers, body)
    };
    let body = json!({"clientName": "made"}).to_string();
    for taken in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        assert_eq!(post(ADMIN_KEY, &[taken], &body).0, 200, "{taken}");
    }
    for types in [
        &[][..],
        &["text/plain"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=x"],
        &["text/plain; application/json"],
        &["application/json, text/plain"],
        &["application/json", "text/plain"],
        &["application/jsonp"],
        &[""],
    ] {
        let answer = post(ADMIN_KEY, types, &body);
        assert!(
            answer.0 == 415 && answer.1.contains("content-type: application/json"),
            "{types:?}: {answer:?}"
        );
        // Whoever has no key is told that alone.
        assert_eq!(post("wrong", types, &body).0, 401);
    }
    // An empty body needs no type, but a wrong one is refused.
    assert_eq!(post(ADMIN_KEY, &[], "").0, 200);
    assert_eq!(post(ADMIN_KEY, &["text/plain"], "").0, 415);
    let chunked = [("host", &*here), ("api-key", ADMIN_KEY), ("transfer-encoding", "chunked")];
    assert_eq!(send(&server, "POST /recipe/oauth/clients HTTP/1.1", &chunked, "2\r\n{}\r\n0\r\n\r\n").0, 415);
}

#[test]
fn every_answer_of_the_admin_api_has_a_request_id() {
    let server = Server::start();
    let here = authority(&server).to_owned();
    let key = [("host", &*here), ("api-key", ADMIN_KEY)];
    let json = ("content-type", "application/json");
    let large = "x".repeat(65 * 1024);
    for (status, line, headers, body) in [
        (200, "GET /recipe/oauth/clients/list", &key[..], ""),
        (200, "GET /recipe/oauth/clients?clientId=x", &key, ""),
        (400, "POST /recipe/oauth/clients", &[key[0], key[1], json], "{"),
        (401, "GET /recipe/oauth/clients/list", &key[..1], ""),
        (403, "GET /recipe/oauth/clients/list", &[key[0], key[1], ("origin", "null")], ""),
        (404, "GET /recipe/nothing", &key, ""),
        (405, "DELETE /recipe/oauth/clients", &key, ""),
        (413, "POST /recipe/oauth/clients", &[key[0], key[1], json], &large),
        (415, "POST /recipe/oauth/clients", &key, "{}"),
        (421, "GET /recipe/oauth/clients/list", &[("host", "evil.example")], ""),
    ] {
        let answer = send(&server, &format!("{line} HTTP/1.1"), headers, body);
        assert!(answer.0 == status && answer.1.contains("x-request-id: "), "{status} {line}: {answer:?}");
    }
}
