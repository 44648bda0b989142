//! `m2mint backup`

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backup::{self, Contents, Opener};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config};
use crate::store::Store;

/// Writes a consistent copy of the database, also while a server works on it, and reads it again. The master key is not in it.
///
/// # Errors
/// When the target exists, or the copy cannot be made.
pub fn run(settings: &Settings, to: &Path, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let opener = Opener { source: &config.master_key, database: &config.database };
    if to == Path::new("-") {
        return to_standard_output(&config.database, opener, as_json);
    }
    if to.exists() {
        return Err(CliError::Refused(format!("{} exists already; name a file that does not", to.display())));
    }
    let store = Store::open(&config.database, None)?;
    let contents = backup::make(&store, to, opener, drop)?;
    if as_json {
        return output::json(&json!({
            "file": to,
            "bytes": contents.bytes,
            "clients": contents.clients,
            "privateKeys": contents.private_keys,
            "openedByMasterKey": contents.opened,
        }));
    }
    output::line(&format!("{} holds the database: {}", to.display(), in_words(contents)));
    output::line("Keep a copy of the master key too, in another place");
    Ok(())
}

/// What a copy holds.
pub(super) fn in_words(contents: Contents) -> String {
    let Contents { bytes, clients, private_keys, opened } = contents;
    let tried = if opened { "which the master key opens" } else { "on which no master key was tried" };
    format!("{bytes} bytes, {clients} clients, and {private_keys} private keys, {tried}")
}

/// The copy is made beside the database first, so that only one that is whole goes out.
fn to_standard_output(database: &Path, opener: Opener<'_>, as_json: bool) -> Result {
    if as_json {
        return Err(CliError::Usage("standard output is the backup itself: leave out --json".into()));
    }
    if io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "a backup is no text to look at: name a file, or send it on, as in `m2mint backup - | age -r KEY > backup.age`"
                .into(),
        ));
    }
    let store = Store::open(database, None)?;
    let copy = Temporary::beside(database);
    let contents = backup::make(&store, &copy.0, opener, drop)?;
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut File::open(&copy.0)?, &mut output)
        .map_err(|error| CliError::Failed(format!("the backup could not be written: {error}")))?;
    eprintln!("the backup holds {}", in_words(contents));
    Ok(())
}

/// A file that goes away with this.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(format!(".backup-{}", std::process::id()));
        Self(name.into())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing is there when it could not be made.
        let _ = fs::remove_file(&self.0);
    }
}
