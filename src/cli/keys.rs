//! `m2mint keys [list]|plan|canary|verifiers|rotate|revoke|recover`
//!
//! Keys are changed by the server alone. These verbs leave it a request in the file and wait for the outcome; without a
//! server, the request is met when the next one starts.

mod canary;
pub mod plan;
pub mod show;
pub mod verifiers;

use clap::Subcommand;
use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRecord, Policy, State};
use m2mint_keys::signing_key::Algorithm;

use crate::administration;
use crate::cli::beside::Beside;
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::v1::keys::{render, render_plan};
use crate::master_key;
use crate::model::audience::parse_algorithm;
use crate::model::audit::Origin;
use crate::rotation::view::{RingView, View, now, on_revocation};
use crate::rotation::{RotationError, keyring_file};
use crate::startup::rotation_settings;
use crate::store::keys::KeyRequest;
use crate::store::{Claim, Store, audit, keys};
use crate::witness::{self, Witness, WitnessError};

/// What to do with the signing keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show every key, its state, and the next transition
    #[command(after_help = "Example: m2mint keys list --json")]
    List,
    /// Show the timeline of the keys, past and future, and when a rotation that is asked for now would happen
    #[command(after_help = "Example: m2mint keys plan --rotations 4")]
    Plan {
        /// How many rotations to look ahead
        #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
        rotations: u8,
    },
    /// Show who fetches the JWKS and comes back, and who of them has the standby already
    #[command(after_help = "Example: m2mint keys verifiers --json")]
    Verifiers,
    /// Print a token that the standby signs: it shows whether a service knows the next key, and allows nothing
    #[command(
        after_help = "It is good for 60s at most, has no scopes, no client, and the claim \"m2mint_canary\": true. A service that knows \
                      the standby answers 403, one that does not 401. Introspection calls it inactive.\n\n\
                      Example: m2mint keys canary --audience event"
    )]
    Canary {
        /// The service that is to be tried
        #[arg(long, value_name = "NAME")]
        audience: String,
    },
    /// Let the standby sign from now on, or as soon as every verifier can know it
    #[command(after_help = "Example: m2mint keys rotate")]
    Rotate {
        /// The ring of this algorithm only: EdDSA or ES256
        #[arg(long, value_parser = algorithm)]
        alg: Option<Algorithm>,
    },
    /// Go on with a database that was put back from a backup: keys that were retired or revoked since sign no more
    #[command(after_help = "Example: m2mint keys recover")]
    Recover {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take a key out of the JWKS at once: its tokens are refused from now on
    #[command(after_help = "Example: m2mint keys revoke gKQ3BSDZDuY9pXvVjyDRz4ghIzHkxF92nWa-3F5PF5g")]
    Revoke {
        /// Key id, as `m2mint keys` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When there is no such key, or the file cannot be used.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    if let Action::Recover { yes } = action {
        return recover(&config, *yes, as_json);
    }
    let store = Beside::open(&config.database)?;
    match action {
        Action::List => {
            if let Some(issuer) = store.read(keys::issuer)? {
                let witness = Witness::of(&config.master_key, &config.database);
                if let Err(restored) = store.read(|db| Ok(witness.check(db, issuer.created)))? {
                    output::error(&restored.to_string());
                }
            }
            let view = look(&store, config.rotation)?;
            show::keys(&render(&view), as_json)
        }
        Action::Plan { rotations } => {
            plan::show(&render_plan(&look(&store, config.rotation)?, *rotations), as_json)
        }
        Action::Canary { audience } => canary::run(&config, &store, audience, as_json),
        Action::Verifiers => verifiers::show(&render(&look(&store, config.rotation)?), as_json),
        Action::Rotate { alg } => rotate(&store, config.rotation, *alg, as_json),
        Action::Revoke { kid, yes } => revoke(&store, config.rotation, kid, *yes, as_json),
        // Done above: it needs the file for itself.
        Action::Recover { .. } => Ok(()),
    }
}

fn recover(config: &Config, yes: bool, as_json: bool) -> Result {
    let store = Store::open(&config.database, Some(Claim::take(&config.database)?))?;
    store.check_whole()?;
    let issuer = store.read(keys::issuer)?.ok_or(RotationError::NoKeys)?;
    let witness = Witness::of(&config.master_key, &config.database);
    let later = match store.read(|db| Ok(witness.check(db, issuer.created)))? {
        Err(WitnessError::Restored { .. }) => witness.read(issuer.created)?,
        other => {
            other?;
            None
        }
    };
    let Some((later, place)) = later else {
        if !as_json {
            output::line("nothing to do: nothing is known of later changes of keys");
        }
        return Ok(());
    };
    output::confirm(
        "Go on with this database? Keys that were retired or revoked after the backup sign no more; where none is left, a new \
         one signs, which verifiers have to fetch. Clients, secrets and revocations stay as they were when it was made.",
        yes,
    )?;
    let master = master_key::open(&config.master_key, &config.database, &issuer.master_check)?;
    let (reading, settings) = (Clock::system().read(), rotation_settings(config));
    let origin = Origin::command_line();
    let (rings, _) = keyring_file::recover(&store, &master, reading, &settings, &later.keys, &origin)?;
    let last = store.read(audit::last)?;
    let (seq, hash) = last.ok_or(RotationError::NoKeys)?;
    witness.at(&place).write(issuer.created, (seq, &hash), &witness::Keys::of(&rings))?;
    // Private halves that must not sign any more are in the log no more either.
    store.checkpoint();
    let view = look(&store, config.rotation)?;
    if as_json {
        return output::json(&show::to_json(&render(&view)));
    }
    for ring in &view.rings {
        let kid = ring.signing().map(Kid::to_string).unwrap_or_default();
        output::line(&format!("{}{kid} signs when the server starts", view.label(ring, ": ")));
    }
    output::line(
        "Do again what was done to clients, secrets and revocations since the backup: see \"Back up and restore\" in \
         deploy/README.md",
    );
    Ok(())
}

/// Reads the name of an algorithm that tokens can be signed with.
///
/// # Errors
/// When it is none.
pub fn algorithm(text: &str) -> std::result::Result<Algorithm, String> {
    parse_algorithm(text).map_err(|error| error.to_string())
}

fn rotate(store: &Beside, policy: Policy, alg: Option<Algorithm>, as_json: bool) -> Result {
    let concerned = |ring: &&RingView| alg.is_none_or(|alg| ring.ring.algorithm() == alg);
    let before = look(store, policy)?;
    if let Some(alg) = alg.filter(|_| !before.rings.iter().any(|ring| concerned(&ring))) {
        let reason = format!(
            "there are no {} keys; they are made when an audience wants them: m2mint audiences set NAME --alg {0}",
            alg.name()
        );
        return Err(CliError::Refused(reason));
    }
    let signed = |ring: &RingView| before.rings.iter().any(|before| before.signing() == ring.signing());
    ask(store, &KeyRequest::Rotate(alg))?;
    let after = look(store, policy)?;
    if as_json {
        return output::json(&show::to_json(&render(&after)));
    }
    if !store.is_served() {
        output::line("no server is running: the rotation will be looked at when it starts");
        return Ok(());
    }
    for ring in after.rings.iter().filter(concerned) {
        let alg = after.label(ring, " ");
        if signed(ring) {
            output::line(&format!("queued: {alg}{}", after.next(ring)));
        } else {
            let kid = ring.signing().map(Kid::to_string).unwrap_or_default();
            output::line(&format!("rotated: {alg}{kid} signs from now on"));
        }
    }
    Ok(())
}

fn revoke(store: &Beside, policy: Policy, kid: &str, yes: bool, as_json: bool) -> Result {
    let view = look(store, policy)?;
    let record = Kid::parse(kid).and_then(|kid| view.get(&kid).cloned());
    let record = record
        .ok_or_else(|| CliError::Refused(format!("there is no key {kid}; `m2mint keys` shows them all")))?;
    let effect = on_revocation(record.state())
        .ok_or_else(|| CliError::Refused(format!("the key {kid} is revoked already")))?;
    output::confirm(&format!("Revoke {kid}? {effect}"), yes)?;
    ask(store, &KeyRequest::Revoke(record.kid.clone()))?;
    let view = look(store, policy)?;
    if as_json {
        return output::json(&show::to_json(&render(&view)));
    }
    match view.get(&record.kid).map(KeyRecord::state) {
        Some(State::Revoked) | None => {
            let ring = view.rings.iter().find(|ring| ring.ring.algorithm() == record.public.algorithm());
            let signing = ring.and_then(RingView::signing).map(Kid::to_string).unwrap_or_default();
            let since = if record.state() == State::Active { "signs from now on" } else { "goes on signing" };
            output::line(&format!("revoked: {kid}\n{signing} {since}"));
        }
        Some(_) => output::line("no server is running: the key will be revoked before the next one serves"),
    }
    Ok(())
}

fn ask(store: &Beside, request: &KeyRequest) -> Result {
    administration::ask_for_keys(store, request, Clock::system().wall(), &Origin::command_line())?;
    store.be_met()
}

/// The rings of the file, by its clock.
fn look(store: &Store, policy: Policy) -> Result<View> {
    Ok(View::read(store, policy, now(store)?)?)
}
