//! The published keys (RFC 7517).

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, USER_AGENT};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use crate::http::State;
use crate::http::admin::Admin;
use crate::http::exchange;
use crate::model::verifier::{Agent, Who};

/// `GET /jwt/jwks.json`, `GET /.well-known/jwks.json`: every key, or those of one algorithm with `?alg=ES256`. Whatever
/// else stands in the query is ignored: verifiers append `?kid=`.
pub async fn get(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let guard = state.keeper.hand_out();
    let published = &**guard;
    let combined = state.also.with(&guard, state.clock.wall());
    let query = form_urlencoded::parse(request.query_string().as_bytes());
    let algorithm = query.into_iter().find(|(name, _)| name == "alg").map(|(_, value)| value);
    let set = match &algorithm {
        // Keys of others stand in the whole set only.
        None => Some((None, combined.as_ref().map_or(&published.all, |combined| &combined.all))),
        Some(name) => published.of_algorithm(name).map(|(alg, set)| (Some(alg), set)),
    };
    if let Some((alg, set)) = set {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let address = exchange::source(&request, &state).address();
        let who = Who { address, agent: Agent::of(agent.unwrap_or_default()), alg };
        if !who.agent.is_command_line() {
            state.keeper.verifiers().note(who, &set.held, state.keeper.moment().wall);
        }
    }
    let (body, etag) = set.map_or((Bytes::from_static(NO_KEYS.0.as_bytes()), NO_KEYS.1), |(_, set)| {
        (set.body.clone(), set.held.etag.as_str())
    });
    let unchanged = knows(&request, etag);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, etag));
    response.insert_header((CACHE_CONTROL, format!("public, max-age={}", published.max_age)));
    if unchanged {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, "application/json")).body(body)
}

/// What an algorithm has that no key has, and its entity tag.
const NO_KEYS: (&str, &str) = (r#"{"keys":[]}"#, "\"none\"");

/// `GET /recipe/jwt/jwks`: the same for holders of an admin key, with a `status`.
pub async fn get_with_status(_: Admin, state: Data<State>) -> HttpResponse {
    let published = state.keeper.hand_out();
    let combined = state.also.with(&published, state.clock.wall());
    let body =
        combined.map_or_else(|| published.with_status.clone(), |combined| combined.with_status.clone());
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body)
}

/// Whether the request names the entity tag: weak comparison, in a list, or any (RFC 9110 §13.1.2).
fn knows(request: &HttpRequest, etag: &str) -> bool {
    let lists = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}
