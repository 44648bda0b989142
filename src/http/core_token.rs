//! `/recipe/oauth/token`, `introspect` and the two revocations: what `supertokens-node` asks of its core.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::administration::{self, AdministrationError};
use crate::http::State;
use crate::http::admin::Admin;
use crate::http::client_json::ok;
use crate::http::clients::{answer, object_of, required_text};
use crate::http::error::{AdminError, Code, OAuthError};
use crate::http::introspect::description;
use crate::http::parameters::Parameters;
use crate::http::pressure;
use crate::http::request::{Authorization, Body};
use crate::http::token::{self, Caller, Extras, Spelling};
use crate::model::names::split_scopes;

type Answer = Result<HttpResponse, AdminError>;

const MALFORMED: &str = "malformed request body or authorization header";

/// `POST /recipe/oauth/token`: a token for a client, under the issuer and with the claims that the caller gives.
///
/// # Errors
/// `OAUTH_ERROR` with RFC 6749 §5.2's codes.
pub async fn issue(_: Admin, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let known = ["iss", "inputBody", "authorizationHeader", "access_token", "id_token"];
    let body = object_of(body, &known)?;
    let input = body
        .get("inputBody")
        .and_then(Value::as_object)
        .ok_or_else(|| AdminError::invalid_field("inputBody"))?;
    let issuer = optional_text(&body, "iss")?.filter(|issuer| !issuer.is_empty());
    let claims = match body.get("access_token") {
        None | Some(Value::Null) => None,
        Some(Value::Object(claims)) => Some(claims),
        Some(_) => return Err(AdminError::invalid_field("access_token")),
    };
    if input.values().any(|value| value.is_object() || value.is_array()) {
        return Err(AdminError::BadInput(MALFORMED.into()));
    }
    let authorization = authorization(&body)?;
    pressure::let_by(&request, &state).await.map_err(unavailable_or_oauth)?;
    let input = Parameters::from_object(input);
    let (caller, extras) = (Caller::for_another(&request, &state), Extras { issuer, claims });
    let bought = token::issue(&state, &input, Spelling::Snake, authorization, &caller, extras).await;
    let bought = bought.map_err(unavailable_or_oauth)?;
    let issued = &bought.issued;
    let mut response = answer(json!({
        "status": "OK",
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.lifetime,
        "scope": issued.scope,
    }));
    if let Some((name, end)) = bought.sunset() {
        response.headers_mut().insert(name, end);
    }
    Ok(response)
}

/// `POST /recipe/oauth/introspect`
///
/// # Errors
/// When the request cannot be read.
pub async fn introspect(_: Admin, body: Body, state: Data<State>) -> Answer {
    let body = object_of(body, &["token", "scope", "token_type_hint"])?;
    let token = state.issuer.inspect(required_text(&body, "token")?);
    let scope = optional_text(&body, "scope")?.unwrap_or_default();
    // A token without one of the scopes that are asked about is not active for that purpose.
    let token = token.filter(|token| split_scopes(scope).all(|scope| token.allows(scope)));
    Ok(answer(ok(description(token.as_deref()))))
}

/// `POST /recipe/oauth/token/revoke`. Client credentials are checked when they are given; the admin key is enough.
///
/// # Errors
/// `OAUTH_ERROR` when the credentials are wrong, or the token belongs to another client.
pub async fn revoke(admin: Admin, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let known = ["token", "token_type_hint", "client_id", "client_secret", "authorizationHeader"];
    let body = object_of(body, &known)?;
    let token = required_text(&body, "token")?;
    let authorization = authorization(&body)?;
    let given = Parameters::from_object(&body);
    let identified =
        given.has("client_id") || given.has("client_secret") || !matches!(authorization, Authorization::None);
    let caller = Caller::for_another(&request, &state);
    let client_id = match identified {
        true => Some(
            token::authenticate(&state, &given, Spelling::Snake, &authorization, &caller)
                .await
                .map_err(unavailable_or_oauth)?
                .client_id,
        ),
        false => None,
    };
    if let Some(token) = state.issuer.inspect(token) {
        if client_id.is_some_and(|id| id != token.client_id) {
            return Err(OAuthError::invalid_request("the token was issued to another client").into());
        }
        let now = state.keeper.moment();
        state.change(move |store| administration::revoke_token(store, &token, now, &admin.origin)).await?;
    }
    Ok(answer(json!({"status": "OK"})))
}

/// `POST /recipe/oauth/tokens/revoke`: every token of a client that was issued until now. There are none of a client that
/// does not exist.
///
/// # Errors
/// When the request cannot be read.
pub async fn revoke_all(admin: Admin, body: Body, state: Data<State>) -> Answer {
    let body = object_of(body, &["client_id"])?;
    let id = required_text(&body, "client_id")?.to_owned();
    let now = state.clock.wall();
    let revoked =
        state.change(move |store| administration::revoke_all_tokens(store, &id, now, &admin.origin));
    match revoked.await {
        Ok(()) | Err(AdministrationError::UnknownClient(_)) => Ok(answer(json!({"status": "OK"}))),
        Err(error) => Err(error.into()),
    }
}

fn authorization(body: &Map<String, Value>) -> Result<Authorization, AdminError> {
    match optional_text(body, "authorizationHeader")? {
        None => Ok(Authorization::None),
        Some(header) => match Authorization::parse(header) {
            Authorization::Unusable => Err(AdminError::BadInput(MALFORMED.into())),
            usable => Ok(usable),
        },
    }
}

fn optional_text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, AdminError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AdminError::invalid_field(name)),
    }
}

fn unavailable_or_oauth(error: OAuthError) -> AdminError {
    match error.code {
        Code::TemporarilyUnavailable => AdminError::Unavailable(error.cause.unwrap_or(error.description)),
        Code::Overloaded => AdminError::Overloaded,
        _ => AdminError::OAuth(error),
    }
}
