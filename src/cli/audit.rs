//! `m2mint audit [list]|verify|head`

use std::path::Path;

use clap::{Args, Subcommand};
use m2mint_keys::jwk::Kid;
use m2mint_keys::time::UnixTime;
use serde_json::{Map, Value, json};

use crate::audit::verify::{self, Evidence, Report};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::config::Config;
use crate::master_key;
use crate::model::Span;
use crate::model::audit::{date, hex};
use crate::store::audit::StoredEntry;
use crate::store::{Store, audit, keys};
use crate::witness::Witness;

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show entries, the newest last
    #[command(after_help = "Example: m2mint audit list --since 2d --client task-service")]
    List(Filter),
    /// Check that no entry was changed, cut out or moved
    #[command(after_help = "Example: m2mint audit verify --head kept-elsewhere.txt")]
    Verify {
        /// A head that was kept elsewhere, or a file that holds it: the log must still contain it
        #[arg(long, value_name = "TEXT|FILE")]
        head: Option<String>,
    },
    /// Print the newest signed head, to be kept elsewhere
    #[command(after_help = "Example: m2mint audit head")]
    Head,
}

/// Which entries to show.
#[derive(Debug, Args, Default)]
pub struct Filter {
    /// Not before: a date, a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before that
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// About this client, or by it
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub client: Option<String>,
    /// An action, or the beginning of one: client, key.rotate
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// Runs the verb.
///
/// # Errors
/// When the file cannot be used, or the log is broken.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Store::open(&config.database, None)?;
    match action {
        Action::List(filter) => list(&store, filter, as_json),
        Action::Verify { head } => verify(&config, &store, head.as_deref(), as_json),
        Action::Head => {
            let head = store.read(audit::newest_head)?;
            let head =
                head.ok_or_else(|| CliError::Failed("nothing is signed yet: start a server once".into()))?;
            if as_json {
                return output::json(&json!({"seq": head.seq, "head": head.jws}));
            }
            output::line(&head.jws);
            Ok(())
        }
    }
}

fn list(store: &Store, filter: &Filter, as_json: bool) -> Result {
    let now = Clock::system().wall();
    let time = |text: &Option<String>| text.as_deref().map(|text| point_in_time(text, now)).transpose();
    let (since, until) = (time(&filter.since)?, time(&filter.until)?);
    let mut found: Vec<(StoredEntry, Map<String, Value>)> = Vec::new();
    store.read(|db| {
        audit::for_each_backwards(db, |entry| {
            // What somebody has made unreadable is shown as it is: `verify` tells.
            let fields: Map<String, Value> = serde_json::from_str(&entry.line).unwrap_or_default();
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let is_client = |id: &String| text("subject") == id || text("actor") == format!("client {id}");
            let fits = since.as_ref().is_none_or(|since| text("at") >= since.as_str())
                && until.as_ref().is_none_or(|until| text("at") < until.as_str())
                && filter.client.as_ref().is_none_or(is_client)
                && filter.action.as_ref().is_none_or(|action| text("action").starts_with(action.as_str()));
            if fits && found.len() < filter.limit {
                found.push((entry, fields));
            }
            found.len() < filter.limit
        })
    })?;
    found.reverse();
    let whole = |(entry, mut fields): (StoredEntry, Map<String, Value>)| {
        fields.insert("hash".into(), hex(&entry.hash).into());
        (entry.seq, fields)
    };
    show(found.into_iter().map(whole).collect(), as_json)
}

/// Shows entries with their numbers, oldest first.
///
/// # Errors
/// When they cannot be written.
pub fn show(entries: Vec<(i64, Map<String, Value>)>, as_json: bool) -> Result {
    if as_json {
        return output::json(&entries.into_iter().map(|(_, fields)| Value::Object(fields)).collect());
    }
    let rows: Vec<_> = entries.iter().map(|(seq, fields)| row(*seq, fields)).collect();
    table::print(&["SEQ", "TIME", "ACTION", "SUBJECT", "BY", "FROM", "WHAT"], &rows);
    Ok(())
}

fn row(seq: i64, fields: &Map<String, Value>) -> Vec<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let changed = fields.get("changed").and_then(Value::as_object);
    let one = |(name, value): (&String, &Value)| match (value.get("from"), value.get("to")) {
        (Some(from), Some(to)) => format!("{name}: {from} -> {to}"),
        _ => format!("{name}: {value}"),
    };
    let mut what: Vec<String> = changed.into_iter().flatten().map(one).collect();
    what.extend(fields.get("reason").and_then(Value::as_str).map(str::to_owned));
    vec![
        seq.to_string(),
        text("at"),
        text("action"),
        text("subject"),
        text("actor"),
        text("address"),
        what.join("; "),
    ]
}

/// A date, a time, or how long ago: as the text that stands in entries, which compares as times do.
///
/// # Errors
/// When it is none.
pub fn point_in_time(text: &str, now: UnixTime) -> Result<String> {
    if let Ok(ago) = Span::parse(text) {
        let ago = m2mint_keys::time::millis(ago.0);
        return Ok(date(UnixTime::from_millis(now.millis().saturating_sub(ago))));
    }
    let whole = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339_weak(&whole).ok();
    let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map(|since| date(UnixTime::from_millis(m2mint_keys::time::millis(since)))).ok_or_else(|| {
        CliError::Usage(format!(
            "{text} is no time: write a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or 2d for two days ago"
        ))
    })
}

/// Whether the log is whole, and the file the latest that is known: how far the log reaches, or what is wrong.
///
/// # Errors
/// When the file cannot be read.
pub fn examine(config: &Config, store: &Store) -> Result<std::result::Result<i64, String>> {
    let Some(issuer) = store.read(keys::issuer)? else { return Ok(Ok(0)) };
    let witness = Witness::of(&config.master_key, &config.database);
    if let Err(restored) = store.read(|db| Ok(witness.check(db, issuer.created)))? {
        return Ok(Err(restored.to_string()));
    }
    let proven = proven_keys(config, store)?;
    let evidence = Evidence { proven: proven.as_deref().ok(), head: None };
    let verified = store.read(|db| verify::verify(db, &evidence))?;
    Ok(verified.map(|report| report.last).map_err(|broken| broken.to_string()))
}

fn verify(config: &Config, store: &Store, head: Option<&str>, as_json: bool) -> Result {
    let head = head.map(text_or_file).transpose()?;
    let proven = proven_keys(config, store)?;
    if let Some(issuer) = store.read(keys::issuer)? {
        let witness = Witness::of(&config.master_key, &config.database);
        if let Err(restored) = store.read(|db| Ok(witness.check(db, issuer.created)))? {
            if as_json {
                output::json(&json!({"ok": false, "seq": null, "reason": restored.to_string()}))?;
            }
            return Err(CliError::Refused(restored.to_string()));
        }
    }
    let evidence = Evidence { proven: proven.as_deref().ok(), head: head.as_deref() };
    match store.read(|db| verify::verify(db, &evidence))? {
        Ok(report) if as_json => output::json(&to_json(&report, proven.is_ok())),
        Ok(report) => {
            print(&report);
            if let Err(reason) = proven {
                output::line(&format!(
                    "note: {reason}. So whether the key of the newest head is the issuer's own was not checked: \
                     compare it with the keys that are, or were, published"
                ));
            }
            Ok(())
        }
        Err(broken) => {
            if as_json {
                output::json(&json!({"ok": false, "seq": broken.seq, "reason": broken.reason}))?;
            }
            Err(CliError::Refused(broken.to_string()))
        }
    }
}

/// The keys whose private halves the master key opens; why that cannot be told where it is not at hand.
fn proven_keys(config: &Config, store: &Store) -> Result<std::result::Result<Vec<Kid>, String>> {
    let master = match master_key::read(&config.master_key, &config.database, true) {
        Ok(master) => master,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let sealed = store.read(keys::all_sealed)?;
    let proven = sealed.into_iter().filter(|(kid, sealed)| master.open(kid, sealed).is_ok());
    let proven: Vec<_> = proven.map(|(kid, _)| kid).collect();
    Ok(if proven.is_empty() { Err("the master key opens none of the keys".into()) } else { Ok(proven) })
}

/// A head, or what a file holds.
///
/// # Errors
/// When it is neither.
pub fn text_or_file(given: &str) -> Result<String> {
    let is_head = given.split('.').count() == 3 && !given.contains('/');
    if is_head && !Path::new(given).is_file() {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(given);
    let text =
        text.map_err(|error| CliError::Usage(format!("--head: {given:?} is no head, and no file: {error}")))?;
    if text.trim().is_empty() { Err(CliError::Usage(format!("--head: {given} is empty"))) } else { Ok(text) }
}

fn print(report: &Report) {
    let (first, last) = (report.first, report.last);
    output::line(&format!("entries  {first} to {last}, each follows from the one before it"));
    output::line(&format!("hash     {}", hex(&report.hash)));
    match &report.newest {
        Some((head, kid)) => {
            output::line(&format!(
                "signed   {} times, last at {} up to entry {}, with {kid}",
                report.heads,
                date(head.at),
                head.seq
            ));
        }
        None => output::line("signed   never: no server was started on this file yet"),
    }
}

fn to_json(report: &Report, proven: bool) -> Value {
    json!({
        "ok": true,
        "first": report.first,
        "last": report.last,
        "hash": hex(&report.hash),
        "heads": report.heads,
        "newest_head": report.newest.as_ref().map(|(head, kid)| json!({
            "seq": head.seq,
            "at": date(head.at),
            "kid": kid.as_str(),
            "key_proven": proven,
        })),
    })
}
