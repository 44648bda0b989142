//! Whether a token of ours is still good: what introspection answers.

use std::sync::Arc;

use m2mint_keys::token;
use m2mint_keys::verify::{Rejection, Verified};

use crate::issuer::{Issuer, authentication};

impl Issuer {
    /// What `token` says, if it is one of ours and still good: signed with a published key, not expired, not revoked,
    /// and its client still exists, is enabled, and its time is now.
    #[must_use]
    pub fn inspect(&self, token: &str) -> Option<Arc<Verified>> {
        self.check(token).ok()
    }

    /// The same, with the reason why it is not good.
    ///
    /// # Errors
    /// [`Rejection`]; one that is not the token's own fault is [`Rejection::Revoked`].
    pub fn check(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        let now = self.clock.wall();
        let verified = self.keeper.published().verifier.verify_cached(token, now)?;
        // The verifier's leeway is for clocks that differ. This is the clock that set the time.
        if now >= verified.expires_at {
            return Err(Rejection::Expired);
        }
        let guard = self.directory.guard();
        let client = self.directory.client(&verified.client_id, &guard).ok_or(Rejection::Revoked)?;
        // Of a token id that does not tell its time, the whole second in which it was issued counts.
        let issued_at = token::jti_time(&verified.jti).unwrap_or(verified.issued_at);
        let live = authentication::is_open(client, now).is_ok()
            && issued_at.millis() > client.tokens_revoked_at
            && !self.directory.is_revoked(&verified.jti);
        if live { Ok(verified) } else { Err(Rejection::Revoked) }
    }

    /// Whether the client `id` may be told about a token: it owns it, or the token is for it or one of its audiences.
    #[must_use]
    pub fn may_see(&self, id: &str, token: &Verified) -> bool {
        let guard = self.directory.guard();
        let client = self.directory.client(id, &guard);
        token.client_id == id
            || token.audience == id
            || client.is_some_and(|client| client.grants.allows_audience(&token.audience))
    }
}
