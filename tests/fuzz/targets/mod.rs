//! What has to hold for whatever a stranger may send, one file a parser.
//!
//! `check` takes any bytes and panics when a promise is broken. Two programs call it: `cargo fuzz`, guided by coverage
//! (`tests/fuzz/run`), and the plain test `tests/fuzz/replay.rs`, with the corpus and random changes of it.

pub mod basic;
pub mod client_json;
pub mod configuration;
pub mod rule;
pub mod token_request;
pub mod traceparent;
