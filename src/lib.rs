//! m2mint, the machine-to-machine authorization server, as a library: what its binary and its tests are made of.
//!
//! Imports point one way: `cli` → `server` → `serving` → `http2` → `http` → `issuer`, `limits`, `administration`, `backup`, `explanation`, `rotation` → `audit`, `directory` → `store` →
//! `metrics`, `traces` → `outgoing`, `model` → `m2mint_keys`.

#![forbid(unsafe_code)]

pub mod administration;
pub mod audit;
pub mod background;
pub mod backup;
pub mod beats;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod directory;
pub mod explanation;
pub mod hardening;
pub mod http;
pub mod http2;
pub mod issuer;
pub mod limits;
pub mod listeners;
pub mod master_key;
pub mod metrics;
pub mod model;
pub mod outgoing;
pub mod rotation;
pub mod server;
pub mod serving;
pub mod signals;
pub mod startup;
pub mod store;
pub mod systemd;
pub mod tls;
pub mod traces;
pub mod witness;

/// Compiles and runs the Rust of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
