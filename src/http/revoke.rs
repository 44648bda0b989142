//! `POST /oauth/revoke` (RFC 7009).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::administration;
use crate::http::State;
use crate::http::error::{OAuthError, PublicError};
use crate::http::exchange::origin;
use crate::http::request::{Authorization, Body};
use crate::http::token::{self, Caller, Spelling};

/// Revokes a token of the authenticated client. One that is unknown or no longer good needs no revoking: that is a
/// success too (RFC 7009 §2.2). One that was issued to another client is refused (§2.1).
///
/// # Errors
/// RFC 6749 §5.2.
pub async fn post(request: HttpRequest, body: Body, state: Data<State>) -> Result<HttpResponse, PublicError> {
    let authorization = Authorization::of(&request);
    let attempted = !matches!(authorization, Authorization::None);
    let answer = answer(&request, body, &authorization, &state).await;
    answer.map_err(|error| error.with_challenge(attempted))?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).finish())
}

async fn answer(
    request: &HttpRequest,
    body: Body,
    authorization: &Authorization,
    state: &State,
) -> Result<(), PublicError> {
    let body = body.bytes()?;
    let parameters = token::read(request, &body)?;
    let caller = Caller::of(request, state);
    let client = token::authenticate(state, &parameters, Spelling::Snake, authorization, &caller).await?;
    let client_id = client.client_id;
    let token = parameters.text("token")?.ok_or_else(|| OAuthError::invalid_request("token is missing"))?;
    let Some(token) = state.issuer.inspect(token) else { return Ok(()) };
    if token.client_id != client_id {
        return Err(OAuthError::invalid_request("the token was issued to another client").into());
    }
    let now = state.keeper.moment();
    let origin = origin(request, state, format!("client {client_id}"));
    state.change(move |store| administration::revoke_token(store, &token, now, &origin)).await?;
    Ok(())
}
