//! `/openapi.json`, the OpenAPI 3.1 description of what a listener answers, and `/openapi`, the same for people.
//!
//! Schemas come from the types that are sent, roles from the table by which calls are let in. Every example is executed by
//! a test.

// Of a JSON value: reading what is not there gives null, and what is written into is an object that was just made.
#![allow(clippy::indexing_slicing)]

mod core;
mod page;
mod public;
mod v1;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::ServiceConfig;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::readable;
use crate::listeners::Side;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Anybody.
    Nothing,
    /// A client with its secret.
    Client,
    /// The holder of an admin key.
    AdminKey,
}

/// A call.
struct Operation {
    method: &'static str,
    path: String,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    takes: Takes,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
}

impl Operation {
    fn new(
        method: &'static str,
        path: &str,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path: path.to_owned(),
            tag,
            id,
            summary,
            takes: Takes::Nothing,
            parameters: Vec::new(),
            body: None,
            answers: Map::new(),
        }
    }

    fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A body of this media type.
    fn body(mut self, media: &str, schema: &Value, example: &Value, required: bool) -> Self {
        self.body = Some(json!({
            "required": required,
            "content": {media: {"schema": schema, "example": example}},
        }));
        self
    }

    /// An answer with this status, of this media type.
    fn answer(mut self, status: &str, description: &str, media: &str, schema: &Value) -> Self {
        let mut answer = json!({"description": description});
        if !media.is_empty() {
            answer["content"] = json!({media: {"schema": schema}});
        }
        self.answers.insert(status.into(), answer);
        self
    }

    /// That the answer with this status has a header.
    fn header(mut self, status: &str, name: &str, description: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(status) {
            answer["headers"][name] = json!({"description": description, "schema": {"type": "string"}});
        }
        self
    }

    fn json(&self) -> Value {
        let security = match self.takes {
            Takes::Nothing => json!([]),
            Takes::Client => json!([{"client": []}]),
            Takes::AdminKey => json!([{"adminKey": []}, {"apiKey": []}]),
        };
        let mut operation = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "summary": self.summary,
            "security": security,
        });
        if self.takes == Takes::AdminKey {
            let role = super::admin::role_of(&self.method(), &self.path.replace(['{', '}'], ""));
            operation["x-role"] = role.name().into();
            operation["description"] = format!("Takes an admin key with the role `{role}`.").into();
        }
        if self.takes == Takes::Client {
            let told = "Takes client id and secret, by HTTP Basic or as `client_id` and `client_secret` in the body.";
            operation["description"] = told.into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = Value::Array(self.parameters.clone());
        }
        if let Some(body) = &self.body {
            operation["requestBody"] = body.clone();
        }
        operation["responses"] = Value::Object(self.answers.clone());
        operation
    }

    fn method(&self) -> actix_web::http::Method {
        // They stand in these files: each is one.
        self.method.to_ascii_uppercase().parse().unwrap_or_default()
    }
}

/// A reference to a schema of the document.
fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The description of what a listener answers.
#[must_use]
pub fn document(base_path: &str, side: Side) -> Value {
    let mut operations = Vec::new();
    let mut schemas = public::schemas();
    if side != Side::Admin {
        operations.extend(public::operations(base_path));
    }
    operations.extend(public::everywhere(base_path));
    if side != Side::Public {
        operations.extend(v1::operations());
        operations.extend(core::operations());
        schemas.append(&mut v1::schemas());
    }
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| Value::Object(Map::new()));
        path[operation.method] = operation.json();
    }
    let mut security = json!({
        "client": {"type": "http", "scheme": "basic", "description": "Client id and secret."},
    });
    if side != Side::Public {
        security["adminKey"] = json!({"type": "http", "scheme": "bearer", "description": "An admin key."});
        security["apiKey"] =
            json!({"type": "apiKey", "in": "header", "name": "api-key", "description": "The same."});
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "m2mint",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Machine-to-machine authorization server.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
    })
}

/// The routes of a listener.
pub fn routes(config: &mut ServiceConfig, base_path: &str, side: Side) {
    let document = document(base_path, side);
    let (page, policy) = page::render(&document);
    let (json, page) = (Bytes::from(document.to_string()), Bytes::from(page));
    config
        .service(readable("/openapi.json", move || {
            let json = json.clone();
            async move {
                HttpResponse::Ok()
                    .insert_header((CONTENT_TYPE, "application/json"))
                    .insert_header((CACHE_CONTROL, "public, max-age=300"))
                    .body(json)
            }
        }))
        .service(readable("/openapi", move || {
            let (page, policy) = (page.clone(), policy.clone());
            async move {
                HttpResponse::Ok()
                    .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
                    .insert_header((CONTENT_SECURITY_POLICY, policy))
                    .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .insert_header((CACHE_CONTROL, "public, max-age=300"))
                    .body(page)
            }
        }));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::admin::calls;

    fn operations(side: Side) -> Vec<(String, String, Value)> {
        let document = document("/auth", side);
        let paths = document["paths"].as_object().unwrap().clone();
        let operations = paths.into_iter().flat_map(|(path, operations)| {
            let operations = operations.as_object().unwrap().clone();
            operations.into_iter().map(move |(method, one)| (method.to_uppercase(), path.clone(), one))
        });
        operations.collect()
    }

    /// A path with a mark in place of each parameter.
    fn template(path: &str) -> String {
        let segments = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        segments.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_call_that_takes_an_admin_key_is_described_and_no_other() {
        let described: HashSet<_> = operations(Side::Both)
            .into_iter()
            .filter(|(_, _, operation)| operation.get("x-role").is_some())
            .map(|(method, path, operation)| (method, template(&path), operation["x-role"].to_string()))
            .collect();
        let let_in: HashSet<_> = calls()
            .map(|(method, path, role)| (method.to_string(), path.to_owned(), format!("\"{role}\"")))
            .collect();
        assert_eq!(described, let_in);
    }

    #[test]
    fn a_public_listener_describes_nothing_of_the_admin_api() {
        let text = document("/auth", Side::Public).to_string();
        assert!(
            !text.contains("/recipe/") && !text.contains("/admin/") && !text.contains("adminKey"),
            "{text}"
        );
        assert!(text.contains("/auth/oauth/token"));
        assert!(!document("/auth", Side::Admin).to_string().contains("/auth/oauth/token"));
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_every_operation_has_a_name_of_its_own() {
        fn references(value: &Value, found: &mut HashSet<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(all) => all.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        for side in [Side::Both, Side::Public, Side::Admin] {
            let document = document("/auth", side);
            let mut found = HashSet::new();
            references(&document, &mut found);
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} at {side:?}");
            }
        }
        let all = operations(Side::Both);
        let ids: HashSet<_> =
            all.iter().map(|(_, _, operation)| operation["operationId"].to_string()).collect();
        assert_eq!(ids.len(), all.len());
    }
}
