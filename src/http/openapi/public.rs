//! What clients, verifiers and proxies ask.

use serde_json::{Map, Value, json};

use super::{Operation, Takes, schema};
use crate::http::discovery;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The schemas of their answers.
pub fn schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let schemas = json!({
        "Token": {
            "type": "object",
            "required": ["access_token", "token_type", "expires_in"],
            "properties": {
                "access_token": text(),
                "token_type": {"const": "Bearer"},
                "expires_in": {"type": "integer", "minimum": 1, "description": "Seconds."},
                "scope": text(),
            },
        },
        "OAuthError": {
            "type": "object",
            "required": ["error", "error_description"],
            "properties": {"error": text(), "error_description": text()},
        },
        "Introspection": {
            "type": "object",
            "required": ["active"],
            "properties": {"active": {"type": "boolean"}},
        },
        "JwkSet": {
            "type": "object",
            "required": ["keys"],
            "properties": {"keys": {"type": "array", "items": {
                "type": "object",
                "required": ["kty", "kid", "alg", "use"],
                "properties": {"kty": text(), "kid": text(), "alg": text(), "use": {"const": "sig"}},
            }}},
        },
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": {"status": text(), "parts": {"type": "object"}},
        },
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// What is on every listener.
pub fn everywhere(base_path: &str) -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut paths = vec![("/.well-known/jwks.json".to_owned(), "getWellKnownJwks")];
    paths.push((format!("{base_path}/jwt/jwks.json"), "getJwks"));
    for (path, id) in paths {
        let alg = json!({"name": "alg", "in": "query", "description": "The keys of this algorithm only.",
                         "schema": {"type": "string"}, "example": "EdDSA"});
        let keys = Operation::new("get", &path, "tokens", id, "The published keys (RFC 7517)")
            .parameter(alg)
            .answer("200", "The key set.", JSON, &schema("JwkSet"))
            .header("200", "ETag", "The key set that is answered.")
            .answer("304", "It is the one that If-None-Match names.", "", &Value::Null);
        operations.push(failing(keys));
    }
    let health = [
        ("/health/live", "getLive", "Whether the process serves"),
        ("/health/ready", "getReady", "Whether every part works, and which does not"),
    ];
    for (path, id, summary) in health {
        let health = Operation::new("get", path, "health", id, summary);
        operations.push(health.answer("200", "It does.", JSON, &schema("Health")).answer(
            "503",
            "It does not.",
            JSON,
            &schema("Health"),
        ));
    }
    operations.push(
        Operation::new("get", "/version", "health", "getVersion", "Which program this is").answer(
            "200",
            "Its name and version.",
            JSON,
            &json!({"type": "object", "required": ["name", "version"]}),
        ),
    );
    operations.push(
        Operation::new("get", "/hello", "SuperTokens", "getHello", "Whether a core is there").answer(
            "200",
            "Hello",
            "text/plain",
            &json!({"type": "string"}),
        ),
    );
    operations
}

/// What is on public listeners.
pub fn operations(base_path: &str) -> Vec<Operation> {
    let public = |path: &str| format!("{base_path}{path}");
    let text = || json!({"type": "string"});
    let token_request = json!({
        "type": "object",
        "required": ["grant_type"],
        "properties": {"grant_type": {"const": "client_credentials"}, "scope": text(), "audience": text()},
    });
    let about_token = json!({"type": "object", "required": ["token"], "properties": {"token": text()}});
    let mut operations = vec![
        failing(
            Operation::new("post", &public("/oauth/token"), "tokens", "issueToken", "A token for a client (RFC 6749 §4.4)")
                .takes(Takes::Client)
                .body(FORM, &token_request,
                      &json!({"grant_type": "client_credentials", "audience": "event", "scope": "event.view"}), true)
                .body_too(JSON, &json!({
                    "type": "object",
                    "required": ["grantType"],
                    "properties": {
                        "grantType": {"const": "client_credentials"},
                        "scope": {"type": ["array", "string"], "items": text()},
                        "audience": text(),
                    },
                }))
                .answer("200", "The token; in JSON requests in camelCase, its names are so too.", JSON,
                        &json!({"anyOf": [schema("Token"), {"type": "object", "required": ["accessToken", "expiresIn"]}]})),
        ),
        failing(
            Operation::new("post", &public("/oauth/introspect"), "tokens", "introspectToken",
                           "What a token says, if it is good, for clients that it concerns (RFC 7662)")
                .takes(Takes::Client)
                .body(FORM, &about_token, &json!({"token": "not-one"}), true)
                .answer("200", "Its claims, or `active: false`.", JSON, &schema("Introspection")),
        ),
        failing(
            Operation::new("post", &public("/oauth/revoke"), "tokens", "revokeToken", "Revokes a token of the client (RFC 7009)")
                .takes(Takes::Client)
                .body(FORM, &about_token, &json!({"token": "not-one"}), true)
                .answer("200", "It is not good any more, or never was.", "", &Value::Null),
        ),
        Operation::new("get", &public("/verify"), "tokens", "verifyToken",
                       "Whether a request may pass that a proxy has before it: 200, 401 or 403")
            .parameter(json!({"name": "audience", "in": "query", "schema": {"type": "string"}, "example": "event"}))
            .parameter(json!({"name": "scope", "in": "query", "schema": {"type": "string"}, "example": "event.view"}))
            .answer("200", "It may; headers say who calls.", "", &Value::Null)
            .answer("401", "It shows no good token.", "", &Value::Null)
            .answer("403", "Its token is good for something else, or nothing says what it needs.", "", &Value::Null),
    ];
    for (number, path) in discovery::paths(base_path).into_iter().enumerate() {
        // There are six at most.
        let id =
            ["getMetadata", "getMetadata2", "getMetadata3", "getMetadata4", "getMetadata5", "getMetadata6"]
                .get(number)
                .copied()
                .unwrap_or("getMetadata7");
        operations.push(
            Operation::new("get", &path, "tokens", id, "Authorization server metadata (RFC 8414)").answer(
                "200",
                "The metadata.",
                JSON,
                &json!({"type": "object", "required": ["issuer", "token_endpoint", "jwks_uri"]}),
            ),
        );
    }
    operations
}

/// With the errors of the public API.
fn failing(operation: Operation) -> Operation {
    operation.answer("default", "What is wrong (RFC 6749 §5.2).", JSON, &schema("OAuthError"))
}

impl Operation {
    /// The body may be of another media type too.
    fn body_too(mut self, media: &str, schema: &Value) -> Self {
        if let Some(body) = &mut self.body {
            body["content"][media] = json!({"schema": schema});
        }
        self
    }
}
