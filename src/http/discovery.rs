//! Authorization server metadata (RFC 8414), which OpenID Connect Discovery 1.0 clients can read too.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use bytes::Bytes;
use m2mint_keys::signing_key::Algorithm;
use serde_json::json;

use crate::http::State;
use crate::http::token::GRANT_TYPE;
use crate::rotation::rings;

/// `GET /.well-known/oauth-authorization-server`, `GET /.well-known/openid-configuration`.
pub async fn get(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .body(state.metadata.for_algorithms(state.keeper.published().algorithms()))
}

/// Where the document is found: RFC 8414 §3.1 puts the issuer's path behind the well-known part, OpenID Connect before it.
#[must_use]
pub fn paths(base_path: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for name in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        paths.push(name.to_owned());
        if !base_path.is_empty() {
            paths.push(format!("{name}{base_path}"));
            paths.push(format!("{base_path}{name}"));
        }
    }
    paths
}

/// The document, ready to send. Everything in it follows from the configured issuer and the keys, nothing from the request.
pub struct Metadata {
    default: Bytes,
    /// When there are keys of every algorithm.
    all: Bytes,
}

impl Metadata {
    /// The documents of an issuer.
    #[must_use]
    pub fn of(issuer: &str) -> Self {
        Self {
            default: document(issuer, &[rings::DEFAULT.name()]),
            all: document(issuer, &Algorithm::SIGNING.map(Algorithm::name)),
        }
    }

    fn for_algorithms(&self, used: impl Iterator<Item = Algorithm>) -> Bytes {
        if used.count() == 1 { self.default.clone() } else { self.all.clone() }
    }
}

fn document(issuer: &str, algorithms: &[&str]) -> Bytes {
    let methods = ["client_secret_basic", "client_secret_post"];
    let document = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/token"),
        "jwks_uri": format!("{issuer}/jwt/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "grant_types_supported": [GRANT_TYPE],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        // RFC 8414 §2 wants it; there is no authorization endpoint that could answer anything.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        // There are no ID tokens, but this is where OpenID libraries read which algorithms to allow.
        "id_token_signing_alg_values_supported": algorithms,
    });
    document.to_string().into()
}
