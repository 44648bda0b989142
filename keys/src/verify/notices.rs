//! Tokens that are known to be revoked, though their signature is good and their time has not come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::time::UnixTime;
use crate::token;
use crate::verify::{Rejection, Verified};

/// Word that tokens are no longer good, however it came: a webhook, a message, an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One token.
    Token {
        /// Its `jti`.
        jti: String,
        /// Until when to remember: when the token expires.
        until: UnixTime,
    },
    /// Every token of a client that was issued until now.
    Client {
        /// The client.
        client_id: String,
        /// Tokens issued up to this time are refused.
        issued_until: UnixTime,
        /// Until when to remember: when the last of them expires.
        until: UnixTime,
    },
}

/// The notices that still matter.
#[derive(Debug, Default)]
pub(super) struct Notices {
    any: AtomicBool,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: HashMap<String, UnixTime>,
    /// `issued_until` and `until`.
    clients: HashMap<String, (UnixTime, UnixTime)>,
}

impl Notices {
    pub(super) fn add(&self, notice: Notice, now: UnixTime) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tokens.retain(|_, until| *until > now);
        known.clients.retain(|_, (_, until)| *until > now);
        match notice {
            Notice::Token { jti, until } => {
                let known = known.tokens.entry(jti).or_insert(until);
                *known = until.max(*known);
            }
            Notice::Client { client_id, issued_until, until } => {
                let known = known.clients.entry(client_id).or_insert((issued_until, until));
                *known = (issued_until.max(known.0), until.max(known.1));
            }
        }
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn check(&self, token: &Verified) -> Result<(), Rejection> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // `iat` counts whole seconds; the id of a token of m2mint's tells its time more finely.
        let issued_at = token::jti_time(&token.jti).unwrap_or(token.issued_at);
        let of_client = known.clients.get(&token.client_id);
        let revoked = known.tokens.contains_key(&token.jti)
            || of_client.is_some_and(|(issued_until, _)| issued_at <= *issued_until);
        if revoked { Err(Rejection::Revoked) } else { Ok(()) }
    }
}
