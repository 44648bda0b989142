//! `m2mint restore`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::backup::BackupError;
use crate::backup::restore::{Candidate, RestoreError, Restored, is_same_file};
use crate::cli::backup::in_words;
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::model::audit::Origin;
use crate::store::OpenError;

/// What to put back.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup, or - for standard input
    from: PathBuf,
    /// Take a backup from before a change of keys: keys that were retired or revoked since sign no more, tokens of keys
    /// that it has not are refused, and where none is left that may sign, a new one does, which verifiers have to fetch
    #[arg(long)]
    accept_older_keys: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When a server runs, the backup is no good one, or it is from before a change of keys and nobody accepted that.
pub fn run(settings: &Settings, restore: &Restore) -> Result {
    let config = config::load(settings)?;
    let Restore { from, accept_older_keys, yes, json: as_json } = restore;
    let mut from = open(from, &config.database)?;
    let candidate = Candidate::prepare(&config, &mut from).map_err(refuse_if_served)?;
    let newest = candidate.newest().map_or_else(|| "it was made".to_owned(), output::date);
    if let Some(witness) = candidate.known_later().filter(|_| !accept_older_keys) {
        return Err(CliError::Refused(format!(
            "this backup is from before a change of keys, of which {} knows; the last thing in it is of {newest}. Restore a \
             newer backup, if there is one. With --accept-older-keys this one is taken: keys that were retired or revoked \
             since sign no more, tokens that were signed by keys which it has not are refused, and where no key is left \
             that may sign, a new one does, which verifiers have to fetch",
            witness.display()
        )));
    }
    if !as_json {
        output::line(&format!("the backup is whole: {}", in_words(candidate.contents())));
    }
    output::confirm(
        &format!(
            "Put it in the place of {}? What was done since {newest} is undone: secrets, clients and admin keys that were \
             removed since work again, and tokens that were revoked since are good again.",
            config.database.display()
        ),
        *yes,
    )?;
    let contents = candidate.contents();
    let Restored { kept, recovered } = candidate.put_in_place(&config, &Origin::command_line())?;
    if *as_json {
        return output::json(&json!({
            "database": config.database,
            "clients": contents.clients,
            "kept": kept,
            "signing": recovered,
        }));
    }
    output::line(&format!("{} is the backup now", config.database.display()));
    if let Some(kept) = kept {
        output::line(&format!(
            "what was there before is kept as {}; remove it when nobody needs it",
            kept.display()
        ));
    }
    for kid in recovered.iter().flatten() {
        output::line(&format!("{kid} signs when the server starts"));
    }
    output::line("Do again what was done to clients, secrets, admin keys and revocations since");
    Ok(())
}

fn open(from: &Path, database: &Path) -> Result<Box<dyn Read>> {
    if from == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let unreadable =
        |error: io::Error| CliError::Failed(format!("{} cannot be read: {error}", from.display()));
    if is_same_file(from, database).map_err(unreadable)? {
        return Err(CliError::Refused(format!("{} is the database itself", from.display())));
    }
    Ok(Box::new(File::open(from).map_err(unreadable)?))
}

fn refuse_if_served(error: RestoreError) -> CliError {
    match error {
        RestoreError::Backup(BackupError::Open(claimed @ OpenError::Claimed { .. })) => {
            CliError::Refused(claimed.to_string())
        }
        other => other.into(),
    }
}
