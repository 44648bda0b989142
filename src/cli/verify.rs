//! `m2mint verify`: what a token says, and what would be answered to it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::verify::MAX_TOKEN_BYTES;
use serde_json::json;

use crate::cli::output::{self, CliError, Result};
use crate::cli::terminal::{self, GREEN, RED};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::explanation::Evidence;
use crate::store::Store;

/// What is looked at, and how.
#[derive(Debug, Args)]
pub struct Verify {
    /// The token, or - to read it from standard input, where no other user sees it
    token: String,
    /// The service that would check it
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The scopes that the action would take
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Check with the key set in this file, or - for standard input, instead of the database
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// [`CliError::Refused`] when the token would be refused, with the reason.
pub fn run(settings: &Settings, verify: &Verify) -> Result {
    if verify.token == "-" && verify.jwks.as_deref() == Some(Path::new("-")) {
        return Err(CliError::Usage(
            "only one of the token and the key set can come from standard input".into(),
        ));
    }
    let config = config::load(settings)?;
    let given = if verify.token == "-" { read_input()? } else { verify.token.clone() };
    let token = given.trim();
    let store;
    let evidence = match verify.jwks.as_deref() {
        Some(path) => Evidence {
            set: read_keys(path)?,
            issuer: config.issuer.clone(),
            store: None,
            records: Vec::new(),
        },
        None => {
            store = Store::open(&config.database, None)?;
            Evidence::of(&store, config.issuer.clone())?
        }
    };
    let (audience, scope) = (verify.audience.as_deref(), verify.scope.as_deref());
    let explained = evidence.explain(token, audience, scope, Clock::system().wall())?;
    let outcome = explained.outcome.map_err(|reason| table::visible(&reason));
    let signature = table::visible(&explained.signature);
    if verify.json {
        output::json(&json!({
            "good": outcome.is_ok(),
            "reason": outcome.as_ref().err(),
            "signature": signature,
            "audience": verify.audience,
            "scope": verify.scope,
            "header": explained.header,
            "claims": explained.claims,
        }))?;
    } else {
        let rows = explained.told.into_iter().map(|claim| vec![claim.name, claim.value, claim.meaning]);
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            table::print(&["CLAIM", "VALUE", "WHAT IT MEANS"], &rows);
            output::line("");
        }
        output::line(&format!("signature  {signature}"));
        let answer = match &outcome {
            Ok(()) => terminal::paint_output(GREEN, &accepted(verify)),
            Err(reason) => terminal::paint_output(RED, &format!("refused: {reason}")),
        };
        output::line(&format!("answer     {answer}"));
        if verify.audience.is_none() && outcome.is_ok() {
            output::line("           add --audience, and --scope, to see what a service would answer");
        }
    }
    outcome.map_err(|reason| CliError::Refused(format!("the token is refused: {reason}")))
}

fn accepted(verify: &Verify) -> String {
    match (&verify.audience, &verify.scope) {
        (Some(audience), Some(scope)) => format!("accepted at {audience}, for {scope}"),
        (Some(audience), None) => format!("accepted at {audience}"),
        (None, Some(scope)) => format!("good, and allows {scope} at the audience that it names"),
        (None, None) => "good, at the audience that it names".into(),
    }
}

fn read_input() -> Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TOKEN_BYTES * 8).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// The key set in a file, or from standard input.
fn read_keys(path: &Path) -> Result<JwkSet> {
    let text = if path == Path::new("-") { read_input()? } else { std::fs::read_to_string(path)? };
    JwkSet::parse(text.as_bytes()).map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
}
