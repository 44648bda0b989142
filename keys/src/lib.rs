//! Everything in m2mint that touches key material or decides whether a token is good.
//!
//! The crate has no socket, no file and no clock: callers hand in the time and store what they are told to store.
//! That makes it the part that an auditor reads, and the part that a resource server depends on.
//!
//! | module | holds |
//! |---|---|
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
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bearer;
pub mod crypto;
pub mod json;
pub mod jwk;
pub mod key_ring;
pub mod seal;
pub mod signing_key;
pub mod time;
pub mod token;
pub mod verify;
