//! What m2mint is about, as types that cannot hold a bad value.
//!
//! | module | holds |
//! |---|---|
//! | [`audit`] | what the audit log tells |
//! | [`names`] | client ids, scopes, audiences: RFC 6749's grammar |
//! | [`audience`] | what an audience wants its tokens signed with |
//! | [`grants`] | what a client may ask for |
//! | [`service`] | services and the actions that they understand |
//! | [`spelling`] | what was probably meant by a wrong name |
//! | [`secret`] | client secrets and admin keys |
//! | [`client`] | the client, as administrators see it |
//! | [`declaration`] | services and clients as a file declares them |
//! | [`host`] | hosts as requests and web pages name them |
//! | [`key_source`] | where public keys of another issuer come from |
//! | [`network`] | IP networks |
//! | [`restrictions`] | from where, when and how often a client gets tokens |
//! | [`role`] | what the holder of an admin key may do |
//! | [`rule`] | which token a request needs that a proxy asks about |
//! | [`span`] | durations as people write them |
//! | [`verifier`] | whoever fetches the key set, and which keys it holds |

pub mod audience;
pub mod audit;
pub mod client;
pub mod declaration;
pub mod grants;
pub mod host;
pub mod key_source;
pub mod names;
pub mod network;
pub mod restrictions;
pub mod role;
pub mod rule;
pub mod secret;
pub mod service;
pub mod span;
pub mod spelling;
pub mod verifier;

pub use client::{Client, Settings};
pub use grants::Grants;
pub use host::Host;
pub use names::{AdminKeyName, Audience, ClientId, InvalidName, Scope, ScopePattern};
pub use network::Network;
pub use restrictions::Restrictions;
pub use role::{Role, Roles};
pub use secret::{AdminKey, ClientSecret, SecretHash};
pub use service::Service;
pub use span::Span;
