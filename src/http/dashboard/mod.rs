//! `/admin/`: pages for people who administer, where the admin API is.
//!
//! Every page is whole without a script and changes by forms alone; the script adds comfort. A page acts with the roles of the
//! admin key that signed in, and does nothing that the admin API would not.
//!
//! | module | holds |
//! |---|---|
//! | [`session`], [`visitor`] | who is signed in, with which roles; forms that change something |
//! | [`sign_in`] | signing in and out |
//! | [`overview`], [`history`] | how the server runs, now and in the last hour |
//! | [`clients`], [`client`], [`client_form`] | the list, one client with its secrets, and what it may do |
//! | [`keys`], [`timeline`] | signing keys, and a picture of their past and future |
//! | [`services`], [`service`] | what clients call: the list, one service with its actions |
//! | [`service_form`], [`service_actions`] | registering and describing one; adding, renaming and removing its actions |
//! | [`inspector`] | what a token says, and what would be answered to it |
//! | [`audit`] | the audit log |
//! | [`admin_keys`], [`settings`] | who may administer; the configuration |
//! | [`forms`] | what forms are made of, and the question before what cannot be taken back |
//! | [`layout`], [`assets`], [`error`] | what is around every page |

pub mod admin_keys;
pub mod assets;
pub mod audit;
pub mod client;
pub mod client_form;
pub mod clients;
pub mod error;
pub mod forms;
pub mod history;
pub mod inspector;
pub mod keys;
pub mod layout;
pub mod overview;
pub mod service;
pub mod service_actions;
pub mod service_form;
pub mod services;
pub mod session;
pub mod settings;
pub mod sign_in;
pub mod timeline;
pub mod visitor;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::guard::fn_guard;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Handler, HttpRequest, HttpResponse};
use m2mint_keys::time::millis;
use maud::html;
use parking_lot::Mutex;

use crate::config::{Shown, keys::Key};
use crate::http::dashboard::error::DashboardError;
use crate::http::dashboard::history::History;
use crate::http::dashboard::session::Sessions;
use crate::http::dashboard::visitor::Visitor;
use crate::http::request::Body;
use crate::http::{State, guards};

/// What a page answers.
pub type Answer = Result<HttpResponse, DashboardError>;

/// What the dashboard remembers.
pub struct Dashboard {
    /// Who is signed in.
    pub sessions: Sessions,
    /// What was counted in the last hour.
    pub history: History,
    /// Whether pages come over TLS where no browser says it.
    pub speaks_tls: bool,
    idle: AtomicI64,
    shown: Mutex<Vec<Shown>>,
}

impl Dashboard {
    /// Nobody is signed in.
    #[must_use]
    pub fn new(idle: Duration, speaks_tls: bool) -> Self {
        let dashboard = Self {
            sessions: Sessions::default(),
            history: History::default(),
            speaks_tls,
            idle: AtomicI64::new(0),
            shown: Mutex::default(),
        };
        dashboard.set_idle(idle);
        dashboard
    }

    /// After how long without use a session ends.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle.load(Ordering::Relaxed).unsigned_abs())
    }

    /// From now on, sessions end after so long without use.
    pub fn set_idle(&self, idle: Duration) {
        self.idle.store(millis(idle), Ordering::Relaxed);
    }

    /// The configuration as it was read, for the page of settings. What takes effect at the next start alone stays as it was.
    pub fn set_shown(&self, now: &[Shown]) {
        let mut shown = self.shown.lock();
        if shown.is_empty() {
            *shown = now.to_vec();
            return;
        }
        for one in shown.iter_mut().filter(|one| Key::named(one.key).is_some_and(|key| key.reloads)) {
            if let Some(new) = now.iter().find(|new| new.key == one.key) {
                *one = new.clone();
            }
        }
    }

    /// The configuration that is in effect.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().clone()
    }
}

/// What a handler is given of a request of somebody who is signed in.
struct Call {
    visitor: Visitor,
    request: HttpRequest,
    body: Body,
    state: Data<State>,
}

/// A handler. All are of one type, so that what surrounds them is compiled once.
#[derive(Clone, Copy)]
struct Handled(fn(Call) -> Pin<Box<dyn Future<Output = Answer>>>);

impl Handler<(Visitor, HttpRequest, Body, Data<State>)> for Handled {
    type Output = Answer;
    type Future = Pin<Box<dyn Future<Output = Answer>>>;

    fn call(
        &self,
        (visitor, request, body, state): (Visitor, HttpRequest, Body, Data<State>),
    ) -> Self::Future {
        (self.0)(Call { visitor, request, body, state })
    }
}

/// A page that is shown, by its handler and what that takes of the [`Call`].
macro_rules! shown {
    ($handler:path) => {
        shown!($handler: visitor, request, state)
    };
    ($handler:path: $($part:ident),+) => {
        web::get().to(Handled(|call| Box::pin($handler($(call.$part),+))))
    };
}

/// A form that is sent, by its handler.
macro_rules! sent {
    ($handler:path) => {
        web::post().to(Handled(|call| Box::pin($handler(call.visitor, call.request, call.body, call.state))))
    };
}

/// The routes below `/admin`, but for the native admin API, which has its own below `/admin/v1`.
pub fn routes(config: &mut ServiceConfig) {
    let page = |path: &str| web::resource(path).default_service(web::to(no_such_method));
    let form = |path: &str| page(path);
    config.service(
        web::scope("/admin")
            .guard(fn_guard(|context| !is_api(context.head().uri.path())))
            .wrap(from_fn(guard))
            .service(web::resource("").route(web::to(|| async { layout::go("/admin/") })))
            .service(page("/").route(shown!(overview::get: visitor, state)))
            .service(page("/assets/{name}").route(web::get().to(assets::get)))
            .service(form("/sign-in").route(web::get().to(sign_in::get)).route(web::post().to(sign_in::post)))
            .service(form("/sign-out").route(sent!(sign_in::sign_out)))
            .service(form("/theme").route(web::post().to(sign_in::theme)))
            .service(page("/clients").route(shown!(clients::get)))
            .service(
                form("/clients/new")
                    .route(shown!(client_form::new: visitor, state))
                    .route(sent!(client_form::create)),
            )
            .service(page("/client").route(shown!(client::get)))
            .service(form("/client/edit").route(shown!(client_form::edit)).route(sent!(client_form::update)))
            .service(form("/client/enabled").route(sent!(client::set_enabled)))
            .service(form("/client/secrets/add").route(sent!(client::add_secret)))
            .service(
                form("/client/secrets/rotate").route(shown!(client::rotation)).route(sent!(client::rotate)),
            )
            .service(
                form("/client/secrets/remove")
                    .route(shown!(client::secret_removal))
                    .route(sent!(client::remove_secret)),
            )
            .service(
                form("/client/revoke-tokens")
                    .route(shown!(client::revocation))
                    .route(sent!(client::revoke_tokens)),
            )
            .service(form("/client/remove").route(shown!(client::removal)).route(sent!(client::remove)))
            .service(page("/keys").route(shown!(keys::get: visitor, state)))
            .service(form("/keys/rotate").route(shown!(keys::rotation)).route(sent!(keys::rotate)))
            .service(form("/keys/revoke").route(shown!(keys::revocation)).route(sent!(keys::revoke)))
            .service(page("/services").route(shown!(services::get: visitor, state)))
            .service(
                form("/services/new")
                    .route(shown!(service_form::new: visitor))
                    .route(sent!(service_form::create)),
            )
            .service(page("/service").route(shown!(service::get)))
            .service(
                form("/service/edit").route(shown!(service_form::edit)).route(sent!(service_form::update)),
            )
            .service(form("/service/actions/add").route(sent!(service_actions::add_action)))
            .service(
                form("/service/actions/rename")
                    .route(shown!(service_actions::renaming))
                    .route(sent!(service_actions::rename_action)),
            )
            .service(
                form("/service/actions/remove")
                    .route(shown!(service_actions::action_removal))
                    .route(sent!(service_actions::remove_action)),
            )
            .service(form("/service/remove").route(shown!(service::removal)).route(sent!(service::remove)))
            .service(form("/inspect").route(shown!(inspector::get: visitor)).route(sent!(inspector::post)))
            .service(page("/audit").route(shown!(audit::get)))
            .service(form("/audit/verify").route(sent!(audit::verify)))
            .service(page("/admin-keys").route(shown!(admin_keys::get)))
            .service(page("/settings").route(shown!(settings::get: visitor, state)))
            .default_service(web::to(|| async { Err::<HttpResponse, _>(DashboardError::NotFound("page")) })),
    );
}

fn is_api(path: &str) -> bool {
    path == "/admin/v1" || path.starts_with("/admin/v1/")
}

async fn no_such_method() -> HttpResponse {
    layout::answer(
        StatusCode::METHOD_NOT_ALLOWED,
        layout::bare(
            "Not like that",
            html! { h1 { "Not like that" } p { "This page does not take that kind of request." } },
        ),
    )
}

/// What keeps other sites out, as it does of the admin API; but somebody may follow a link that stands elsewhere.
async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if let Err(error) = guards::check_host(&request) {
        return Ok(request.error_response(error).map_into_boxed_body());
    }
    match guards::check_site(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        // Browsers keep our cookie to themselves here. From a page of ours, they send it.
        Err(_) if is_arrival(request.request()) => {
            let page = arrival(request.path());
            Ok(request.into_response(page).map_into_boxed_body())
        }
        Err(error) => Ok(request.error_response(error).map_into_boxed_body()),
    }
}

/// Whether somebody in a browser follows a link to here. It names no origin, and shows the page as a page.
fn is_arrival(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    request.method() == Method::GET
        && header("origin").is_none()
        && header("sec-fetch-mode") == Some(b"navigate")
        && header("sec-fetch-dest") == Some(b"document")
}

/// Leads on to the page: what follows comes from here.
fn arrival(path: &str) -> HttpResponse {
    let to = if path.starts_with("/admin/") && !path.contains("//") { path } else { "/admin/" };
    let mut response = layout::plain(StatusCode::OK);
    response.insert_header(("refresh", format!("0; url={to}")));
    let body = layout::bare(
        "On to the dashboard",
        html! { h1 { "m2mint" } p { a.button href=(to) { "On to the dashboard" } } },
    );
    response.content_type("text/html; charset=utf-8").body(body.into_string())
}
