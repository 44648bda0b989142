//! What all verbs share: failing, asking, printing lines and JSON.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::model::audit::date_to_the_second as date;
use serde_json::Value;

use crate::administration::AdministrationError;
use crate::backup::BackupError;
use crate::backup::restore::RestoreError;
use crate::cli::terminal::{self, BOLD, RED};
use crate::config::Problems;
use crate::config::keys::nearest;
use crate::master_key::MasterKeyError;
use crate::rotation::RotationError;
use crate::startup::StartError;
use crate::store::{OpenError, StoreError};
use crate::witness::WitnessError;

/// Why a verb did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It did not work.
    #[error("{0}")]
    Failed(String),
    /// It was asked for in a way that cannot be read.
    #[error("{0}")]
    Usage(String),
    /// A rule says no.
    #[error("{0}")]
    Refused(String),
}

impl CliError {
    /// The exit code that scripts see.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Refused(_) => ExitCode::from(3),
        }
    }
}

macro_rules! failed {
    ($($error:ty),+) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        })+
    };
}

failed!(
    OpenError,
    StoreError,
    StartError,
    MasterKeyError,
    RotationError,
    Problems,
    WitnessError,
    BackupError,
    RestoreError,
    io::Error,
    serde_json::Error
);

impl From<AdministrationError> for CliError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Store(error) => error.into(),
            AdministrationError::Crypto(error) => Self::Failed(error.to_string()),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// Result of a verb.
pub type Result<T = ()> = std::result::Result<T, CliError>;

/// Asks before something is destroyed. Without a terminal nobody can be asked, and the answer is no.
///
/// # Errors
/// [`CliError::Refused`] unless the answer is yes.
pub fn confirm(question: &str, yes: bool) -> Result {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::Refused(format!(
            "{question} Nobody can be asked here: add --yes if you mean it"
        )));
    }
    eprint!("{} [y/N] ", terminal::paint_error(BOLD, question));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::Refused("nothing was changed".into()))
    }
}

/// Says what went wrong, each line after the name of the program.
pub fn error(text: &str) {
    let name = terminal::paint_error(RED, "m2mint:");
    for line in text.lines() {
        eprintln!("{name} {line}");
    }
}

/// Why something that was to be shown was not.
static LOST: OnceLock<io::Error> = OnceLock::new();
/// Whether a secret is in what is shown, which is shown this once.
static SECRET: AtomicBool = AtomicBool::new(false);

/// Says that a secret is in what will be shown.
pub fn holds_secret() {
    SECRET.store(true, Ordering::Relaxed);
}

/// Prints a line. Whether that worked is told by [`all_was_shown`].
pub fn line(text: &str) {
    let mut output = io::stdout().lock();
    if let Err(error) = writeln!(output, "{text}") {
        let _ = LOST.set(error);
    }
}

/// Whether everything that was to be shown was: a secret is shown once, and must not be lost in silence.
///
/// # Errors
/// [`CliError::Failed`]
pub fn all_was_shown() -> Result {
    let failed = |error: &io::Error, then: &str| {
        Err(CliError::Failed(format!("the output could not be written: {error}{then}")))
    };
    match (LOST.get(), SECRET.load(Ordering::Relaxed)) {
        (None, _) => Ok(()),
        (Some(error), true) => failed(error, ". The secret in it is lost: remove it, and make another"),
        // A reader that has gone, as `head` does, has seen what it wanted to.
        (Some(error), false) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        (Some(error), false) => failed(error, ""),
    }
}

/// Prints JSON, indented.
///
/// # Errors
/// When it cannot be written as text.
pub fn json(value: &Value) -> Result {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What was probably meant by a name that does not exist, to be put behind the sentence that says so; nothing when no name
/// is near.
#[must_use]
pub fn did_you_mean<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(wrong, names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}
