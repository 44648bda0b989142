//! `m2mint clients unused`

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::administration::unused;
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::table;
use crate::http::v1::types::{Unused as UnusedJson, UnusedPage};
use crate::http::v1::unused::render;
use crate::model::declaration::write;
use crate::model::{ClientId, Settings, Span};
use crate::store::Store;

/// What the verb says of itself.
pub const HELP: &str = "\
A wildcard is told with what was used of it. Clients, secrets and grants that are younger than that are not told.
The file of --trim grants what was used, and turns off clients that got no token; show what it does with
`m2mint apply FILE --dry-run`.

Example: m2mint clients unused --for 30d --trim narrower.toml";

/// What to look for.
#[derive(Debug, Args)]
pub struct Unused {
    /// For how long it was not used
    #[arg(long = "for", value_name = "DURATION", default_value = "30d")]
    span: String,
    /// Write what grants no more than was used to a file that does not exist yet, for `m2mint apply`
    #[arg(long, value_name = "FILE")]
    trim: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// When the database cannot be read, or the file not be written.
pub fn run(store: &Store, arguments: &Unused, now: UnixTime, as_json: bool) -> Result {
    let report = unused::report(store, arguments.span()?, now)?;
    let narrower = report.unused.iter().filter(|unused| unused.narrower != unused.client.settings);
    let narrower: Vec<_> =
        narrower.map(|unused| (unused.client.id.clone(), unused.narrower.clone())).collect();
    arguments.show(&render(report), &narrower, now, as_json)
}

impl Unused {
    /// For how long something was not used that is told.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn span(&self) -> Result<Span> {
        Span::parse(&self.span).map_err(|error| CliError::Usage(format!("--for: {error}")))
    }

    /// Shows what was found, and writes `narrower`, what grants no more than was used, where that is asked for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(
        &self,
        found: &UnusedPage,
        narrower: &[(ClientId, Settings)],
        now: UnixTime,
        as_json: bool,
    ) -> Result {
        let span = self.span()?;
        if let Some(path) = &self.trim {
            trim(path, narrower, span, now)?;
        }
        if as_json {
            return output::json(&json!({
                "unused": found.unused,
                "usedBefore": found.used_before,
                "grantUsesSince": found.grant_uses_since,
                "changedSince": found.changed_since,
            }));
        }
        let rows: Vec<_> = found
            .unused
            .iter()
            .map(|unused| {
                let last = unused.last_used_at.clone().unwrap_or_else(|| "never".to_owned());
                vec![unused.client_id.clone(), in_words(unused), last]
            })
            .collect();
        if rows.is_empty() {
            output::line(&format!("nothing that can be judged was unused for {span}"));
        } else {
            table::print(&["CLIENT ID", "NOT USED", "LAST USED"], &rows);
        }
        match &found.grant_uses_since {
            // Dates of one form, of which the later one is the greater text.
            Some(since) if *since <= found.used_before => {}
            Some(since) => output::line(&format!(
                "the uses of grants are written down since {since}: for {span} nothing is known of them yet"
            )),
            None => output::line("no use of a grant is written down yet: nothing is known of them"),
        }
        if found.changed_since > 0 {
            output::line(&format!(
                "{} clients were changed since {}: what they were granted then is not judged yet",
                found.changed_since, found.used_before
            ));
        }
        if let Some(path) = &self.trim {
            output::line(&format!("what was used is in {0}: m2mint apply {0} --dry-run", path.display()));
        }
        Ok(())
    }
}

fn trim(path: &Path, narrower: &[(ClientId, Settings)], span: Span, now: UnixTime) -> Result {
    let mut text = format!(
        "# What clients used in the {span} before {}, where that is less than they are granted.\n\
         # Not all clients stand here: never apply it with --prune.\n",
        date(now),
    );
    for (id, settings) in narrower {
        text.push('\n');
        text.push_str(&write::client(id, settings, &[]));
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", path.display())))
}

fn in_words(unused: &UnusedJson) -> String {
    let at = unused.audience.as_ref().map(|audience| format!(" at {audience}")).unwrap_or_default();
    let scope = unused.scope.as_deref().unwrap_or_default();
    match (&*unused.kind, unused.secret, &unused.used) {
        ("client", ..) => "the client".into(),
        ("secret", Some(id), _) => format!("secret {id}"),
        ("audience", ..) => format!("audience {}", unused.audience.as_deref().unwrap_or_default()),
        ("wildcard", _, Some(used)) => format!("{scope}{at} but {}", used.join(" ")),
        _ => format!("{scope}{at}"),
    }
}
