//! `m2mint demo`: a Task Service, a Calendar Service and a File Service, with a rotation in the middle.
//!
//! Everything is real: the server, its database, HTTP on loopback, tokens that are checked offline. It happens in a folder
//! that goes away.
//!
//! | module | holds |
//! |---|---|
//! | `services` | the two services that are called |
//! | `story` | what happens |

mod services;
mod story;

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use m2mint_keys::crypto;

use self::services::Service;
use self::story::Stage;
use crate::cli::output::{self, CliError, Result};
use crate::cli::web::Web;
use crate::clock::Clock;
use crate::config::{self, Config, Sources};
use crate::listeners::Listeners;
use crate::model::audit::hex;
use crate::server::Server;
use crate::signals::Signals;
use crate::startup::{self, Open};

/// What to play.
#[derive(Debug, Args)]
pub struct Demo {}

/// Runs the verb.
///
/// # Errors
/// When something does not go as the story says, or somebody stops it. Nothing is left behind either way.
pub fn run(Demo {}: &Demo) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(play());
    // What is still asked ends by itself; nobody waits for it.
    runtime.shutdown_background();
    told
}

async fn play() -> Result {
    // First of all: until somebody listens, a signal ends the process where it stands.
    let mut signals = Signals::listen()?;
    let folder = Folder::make()?;
    let config = configuration(&folder.0)?;
    let listeners = Listeners::open(&config).map_err(|error| CliError::Failed(error.to_string()))?;
    let open = startup::open(&config, &Clock::system())?;
    let admin_key = open.new_admin_key;
    let open = Open { new_admin_key: None, ..open };
    let server = Server::start(&config, Clock::system(), open, listeners);
    let server = server.map_err(|error| CliError::Failed(error.to_string()))?;
    let issuer = server.state().issuer.settings().issuer.clone();
    let calendar = Service::start("Calendar Service", "event", &issuer)?;
    let files = Service::start("File Service", "file", &issuer)?;
    let stage = Stage {
        url: server.listeners().to_string(),
        issuer,
        web: Web::without_tls(),
        admin_key: admin_key.ok_or_else(|| CliError::Failed("no admin key was made".into()))?,
        store: Arc::clone(&server.state().store),
        keeper: server.keeper().clone(),
        policy: config.rotation,
        runtime: tokio::runtime::Handle::current(),
        calendar,
        files,
        stopped: AtomicBool::new(false),
    };
    let stage = Arc::new(stage);
    let teller = Arc::clone(&stage);
    let mut story = tokio::task::spawn_blocking(move || story::tell(&teller));
    let told = tokio::select! {
        told = &mut story => told,
        _ = signals.next() => {
            stage.stopped.store(true, Ordering::Relaxed);
            story.await
        }
    };
    stage.calendar.stop().await;
    stage.files.stop().await;
    server.stop().await;
    drop(stage);
    let left = folder.remove();
    told.map_err(|error| CliError::Failed(error.to_string()))??;
    left?;
    output::line("\nNothing of this is left behind. To make one that stays: m2mint init");
    Ok(())
}

/// Nothing of this machine's configuration is in it.
fn configuration(folder: &Path) -> Result<Config> {
    let database = folder.join("m2mint.db").display().to_string();
    let flags = [("listen", "127.0.0.1:0"), ("database", &database), ("workers", "1")];
    let flags = flags.map(|(key, value)| ("--set".to_owned(), key.to_owned(), value.to_owned()));
    Ok(config::load(&Sources { flags: flags.into(), ..Sources::default() })?.config)
}

/// A folder that goes away with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let random: [u8; 8] = crypto::random().map_err(|error| CliError::Failed(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("m2mint-demo-{}", hex(&random)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Removes it, and says when that does not work.
    fn remove(&self) -> Result {
        let failed = |error| CliError::Failed(format!("{} cannot be removed: {error}", self.0.display()));
        fs::remove_dir_all(&self.0).map_err(failed)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is gone already, unless something went wrong before.
        let _ = fs::remove_dir_all(&self.0);
    }
}
