//! `m2mint serve`

use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use zeroize::Zeroizing;

use crate::cli::{Settings, output, terminal};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, LogFormat, MasterKeySource, Sources};
use crate::hardening;
use crate::listeners::{ListenError, Listeners, Side};
use crate::master_key;
use crate::model::AdminKey;
use crate::model::audit::Origin;
use crate::server::{ServeError, Server};
use crate::signals::{Signal, Signals};
use crate::startup::{self, StartError};
use crate::systemd;

/// How often the status line is brought up to date.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Room for the greeting, in bytes; paths may be long.
const LONGEST_GREETING: usize = 32 * 1024;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Config(#[from] config::Problems),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the system refuses what the server needs: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves until a signal says stop.
#[must_use]
pub fn run(settings: &Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served =
        runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(serve(&settings.sources())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

type LogFilter = reload::Handle<Targets, tracing_subscriber::Registry>;

async fn serve(sources: &Sources) -> Result<(), Error> {
    // First of all: until somebody listens, SIGUSR1 and SIGHUP end the process.
    let mut signals = Signals::listen()?;
    let mut loaded = config::load(sources)?;
    let filter = start_log(&loaded.config);
    if !hardening::lock_memory() {
        tracing::debug!("memory is not kept out of swap: that needs LimitMEMLOCK=infinity");
    }
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let listeners = Listeners::open(&loaded.config)?;
    let open = startup::open(&loaded.config, &Clock::system())?;
    let new_admin_key = open.new_admin_key;
    let open = startup::Open { new_admin_key: None, ..open };
    let server = Server::start(&loaded.config, Clock::system(), open, listeners)?;
    server.show(&loaded.shown);
    announce(&loaded, &server, new_admin_key)?;
    systemd::ready();
    supervise(sources, &mut loaded, &server, &filter, &mut signals).await;
    systemd::stopping();
    tracing::info!("stopping");
    let begun = Instant::now();
    server.stop().await;
    tracing::info!("stopped after {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// Obeys signals and keeps systemd informed, until a signal says stop.
async fn supervise(
    sources: &Sources,
    loaded: &mut Loaded,
    server: &Server,
    filter: &LogFilter,
    signals: &mut Signals,
) {
    let watchdog = systemd::watchdog_interval();
    let mut tick = tokio::time::interval(watchdog.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL));
    let mut shown = String::new();
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => return,
                Signal::Reload => reload(sources, loaded, server, filter),
                Signal::Rotate => match server.keeper().rotate(Origin::of("signal")).await {
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "the rotation could not be stored; send the signal again"),
                },
            },
            _ = tick.tick() => server.look(),
        }
        let status = server.keeper().status();
        if status != shown {
            systemd::status(&status);
            shown = status;
        }
        // A beat comes every second: three missed are not a coincidence.
        let limit = watchdog.map(|interval| interval.max(Duration::from_secs(3)));
        if limit.is_some_and(|limit| server.is_alive(limit)) {
            systemd::alive();
        }
    }
}

fn reload(sources: &Sources, loaded: &mut Loaded, server: &Server, filter: &LogFilter) {
    systemd::reloading();
    server.reload_certificate();
    let now = match config::load(sources) {
        Ok(now) => now,
        Err(problems) => {
            for problem in problems.0 {
                tracing::error!("configuration not reloaded: {problem}");
            }
            return systemd::ready();
        }
    };
    for key in config::needing_restart(&loaded.shown, &now.shown) {
        tracing::warn!("{key} has changed; that takes effect at the next start");
    }
    server.reconfigure(&now.config);
    server.show(&now.shown);
    if let Err(error) = filter.reload(log_filter(&now.config.log)) {
        tracing::error!(%error, "the log level could not be changed");
    }
    *loaded = now;
    tracing::info!("configuration reloaded");
    systemd::ready();
}

fn start_log(config: &Config) -> LogFilter {
    let (filter, handle) = reload::Layer::new(log_filter(&config.log));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match log_format(config.log_format) {
        LogFormat::Journal => match tracing_journald::layer() {
            Ok(journal) => registry
                .with(
                    journal.with_field_prefix(Some("M2MINT".into())).with_syslog_identifier("m2mint".into()),
                )
                .init(),
            Err(error) => {
                // What is written there becomes its text, and it has its own clock.
                registry.with(lines.with_ansi(false).with_target(false).without_time()).init();
                tracing::warn!(%error, "the journal takes no fields from here");
            }
        },
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).init(),
        LogFormat::Text | LogFormat::Auto => {
            let ansi = terminal::wants_colour(&std::io::stderr());
            registry.with(lines.with_ansi(ansi).with_target(false)).init();
        }
    }
    handle
}

/// What `auto` means here.
fn log_format(format: LogFormat) -> LogFormat {
    let stderr = std::io::stderr();
    match format {
        LogFormat::Auto if systemd::is_journal(&stderr) => LogFormat::Journal,
        LogFormat::Auto if stderr.is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    }
}

fn log_filter(directives: &str) -> Targets {
    // What the HTTP library says about its threads helps nobody, unless somebody asks for it; what it says about malformed
    // requests, anybody could fill the log with. The configuration has checked the directives.
    format!("actix_server=warn,actix_http=off,{directives}").parse().unwrap_or_default()
}

fn admin_key_file(config: &Config) -> PathBuf {
    PathBuf::from(format!("{}.admin_key", config.database.display()))
}

/// Says where the server listens, and, the first time, how to go on.
fn announce(loaded: &Loaded, server: &Server, new_admin_key: Option<AdminKey>) -> Result<(), Error> {
    let config = &loaded.config;
    let listeners = server.listeners();
    let issuer = server.state().issuer.settings().issuer.clone();
    let master_key = match &config.master_key {
        MasterKeySource::Text(_) => "from the environment".to_owned(),
        MasterKeySource::File(path) | MasterKeySource::Credential(path) | MasterKeySource::Beside(path) => {
            path.display().to_string()
        }
    };
    // Wiped, and of a length that it never outgrows: the admin key is in it.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_GREETING));
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "m2mint {} listens on {listeners}\n  database    {}\n  master key  {master_key}\n  issuer      {issuer}\n",
        env!("CARGO_PKG_VERSION"),
        config.database.display(),
    );
    if let Some(admin) = listeners.admin().filter(|one| one.side == Side::Admin) {
        let _ = writeln!(text, "  admin API   {admin}");
    }
    if let Some(key) = &new_admin_key {
        let file = admin_key_file(config);
        let in_file = systemd::is_journal(&std::io::stdout());
        let shown = format!("$(cat {})", file.display());
        let in_use = if in_file { &shown } else { key.expose() };
        let _ = if in_file {
            master_key::write_private(&file, key.expose())?;
            writeln!(text, "  admin key   in {} (move it to a safe place)", file.display())
        } else {
            let keep = "The admin key is shown this once: keep it in a safe place.";
            writeln!(text, "  admin key   {in_use}\n\n{keep}")
        };
        let url = match listeners.admin().map(ToString::to_string) {
            Some(url) if url.starts_with("http") => url,
            Some(unix) => format!("--unix-socket {} http://localhost", unix.trim_start_matches("unix:")),
            None => "http://localhost".into(),
        };
        let _ = writeln!(
            text,
            "Create a client with it:\n\n  curl {url}/recipe/oauth/clients -H \"api-key: {in_use}\" \\\n    -H 'content-type: application/json' \\\n    \
             -d '{{\"clientName\": \"Task Service\", \"scope\": \"event.view event.create\", \"audience\": [\"event\"]}}'"
        );
    }
    // Past the buffer of standard output, where it would stay.
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let printed = output.and_then(|mut output| output.write_all(text.as_bytes()));
    // Nobody may be reading; but the admin key is shown this once, and only its hash is kept.
    if let (Err(error), Some(key)) = (printed, new_admin_key) {
        let file = admin_key_file(config);
        if !file.exists() {
            master_key::write_private(&file, key.expose())?;
        }
        tracing::warn!(%error, "the admin key could not be shown; it is in {} (move it to a safe place)", file.display());
    }
    Ok(())
}
