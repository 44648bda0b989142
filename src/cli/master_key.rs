//! `m2mint master-key rotate`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use m2mint_keys::seal::MasterKey;
use serde_json::json;

use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::config::Config;
use crate::master_key::{self, LockedPlace, Place};
use crate::model::audit::Origin;
use crate::rotation::{RotationError, keyring_file};
use crate::store::{Store, StoreError, keys};
use crate::witness::{Witness, WitnessError};

/// What to do with the master key.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Seal every private key under a new master key, also while a server works on the database
    #[command(after_help = "Example: m2mint master-key rotate")]
    Rotate {
        /// Take the new key from this file instead of making one: 32 bytes in base64 or hex, mode 0600
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When the present key does not open the database, or the new one cannot be kept.
pub fn run(settings: &Settings, action: &Action) -> Result {
    let Action::Rotate { new_key_file, yes, json } = action;
    let config = config::load(settings)?;
    let store = Store::open(&config.database, None)?;
    let place = Place::of(&config.master_key).map(Place::lock).transpose()?;
    let issuer = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?;
    let (check, created) = (issuer.master_check, issuer.created);
    if let Some(place) = &place
        && !master_key::read(&config.master_key, &config.database, true).is_ok_and(|key| key.passes(&check))
        && place.finish(&check)?.is_some()
    {
        return done(
            *json,
            0,
            "the rotation that was interrupted is finished: the database and the key file belong together again",
        );
    }
    let given = new_key_file.as_deref().map(master_key::read_private).transpose()?;
    let Some(new) = given.map_or_else(|| made(place.as_ref()), |key| Ok(Some(key)))? else {
        return Err(CliError::Refused(
            "the master key comes from the environment or from systemd, where nobody can replace it from here. Make the \
             new one in a file of its own, mode 0600, such as by `head -c 32 /dev/urandom | base64`, and name it with \
             --new-key-file"
                .into(),
        ));
    };
    if new.passes(&check) {
        return done(*json, 0, "nothing to do: the database is sealed under that key already");
    }
    let old = master_key::read(&config.master_key, &config.database, true)?;
    if !old.passes(&check) {
        return Err(RotationError::WrongMasterKey.into());
    }
    // The master key of before opens the latest database too, and would be gone.
    let witness = Witness::of(&config.master_key, &config.database);
    if let Err(restored @ WitnessError::Restored { .. }) = store.read(|db| Ok(witness.check(db, created)))? {
        return Err(CliError::Refused(restored.to_string()));
    }
    output::confirm(
        "Seal every private key under a new master key? The old one still opens backups that were made before; it will \
         not be kept here.",
        *yes,
    )?;
    let count = rotate(&store, &old, &new, place.as_ref())?;
    done(*json, count, &next_step(&config, place.as_ref(), new_key_file.as_deref()))
}

/// A new key, if there is a place to keep it.
fn made(place: Option<&LockedPlace>) -> Result<Option<MasterKey>> {
    let made = place.map(|_| MasterKey::generate()).transpose();
    made.map_err(|error| CliError::Failed(error.to_string()))
}

fn rotate(store: &Store, old: &MasterKey, new: &MasterKey, place: Option<&LockedPlace>) -> Result<usize> {
    place.map_or(Ok(()), |place| place.prepare(new))?;
    match keyring_file::reseal(store, old, new, Clock::system().wall(), &Origin::command_line()) {
        Ok(count) => {
            place.map_or(Ok(()), LockedPlace::put_in_place)?;
            // What was sealed under the old key is in the log no more. A server that reads just now does it later.
            store.checkpoint();
            Ok(count)
        }
        // Either key may be the right one now: both stay, and the next run looks.
        Err(error @ RotationError::Store(StoreError::OutcomeUnknown(_))) => {
            Err(CliError::Failed(format!("{error}. Run the same command again: it finds out, and finishes")))
        }
        Err(error) => {
            place.inspect(|place| place.give_up());
            Err(error.into())
        }
    }
}

fn next_step(config: &Config, place: Option<&LockedPlace>, given: Option<&Path>) -> String {
    match (place, given) {
        (Some(_), _) => format!(
            "{} holds the new master key, and a running server uses it. Keep a copy apart from the backups; those that \
             were made before open with the old one only",
            Place::of(&config.master_key).as_ref().map_or(Path::new(""), Place::path).display()
        ),
        (None, given) => format!(
            "the database is sealed under the key in {} now. Give that one to the server (LoadCredential=, or \
             M2MINT_MASTER_KEY) and restart it: until then it issues tokens, and cannot rotate its signing keys",
            given.unwrap_or(Path::new("")).display()
        ),
    }
}

fn done(as_json: bool, resealed: usize, text: &str) -> Result {
    if as_json {
        return output::json(&json!({"resealed": resealed, "next": text}));
    }
    if resealed > 0 {
        output::line(&format!("sealed anew: {resealed} private keys"));
    }
    output::line(text);
    Ok(())
}
