//! What has to hold for whatever a stranger may send, one file a parser.
//!
//! `check` takes any bytes and panics when a promise is broken. Two programs call it: `cargo fuzz`, guided by coverage
//! (`tests/fuzz/run` in the top folder), and the plain test `tests/fuzz/replay.rs` there, with the corpus and random
//! changes of it.

pub mod bearer;
pub mod claims;
pub mod jwks;
pub mod master_key;
pub mod sealed;
pub mod token;
