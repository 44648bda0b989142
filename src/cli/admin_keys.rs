//! `m2mint admin-keys add|list|remove`

use clap::Subcommand;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::administration::admin_keys::{self, NewAdminKey};
use crate::cli::beside::Beside;
use crate::cli::destination::{Destination, Prepared};
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::http::v1::admin_keys::render;
use crate::http::v1::types::AdminKey as AdminKeyJson;
use crate::model::audit::Origin;
use crate::model::{AdminKey, AdminKeyName, Role, Roles, Span};
use crate::store::admin_keys::all;

/// What to do with admin keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make an admin key and show it, this once, or put it where it belongs
    #[command(after_help = "Example: m2mint admin-keys add deploy --role clients --expires 90d")]
    Add {
        /// Its name, as the audit log tells it
        name: String,
        /// What it may do: read, clients, keys or all; each includes reading. Once for each
        #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',', value_parser = Role::parse)]
        roles: Vec<Role>,
        /// How long it is accepted, such as 90d [default: for ever]
        #[arg(long, value_name = "DURATION", alias = "expires-in")]
        expires: Option<String>,
        /// Where the key goes
        #[command(flatten)]
        to: Destination,
    },
    /// List admin keys: names, roles and dates, never the keys
    #[command(after_help = "Example: m2mint admin-keys list")]
    List,
    /// Remove an admin key: it is refused from now on
    #[command(after_help = "Example: m2mint admin-keys remove deploy")]
    Remove {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When a rule or the file refuses it.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let (now, origin) = (Clock::system().wall(), Origin::command_line());
    let has_configured = !config.api_keys.is_empty();
    match action {
        Action::Add { name, roles, expires, to } => {
            let name = AdminKeyName::parse(name).map_err(|error| CliError::Refused(error.to_string()))?;
            let roles =
                Roles::new(roles.iter().copied()).map_err(|error| CliError::Usage(error.to_string()))?;
            let expires = expires.as_deref().map(Span::parse).transpose();
            let expires = expires.map_err(|error| CliError::Usage(format!("--expires: {error}")))?;
            let new = NewAdminKey { name, roles, expires_at: expires.map(|span| now.plus(span.0)) };
            let key = AdminKey::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let place = to.prepare(key.expose(), "ADMIN_KEY")?;
            let stored = admin_keys::add(&store, new, &key, now, &origin)?;
            show_made(&render(&stored, has_configured), key.expose(), place, as_json)?;
            store.settle();
        }
        Action::List => {
            let keys = store.read(all)?;
            let keys: Vec<_> = keys.iter().map(|key| render(key, has_configured)).collect();
            show(&keys, now, as_json)?;
        }
        Action::Remove { name, yes } => {
            let keys = store.read(all)?;
            if !keys.iter().any(|key| key.name.as_str() == name) {
                let meant = output::did_you_mean(name, keys.iter().map(|key| key.name.as_str()));
                return Err(CliError::Refused(format!("there is no admin key {name}{meant}")));
            }
            output::confirm(
                &format!("Remove the admin key {name}? Whoever still uses it is refused."),
                *yes,
            )?;
            admin_keys::remove(&store, name, now, &origin)?;
            store.settle();
            if as_json {
                return output::json(&json!({"removed": name}));
            }
            output::line(&format!("removed: {name}"));
        }
    }
    Ok(())
}

/// Shows an admin key that was just made, or where it is.
///
/// # Errors
/// When it cannot be put there.
pub fn show_made(made: &AdminKeyJson, key: &str, place: Option<Prepared>, as_json: bool) -> Result {
    let path = place.as_ref().map(|place| place.path().to_owned());
    let told = place.map(Prepared::keep).transpose()?;
    if as_json {
        let mut json = serde_json::to_value(made)?.as_object().cloned().unwrap_or_default();
        match path {
            Some(path) => json.insert("keyWrittenTo".into(), json!(path)),
            None => json.insert("key".into(), key.into()),
        };
        return output::json(&Value::Object(json));
    }
    output::line(&format!("name       {}\nroles      {}", made.name, made.roles.join(" ")));
    match told {
        Some(told) => output::line(&format!("key        {told}")),
        None => output::line(&format!("key        {key}\n\nThe key is shown this once.")),
    }
    Ok(())
}

/// Shows names, roles and dates.
///
/// # Errors
/// When they cannot be written.
pub fn show(keys: &[AdminKeyJson], now: UnixTime, as_json: bool) -> Result {
    if as_json {
        return output::json(&serde_json::to_value(keys)?);
    }
    let (never, now) = (|| "never".to_owned(), date(now));
    let row = |key: &AdminKeyJson| {
        let expires = match &key.expires_at {
            _ if key.replaced_by_configuration => "replaced by api_key".to_owned(),
            Some(at) if *at <= now => format!("{at} (expired)"),
            at => at.clone().unwrap_or_else(never),
        };
        let used = key.last_used_at.clone().unwrap_or_else(never);
        vec![key.name.clone(), key.roles.join(" "), key.created_at.clone(), expires, used]
    };
    table::print(
        &["NAME", "ROLES", "CREATED", "EXPIRES", "LAST USED"],
        &keys.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(())
}
