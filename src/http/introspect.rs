//! `POST /oauth/introspect` (RFC 7662).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::verify::Verified;
use serde_json::{Map, Value};

use crate::http::State;
use crate::http::error::{OAuthError, PublicError};
use crate::http::request::{Authorization, Body};
use crate::http::token::{self, Caller, Spelling};

/// Tells an authenticated client about a token that concerns it. Of any other it learns only that it is not active, as
/// of one that does not exist (RFC 7662 §2.2).
///
/// # Errors
/// RFC 6749 §5.2.
pub async fn post(request: HttpRequest, body: Body, state: Data<State>) -> Result<HttpResponse, PublicError> {
    let authorization = Authorization::of(&request);
    let attempted = !matches!(authorization, Authorization::None);
    let answer = answer(&request, body, &authorization, &state).await;
    let description = answer.map_err(|error| error.with_challenge(attempted))?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(description))
}

async fn answer(
    request: &HttpRequest,
    body: Body,
    authorization: &Authorization,
    state: &State,
) -> Result<Map<String, Value>, PublicError> {
    let body = body.bytes()?;
    let parameters = token::read(request, &body)?;
    let caller = Caller::of(request, state);
    let client = token::authenticate(state, &parameters, Spelling::Snake, authorization, &caller).await?;
    let client_id = client.client_id;
    let token = parameters.text("token")?.ok_or_else(|| OAuthError::invalid_request("token is missing"))?;
    let token = state.issuer.inspect(token).filter(|token| state.issuer.may_see(client_id, token));
    Ok(description(token.as_deref()))
}

/// RFC 7662 §2.2: every claim of an active token, and nothing of any other.
#[must_use]
pub fn description(token: Option<&Verified>) -> Map<String, Value> {
    let mut description = Map::new();
    description.insert("active".into(), token.is_some().into());
    let Some(token) = token else { return description };
    description.extend(token.claims());
    description.insert("token_type".into(), "Bearer".into());
    description
}
