//! `m2mint admin-keys --url`

use serde_json::json;

use super::{Server, path};
use crate::cli::admin_keys::{Action, show, show_made};
use crate::cli::output::{self, CliError, Result};
use crate::clock::Clock;
use crate::http::v1::types::{AdminKeyMade, AdminKeys, NewAdminKey};
use crate::model::{AdminKeyName, Roles, Span};

/// Runs the verb.
///
/// # Errors
/// When a rule refuses it.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    match action {
        Action::Add { name, roles, expires, to } => {
            let name = AdminKeyName::parse(name).map_err(|error| CliError::Refused(error.to_string()))?;
            let roles =
                Roles::new(roles.iter().copied()).map_err(|error| CliError::Usage(error.to_string()))?;
            let expires = expires.as_deref().map(Span::parse).transpose();
            let expires = expires.map_err(|error| CliError::Usage(format!("--expires: {error}")))?;
            // Whether the place can be written is known before the key is made, which the server does.
            drop(to.prepare("", "ADMIN_KEY")?);
            let new = NewAdminKey {
                name: name.to_string(),
                roles: roles.names().map(str::to_owned).collect(),
                expires_in: expires.map(|span| span.to_string()),
            };
            let made: AdminKeyMade = server.post("/admin-keys", &new)?;
            let kept = to
                .prepare(made.key.expose(), "ADMIN_KEY")
                .and_then(|place| show_made(&made.admin_key, made.key.expose(), place, as_json));
            // One that is nowhere helps nobody.
            kept.inspect_err(|_| drop(server.delete(&path(&["admin-keys", name.as_str()]), None)))
        }
        Action::List => {
            show(&server.get::<AdminKeys>("/admin-keys")?.admin_keys, Clock::system().wall(), as_json)
        }
        Action::Remove { name, yes } => {
            let keys = server.get::<AdminKeys>("/admin-keys")?.admin_keys;
            if !keys.iter().any(|key| key.name == *name) {
                let meant = output::did_you_mean(name, keys.iter().map(|key| key.name.as_str()));
                return Err(CliError::Refused(format!("there is no admin key {name}{meant}")));
            }
            output::confirm(
                &format!("Remove the admin key {name}? Whoever still uses it is refused."),
                *yes,
            )?;
            server.delete(&path(&["admin-keys", name]), None)?;
            if as_json {
                return output::json(&json!({"removed": name}));
            }
            output::line(&format!("removed: {name}"));
            Ok(())
        }
    }
}
