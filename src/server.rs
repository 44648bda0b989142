//! The server: open files and sockets in, answers out, until it is told to stop.
//!
//! [`Server::start`] is the seam that tests drive: they hand in their own clock and sockets.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpResponse, web};
use arc_swap::ArcSwap;

use crate::backup::schedule::{Progress, Schedule};
use crate::beats::Beats;
use crate::clock::Clock;
use crate::config::{Config, Shown};
use crate::connections::Connections;
use crate::http::dashboard::{Dashboard, overview};
use crate::http::discovery::Metadata;
use crate::http::exchange::{self, Exchanges};
use crate::http::pressure::Gauge;
use crate::http::v1::idempotency::Answers;
use crate::http::{self, State, guards};
use crate::http2::{self, Farewell};
use crate::issuer::{self, Issuer};
use crate::limits::Limiter;
use crate::listeners::{self, Listener, Listeners};
use crate::metrics::Metrics;
use crate::metrics::tokens::Tokens;
use crate::rotation::also::Also;
use crate::rotation::keeper::{Keeper, Running};
use crate::serving::{self, Apps, Serving};
use crate::startup::{self, Open, StartError};
use crate::traces::{Traces, TracesError};

/// How long a stopping server waits for requests that are under way.
const PATIENCE: Duration = Duration::from_millis(4_500);
/// How long it may take in all.
const END: Duration = Duration::from_millis(4_900);
/// How long, of that, the last traces may take to the collector.
const FLUSH: Duration = Duration::from_secs(1);
/// How long nothing must have begun before a stopping server is sure that nothing comes.
const QUIET: Duration = Duration::from_millis(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);
/// Threads a worker may use for the database. Writing is done one at a time anyway.
const BLOCKING_THREADS: usize = 4;

/// A running server.
pub struct Server {
    state: Data<State>,
    exchanges: Data<Exchanges>,
    listeners: Listeners,
    connections: Arc<Connections>,
    /// How long a connection may be kept after an answer, a head that has begun to come included.
    longest_idle: Duration,
    farewell: Farewell,
    handle: ServerHandle,
    ended: tokio::task::JoinHandle<io::Result<()>>,
    keeper: Running,
    backups: Schedule,
    traces: Traces,
}

impl Server {
    /// Starts serving `open` on `listeners`. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`StartError`], or the system's when it gives no thread or socket.
    pub fn start(
        config: &Config,
        clock: Clock,
        open: Open,
        listeners: Listeners,
    ) -> Result<Self, ServeError> {
        let keeper = open.keeper.keeper();
        let settings = issuer_settings(config, &listeners);
        let metadata = Metadata::of(&settings.issuer);
        let admin_hosts = ArcSwap::from_pointee(guards::hosts(config, &settings.issuer));
        open.directory.admin_keys().set_configured(startup::configured_admin_keys(config));
        http::metrics::note_start();
        let tokens = Tokens::new(config.metrics_clients);
        let issuer =
            Issuer::new(Arc::clone(&open.directory), keeper.clone(), clock.clone(), settings, tokens);
        let metrics = Arc::new(Metrics::default());
        let connections =
            Connections::new(config.connections.most, config.workers, config.connections.most_unfinished);
        let state = Data::new(State {
            rules: ArcSwap::from_pointee(config.rules.clone()),
            limiter: Limiter::new(config.limits, clock.steady()),
            trusted_proxies: ArcSwap::from_pointee(config.trusted_proxies.clone()),
            store: open.store,
            directory: open.directory,
            keeper,
            also: Also::start(config.also.clone()),
            issuer: issuer.map_err(StartError::from)?,
            clock,
            metadata,
            addresses: guards::addresses(&listeners),
            admin_hosts,
            base_path: config.base_path.clone(),
            beats: Beats::default(),
            metrics: Arc::clone(&metrics),
            metrics_public: config.metrics_public,
            answers: Answers::default(),
            backups: Arc::new(Progress::default()),
            connections: Arc::clone(&connections),
            dashboard: Dashboard::new(config.session_idle, config.tls.is_some()),
        });
        let traces = Traces::start(&config.traces)?;
        let exchanges = Exchanges::new(
            config.connections.request_time,
            metrics,
            config.base_path.clone(),
            traces.clone(),
        );
        let exchanges = Data::new(exchanges.map_err(StartError::from)?);
        let queue_time = config.connections.queue_time;
        let (app_state, app_exchanges) = (state.clone(), exchanges.clone());
        let largest_body = config.connections.largest_body;
        let apps: Apps = Arc::new(move |side| {
            app_state.beats.join();
            let exchanges = app_exchanges.clone();
            let base_path = app_state.base_path.clone();
            let app = App::new()
                .app_data(app_state.clone())
                .app_data(exchanges.clone())
                .app_data(Gauge::new(queue_time))
                .wrap(from_fn(move |request, next| exchange::surround(exchanges.clone(), request, next)))
                .configure(|config| http::routes(config, &base_path, side, largest_body))
                .default_service(web::to(|| async {
                    HttpResponse::NotFound().body("there is nothing here\n")
                }));
            serving::app(app)
        });
        let mut server = actix_server::Server::build()
            .workers(config.workers)
            .worker_max_blocking_threads(BLOCKING_THREADS)
            .max_concurrent_connections(connections.of_each(config.workers))
            .disable_signals();
        let farewell = Farewell::default();
        let serving = Serving {
            connections: Arc::clone(&connections),
            tls: listeners.tls.clone(),
            head_time: config.connections.head_time,
            idle_time: config.connections.idle_time,
            largest_head: config.connections.largest_head,
            farewell: farewell.clone(),
        };
        for listener in listeners.try_clone()? {
            server = serving.clone().listen(server, listener, Arc::clone(&apps))?;
        }
        let server = server.run();
        let handle = server.handle();
        let ended = tokio::spawn(server);
        let keeper = open.keeper.start(traces.clone())?;
        let backups = Schedule::start(
            &config.backup,
            Arc::clone(&state.store),
            state.keeper.clone(),
            state.clock.clone(),
            config.master_key.clone(),
            Arc::clone(&state.backups),
        )?;
        let longest_idle = config.connections.idle_time + config.connections.head_time;
        Ok(Self {
            state,
            exchanges,
            listeners,
            connections,
            longest_idle,
            farewell,
            handle,
            ended,
            keeper,
            backups,
            traces,
        })
    }

    /// What handlers can reach.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The keeper of the keys.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.state.keeper
    }

    /// Where it listens.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Whether every worker has shown within `limit` that it is not stuck.
    #[must_use]
    pub fn is_alive(&self, limit: Duration) -> bool {
        self.state.beats.all_within(limit)
    }

    /// From now on, acts by another configuration, as far as that can change while it runs.
    pub fn reconfigure(&self, config: &Config) {
        self.state.directory.admin_keys().set_configured(startup::configured_admin_keys(config));
        self.exchanges.set_longest(config.connections.request_time);
        self.state.rules.store(Arc::new(config.rules.clone()));
        self.state.limiter.set(config.limits);
        self.state.dashboard.set_idle(config.session_idle);
        self.state.trusted_proxies.store(Arc::new(config.trusted_proxies.clone()));
        self.state.keeper.set_settings(startup::rotation_settings(config));
        self.backups.set(&config.backup);
        let issuer = self.state.issuer.settings().issuer.clone();
        self.state.admin_hosts.store(Arc::new(guards::hosts(config, &issuer)));
        self.state
            .issuer
            .set_settings(issuer::Settings { issuer, ..issuer_settings(config, &self.listeners) });
    }

    /// The configuration as it was read, for whoever looks at it in the dashboard.
    pub fn show(&self, shown: &[Shown]) {
        self.state.dashboard.set_shown(shown);
    }

    /// Takes certificate and key anew.
    pub fn reload_certificate(&self) {
        self.listeners.tls.iter().for_each(|tls| tls.reload());
    }

    /// To be called once a second: counts for the dashboard, takes certificate and key anew if their files have changed, and ends connections on which
    /// no request has become whole for too long.
    pub fn look(&self) {
        self.listeners.tls.iter().for_each(|tls| tls.look());
        let (dashboard, now) = (&self.state.dashboard, self.state.clock.steady());
        dashboard.sessions.sweep(dashboard.idle(), now);
        dashboard.history.look(now, || {
            let sample = overview::sample(&self.state);
            (sample.tokens, sample.refused)
        });
        self.connections.end_overdue(self.longest_idle);
    }

    /// Finishes what is under way and stops, within 5 seconds. The log of the file is folded into it.
    pub async fn stop(self) {
        self.exchanges.stop();
        self.farewell.say();
        self.handle.pause().await;
        let begun_to_stop = Instant::now();
        let given_up = begun_to_stop + PATIENCE;
        let mut quiet_since = Instant::now();
        let mut begun = self.exchanges.count().1;
        let mut turned_away = Vec::new();
        while Instant::now() < given_up {
            turned_away.extend(self.listeners.turn_away());
            let (under_way, now_begun) = self.exchanges.count();
            // Goodbye takes HTTP/2 a way there and back.
            let is_parting = self.farewell.waits_for() > 0 && begun_to_stop.elapsed() < http2::GOODBYE;
            if under_way > 0 || now_begun != begun || is_parting {
                (begun, quiet_since) = (now_begun, Instant::now());
            } else if quiet_since.elapsed() >= QUIET {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.handle.stop(false).await;
        if !matches!(self.ended.await, Ok(Ok(()))) {
            tracing::error!("the HTTP server did not end as it should");
        }
        turned_away.extend(self.listeners.turn_away());
        self.listeners.clean_up();
        let (keeper, backups) = (self.keeper, self.backups);
        // Ends when the last write is on the disk.
        let stopped = tokio::task::spawn_blocking(move || {
            backups.stop();
            keeper.stop();
        });
        if stopped.await.is_err() {
            tracing::error!("the key keeper did not end as it should");
        }
        self.state.store.checkpoint();
        let (traces, patience) = (self.traces, FLUSH.min(END.saturating_sub(begun_to_stop.elapsed())));
        if tokio::task::spawn_blocking(move || traces.stop(patience)).await.is_err() {
            tracing::error!("traces did not end as they should");
        }
        listeners::let_go(turned_away);
    }
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The files.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system.
    #[error("the system refuses what the server needs: {0}")]
    Io(#[from] io::Error),
    /// The configuration asks for traces.
    #[error(transparent)]
    Traces(#[from] TracesError),
}

fn issuer_settings(config: &Config, listeners: &Listeners) -> issuer::Settings {
    let derived = || {
        format!(
            "{}{}",
            listeners.sockets.first().map(Listener::to_string).unwrap_or_default(),
            config.base_path
        )
    };
    issuer::Settings {
        issuer: config.issuer.clone().unwrap_or_else(derived),
        lifetime: config.lifetime,
        max_lifetime: config.max_lifetime,
        all_scopes_by_default: config.all_scopes_by_default,
    }
}
