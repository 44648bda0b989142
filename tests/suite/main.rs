//! Whole-program tests: the real server, the real file, real HTTP on loopback.
//!
//! Those that need time to pass run the server in this process with a clock that they move; those about signals, crashes,
//! files and the command line run the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod support;

mod admin_api;
mod admin_guards;
mod admin_keys;
mod algorithms;
mod audit;
mod audit_tampering;
mod backups;
mod canary;
mod clients_api;
mod command_line;
mod configuration;
mod connections;
mod crash;
mod dashboard;
mod declared;
mod demo;
mod doctor;
mod erasure;
mod file_size;
mod foreign;
mod forward_auth;
mod guessing;
mod guide;
mod health;
mod help;
mod http2;
mod imported;
mod init;
mod introspection;
mod key_plan;
mod key_verifiers;
mod limits;
mod live_rotation;
mod logging;
mod master_key;
mod metrics;
mod native_api;
mod other_keys;
mod overload;
mod remote_command_line;
mod remote_verifier;
mod restored_backup;
mod restrictions;
mod retiring_secrets;
mod rotation;
mod secret_places;
mod secrets_nowhere;
mod services;
mod start;
mod systemd;
mod terminal;
mod tls;
mod token_bought;
mod token_dialects;
mod token_errors;
mod token_explained;
mod unused;
mod verifier_pack;
mod verifier_recipes;
