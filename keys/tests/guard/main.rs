//! The guards, asked the same by requests through actix-web and through axum.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod actix;
mod axum;
mod cases;
mod sessions;
mod support;
