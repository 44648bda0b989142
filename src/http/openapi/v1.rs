//! What there is below `/admin/v1`.

use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{Operation, Takes, schema};
use crate::http::error::problem::ProblemDetails;
use crate::http::v1::idempotency::LONGEST_KEY;
use crate::http::v1::types::{
    AdminKeyMade, AdminKeys, Audience, AudienceChange, Audiences, AuditCheck, AuditHead, AuditPage,
    AuditReport, AuditWanted, Changes, Client, ClientChange, ClientMade, Clients, ClientsWanted, Declaration,
    DeclarationPage, DeclarationWanted, Keys, Misfits, MisfitsWanted, NewAdminKey, NewClient, NewSecret,
    NewService, Plan, PlanWanted, Revocation, Rotation, RotationWanted, SecretMade, SecretRotation, Secrets,
    Service, ServiceChange, Services, ServicesWanted, UnusedPage, UnusedWanted,
};

const JSON: &str = "application/json";

/// The schemas of requests and answers.
pub fn schemas() -> Map<String, Value> {
    let mut all = Vec::new();
    fn add<T: ToSchema>(all: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    add::<ProblemDetails>(&mut all);
    add::<Clients>(&mut all);
    add::<Client>(&mut all);
    add::<ClientMade>(&mut all);
    add::<ClientChange>(&mut all);
    add::<NewClient>(&mut all);
    add::<Secrets>(&mut all);
    add::<SecretMade>(&mut all);
    add::<NewSecret>(&mut all);
    add::<SecretRotation>(&mut all);
    add::<DeclarationPage>(&mut all);
    add::<Declaration>(&mut all);
    add::<Changes>(&mut all);
    add::<UnusedPage>(&mut all);
    add::<Services>(&mut all);
    add::<Service>(&mut all);
    add::<NewService>(&mut all);
    add::<ServiceChange>(&mut all);
    add::<Misfits>(&mut all);
    add::<Keys>(&mut all);
    add::<Plan>(&mut all);
    add::<RotationWanted>(&mut all);
    add::<Rotation>(&mut all);
    add::<Revocation>(&mut all);
    add::<Audience>(&mut all);
    add::<Audiences>(&mut all);
    add::<AudienceChange>(&mut all);
    add::<AdminKeys>(&mut all);
    add::<AdminKeyMade>(&mut all);
    add::<NewAdminKey>(&mut all);
    add::<AuditPage>(&mut all);
    add::<AuditHead>(&mut all);
    add::<AuditReport>(&mut all);
    add::<AuditCheck>(&mut all);
    // Strings and numbers: there is nothing in them that could fail to serialize.
    all.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect()
}

/// The calls.
pub fn operations() -> Vec<Operation> {
    let declared = || {
        let text =
            "[services.file]\nactions = [\"file.view\"]\n[clients.nightly]\ngrants.file = [\"file.view\"]\n";
        json!({"files": [{"name": "clients.toml", "text": text}]})
    };
    let service = || in_path("audience", "Its audience.", schema("AudienceName"), &json!("event"));
    let client = || in_path("clientId", "Its id.", schema("ClientId"), &json!("task-service"));
    vec![
        call("get", "/clients", "clients", "listClients", "Lists clients, oldest first")
            .query::<ClientsWanted>()
            .answer("200", "A page.", JSON, &schema("Clients")),
        call("post", "/clients", "clients", "createClient", "Makes a client")
            .once()
            .body(
                JSON,
                &schema("NewClient"),
                &json!({
                    "clientId": "task-service",
                    "clientName": "Task Service",
                    "clientSecret": "correct-horse-battery-staple",
                    "audienceScopes": {"event": ["event.view", "event.create"], "file": ["file.*"]},
                    "tokenLifetime": "15m",
                }),
                false,
            )
            .answer(
                "201",
                "The client, and its secret where that was made here.",
                JSON,
                &schema("ClientMade"),
            )
            .header("201", "ETag", "The state of the client.")
            .header("201", "Location", "Where the client is."),
        call("get", "/clients/{clientId}", "clients", "getClient", "Shows a client")
            .parameter(client())
            .answer("200", "The client.", JSON, &schema("Client"))
            .header("200", "ETag", "The state of the client."),
        call(
            "patch",
            "/clients/{clientId}",
            "clients",
            "changeClient",
            "Changes what is given, and leaves the rest",
        )
        .parameter(client())
        .if_match()
        .body(JSON, &schema("ClientChange"), &json!({"enabled": true, "tokensPerMinute": 600}), false)
        .answer("200", "The client.", JSON, &schema("Client"))
        .header("200", "ETag", "The state of the client."),
        call(
            "delete",
            "/clients/{clientId}",
            "clients",
            "removeClient",
            "Removes a client: it gets no more tokens",
        )
        .parameter(client())
        .if_match()
        .answer("204", "It is gone.", "", &Value::Null),
        call(
            "post",
            "/clients/{clientId}/tokens/revoke",
            "clients",
            "revokeClientTokens",
            "Revokes every token of a client that was issued until now",
        )
        .parameter(client())
        .answer("204", "They are refused by introspection.", "", &Value::Null),
        call(
            "get",
            "/clients/{clientId}/secrets",
            "secrets",
            "listSecrets",
            "Lists the secrets of a client, without them",
        )
        .parameter(client())
        .answer("200", "Ids and dates.", JSON, &schema("Secrets")),
        call(
            "post",
            "/clients/{clientId}/secrets",
            "secrets",
            "addSecret",
            "Adds a secret to those that a client has",
        )
        .parameter(client())
        .once()
        .body(JSON, &schema("NewSecret"), &json!({"expiresIn": "90d"}), false)
        .answer("201", "The secret, shown this once.", JSON, &schema("SecretMade")),
        call(
            "post",
            "/clients/{clientId}/secrets/rotate",
            "secrets",
            "rotateSecrets",
            "Adds a secret, and lets all others expire after a grace",
        )
        .parameter(client())
        .once()
        .body(JSON, &schema("SecretRotation"), &json!({"grace": "7d"}), false)
        .answer(
            "201",
            "The secret, shown this once, and those that expire.",
            JSON,
            &schema("SecretMade"),
        ),
        call(
            "delete",
            "/clients/{clientId}/secrets/{secretId}",
            "secrets",
            "removeSecret",
            "Removes a secret: it is refused from now on",
        )
        .parameter(client())
        .parameter(in_path("secretId", "Its id.", json!({"type": "integer", "format": "int64"}), &json!(1)))
        .answer("204", "It is gone.", "", &Value::Null),
        call(
            "get",
            "/declaration",
            "declaration",
            "getDeclaration",
            "Shows services and clients as a file declares them",
        )
        .query::<DeclarationWanted>()
        .answer("200", "A part of it.", JSON, &schema("DeclarationPage")),
        call(
            "post",
            "/declaration/plan",
            "declaration",
            "planDeclaration",
            "Shows what would be done to make services and clients what files declare",
        )
        .body(JSON, &schema("Declaration"), &declared(), true)
        .answer("200", "The plan: every step of it could be done.", JSON, &schema("Changes"))
        .header("200", "ETag", "The plan."),
        call(
            "post",
            "/declaration",
            "declaration",
            "applyDeclaration",
            "Makes services and clients what files declare: all of it in one transaction, or nothing",
        )
        .if_match()
        .once()
        .body(JSON, &schema("Declaration"), &declared(), true)
        .answer("200", "What was done, and the secrets that were made.", JSON, &schema("Changes")),
        call("get", "/unused", "clients", "listUnused", "Lists what clients have and did not use")
            .query::<UnusedWanted>()
            .answer("200", "A page.", JSON, &schema("UnusedPage")),
        call("get", "/services", "services", "listServices", "Lists registered services, by audience")
            .query::<ServicesWanted>()
            .answer("200", "A page.", JSON, &schema("Services")),
        call("post", "/services", "services", "createService", "Registers a service")
            .once()
            .body(
                JSON,
                &schema("NewService"),
                &json!({
                    "audience": "event",
                    "description": "Calendar Service",
                    "actions": [{"name": "event.view"}, {"name": "event.create", "description": "Makes an event"}],
                }),
                true,
            )
            .answer("201", "The service.", JSON, &schema("Service"))
            .header("201", "ETag", "The state of the service.")
            .header("201", "Location", "Where the service is."),
        call("get", "/services/{audience}", "services", "getService", "Shows a service")
            .parameter(service())
            .answer("200", "The service.", JSON, &schema("Service"))
            .header("200", "ETag", "The state of the service."),
        call(
            "patch",
            "/services/{audience}",
            "services",
            "changeService",
            "Takes actions away, calls them by other names, adds some",
        )
        .parameter(service())
        .if_match()
        .body(
            JSON,
            &schema("ServiceChange"),
            &json!({
                "renameActions": [{"from": "event.create", "to": "event.add", "aliasFor": "90d"}],
                "addActions": [{"name": "event.share", "description": "Shows an event to others"}],
            }),
            false,
        )
        .answer("200", "The service.", JSON, &schema("Service"))
        .header("200", "ETag", "The state of the service."),
        call(
            "delete",
            "/services/{audience}",
            "services",
            "removeService",
            "Forgets a service: clients keep what they are granted there",
        )
        .parameter(service())
        .if_match()
        .answer("204", "It is gone.", "", &Value::Null),
        call(
            "get",
            "/misfits",
            "services",
            "listMisfits",
            "Lists what clients are granted and no registered service understands",
        )
        .query::<MisfitsWanted>()
        .answer("200", "A page.", JSON, &schema("Misfits")),
        call("get", "/keys", "keys", "listKeys", "Shows every key, its state and the next transition")
            .answer("200", "The keys.", JSON, &schema("Keys")),
        call(
            "get",
            "/keys/plan",
            "keys",
            "planKeys",
            "Shows what happened to the keys, what will, and when a rotation happens that is asked for now",
        )
        .query::<PlanWanted>()
        .answer("200", "The timeline.", JSON, &schema("Plan")),
        call(
            "post",
            "/keys/rotate",
            "keys",
            "rotateKeys",
            "Lets the standby sign, as soon as every verifier can know it",
        )
        .once()
        .body(JSON, &schema("RotationWanted"), &json!({"alg": "EdDSA"}), false)
        .answer("200", "The standby signs from now on.", JSON, &schema("Rotation"))
        .answer(
            "202",
            "The rotation is queued; the answer says until when, and why.",
            JSON,
            &schema("Rotation"),
        ),
        call(
            "post",
            "/keys/{kid}/revoke",
            "keys",
            "revokeKey",
            "Takes a key out at once: its tokens are refused from now on",
        )
        .parameter(in_path(
            "kid",
            "Key id.",
            json!({"type": "string"}),
            &json!("gKQ3BSDZDuY9pXvVjyDRz4ghIzHkxF92nWa-3F5PF5g"),
        ))
        .once()
        .answer("200", "It is neither published nor accepted any more.", JSON, &schema("Revocation")),
        call(
            "get",
            "/audiences",
            "audiences",
            "listAudiences",
            "Lists the audiences whose tokens are not signed with EdDSA",
        )
        .answer("200", "The audiences.", JSON, &schema("Audiences")),
        call(
            "put",
            "/audiences/{audience}",
            "audiences",
            "setAudience",
            "Says what tokens for an audience are signed with",
        )
        .parameter(in_path("audience", "The audience.", schema("AudienceName"), &json!("billing")))
        .body(JSON, &schema("AudienceChange"), &json!({"alg": "ES256", "atOnce": true}), true)
        .answer(
            "200",
            "What its tokens are signed with, and from when on.",
            JSON,
            &schema("Audience"),
        ),
        call("get", "/admin-keys", "admin keys", "listAdminKeys", "Lists admin keys, without the keys")
            .answer("200", "Names, roles and dates.", JSON, &schema("AdminKeys")),
        call("post", "/admin-keys", "admin keys", "createAdminKey", "Makes an admin key")
            .once()
            .body(
                JSON,
                &schema("NewAdminKey"),
                &json!({"name": "deploy", "roles": ["clients"], "expiresIn": "90d"}),
                true,
            )
            .answer("201", "The key, shown this once.", JSON, &schema("AdminKeyMade"))
            .header("201", "Location", "Where it can be removed."),
        call(
            "delete",
            "/admin-keys/{name}",
            "admin keys",
            "removeAdminKey",
            "Removes an admin key: it is refused from now on",
        )
        .parameter(in_path("name", "Its name.", schema("AdminKeyName"), &json!("deploy")))
        .answer("204", "It is gone.", "", &Value::Null),
        call("get", "/audit", "audit", "listAudit", "Lists who did what, newest first")
            .query::<AuditWanted>()
            .answer("200", "A page.", JSON, &schema("AuditPage")),
        call(
            "get",
            "/audit/head",
            "audit",
            "getAuditHead",
            "Shows the newest signed head, to be kept elsewhere",
        )
        .answer("200", "The head.", JSON, &schema("AuditHead")),
        call(
            "post",
            "/audit/verify",
            "audit",
            "verifyAudit",
            "Checks that no entry was changed, cut out or moved",
        )
        .body(JSON, &schema("AuditCheck"), &json!({}), false)
        .answer("200", "Whether the log is whole.", JSON, &schema("AuditReport")),
    ]
}

fn call(
    method: &'static str,
    path: &str,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation::new(method, &format!("{}{path}", crate::http::v1::PATH), tag, id, summary)
        .takes(Takes::AdminKey)
        .answer("default", "What is wrong (RFC 9457).", "application/problem+json", &schema("Problem"))
}

fn in_path(name: &str, description: &str, schema: Value, example: &Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema, "example": example})
}

impl Operation {
    /// The members of `T`, in the query.
    fn query<T: IntoParams>(mut self) -> Self {
        let parameters = T::into_params(|| None).into_iter();
        self.parameters.extend(parameters.map(|one| serde_json::to_value(one).unwrap_or_default()));
        self
    }

    fn if_match(self) -> Self {
        self.parameter(json!({
            "name": "If-Match",
            "in": "header",
            "required": true,
            "description": "The ETag of the state that was seen, else 412; or * for whatever it is. Without: 428.",
            "schema": {"type": "string", "pattern": "^(\\*|\"[A-Za-z0-9_-]{22}\")$"},
            "example": "*",
        }))
    }

    fn once(self) -> Self {
        self.parameter(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "A repeated request with the same key and body gets the answer of the first, for ten minutes, \
                            unless the server restarts; the same key with another body is refused with 422.",
            "schema": {"type": "string", "pattern": format!("^[!-~]{{1,{LONGEST_KEY}}}$")},
        }))
    }
}
