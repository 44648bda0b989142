//! SuperTokens' calls, for backends that speak to its core.

use serde_json::{Value, json};

use super::{Operation, Takes};
use crate::http::client_json;

const JSON: &str = "application/json";

/// The calls.
pub fn operations() -> Vec<Operation> {
    let by_id = || json!({"name": "clientId", "in": "query", "required": true, "schema": {"type": "string"}, "example": "task-service"});
    let object = |required: &[&str], properties: Value| {
        let additional = false;
        json!({"type": "object", "required": required, "properties": properties, "additionalProperties": additional})
    };
    let text = || json!({"type": "string"});
    let or_null = |name: &str| json!({"type": [name, "null"]});
    let basic = || json!({"type": ["string", "null"], "format": "basic-credentials"});
    let client = Value::Object(client_json::described());
    let mut changed = client.clone();
    changed["clientId"] = text();
    vec![
        Operation::new("get", "/apiversion", "SuperTokens", "getApiVersion", "The versions of the core driver interface")
            .answer("200", "The versions.", JSON, &json!({"type": "object", "required": ["versions"]})),
        call("post", "/recipe/oauth/clients", "coreCreateClient", "Makes a client")
            .body(JSON, &object(&[], client.clone()),
                  &json!({"clientId": "core-client", "clientName": "Task Service", "scope": "event.view", "audience": ["event"],
                          "grantTypes": ["client_credentials"]}), false),
        call("get", "/recipe/oauth/clients", "coreGetClient", "Shows a client").parameter(by_id()),
        call("put", "/recipe/oauth/clients", "coreUpdateClient", "Changes the fields that are given")
            .body(JSON, &object(&["clientId"], changed), &json!({"clientId": "core-client", "clientName": "Tasks"}), true),
        call("get", "/recipe/oauth/clients/list", "coreListClients", "Lists clients, oldest first")
            .parameter(json!({"name": "pageSize", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 500}}))
            .parameter(json!({"name": "pageToken", "in": "query", "schema": {"type": "string", "format": "clients-cursor"}}))
            .parameter(json!({"name": "clientName", "in": "query", "schema": {"type": "string"}})),
        call("post", "/recipe/oauth/clients/remove", "coreRemoveClient", "Removes a client")
            .body(JSON, &object(&["clientId"], json!({"clientId": text()})), &json!({"clientId": "core-client"}), true),
        call("get", "/recipe/oauth/audiences", "coreListAudiences", "Lists the audiences whose tokens are not signed with EdDSA"),
        call("put", "/recipe/oauth/audiences", "coreSetAudience", "Says what tokens for an audience are signed with")
            .body(JSON, &object(&["audience", "alg"], json!({"audience": text(), "alg": text(), "atOnce": or_null("boolean")})),
                  &json!({"audience": "billing", "alg": "ES256", "atOnce": true}), true),
        call("post", "/recipe/oauth/token", "coreToken", "A token for a client, under the issuer that the caller names")
            .body(JSON, &object(&["inputBody"], json!({
                    "iss": or_null("string"),
                    "inputBody": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
                    "authorizationHeader": basic(),
                    "access_token": or_null("object"),
                    "id_token": {},
                })),
                  &json!({"iss": "https://auth.example.com/auth",
                          "inputBody": {"grant_type": "client_credentials", "client_id": "task-service",
                                        "client_secret": "correct-horse-battery-staple", "audience": "event",
                                        "scope": "event.view"}}), true),
        call("post", "/recipe/oauth/introspect", "coreIntrospect", "What a token says, if it is good")
            .body(JSON, &object(&["token"], json!({"token": text(), "scope": or_null("string"), "token_type_hint": {}})), &json!({"token": "not-one"}), true),
        call("post", "/recipe/oauth/token/revoke", "coreRevokeToken", "Revokes a token")
            .body(JSON, &object(&["token"], json!({"token": text(), "token_type_hint": {}, "client_id": text(), "client_secret": text(), "authorizationHeader": basic()})),
                  &json!({"token": "not-one"}), true),
        call("post", "/recipe/oauth/tokens/revoke", "coreRevokeTokens", "Revokes every token of a client that was issued until now")
            .body(JSON, &object(&["client_id"], json!({"client_id": text()})), &json!({"client_id": "core-client"}), true),
        call("get", "/recipe/jwt/jwks", "coreJwks", "The published keys"),
        Operation::new("get", "/metrics", "health", "getMetrics", "What is counted, in OpenMetrics or the older text format")
            .takes(Takes::AdminKey)
            .answer("200", "The metrics.", "application/openmetrics-text", &json!({"type": "string"}))
            .also("200", "text/plain")
            .answer("default", "What is wrong.", "text/plain", &json!({"type": "string"})),
    ]
}

fn call(method: &'static str, path: &str, id: &'static str, summary: &'static str) -> Operation {
    let status = json!({
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"enum": ["OK", "CLIENT_NOT_FOUND_ERROR", "OAUTH_ERROR"]}},
    });
    Operation::new(method, path, "SuperTokens", id, summary)
        .takes(Takes::AdminKey)
        .answer("200", "What was asked for, or why not: `status` says which.", JSON, &status)
        .answer(
            "default",
            "The request cannot be read, or not be let in.",
            "text/plain",
            &json!({"type": "string"}),
        )
}

impl Operation {
    /// The answer comes in another media type too.
    fn also(mut self, status: &str, media: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(status) {
            answer["content"][media] = json!({"schema": {"type": "string"}});
        }
        self
    }
}
