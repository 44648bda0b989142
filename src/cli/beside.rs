//! The file of a verb, beside the server that may work on it.

use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::output::{self, CliError, Result};
use crate::clock::Clock;
use crate::store::{Claim, OpenError, Store, waits};

/// How long to wait for the server.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The file of a verb.
pub struct Beside {
    store: Store,
    served: bool,
}

impl Beside {
    /// Opens the file.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn open(database: &Path) -> Result<Self> {
        // Before the store opens the file: closing any descriptor of it would drop SQLite's locks.
        let served = is_served(database)?;
        Ok(Self { store: Store::open(database, None)?, served })
    }

    /// Whether a server works on it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served
    }

    /// Waits until the server, if there is one, has met what was asked of it.
    ///
    /// # Errors
    /// When it has not in time, or the file cannot be used.
    pub fn be_met(&self) -> Result {
        if self.wait_for_server()? {
            return Ok(());
        }
        let late = "the server has not met the request yet; see `m2mint keys` and its log";
        Err(CliError::Failed(late.into()))
    }

    /// Waits until the server, if there is one, acts by all that was written so far. Answers whether it does.
    fn wait_for_server(&self) -> Result<bool> {
        if !self.served {
            return Ok(true);
        }
        let wait = self.store.write(|db| waits::begin(db, Clock::system().wall()))?;
        let given_up = Instant::now() + PATIENCE;
        while !self.store.read(|db| waits::is_over(db, wait))? {
            if Instant::now() > given_up {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
        Ok(true)
    }

    /// Waits likewise, for what is done already: whoever asked for it is told when the server does not act by it yet.
    pub fn settle(&self) {
        let late = match self.wait_for_server() {
            Ok(true) => return,
            Ok(false) => "see its log".to_owned(),
            Err(error) => error.to_string(),
        };
        output::error(&format!(
            "this is written down, but the running server does not act by it yet: {late}"
        ));
    }
}

/// Whether a server works on the file.
///
/// # Errors
/// When there is no such file.
pub fn is_served(database: &Path) -> Result<bool> {
    match Claim::look(database) {
        Ok(_) => Ok(false),
        Err(OpenError::Claimed { .. }) => Ok(true),
        Err(_) => Err(OpenError::Missing { path: database.to_owned() }.into()),
    }
}

impl Deref for Beside {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}
