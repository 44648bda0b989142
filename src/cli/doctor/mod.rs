//! `m2mint doctor`: what is wrong, or soon will be, each with the command that mends it.
//!
//! | module | holds |
//! |---|---|
//! | `files` | who may read and write what, and how much room there is |
//! | `contents` | what the database holds: keys, clock, audit log, secrets |
//! | `reach` | the server, the issuer under its public URL, certificates |
//! | `surroundings` | the configuration, the system's clock, systemd |

mod contents;
mod files;
mod reach;
mod surroundings;

use std::fmt;
use std::time::Duration;

use clap::Args;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::cli::output::{self, CliError, Result};
use crate::cli::terminal::{self, GREEN, RED, YELLOW};
use crate::cli::web::{Trust, Web};
use crate::cli::{Settings, beside, table};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded};
use crate::store::schema::{self, SCHEMA};
use crate::store::{Store, StoreError};

/// How long to wait for somebody who writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to look at.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    trust: Trust,
    /// Ask nothing over the network
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that is looked at. A further check is a further line here.
struct Check {
    name: &'static str,
    look: fn(&Patient) -> Found,
}

/// What a check finds; or why it could not look, which is a failure too.
type Found = std::result::Result<Vec<Finding>, String>;

const CHECKS: [Check; 16] = [
    Check { name: "configuration", look: surroundings::configuration },
    Check { name: "exposure", look: surroundings::exposure },
    Check { name: "database", look: contents::database },
    Check { name: "master key", look: contents::master_key },
    Check { name: "permissions", look: files::permissions },
    Check { name: "disk space", look: files::space },
    Check { name: "write-ahead log", look: files::log },
    Check { name: "systemd", look: surroundings::credentials },
    Check { name: "clock", look: contents::clock },
    Check { name: "server", look: reach::server },
    Check { name: "issuer", look: reach::issuer },
    Check { name: "certificate", look: reach::certificates },
    Check { name: "rotation", look: contents::rotation },
    Check { name: "verifiers", look: contents::verifiers },
    Check { name: "audit log", look: contents::audit_log },
    Check { name: "expiry", look: contents::expiry },
];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// As it should be.
    Good,
    /// It could not be looked at from here, which says nothing.
    Skipped,
    /// It works, and needs a look.
    Warning,
    /// It does not work, or is not safe.
    Failure,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }

    fn painted(self) -> String {
        let name = format!("{:<8}", self.name());
        match self {
            Self::Good => terminal::paint_output(GREEN, &name),
            Self::Skipped => name,
            Self::Warning => terminal::paint_output(YELLOW, &name),
            Self::Failure => terminal::paint_output(RED, &name),
        }
    }
}

/// What was found.
#[derive(Debug)]
struct Finding {
    level: Level,
    what: String,
    /// The command that mends it, or what to do where there is none.
    fix: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { level: Level::Good, what: what.into(), fix: None }
    }

    fn skipped(what: impl Into<String>) -> Self {
        Self { level: Level::Skipped, what: what.into(), fix: None }
    }

    fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), fix: Some(fix.into()) }
    }

    fn failure(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Failure, what: what.into(), fix: Some(fix.into()) }
    }
}

/// What is examined.
struct Patient {
    loaded: Loaded,
    store: std::result::Result<Store, Unopened>,
    is_served: bool,
    /// `None` when nothing is to be asked over the network.
    web: Option<Web>,
    now: UnixTime,
}

/// Why the database is not looked into.
#[derive(Debug, Clone)]
struct Unopened {
    reason: String,
    fix: String,
    level: Level,
}

impl Patient {
    fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// The database; a finding where there is none to look into.
    fn store(&self) -> std::result::Result<&Store, Vec<Finding>> {
        self.store.as_ref().map_err(|_| vec![Finding::skipped("the database was not opened")])
    }
}

/// What cannot be read is a failure of its own.
fn unreadable(error: &StoreError) -> String {
    format!("the database cannot be read: {error}")
}

/// Opens the database as it is: what this program would change in it first, it leaves to the server.
fn open(config: &Config) -> (bool, std::result::Result<Store, Unopened>) {
    let path = &config.database;
    let failed = |error: &dyn fmt::Display, fix: &str| Unopened {
        reason: error.to_string(),
        fix: fix.to_owned(),
        level: Level::Failure,
    };
    // Looked at before the file is opened: closing any descriptor of it would drop SQLite's locks.
    let is_served = match beside::is_served(path) {
        Ok(is_served) => is_served,
        Err(error) => return (false, Err(failed(&error, "m2mint serve"))),
    };
    let version = schema::open_reader(path, PATIENCE)
        .ok()
        .and_then(|db| db.query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0)).ok());
    let store = match version {
        Some(version) if version < SCHEMA => Err(Unopened {
            reason: format!(
                "{} is of an older m2mint (schema {version}; this one writes {SCHEMA}): it is brought up to date by the next start",
                path.display()
            ),
            fix: "systemctl restart m2mint".into(),
            level: Level::Warning,
        }),
        // Opening it says best what is wrong with one that cannot be read.
        _ => Store::open(path, None).map_err(|error| failed(&error, "restore a backup")),
    };
    (is_served, store)
}

/// Runs the verb.
///
/// # Errors
/// [`CliError::Failed`] when something does not work, [`CliError::Refused`] when something needs a look.
pub fn run(settings: &Settings, doctor: &Doctor) -> Result {
    let (loaded, problems) = config::read(&settings.sources());
    let mut all: Vec<(&str, Finding)> = Vec::new();
    for problem in &problems.0 {
        all.push(("configuration", Finding::failure(problem.to_string(), "m2mint config check")));
    }
    if let Some(loaded) = loaded.filter(|_| problems.0.is_empty()) {
        let (is_served, store) = open(&loaded.config);
        let web = if doctor.offline { None } else { Some(doctor.trust.web()?) };
        let patient = Patient { loaded, store, is_served, web, now: Clock::system().wall() };
        for check in &CHECKS {
            let found = (check.look)(&patient)
                .unwrap_or_else(|what| vec![Finding { level: Level::Failure, what, fix: None }]);
            all.extend(found.into_iter().map(|finding| (check.name, finding)));
        }
    }
    let worst = all.iter().map(|(_, finding)| finding.level).filter(|level| *level > Level::Skipped).max();
    if doctor.json {
        let finding = |(check, finding): &(&str, Finding)| {
            json!({
                "check": check,
                "level": finding.level.name(),
                "what": finding.what,
                "fix": finding.fix,
            })
        };
        output::json(&json!({
            "status": worst.unwrap_or(Level::Good).name(),
            "findings": all.iter().map(finding).collect::<Vec<Value>>(),
        }))?;
    } else {
        for (check, finding) in &all {
            output::line(&format!(
                "{} {check:<16} {}",
                finding.level.painted(),
                table::visible(&finding.what)
            ));
            if let Some(fix) = &finding.fix {
                output::line(&format!("{:26}-> {}", "", table::visible(fix)));
            }
        }
    }
    let count = |level| all.iter().filter(|(_, finding)| finding.level == level).count();
    let summary = format!(
        "{} and {}",
        counted(count(Level::Failure), "failure"),
        counted(count(Level::Warning), "warning")
    );
    match worst {
        Some(Level::Failure) => Err(CliError::Failed(summary)),
        Some(_) => Err(CliError::Refused(summary)),
        None => Ok(()),
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}
