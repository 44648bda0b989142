//! m2mint mints machine-to-machine access tokens: one binary, one SQLite file.
//!
//! Arrows point down only: `cli` -> `server` -> `http` -> `issuer`, `keeper` -> `store` -> `model` -> `m2mint_keys`.
pub mod model;
pub mod store;
