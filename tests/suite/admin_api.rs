//! The SuperTokens core's API: paths, shapes, status words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::call;
use crate::support::token::claims;
use crate::support::{ADMIN_KEY, Server, get};

const FIELDS: [&str; 26] = [
    "clientId",
    "clientName",
    "scope",
    "redirectUris",
    "enableRefreshTokenRotation",
    "authorizationCodeGrantAccessTokenLifespan",
    "authorizationCodeGrantIdTokenLifespan",
    "authorizationCodeGrantRefreshTokenLifespan",
    "clientCredentialsGrantAccessTokenLifespan",
    "implicitGrantAccessTokenLifespan",
    "implicitGrantIdTokenLifespan",
    "refreshTokenGrantAccessTokenLifespan",
    "refreshTokenGrantIdTokenLifespan",
    "refreshTokenGrantRefreshTokenLifespan",
    "tokenEndpointAuthMethod",
    "clientUri",
    "allowedCorsOrigins",
    "audience",
    "grantTypes",
    "responseTypes",
    "logoUri",
    "policyUri",
    "tosUri",
    "createdAt",
    "updatedAt",
    "metadata",
];

fn names(json: &Value) -> BTreeSet<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_call_needs_the_admin_key() {
    let server = Server::with(&[("limits.guesses", "100")]);
    let calls = [
        ("POST", "/recipe/oauth/clients"),
        ("GET", "/recipe/oauth/clients?clientId=x"),
        ("PUT", "/recipe/oauth/clients"),
        ("GET", "/recipe/oauth/clients/list"),
        ("POST", "/recipe/oauth/clients/remove"),
        ("POST", "/recipe/oauth/token"),
        ("POST", "/recipe/oauth/introspect"),
        ("POST", "/recipe/oauth/token/revoke"),
        ("POST", "/recipe/oauth/tokens/revoke"),
        ("GET", "/recipe/jwt/jwks"),
    ];
    for (method, path) in calls {
        let wrong_keys: [&[(&str, &str)]; 5] = [
            &[],
            &[("api-key", "")],
            &[("api-key", "admin-key-of-the-tests-0123456788")],
            &[("authorization", "Bearer nonsense")],
            &[("authorization", &format!("Basic {ADMIN_KEY}"))],
        ];
        for headers in wrong_keys {
            let answer = call(method, &server.endpoint(path), headers, b"{}");
            assert_eq!(
                (answer.status, &*answer.body),
                (401, "Invalid API key"),
                "{method} {path} {headers:?}"
            );
        }
    }
    let bearer = format!("Bearer {ADMIN_KEY}");
    let answer =
        call("GET", &server.endpoint("/recipe/oauth/clients/list"), &[("authorization", &bearer)], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn hello_and_the_version_need_no_key() {
    let server = Server::start();
    let answer = get(&server.endpoint("/hello"));
    assert_eq!((answer.status, &*answer.body), (200, "Hello"));
    let answer = get(&server.endpoint("/apiversion?apiDomain=x&websiteDomain=y"));
    assert_eq!(answer.json(), json!({"versions": ["5.2", "5.3", "5.4"]}));
}

#[test]
fn the_documented_call_works_as_printed() {
    let server = Server::start();
    // The published example, its trailing comma included.
    let body = "\n{\n\"clientName\": \"<YOUR_CLIENT_NAME>\",\n\"grantTypes\": [\"client_credentials\"],\n\
                \"scope\": \"<custom_scope_1> <custom_scope_2>\",\n\"audience\": [\"<AUDIENCE_NAME>\"],\n}\n";
    let headers = [("api-key", ADMIN_KEY), ("Content-Type", "application/json; charset=utf-8")];
    let answer = call("POST", &server.endpoint("/recipe/oauth/clients"), &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["audience"], json!(["<AUDIENCE_NAME>"]));
}

#[test]
fn an_empty_body_creates_a_client() {
    let server = Server::start();
    for body in ["", "{}"] {
        let headers = [("api-key", ADMIN_KEY), ("content-type", "application/json")];
        let made = call("POST", &server.endpoint("/recipe/oauth/clients"), &headers, body.as_bytes()).json();
        let mut expected: BTreeSet<_> = FIELDS.into();
        expected.extend(["status", "clientSecret"]);
        assert_eq!(names(&made), expected);
        let id = made["clientId"].as_str().unwrap();
        assert!(id.strip_prefix("stcl_").is_some_and(|uuid| uuid.len() == 36), "{id}");
        assert!(made["clientSecret"].as_str().unwrap().starts_with("m2s_"));
        assert_eq!(made["scope"], "offline_access offline openid");
        assert_eq!(made["grantTypes"], json!(["client_credentials"]));
        for (field, unset) in [
            ("audience", json!([])),
            ("metadata", json!({})),
            ("logoUri", json!("")),
            ("redirectUris", json!(null)),
        ] {
            assert_eq!(made[field], unset, "{field}");
        }
    }
}

#[test]
fn a_client_is_read_without_its_secret() {
    let server = Server::start();
    let client = server.task_service();
    let read =
        server.admin("GET", &format!("/recipe/oauth/clients?clientId={}", client.id), &Value::Null).json();
    let mut expected: BTreeSet<_> = FIELDS.into();
    expected.insert("status");
    assert_eq!(names(&read), expected);
    let unknown = server.admin("GET", "/recipe/oauth/clients?clientId=nobody", &Value::Null);
    assert_eq!((unknown.status, unknown.json()), (200, json!({"status": "CLIENT_NOT_FOUND_ERROR"})));
    let missing = server.admin("GET", "/recipe/oauth/clients", &Value::Null);
    assert_eq!((missing.status, &*missing.body), (400, "Field name 'clientId' is invalid in JSON input"));
}

#[test]
fn values_come_back_as_they_were_sent() {
    let server = Server::start();
    let sent = json!({
        "clientId": "task", "clientName": "Task Service", "scope": "a b", "audience": ["x", "y"],
        "redirectUris": ["https://example.com/back"], "postLogoutRedirectUris": ["https://example.com/out"],
        "authorizationCodeGrantAccessTokenLifespan": "4h0m0s", "clientCredentialsGrantAccessTokenLifespan": "0h15m0s",
        "implicitGrantIdTokenLifespan": null, "tokenEndpointAuthMethod": "client_secret_basic",
        "clientUri": "https://example.com", "allowedCorsOrigins": ["https://example.com"],
        "grantTypes": ["client_credentials"], "responseTypes": ["code"], "logoUri": "l", "policyUri": "p", "tosUri": "t",
        "metadata": {"a": {"b": [1, null]}}, "enableRefreshTokenRotation": true,
        "audienceScopes": {"x": ["a"]}, "enabled": true
    });
    let made = server.admin("POST", "/recipe/oauth/clients", &sent).json();
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let read = server.admin("GET", "/recipe/oauth/clients?clientId=task", &Value::Null).json();
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
}

#[test]
fn a_lifespan_of_a_client_is_the_lifetime_of_its_tokens() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"], "scope": "event.create", "clientCredentialsGrantAccessTokenLifespan": "12h"}));
    let claims = claims(&server.token(&client));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 12 * 3600);
}

#[test]
fn a_duplicate_id_is_an_oauth_error() {
    let server = Server::start();
    server.client(&json!({"clientId": "task"}));
    let again = server.admin("POST", "/recipe/oauth/clients", &json!({"clientId": "task"}));
    assert_eq!(again.status, 200);
    let json = again.json();
    assert_eq!((&json["status"], &json["statusCode"]), (&json!("OAUTH_ERROR"), &json!(400)));
    assert!(json["error"].is_string() && json["errorDescription"].is_string(), "{json}");
}

#[test]
fn a_page_of_clients_leads_to_the_next() {
    let server = Server::start();
    for number in 0..10 {
        server.client(&json!({"clientId": format!("client_{number}"), "clientName": if number < 4 { "few" } else { "many" }}));
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for page in 0.. {
        let path = format!("/recipe/oauth/clients/list?pageSize=3&pageToken={token}");
        let answer = server.admin("GET", &path, &Value::Null).json();
        assert_eq!(answer["status"], "OK");
        let clients = answer["clients"].as_array().unwrap().clone();
        assert!(clients.iter().all(|client| client.get("clientSecret").is_none()));
        assert_eq!(clients.len(), if page < 3 { 3 } else { 1 });
        seen.extend(clients.iter().map(|client| client["clientId"].as_str().unwrap().to_owned()));
        match answer.get("nextPaginationToken") {
            Some(next) => next.as_str().unwrap().clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, (0..10).map(|number| format!("client_{number}")).collect::<Vec<_>>());
    let few = server.admin("GET", "/recipe/oauth/clients/list?clientName=few", &Value::Null).json();
    assert_eq!(few["clients"].as_array().unwrap().len(), 4);
    for wrong in ["pageSize=0", "pageSize=501", "pageSize=x", "pageToken=nonsense"] {
        assert_eq!(
            server.admin("GET", &format!("/recipe/oauth/clients/list?{wrong}"), &Value::Null).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn an_update_changes_what_is_given_and_leaves_the_rest() {
    let server = Server::start();
    let client = server
        .client(&json!({"clientName": "before", "scope": "a b", "audience": ["x"], "metadata": {"k": 1}}));
    server.clock.pass(5000);
    let changed =
        server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": client.id, "scope": "a"})).json();
    assert_eq!(
        (&changed["scope"], &changed["clientName"], &changed["metadata"]),
        (&json!("a"), &json!("before"), &json!({"k": 1}))
    );
    assert!(changed.get("clientSecret").is_none());
    assert_ne!(changed["createdAt"], changed["updatedAt"]);
    // As `supertokens-node` does it: the id in the query, too.
    let path = format!("/recipe/oauth/clients?clientId={}", client.id);
    let changed = server.admin("PUT", &path, &json!({"clientName": "after"})).json();
    assert_eq!(changed["clientName"], "after");
    let unknown = server.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": "nobody"}));
    assert_eq!(unknown.json(), json!({"status": "CLIENT_NOT_FOUND_ERROR"}));
    assert_eq!(server.admin("PUT", "/recipe/oauth/clients", &json!({})).status, 400);
}

#[test]
fn a_new_secret_replaces_all() {
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"], "scope": "event.create"}));
    let token = |secret: &str| {
        let fields =
            [("grant_type", "client_credentials"), ("client_id", &*client.id), ("client_secret", secret)];
        crate::support::post_form(&server.token_url(), &fields).status
    };
    let changed = server.admin(
        "PUT",
        "/recipe/oauth/clients",
        &json!({"clientId": client.id, "clientSecret": "new_client_secret"}),
    );
    assert_eq!(changed.json()["clientSecret"], "new_client_secret");
    assert_eq!((token(&client.secret), token("new_client_secret")), (401, 200));
}

#[test]
fn removing_tells_whether_there_was_anything_to_remove() {
    let server = Server::start();
    let client = server.task_service();
    let remove =
        || server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id})).json();
    assert_eq!(remove(), json!({"status": "OK", "didExist": true}));
    assert_eq!(remove(), json!({"status": "OK", "didExist": false}));
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let server = Server::start();
    for (body, text) in [
        (json!({"colour": "blue"}), "Field name 'colour' is not known"),
        (json!({"scopes": "a"}), "Field name 'scopes' is not known"),
        (json!({"scope": ["a"]}), "Field name 'scope' is invalid in JSON input"),
        (json!({"audience": "event"}), "Field name 'audience' is invalid in JSON input"),
        (json!({"clientName": 7}), "Field name 'clientName' is invalid in JSON input"),
        (json!({"metadata": []}), "Field name 'metadata' is invalid in JSON input"),
        (json!({"enabled": "yes"}), "Field name 'enabled' is invalid in JSON input"),
        (
            json!({"audienceScopes": {"event": "event.*"}}),
            "Field name 'audienceScopes' is invalid in JSON input",
        ),
    ] {
        let answer = server.admin("POST", "/recipe/oauth/clients", &body);
        assert_eq!((answer.status, &*answer.body), (400, text));
    }
    for body in ["{", "[]", "nonsense", r#"{"a":1,,}"#] {
        let answer = call(
            "POST",
            &server.endpoint("/recipe/oauth/clients"),
            &[("api-key", ADMIN_KEY), ("content-type", "application/json")],
            body.as_bytes(),
        );
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.body.starts_with("Invalid Json Input"), "{answer:?}");
    }
}

#[test]
fn what_breaks_a_rule_is_an_oauth_error() {
    let server = Server::start();
    let many = |what: &str, count: usize| (0..count).map(|n| format!("{what}{n}")).collect::<Vec<_>>();
    for body in [
        json!({"grantTypes": ["authorization_code"]}),
        json!({"grantTypes": ["client_credentials", "refresh_token"]}),
        json!({"grantTypes": []}),
        json!({"scope": "a  b"}),
        json!({"scope": "a\"b"}),
        json!({"scope": "a\u{e9}"}),
        json!({"scope": "x".repeat(201)}),
        json!({"scope": many("s", 101).join(" ")}),
        json!({"audience": many("a", 51)}),
        json!({"audience": ["x".repeat(501)]}),
        json!({"audience": ["a b"]}),
        json!({"audience": [""]}),
        json!({"clientName": "a\nb"}),
        json!({"clientId": "a b"}),
        json!({"clientId": ""}),
        json!({"clientSecret": "too short"}),
        json!({"clientCredentialsGrantAccessTokenLifespan": "soon"}),
        json!({"clientCredentialsGrantAccessTokenLifespan": "0s"}),
        json!({"redirectUris": ["https://example.com/#fragment"]}),
        json!({"tokenEndpointAuthMethod": "none"}),
        json!({"audience": ["event"], "scope": "a", "audienceScopes": {"file": ["a"]}}),
        json!({"audience": ["event"], "scope": "a", "audienceScopes": {"event": ["b"]}}),
    ] {
        let answer = server.admin("POST", "/recipe/oauth/clients", &body);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("OAUTH_ERROR")), "{body}");
    }
    for body in [json!({"scope": many("s", 100).join(" ")}), json!({"audience": many("a", 50)})] {
        assert_eq!(server.admin("POST", "/recipe/oauth/clients", &body).json()["status"], "OK");
    }
}

#[test]
fn a_body_above_64_kib_is_refused() {
    let server = Server::start();
    let body = json!({"metadata": {"x": "x".repeat(64 * 1024)}});
    let refused = server.admin("POST", "/recipe/oauth/clients", &body);
    assert!(refused.status == 413 && refused.body.contains("limits.body"), "{refused:?}");
    let server = Server::with(&[("limits.body", "128KiB")]);
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &body).status, 200);
    let body = json!({"metadata": {"x": "x".repeat(128 * 1024)}});
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &body).status, 413);
}

#[test]
fn a_token_through_the_core_has_the_issuer_and_the_claims_of_the_caller() {
    let server = Server::start();
    let client = server.task_service();
    let ask = |input: Value, more: Value| {
        let mut body = json!({"iss": "https://api.example.com/auth", "inputBody": input});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.admin("POST", "/recipe/oauth/token", &body)
    };
    let input = json!({
        "grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret,
        "scope": "event.view", "audience": "event"
    });
    let extra = json!({"access_token": {"tenant": "blue", "sub": "somebody else", "stt": 0}, "id_token": {}});
    let answer = ask(input.clone(), extra).json();
    assert_eq!(names(&answer), ["status", "access_token", "token_type", "expires_in", "scope"].into());
    let claims = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&claims["iss"], &claims["tenant"]), (&json!("https://api.example.com/auth"), &json!("blue")));
    assert_eq!((&claims["sub"], &claims["stt"]), (&json!(client.id), &json!(1)));

    let mut with_header = input.clone();
    for name in ["client_id", "client_secret"] {
        with_header.as_object_mut().unwrap().remove(name);
    }
    let header = crate::support::http::basic(&client.id, &client.secret);
    assert_eq!(ask(with_header, json!({"authorizationHeader": header})).json()["status"], "OK");

    let mut wrong = input.clone();
    wrong["client_secret"] = json!("wrong");
    let refused = ask(wrong, json!({})).json();
    assert_eq!(
        (&refused["status"], &refused["error"], &refused["statusCode"]),
        (&json!("OAUTH_ERROR"), &json!("invalid_client"), &json!(401))
    );

    let mut nested = input.clone();
    nested["scope"] = json!(["event.view"]);
    for answer in [ask(nested, json!({})), ask(input, json!({"authorizationHeader": "Basic !!!"}))] {
        assert_eq!((answer.status, &*answer.body), (400, "malformed request body or authorization header"));
    }
    let missing = server.admin("POST", "/recipe/oauth/token", &json!({"iss": "x"}));
    assert_eq!((missing.status, &*missing.body), (400, "Field name 'inputBody' is invalid in JSON input"));
}

#[test]
fn the_core_serves_the_same_keys_with_a_status() {
    let server = Server::start();
    let mut core = server.admin("GET", "/recipe/jwt/jwks", &Value::Null).json();
    assert_eq!(core.as_object_mut().unwrap().remove("status"), Some(json!("OK")));
    assert_eq!(core, get(&server.endpoint("/.well-known/jwks.json")).json());
}

#[test]
fn names_and_metadata_are_kept_as_unicode() {
    let server = Server::start();
    let client =
        server.client(&json!({"clientName": "Aufgaben-Dienst \u{1f600}", "metadata": {"\u{fc}": "\u{df}"}}));
    let read =
        server.admin("GET", &format!("/recipe/oauth/clients?clientId={}", client.id), &Value::Null).json();
    assert_eq!(
        (&read["clientName"], &read["metadata"]),
        (&json!("Aufgaben-Dienst \u{1f600}"), &json!({"\u{fc}": "\u{df}"}))
    );
}

#[test]
fn members_that_nobody_defines_are_refused_by_name_in_every_call() {
    let server = Server::start();
    let client = server.task_service();
    for path in ["clients/remove", "token", "introspect", "token/revoke", "tokens/revoke"] {
        let body = json!({"clientId": client.id, "client_id": client.id, "token": "x", "inputBody": {}, "surprise": 1});
        let body: serde_json::Map<_, _> = body
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| match path {
                "clients/remove" => *name == "clientId" || *name == "surprise",
                "token" => *name == "inputBody" || *name == "surprise",
                "tokens/revoke" => *name == "client_id" || *name == "surprise",
                _ => *name == "token" || *name == "surprise",
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let answer = server.admin("POST", &format!("/recipe/oauth/{path}"), &body.into());
        assert_eq!((answer.status, &*answer.body), (400, "Field name 'surprise' is not known"), "{path}");
    }
    assert!(!server.token(&client).is_empty(), "it was not removed");
}
