//! How the server is, for whoever starts, watches or restarts it. Asking takes neither a key nor the file.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::web::Data;
use m2mint_keys::crypto::BACKEND;
use serde::Serialize;
use serde_json::json;

use crate::http::State;
use crate::rotation::standing::Trouble;
use crate::store::schema::SCHEMA;

/// A worker shows every second that it is not stuck: three missed are not a coincidence.
const WORKER_LIMIT: Duration = Duration::from_secs(3);
/// The keeper looks five times a second, and may wait for the disk in between.
const KEEPER_LIMIT: Duration = Duration::from_secs(15);
/// Seconds after which to ask again.
const RETRY_SECONDS: u64 = 5;

/// `GET /health/live`: the process serves. Whoever gets no answer may restart it.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({"status": "live"}))
}

/// `GET /health/ready`: whether every part does what it is there for, and which does not.
pub async fn ready(state: Data<State>) -> HttpResponse {
    let parts = Parts::of(&state);
    let mut response = if parts.are_ready() {
        HttpResponse::Ok()
    } else {
        let mut response = HttpResponse::ServiceUnavailable();
        response.insert_header((RETRY_AFTER, RETRY_SECONDS));
        response
    };
    let status = if parts.are_ready() { "ready" } else { "not ready" };
    response.insert_header((CACHE_CONTROL, "no-store")).json(json!({"status": status, "parts": parts}))
}

/// `GET /version`: which program this is.
pub async fn version() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": "m2mint",
        "version": env!("CARGO_PKG_VERSION"),
        "backend": BACKEND,
        "schema": SCHEMA,
    }))
}

/// The parts of the server: each `ok`, or what is wrong with it, in words that tell a stranger nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// The file.
    pub database: &'static str,
    /// What tokens are signed with.
    pub signing_key: &'static str,
    /// The threads that serve.
    pub workers: &'static str,
    /// What tokens are dated by.
    pub clock: &'static str,
}

const OK: &str = "ok";

impl Parts {
    /// How they are.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let standing = state.keeper.standing();
        let (readable, writable) = state.store.is_usable();
        let is_trusted = state.keeper.gate().now(&state.clock).is_ok();
        Self {
            database: match (readable, writable) {
                (true, true) => OK,
                (false, _) => "cannot be read",
                (true, false) => "cannot be written; tokens are issued all the same",
            },
            signing_key: match standing.trouble {
                Some(Trouble::Keys) => "cannot be used",
                _ if !state.keeper.is_alive(KEEPER_LIMIT) => "nobody looks after it",
                _ => OK,
            },
            workers: if state.beats.all_within(WORKER_LIMIT) { OK } else { "some are stuck" },
            clock: if standing.clock_is_behind {
                "says a time before the signing key was one"
            } else if !is_trusted && !writable {
                // A clock that was set ahead is written down when the next token is asked for, and then trusted.
                "was set ahead, and that cannot be written down"
            } else {
                OK
            },
        }
    }

    /// Each with its name.
    #[must_use]
    pub fn each(&self) -> [(&'static str, bool); 4] {
        let Self { database, signing_key, workers, clock } = self;
        [("database", database), ("signing_key", signing_key), ("workers", workers), ("clock", clock)]
            .map(|(name, says)| (name, *says == OK))
    }

    fn are_ready(&self) -> bool {
        self.each().iter().all(|(_, is_ok)| *is_ok)
    }
}
