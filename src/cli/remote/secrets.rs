//! `m2mint secrets --url`

use serde_json::json;

use super::clients::require;
use super::{Server, path};
use crate::cli::output::{self, CliError, Result};
use crate::cli::secrets::{Action, DEFAULT_NAME, list, next_step, show, span};
use crate::http::v1::types::{NewSecret, Secret, SecretMade, SecretRotation, Secrets};
use crate::model::ClientSecret;

/// Runs the verb.
///
/// # Errors
/// When there is no such client or secret.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    let (Action::Add { client, .. }
    | Action::Rotate { client, .. }
    | Action::List { client }
    | Action::Remove { client, .. }) = action;
    require(server, client)?;
    let made = || ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()));
    match action {
        Action::Add { client, expires_in, to } => {
            let expires_in = expires_in.as_deref().map(|text| span("--expires-in", text)).transpose()?;
            let secret = made()?;
            let place = to.prepare(secret.expose(), DEFAULT_NAME)?;
            let new = NewSecret {
                client_secret: Some(Secret::new(secret.expose())),
                expires_in: expires_in.map(|span| span.to_string()),
            };
            let added: SecretMade = server.post(&path(&["clients", client, "secrets"]), &new)?;
            show(&added.secret, &secret, place, None, as_json)
        }
        Action::Rotate { client, grace, to } => {
            let grace = span("--grace", grace)?;
            let secret = made()?;
            let place = to.prepare(secret.expose(), DEFAULT_NAME)?;
            let wanted = SecretRotation {
                client_secret: Some(Secret::new(secret.expose())),
                grace: Some(grace.to_string()),
            };
            let added: SecretMade = server.post(&path(&["clients", client, "secrets", "rotate"]), &wanted)?;
            show(&added.secret, &secret, place, Some(&added.retiring), as_json)?;
            if !as_json {
                output::line(&next_step(client, &added.retiring));
            }
            Ok(())
        }
        Action::List { client } => {
            let secrets: Secrets = server.get(&path(&["clients", client, "secrets"]))?;
            list(&secrets.secrets, as_json)
        }
        Action::Remove { client, secret, yes } => {
            let secrets: Secrets = server.get(&path(&["clients", client, "secrets"]))?;
            if !secrets.secrets.iter().any(|stored| stored.id == *secret) {
                return Err(CliError::Refused(format!("the client {client} has no secret {secret}")));
            }
            output::confirm(
                &format!("Remove the secret {secret} of {client}? Whoever still uses it is refused."),
                *yes,
            )?;
            server.delete(&path(&["clients", client, "secrets", &secret.to_string()]), None)?;
            if as_json {
                return output::json(&json!({"removed": secret}));
            }
            output::line(&format!("removed: {secret}"));
            Ok(())
        }
    }
}
