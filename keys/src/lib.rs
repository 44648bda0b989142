//! Everything in m2mint that touches key material or decides whether a token is good.
//!
//! The core has no socket, no file and no clock: callers hand in the time and store what they are told to store. That
//! makes it the part that an auditor reads.
//!
//! | module | holds |
//! |---|---|
//! | [`audit`] | the hash chain of an audit log, and its signed heads |
//! | [`bearer`] | bearer tokens in HTTP headers, and the challenge that asks for one |
//! | [`crypto`] | the one file that names the crypto backend |
//! | [`signing_key`] | Ed25519 pairs: generate, sign, public half |
//! | [`seal`] | a private key at rest, under a master key |
//! | [`json`] | JSON objects in which no member appears twice |
//! | [`jwk`] | public keys as JWK and JWK Set, RFC 7638 thumbprints |
//! | [`time`] | wall time, attested time, and the clock that ties them together |
//! | [`key_ring`] | the rotation rule as a pure state machine |
//! | [`token`] | claims, header, minting |
//! | [`verify`] | policy and key set in, [`verify::Verified`] or a named [`verify::Rejection`] out |
//!
//! Services add what they need by feature. It stands on the core, which knows nothing of it:
//!
//! | module | feature | holds |
//! |---|---|---|
//! | `guard` | `actix`, `tower` | who calls, and who may |
//! | `remote` | `remote` | key sets over HTTPS |
//! | `client` | `client` | tokens for a service that calls others |
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod audit;
pub mod bearer;
#[cfg(feature = "client")]
pub mod client;
pub mod crypto;
#[cfg(feature = "guard")]
pub mod guard;
pub mod json;
pub mod jwk;
pub mod key_ring;
#[cfg(feature = "remote")]
pub mod remote;
pub mod seal;
pub mod signing_key;
pub mod time;
pub mod token;
pub mod verify;
