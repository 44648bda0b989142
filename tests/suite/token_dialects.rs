//! Three dialects on one endpoint: a form, JSON in snake_case, JSON in camelCase.

use serde_json::{Value, json};

use crate::support::http::{basic, call};
use crate::support::token::{claims, part};
use crate::support::{Answer, Client, Server, form, post_form, post_json};

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Form,
    Snake,
    Camel,
}

pub const ALL: [Dialect; 3] = [Dialect::Form, Dialect::Snake, Dialect::Camel];

impl Dialect {
    /// How this dialect spells a parameter.
    pub fn name(self, snake: &str) -> &str {
        match (self, snake) {
            (Self::Camel, "grant_type") => "grantType",
            (Self::Camel, "client_id") => "clientId",
            (Self::Camel, "client_secret") => "clientSecret",
            (Self::Camel, "access_token") => "accessToken",
            (Self::Camel, "expires_in") => "expiresIn",
            (Self::Camel, "token_type") => "tokenType",
            _ => snake,
        }
    }

    /// Sends these parameters.
    #[track_caller]
    pub fn ask(self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (self.name(name), *value)).collect();
        match self {
            Self::Form => post_form(url, &fields),
            Self::Snake | Self::Camel => post_json(
                url,
                &Value::Object(fields.iter().map(|(name, value)| ((*name).into(), json!(value))).collect()),
            ),
        }
    }

    /// Asks for a token with the client's credentials in the body.
    #[track_caller]
    pub fn token(self, server: &Server, client: &Client, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client.id.as_str()),
            ("client_secret", client.secret.as_str()),
        ];
        all.extend(fields);
        self.ask(&server.token_url(), &all)
    }
}

#[test]
fn each_dialect_answers_in_its_own_spelling_and_with_nothing_else() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        let answer =
            dialect.token(&server, &client, &[("audience", "event"), ("scope", "event.create file.view")]);
        assert_eq!(answer.status, 200, "{dialect:?}: {answer:?}");
        let json = answer.json();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut expected =
            ["access_token", "expires_in", "token_type", "scope"].map(|name| dialect.name(name));
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(json[dialect.name("token_type")], "Bearer");
        assert_eq!(json[dialect.name("expires_in")], 3600);
        assert_eq!(json["scope"], "event.create file.view");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 16));
    }
}

#[test]
fn a_token_says_what_the_design_says() {
    let server = Server::start();
    let client = server.task_service();
    let token = server.token(&client);
    let kid = &server.kids()[0];
    assert_eq!(part(&token, 0), json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}));
    let mut claims = claims(&token);
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22));
    claims.as_object_mut().unwrap().remove("jti");
    assert_eq!(
        claims,
        json!({
            "iss": "http://127.0.0.1:1/auth", "sub": client.id, "aud": "event", "client_id": client.id,
            "iat": 1_800_000_000, "exp": 1_800_003_600, "scope": "event.create", "scp": ["event.create"], "stt": 1
        })
    );
}

#[test]
fn http_basic_is_form_decoded_after_base64() {
    let server = Server::start();
    let client = server.client(&json!({
        "clientId": "task:service+1", "clientSecret": "100% of=a&secret+word", "audience": ["event"], "scope": ""
    }));
    let headers = [
        ("authorization", &*basic(&client.id, &client.secret)),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = call("POST", &server.token_url(), &headers, b"grant_type=client_credentials");
    assert_eq!(answer.status, 200, "{answer:?}");
    // The id may stand in the body too, as long as it is the same.
    let body = form(&[("grant_type", "client_credentials"), ("client_id", &client.id)]);
    assert_eq!(call("POST", &server.token_url(), &headers, body.as_bytes()).status, 200);
}

#[test]
fn http_basic_goes_with_json_too() {
    let server = Server::start();
    let client = server.task_service();
    let authorization = basic(&client.id, &client.secret);
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    for body in [
        r#"{"grant_type":"client_credentials","audience":"event"}"#,
        r#"{"grantType":"client_credentials","audience":"event"}"#,
    ] {
        assert_eq!(call("POST", &server.token_url(), &headers, body.as_bytes()).status, 200, "{body}");
    }
}

#[test]
fn the_documented_call_works() {
    let server = Server::start();
    let client = server.task_service();
    let answer = post_json(
        &server.token_url(),
        &json!({
            "clientId": client.id,
            "clientSecret": client.secret,
            "grantType": "client_credentials",
            "scope": ["event.create"],
            "audience": "event"
        }),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["expiresIn"], 3600);
}

#[test]
fn scopes_in_json_are_an_array_or_a_string() {
    let server = Server::start();
    let client = server.task_service();
    for scope in [json!(["event.view", "event.create"]), json!("event.view event.create")] {
        let body = json!({
            "client_id": client.id, "client_secret": client.secret, "grant_type": "client_credentials",
            "scope": scope, "audience": "event"
        });
        assert_eq!(post_json(&server.token_url(), &body).json()["scope"], "event.view event.create");
    }
}

#[test]
fn the_audience_may_be_called_resource() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        for fields in [&[("resource", "file")][..], &[("resource", "file"), ("audience", "file")]] {
            let answer = dialect.token(&server, &client, fields);
            let token = answer.json()[dialect.name("access_token")].as_str().unwrap().to_owned();
            assert_eq!(claims(&token)["aud"], "file");
        }
    }
}

#[test]
fn a_client_with_one_audience_need_not_name_it() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"], "scope": "event.view"}));
    for dialect in ALL {
        let token = dialect.token(&server, &client, &[]).json();
        let token = token[dialect.name("access_token")].as_str().unwrap().to_owned();
        assert_eq!(claims(&token)["aud"], "event");
    }
}

#[test]
fn without_scope_none_is_granted_unless_the_configuration_grants_all() {
    let fields = json!({"audience": ["event"], "scope": "event.view event.create file.*"});
    for (default, granted) in [("none", ""), ("all", "event.view event.create")] {
        let server = Server::with(&[("token.default_scope", default)]);
        let client = server.client(&fields);
        for dialect in ALL {
            assert_eq!(
                dialect.token(&server, &client, &[]).json()["scope"],
                granted,
                "{dialect:?} {default}"
            );
            // RFC 6749 §3.2: a parameter without a value counts as left out.
            assert_eq!(dialect.token(&server, &client, &[("scope", "")]).json()["scope"], granted);
        }
        // An empty array says: none.
        let body = json!({
            "client_id": client.id, "client_secret": client.secret, "grant_type": "client_credentials", "scope": []
        });
        assert_eq!(post_json(&server.token_url(), &body).json()["scope"], "");
    }
}

#[test]
fn a_scope_that_is_asked_for_twice_is_granted_once() {
    let server = Server::start();
    let client = server.task_service();
    let answer = Dialect::Form.token(
        &server,
        &client,
        &[("audience", "event"), ("scope", "file.view event.view file.view")],
    );
    assert_eq!(answer.json()["scope"], "file.view event.view");
}

#[test]
fn unknown_parameters_are_ignored() {
    let server = Server::start();
    let client = server.task_service();
    for dialect in ALL {
        let fields = [("audience", "event"), ("lifetime", "99999999"), ("colour", "blue")];
        let answer = dialect.token(&server, &client, &fields);
        assert_eq!(answer.json()[dialect.name("expires_in")], 3600, "{dialect:?}: {answer:?}");
    }
}

#[test]
fn a_wildcard_grants_no_text_that_is_not_one_scope() {
    let server = Server::start();
    let client = server.client(&json!({"scope": "event.*", "audience": ["event"]}));
    let long = format!("event.{}", "x".repeat(195));
    let wrong = [
        "event.x file.delete admin",
        "event.a\tadmin",
        "event.\u{a0}b",
        "event.x\",\"a\":\"",
        "event.a\nb",
        "event.\\",
        &long,
    ];
    for scope in wrong {
        for dialect in [Dialect::Snake, Dialect::Camel] {
            let credentials = [
                ("grant_type", "client_credentials"),
                ("client_id", &client.id),
                ("client_secret", &client.secret),
            ];
            let mut body: serde_json::Map<_, _> = credentials
                .into_iter()
                .map(|(name, value)| (dialect.name(name).to_owned(), json!(value)))
                .collect();
            body.insert("scope".into(), json!([scope]));
            let answer = post_json(&server.token_url(), &Value::Object(body));
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (400, &json!("invalid_scope")),
                "{scope:?}: {answer:?}"
            );
        }
        if !scope.contains(' ') {
            let answer = Dialect::Form.token(&server, &client, &[("scope", scope)]);
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (400, &json!("invalid_scope")),
                "{scope:?}: {answer:?}"
            );
        }
    }
}
