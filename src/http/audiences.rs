//! `/recipe/oauth/audiences`: what tokens for an audience are signed with. m2mint's own, in the manner of the core's calls.

use actix_web::HttpResponse;
use actix_web::web::Data;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{Moment, UnixTime};
use serde_json::{Map, Value, json};

use crate::administration;
use crate::http::State;
use crate::http::admin::Admin;
use crate::http::client_json::{date, ok};
use crate::http::clients::{answer, object_of, required_text};
use crate::http::error::{AdminError, OAuthError};
use crate::http::request::Body;
use crate::model::Audience;
use crate::model::audience::parse_algorithm;
use crate::rotation::rings::{self, AudienceStatus};
use crate::store::audiences::StoredAudience;

type Answer = Result<HttpResponse, AdminError>;

/// `GET /recipe/oauth/audiences`: those whose tokens are not signed with EdDSA as all others are.
///
/// # Errors
/// When the file cannot be read.
pub async fn list(_: Admin, state: Data<State>) -> Answer {
    let (now, audiences) = statuses(&state).await?;
    let audiences: Vec<_> = audiences.iter().map(|audience| render(audience, now)).collect();
    Ok(answer(json!({"status": "OK", "audiences": audiences})))
}

/// `PUT /recipe/oauth/audiences` with `audience`, `alg` and, where no service checks tokens for it yet, `atOnce`.
///
/// # Errors
/// `OAUTH_ERROR` when a value is not well formed, or the configuration says something about the audience.
pub async fn set(admin: Admin, body: Body, state: Data<State>) -> Answer {
    let body = object_of(body, &["audience", "alg", "atOnce"])?;
    let invalid = |error: &dyn std::fmt::Display| OAuthError::invalid_request(error.to_string());
    let name = Audience::parse(required_text(&body, "audience")?).map_err(|error| invalid(&error))?;
    let alg = parse_algorithm(required_text(&body, "alg")?).map_err(|error| invalid(&error))?;
    let at_once = match body.get("atOnce") {
        None | Some(Value::Null) => false,
        Some(at_once) => at_once.as_bool().ok_or_else(|| AdminError::invalid_field("atOnce"))?,
    };
    let settings = state.keeper.settings();
    if settings.audiences.iter().any(|configured| configured.name == name) {
        return Err(invalid(&format!("the configuration says what tokens for {name} are signed with")).into());
    }
    let audience = StoredAudience { name: name.clone(), alg, at_once };
    let now = state.clock.wall();
    state.change(move |store| administration::set_audience(store, &audience, now, &admin.origin)).await?;
    let (now, audiences) = statuses(&state).await?;
    let status = audiences.into_iter().find(|one| one.wish.name == name);
    let status = status.map_or_else(|| in_default(&name), |status| render(&status, now));
    Ok(answer(ok(status)))
}

async fn statuses(state: &State) -> Result<(Moment, Vec<AudienceStatus>), AdminError> {
    let (settings, now) = (state.keeper.settings(), state.keeper.moment());
    let audiences = state
        .look(move |store| store.read(|db| rings::audiences(db, &settings.audiences, &settings.policy, now)))
        .await?;
    Ok((now, audiences))
}

fn render(audience: &AudienceStatus, now: Moment) -> Map<String, Value> {
    let from = audience.met_in.map(|wait| UnixTime::from_millis(now.wall.millis().saturating_add(wait)));
    fields(&audience.wish.name, audience.wish.alg, audience.signed_with, from)
}

fn in_default(name: &Audience) -> Map<String, Value> {
    fields(name, rings::DEFAULT, rings::DEFAULT, None)
}

/// `from` is when its tokens are signed as it wants, if they are not yet.
fn fields(name: &Audience, alg: Algorithm, now: Algorithm, from: Option<UnixTime>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("audience".into(), name.as_str().into());
    fields.insert("alg".into(), alg.name().into());
    fields.insert("signedWith".into(), now.name().into());
    fields.insert("from".into(), from.filter(|_| alg != now).map(date).into());
    fields
}
