//! What is asked, and what has to be answered, whatever the framework.

use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::token::Minter;
use serde_json::{Value, json};

use crate::sessions;
use crate::support::{Answer, ISSUER, Issuer, Question, Routes, create, view};

const METADATA: &str =
    r#"resource_metadata="https://event.example.com/.well-known/oauth-protected-resource""#;

/// Asks a service with these routes one question.
pub trait Ask {
    fn ask(&self, routes: Routes, question: Question) -> Answer;
}

#[track_caller]
fn lets_in(answer: &Answer, caller: &str) {
    assert_eq!((answer.status, &*answer.body), (200, caller), "{answer:?}");
    assert_eq!(answer.challenge, None);
}

#[track_caller]
fn refuses(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.challenge.as_deref(), Some(&*format!("{challenge}, {METADATA}")), "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(body["error"].is_string() && body["error_description"].is_string(), "{body}");
}

pub fn services_come_in_with_the_right_scope(by: &impl Ask) {
    let issuer = Issuer::new();
    let ask = |question| by.ask(Routes::of(issuer.guard()), question);
    lets_in(&ask(create(&issuer.token("event", &["event.view", "event.create"]))), "service task");
    lets_in(&ask(view(&issuer.token("event", &["event.view"]))), "service task");
    let delegated = json!({"sessionHandle": "handle-1"});
    lets_in(&ask(view(&issuer.token_with("event", &["event.view"], 0, &delegated))), "task for task");
}

pub fn each_refusal_says_what_is_wrong(by: &impl Ask) {
    let issuer = Issuer::new();
    let ask = |question| by.ask(Routes::of(issuer.guard()), question);
    let create_scope = r#"scope="event.create""#;
    let invalid = |description: &str| {
        format!(
            r#"Bearer realm="event", error="invalid_token", error_description="{description}", {create_scope}"#
        )
    };
    let nothing = Question { method: "POST", authorizations: vec![] };
    refuses(&ask(nothing.clone()), 401, &format!(r#"Bearer realm="event", {create_scope}"#));
    let basic = Question { authorizations: vec![b"Basic dGFzazpzZWNyZXQ=".to_vec()], ..nothing.clone() };
    refuses(&ask(basic), 401, &format!(r#"Bearer realm="event", {create_scope}"#));

    let good = issuer.token("event", &["event.create"]);
    let request = r#"Bearer realm="event", error="invalid_request", error_description="there must be exactly one bearer token, in the Authorization header""#;
    for authorizations in [
        vec![b"Bearer".to_vec()],
        vec![b"Bearer a b".to_vec()],
        vec![b"Bearer \xff".to_vec()],
        vec![format!("Bearer {good}").into_bytes(); 2],
        vec![format!("Bearer {good}").into_bytes(), b"Basic x".to_vec()],
    ] {
        let question = Question { authorizations, ..nothing.clone() };
        refuses(&ask(question), 400, &format!("{request}, {create_scope}"));
    }

    refuses(
        &ask(create(&issuer.token("event", &["event.view"]))),
        403,
        &format!(
            r#"Bearer realm="event", error="insufficient_scope", error_description="the scope event.create is missing", {create_scope}"#
        ),
    );
    refuses(
        &ask(create(&issuer.token("file", &["event.create"]))),
        401,
        &invalid("meant for another audience"),
    );
    let old = issuer.token_with("event", &["event.create"], 3600 + 61, &json!({}));
    refuses(&ask(create(&old)), 401, &invalid("the token has expired"));
    let other = Issuer::new().token("event", &["event.create"]);
    refuses(&ask(create(&other)), 401, &invalid("signed with a key that is not published"));
    refuses(&ask(create("x.y.z")), 401, &invalid("not a JWT: a part is not canonical base64url"));
}

pub fn users_with_a_session_come_in_where_they_may(by: &impl Ask) {
    let issuer = Issuer::new();
    let ask = |question| by.ask(Routes::of(issuer.guard_with_sessions()), question);
    let session = sessions::token(&sessions::claims());
    lets_in(&ask(view(&session)), "session of user-1");
    assert_eq!(ask(create(&session)).status, 403, "a session has no scopes");
    // Services come in as before.
    lets_in(&ask(create(&issuer.token("event", &["event.create"]))), "service task");
    // A guard that knows no sessions lets none in.
    assert_eq!(by.ask(Routes::of(issuer.guard()), view(&session)).status, 401);
}

pub fn a_token_of_one_issuer_never_passes_as_one_of_the_other(by: &impl Ask) {
    let issuer = Issuer::new();
    let ask = |token: &str| by.ask(Routes::of(issuer.guard_with_sessions()), view(token)).status;
    let access = json!({
        "iss": ISSUER, "sub": "task", "aud": "event", "client_id": "task", "iat": sessions::claims()["iat"],
        "exp": sessions::claims()["exp"], "jti": "x", "scope": "event.view", "scp": ["event.view"], "stt": 1
    });
    let with = |claims: &Value, changes: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    // Access tokens that the holder of the session keys made up.
    for typ in ["at+jwt", "JWT"] {
        let header = json!({"kid": sessions::KID, "typ": typ, "alg": "RS256"});
        for changes in
            [json!({}), json!({"iss": sessions::API}), json!({"sessionHandle": "x", "iss": sessions::API})]
        {
            assert_eq!(
                ask(&sessions::signed(&header, &with(&access, changes.clone()))),
                401,
                "{typ} {changes}"
            );
        }
    }
    // Sessions that the holder of the access token keys made up.
    let session = json!({"sessionHandle": "x", "tId": "public"});
    assert_eq!(
        ask(&issuer.token_with("event", &[], 0, &session)),
        403,
        "it is an access token without a scope"
    );
    // Sessions that are wrong in one thing.
    assert_eq!(ask(&sessions::token(&sessions::claims())), 200);
    for changes in
        [json!({"stt": 1}), json!({"stt": 2}), json!({"iss": ISSUER}), json!({"exp": 1}), json!({"sub": 1})]
    {
        assert_eq!(ask(&sessions::token(&with(&sessions::claims(), changes.clone()))), 401, "{changes}");
    }
    // The kid of one set on a token of the other.
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let kid = Minter::new(key).kid().to_string();
    let header = json!({"kid": kid, "typ": "JWT", "alg": "RS256"});
    assert_eq!(ask(&sessions::signed(&header, &sessions::claims())), 401);
}

pub fn the_metadata_tells_where_tokens_come_from(by: &impl Ask) {
    let question = Question { method: "METADATA", authorizations: vec![] };
    let answer = by.ask(Routes::of(Issuer::new().guard()), question);
    assert_eq!(answer.status, 200);
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["resource"], "https://event.example.com");
    assert_eq!(json["authorization_servers"], json!([ISSUER]));
}
