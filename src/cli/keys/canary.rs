//! `m2mint keys canary`: a token that the standby signs, to see whether a service knows it.

use std::io::{IsTerminal as _, stdout};

use serde_json::json;

use crate::cli::config;
use crate::cli::output::{self, CliError, Result, date};
use crate::clock::Clock;
use crate::config::Config;
use crate::master_key;
use crate::model::Audience;
use crate::model::audit::Origin;
use crate::rotation::RotationError;
use crate::rotation::canary::{CanaryError, sign};
use crate::store::{Store, keys};
use crate::witness::Witness;

/// Runs the verb.
///
/// # Errors
/// When nobody can know the standby yet, or it cannot be opened.
pub fn run(config: &Config, store: &Store, audience: &str, as_json: bool) -> Result {
    let audience = Audience::parse(audience).map_err(|error| CliError::Refused(error.to_string()))?;
    let issuer_url = config::issuer(config)?;
    let issuer = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?;
    let witness = Witness::of(&config.master_key, &config.database);
    // The standby of an older database may be a key that was revoked since.
    if let Err(restored) = store.read(|db| Ok(witness.check(db, issuer.created)))? {
        return Err(CliError::Refused(restored.to_string()));
    }
    let master = master_key::open(&config.master_key, &config.database, &issuer.master_check)?;
    let (reading, origin) = (Clock::system().read(), Origin::command_line());
    let canary = sign(store, &master, reading, &config.audiences, (&issuer_url, &audience), &origin);
    let canary = canary.map_err(|error| match error {
        CanaryError::Rotation(error) => error.into(),
        refused => CliError::Refused(refused.to_string()),
    })?;
    if as_json {
        return output::json(&json!({
            "token": canary.token,
            "kid": canary.kid.as_str(),
            "audience": audience.as_str(),
            "expires_at": date(canary.expires_at),
        }));
    }
    output::line(&canary.token);
    if stdout().is_terminal() {
        eprintln!();
    }
    eprintln!(
        "A canary for {audience}, good until {}, signed by the standby {}. Send it to the service where a scope is needed: 403 says that it \
         knows the key, 401 that it does not yet.",
        date(canary.expires_at),
        canary.kid
    );
    Ok(())
}
