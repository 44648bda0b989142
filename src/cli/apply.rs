//! `m2mint apply`

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::administration::declared::{self, Kind, Rules, Step};
use crate::cli::beside::Beside;
use crate::cli::destination::{self, Prepared};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::clock::Clock;
use crate::http::client_json;
use crate::model::audit::Origin;
use crate::model::declaration::{self, Declared};
use crate::model::{ClientId, ClientSecret, Settings as ClientSettings, Span};

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
}

/// Runs the verb, and answers whether there was anything to change.
///
/// # Errors
/// When a file has mistakes, or a rule refuses something in it: then nothing is changed.
pub fn run(settings: &Settings, apply: &Apply) -> Result<bool> {
    let config = config::load(settings)?;
    let declared = read(&apply.path)?;
    let store = Beside::open(&config.database)?;
    let (now, origin) = (Clock::system().wall(), Origin::command_line());
    let rules = Rules { prune: apply.prune, longest: Span(config.max_lifetime), now };
    let steps = declared::try_out(&store, &declared, rules, &origin)?;
    if !apply.json {
        print(&steps);
    }
    let mut written = BTreeMap::new();
    let is_done = !apply.dry_run && !steps.is_empty();
    if is_done {
        let (secrets, places) = prepare(&steps, apply.secrets_dir.as_deref())?;
        let removed = steps.iter().filter(|step| step.kind() == Kind::Remove).count();
        if removed > 0 {
            output::confirm(&format!("Remove {removed} of them? This cannot be undone."), apply.yes)?;
        }
        declared::apply(&store, &declared, &steps, &secrets, rules, &origin)?;
        for (id, place) in places {
            let path = place.path().to_owned();
            place.keep()?;
            written.insert(id, path);
        }
        store.settle();
    }
    if apply.json {
        output::json(&to_json(&steps, is_done, &written))?;
    } else {
        for (id, path) in &written {
            output::line(&format!("secret of {id}: {}", path.display()));
        }
        output::line(match (steps.is_empty(), is_done) {
            (true, _) => "nothing to change",
            (false, true) => "done",
            (false, false) => "nothing was changed: this was a dry run",
        });
    }
    Ok(!steps.is_empty())
}

/// What a file, or all files of a folder, declare.
fn read(path: &Path) -> Result<Declared> {
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
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        files.push((path.display().to_string(), text));
    }
    let declared = declaration::read(&files).map_err(|problems| CliError::Failed(problems.join("\n")))?;
    for (id, client) in &declared.clients {
        kept(&client.settings)
            .map_err(|reason| CliError::Failed(format!("clients.{id}.supertokens: {reason}")))?;
    }
    Ok(declared)
}

/// Whether the fields that are kept for SuperTokens are such fields, by the code that takes them over HTTP.
fn kept(settings: &ClientSettings) -> std::result::Result<(), String> {
    let fields = client_json::Fields::parse(settings.extra.clone()).map_err(|error| error.to_string())?;
    let read = fields.change(ClientSettings::default()).map_err(|error| error.to_string())?;
    let only = ClientSettings {
        extra: settings.extra.clone(),
        token_lifetime: read.token_lifetime,
        ..ClientSettings::default()
    };
    if read == only { Ok(()) } else { Err("what has a key of its own is not said there".into()) }
}

type Places = Vec<(ClientId, Prepared)>;

/// Makes a secret for each new client of which no hash is declared, and a file that holds it.
fn prepare(steps: &[Step], folder: Option<&Path>) -> Result<(BTreeMap<ClientId, ClientSecret>, Places)> {
    let (mut secrets, mut places) = (BTreeMap::new(), Vec::new());
    let need = steps.iter().filter_map(|step| match step {
        Step::AddClient(id, declared) if declared.secrets.is_empty() => Some(id),
        _ => None,
    });
    for id in need {
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

fn print(steps: &[Step]) {
    for step in steps {
        let (kind, name) = step.subject();
        let sign = sign(step.kind());
        output::line(&format!("{sign} {kind} {name}"));
        for (field, before, after) in step.differences() {
            output::line(&match (before, after) {
                (None, Some(after)) => format!("    {field} = {after}"),
                (Some(before), None) => format!("    {field} = {before} -> none"),
                (before, after) => {
                    format!("    {field} = {} -> {}", before.unwrap_or_default(), after.unwrap_or_default())
                }
            });
        }
    }
    if !steps.is_empty() {
        let count = |kind| steps.iter().filter(|step| step.kind() == kind).count();
        let (add, change, remove) = (count(Kind::Add), count(Kind::Change), count(Kind::Remove));
        output::line(&format!("{add} to add, {change} to change, {remove} to remove"));
    }
}

const fn sign(kind: Kind) -> &'static str {
    match kind {
        Kind::Add => "+",
        Kind::Change => "~",
        Kind::Remove => "-",
    }
}

fn to_json(steps: &[Step], is_done: bool, written: &BTreeMap<ClientId, PathBuf>) -> Value {
    let change = |step: &Step| {
        let (kind, name) = step.subject();
        let action = match step.kind() {
            Kind::Add => "add",
            Kind::Change => "change",
            Kind::Remove => "remove",
        };
        let fields: Vec<_> = step
            .differences()
            .into_iter()
            .map(|(field, from, to)| json!({"field": field, "from": from, "to": to}))
            .collect();
        json!({"action": action, "kind": kind, "name": name, "fields": fields})
    };
    let written = written.iter().map(|(id, path)| (id.to_string(), json!(path)));
    json!({
        "changes": steps.iter().map(change).collect::<Vec<_>>(),
        "applied": is_done,
        "secretsWrittenTo": Value::Object(written.collect()),
    })
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
