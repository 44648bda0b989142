//! What `supertokens-node` asks of a core before anything else.

use actix_web::HttpResponse;
use serde_json::json;

/// `GET /hello`, with or without an admin key.
pub async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("Hello")
}

/// `GET /apiversion`: the versions of the core driver interface that are spoken here.
pub async fn api_version() -> HttpResponse {
    HttpResponse::Ok().json(json!({"versions": ["5.2", "5.3", "5.4"]}))
}
