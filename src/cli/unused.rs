//! `m2mint clients unused`

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::administration::unused::{self, Report, What};
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::table;
use crate::model::declaration::write;
use crate::model::{Audience, ScopePattern, Span};
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
    let span = Span::parse(&arguments.span).map_err(|error| CliError::Usage(format!("--for: {error}")))?;
    let report = unused::report(store, span, now)?;
    if let Some(path) = &arguments.trim {
        trim(path, &report, span)?;
    }
    if as_json {
        return output::json(&to_json(&report));
    }
    let when = |last: &Option<UnixTime>| last.map_or_else(|| "never".to_owned(), date);
    let rows: Vec<_> = report
        .unused
        .iter()
        .flat_map(|unused| {
            let row = |(what, last): &(What, Option<UnixTime>)| {
                vec![unused.client.id.to_string(), in_words(what), when(last)]
            };
            unused.what.iter().map(row)
        })
        .collect();
    if rows.is_empty() {
        output::line(&format!("nothing that can be judged was unused for {span}"));
    } else {
        table::print(&["CLIENT ID", "NOT USED", "LAST USED"], &rows);
    }
    match report.since {
        Some(since) if since <= report.cutoff => {}
        Some(since) => output::line(&format!(
            "the uses of grants are written down since {}: for {span} nothing is known of them yet",
            date(since)
        )),
        None => output::line("no use of a grant is written down yet: nothing is known of them"),
    }
    if report.changed_since > 0 {
        output::line(&format!(
            "{} clients were changed since {}: what they were granted then is not judged yet",
            report.changed_since,
            date(report.cutoff)
        ));
    }
    if let Some(path) = &arguments.trim {
        output::line(&format!("what was used is in {0}: m2mint apply {0} --dry-run", path.display()));
    }
    Ok(())
}

fn trim(path: &Path, report: &Report, span: Span) -> Result {
    let mut text = format!(
        "# What clients used in the {span} before {}, where that is less than they are granted.\n\
         # Not all clients stand here: never apply it with --prune.\n",
        date(UnixTime::from_millis(report.cutoff.millis().saturating_add(m2mint_keys::time::millis(span.0)))),
    );
    for unused in &report.unused {
        if unused.narrower != unused.client.settings {
            text.push('\n');
            text.push_str(&write::client(&unused.client.id, &unused.narrower, &[]));
        }
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", path.display())))
}

fn in_words(what: &What) -> String {
    let at = |audience: &Option<Audience>| {
        audience.as_ref().map(|audience| format!(" at {audience}")).unwrap_or_default()
    };
    match what {
        What::Client => "the client".into(),
        What::Secret(id) => format!("secret {id}"),
        What::Audience(audience) => format!("audience {audience}"),
        What::Scope(scope, audience) => format!("{scope}{}", at(audience)),
        What::Wildcard(scope, audience, used) => {
            let used: Vec<_> = used.iter().map(ScopePattern::as_str).collect();
            format!("{scope}{} but {}", at(audience), used.join(" "))
        }
    }
}

fn to_json(report: &Report) -> Value {
    let rows = report.unused.iter().flat_map(|unused| {
        unused.what.iter().map(|(what, last)| {
            let (kind, secret, audience, scope, used) = match what {
                What::Client => ("client", None, None, None, None),
                What::Secret(id) => ("secret", Some(*id), None, None, None),
                What::Audience(audience) => ("audience", None, Some(audience), None, None),
                What::Scope(scope, audience) => ("scope", None, audience.as_ref(), Some(scope), None),
                What::Wildcard(scope, audience, used) => {
                    let used: Vec<_> = used.iter().map(ScopePattern::as_str).collect();
                    ("wildcard", None, audience.as_ref(), Some(scope), Some(used))
                }
            };
            json!({
                "clientId": unused.client.id.as_str(),
                "kind": kind,
                "secret": secret,
                "audience": audience.map(Audience::as_str),
                "scope": scope.map(ScopePattern::as_str),
                "used": used,
                "lastUsedAt": last.map(date),
            })
        })
    });
    json!({
        "unused": rows.collect::<Vec<_>>(),
        "usedBefore": date(report.cutoff),
        "grantUsesSince": report.since.map(date),
        "changedSince": report.changed_since,
    })
}
