//! Guessing at secrets: how often somebody may, and that nobody else suffers from it.

use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::http::{Answer, KeptAlive, basic, call, form};
use crate::support::{ADMIN_KEY, Client, Server};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
/// Wrong secrets in a row before the first wait.
const FREE: usize = 10;

/// Asks for a token through a proxy on this machine, which says for whom.
fn ask(connection: &KeptAlive, server: &Server, id: &str, secret: &str, from: &str) -> Answer {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
        ("audience", "event"),
    ];
    connection.call("POST", &server.token_url(), &[FORM, ("x-forwarded-for", from)], form(&fields).as_bytes())
}

#[test]
fn a_day_of_guesses_from_everywhere_gets_few_tries_and_the_client_goes_on_working() {
    const GUESSES: u32 = 6_000;
    let (server, connection) = (Server::start(), KeptAlive::new());
    let Client { id, secret } = server.task_service();
    let (home, own) = ("192.0.2.1", "198.51.100.1");
    assert_eq!(ask(&connection, &server, &id, &secret, home).status, 200);
    assert_eq!(ask(&connection, &server, &id, &secret, own).status, 200);
    let mut tried = 0;
    for number in 0..GUESSES {
        server.clock.pass(86_400_000 / i64::from(GUESSES));
        // Some share the client's own address; every other one comes from another.
        let elsewhere = format!("10.{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff);
        let from = if number % 3 == 0 { own } else { &elsewhere };
        let answer = ask(&connection, &server, &id, &format!("guess number {number:05}"), from);
        match answer.status {
            401 => tried += 1,
            429 => assert_eq!(answer.error(), "temporarily_unavailable"),
            other => panic!("{other}: {answer:?}"),
        }
        if number % 100 == 0 {
            for usual in [home, own] {
                let answer = ask(&connection, &server, &id, &secret, usual);
                assert_eq!(answer.status, 200, "guess {number}, {usual}: {answer:?}");
            }
        }
    }
    assert!((1000..=2000).contains(&tried), "{tried} of {GUESSES} were tried");
}

#[test]
fn guesses_from_one_address_lock_nobody_out_elsewhere() {
    let (server, connection) = (Server::start(), KeptAlive::new());
    let Client { id, secret } = server.task_service();
    for _ in 0..200 {
        ask(&connection, &server, &id, "the wrong one, again", "198.51.100.1");
    }
    assert_eq!(ask(&connection, &server, &id, &secret, "198.51.100.1").status, 429, "never right from there");
    assert_eq!(ask(&connection, &server, &id, &secret, "192.0.2.1").status, 200);
    assert_eq!(ask(&connection, &server, &id, &secret, "2001:db8::1").status, 200);
}

/// A way to present a secret: everything but who is asked about.
type Way = (&'static str, fn(&str, &str) -> (Vec<(&'static str, String)>, String));

fn plain(content_type: (&'static str, &'static str), body: String) -> (Vec<(&'static str, String)>, String) {
    (vec![(content_type.0, content_type.1.into())], body)
}

fn with_admin_key(body: Value) -> (Vec<(&'static str, String)>, String) {
    (vec![(JSON.0, JSON.1.into()), ("api-key", ADMIN_KEY.into())], body.to_string())
}

const WAYS: [Way; 8] = [
    ("/auth/oauth/token", |id, secret| {
        let fields = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        plain(FORM, form(&fields))
    }),
    ("/auth/oauth/token", |id, secret| {
        let (mut headers, body) = plain(FORM, form(&[("grant_type", "client_credentials")]));
        headers.push(("authorization", basic(id, secret)));
        (headers, body)
    }),
    ("/auth/oauth/token", |id, secret| {
        let body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
        plain(JSON, body.to_string())
    }),
    ("/auth/oauth/token", |id, secret| {
        let body = json!({"grantType": "client_credentials", "clientId": id, "clientSecret": secret});
        plain(JSON, body.to_string())
    }),
    ("/auth/oauth/introspect", |id, secret| {
        plain(FORM, form(&[("client_id", id), ("client_secret", secret), ("token", "x")]))
    }),
    ("/auth/oauth/revoke", |id, secret| {
        plain(FORM, form(&[("client_id", id), ("client_secret", secret), ("token", "x")]))
    }),
    ("/recipe/oauth/token", |id, secret| {
        let input = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
        with_admin_key(json!({"inputBody": input}))
    }),
    ("/recipe/oauth/token/revoke", |id, secret| {
        with_admin_key(json!({"token": "x", "client_id": id, "client_secret": secret}))
    }),
];

fn present(server: &Server, (path, build): Way, id: &str, secret: &str, from: &str) -> Answer {
    let (headers, body) = build(id, secret);
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push(("x-forwarded-for", from));
    call("POST", &server.endpoint(path), &headers, body.as_bytes())
}

#[test]
fn every_door_where_a_secret_is_checked_counts_and_all_count_together() {
    for way in WAYS {
        let server = Server::start();
        let client = server.task_service();
        // The core's API says it in the body.
        let code = |answer: &Answer| {
            let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            json["statusCode"].as_u64().unwrap_or(answer.status.into())
        };
        for number in 0..FREE {
            let answer = present(&server, way, &client.id, "a wrong secret of someone", "192.0.2.1");
            assert_eq!(code(&answer), 401, "{} {number}: {answer:?}", way.0);
        }
        let refused = present(&server, way, &client.id, &client.secret, "192.0.2.1");
        assert_eq!(code(&refused), 429, "{}: {refused:?}", way.0);
        assert_eq!(refused.header("retry-after"), Some("1"), "{}: {refused:?}", way.0);
        assert_eq!(refused.json()["error"], "temporarily_unavailable", "{}", way.0);
        assert_eq!(refused.header("cache-control"), Some("no-store"), "{}", way.0);
        // Another door is as closed, and time opens all of them.
        for other in WAYS {
            let answer = present(&server, other, &client.id, "another wrong secret", "192.0.2.1");
            assert_eq!(code(&answer), 429, "{} after {}", other.0, way.0);
        }
        server.clock.pass(1000);
        let answer = present(&server, way, &client.id, &client.secret, "192.0.2.1");
        assert_ne!(code(&answer), 429, "{}: {answer:?}", way.0);
        assert_ne!(code(&answer), 401, "{}: {answer:?}", way.0);
    }
}

#[test]
fn an_id_that_does_not_exist_is_limited_like_one_that_does() {
    let server = Server::start();
    let client = server.task_service();
    let chosen = server.client(&json!({"clientSecret": "chosen by somebody himself", "audience": ["event"]}));
    let run = |id: &str, from: &str| -> Vec<_> {
        let guess = |number: usize| {
            server.clock.pass(200);
            // The slow hash of a chosen secret runs for those who do not exist too.
            let secret = if number.is_multiple_of(2) { "guess of no known form" } else { &*client.secret };
            let secret = format!("{}{number:02}", &secret[..secret.len() - 2]);
            let answer = present(&server, WAYS[number % 6], id, &secret, from);
            let mut headers: Vec<_> =
                answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            headers.retain(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
            headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            (answer.status, headers, answer.body)
        };
        (0..40).map(guess).collect()
    };
    let unknown = run("nobody", "192.0.2.1");
    assert_eq!(run(&client.id, "192.0.2.2"), unknown);
    assert_eq!(run(&chosen.id, "192.0.2.3"), unknown);
    let count = |status| unknown.iter().filter(|(found, ..)| *found == status).count();
    assert!(count(401) > FREE && count(429) > FREE, "{unknown:?}");
}

#[test]
fn admin_keys_are_guessed_at_by_address_and_the_right_one_is_not_locked_out() {
    let server = Server::start();
    let ask = |key: &str, from: &str| {
        let headers = [("api-key", key), ("x-forwarded-for", from)];
        call("GET", &server.endpoint("/recipe/oauth/clients/list"), &headers, b"")
    };
    assert_eq!(ask(ADMIN_KEY, "192.0.2.1").status, 200);
    for from in ["192.0.2.1", "192.0.2.2"] {
        for _ in 0..FREE {
            assert_eq!(ask("a wrong admin key", from).status, 401, "{from}");
        }
        let refused = ask("a wrong admin key", from);
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{from}");
        assert_eq!(refused.body, "Too many invalid API keys; try again later");
    }
    assert_eq!(ask(ADMIN_KEY, "192.0.2.1").status, 200, "where it is usual");
    assert_eq!(ask(ADMIN_KEY, "192.0.2.2").status, 429, "where it never was right");
    assert_eq!(ask(ADMIN_KEY, "192.0.2.3").status, 200, "where nobody guessed");
    // Who brings no key guesses at nothing.
    for _ in 0..3 * FREE {
        let url = server.endpoint("/recipe/oauth/clients/list");
        assert_eq!(call("GET", &url, &[("x-forwarded-for", "192.0.2.4")], b"").status, 401);
    }
}

#[test]
fn nobody_but_a_trusted_proxy_says_where_a_request_comes_from() {
    for (trusted, believed) in
        [("loopback", true), ("none", false), ("10.0.0.0/8", false), ("127.0.0.0/8, unix", true)]
    {
        let (server, connection) = (Server::with(&[("trusted_proxies", trusted)]), KeptAlive::new());
        let guess =
            |number| ask(&connection, &server, "victim", "wrong as ever", &format!("192.0.2.{number}"));
        let tried = (0..3 * FREE).filter(|number| guess(*number).status == 401).count();
        assert_eq!(tried, if believed { 3 * FREE } else { FREE }, "{trusted}");
    }
    // What stands before the address that the proxy added is the sender's own invention.
    let (server, connection) = (Server::start(), KeptAlive::new());
    let guess =
        |number| ask(&connection, &server, "victim", "wrong as ever", &format!("10.0.0.{number}, 192.0.2.1"));
    assert_eq!((0..3 * FREE).filter(|number| guess(*number).status == 401).count(), FREE);
}

#[test]
fn the_numbers_can_be_set_and_are_taken_over_at_once() {
    let (server, connection) =
        (Server::with(&[("limits.guesses", "3"), ("limits.longest_wait", "2s")]), KeptAlive::new());
    let guess = || ask(&connection, &server, "victim", "wrong as ever", "192.0.2.1");
    assert_eq!((0..20).filter(|_| guess().status == 401).count(), 3);
    for wait in [1, 2, 2, 2] {
        assert_eq!(guess().header("retry-after"), Some(&*wait.to_string()));
        server.clock.pass(wait * 1000);
        assert_eq!(guess().status, 401);
    }
}

#[test]
fn whoever_guessed_too_often_stands_in_the_audit_log_by_name_and_address_and_all_are_counted() {
    let (server, connection) = (Server::start(), KeptAlive::new());
    let client = server.task_service();
    for _ in 0..FREE {
        ask(&connection, &server, &client.id, "wrong as ever", "192.0.2.9");
    }
    // Written: there is room for the next ten, one by one. And the wait is over: the first of them is tried.
    server.pass(61);
    for _ in 0..50 {
        ask(&connection, &server, &client.id, "wrong as ever", "192.0.2.9");
    }
    server.pass(61);
    let entries: Vec<_> = entries(&server.database())
        .into_iter()
        .filter(|entry| entry["action"] == "authentication.refuse")
        .collect();
    let reason = |entry: &&Value| entry["reason"] == "too many wrong secrets; try again later";
    let limited: Vec<_> = entries.iter().filter(reason).collect();
    assert_eq!(limited.len(), 9, "{entries:?}");
    for entry in limited {
        assert_eq!((&entry["subject"], &entry["address"]), (&json!(client.id), &json!("192.0.2.9")));
    }
    let counted: u64 = entries.iter().map(|entry| entry["changed"]["clients"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 60, "{entries:?}");
}
