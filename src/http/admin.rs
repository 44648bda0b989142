//! Who may administer: holders of an admin key.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use m2mint_keys::crypto;

use crate::http::State;
use crate::http::error::AdminError;
use crate::http::exchange;
use crate::limits::Door;
use crate::model::audit::Origin;

/// SHA-256 of every admin key that is accepted.
#[derive(Default)]
pub struct AdminKeys(Vec<[u8; 32]>);

impl AdminKeys {
    /// Keys with these hashes.
    #[must_use]
    pub fn new(hashes: Vec<[u8; 32]>) -> Self {
        Self(hashes)
    }

    /// Which of them `presented` is, counted from 1. Every one is compared, in constant time.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<usize> {
        let digest = crypto::sha256(presented.as_bytes());
        let numbered = self.0.iter().zip(1..);
        numbered.fold(
            None,
            |found, (key, number)| {
                if crypto::digests_equal(key, &digest) { Some(number) } else { found }
            },
        )
    }
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

fn admin(request: &HttpRequest) -> Result<Admin, AdminError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let presented = header("api-key").or(bearer).ok_or(AdminError::InvalidApiKey)?;
    let state = request.app_data::<Data<State>>().ok_or(AdminError::InvalidApiKey)?;
    let (source, now) = (exchange::source(request, state), state.clock.steady());
    let leave = state.limiter.admit(Door::Admin, source, presented, || false, now);
    let leave = leave.map_err(AdminError::GuessedTooOften)?;
    let Some(number) = state.admin_keys.load().find(presented) else {
        state.limiter.wrong(&leave);
        return Err(AdminError::InvalidApiKey);
    };
    state.limiter.right(&leave, now);
    Ok(Admin { origin: exchange::origin(request, state, format!("api_key {number}")) })
}
