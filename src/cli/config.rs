//! `m2mint config show|check`

use clap::Subcommand;
use serde_json::json;

use crate::cli::Settings;
use crate::cli::output::{self, CliError, Result};
use crate::config;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the effective values and where each came from; secrets are masked
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration and report every problem
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
    let loaded = match (config::load(&settings.sources()), action) {
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
            output::table(&["KEY", "VALUE", "FROM"], &loaded.shown.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// The configuration, for other verbs.
///
/// # Errors
/// Every problem of it.
pub fn load(settings: &Settings) -> Result<config::Config> {
    Ok(config::load(&settings.sources()).map_err(CliError::from)?.config)
}
