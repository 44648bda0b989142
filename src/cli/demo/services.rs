//! The services that are called. Each checks tokens by itself, with the key set that it fetched when it started.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_server::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse};
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::verify::{Policy, Rejection, Verifier};
use parking_lot::Mutex;

use crate::cli::output::{CliError, Result};
use crate::cli::web::Web;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::http2::Farewell;
use crate::listeners::Listener;
use crate::serving::{self, Apps, Serving};

/// More than the story needs.
const CONNECTIONS: usize = 16;
const LARGEST_HEAD: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A running service.
pub struct Service {
    /// How people call it.
    pub name: &'static str,
    /// Where it is.
    pub url: String,
    own: Arc<Own>,
    handle: ServerHandle,
}

/// What its handlers share.
struct Own {
    audience: &'static str,
    jwks: String,
    web: Web,
    verifier: Mutex<Verifier>,
    fetches: AtomicUsize,
}

impl Service {
    /// Starts it. It has fetched no key yet.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn start(name: &'static str, audience: &'static str, issuer: &str) -> Result<Self> {
        let own = Arc::new(Own {
            audience,
            jwks: format!("{issuer}/jwt/jwks.json"),
            web: Web::without_tls(),
            verifier: Mutex::new(Verifier::new(Policy::new(issuer, audience), &JwkSet::default())),
            fetches: AtomicUsize::new(0),
        });
        let shared = Data::from(Arc::clone(&own));
        let apps: Apps = Arc::new(move |_| {
            serving::app(App::new().app_data(shared.clone()).default_service(web::to(answer)))
        });
        let serving = Serving {
            connections: Connections::new(CONNECTIONS, 1, LARGEST_HEAD),
            tls: None,
            head_time: PATIENCE,
            idle_time: PATIENCE,
            largest_head: LARGEST_HEAD,
            farewell: Farewell::default(),
        };
        let listener = Listener::on_free_port()?;
        let url = listener.to_string();
        let server = Server::build().workers(1).disable_signals().shutdown_timeout(1);
        let server = serving.listen(server, listener, apps)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { name, url, own, handle })
    }

    /// Fetches the key set.
    ///
    /// # Errors
    /// When it is not to be had.
    pub fn fetch(&self) -> Result<usize> {
        self.own.fetch().map_err(CliError::Failed)
    }

    /// How often it has fetched the key set.
    pub fn fetches(&self) -> usize {
        self.own.fetches.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

impl Own {
    /// Answers how many keys it has now.
    fn fetch(&self) -> std::result::Result<usize, String> {
        let answer = self.web.get(&self.jwks)?;
        let set = JwkSet::parse(&answer.body).map_err(|error| error.to_string())?;
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let mut verifier = self.verifier.lock();
        *verifier = verifier.with_keys(&set);
        Ok(set.keys.len())
    }

    /// Who calls and may, or why not.
    fn check(&self, token: &str, scope: &str) -> std::result::Result<String, (StatusCode, String)> {
        let verify = || self.verifier.lock().clone().verify(token, Clock::system().wall());
        let mut verified = verify();
        // A key that it does not know may be new; any other reason would stay.
        if verified == Err(Rejection::UnknownKey) && self.fetch().is_ok() {
            verified = verify();
        }
        match verified {
            Err(rejection) => Err((StatusCode::UNAUTHORIZED, rejection.to_string())),
            Ok(caller) if !caller.allows(scope) => {
                Err((StatusCode::FORBIDDEN, Rejection::MissingScope(scope.to_owned()).to_string()))
            }
            Ok(caller) => Ok(caller.client_id),
        }
    }
}

/// Which action a request is.
fn action(request: &HttpRequest) -> &'static str {
    match request.method().as_str() {
        "POST" => "create",
        "PUT" | "PATCH" => "update",
        "DELETE" => "delete",
        _ => "view",
    }
}

async fn answer(request: HttpRequest, own: Data<Own>) -> HttpResponse {
    let scope = format!("{}.{}", own.audience, action(&request));
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    // It may have to fetch keys, which waits.
    let checked = web::block(move || own.check(&token, &scope)).await;
    match checked {
        Ok(Ok(client)) => HttpResponse::Ok().body(format!("{client} may")),
        Ok(Err((status, reason))) => HttpResponse::build(status).body(reason),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
