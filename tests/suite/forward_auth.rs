//! `/auth/verify`: what a reverse proxy is told about a request.

use serde_json::json;

use crate::support::http::call;
use crate::support::{Answer, Client, Server};

const CREATE: &str = "/auth/verify?audience=event&scope=event.create";

#[track_caller]
fn ask_with(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = call("GET", &server.endpoint(path), headers, b"");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer
}

#[track_caller]
fn ask(server: &Server, path: &str, token: &str) -> Answer {
    ask_with(server, path, &[("authorization", &format!("Bearer {token}"))])
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str, description: &str) {
    assert_eq!((answer.status, &*answer.error()), (status, error), "{answer:?}");
    assert_eq!(answer.json()["error_description"], description);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with(r#"Bearer realm="event", error=""#), "{challenge}");
    assert!(challenge.contains(description) && challenge.contains(r#"scope="event.create""#), "{challenge}");
    assert_eq!(answer.header("x-m2mint-client"), None);
}

/// A token of the Task Service for these scopes at `event`.
fn token(server: &Server, client: &Client, audience: &str, scope: &str) -> String {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &*client.id),
        ("client_secret", &*client.secret),
        ("audience", audience),
        ("scope", scope),
    ];
    let answer = crate::support::http::post_form(&server.token_url(), &fields);
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[test]
fn a_good_token_passes_and_the_service_is_told_whose_it_is() {
    let server = Server::start();
    let client = server.task_service();
    let token = token(&server, &client, "event", "event.view event.create");
    for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let headers = [("authorization", &*format!("bearer {token}")), ("x-m2mint-client", "admin")];
        let answer = call(method, &server.endpoint(CREATE), &headers, b"");
        assert_eq!((answer.status, &*answer.body), (200, ""), "{method}");
        assert_eq!(answer.header("x-m2mint-client"), Some(&*client.id));
        assert_eq!(answer.header("x-m2mint-scope"), Some("event.view event.create"));
        assert_eq!(answer.header("x-m2mint-audience"), Some("event"));
    }
    assert_eq!(ask(&server, "/auth/verify?audience=event", &token).status, 200);
    assert_eq!(ask(&server, "/auth/verify?audience=event&scope=event.view+event.create", &token).status, 200);
}

#[test]
fn each_refusal_is_401_or_403_and_says_why() {
    let server = Server::start();
    let client = server.task_service();
    let good = token(&server, &client, "event", "event.create");
    let view = token(&server, &client, "event", "event.view");
    let file = token(&server, &client, "file", "file.view");
    let invalid = |token: &str, why: &str| refused(&ask(&server, CREATE, token), 401, "invalid_token", why);
    refused(&ask(&server, CREATE, &view), 403, "insufficient_scope", "the scope event.create is missing");
    invalid(&file, "meant for another audience");
    invalid(&format!("{good}A"), "the signature is wrong");
    let other = Server::start();
    let foreign = token(&other, &other.task_service(), "event", "event.create");
    invalid(&foreign, "signed with a key that is not published");

    let without = ask_with(&server, CREATE, &[]);
    assert_eq!(without.status, 401);
    assert_eq!(without.header("www-authenticate"), Some(r#"Bearer realm="event", scope="event.create""#));
    let basic = ask_with(&server, CREATE, &[("authorization", "Basic dGFzazp4")]);
    assert_eq!(basic.header("www-authenticate"), Some(r#"Bearer realm="event", scope="event.create""#));
    let bearer = format!("Bearer {good}");
    for headers in [
        vec![("authorization", "Bearer")],
        vec![("authorization", "Bearer a b")],
        vec![("authorization", &*bearer), ("authorization", &*bearer)],
    ] {
        let why = "there must be exactly one bearer token, in the Authorization header";
        refused(&ask_with(&server, CREATE, &headers), 401, "invalid_request", why);
    }

    server.pass(3600);
    invalid(&good, "the token has expired");
}

#[test]
fn revocation_and_rotation_are_known_at_once() {
    let server = Server::start();
    let client = server.task_service();
    let revoked = token(&server, &client, "event", "event.create");
    let kept = token(&server, &client, "event", "event.create");
    assert_eq!(ask(&server, CREATE, &revoked).status, 200);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let fields = [("token", &*revoked), ("client_id", &*client.id), ("client_secret", &*client.secret)];
    let body = crate::support::form(&fields);
    assert_eq!(call("POST", &server.endpoint("/auth/oauth/revoke"), &headers, body.as_bytes()).status, 200);
    refused(&ask(&server, CREATE, &revoked), 401, "invalid_token", "the token was revoked");
    server.rotate();
    assert_eq!(ask(&server, CREATE, &kept).status, 200);
    assert_eq!(ask(&server, CREATE, &token(&server, &client, "event", "event.create")).status, 200);
    server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "enabled": false}));
    refused(&ask(&server, CREATE, &kept), 401, "invalid_token", "the token was revoked");
}

#[test]
fn a_token_under_another_issuers_name_does_not_pass() {
    let server = Server::start();
    let client = server.task_service();
    let body = json!({"iss": "https://another.example.com", "inputBody": {
        "grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret,
        "scope": "event.create", "audience": "event"
    }});
    let issued = server.admin("POST", "/recipe/oauth/token", &body).json();
    let token = issued["access_token"].as_str().unwrap();
    refused(&ask(&server, CREATE, token), 401, "invalid_token", "issued by somebody else");
}

#[test]
fn a_demand_that_is_not_clear_lets_nobody_pass() {
    let server = Server::start();
    let token = token(&server, &server.task_service(), "event", "event.create");
    for query in [
        "",
        "?",
        "?scope=event.create",
        "?audience=",
        "?audience=event&audience=event",
        "?audience=event&scopes=event.create",
        "?audience=event&scope=%22",
    ] {
        let answer = ask(&server, &format!("/auth/verify{query}"), &token);
        assert_eq!((answer.status, &*answer.error()), (403, "access_denied"), "{query}");
    }
}

#[test]
fn rules_say_what_each_request_needs() {
    let rules = "GET calendar.example.com/events/** -> event event.view; \
                 POST calendar.example.com/events -> event event.create; * */health -> event";
    let server = Server::with(&[("forward_auth.rules", rules)]);
    let client = server.task_service();
    let (view, create) =
        (token(&server, &client, "event", "event.view"), token(&server, &client, "event", "event.create"));
    let passes = |token: &str, headers: &[(&str, &str)]| {
        let bearer = format!("Bearer {token}");
        let headers: Vec<_> =
            [("authorization", &*bearer)].into_iter().chain(headers.iter().copied()).collect();
        ask_with(&server, "/auth/verify", &headers).status
    };
    let forwarded = |token: &str, method: &str, uri: &str| {
        let host = ("x-forwarded-host", "calendar.example.com");
        let status = passes(token, &[host, ("x-forwarded-method", method), ("x-forwarded-uri", uri)]);
        let original = passes(token, &[host, ("x-original-method", method), ("x-original-uri", uri)]);
        assert_eq!(status, original, "{method} {uri}");
        status
    };
    assert_eq!(forwarded(&view, "GET", "/events/1?all=true"), 200);
    assert_eq!(forwarded(&create, "GET", "/events/1"), 403);
    assert_eq!(forwarded(&create, "POST", "/events"), 200);
    assert_eq!(forwarded(&view, "POST", "/events"), 403);
    assert_eq!(forwarded(&view, "DELETE", "/health"), 200);
    for (method, uri) in [
        ("DELETE", "/events/1"),
        ("POST", "/events/1"),
        ("GET", "/"),
        ("GET", "/x/../events/1"),
        ("GET", "//events/1"),
        ("GET", "/x/%2e%2e/events"),
        ("GET", "/events/..%2fsecrets"),
        ("get", "/events/1"),
        ("GET", "events"),
    ] {
        assert_eq!(forwarded(&view, method, uri), 403, "{method} {uri}");
    }
    let host = ("x-forwarded-host", "calendar.example.com");
    let get = ("x-forwarded-method", "GET");
    for headers in [
        vec![get, ("x-forwarded-uri", "/events/1")],
        vec![host, get],
        vec![host, ("x-forwarded-uri", "/events/1")],
        vec![host, get, ("x-forwarded-uri", "/events/1"), ("x-original-uri", "/events/2")],
        vec![host, get, ("x-original-method", "PUT"), ("x-forwarded-uri", "/events/1")],
        vec![host, ("x-forwarded-host", "other"), get, ("x-forwarded-uri", "/events/1")],
        vec![("x-forwarded-host", "a, calendar.example.com"), get, ("x-forwarded-uri", "/events/1")],
    ] {
        assert_eq!(passes(&view, &headers), 403, "{headers:?}");
    }
    // A demand in the query counts too: neither can lower the other.
    let described = [host, get, ("x-forwarded-uri", "/events/1")];
    let asks = |token: &str, query: &str| {
        let bearer = format!("Bearer {token}");
        let headers: Vec<_> = [("authorization", &*bearer)].into_iter().chain(described).collect();
        ask_with(&server, &format!("/auth/verify?{query}"), &headers).status
    };
    let both = self::token(&server, &client, "event", "event.view event.create");
    assert_eq!(asks(&view, "audience=event"), 200);
    assert_eq!(asks(&view, "page=2"), 200);
    assert_eq!(asks(&view, "audience=event&scope=event.create"), 403);
    assert_eq!(asks(&create, "audience=event&scope=event.create"), 403);
    assert_eq!(asks(&both, "audience=event&scope=event.create"), 200);
    assert_eq!(asks(&both, "audience=file"), 403);
}

#[test]
fn a_caller_cannot_lower_the_demand_by_a_query_that_the_proxy_passes_on() {
    let rules = [("forward_auth.rules", "GET */events -> event event.view")];
    for settings in [&rules[..], &[]] {
        let server = Server::with(settings);
        let token = token(&server, &server.task_service(), "event", "event.create");
        for (path, query) in [("/admin", "audience=event"), ("/events", "audience=event&scope=event.create")]
        {
            let headers = [
                ("authorization", &*format!("Bearer {token}")),
                ("x-forwarded-host", "calendar.example.com"),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", &*format!("{path}?{query}")),
            ];
            let answer = ask_with(&server, &format!("/auth/verify?{query}"), &headers);
            assert_eq!(answer.status, 403, "{path} {query}: {answer:?}");
        }
    }
    // Without rules, a query that the proxy wrote itself counts, whatever the caller's own is.
    let server = Server::start();
    let token = token(&server, &server.task_service(), "event", "event.create");
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/events?audience=file"),
    ];
    assert_eq!(ask_with(&server, CREATE, &headers).status, 200);
}
