//! Drives the rotation rule of [`m2mint_keys::key_ring`]: by the timer, by signal, by request.
//!
//! | module | holds |
//! |---|---|
//! | [`published`] | what the rest of the server sees of the keys: the signer, the JWKS |
//! | [`canary`] | tokens that the standby signs, to see who knows it |
//! | [`also`] | public keys of another issuer, beside ours |
//! | [`gate`] | whether the clock may be trusted to sign by |
//! | [`rings`] | the rings, one an algorithm, and which of them signs for which audience |
//! | [`standing`] | where the keys stand, for whoever watches |
//! | [`view`], [`timeline`] | the keys as administrators see them; their past and their future |
//! | [`verifiers`] | which verifiers have fetched the next key |
//! | [`keyring_file`] | the keys in the file: founding, loading, changing |
//! | [`keeper`] | the one thread that changes keys |

pub mod also;
pub mod canary;
pub mod gate;
pub mod keeper;
pub mod keyring_file;
pub mod published;
pub mod rings;
pub mod standing;
pub mod timeline;
pub mod verifiers;
pub mod view;

use std::time::Duration;

use m2mint_keys::crypto::CryptoError;
use m2mint_keys::key_ring::{Policy, RevokeError};

use crate::audit::AuditError;
use crate::model::audience::AudienceAlgorithm;
use crate::store::StoreError;

/// The part of the configuration that steers keys. Can change while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The numbers of the rotation rule.
    pub policy: Policy,
    /// How long tokens live where their client says nothing.
    pub lifetime: Duration,
    /// Audiences that want their tokens signed with an algorithm of their own.
    pub audiences: Vec<AudienceAlgorithm>,
    /// How long entries of the audit log are kept.
    pub audit_keep: Duration,
}

/// Why the keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backend.
    #[error("the signing keys cannot be changed: {0}")]
    Crypto(#[from] CryptoError),
    /// The file was sealed under another master key.
    #[error(
        "the master key does not open this database. Give the key that was made with it, or the one that it was last \
         rotated to (`master_key_file`, by default the database's name with .key behind it). If a rotation of the master \
         key was interrupted, run it again"
    )]
    WrongMasterKey,
    /// The private half of a key that has to sign is not there.
    #[error(
        "the database holds no private half for the signing key {0}; restore a backup, or revoke the key"
    )]
    NoPrivateHalf(String),
    /// There are no keys in the file.
    #[error("the database holds no signing keys: no server was started on it yet")]
    NoKeys,
    /// A request that cannot be met.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The keeper has ended.
    #[error("the server is stopping")]
    Stopping,
}
