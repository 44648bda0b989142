//! HTTP: one file a resource, one file for every error.
//!
//! | module | holds |
//! |---|---|
//! | [`token`] | `POST /oauth/token`, in three dialects |
//! | [`introspect`], [`revoke`] | RFC 7662, RFC 7009 |
//! | [`forward_auth`] | whether a request that a reverse proxy asks about may pass |
//! | [`jwks`], [`discovery`] | the published keys; RFC 8414 metadata |
//! | [`clients`], [`client_json`] | the SuperTokens core's client administration |
//! | [`audiences`] | what tokens for an audience are signed with |
//! | [`core_token`] | the SuperTokens core's token calls |
//! | [`core`] | `/hello`, `/apiversion` |
//! | [`dashboard`] | `/admin/`, pages for people |
//! | [`health`] | `/health/live`, `/health/ready`, `/version` |
//! | [`metrics`] | `/metrics` |
//! | [`v1`] | `/admin/v1`, the native admin API |
//! | [`openapi`] | `/openapi.json`, `/openapi`: what there is |
//! | [`admin`] | who may administer |
//! | [`guards`] | what keeps web pages away from the admin API |
//! | [`parameters`] | named parameters, from a form or from JSON |
//! | [`request`] | bodies, HTTP Basic, the admin API's JSON |
//! | [`error`] | every error that leaves the server |
//! | [`exchange`] | what surrounds each exchange: request ids, counting, refusing to stay connected while stopping |
//! | [`span`] | what a trace tells of it |

pub mod admin;
pub mod audiences;
pub mod client_json;
pub mod clients;
pub mod core;
pub mod core_token;
pub mod dashboard;
pub mod discovery;
pub mod error;
pub mod exchange;
pub mod forward_auth;
pub mod guards;
pub mod health;
pub mod introspect;
pub mod jwks;
pub mod metrics;
pub mod openapi;
pub mod parameters;
pub mod pressure;
pub mod request;
pub mod revoke;
pub mod span;
pub mod token;
pub mod v1;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::guard::{GuardContext, fn_guard};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, ResponseError as _};
use arc_swap::ArcSwap;

use crate::background;
use crate::backup::schedule::Progress;
use crate::beats::Beats;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::directory::Directory;
use crate::http::dashboard::Dashboard;
use crate::http::discovery::Metadata;
use crate::http::error::PublicError;
use crate::http::request::LargestBody;
use crate::issuer::Issuer;
use crate::limits::{Limiter, source::TrustedProxy};
use crate::listeners::Side;
use crate::metrics::Metrics;
use crate::model::Host;
use crate::model::rule::Rules;
use crate::rotation::also::Also;
use crate::rotation::keeper::Keeper;
use crate::store::{Store, StoreError};

/// What every handler can reach.
pub struct State {
    /// The file.
    pub store: Arc<Store>,
    /// Clients, in memory.
    pub directory: Arc<Directory>,
    /// Keys.
    pub keeper: Keeper,
    /// Tokens.
    pub issuer: Issuer,
    /// Keys of others.
    pub also: Arc<Also>,
    /// Time.
    pub clock: Clock,
    /// What proxies ask about.
    pub rules: ArcSwap<Rules>,
    /// How often somebody may guess at a secret.
    pub limiter: Limiter,
    /// Who says where a request comes from.
    pub trusted_proxies: ArcSwap<Vec<TrustedProxy>>,
    /// Where the server listens.
    pub addresses: Vec<SocketAddr>,
    /// The names that the admin API has besides those.
    pub admin_hosts: ArcSwap<Vec<Host>>,
    /// RFC 8414 metadata, ready to send.
    pub metadata: Metadata,
    /// Path of the public API: `/auth`, or nothing.
    pub base_path: String,
    /// Signs of life of the workers.
    pub beats: Beats,
    /// What is counted of requests.
    pub metrics: Arc<Metrics>,
    /// Whether that is told without an admin key.
    pub metrics_public: bool,
    /// Answers that may be asked for again.
    pub answers: v1::idempotency::Answers,
    /// The backups that the server makes by itself.
    pub backups: Arc<Progress>,
    /// The seats of connections.
    pub connections: Arc<Connections>,
    /// What the dashboard remembers.
    pub dashboard: Dashboard,
}

impl State {
    /// Changes the file, away from the threads that serve. When this returns, the change is durable, and this server acts
    /// by it.
    ///
    /// # Errors
    /// Whatever `change` says; or a [`StoreError`] when memory could not take it in.
    pub async fn change<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        change: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (store, directory) = (Arc::clone(&self.store), Arc::clone(&self.directory));
        let changed = background::run(move || {
            let value = change(&store);
            // Also after an error: if it is not known whether the file took the change, memory follows the file. What that
            // says about keys waits in the directory until the keeper takes it in.
            let keys = directory.refresh(&store);
            Ok::<_, E>((value?, keys?))
        });
        let (value, keys) = changed.await.map_err(|_| stopping())??;
        if keys && let Err(error) = self.keeper.reread().await {
            tracing::error!(%error, "a longer lifetime is stored but not in use yet");
        }
        Ok(value)
    }

    /// Reads the file, away from the threads that serve.
    ///
    /// # Errors
    /// Whatever `look` says.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        background::run(move || look(&store)).await.map_err(|_| stopping())?
    }
}

fn stopping() -> StoreError {
    StoreError::Corrupt("the server is stopping".into())
}

/// The routes of a listener, with bodies of at most `largest_body` bytes. The key set, `/hello`
/// and what says how the server is are on all of them: a backend that administers needs the keys too.
pub fn routes(config: &mut ServiceConfig, base_path: &str, side: Side, largest_body: usize) {
    config.app_data(LargestBody(largest_body));
    // Routes are tried in this order: what is called most comes first.
    if side != Side::Admin {
        public_routes(config, base_path);
    }
    config
        .service(readable(&format!("{base_path}/jwt/jwks.json"), jwks::get))
        .service(readable("/.well-known/jwks.json", jwks::get))
        .service(readable("/hello", core::hello))
        .service(readable("/health/live", health::live))
        .service(readable("/health/ready", health::ready))
        .service(readable("/version", health::version));
    openapi::routes(config, base_path, side);
    if side != Side::Public {
        config
            .service(readable("/apiversion", core::api_version))
            .service(
                web::resource("/metrics")
                    .wrap(from_fn(guards::keep_web_pages_out))
                    .route(web::get().to(metrics::get))
                    .default_service(web::to(|| async { not_allowed("GET") })),
            )
            .service(web::scope("/recipe").wrap(from_fn(guards::keep_web_pages_out)).configure(admin_routes))
            .configure(v1::routes)
            .configure(dashboard::routes);
    }
}

fn public_routes(config: &mut ServiceConfig, base_path: &str) {
    let public = |path: &str| format!("{base_path}{path}");
    config
        .service(only_post(&public("/oauth/token"), token::post))
        .service(only_post(&public("/oauth/introspect"), introspect::post))
        .service(only_post(&public("/oauth/revoke"), revoke::post))
        .service(web::resource(public("/verify")).default_service(web::to(forward_auth::check)));
    for path in discovery::paths(base_path) {
        config.service(readable(&path, discovery::get));
    }
}

/// The admin API, below its path.
fn admin_routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/jwt/jwks").route(web::get().to(jwks::get_with_status)))
        .service(
            web::resource("/oauth/clients")
                .route(web::post().to(clients::create))
                .route(web::get().to(clients::get))
                .route(web::put().to(clients::update)),
        )
        .service(web::resource("/oauth/clients/list").route(web::get().to(clients::list)))
        .service(web::resource("/oauth/clients/remove").route(web::post().to(clients::remove)))
        .service(
            web::resource("/oauth/audiences")
                .route(web::get().to(audiences::list))
                .route(web::put().to(audiences::set)),
        )
        .service(web::resource("/oauth/token").route(web::post().to(core_token::issue)))
        .service(web::resource("/oauth/introspect").route(web::post().to(core_token::introspect)))
        .service(web::resource("/oauth/token/revoke").route(web::post().to(core_token::revoke)))
        .service(web::resource("/oauth/tokens/revoke").route(web::post().to(core_token::revoke_all)));
}

fn only_post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only(&[Method::POST], "POST", path, handler)
}

fn readable<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only(&[Method::GET, Method::HEAD], "GET, HEAD", path, handler)
}

/// Takes only these methods. The guards of `web::post()` and its like collect all methods of a path, at each request.
fn only<F, Args>(methods: &'static [Method], named: &'static str, path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let is_taken = |context: &GuardContext<'_>| methods.contains(&context.head().method);
    web::resource(path)
        .route(web::route().guard(fn_guard(is_taken)).to(handler))
        .default_service(web::to(move || async move { not_allowed(named) }))
}

fn not_allowed(methods: &'static str) -> HttpResponse {
    let mut response = PublicError::method_not_allowed(methods).error_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
