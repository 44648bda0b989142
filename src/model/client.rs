//! The client, as administrators see it.

use m2mint_keys::time::UnixTime;
use serde_json::{Map, Value};

use crate::model::grants::{AudienceScopes, Grants, InvalidGrants};
use crate::model::{Audience, ClientId, Restrictions, ScopePattern, Span};

/// A client.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Its id: `sub` and `client_id` of its tokens.
    pub id: ClientId,
    /// What it may do and how it is called.
    pub settings: Settings,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
}

/// The part of a client that administrators set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// A name for people.
    pub name: String,
    /// `Some(false)` refuses every token; `None` when nobody ever said.
    pub enabled: Option<bool>,
    /// Allowed scopes.
    pub scope: Vec<ScopePattern>,
    /// Allowed audiences.
    pub audience: Vec<Audience>,
    /// Scopes by audience, where the client has such a map.
    pub audience_scopes: Option<AudienceScopes>,
    /// Token lifetime, where it differs from the configured one.
    pub token_lifetime: Option<Span>,
    /// From where, when and how often it gets tokens.
    pub restrictions: Restrictions,
    /// Fields that are kept and given back as they came, and mean nothing here.
    pub extra: Map<String, Value>,
}

impl Settings {
    /// What a client with these settings may ask for.
    ///
    /// # Errors
    /// [`InvalidGrants`] when they contradict each other.
    pub fn grants(&self) -> Result<Grants, InvalidGrants> {
        Grants::new(&self.scope, &self.audience, self.audience_scopes.as_ref())
    }
}

/// The longest name of a client, in characters.
pub const MAX_NAME_LENGTH: usize = 200;

/// Whether a text may name a client: no control characters, not too long.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    name.chars().count() <= MAX_NAME_LENGTH && !name.chars().any(char::is_control)
}
