//! `m2mint audiences [list]|set`

use clap::Subcommand;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::Moment;
use serde_json::{Value, json};

use crate::administration;
use crate::cli::beside::Beside;
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config, keys, table};
use crate::clock::Clock;
use crate::http::v1::audiences::{in_default, render};
use crate::http::v1::types::Audience as AudienceJson;
use crate::model::Audience;
use crate::model::audit::Origin;
use crate::rotation::keeper::in_words;
use crate::rotation::rings::{self, AudienceStatus};
use crate::rotation::view;
use crate::store::audiences::StoredAudience;

/// What to do with audiences.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show the audiences whose tokens are not signed with EdDSA as all others are
    #[command(after_help = "Example: m2mint audiences list")]
    List,
    /// Say what tokens for an audience are signed with, for services that cannot check EdDSA
    #[command(
        after_help = "The first audience that wants an algorithm makes keys for it. They sign as soon as every verifier can know \
                      them; until then tokens for the audience are signed with EdDSA.\n\n\
                      Example: m2mint audiences set billing --alg ES256 --at-once"
    )]
    Set {
        /// The audience
        name: String,
        /// EdDSA or ES256
        #[arg(long, value_parser = keys::algorithm)]
        alg: Algorithm,
        /// Wait for nobody: no service checks tokens for this audience yet
        #[arg(long)]
        at_once: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When the name is not well formed, or the file cannot be used.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let read = || -> Result<(Moment, Vec<AudienceStatus>)> {
        let now = view::now(&store)?;
        let audiences = store.read(|db| rings::audiences(db, &config.audiences, &config.rotation, now))?;
        Ok((now, audiences))
    };
    match action {
        Action::List => {
            let (now, audiences) = read()?;
            list(&audiences.iter().map(|audience| render(audience, now)).collect::<Vec<_>>(), as_json)
        }
        Action::Set { name, alg, at_once } => {
            let name = Audience::parse(name).map_err(|error| CliError::Refused(error.to_string()))?;
            if config.audiences.iter().any(|configured| configured.name == name) {
                let reason =
                    format!("the configuration says what tokens for {name} are signed with; change it there");
                return Err(CliError::Refused(reason));
            }
            let audience = StoredAudience { name, alg: *alg, at_once: *at_once };
            administration::set_audience(&store, &audience, Clock::system().wall(), &Origin::command_line())?;
            store.be_met()?;
            let (now, all) = read()?;
            let status = all.into_iter().find(|one| one.wish.name == audience.name);
            let status = status.map_or_else(|| in_default(&audience.name), |one| render(&one, now));
            show_set(&status, as_json)
        }
    }
}

/// Shows audiences.
///
/// # Errors
/// When they cannot be written.
pub fn list(audiences: &[AudienceJson], as_json: bool) -> Result {
    if as_json {
        return output::json(&audiences.iter().map(to_json).collect());
    }
    if audiences.is_empty() {
        output::line("tokens for every audience are signed with EdDSA");
        return Ok(());
    }
    let rows: Vec<_> = audiences.iter().map(row).collect();
    table::print(&["AUDIENCE", "ALG", "SIGNED WITH NOW", "AS WANTED FROM"], &rows);
    Ok(())
}

/// Shows what setting an audience has come to.
///
/// # Errors
/// When it cannot be written.
pub fn show_set(audience: &AudienceJson, as_json: bool) -> Result {
    if as_json {
        return output::json(&to_json(audience));
    }
    output::line(&outcome(audience));
    Ok(())
}

/// What setting an audience has come to, in words.
fn outcome(audience: &AudienceJson) -> String {
    let (name, alg) = (&audience.audience, &audience.alg);
    match (audience.in_seconds, &audience.at) {
        (Some(0), _) => format!("tokens for {name} are signed with {alg} from now on"),
        (Some(wait), at) => format!(
            "tokens for {name} will be signed with {alg} in {} ({}), and with EdDSA until then: verifiers may still \
             cache a key set without the new keys\n\
             if no service checks tokens for {name} yet, nobody has to be waited for:\n\
             \x20 m2mint audiences set {name} --alg {alg} --at-once",
            in_words(Some(wait.saturating_mul(1000))),
            at.as_deref().unwrap_or_default(),
        ),
        (None, _) => format!("no server is running: keys for {alg} will be made when it starts"),
    }
}

fn row(audience: &AudienceJson) -> Vec<String> {
    let from = match audience.in_seconds {
        Some(0) => "now".into(),
        Some(_) => audience.at.clone().unwrap_or_default(),
        None => "the next start".into(),
    };
    vec![audience.audience.clone(), audience.alg.clone(), audience.signed_with.clone(), from]
}

fn to_json(audience: &AudienceJson) -> Value {
    json!({
        "audience": audience.audience,
        "alg": audience.alg,
        "signed_with": audience.signed_with,
        "in_seconds": audience.in_seconds,
        "at": audience.at,
        "configured": audience.configured,
    })
}
