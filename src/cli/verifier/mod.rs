//! `m2mint verifier NAME|list|pack`

mod pack;
mod recipes;
mod show;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, keys};
use crate::clock::Clock;

/// Sends the tokens of a pack, and is their issuer meanwhile.
const RUNNER: &str = include_str!("run.py");

/// What to do for services that check tokens.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Verifier {
    #[command(flatten)]
    recipe: show::Recipe,
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do beside showing a recipe.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the libraries for which there are tried settings
    #[command(after_help = "Example: m2mint verifier list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a pack of bad tokens, each wrong in one way, and a program that tries them on a service
    #[command(
        after_help = "The tokens are those of an issuer of the pack's own, with a key that exists nowhere else: point a copy of the \
                      service at it, and no real service will ever take one of them.\n\n\
                      Example: m2mint verifier pack --audience event --scope event.create --out pack"
    )]
    Pack(Pack),
}

/// What `pack` is told.
#[derive(Debug, Args)]
struct Pack {
    /// The audience that the service under test expects
    #[arg(long, value_name = "NAME")]
    audience: String,
    /// The scope that the tried action takes
    #[arg(long)]
    scope: Option<String>,
    /// What the tokens are signed with: EdDSA or ES256
    #[arg(long, value_parser = keys::algorithm, default_value = "EdDSA")]
    alg: Algorithm,
    /// Port on which the pack's issuer will listen while the tokens are tried
    #[arg(long, default_value_t = 4567)]
    port: u16,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When something is asked for that is not to be had, or the folder of a pack cannot be made.
pub fn run(settings: &Settings, verifier: &Verifier) -> Result {
    match &verifier.action {
        None => show::run(settings, &verifier.recipe),
        Some(Action::List { json }) => show::list(*json),
        Some(Action::Pack(pack)) => write_pack(pack),
    }
}

fn write_pack(Pack { audience, scope, alg, port, out, json }: &Pack) -> Result {
    if out.exists() {
        return Err(CliError::Refused(format!(
            "{} exists already; name a folder that does not",
            out.display()
        )));
    }
    let now = UnixTime::from_secs(Clock::system().wall().secs());
    let subject = pack::Subject {
        issuer: format!("http://127.0.0.1:{port}"),
        audience: audience.clone(),
        scope: scope.clone(),
        algorithm: *alg,
        now,
    };
    let pack = pack::make(&subject).map_err(|error| CliError::Failed(error.to_string()))?;
    fs::create_dir(out)?;
    write(&out.join("pack.json"), 0o600, &serde_json::to_string_pretty(&pack)?)?;
    write(&out.join("run"), 0o755, RUNNER)?;
    if *json {
        let issuer = &subject.issuer;
        return output::json(&json!({
            "folder": out,
            "issuer": issuer,
            "jwks": format!("{issuer}/jwks.json"),
            "bad_tokens": pack.tokens.len() - 1,
        }));
    }
    output::line(&format!(
        "{out} holds {count} bad tokens and a good one. Point a copy of the service at the issuer of the pack:\n\
         \n  issuer  {issuer}\n  JWKS    {issuer}/jwks.json\n\
         \nand try them on it, within a day; the issuer answers as long as this runs:\n\
         \n  {out}/run http://127.0.0.1:8080/events --method POST",
        out = out.display(),
        count = pack.tokens.len() - 1,
        issuer = subject.issuer,
    ));
    Ok(())
}

fn write(path: &Path, mode: u32, text: &str) -> Result {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
