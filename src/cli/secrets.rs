//! `m2mint secrets add|rotate|list|remove`

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::administration;
use crate::cli::beside::Beside;
use crate::cli::destination::{Destination, Prepared};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, clients, config, table};
use crate::clock::Clock;
use crate::http::v1::secrets::render;
use crate::http::v1::types::SecretInfo;
use crate::model::audit::Origin;
use crate::model::{ClientSecret, Span};

/// What to do with a client's secrets.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make one more secret and show it, this once, or put it where it belongs
    #[command(after_help = "Example: m2mint secrets add task-service --expires-in 90d")]
    Add {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        client: String,
        /// How long it is accepted, such as 90d [default: for ever]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// Where the secret goes
        #[command(flatten)]
        to: Destination,
    },
    /// Make one more secret, and let all others expire
    #[command(after_help = "Example: m2mint secrets rotate task-service --grace 7d --to-file new-secret")]
    Rotate {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        client: String,
        /// For how long the others are still accepted
        #[arg(long, value_name = "DURATION", default_value = "7d")]
        grace: String,
        /// Where the secret goes
        #[command(flatten)]
        to: Destination,
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

/// The variable of an environment file, when none is named.
pub const DEFAULT_NAME: &str = "CLIENT_SECRET";

/// Runs the verb.
///
/// # Errors
/// When there is no such client or secret.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let (now, origin) = (Clock::system().wall(), Origin::command_line());
    let (Action::Add { client, .. }
    | Action::Rotate { client, .. }
    | Action::List { client }
    | Action::Remove { client, .. }) = action;
    clients::require(&store, client)?;
    match action {
        Action::Add { client, expires_in, to } => {
            let expires_in = expires_in.as_deref().map(|text| span("--expires-in", text)).transpose()?;
            let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let place = to.prepare(secret.expose(), DEFAULT_NAME)?;
            let expires_at = expires_in.map(|span| now.plus(span.0));
            let stored = administration::add_secret(&store, client, &secret, now, expires_at, &origin)?;
            show(&render(&stored), &secret, place, None, as_json)?;
            store.settle();
        }
        Action::Rotate { client, grace, to } => {
            let until = now.plus(span("--grace", grace)?.0);
            let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let place = to.prepare(secret.expose(), DEFAULT_NAME)?;
            let (stored, retiring) =
                administration::rotate_secrets(&store, client, &secret, now, until, &origin)?;
            let retiring: Vec<_> = retiring.iter().map(render).collect();
            show(&render(&stored), &secret, place, Some(&retiring), as_json)?;
            if !as_json {
                output::line(&next_step(client, &retiring));
            }
            store.settle();
        }
        Action::List { client } => {
            let secrets = administration::secrets(&store, client)?;
            list(&secrets.iter().map(render).collect::<Vec<_>>(), as_json)?;
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
            store.settle();
            if as_json {
                return output::json(&json!({"removed": secret}));
            }
            output::line(&format!("removed: {secret}"));
        }
    }
    Ok(())
}

/// Reads the duration that a flag gives.
///
/// # Errors
/// When it is none.
pub fn span(flag: &str, text: &str) -> Result<Span> {
    Span::parse(text).map_err(|error| CliError::Usage(format!("{flag}: {error}")))
}

/// Shows ids and dates.
///
/// # Errors
/// When they cannot be written.
pub fn list(secrets: &[SecretInfo], as_json: bool) -> Result {
    if as_json {
        return output::json(&secrets.iter().map(to_json).map(Value::Object).collect());
    }
    let when = |time: &Option<String>| time.clone().unwrap_or_else(|| "never".to_owned());
    let row = |secret: &SecretInfo| {
        let (id, from) = (secret.id.to_string(), secret.last_used_from.clone().unwrap_or_default());
        vec![id, secret.created_at.clone(), when(&secret.expires_at), when(&secret.last_used_at), from]
    };
    table::print(
        &["ID", "CREATED", "EXPIRES", "LAST USED", "FROM"],
        &secrets.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(())
}

/// Shows a new secret, or where it is.
///
/// # Errors
/// When it cannot be put there.
pub fn show(
    stored: &SecretInfo,
    secret: &ClientSecret,
    place: Option<Prepared>,
    retiring: Option<&[SecretInfo]>,
    as_json: bool,
) -> Result {
    let path = place.as_ref().map(|place| place.path().to_owned());
    let told = place.map(Prepared::keep).transpose()?;
    if as_json {
        let mut json = to_json(stored);
        match path {
            Some(path) => json.insert("secretWrittenTo".into(), json!(path)),
            None => json.insert("clientSecret".into(), secret.expose().into()),
        };
        if let Some(retiring) = retiring {
            let retiring = retiring.iter().map(to_json).map(Value::Object).collect();
            json.insert("retiring".into(), retiring);
        }
        return output::json(&Value::Object(json));
    }
    match told {
        Some(told) => output::line(&format!("id         {}\nsecret     {told}", stored.id)),
        None => output::line(&format!(
            "id         {}\nsecret     {}\n\nThe secret is shown this once.",
            stored.id,
            secret.expose()
        )),
    }
    Ok(())
}

/// What to do after a rotation, in words.
#[must_use]
pub fn next_step(client: &str, retiring: &[SecretInfo]) -> String {
    let Some(last) = retiring.iter().filter_map(|secret| secret.expires_at.as_deref()).max() else {
        return format!("{client} had no other secret that is accepted: it needs this one now");
    };
    let ids: Vec<_> = retiring.iter().map(|secret| secret.id.to_string()).collect();
    format!(
        "accepted until {}, at most: {}. Give the new secret to every instance of {client} before; \
         `m2mint secrets list {client}` says when each was last used, and `m2mint secrets remove` ends one sooner",
        last,
        ids.join(", ")
    )
}

fn to_json(secret: &SecretInfo) -> Map<String, Value> {
    // Texts and a number: there is nothing in it that could fail to serialize.
    let json = serde_json::to_value(secret).unwrap_or_default();
    json.as_object().cloned().unwrap_or_default()
}
