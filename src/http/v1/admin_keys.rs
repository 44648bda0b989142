//! `/admin/v1/admin-keys`

use super::clients::expiry;
use super::idempotency::once;
use super::reply::{Reply, read, segment};
use super::types::{AdminKey as AdminKeyJson, AdminKeyMade, AdminKeys, NewAdminKey, Secret};
use super::{Call, PATH};
use crate::administration::{AdministrationError, admin_keys};
use crate::http::State;
use crate::http::error::problem::Problem;
use crate::model::audit::{Origin, date_to_the_second as date};
use crate::model::{AdminKey, AdminKeyName, Role, Roles};
use crate::store::admin_keys::{StoredAdminKey, all};

type Result<T> = std::result::Result<T, Problem>;

/// The admin keys that are stored, without the keys.
///
/// # Errors
/// When the file cannot be read.
pub async fn list(state: &State) -> Result<AdminKeys> {
    let keys = state.look(|store| store.read(all)).await?;
    let is_configured = state.directory.admin_keys().are_configured();
    Ok(AdminKeys { admin_keys: keys.iter().map(|key| render(key, is_configured)).collect() })
}

/// Makes an admin key: this is the only time that it is seen.
///
/// # Errors
/// When a value is not well formed, a rule refuses it, or the name is taken.
pub async fn add(state: &State, origin: Origin, new: &NewAdminKey) -> Result<AdminKeyMade> {
    let now = state.clock.wall();
    let name = AdminKeyName::parse(&new.name).map_err(|error| Problem::invalid_field("name", error))?;
    let roles = new.roles.iter().map(|role| Role::parse(role)).collect::<std::result::Result<Vec<_>, _>>();
    let roles = roles.and_then(Roles::new).map_err(|error| Problem::invalid_field("roles", error))?;
    let expires_at = expiry("expiresIn", new.expires_in.as_deref(), now)?;
    let new = admin_keys::NewAdminKey { name, roles, expires_at };
    let key = AdminKey::generate().map_err(AdministrationError::from)?;
    let (stored, key) = state
        .change(move |store| Ok::<_, Problem>((admin_keys::add(store, new, &key, now, &origin)?, key)))
        .await?;
    let is_configured = state.directory.admin_keys().are_configured();
    Ok(AdminKeyMade { admin_key: render(&stored, is_configured), key: Secret::new(key.expose()) })
}

/// Removes an admin key: it is refused from now on.
///
/// # Errors
/// When there is no such admin key.
pub async fn remove(state: &State, origin: Origin, name: String) -> Result<()> {
    let now = state.clock.wall();
    Ok(state.change(move |store| admin_keys::remove(store, &name, now, &origin)).await?)
}

/// `GET /admin/v1/admin-keys`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let Call { state, .. } = call;
    Reply::ok(&list(&state).await?)
}

/// `POST /admin/v1/admin-keys`
///
/// # Errors
/// Those of [`add`].
pub async fn post(call: Call) -> Result<Reply> {
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let new: NewAdminKey = read(&body)?;
    let work = async move {
        let made = add(&here, origin, &new).await?;
        let location = format!("{PATH}/admin-keys/{}", segment(&made.admin_key.name));
        Ok(Reply::ok(&made)?.created(Some(location)))
    };
    once(&state, &request, &caller.0, &body, work).await
}

/// `DELETE /admin/v1/admin-keys/{name}`
///
/// # Errors
/// Those of [`remove`].
pub async fn delete(call: Call) -> Result<Reply> {
    let name: String = call.path()?;
    let Call { caller, state, .. } = call;
    remove(&state, caller.0, name).await?;
    Ok(Reply::nothing())
}

/// What is known of an admin key.
#[must_use]
pub fn render(key: &StoredAdminKey, is_configured: bool) -> AdminKeyJson {
    AdminKeyJson {
        name: key.name.to_string(),
        roles: key.roles.names().map(str::to_owned).collect(),
        created_at: date(key.created_at),
        expires_at: key.expires_at.map(date),
        last_used_at: key.last_used_at.map(date),
        replaced_by_configuration: key.founding && is_configured,
    }
}
