//! `/admin/v1/clients/{clientId}/secrets`

use super::Call;
use super::clients::expiry;
use super::idempotency::once;
use super::reply::{Reply, read};
use super::types::{NewSecret, Secret, SecretInfo, SecretMade, SecretRotation, Secrets};
use crate::administration::{self, AdministrationError};
use crate::http::State;
use crate::http::error::problem::Problem;
use crate::model::ClientSecret;
use crate::model::audit::{Origin, date_to_the_second as date};
use crate::store::clients::StoredSecret;

/// For how long secrets are still accepted after a rotation that says nothing of it.
pub const GRACE: &str = "7d";

type Result<T> = std::result::Result<T, Problem>;

/// The secrets of a client, without the secrets.
///
/// # Errors
/// When there is no such client.
pub async fn list(state: &State, id: String) -> Result<Secrets> {
    let look = move |store: &_| match administration::secrets(store, &id) {
        Err(AdministrationError::Store(error)) => Err(error),
        other => Ok(other),
    };
    let secrets = state.look(look).await??;
    Ok(Secrets { secrets: secrets.iter().map(render).collect() })
}

/// Adds a secret to those that a client has.
///
/// # Errors
/// When there is no such client, or a rule refuses it.
pub async fn add(state: &State, origin: Origin, id: String, new: NewSecret) -> Result<SecretMade> {
    let now = state.clock.wall();
    let expires_at = expiry("expiresIn", new.expires_in.as_deref(), now)?;
    let (secret, shown) = given_or_made(new.client_secret)?;
    let added = state
        .change(move |store| administration::add_secret(store, &id, &secret, now, expires_at, &origin))
        .await?;
    Ok(SecretMade { secret: render(&added), client_secret: shown, retiring: Vec::new() })
}

/// Adds a secret, and lets all others that are still accepted expire.
///
/// # Errors
/// When there is no such client, or a rule refuses it.
pub async fn rotate(state: &State, origin: Origin, id: String, wanted: SecretRotation) -> Result<SecretMade> {
    let now = state.clock.wall();
    let until = expiry("grace", Some(wanted.grace.as_deref().unwrap_or(GRACE)), now)?.unwrap_or(now);
    let (secret, shown) = given_or_made(wanted.client_secret)?;
    let (added, retiring) = state
        .change(move |store| administration::rotate_secrets(store, &id, &secret, now, until, &origin))
        .await?;
    let retiring = retiring.iter().map(render).collect();
    Ok(SecretMade { secret: render(&added), client_secret: shown, retiring })
}

/// Removes a secret: it is refused from now on.
///
/// # Errors
/// When there is no such client or secret.
pub async fn remove(state: &State, origin: Origin, id: String, secret: i64) -> Result<()> {
    let now = state.clock.wall();
    Ok(state.change(move |store| administration::remove_secret(store, &id, secret, now, &origin)).await?)
}

/// `GET /admin/v1/clients/{clientId}/secrets`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { state, .. } = call;
    Reply::ok(&list(&state, id).await?)
}

/// `POST /admin/v1/clients/{clientId}/secrets`
///
/// # Errors
/// Those of [`add`].
pub async fn post(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let new = read(&body)?;
    let work = async move { Ok(Reply::ok(&add(&here, origin, id, new).await?)?.created(None)) };
    once(&state, &request, &caller.0, &body, work).await
}

/// `POST /admin/v1/clients/{clientId}/secrets/rotate`
///
/// # Errors
/// Those of [`rotate`].
pub async fn post_rotate(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let wanted = read(&body)?;
    let work = async move { Ok(Reply::ok(&rotate(&here, origin, id, wanted).await?)?.created(None)) };
    once(&state, &request, &caller.0, &body, work).await
}

/// `DELETE /admin/v1/clients/{clientId}/secrets/{secretId}`
///
/// # Errors
/// Those of [`remove`].
pub async fn delete(call: Call) -> Result<Reply> {
    let path: (String, i64) = call.path()?;
    let Call { caller, state, .. } = call;
    let (id, secret) = path;
    remove(&state, caller.0, id, secret).await?;
    Ok(Reply::nothing())
}

/// The secret, and the same to be shown when it was made here.
fn given_or_made(given: Option<Secret>) -> Result<(ClientSecret, Option<Secret>)> {
    match given {
        Some(given) => {
            let secret = ClientSecret::chosen(given.expose());
            Ok((secret.map_err(|error| Problem::invalid_field("clientSecret", error))?, None))
        }
        None => {
            let secret = ClientSecret::generate().map_err(AdministrationError::from)?;
            let shown = Secret::new(secret.expose());
            Ok((secret, Some(shown)))
        }
    }
}

/// What is known of a secret.
#[must_use]
pub fn render(secret: &StoredSecret) -> SecretInfo {
    SecretInfo {
        id: secret.id,
        created_at: date(secret.created_at),
        expires_at: secret.expires_at.map(date),
        last_used_at: secret.last_used_at.map(date),
        last_used_from: secret.last_used_from.map(|from| from.to_string()),
    }
}
