//! `m2mint config show|check`

use clap::Subcommand;
use serde_json::json;

use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, table};
use crate::config::{self, Listen, Loaded, Origin, Problems};
use crate::tls::Contents;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the effective values and where each came from; secrets are masked
    #[command(after_help = "Example: m2mint config show --config /etc/m2mint/m2mint.toml")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration and report every problem
    #[command(after_help = "Example: m2mint config check --config m2mint.toml")]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// Every problem of the configuration.
pub fn run(settings: &Settings, action: &Action) -> Result {
    let loaded = match action {
        Action::Check { .. } => check(settings),
        Action::Show { .. } => config::load(&settings.sources()),
    };
    let loaded = match (loaded, action) {
        (Err(problems), Action::Check { json: true }) => {
            let problem = |one: &config::Problem| json!({"key": one.key, "value": one.value, "from": one.origin.to_string(), "reason": one.reason});
            output::json(
                &json!({"good": false, "problems": problems.0.iter().map(problem).collect::<Vec<_>>()}),
            )?;
            return Err(problems.into());
        }
        (loaded, _) => loaded?,
    };
    for warning in &loaded.warnings {
        eprintln!("m2mint: {warning}");
    }
    match action {
        Action::Check { json: false } => output::line("the configuration is good"),
        Action::Check { json: true } => {
            output::json(&json!({"good": true, "problems": [], "warnings": loaded.warnings}))?;
        }
        Action::Show { json: true } => {
            let value = |one: &config::Shown| json!({"key": one.key, "value": one.value, "from": one.origin.to_string()});
            output::json(&loaded.shown.iter().map(value).collect())?;
        }
        Action::Show { json: false } => {
            let row =
                |one: &config::Shown| vec![one.key.to_owned(), one.value.clone(), one.origin.to_string()];
            table::print(&["KEY", "VALUE", "FROM"], &loaded.shown.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// A configuration that is good, and whose certificate and private key can be used.
fn check(settings: &Settings) -> std::result::Result<Loaded, Problems> {
    let (mut loaded, mut problems) = config::read(&settings.sources());
    if let Some(loaded) = &mut loaded {
        match loaded.config.tls.as_ref().map(Contents::read).transpose() {
            Ok(contents) => {
                loaded.warnings.extend(contents.into_iter().flat_map(|contents| contents.warnings));
            }
            Err(error) => {
                let shown = loaded.shown.iter().find(|shown| shown.key == error.key());
                let origin = shown.map_or(Origin::Default, |shown| shown.origin.clone());
                problems.add(error.key(), None, &origin, &error.to_string());
            }
        }
    }
    loaded.filter(|_| problems.0.is_empty()).ok_or(problems)
}

/// The configuration, for other verbs.
///
/// # Errors
/// Every problem of it.
pub fn load(settings: &Settings) -> Result<config::Config> {
    Ok(config::load(&settings.sources()).map_err(CliError::from)?.config)
}

/// The URL under which clients and verifiers know the server.
///
/// # Errors
/// [`CliError::Usage`] when only the server knows, because it listens where the system lets it.
pub fn issuer(config: &config::Config) -> Result<String> {
    match (&config.issuer, &config.listen) {
        (Some(issuer), _) => Ok(issuer.clone()),
        (None, Listen::Tcp(address)) if address.port() != 0 => {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            Ok(format!("{scheme}://{address}{}", config.base_path))
        }
        (None, _) => {
            Err(CliError::Usage("the configuration does not say the issuer: add --issuer URL".into()))
        }
    }
}
