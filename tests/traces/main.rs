//! Traces of the real server, as they arrive at a stand-in for a collector. Needs the feature `opentelemetry`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod collector;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::json;

use collector::{Collector, ERROR, SERVER, Span};
use support::http::{KeptAlive, admin, basic, call, form, get};
use support::memory::contains;
use support::process::{command, run_to_end};
use support::tls::Authority;
use support::{ADMIN_KEY, Answer, Client, Process};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A server that begins a trace with this part of the requests, and sends what is recorded at once.
#[track_caller]
fn server(collector: &Collector, ratio: &str) -> Process {
    with(collector, ratio, &[])
}

#[track_caller]
fn with(collector: &Collector, ratio: &str, environment: &[(&str, &str)]) -> Process {
    let url = collector.url();
    let traced = [
        ("M2MINT_TRACES__ENDPOINT", url.as_str()),
        ("M2MINT_TRACES__SAMPLE_RATIO", ratio),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    Process::with(&[&traced, environment].concat())
}

#[track_caller]
fn token(server: &Process, client: &Client, headers: &[(&str, &str)]) -> Answer {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &client.id),
        ("client_secret", &client.secret),
        ("scope", "event.create"),
    ];
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let headers = [&form_type, headers].concat();
    call("POST", &server.endpoint("/auth/oauth/token"), &headers, form(&fields).as_bytes())
}

/// The spans of requests, when the server has stopped and sent all of them.
fn requests(collector: &Collector, server: Process) -> Vec<Span> {
    server.stop();
    collector.spans().into_iter().filter(|span| span.kind == SERVER).collect()
}

fn is(span: &Span, attribute: &str, value: &str) -> bool {
    span.attributes.get(attribute).is_some_and(|found| found == value)
}

#[test]
fn a_request_goes_on_with_the_trace_of_its_caller() {
    let collector = Collector::answering(200);
    let server = server(&collector, "0");
    let client = server.client();
    let answer = token(
        &server,
        &client,
        &[("traceparent", &traceparent("01")), ("tracestate", "a=1"), ("tracestate", "b=2")],
    );
    assert_eq!(answer.status, 200);
    let spans = requests(&collector, server);
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.state.as_str()), (TRACE, PARENT, "a=1,b=2"));
    assert!(span.id != PARENT && span.status == 0);
    assert_eq!(span.name, "POST /auth/oauth/token");
    for (attribute, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/auth/oauth/token"),
        ("url.path", "/auth/oauth/token"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("m2mint.request.id", answer.header("x-request-id").unwrap()),
    ] {
        assert!(is(span, attribute, value), "{attribute}: {span:?}");
    }
    // The log does not name it either.
    assert!(!span.attributes.contains_key("m2mint.client.id") && !span.attributes.contains_key("error.type"));
    assert_eq!(span.resource["service.name"], "m2mint");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let request = &collector.requests()[0];
    assert!(request.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("content-type: application/x-protobuf"), "{}", request.head);
}

#[test]
fn what_the_caller_does_not_record_is_not_recorded() {
    let collector = Collector::answering(200);
    let server = server(&collector, "1");
    for flags in ["00", "02", "fe"] {
        get_with(&server, &[("traceparent", &traceparent(flags))]);
    }
    get_with(&server, &[("traceparent", &traceparent("03"))]);
    let spans = requests(&collector, server);
    assert_eq!(spans.iter().filter(|span| span.trace == TRACE).count(), 1, "{spans:?}");
    assert_eq!(spans.len(), 1);
}

#[track_caller]
fn get_with(server: &Process, headers: &[(&str, &str)]) {
    assert_eq!(call("GET", &server.endpoint("/hello"), headers, b"").status, 200);
}

/// What the server answers to these bytes, until it ends the connection.
#[track_caller]
fn raw(server: &Process, request: &str) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_malformed_traceparent_begins_a_trace() {
    let collector = Collector::answering(200);
    let server = server(&collector, "1");
    let good = traceparent("00");
    let malformed = [
        good.to_uppercase(),
        good.replace("00-", "ff-"),
        format!("{good}-"),
        format!("{good}1"),
        good[..54].to_owned(),
        format!("00-{TRACE}-{}-00", "0".repeat(16)),
    ];
    for wrong in &malformed {
        get_with(&server, &[("traceparent", wrong), ("tracestate", "a=1")]);
    }
    get_with(&server, &[("traceparent", &good), ("traceparent", &good)]);
    let spans = requests(&collector, server);
    assert_eq!(spans.len(), malformed.len() + 1, "{spans:?}");
    assert!(
        spans.iter().all(|span| span.trace != TRACE && span.parent.is_empty() && span.state.is_empty()),
        "{spans:?}"
    );
}

#[test]
fn a_part_of_the_requests_begins_a_trace() {
    let collector = Collector::answering(200);
    let server = server(&collector, "0.5");
    let connection = KeptAlive::new();
    for _ in 0..400 {
        connection.call("GET", &server.endpoint("/hello"), &[], b"");
    }
    let spans = requests(&collector, server).len();
    // Seven times its deviation away from what is expected.
    assert!((130..=270).contains(&spans), "{spans}");
}

#[test]
fn a_change_is_recorded_down_to_its_commit_and_so_is_a_rotation() {
    let collector = Collector::answering(200);
    let server = server(&collector, "1");
    server.client();
    server.signal(Signal::USR1);
    server.wait_until("the rotation is recorded", || {
        collector.spans().iter().any(|span| span.name == "promote standby")
    });
    server.stop();
    let spans = collector.spans();
    for (of, attribute, value) in [
        ("POST /recipe/oauth/clients", "http.response.status_code", "200"),
        ("promote standby", "m2mint.alg", "EdDSA"),
    ] {
        let whole = spans.iter().find(|span| span.name == of).unwrap();
        assert!(whole.parent.is_empty() && is(whole, attribute, value), "{whole:?}");
        let below = |parent: &Span, name: &str| {
            let is_below =
                |span: &&Span| span.parent == parent.id && span.trace == parent.trace && span.name == name;
            spans
                .iter()
                .find(is_below)
                .cloned()
                .unwrap_or_else(|| panic!("{name} below {parent:?}: {spans:?}"))
        };
        below(&below(whole, "sqlite write"), "sqlite commit");
    }
    // What else the server writes belongs to nothing that is recorded.
    assert!(spans.iter().all(|span| !span.name.starts_with("sqlite") || !span.parent.is_empty()));
}

#[test]
fn what_went_wrong_is_told_and_a_client_is_named_where_it_is_one() {
    let collector = Collector::answering(200);
    let server = server(&collector, "1");
    let client = server.client();
    let wrong = Client { secret: "m2s_wrong".into(), ..client.clone() };
    assert_eq!(token(&server, &wrong, &[]).status, 401);
    let nobody = Client { id: "nobody".into(), ..wrong };
    assert_eq!(token(&server, &nobody, &[]).status, 401);
    assert_eq!(get(&server.endpoint("/nothing/m2s_here?secret=m2s_there")).status, 404);
    assert!(
        raw(&server, "BREW /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .contains(" 405 ")
    );
    std::fs::rename(server.path("m2mint.db"), server.path("elsewhere.db")).unwrap();
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &json!({})).status, 503);
    std::fs::rename(server.path("elsewhere.db"), server.path("m2mint.db")).unwrap();
    let spans = requests(&collector, server);
    let of = |status: &str| {
        spans.iter().filter(|span| is(span, "http.response.status_code", status)).cloned().collect::<Vec<_>>()
    };
    let [known, unknown] = of("401").try_into().unwrap();
    assert!(
        is(&known, "error.type", "invalid_client") && is(&known, "m2mint.client.id", &client.id),
        "{known:?}"
    );
    assert!(known.status == 0 && !unknown.attributes.contains_key("m2mint.client.id"), "{unknown:?}");
    let [missing] = of("404").try_into().unwrap();
    assert_eq!((missing.name.as_str(), missing.attributes["url.path"].as_str()), ("GET", "REDACTED"));
    assert!(
        is(&missing, "error.type", "404") && !missing.attributes.contains_key("http.route"),
        "{missing:?}"
    );
    let [brewed] = of("405").try_into().unwrap();
    assert!(is(&brewed, "http.request.method", "_OTHER") && brewed.name == "HTTP", "{brewed:?}");
    let [failed] = of("503").try_into().unwrap();
    assert!(failed.status == ERROR && is(&failed, "error.type", "503"), "{failed:?}");
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_recorded() {
    let collector = Collector::answering(200);
    let server = with(&collector, "1", &[("M2MINT_LIMITS__REQUEST_TIME", "1s")]);
    let answer =
        raw(&server, "POST /auth/oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let spans = requests(&collector, server);
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert!(is(span, "http.response.status_code", "408") && is(span, "error.type", "timeout"), "{span:?}");
    assert_eq!(span.name, "POST /auth/oauth/token");
}

#[test]
fn no_secret_is_in_what_is_sent() {
    let collector = Collector::answering(200);
    let server = server(&collector, "1");
    let client = server.client();
    let chosen = "a secret that a person chose";
    let given =
        json!({"clientId": "chosen", "clientSecret": chosen, "scope": "event.create", "audience": ["event"]});
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &given).status, 200);
    let bought = server.token(&client);
    let credentials = basic("chosen", chosen);
    let headers =
        [("authorization", credentials.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let form_of = |token: &str| form(&[("token", token)]);
    let asked =
        call("POST", &server.endpoint("/auth/oauth/introspect"), &headers, form_of(&bought).as_bytes());
    assert_eq!(asked.status, 200, "{asked:?}");
    let in_query = format!("/auth/oauth/token?client_secret={}", client.secret);
    assert_eq!(call("POST", &server.endpoint(&in_query), &[], b"").status, 400);
    get(&server.endpoint(&format!("/{bought}/{}", client.secret)));
    get(&server.endpoint(&format!("/admin/v1/clients/{}", client.secret)));
    let odd = [
        ("user-agent", chosen),
        ("x-request-id", chosen),
        ("traceparent", &client.secret),
        ("tracestate", &bought),
    ];
    call("GET", &server.endpoint("/hello"), &odd, b"");
    call("GET", &server.endpoint("/metrics"), &[("api-key", ADMIN_KEY)], b"");
    call("GET", &server.endpoint("/metrics"), &[("authorization", &format!("Bearer {ADMIN_KEY}"))], b"");
    admin("GET", &server.endpoint(&format!("/recipe/oauth/clients?clientId={}", client.secret)), "");
    server.stop();
    assert!(collector.spans().iter().filter(|span| span.kind == SERVER).count() >= 11);
    let sent: Vec<u8> =
        collector.requests().iter().flat_map(|one| [one.head.as_bytes(), &one.body].concat()).collect();
    assert!(contains(&sent, b"/auth/oauth/introspect"), "it is looked for where it would be");
    let of_token: Vec<_> = bought.split('.').collect();
    for secret in [
        &client.secret,
        chosen,
        ADMIN_KEY,
        of_token[1],
        of_token[2],
        credentials.trim_start_matches("Basic "),
    ] {
        assert!(!contains(&sent, secret.as_bytes()), "{secret}");
        let encoded = STANDARD.encode(secret);
        assert!(!contains(&sent, &encoded.as_bytes()[..encoded.len() - 4]), "{secret}");
    }
}

/// How often the log says something.
fn said(server: &Process, words: &str) -> usize {
    server.log.lock().matches(words).count()
}

#[test]
fn without_a_collector_everything_goes_on_and_the_log_says_it_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Process::with(&[
        ("M2MINT_TRACES__ENDPOINT", &format!("http://{nobody}")),
        ("M2MINT_TRACES__SAMPLE_RATIO", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ]);
    let client = server.client();
    server.wait_until("it is said", || said(&server, "traces are lost until") == 1);
    for _ in 0..20 {
        server.token(&client);
    }
    let log = Arc::clone(&server.log);
    assert!(server.stop() < Duration::from_secs(5));
    let log = log.lock();
    assert_eq!(log.matches("traces are lost until").count(), 1, "{log}");
    assert!(
        log.contains("refused") && log.contains("spans that the collector did not take are gone"),
        "{log}"
    );
}

#[test]
fn a_collector_that_answers_nothing_holds_up_neither_tokens_nor_the_end() {
    let collector = Collector::answering(0);
    let server = server(&collector, "1");
    let client = server.client();
    server.wait_until("a batch is under way", || !collector.requests().is_empty());
    let connection = KeptAlive::new();
    // More than wait for it.
    for _ in 0..2_500 {
        assert_eq!(connection.call("GET", &server.endpoint("/hello"), &[], b"").status, 200);
    }
    server.token(&client);
    server.wait_until("it is said", || said(&server, "traces are lost until") == 1);
    assert!(server.log.lock().contains("more spans are made than the collector takes"));
    let log = Arc::clone(&server.log);
    assert!(server.stop() < Duration::from_secs(5));
    let log = log.lock();
    let lost = log.split("spans that the collector did not take are gone lost=").nth(1).unwrap();
    let lost: u32 = lost.lines().next().unwrap().trim().parse().unwrap();
    assert!((2_500..2_550).contains(&lost), "{lost}");
}

#[test]
fn a_collector_that_is_back_gets_traces_and_the_log_says_how_many_it_missed() {
    let collector = Collector::answering(400);
    let server = server(&collector, "0");
    let traced = [("traceparent", traceparent("01"))];
    let traced = [(traced[0].0, traced[0].1.as_str())];
    get_with(&server, &traced);
    server.wait_until("it is said", || said(&server, "traces are lost until") == 1);
    collector.answer(200);
    get_with(&server, &traced);
    server.wait_until("it is said", || said(&server, "the collector takes traces again") == 1);
    let refused: usize =
        collector.requests().iter().filter(|one| one.status == 400).map(|one| one.spans().len()).sum();
    assert_eq!(said(&server, &format!("the collector takes traces again lost={refused}\n")), 1);
    assert!(server.log.lock().contains("400"));
    server.stop();
}

#[test]
fn variables_of_opentelemetry_name_the_service_and_what_the_collector_wants_to_know() {
    let collector = Collector::answering(200);
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-key"),
        ("OTEL_SERVICE_NAME", "tokens"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let server = with(&collector, "1", &variables);
    get(&server.endpoint("/hello"));
    let log = Arc::clone(&server.log);
    let spans = requests(&collector, server);
    let resource = &spans[0].resource;
    assert_eq!((&*resource["service.name"], &*resource["deployment.environment.name"]), ("tokens", "test"));
    assert!(collector.requests()[0].head.contains("authorization: Bearer collector-key\r\n"));
    assert!(!log.lock().contains("collector-key"));
}

#[test]
fn a_collector_is_believed_by_its_certificate() {
    let authority = Authority::new("who signs collectors");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let pair = authority.pair();
    std::fs::write(path("collector.pem"), &pair.certificate).unwrap();
    m2mint::master_key::write_private(path("collector.key").as_ref(), &pair.private_key).unwrap();
    std::fs::write(path("trusted.pem"), authority.pem()).unwrap();
    std::fs::write(path("others.pem"), Authority::new("somebody else").pem()).unwrap();
    // It takes no traces, and so it says that it knows no such path.
    let (certificate, private_key) = (path("collector.pem"), path("collector.key"));
    let collector = Process::with(&[
        ("M2MINT_TLS__CERTIFICATE", &certificate),
        ("M2MINT_TLS__PRIVATE_KEY", &private_key),
    ]);
    for (trusted, cause) in [("trusted.pem", "404"), ("others.pem", "certificate")] {
        let server = Process::with(&[
            ("M2MINT_TRACES__ENDPOINT", &collector.url),
            ("M2MINT_TRACES__SAMPLE_RATIO", "1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("SSL_CERT_FILE", &path(trusted)),
        ]);
        get(&server.endpoint("/hello"));
        server.wait_until("it is said", || said(&server, "traces are lost until") == 1);
        assert!(server.log.lock().contains(cause), "{}", server.log.lock());
    }
}

#[test]
fn a_collector_that_cannot_be_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let checked = |settings: &[&str]| {
        let mut check = command(directory.path());
        check.args(["config", "check"]);
        check.args(settings.iter().flat_map(|one| ["--set", one]));
        let output = run_to_end(&mut check);
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (settings, reason) in [
        (&["traces.endpoint=http://192.0.2.7:4318"][..], "not https"),
        (&["traces.endpoint=localhost:4318"], "http or https URL"),
        (&["traces.endpoint=http://user:m2s_password@127.0.0.1:4318"], "OTEL_EXPORTER_OTLP_HEADERS"),
        (&["traces.endpoint=http://m2s_password@127.0.0.1:4318"], "OTEL_EXPORTER_OTLP_HEADERS"),
        (&["traces.endpoint=http://127.0.0.1:4318?key=1"], "without user, query"),
        (&["traces.sample_ratio=2"], "between 0 and 1"),
        (&["traces.sample_ratio=-0.1"], "between 0 and 1"),
        (&["traces.sample_ratio=NaN"], "between 0 and 1"),
    ] {
        let (good, said) = checked(settings);
        assert!(!good && said.contains(reason) && !said.contains("m2s_password"), "{settings:?}: {said}");
    }
    for settings in [
        &["traces.endpoint=https://collector.example/otlp/traces"][..],
        &["traces.endpoint=http://[::1]:4318", "traces.sample_ratio=1"],
        &["traces.endpoint=http://192.0.2.7:4318", "insecure=true"],
        &["traces.endpoint=none", "traces.sample_ratio=0.000001"],
    ] {
        assert!(checked(settings).0, "{settings:?}");
    }
}
