//! `m2mint backup`

use std::path::Path;

use serde_json::json;

use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::store::{Store, schema};

/// Writes a consistent copy of the database, also while a server works on it. The master key is not in it.
///
/// # Errors
/// When the target exists, or the copy cannot be made.
pub fn run(settings: &Settings, to: &Path, as_json: bool) -> Result {
    let config = config::load(settings)?;
    if to.exists() {
        return Err(CliError::Refused(format!("{} exists already; name a file that does not", to.display())));
    }
    let store = Store::open(&config.database, None)?;
    // Empty and private before anything is in it.
    schema::create_private(to)?;
    if let Err(error) = store.backup(to) {
        // Half a copy is none.
        let _ = std::fs::remove_file(to);
        return Err(error.into());
    }
    std::fs::File::open(to)?.sync_all()?;
    if as_json {
        return output::json(&json!({"file": to, "bytes": std::fs::metadata(to)?.len()}));
    }
    output::line(&format!(
        "{} holds the database. Keep a copy of the master key too, in another place",
        to.display()
    ));
    Ok(())
}
