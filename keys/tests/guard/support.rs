//! An issuer, and the service that it knows as `event`.

use std::time::{SystemTime, UNIX_EPOCH};

use m2mint_keys::guard::{Guard, Requirement};
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::remote::RemoteJwks;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::{UnixTime, millis};
use m2mint_keys::token::{Claims, Minter};
use m2mint_keys::verify::Policy;
use m2mint_keys::verify::session::SessionPolicy;
use serde_json::{Value, json};

use crate::sessions;

pub const ISSUER: &str = "https://auth.example.com/auth";

pub fn now() -> UnixTime {
    UnixTime::from_millis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap()))
}

pub struct Issuer {
    minter: Minter,
    set: JwkSet,
}

impl Issuer {
    pub fn new() -> Self {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let set = JwkSet::new([key.public()]);
        Self { minter: Minter::new(key), set }
    }

    /// A token of the Task Service.
    pub fn token(&self, audience: &str, scopes: &[&str]) -> String {
        self.token_with(audience, scopes, 0, &json!({}))
    }

    /// The same, issued some seconds ago, with further claims.
    pub fn token_with(&self, audience: &str, scopes: &[&str], age: i64, extra: &Value) -> String {
        self.minter
            .mint(&Claims {
                issuer: ISSUER,
                client_id: "task",
                audience,
                scopes,
                issued_at: UnixTime::from_secs(now().secs() - age),
                lifetime: 3600,
                jti: "AAAAAAAAAAAAAAAAAAAAAA",
                extra: extra.as_object(),
            })
            .unwrap()
    }

    pub fn guard(&self) -> Guard {
        let policy = Policy::new(ISSUER, "event");
        Guard::with(RemoteJwks::fixed(self.set.clone()), policy)
            .with_metadata("https://event.example.com", &["event.view", "event.create"])
            .unwrap()
    }

    pub fn guard_with_sessions(&self) -> Guard {
        let policy = SessionPolicy { issuer: sessions::API.into(), leeway: std::time::Duration::ZERO };
        self.guard().with_sessions(RemoteJwks::fixed(sessions::keys()), policy)
    }
}

/// What the routes of the service under test demand.
pub struct Routes {
    pub guard: Guard,
    /// `GET /events`
    pub view: Requirement,
    /// `POST /events`
    pub create: Requirement,
}

impl Routes {
    pub fn of(guard: Guard) -> Self {
        let view = guard.require(["event.view"]).or_session();
        let create = guard.require(["event.create"]);
        Self { guard, view, create }
    }
}

/// What is asked of the service.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: &'static str,
    pub authorizations: Vec<Vec<u8>>,
}

/// What it answers.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub challenge: Option<String>,
    pub body: String,
}

pub fn view(token: &str) -> Question {
    Question { method: "GET", authorizations: vec![format!("Bearer {token}").into_bytes()] }
}

pub fn create(token: &str) -> Question {
    Question { method: "POST", ..view(token) }
}
