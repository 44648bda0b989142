//! `/admin/v1/audiences`

use m2mint_keys::time::{Moment, UnixTime};

use super::Call;
use super::reply::{Reply, read};
use super::types::{Audience as AudienceJson, AudienceChange, Audiences};
use crate::administration;
use crate::http::State;
use crate::http::error::problem::{Kind, Problem};
use crate::model::Audience;
use crate::model::audience::parse_algorithm;
use crate::model::audit::{Origin, date_to_the_second as date};
use crate::rotation::rings::{self, AudienceStatus};
use crate::store::audiences::StoredAudience;

type Result<T> = std::result::Result<T, Problem>;

/// The audiences whose tokens are not signed with EdDSA as all others are.
///
/// # Errors
/// When the file cannot be read.
pub async fn list(state: &State) -> Result<Audiences> {
    let (now, audiences) = statuses(state).await?;
    Ok(Audiences { audiences: audiences.iter().map(|one| render(one, now)).collect() })
}

/// Says what tokens for an audience are signed with.
///
/// # Errors
/// When a value is not well formed, or the configuration says something about the audience.
pub async fn set(state: &State, origin: Origin, name: &str, change: &AudienceChange) -> Result<AudienceJson> {
    let name = Audience::parse(name).map_err(|error| Problem::invalid_field("audience", error))?;
    let alg = parse_algorithm(&change.alg).map_err(|error| Problem::invalid_field("alg", error))?;
    if state.keeper.settings().audiences.iter().any(|configured| configured.name == name) {
        let detail =
            format!("the configuration says what tokens for {name} are signed with; change it there");
        return Err(Problem::new(Kind::Refused, detail));
    }
    let audience = StoredAudience { name: name.clone(), alg, at_once: change.at_once };
    let now = state.clock.wall();
    state.change(move |store| administration::set_audience(store, &audience, now, &origin)).await?;
    state.keeper.reread().await?;
    let (now, audiences) = statuses(state).await?;
    let status = audiences.iter().find(|one| one.wish.name == name);
    Ok(status.map_or_else(|| in_default(&name), |status| render(status, now)))
}

/// `GET /admin/v1/audiences`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let Call { state, .. } = call;
    Reply::ok(&list(&state).await?)
}

/// `PUT /admin/v1/audiences/{audience}`
///
/// # Errors
/// Those of [`set`].
pub async fn put(call: Call) -> Result<Reply> {
    let name: String = call.path()?;
    let Call { caller, body, state, .. } = call;
    let change: AudienceChange = read(&body.bytes()?)?;
    Reply::ok(&set(&state, caller.0, &name, &change).await?)
}

async fn statuses(state: &State) -> Result<(Moment, Vec<AudienceStatus>)> {
    let (settings, now) = (state.keeper.settings(), state.keeper.moment());
    let audiences = state
        .look(move |store| store.read(|db| rings::audiences(db, &settings.audiences, &settings.policy, now)))
        .await?;
    Ok((now, audiences))
}

/// Where an audience stands.
#[must_use]
pub fn render(audience: &AudienceStatus, now: Moment) -> AudienceJson {
    let after = |wait| date(UnixTime::from_millis(now.wall.millis().saturating_add(wait)));
    AudienceJson {
        audience: audience.wish.name.to_string(),
        alg: audience.wish.alg.name().to_owned(),
        signed_with: audience.signed_with.name().to_owned(),
        in_seconds: audience.met_in.map(|wait| wait.max(0) / 1000),
        at: audience.met_in.map(after),
        configured: audience.wish.configured,
    }
}

/// Where an audience stands of which nothing is known.
#[must_use]
pub fn in_default(name: &Audience) -> AudienceJson {
    let alg = rings::DEFAULT.name().to_owned();
    let (audience, signed_with) = (name.to_string(), alg.clone());
    AudienceJson { audience, alg, signed_with, in_seconds: Some(0), at: None, configured: false }
}
