//! Who may administer: holders of an admin key.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use m2mint_keys::crypto;

use crate::http::State;
use crate::http::error::AdminError;

/// SHA-256 of every admin key that is accepted.
#[derive(Default)]
pub struct AdminKeys(Vec<[u8; 32]>);

impl AdminKeys {
    /// Keys with these hashes.
    #[must_use]
    pub fn new(hashes: Vec<[u8; 32]>) -> Self {
        Self(hashes)
    }

    /// Whether `presented` is one of them. Every one is compared, in constant time.
    #[must_use]
    pub fn accepts(&self, presented: &str) -> bool {
        let digest = crypto::sha256(presented.as_bytes());
        self.0.iter().fold(false, |found, key| crypto::digests_equal(key, &digest) | found)
    }
}

/// Proof that a request carries an admin key. Handlers that take one cannot be reached without.
pub struct Admin;

impl FromRequest for Admin {
    type Error = AdminError;
    type Future = Ready<Result<Self, AdminError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let presented = header("api-key").or(bearer);
        let state = request.app_data::<Data<State>>();
        let accepted = presented.zip(state).is_some_and(|(key, state)| state.admin_keys.load().accepts(key));
        ready(if accepted { Ok(Self) } else { Err(AdminError::InvalidApiKey) })
    }
}
