//! Who calls.

use std::sync::Arc;

use crate::verify::Verified;
use crate::verify::session::Session;

/// Who calls: three kinds, each of which a service treats in its own way.
#[derive(Debug, Clone, PartialEq)]
pub enum Caller {
    /// A user's browser, by a SuperTokens session token (`stt` 0).
    Session(Session),
    /// A service for itself, by an access token from the client credentials flow (`stt` 1).
    Service(Arc<Verified>),
    /// A service on behalf of a user, by an access token from the authorization code flow (`stt` 1, `sessionHandle`).
    UserDelegated(Arc<Verified>),
}

impl Caller {
    pub(super) fn of(token: Arc<Verified>) -> Self {
        if token.has_session_handle() { Self::UserDelegated(token) } else { Self::Service(token) }
    }

    /// The access token; a session has none.
    #[must_use]
    pub fn token(&self) -> Option<&Verified> {
        match self {
            Self::Session(_) => None,
            Self::Service(token) | Self::UserDelegated(token) => Some(token),
        }
    }

    /// The client that calls; a session has none.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.token().map(|token| &*token.client_id)
    }

    /// The user for whom the call is made; a service that calls for itself has none.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::Session(session) => Some(&session.user_id),
            Self::Service(_) => None,
            Self::UserDelegated(token) => Some(&token.subject),
        }
    }

    /// Whether its token grants exactly `scope`. A session grants none.
    #[must_use]
    pub fn allows(&self, scope: &str) -> bool {
        self.token().is_some_and(|token| token.allows(scope))
    }
}
