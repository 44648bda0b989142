//! Servers to test, and how to talk to them.

pub mod http;
pub mod in_process;
pub mod memory;
pub mod process;
pub mod terminal;
pub mod tls;
pub mod token;

pub use http::{Answer, call, form, get, post_form, post_json};
pub use in_process::Server;
pub use process::Process;

/// The admin key of every server under test.
pub const ADMIN_KEY: &str = "admin-key-of-the-tests-0123456789";

/// A client of a server under test.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: String,
    pub secret: String,
}
