//! The server in this process, with a clock that the test moves.

use std::sync::mpsc;
use std::thread::JoinHandle;

use m2mint::clock::{Clock, ManualClock};
use m2mint::config::{self, Sources};
use m2mint::listeners::Listeners;
use m2mint::model::audit::Origin;
use m2mint::rotation::keeper::Keeper;
use m2mint::server::Server as Inner;
use m2mint::startup::{self, StartError};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::http::{Answer, admin, get};
use super::{ADMIN_KEY, Client};

/// Where the clock of every server under test begins.
pub const START: UnixTime = UnixTime::from_secs(1_800_000_000);

/// A server in this process.
pub struct Server {
    pub url: String,
    pub clock: ManualClock,
    /// The ring that is looked at; all of them when none is named.
    pub alg: Option<Algorithm>,
    settings: Vec<(String, String)>,
    directory: Option<TempDir>,
    running: Option<Running>,
}

struct Running {
    keeper: Keeper,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with these configuration keys.
    #[track_caller]
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("database".to_owned(), directory.path().join("m2mint.db").display().to_string()),
            ("issuer".to_owned(), "http://127.0.0.1:1/auth".to_owned()),
            ("workers".to_owned(), "1".to_owned()),
        ];
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let mut server = Self {
            url: String::new(),
            clock: ManualClock::at(START),
            alg: None,
            settings: all,
            directory: Some(directory),
            running: None,
        };
        server.launch().unwrap();
        server
    }

    /// Stops, and starts on the same file.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.launch().unwrap();
    }

    /// Stops, and starts on the same file with other configuration keys.
    pub fn restart_with(&mut self, settings: &[(&str, &str)]) -> Result<(), StartError> {
        self.stop();
        self.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.launch()
    }

    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.send(()).unwrap();
            running.thread.join().unwrap();
        }
    }

    fn launch(&mut self) -> Result<(), StartError> {
        let flags =
            self.settings.iter().map(|(key, value)| ("--set".into(), key.clone(), value.clone())).collect();
        let environment = [("M2MINT_API_KEY".to_owned(), ADMIN_KEY.to_owned())].into();
        let sources = Sources { flags, environment, ..Sources::default() };
        let loaded = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let clock = Clock::Manual(self.clock.clone());
        let (started, ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let open = startup::open(&loaded.config, &clock)?;
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listeners = Listeners::open(&loaded.config).unwrap();
                let server = Inner::start(&loaded.config, clock, open, listeners).unwrap();
                started.send((server.listeners().to_string(), server.keeper().clone())).unwrap();
                stopped.await.unwrap();
                server.stop().await;
            });
        });
        let (url, keeper) = ready.recv().unwrap();
        self.url = url;
        self.running = Some(Running { keeper, stop, thread });
        // The first keys are served now, and known to be.
        self.settle();
        Ok(())
    }

    /// The keeper of the keys.
    pub fn keeper(&self) -> &Keeper {
        &self.running.as_ref().unwrap().keeper
    }

    /// Does everything that is due.
    #[track_caller]
    pub fn settle(&self) {
        block_on(self.keeper().settle()).unwrap();
    }

    /// Asks for a rotation.
    #[track_caller]
    pub fn rotate(&self) {
        block_on(self.keeper().rotate(Origin::of("test"))).unwrap();
    }

    /// Lets time pass, and does what becomes due.
    #[track_caller]
    pub fn pass(&self, seconds: i64) {
        self.clock.pass(seconds * 1000);
        self.settle();
    }

    pub fn database(&self) -> std::path::PathBuf {
        self.directory.as_ref().unwrap().path().join("m2mint.db")
    }

    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn token_url(&self) -> String {
        self.endpoint("/auth/oauth/token")
    }

    /// The kids that are published, the signing one first.
    #[track_caller]
    pub fn kids(&self) -> Vec<String> {
        let query = self.alg.map(|alg| format!("?alg={}", alg.name())).unwrap_or_default();
        let set = get(&self.endpoint(&format!("/auth/jwt/jwks.json{query}"))).json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        admin(method, &self.endpoint(path), &body)
    }

    /// Makes a client with these fields.
    #[track_caller]
    pub fn client(&self, fields: &Value) -> Client {
        let made = self.admin("POST", "/recipe/oauth/clients", fields).json();
        assert_eq!(made["status"], "OK", "{made}");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Client { id: text("clientId"), secret: text("clientSecret") }
    }

    /// The Task Service of the documented story.
    #[track_caller]
    pub fn task_service(&self) -> Client {
        self.client(&json!({
            "clientName": "Task Service",
            "grantTypes": ["client_credentials"],
            "scope": "event.view event.create event.update event.delete file.*",
            "audience": ["event", "file"],
        }))
    }

    /// A token for that client, at `event`.
    #[track_caller]
    pub fn token(&self, client: &Client) -> String {
        let answer = super::post_form(
            &self.token_url(),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &client.id),
                ("client_secret", &client.secret),
                ("audience", "event"),
                ("scope", "event.create"),
            ],
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// What the core's introspection says of a token.
    #[track_caller]
    pub fn is_active(&self, token: &str) -> bool {
        let answer = self.admin("POST", "/recipe/oauth/introspect", &json!({"token": token})).json();
        answer["active"].as_bool().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
