//! What is told to whoever graphs the server.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::http::call;
use crate::support::{ADMIN_KEY, Process, Server, get, post_form};

/// Every sample, by its name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    let samples: Vec<(String, f64)> = lines.map(sample).collect();
    let count = samples.len();
    let samples: BTreeMap<_, _> = samples.into_iter().collect();
    assert_eq!(samples.len(), count, "a series is told once");
    samples
}

#[track_caller]
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = call("GET", &server.endpoint("/metrics"), &[("api-key", ADMIN_KEY)], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0")
    );
    assert!(answer.body.ends_with("# EOF\n"));
    samples(&answer.body)
}

#[test]
fn requests_and_tokens_are_counted_by_what_they_were() {
    let server = Server::start();
    let client = server.task_service();
    for _ in 0..3 {
        server.token(&client);
    }
    let wrong = [("grant_type", "client_credentials"), ("client_id", &client.id), ("client_secret", "wrong")];
    assert_eq!(post_form(&server.token_url(), &wrong).status, 401);
    let jwks = get(&server.endpoint("/auth/jwt/jwks.json"));
    let etag = [("if-none-match", jwks.header("etag").unwrap())];
    for path in ["/auth/jwt/jwks.json", "/.well-known/jwks.json"] {
        assert_eq!(call("GET", &server.endpoint(path), &etag, b"").status, 304);
    }
    get(&server.endpoint("/nothing"));
    let now = scrape(&server);
    let requests = |endpoint: &str, outcome: &str| {
        now[&format!("m2mint_requests_total{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}")]
    };
    assert!(requests("token", "ok") == 3.0 && requests("token", "denied") == 1.0);
    assert!(requests("jwks", "ok") == 1.0 && requests("jwks", "not_modified") == 2.0);
    assert!(requests("unknown", "invalid") == 1.0 && requests("admin", "ok") == 1.0);
    assert!(now["m2mint_request_duration_seconds_count{endpoint=\"token\"}"] == 4.0);
    assert!(now["m2mint_request_duration_seconds_bucket{endpoint=\"token\",le=\"+Inf\"}"] == 4.0);
    assert!(
        now[&format!("m2mint_tokens_issued_total{{client=\"{}\",audience=\"event\"}}", client.id)] == 3.0
    );
    assert!(now["m2mint_tokens_issued_total{client=\"other\",audience=\"other\"}"] == 0.0);
    assert!(now["m2mint_authentications_refused_total{door=\"client\",reason=\"denied\"}"] == 1.0);
    assert!(now["m2mint_clients"] == 1.0 && now["m2mint_connections_open"] >= 1.0);
    assert!(now["m2mint_database_commit_duration_seconds_count"] > 0.0);
    assert!(now["m2mint_database_file_bytes"] > 0.0);
    let build = now.keys().find(|name| name.starts_with("m2mint_build_info")).unwrap();
    assert!(build.contains(env!("CARGO_PKG_VERSION")) && build.contains(m2mint_keys::crypto::BACKEND));
}

#[test]
fn only_as_many_clients_are_named_as_are_wanted_and_the_others_are_told_together() {
    let server = Server::with(&[("metrics.clients", "1")]);
    let (busy, quiet) = (server.task_service(), server.task_service());
    for client in [&busy, &busy, &busy, &quiet] {
        server.token(client);
    }
    let now = scrape(&server);
    let named: Vec<_> = now.keys().filter(|name| name.starts_with("m2mint_tokens_issued_total")).collect();
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(now[&format!("m2mint_tokens_issued_total{{client=\"{}\",audience=\"event\"}}", busy.id)] == 3.0);
    assert!(now["m2mint_tokens_issued_total{client=\"other\",audience=\"other\"}"] == 1.0);
}

#[test]
fn a_rotation_that_waits_is_seen_with_the_time_that_it_waits() {
    let server = Server::start();
    let now = scrape(&server);
    assert!(now["m2mint_keys{alg=\"EdDSA\",state=\"active\"}"] == 1.0);
    assert!(now["m2mint_keys{alg=\"EdDSA\",state=\"standby\"}"] == 1.0);
    assert!(now["m2mint_rotation_queued{alg=\"EdDSA\"}"] == 0.0);
    assert!(now["m2mint_rotation_next_seconds{alg=\"EdDSA\"}"] == 90.0 * 86_400.0);
    assert!(!now.contains_key("m2mint_key_deletion_next_seconds{alg=\"EdDSA\"}"));
    server.rotate();
    server.rotate();
    server.settle();
    let now = scrape(&server);
    assert!(now["m2mint_rotation_queued{alg=\"EdDSA\"}"] == 1.0);
    assert!(now["m2mint_rotation_next_seconds{alg=\"EdDSA\"}"] == 25.0 * 3600.0);
    assert!(now["m2mint_keys{alg=\"EdDSA\",state=\"retired\"}"] == 1.0);
    let deletion = "m2mint_key_deletion_next_seconds{alg=\"EdDSA\"}";
    let before = now[deletion];
    server.pass(60);
    assert!(before > 3600.0 && scrape(&server)[deletion] == before - 60.0);
    server.pass(25 * 3600);
    assert!(scrape(&server)["m2mint_rotation_queued{alg=\"EdDSA\"}"] == 0.0);
}

#[test]
fn a_clock_that_is_set_is_counted() {
    let server = Server::start();
    server.clock.jump(-60_000);
    server.settle();
    server.clock.jump(60_000);
    server.settle();
    let now = scrape(&server);
    assert!(now["m2mint_clock_jumps_total{direction=\"back\"}"] == 1.0);
    assert!(now["m2mint_clock_jumps_total{direction=\"ahead\"}"] == 1.0);
    assert!(now["m2mint_ready{part=\"clock\"}"] == 1.0);
}

#[test]
fn metrics_take_an_admin_key_unless_the_configuration_says_that_they_do_not() {
    let server = Server::start();
    let url = server.endpoint("/metrics");
    assert_eq!(get(&url).status, 401);
    assert_eq!(call("GET", &url, &[("authorization", "Bearer not-the-key-at-all")], b"").status, 401);
    assert_eq!(call("GET", &url, &[("authorization", &format!("Bearer {ADMIN_KEY}"))], b"").status, 200);
    let server = Server::with(&[("metrics.public", "true")]);
    let url = server.endpoint("/metrics");
    assert_eq!(get(&url).status, 200);
    assert_eq!(call("GET", &url, &[("host", "evil.example")], b"").status, 421);
    assert_eq!(call("GET", &url, &[("origin", "https://evil.example")], b"").status, 403);
    assert_eq!(call("POST", &url, &[], b"").status, 405);
}

#[test]
fn metrics_are_where_the_admin_api_is() {
    let server =
        Process::with(&[("M2MINT_ADMIN__LISTEN", "127.0.0.1:0"), ("M2MINT_METRICS__PUBLIC", "true")]);
    assert_eq!(get(&server.endpoint("/metrics")).status, 404);
    let admin = server.greeting.lines().find_map(|line| line.trim().strip_prefix("admin API"));
    let admin = admin.unwrap_or_else(|| panic!("{}", server.greeting)).trim();
    assert_eq!(get(&format!("{admin}/metrics")).status, 200);
    // A program that speaks the older format only.
    let older = call("GET", &format!("{admin}/metrics"), &[("accept", "text/plain")], b"");
    assert!(older.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(older.body.contains("# TYPE m2mint_requests_total counter\n") && !older.body.contains("EOF"));
}

#[test]
fn a_key_that_may_read_may_read_metrics_and_no_secret_is_in_them() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let answer = call("GET", &server.endpoint("/metrics"), &[("api-key", ADMIN_KEY)], b"");
    for secret in [ADMIN_KEY, &client.secret, &token] {
        assert!(!answer.body.contains(secret));
    }
    // Names are written so that no name can pretend to be another line.
    let odd = server.client(&json!({"clientId": "a\"}1\\", "audience": ["event"]}));
    let form = [("grant_type", "client_credentials"), ("client_id", &odd.id), ("client_secret", &odd.secret)];
    assert_eq!(post_form(&server.token_url(), &form).status, 200);
    let now = scrape(&server);
    assert!(now["m2mint_tokens_issued_total{client=\"a\\\"}1\\\\\",audience=\"event\"}"] == 1.0, "{now:?}");
}
