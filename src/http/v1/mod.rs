//! `/admin/v1`: the native admin API. JSON in camelCase, RFC 9457 problems, cursors, entity tags, idempotency keys.
//!
//! Each file has the operations of one resource as functions on values, for callers in this process, and the handlers that
//! read requests for them.
//!
//! | module | holds |
//! |---|---|
//! | [`types`] | requests and answers |
//! | [`clients`], [`secrets`] | clients and their secrets |
//! | [`services`] | registered services, and what clients are granted that none of them understands |
//! | [`declaration`] | services and clients as files declare them |
//! | [`unused`] | what clients have and did not use |
//! | [`keys`] | signing keys: their states, their plan, rotation, revocation |
//! | [`audiences`] | what tokens for an audience are signed with |
//! | [`admin_keys`] | who may administer |
//! | [`audit`] | the audit log |
//! | [`reply`] | answers, and reading requests |
//! | [`idempotency`] | a repeated POST gets the answer of the first |

pub mod admin_keys;
pub mod audiences;
pub mod audit;
pub mod clients;
pub mod declaration;
pub mod idempotency;
pub mod keys;
pub mod reply;
pub mod secrets;
pub mod services;
pub mod types;
pub mod unused;

use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, Resource};
use serde::de::DeserializeOwned;

use self::reply::Reply;
use crate::http::State;
use crate::http::admin::admin;
use crate::http::error::problem::{Kind, Problem};
use crate::http::guards;
use crate::http::request::{Body, LargestBody};
use crate::model::audit::Origin;

/// Where it is.
pub const PATH: &str = "/admin/v1";

/// Proof that a request carries an admin key that allows it.
pub struct Caller(pub Origin);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admin(request).map(|admin| Self(admin.origin)).map_err(Problem::from))
    }
}

/// What a handler is given of a request that carries an admin key which allows it.
pub struct Call {
    /// Which admin key, and from where.
    pub caller: Caller,
    /// The request.
    pub request: HttpRequest,
    /// Its body.
    pub body: Body,
    /// What every handler can reach.
    pub state: Data<State>,
}

impl Call {
    /// What the query says.
    ///
    /// # Errors
    /// When a parameter is unknown, or of the wrong type. It names that, and says nothing of a secret: none is sent there.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let read = Query::from_query(self.request.query_string());
        read.map(Query::into_inner).map_err(|error| Problem::new(Kind::InvalidRequest, error.to_string()))
    }

    /// What the path says where the route leaves it open.
    ///
    /// # Errors
    /// When it is of the wrong type.
    pub fn path<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        let read = Path::from_request(&self.request, &mut Payload::None).into_inner();
        read.map(Path::into_inner).map_err(|error| Problem::new(Kind::InvalidRequest, error.to_string()))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Reply, Problem>>>>;

/// A handler. All are of one type, so that what surrounds them is compiled once.
#[derive(Clone, Copy)]
struct Handled(fn(Call) -> Answer);

impl Handler<(Caller, HttpRequest, Body, Data<State>)> for Handled {
    type Output = Result<Reply, Problem>;
    type Future = Answer;

    fn call(&self, (caller, request, body, state): (Caller, HttpRequest, Body, Data<State>)) -> Answer {
        (self.0)(Call { caller, request, body, state })
    }
}

macro_rules! handled {
    ($handler:path) => {
        Handled(|call| Box::pin($handler(call)))
    };
}

/// The routes, below [`PATH`].
pub fn routes(config: &mut ServiceConfig) {
    let scope = web::scope(PATH)
        .wrap(from_fn(guards::keep_web_pages_out_of_v1))
        .service(
            resource("/clients", "GET, HEAD, POST")
                .route(web::get().to(handled!(clients::get_list)))
                .route(web::head().to(handled!(clients::get_list)))
                .route(web::post().to(handled!(clients::post))),
        )
        .service(
            resource("/clients/{clientId}", "GET, HEAD, PATCH, DELETE")
                .route(web::get().to(handled!(clients::get_one)))
                .route(web::head().to(handled!(clients::get_one)))
                .route(web::patch().to(handled!(clients::patch)))
                .route(web::delete().to(handled!(clients::delete))),
        )
        .service(
            resource("/clients/{clientId}/tokens/revoke", "POST")
                .route(web::post().to(handled!(clients::post_revoke_tokens))),
        )
        .service(
            resource("/clients/{clientId}/secrets", "GET, HEAD, POST")
                .route(web::get().to(handled!(secrets::get_list)))
                .route(web::head().to(handled!(secrets::get_list)))
                .route(web::post().to(handled!(secrets::post))),
        )
        .service(
            resource("/clients/{clientId}/secrets/rotate", "POST")
                .route(web::post().to(handled!(secrets::post_rotate))),
        )
        .service(
            resource("/clients/{clientId}/secrets/{secretId}", "DELETE")
                .route(web::delete().to(handled!(secrets::delete))),
        )
        .service(
            resource("/services", "GET, HEAD, POST")
                .route(web::get().to(handled!(services::get_list)))
                .route(web::head().to(handled!(services::get_list)))
                .route(web::post().to(handled!(services::post))),
        )
        .service(
            resource("/services/{audience}", "GET, HEAD, PATCH, DELETE")
                .route(web::get().to(handled!(services::get_one)))
                .route(web::head().to(handled!(services::get_one)))
                .route(web::patch().to(handled!(services::patch)))
                .route(web::delete().to(handled!(services::delete))),
        )
        .service(
            readable("/misfits")
                .route(web::get().to(handled!(services::get_misfits)))
                .route(web::head().to(handled!(services::get_misfits))),
        )
        .service(
            resource("/declaration", "GET, HEAD, POST")
                .app_data(LargestBody(declaration::LARGEST))
                .route(web::get().to(handled!(declaration::get)))
                .route(web::head().to(handled!(declaration::get)))
                .route(web::post().to(handled!(declaration::post))),
        )
        .service(
            resource("/declaration/plan", "POST")
                .app_data(LargestBody(declaration::LARGEST))
                .route(web::post().to(handled!(declaration::post_plan))),
        )
        .service(
            readable("/unused")
                .route(web::get().to(handled!(unused::get)))
                .route(web::head().to(handled!(unused::get))),
        )
        .service(
            readable("/keys")
                .route(web::get().to(handled!(keys::get_list)))
                .route(web::head().to(handled!(keys::get_list))),
        )
        .service(
            readable("/keys/plan")
                .route(web::get().to(handled!(keys::get_plan)))
                .route(web::head().to(handled!(keys::get_plan))),
        )
        .service(resource("/keys/rotate", "POST").route(web::post().to(handled!(keys::post_rotate))))
        .service(resource("/keys/{kid}/revoke", "POST").route(web::post().to(handled!(keys::post_revoke))))
        .service(
            readable("/audiences")
                .route(web::get().to(handled!(audiences::get_list)))
                .route(web::head().to(handled!(audiences::get_list))),
        )
        .service(resource("/audiences/{audience}", "PUT").route(web::put().to(handled!(audiences::put))))
        .service(
            resource("/admin-keys", "GET, HEAD, POST")
                .route(web::get().to(handled!(admin_keys::get_list)))
                .route(web::head().to(handled!(admin_keys::get_list)))
                .route(web::post().to(handled!(admin_keys::post))),
        )
        .service(
            resource("/admin-keys/{name}", "DELETE").route(web::delete().to(handled!(admin_keys::delete))),
        )
        .service(
            readable("/audit")
                .route(web::get().to(handled!(audit::get_list)))
                .route(web::head().to(handled!(audit::get_list))),
        )
        .service(
            readable("/audit/head")
                .route(web::get().to(handled!(audit::get_head)))
                .route(web::head().to(handled!(audit::get_head))),
        )
        .service(resource("/audit/verify", "POST").route(web::post().to(handled!(audit::post_verify))))
        .default_service(web::to(|| async { Err::<String, _>(no_such_path()) }));
    config.service(scope);
}

fn no_such_path() -> Problem {
    Problem::new(Kind::NoSuchPath, "see /openapi.json for what there is")
}

fn readable(path: &str) -> Resource {
    resource(path, "GET, HEAD")
}

fn resource(path: &str, methods: &'static str) -> Resource {
    let refuse = move || async move { Err::<String, _>(Problem::method_not_allowed(methods)) };
    web::resource(path.to_owned()).default_service(web::to(refuse))
}
