//! The audit log: every act of an administrator, every step of a key, everybody who was not let in.
//!
//! An entry is written in the transaction of the change that it tells of. Who was not let in is written behind: the
//! token path never waits for the disk.
//!
//! | module | holds |
//! |---|---|
//! | [`refusals`] | who was not let in, until it is written |
//! | [`heads`] | signing how far the log reaches, and forgetting what is old |
//! | [`verify`] | whether anything was changed, cut or moved |

pub mod heads;
pub mod refusals;
pub mod verify;

use m2mint_keys::crypto::CryptoError;

use crate::store::StoreError;

/// Why the log could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backend.
    #[error("the audit log cannot be signed: {0}")]
    Crypto(#[from] CryptoError),
}
