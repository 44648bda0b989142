//! Services and clients as a file declares them.
//!
//! | module | holds |
//! |---|---|
//! | `read` | TOML to declarations; every problem is reported at once, with its line |
//! | `write` | declarations to TOML, and their fields as a plan shows them |

pub mod read;
pub mod write;

use std::collections::BTreeMap;

use crate::model::grants::AudienceScopes;
use crate::model::{Audience, ClientId, ScopePattern, Service, Settings};

pub use read::read;

/// What files declare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// Services, by audience.
    pub services: BTreeMap<Audience, Service>,
    /// Clients, by id.
    pub clients: BTreeMap<ClientId, DeclaredClient>,
}

/// A client as a file declares it.
#[derive(Clone, PartialEq)]
pub struct DeclaredClient {
    /// All that is said about it.
    pub settings: Settings,
    /// Whether the fields that are kept for SuperTokens are declared; otherwise they stay as they are.
    pub says_extra: bool,
    /// SHA-256 of secrets that it has to have.
    pub secrets: Vec<[u8; 32]>,
}

impl std::fmt::Debug for DeclaredClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeclaredClient")
            .field("settings", &self.settings)
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// The audiences and scopes that scopes by audience come to.
fn derived(map: &AudienceScopes) -> (Vec<ScopePattern>, Vec<Audience>) {
    let mut scopes = Vec::new();
    for scope in map.values().flatten() {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    (scopes, map.keys().cloned().collect())
}
