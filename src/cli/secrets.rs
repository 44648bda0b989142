//! `m2mint secrets add|list|remove`

use clap::Subcommand;
use m2mint_keys::time::UnixTime;
use serde_json::{Map, Value, json};

use crate::administration;
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::{Settings, clients, config, table};
use crate::clock::Clock;
use crate::model::audit::Origin;
use crate::model::{ClientSecret, Span};
use crate::store::Store;
use crate::store::clients::StoredSecret;

/// What to do with a client's secrets.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make one more secret and show it, this once
    #[command(after_help = "Example: m2mint secrets add task-service --expires-in 90d")]
    Add {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        client: String,
        /// How long it is accepted, such as 90d [default: for ever]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
    },
    /// List the secrets of a client: ids and dates, never the secrets
    #[command(after_help = "Example: m2mint secrets list task-service")]
    List {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        client: String,
    },
    /// Remove one secret: it is refused from now on
    #[command(after_help = "Example: m2mint secrets remove task-service 1")]
    Remove {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        client: String,
        /// Id of the secret, as `secrets list` shows it
        secret: i64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When there is no such client or secret.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Store::open(&config.database, None)?;
    let (now, origin) = (Clock::system().wall(), Origin::command_line());
    let (Action::Add { client, .. } | Action::List { client } | Action::Remove { client, .. }) = action;
    clients::require(&store, client)?;
    match action {
        Action::Add { client, expires_in } => {
            let expires_in = expires_in.as_deref().map(Span::parse).transpose();
            let expires_in = expires_in.map_err(|error| CliError::Usage(format!("--expires-in: {error}")))?;
            let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let expires_at = expires_in.map(|span| now.plus(span.0));
            let stored = administration::add_secret(&store, client, &secret, now, expires_at, &origin)?;
            if as_json {
                let mut json = to_json(&stored);
                json.insert("clientSecret".into(), secret.expose().into());
                return output::json(&Value::Object(json));
            }
            output::line(&format!(
                "id      {}\nsecret  {}\n\nThe secret is shown this once.",
                stored.id,
                secret.expose()
            ));
        }
        Action::List { client } => {
            let secrets = administration::secrets(&store, client)?;
            if as_json {
                return output::json(&secrets.iter().map(to_json).map(Value::Object).collect());
            }
            let when = |time: Option<UnixTime>| time.map_or_else(|| "never".to_owned(), date);
            let row = |secret: &StoredSecret| {
                let id = secret.id.to_string();
                vec![id, date(secret.created_at), when(secret.expires_at), when(secret.last_used_at)]
            };
            table::print(
                &["ID", "CREATED", "EXPIRES", "LAST USED"],
                &secrets.iter().map(row).collect::<Vec<_>>(),
            );
        }
        Action::Remove { client, secret, yes } => {
            if !administration::secrets(&store, client)?.iter().any(|stored| stored.id == *secret) {
                return Err(CliError::Refused(format!("the client {client} has no secret {secret}")));
            }
            output::confirm(
                &format!("Remove the secret {secret} of {client}? Whoever still uses it is refused."),
                *yes,
            )?;
            administration::remove_secret(&store, client, *secret, now, &origin)?;
            if as_json {
                return output::json(&json!({"removed": secret}));
            }
            output::line(&format!("removed: {secret}"));
        }
    }
    Ok(())
}

fn to_json(secret: &StoredSecret) -> Map<String, Value> {
    let fields = [
        ("id", json!(secret.id)),
        ("createdAt", json!(date(secret.created_at))),
        ("expiresAt", json!(secret.expires_at.map(date))),
        ("lastUsedAt", json!(secret.last_used_at.map(date))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
