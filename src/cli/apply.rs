//! `m2mint apply`

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use m2mint_keys::crypto::sha256;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::administration::declared::{self, Rules, Step};
use crate::cli::beside::Beside;
use crate::cli::destination::{self, Prepared};
use crate::cli::output::{self, CliError, Result};
use crate::cli::remote::{self, Remote, Server};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::http::v1::declaration::{parse, render};
use crate::http::v1::types::{Change, Declaration, DeclarationFile, FieldChange};
use crate::model::audit::{Origin, hex};
use crate::model::declaration::Declared;
use crate::model::{ClientId, ClientSecret, Span};

/// The exit code that says that something changed, where it is asked for.
pub const CHANGED: u8 = 4;

/// What the verb says of itself.
pub const HELP: &str = "\
[services.event]
description = \"Calendar Service\"
actions = [\"event.view\", \"event.create\"]
[clients.task-service]
name = \"Task Service\"
lifetime = \"15m\"
grants.event = [\"event.create\"]

Exit codes with --detailed-exitcode: 0 nothing to change, 4 changed, or to be changed
Example: m2mint apply clients.toml --secrets-dir secrets";

/// What to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// A file, or a folder with files *.toml that count as one
    path: PathBuf,
    /// Show what would be done, after seeing that it could be, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove services and clients that are not declared
    #[arg(long)]
    prune: bool,
    /// Folder for the secrets of new clients: a file for each, mode 0600
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Do not ask before anything is removed
    #[arg(long)]
    yes: bool,
    /// Say by the exit code whether anything changed
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Where services and clients are made what is declared, and the plan that was seen there.
enum Place<'a> {
    Here { store: Box<Beside>, steps: Vec<Step>, rules: Rules },
    There { server: &'a Server, etag: String },
}

/// Runs the verb, and answers whether there was anything to change.
///
/// # Errors
/// When a file has mistakes, or a rule refuses something in it: then nothing is changed.
pub fn run(settings: &Settings, apply: &Apply) -> Result<bool> {
    let server = apply.remote.server()?;
    let files = read(&apply.path)?;
    let declared = parse(&files).map_err(|problems| CliError::Failed(problems.join("\n")))?;
    let origin = Origin::command_line();
    let files = files.into_iter().map(|(name, text)| DeclarationFile { name, text }).collect();
    let mut declaration = Declaration { files, prune: apply.prune, secret_sha256: BTreeMap::new() };
    let (changes, place) = if let Some(server) = &server {
        let (changes, etag) = remote::plan(server, &declaration)?;
        (changes, Place::There { server, etag })
    } else {
        let config = config::load(settings)?;
        let store = Box::new(Beside::open(&config.database)?);
        let now = Clock::system().wall();
        let rules = Rules { prune: apply.prune, longest: Span(config.max_lifetime), now };
        let steps = declared::try_out(&store, &declared, rules, &origin)?;
        (render(&steps), Place::Here { store, steps, rules })
    };
    if !apply.json {
        print(&changes);
    }
    let mut written = BTreeMap::new();
    let is_done = !apply.dry_run && !changes.is_empty();
    if is_done {
        let (secrets, places) = prepare(&changes, &declared, apply.secrets_dir.as_deref())?;
        let removed = changes.iter().filter(|change| change.action == "remove").count();
        if removed > 0 {
            output::confirm(&format!("Remove {removed} of them? This cannot be undone."), apply.yes)?;
        }
        match &place {
            Place::Here { store, steps, rules } => {
                declared::apply(store, &declared, steps, &secrets, *rules, &origin)?;
            }
            Place::There { server, etag } => {
                // What a secret is stays here.
                for (id, secret) in &secrets {
                    declaration
                        .secret_sha256
                        .insert(id.to_string(), hex(&sha256(secret.expose().as_bytes())));
                }
                remote::apply(server, &declaration, etag)?;
            }
        }
        for (id, place) in places {
            let path = place.path().to_owned();
            place.keep()?;
            written.insert(id, path);
        }
        if let Place::Here { store, .. } = &place {
            store.settle();
        }
    }
    if apply.json {
        let written = written.iter().map(|(id, path)| (id.to_string(), json!(path)));
        output::json(&json!({
            "changes": changes,
            "applied": is_done,
            "secretsWrittenTo": Value::Object(written.collect()),
        }))?;
    } else {
        for (id, path) in &written {
            output::line(&format!("secret of {id}: {}", path.display()));
        }
        output::line(match (changes.is_empty(), is_done) {
            (true, _) => "nothing to change",
            (false, true) => "done",
            (false, false) => "nothing was changed: this was a dry run",
        });
    }
    Ok(!changes.is_empty())
}

/// The texts of a file, or of all files of a folder, each with its name.
fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        CliError::Failed(format!("{} cannot be read: {error}", path.display()))
    };
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.map_err(|error| failed(path, &error))?;
        paths = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        if paths.is_empty() {
            return Err(failed(path, &"there is no file *.toml in it"));
        }
    }
    let text = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(text).collect()
}

type Places = Vec<(ClientId, Prepared)>;

/// Makes a secret for each new client of which no hash is declared, and a file that holds it.
fn prepare(
    changes: &[Change],
    declared: &Declared,
    folder: Option<&Path>,
) -> Result<(BTreeMap<ClientId, ClientSecret>, Places)> {
    let (mut secrets, mut places) = (BTreeMap::new(), Vec::new());
    let new = changes.iter().filter(|change| (&*change.action, &*change.kind) == ("add", "client"));
    let new = new.filter_map(|change| declared.clients.get_key_value(change.name.as_str()));
    for (id, _) in new.filter(|(_, client)| client.secrets.is_empty()) {
        let folder = folder.ok_or_else(|| {
            CliError::Refused(format!(
                "the client {id} is new and needs a secret: name a folder for it with --secrets-dir, or declare the hash of one as secret_sha256"
            ))
        })?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
        places.push((id.clone(), destination::private_file(&folder.join(file_name(id)), secret.expose())?));
        secrets.insert(id.clone(), secret);
    }
    Ok((secrets, places))
}

/// The client id, as far as it can name a file.
#[must_use]
pub fn file_name(id: &ClientId) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@');
    let name = utf8_percent_encode(id.as_str(), PLAIN).to_string();
    // Neither hidden, nor the folder itself, nor the one above.
    name.strip_prefix('.').map_or(name.clone(), |rest| format!("%2E{rest}"))
}

fn print(changes: &[Change]) {
    for Change { action, kind, name, fields } in changes {
        let sign = match &**action {
            "add" => "+",
            "change" => "~",
            _ => "-",
        };
        output::line(&format!("{sign} {kind} {name}"));
        for FieldChange { field, from, to } in fields {
            output::line(&match (from, to) {
                (None, to) => format!("    {field} = {}", to.as_deref().unwrap_or_default()),
                (Some(from), to) => format!("    {field} = {from} -> {}", to.as_deref().unwrap_or("none")),
            });
        }
    }
    if !changes.is_empty() {
        let count = |action| changes.iter().filter(|change| change.action == action).count();
        let (add, change, remove) = (count("add"), count("change"), count("remove"));
        output::line(&format!("{add} to add, {change} to change, {remove} to remove"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_names_a_file_in_the_folder_and_nowhere_else() {
        for (id, name) in [
            ("task-service", "task-service"),
            ("..", "%2E."),
            (".ssh", "%2Essh"),
            ("../../etc/x", "%2E.%2F..%2Fetc%2Fx"),
            ("a%2Fb", "a%252Fb"),
        ] {
            assert_eq!(file_name(&ClientId::parse(id).unwrap()), name);
        }
    }
}
