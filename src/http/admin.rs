//! Who may administer: holders of an admin key, each within its roles.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};

use crate::directory::admin_keys::NotAccepted;
use crate::http::State;
use crate::http::error::AdminError;
use crate::http::{exchange, guards};
use crate::limits::Door;
use crate::model::Role;
use crate::model::audit::Origin;

/// What each call of the admin API takes; `{}` stands for any segment of a path. A call that does not stand here takes an
/// unrestricted key.
const CALLS: &[(Method, &str, Role)] = &[
    (Method::GET, "/metrics", Role::Read),
    (Method::GET, "/recipe/jwt/jwks", Role::Read),
    (Method::GET, "/recipe/oauth/clients", Role::Read),
    (Method::GET, "/recipe/oauth/clients/list", Role::Read),
    (Method::GET, "/recipe/oauth/audiences", Role::Read),
    (Method::POST, "/recipe/oauth/introspect", Role::Read),
    (Method::POST, "/recipe/oauth/clients", Role::Clients),
    (Method::PUT, "/recipe/oauth/clients", Role::Clients),
    (Method::POST, "/recipe/oauth/clients/remove", Role::Clients),
    (Method::POST, "/recipe/oauth/token", Role::Clients),
    (Method::POST, "/recipe/oauth/token/revoke", Role::Clients),
    (Method::POST, "/recipe/oauth/tokens/revoke", Role::Clients),
    (Method::PUT, "/recipe/oauth/audiences", Role::Keys),
    (Method::GET, "/admin/v1/clients", Role::Read),
    (Method::POST, "/admin/v1/clients", Role::Clients),
    (Method::GET, "/admin/v1/clients/{}", Role::Read),
    (Method::PATCH, "/admin/v1/clients/{}", Role::Clients),
    (Method::DELETE, "/admin/v1/clients/{}", Role::Clients),
    (Method::POST, "/admin/v1/clients/{}/tokens/revoke", Role::Clients),
    (Method::GET, "/admin/v1/clients/{}/secrets", Role::Read),
    (Method::POST, "/admin/v1/clients/{}/secrets", Role::Clients),
    (Method::POST, "/admin/v1/clients/{}/secrets/rotate", Role::Clients),
    (Method::DELETE, "/admin/v1/clients/{}/secrets/{}", Role::Clients),
    (Method::GET, "/admin/v1/unused", Role::Read),
    (Method::GET, "/admin/v1/declaration", Role::Read),
    (Method::POST, "/admin/v1/declaration", Role::Clients),
    (Method::POST, "/admin/v1/declaration/plan", Role::Clients),
    (Method::GET, "/admin/v1/services", Role::Read),
    (Method::POST, "/admin/v1/services", Role::Clients),
    (Method::GET, "/admin/v1/services/{}", Role::Read),
    (Method::PATCH, "/admin/v1/services/{}", Role::Clients),
    (Method::DELETE, "/admin/v1/services/{}", Role::Clients),
    (Method::GET, "/admin/v1/misfits", Role::Read),
    (Method::GET, "/admin/v1/keys", Role::Read),
    (Method::GET, "/admin/v1/keys/plan", Role::Read),
    (Method::POST, "/admin/v1/keys/rotate", Role::Keys),
    (Method::POST, "/admin/v1/keys/{}/revoke", Role::Keys),
    (Method::GET, "/admin/v1/audiences", Role::Read),
    (Method::PUT, "/admin/v1/audiences/{}", Role::Keys),
    (Method::GET, "/admin/v1/admin-keys", Role::All),
    (Method::POST, "/admin/v1/admin-keys", Role::All),
    (Method::DELETE, "/admin/v1/admin-keys/{}", Role::All),
    (Method::GET, "/admin/v1/audit", Role::Read),
    (Method::GET, "/admin/v1/audit/head", Role::Read),
    (Method::POST, "/admin/v1/audit/verify", Role::Read),
];

/// Every call, its path with `{}` for any segment, and the role that it takes.
pub fn calls() -> impl Iterator<Item = (&'static Method, &'static str, Role)> {
    CALLS.iter().map(|(method, path, role)| (method, *path, *role))
}

/// The role that a call takes.
#[must_use]
pub fn role_of(method: &Method, path: &str) -> Role {
    // Whoever may see a thing may see whether it is there.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let call = CALLS.iter().find(|(known, template, _)| known == method && is_path(template, path));
    call.map_or(Role::All, |(_, _, role)| *role)
}

fn is_path(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|part| {
        segments
            .next()
            .is_some_and(|segment| if part == "{}" { !segment.is_empty() } else { part == segment })
    });
    fits && segments.next().is_none()
}

/// Proof that a request carries an admin key. Handlers that take one cannot be reached without.
pub struct Admin {
    /// Which key, and from where, for the audit log.
    pub origin: Origin,
}

impl FromRequest for Admin {
    type Error = AdminError;
    type Future = Ready<Result<Self, AdminError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admin(request))
    }
}

/// Whether the request carries an admin key that allows it.
///
/// # Errors
/// [`AdminError`], when it does not.
pub fn admin(request: &HttpRequest) -> Result<Admin, AdminError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let not_given = || AdminError::InvalidApiKey(NotAccepted::Unknown);
    let presented = header("api-key").or(bearer).ok_or_else(not_given)?;
    let state = request.app_data::<Data<State>>().ok_or_else(not_given)?;
    let (source, now) = (exchange::source(request, state), state.clock.steady());
    let leave = state.limiter.admit(Door::Admin, source, presented, || false, now);
    let leave = leave.map_err(AdminError::GuessedTooOften)?;
    let holder = state.directory.admin_keys().find(presented, state.clock.wall()).map_err(|why| {
        state.limiter.wrong(&leave);
        AdminError::InvalidApiKey(why)
    })?;
    state.limiter.right(&leave, now);
    let needed = role_of(request.method(), request.path());
    if !holder.roles.allow(needed) {
        // Which is one of those in `routes`: nothing else has a handler.
        let call = format!("{} {}", request.method(), request.path());
        return Err(AdminError::MissingRole { holder: holder.name, call, needed });
    }
    guards::demand_json(request)?;
    Ok(Admin { origin: exchange::origin(request, state, holder.name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_gave_a_role_takes_an_unrestricted_key() {
        let needed = |method, path| role_of(&method, path);
        assert_eq!(needed(Method::GET, "/recipe/oauth/clients/list"), Role::Read);
        assert_eq!(needed(Method::GET, "/admin/v1/clients/a%2Fb"), Role::Read);
        assert_eq!(needed(Method::HEAD, "/admin/v1/clients/a"), Role::Read);
        assert_eq!(needed(Method::POST, "/admin/v1/clients/a/secrets/rotate"), Role::Clients);
        for (method, path) in [
            (Method::PUT, "/recipe/oauth/clients/list"),
            (Method::DELETE, "/recipe/oauth/clients"),
            (Method::GET, "/recipe/oauth/clients/"),
            (Method::GET, "/recipe/oauth/client%73"),
            (Method::POST, "/recipe/keys/rotate"),
            (Method::GET, "/admin/v1/clients/"),
            (Method::GET, "/admin/v1/admin-keys"),
            (Method::PUT, "/admin/v1/clients/a"),
            (Method::POST, "/admin/v1/keys/rotate/x/y"),
        ] {
            assert_eq!(needed(method, path), Role::All, "{path}");
        }
    }
}
