//! Clients that get tokens only from somewhere, at some time, or so many; and what strangers learn of it: nothing.

use m2mint::model::restrictions::moment;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::http::{Answer, KeptAlive, form};
use crate::support::in_process::START;
use crate::support::token::claims;
use crate::support::{Client, Process, Server};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn post(server: &Server, path: &str, client: &Client, from: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("client_id", &*client.id), ("client_secret", &*client.secret)];
    fields.extend(more);
    let headers = [FORM, ("x-forwarded-for", from)];
    KeptAlive::new().call("POST", &server.endpoint(path), &headers, form(&fields).as_bytes())
}

fn ask(server: &Server, client: &Client, from: &str) -> Answer {
    post(server, "/auth/oauth/token", client, from, &[("grant_type", "client_credentials")])
}

/// What the answer tells, without what is different in any two.
fn told(answer: &Answer) -> (u16, Vec<String>, String) {
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.retain(|line| !line.starts_with("date") && !line.starts_with("x-request-id"));
    headers.sort();
    (answer.status, headers, answer.body.clone())
}

fn at(seconds: i64) -> String {
    moment(UnixTime::from_secs(START.secs() + seconds))
}

fn with(server: &Server, restriction: Value) -> Client {
    let mut fields = json!({"audience": ["event"]});
    fields.as_object_mut().unwrap().extend(restriction.as_object().unwrap().clone());
    server.client(&fields)
}

/// Why somebody was refused, as the audit log has it.
fn reasons(server: &Server, action: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refused = entries(&server.database()).into_iter().filter(|entry| entry["action"] == action);
    refused.map(|entry| (text(&entry["subject"]), text(&entry["reason"]))).collect()
}

#[test]
fn a_stranger_learns_nothing_of_a_restriction_and_the_audit_log_knows_the_reason() {
    let server = Server::with(&[("limits.guesses", "1000"), ("limits.guesses_a_day", "100000")]);
    let restricted = [
        (
            json!({"sourceNetworks": ["192.0.2.0/24", "2001:db8::/32"]}),
            "the address is in none of the client's networks",
        ),
        (json!({"notBefore": at(3600)}), "the client may get no tokens yet (not-before)"),
        (json!({"notAfter": at(0)}), "the client may get no tokens any more (not-after)"),
        (json!({"enabled": false}), "the client is disabled"),
    ];
    let unknown = Client { id: "nobody".into(), secret: "nobody has this secret".into() };
    for (restriction, reason) in restricted {
        for chosen in [false, true] {
            let mut fields = restriction.clone();
            if chosen {
                fields["clientSecret"] = json!("a secret that somebody chose");
            }
            let client = with(&server, fields);
            let wrong = Client { secret: format!("{}x", client.secret), ..client.clone() };
            for (path, more) in [
                ("/auth/oauth/token", ("grant_type", "client_credentials")),
                ("/auth/oauth/introspect", ("token", "x")),
                ("/auth/oauth/revoke", ("token", "x")),
            ] {
                let [right, wrong, unknown] = [&client, &wrong, &unknown]
                    .map(|client| told(&post(&server, path, client, "198.51.100.7", &[more])));
                assert_eq!((right.0, &right), (401, &wrong), "{restriction} {path}");
                assert_eq!(right, unknown, "{restriction} {path}");
            }
            server.pass(61);
            let noted = reasons(&server, "authentication.refuse");
            let of_client: Vec<_> = noted.iter().filter(|(id, _)| *id == client.id).collect();
            assert_eq!(of_client.iter().filter(|(_, noted)| noted == reason).count(), 3, "{of_client:?}");
            assert_eq!(of_client.len(), 6, "{of_client:?}");
        }
    }
}

#[test]
fn a_client_with_networks_gets_tokens_there_and_nowhere_else() {
    let server = Server::start();
    let client = with(&server, json!({"sourceNetworks": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]}));
    for (from, status) in [
        ("192.0.2.200", 200),
        ("2001:db8:1::1", 200),
        ("::ffff:192.0.2.1", 200),
        ("198.51.100.7", 200),
        ("198.51.100.8", 401),
        ("192.0.3.1", 401),
        ("2001:db9::1", 401),
        // A loopback address is the proxy's own: nobody in particular.
        ("127.0.0.1", 401),
        // Only the last hop is the proxy's word.
        ("192.0.2.1, 203.0.113.1", 401),
    ] {
        assert_eq!(ask(&server, &client, from).status, status, "{from}");
    }
    let more = json!({"clientId": client.id, "sourceNetworks": null});
    assert_eq!(server.admin("PUT", "/recipe/oauth/clients", &more).json()["status"], "OK");
    assert_eq!(ask(&server, &client, "203.0.113.1").status, 200);
}

#[test]
fn strangers_cannot_use_up_the_tries_of_a_client_in_its_own_network() {
    let (server, connection) = (Server::start(), KeptAlive::new());
    let client = with(&server, json!({"sourceNetworks": ["192.0.2.0/24"]}));
    let guess = |number: u32| {
        let fields = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", "wrong as ever"),
        ]);
        let from = format!("10.0.{}.{}", number >> 8, number & 0xff);
        let headers = [FORM, ("x-forwarded-for", &*from)];
        connection.call("POST", &server.token_url(), &headers, fields.as_bytes()).status
    };
    assert!((0..2000).map(guess).filter(|status| *status == 429).count() > 1000);
    assert_eq!(ask(&server, &client, "10.9.9.9").status, 429, "a stranger");
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 200, "never seen there, and expected");
}

#[test]
fn a_client_with_a_time_gets_tokens_then_and_they_are_good_no_longer() {
    let server = Server::start();
    let client = with(&server, json!({"notBefore": at(100), "notAfter": at(1000)}));
    let lasting = with(&server, json!({}));
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 401);
    server.pass(100);
    let answer = ask(&server, &client, "192.0.2.1").json();
    assert_eq!(answer["expires_in"], 900);
    let token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["exp"], START.secs() + 1000);
    server.pass(899);
    assert_eq!(ask(&server, &client, "192.0.2.1").json()["expires_in"], 1);
    assert!(server.is_active(&token));
    server.pass(1);
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 401);
    assert!(!server.is_active(&token));
    // An end that is set later counts for tokens that are out.
    let token = ask(&server, &lasting, "192.0.2.1").json()["access_token"].as_str().unwrap().to_owned();
    assert!(server.is_active(&token));
    let end = json!({"clientId": lasting.id, "notAfter": at(1000)});
    assert_eq!(server.admin("PUT", "/recipe/oauth/clients", &end).json()["status"], "OK");
    assert!(!server.is_active(&token));
}

#[test]
fn tokens_a_minute_are_counted_after_the_secret_and_the_wait_is_told_to_the_client_alone() {
    let server = Server::start();
    let client = with(&server, json!({"tokensPerMinute": 3}));
    for second in 0..3 {
        assert_eq!(ask(&server, &client, "192.0.2.1").status, 200, "{second}");
        server.clock.pass(1000);
    }
    let refused = ask(&server, &client, "192.0.2.1");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("57")), "{refused:?}");
    assert_eq!(refused.error(), "temporarily_unavailable");
    assert_eq!(refused.json()["error_description"], "this client may get 3 tokens a minute");
    // A stranger sees what he always sees.
    let wrong = Client { secret: "wrong as ever".into(), ..client.clone() };
    assert_eq!(ask(&server, &wrong, "198.51.100.1").status, 401);
    // A request that gets no token takes no turn, and neither does asking about a token.
    assert_eq!(post(&server, "/auth/oauth/introspect", &client, "192.0.2.1", &[("token", "x")]).status, 200);
    server.clock.pass(57_000);
    let nowhere = [("grant_type", "client_credentials"), ("audience", "nowhere")];
    for _ in 0..5 {
        assert_eq!(
            post(&server, "/auth/oauth/token", &client, "192.0.2.1", &nowhere).error(),
            "invalid_target"
        );
    }
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 200);
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 429);
    // A change of something else begins no new minute.
    let rename = json!({"clientId": client.id, "scope": "a.b"});
    server.admin("PUT", "/recipe/oauth/clients", &rename);
    assert_eq!(ask(&server, &client, "192.0.2.1").status, 429);
    server.pass(61);
    let noted = reasons(&server, "token.refuse");
    assert_eq!(noted, vec![(client.id, "more than 3 tokens a minute".to_owned()); 3]);
}

#[test]
fn restrictions_come_back_as_they_were_given_and_only_where_they_were() {
    let mut server = Server::start();
    let plain = server.task_service();
    let given = json!({
        "sourceNetworks": ["192.0.2.0/24", "2001:db8::1"],
        "notBefore": "2027-01-15T08:00:00Z",
        "notAfter": "2028-01-15T08:00:00Z",
        "tokensPerMinute": 60,
    });
    let client = with(&server, given.clone());
    let get = |server: &Server, id: &str| {
        server.admin("GET", &format!("/recipe/oauth/clients?clientId={id}"), &Value::Null).json()
    };
    let restrictions = |json: &Value| -> Value {
        let names = ["sourceNetworks", "notBefore", "notAfter", "tokensPerMinute"];
        names.iter().filter_map(|name| Some(((*name).to_owned(), json.get(*name)?.clone()))).collect()
    };
    assert_eq!(restrictions(&get(&server, &client.id)), given);
    assert_eq!(restrictions(&get(&server, &plain.id)), json!({}));
    let list = server.admin("GET", "/recipe/oauth/clients/list", &Value::Null).json();
    assert!(list["clients"].as_array().unwrap().iter().any(|listed| restrictions(listed) == given), "{list}");
    server.restart();
    assert_eq!(restrictions(&get(&server, &client.id)), given);
    assert_eq!(ask(&server, &client, "203.0.113.1").status, 401, "also after a restart");
    let update = json!({"clientId": client.id, "notAfter": null, "tokensPerMinute": null});
    let changed = server.admin("PUT", "/recipe/oauth/clients", &update).json();
    let left = json!({"sourceNetworks": given["sourceNetworks"], "notBefore": given["notBefore"]});
    assert_eq!(restrictions(&changed), left);
    let entry =
        entries(&server.database()).into_iter().rfind(|entry| entry["action"] == "client.update").unwrap();
    assert_eq!(entry["changed"]["tokens_a_minute"], json!({"from": 60, "to": null}), "{entry}");
    assert_eq!(entry["changed"]["not_after"]["from"], "2028-01-15T08:00:00Z", "{entry}");
    assert!(entry["changed"]["networks"].is_null(), "{entry}");
}

#[test]
fn restrictions_that_make_no_sense_are_refused_by_name() {
    let server = Server::start();
    for (fields, word) in [
        (json!({"sourceNetworks": ["192.0.2.7/24"]}), "192.0.2.0/24"),
        (json!({"sourceNetworks": ["example.com"]}), "example.com"),
        (json!({"notBefore": "tomorrow"}), "notBefore"),
        (json!({"notAfter": "2027-01-15"}), "notAfter"),
        (json!({"notBefore": at(5), "notAfter": at(5)}), "never"),
        (json!({"tokensPerMinute": 0}), "between 1 and 6000"),
        (json!({"tokensPerMinute": 99_999_999_999_u64}), "between 1 and 6000"),
    ] {
        let answer = server.admin("POST", "/recipe/oauth/clients", &fields).json();
        assert_eq!(
            (&answer["status"], &answer["error"]),
            (&json!("OAUTH_ERROR"), &json!("invalid_client_metadata"))
        );
        assert!(answer["errorDescription"].as_str().unwrap().contains(word), "{fields}: {answer}");
    }
    for (fields, name) in [
        (json!({"sourceNetworks": "192.0.2.0/24"}), "sourceNetworks"),
        (json!({"notBefore": 5}), "notBefore"),
        (json!({"tokensPerMinute": "many"}), "tokensPerMinute"),
        (json!({"tokensPerMinute": 1.5}), "tokensPerMinute"),
        (json!({"sourceNetwork": ["192.0.2.0/24"]}), "sourceNetwork"),
    ] {
        let answer = server.admin("POST", "/recipe/oauth/clients", &fields);
        assert_eq!(answer.status, 400, "{fields}");
        assert!(answer.body.contains(&format!("'{name}'")), "{fields}: {answer:?}");
    }
}

#[test]
fn the_command_line_sets_restrictions_shows_them_and_takes_them_away() {
    let server = Process::start();
    let made = server.verb_json(&[
        "clients",
        "create",
        "--json",
        "--id",
        "task",
        "--audience",
        "event",
        "--scope",
        "event.create",
        "--network",
        "192.0.2.0/24",
        "--network",
        "2001:db8::/32",
        "--not-before",
        "2026-01-01T00:00:00Z",
        "--not-after",
        "2999-01-01T00:00:00Z",
        "--tokens-a-minute",
        "60",
    ]);
    let client = Client { id: "task".into(), secret: made["clientSecret"].as_str().unwrap().to_owned() };
    let shown = server.verb(&["clients", "show", "task"]);
    for line in [
        "comes from 192.0.2.0/24",
        "           2001:db8::/32",
        "not before 2026-01-01T00:00:00Z",
        "not after  2999-01-01T00:00:00Z",
        "tokens     60 a minute",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    // The server notices within a second.
    server.wait_until("refused from outside of its networks", || server.try_token(&client).is_err());
    server.verb(&["clients", "update", "task", "--network", "none", "--not-before", "none"]);
    server.verb(&["clients", "update", "task", "--not-after", "none", "--tokens-a-minute", "none"]);
    server.wait_until("served from anywhere", || server.try_token(&client).is_ok());
    let shown = server.verb(&["clients", "show", "task"]);
    assert!(
        !["comes from", "not before", "not after", "a minute"].iter().any(|word| shown.contains(word)),
        "{shown}"
    );
    for (arguments, code) in [
        (["--network", "everywhere"], 2),
        (["--not-after", "tomorrow"], 2),
        (["--tokens-a-minute", "many"], 2),
        (["--tokens-a-minute", "0"], 3),
    ] {
        let refused = server.run(&["clients", "update", "task", arguments[0], arguments[1]]);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(code == 3 || said.contains(arguments[0]), "{said}");
    }
}
