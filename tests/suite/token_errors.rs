//! Every way in which a request for a token can go wrong, in each dialect where it can.

use serde_json::json;

use crate::support::http::{basic, call};
use crate::support::{Answer, Client, Server, form, get};
use crate::token_dialects::{ALL, Dialect};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, &*answer.error()), (status, error), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
    let text = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(text.chars().all(|c| matches!(c, ' '..='~') && c != '"' && c != '\\'), "{text}");
}

/// A form with credentials in HTTP Basic.
#[track_caller]
fn with_basic(server: &Server, authorization: &str, fields: &[(&str, &str)]) -> Answer {
    call("POST", &server.token_url(), &[("authorization", authorization), FORM], form(fields).as_bytes())
}

#[test]
fn unknown_client_and_wrong_secret_are_the_same_answer() {
    let server = Server::start();
    let client = server.task_service();
    let other = server.task_service();
    let wrong = [
        Client { id: "nobody".into(), ..client.clone() },
        Client { secret: other.secret.clone(), ..client.clone() },
        Client { secret: "not a secret that anybody made".into(), ..client.clone() },
        Client { secret: "not a secret that anybody made".into(), id: "nobody".into() },
    ];
    let shape = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        (answer.status, answer.body.clone(), names)
    };
    for dialect in ALL {
        let answers: Vec<_> =
            wrong.iter().map(|client| dialect.token(&server, client, &[("audience", "event")])).collect();
        for answer in &answers {
            refused(answer, 401, "invalid_client");
            assert_eq!(shape(answer), shape(&answers[0]));
            assert_eq!(answer.header("www-authenticate"), None, "only where Basic was used");
        }
    }
    for client in &wrong {
        let answer =
            with_basic(&server, &basic(&client.id, &client.secret), &[("grant_type", "client_credentials")]);
        refused(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
    }
}

#[test]
fn missing_credentials() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        let ask = |fields: &[(&str, &str)]| dialect.ask(&server.token_url(), fields);
        refused(&ask(&[("grant_type", "client_credentials")]), 401, "invalid_client");
        refused(
            &ask(&[("grant_type", "client_credentials"), ("client_id", &client.id)]),
            401,
            "invalid_client",
        );
        refused(
            &ask(&[("grant_type", "client_credentials"), ("client_secret", &client.secret)]),
            401,
            "invalid_client",
        );
    }
}

#[test]
fn both_ways_of_authenticating_at_once() {
    let server = Server::start();
    let client = server.task_service();
    let grant = ("grant_type", "client_credentials");
    let authorization = basic(&client.id, &client.secret);
    let both = [grant, ("client_id", &*client.id), ("client_secret", &*client.secret)];
    refused(&with_basic(&server, &authorization, &both), 400, "invalid_request");
    refused(&with_basic(&server, &authorization, &[grant, ("client_id", "another")]), 400, "invalid_request");
    for body in [
        json!({"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret}),
        json!({"grantType": "client_credentials", "clientId": client.id, "clientSecret": client.secret}),
    ] {
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        refused(
            &call("POST", &server.token_url(), &headers, body.to_string().as_bytes()),
            400,
            "invalid_request",
        );
    }
}

#[test]
fn an_authorization_header_that_is_not_basic() {
    let server = Server::start();
    for header in ["Bearer abc", "Basic", "Basic !!!!", "Basic YWJj", "Digest username=x"] {
        let answer = with_basic(&server, header, &[("grant_type", "client_credentials")]);
        refused(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").is_some());
    }
}

#[test]
fn a_disabled_client() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"], "enabled": false}));
    for dialect in ALL {
        refused(&dialect.token(&server, &client, &[]), 401, "invalid_client");
    }
    server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "enabled": true}));
    assert_eq!(Dialect::Form.token(&server, &client, &[]).status, 200);
}

#[test]
fn a_client_whose_lifetime_is_allowed_no_more_can_still_be_disabled() {
    let mut server = Server::start();
    let client =
        server.client(&json!({"audience": ["event"], "clientCredentialsGrantAccessTokenLifespan": "20h"}));
    server.restart_with(&[("token.max_lifetime", "2h")]).unwrap();
    let change = |fields: serde_json::Value| server.admin("PUT", "/recipe/oauth/clients", &fields).body;
    let longer = change(json!({"clientId": client.id, "clientCredentialsGrantAccessTokenLifespan": "21h"}));
    assert!(longer.contains("OAUTH_ERROR"), "{longer}");
    let disabled = change(json!({"clientId": client.id, "enabled": false}));
    assert!(disabled.contains(r#""status":"OK""#), "{disabled}");
    refused(&Dialect::Form.token(&server, &client, &[]), 401, "invalid_client");
}

#[test]
fn an_expired_secret() {
    let mut server = Server::start();
    let client = server.client(&json!({"audience": ["event"]}));
    server.stop();
    let expiring = crate::clients_api::add_secret(&server, &client.id, Some(60));
    server.restart();
    for dialect in ALL {
        assert_eq!(dialect.token(&server, &expiring, &[]).status, 200);
    }
    server.pass(60);
    for dialect in ALL {
        refused(&dialect.token(&server, &expiring, &[]), 401, "invalid_client");
        assert_eq!(dialect.token(&server, &client, &[]).status, 200, "the other secret goes on");
    }
}

#[test]
fn another_grant_or_none() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        let ask = |grant: &[(&str, &str)]| {
            let mut fields = vec![("client_id", &*client.id), ("client_secret", &*client.secret)];
            fields.extend(grant);
            dialect.ask(&server.token_url(), &fields)
        };
        for grant in ["password", "authorization_code", "refresh_token", "Client_Credentials"] {
            refused(&ask(&[("grant_type", grant)]), 400, "unsupported_grant_type");
        }
        refused(&ask(&[]), 400, "invalid_request");
        refused(&ask(&[("grant_type", "")]), 400, "invalid_request");
    }
}

#[test]
fn a_repeated_parameter() {
    let server = Server::start();
    let client = server.task_service();
    for repeated in
        [("scope", "event.view"), ("audience", "event"), ("grant_type", "client_credentials"), ("x", "y")]
    {
        let fields = [("scope", "event.view"), ("audience", "event"), ("x", "y"), repeated];
        refused(&Dialect::Form.token(&server, &client, &fields), 400, "invalid_request");
    }
    for (snake, camel) in [("client_id", "clientId"), ("scope", "scope"), ("grant_type", "grantType")] {
        for name in [snake, camel] {
            let body = format!(r#"{{"{name}":"a","{name}":"a"}}"#);
            let answer =
                call("POST", &server.token_url(), &[("content-type", "application/json")], body.as_bytes());
            refused(&answer, 400, "invalid_request");
        }
    }
}

#[test]
fn two_spellings_in_one_request() {
    let server = Server::start();
    let body = r#"{"grant_type":"client_credentials","clientId":"a","clientSecret":"b"}"#;
    refused(
        &call("POST", &server.token_url(), &[("content-type", "application/json")], body.as_bytes()),
        400,
        "invalid_request",
    );
}

#[test]
fn a_malformed_body() {
    let server = Server::start();
    let json = [("content-type", "application/json")];
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        r#"{"grant_type":1}"#,
        r#"{"grantType":["client_credentials"]}"#,
        "{'a':1}",
    ] {
        refused(&call("POST", &server.token_url(), &json, body.as_bytes()), 400, "invalid_request");
    }
    let credentials = r#""client_id":"a","client_secret":"b","grant_type":"client_credentials""#;
    for wrong in [r#""scope":1"#, r#""scope":[1]"#, r#""audience":{}"#, r#""client_id":7"#] {
        let body = format!("{{{credentials},{wrong}}}");
        assert_ne!(call("POST", &server.token_url(), &json, body.as_bytes()).status, 200, "{body}");
    }
    refused(&call("POST", &server.token_url(), &[FORM], b"\xff\xfe&&&=%zz"), 400, "invalid_request");
}

#[test]
fn scope_or_audience_of_the_wrong_type() {
    let server = Server::start();
    let client = server.task_service();
    for wrong in
        [json!({"scope": 1}), json!({"scope": [1]}), json!({"audience": {}}), json!({"audience": [true]})]
    {
        let mut body = json!({"client_id": client.id, "client_secret": client.secret, "grant_type": "client_credentials"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = call(
            "POST",
            &server.token_url(),
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        refused(&answer, 400, "invalid_request");
    }
}

#[test]
fn a_wrong_content_type() {
    let server = Server::start();
    for content_type in
        ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx"]
    {
        let answer = call(
            "POST",
            &server.token_url(),
            &[("content-type", content_type)],
            b"grant_type=client_credentials",
        );
        refused(&answer, 400, "invalid_request");
    }
    refused(
        &call("POST", &server.token_url(), &[], b"grant_type=client_credentials"),
        400,
        "invalid_request",
    );
    // Parameters and letter case do not matter (RFC 9110 §8.3.1).
    let client = server.task_service();
    let body = json!({"client_id": client.id, "client_secret": client.secret, "grant_type": "client_credentials", "audience": "event"});
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(call("POST", &server.token_url(), &headers, body.to_string().as_bytes()).status, 200);
}

#[test]
fn a_body_that_is_too_large() {
    let server = Server::start();
    let padding = "x".repeat(64 * 1024);
    for dialect in ALL {
        refused(&dialect.ask(&server.token_url(), &[("scope", &padding)]), 413, "invalid_request");
    }
}

#[test]
fn get_instead_of_post() {
    let server = Server::start();
    let answer = get(&server.token_url());
    refused(&answer, 405, "invalid_request");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[test]
fn credentials_in_the_url() {
    let server = Server::start();
    let client = server.task_service();
    let query = form(&[("client_id", &client.id), ("client_secret", &client.secret)]);
    let answer =
        call("POST", &format!("{}?{query}", server.token_url()), &[FORM], b"grant_type=client_credentials");
    refused(&answer, 400, "invalid_request");
}

#[test]
fn two_audiences() {
    let server = Server::start();
    let client = server.task_service();
    refused(
        &Dialect::Form.token(&server, &client, &[("audience", "event"), ("audience", "file")]),
        400,
        "invalid_target",
    );
    for dialect in ALL {
        refused(
            &dialect.token(&server, &client, &[("audience", "event"), ("resource", "file")]),
            400,
            "invalid_target",
        );
        refused(&dialect.token(&server, &client, &[("audience", "event file")]), 400, "invalid_target");
    }
    for (id, secret, grant) in
        [("client_id", "client_secret", "grant_type"), ("clientId", "clientSecret", "grantType")]
    {
        let body = json!({id: client.id, secret: client.secret, grant: "client_credentials", "audience": ["event", "file"]});
        let answer = call(
            "POST",
            &server.token_url(),
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        refused(&answer, 400, "invalid_target");
    }
}

#[test]
fn no_audience_where_there_is_a_choice_names_it_to_an_authenticated_client_only() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        let answer = dialect.token(&server, &client, &[]);
        refused(&answer, 400, "invalid_target");
        assert!(answer.body.contains("event, file"), "{answer:?}");
        let stranger = Client { secret: "a guess, nothing more".into(), ..client.clone() };
        assert!(!dialect.token(&server, &stranger, &[]).body.contains("event, file"));
    }
}

#[test]
fn a_client_without_any_audience() {
    let server = Server::start();
    let client = server.client(&json!({}));
    for dialect in ALL {
        refused(&dialect.token(&server, &client, &[]), 400, "invalid_target");
    }
}

#[test]
fn an_audience_that_is_not_allowed() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        for audience in ["mail", "even", "events", "EVENT", "event\u{0}", "\"event\""] {
            refused(&dialect.token(&server, &client, &[("audience", audience)]), 400, "invalid_target");
        }
    }
}

#[test]
fn a_scope_that_is_not_allowed() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        // `event.edit` is the documentation's own slip for `event.update`.
        for scope in [
            "event.edit",
            "event.create event.edit",
            "event.*",
            "file.*",
            "file.",
            "*",
            "a\"b",
            "a\\b",
            "a  b",
            " event.view",
        ] {
            let answer = dialect.token(&server, &client, &[("audience", "event"), ("scope", scope)]);
            refused(&answer, 400, "invalid_scope");
        }
    }
}

#[test]
fn empty_scopes_inside_a_list() {
    let server = Server::start();
    let client = server.task_service();
    for scope in [json!([""]), json!(["event.view", ""]), json!(["event.view event.create"])] {
        let body = json!({
            "clientId": client.id, "clientSecret": client.secret, "grantType": "client_credentials",
            "audience": "event", "scope": scope
        });
        let answer = call(
            "POST",
            &server.token_url(),
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        );
        refused(&answer, 400, "invalid_scope");
    }
}

#[test]
fn a_lifetime_above_the_maximum_is_refused_when_a_client_is_given_it() {
    let server = Server::start();
    let fields = json!({"audience": ["event"], "clientCredentialsGrantAccessTokenLifespan": "25h"});
    let answer = server.admin("POST", "/recipe/oauth/clients", &fields).json();
    assert_eq!(answer["status"], "OAUTH_ERROR", "{answer}");
    assert!(answer["errorDescription"].as_str().unwrap().contains("token.max_lifetime"), "{answer}");
}

#[test]
fn a_lifetime_that_was_allowed_once_is_cut_to_what_is_allowed_now() {
    let mut server = Server::start();
    let client =
        server.client(&json!({"audience": ["event"], "clientCredentialsGrantAccessTokenLifespan": "20h"}));
    let lifetime = |server: &Server| Dialect::Form.token(server, &client, &[]).json()["expires_in"].clone();
    assert_eq!(lifetime(&server), 20 * 3600);
    server.restart_with(&[("token.max_lifetime", "2h")]).unwrap();
    assert_eq!(lifetime(&server), 2 * 3600);
}
