//! Looking into tokens, and checking them as a called service does.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::time::{UnixTime, millis};
use m2mint_keys::verify::{Policy, Rejection, Verified, Verifier};
use serde_json::Value;

/// The JSON of one part of a token: 0 its header, 1 its claims.
#[track_caller]
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[track_caller]
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

#[track_caller]
pub fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// What a called service's clock says.
pub fn now() -> UnixTime {
    UnixTime::from_millis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap()))
}

/// Checks a token against the text of a JWKS.
pub fn verify(token: &str, jwks: &str, now: UnixTime) -> Result<Verified, Rejection> {
    let set = JwkSet::parse(jwks.as_bytes()).unwrap();
    Verifier::new(Policy { audience: Some("event".into()), ..Policy::default() }, &set).verify(token, now)
}
