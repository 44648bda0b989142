//! Foreign Rust libraries, as a called service and as a client would use them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, Scope, TokenResponse as _, TokenUrl,
};
use serde_json::Value;

use crate::support::{Client, Process, call};

/// `jsonwebtoken`, given the JWKS.
fn check(token: &str, jwks: &str, audience: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let set: JwkSet = serde_json::from_str(jwks).unwrap();
    let kid = decode_header(token)?.kid.unwrap();
    let key = DecodingKey::from_jwk(set.find(&kid).unwrap())?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
    Ok(decode::<Value>(token, &key, &validation)?.claims)
}

#[test]
fn jsonwebtoken_verifies_our_tokens_and_refuses_others() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    let claims = check(&token, &server.jwks(), "event").unwrap();
    assert_eq!((&claims["client_id"], &claims["stt"]), (&Value::from(client.id), &Value::from(1)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(claims["exp"].as_u64().unwrap() > now);
    assert!(check(&token, &server.jwks(), "file").is_err());
    let at = token.len() - 10;
    let flipped = if &token[at..=at] == "A" { "B" } else { "A" };
    assert!(
        check(&format!("{}{flipped}{}", &token[..at], &token[at + 1..]), &server.jwks(), "event").is_err()
    );
}

fn send(request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let answer = call(request.method().as_str(), &request.uri().to_string(), &headers, request.body());
    let mut response = HttpResponse::new(answer.body.into_bytes());
    *response.status_mut() = oauth2::http::StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in &answer.headers {
        let name = oauth2::http::HeaderName::from_bytes(name.as_str().as_bytes()).unwrap();
        response.headers_mut().insert(name, oauth2::http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Ok(response)
}

#[test]
fn the_oauth2_crate_gets_tokens_both_ways() {
    let server = Process::start();
    let Client { id, secret } = server.client();
    for auth_type in [AuthType::BasicAuth, AuthType::RequestBody] {
        let ask = |secret: &str, scope: &str| {
            let client = BasicClient::new(ClientId::new(id.clone()))
                .set_client_secret(ClientSecret::new(secret.to_owned()))
                .set_auth_type(auth_type.clone())
                .set_token_uri(TokenUrl::new(server.endpoint("/auth/oauth/token")).unwrap());
            client.exchange_client_credentials().add_scope(Scope::new(scope.to_owned())).request(&send)
        };
        let token = ask(&secret, "event.create").unwrap();
        assert_eq!(token.expires_in().unwrap().as_secs(), 3600);
        check(token.access_token().secret(), &server.jwks(), "event").unwrap();
        let error = ask("wrong", "event.create").unwrap_err().to_string();
        assert!(error.contains("invalid_client") || format!("{error:?}").contains("returned"), "{error}");
        assert!(ask(&secret, "event.edit").is_err());
    }
}
