//! `m2mint export`

use clap::Args;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::administration::each_client;
use crate::cli::output::{self, Result};
use crate::cli::remote::{self, Remote};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::model::SecretHash;
use crate::model::declaration::write;
use crate::store::clients::StoredSecret;
use crate::store::{Store, clients, services};

/// What to print.
#[derive(Debug, Args)]
pub struct Export {
    /// Print the hashes of secrets too, so that another server accepts them
    #[arg(long)]
    with_secret_hashes: bool,
    /// Print JSON: the file as a text in it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the verb.
///
/// # Errors
/// When the file cannot be read.
pub fn run(settings: &Settings, export: &Export) -> Result {
    let server = export.remote.server()?;
    if server.is_some() && export.with_secret_hashes {
        return Err(remote::here_only("export --with-secret-hashes"));
    }
    let mut whole = String::new();
    let mut say = |text: String| {
        if export.json {
            whole.push_str(&text);
            whole.push('\n');
        } else {
            output::line(&text);
        }
    };
    match &server {
        Some(server) => remote::export(server, say)?,
        None => from_file(settings, export, &mut say)?,
    }
    if export.json { output::json(&json!({"toml": whole})) } else { Ok(()) }
}

/// Hands each table of the file to `say`.
fn from_file(settings: &Settings, export: &Export, say: &mut dyn FnMut(String)) -> Result {
    let config = config::load(settings)?;
    let store = Store::open(&config.database, None)?;
    let now = Clock::system().wall();
    for service in store.read(services::all)?.values() {
        say(write::service(service));
    }
    each_client(&store, None, usize::MAX, &mut |client| {
        let mut secrets = Vec::new();
        if export.with_secret_hashes {
            let all = store.read(|db| clients::secrets(db, client.id.as_str()))?;
            let (hashes, left_out) = portable(all, now);
            if left_out > 0 {
                say(format!("# {left_out} more: chosen by somebody, or with an end"));
            }
            secrets = hashes;
        }
        say(write::client(&client.id, &client.settings, &secrets));
        Ok(false)
    })?;
    Ok(())
}

/// Hashes that mean the same elsewhere, and how many secrets have none: a chosen one needs its slow hash, and the end of
/// another would be lost.
fn portable(secrets: Vec<StoredSecret>, now: UnixTime) -> (Vec<[u8; 32]>, usize) {
    let (mut hashes, mut left_out) = (Vec::new(), 0);
    for secret in secrets {
        match secret.hash {
            SecretHash::Sha256(digest) if secret.expires_at.is_none() => hashes.push(digest),
            _ if secret.expires_at.is_some_and(|end| end <= now) => {}
            _ => left_out += 1,
        }
    }
    (hashes, left_out)
}
