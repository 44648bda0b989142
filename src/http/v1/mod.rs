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
pub mod idempotency;
pub mod keys;
pub mod reply;
pub mod secrets;
pub mod services;
pub mod types;
pub mod unused;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::middleware::from_fn;
use actix_web::web::{self, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, Resource};

use crate::http::admin::admin;
use crate::http::error::problem::{Kind, Problem};
use crate::http::guards;
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

/// The routes, below [`PATH`].
pub fn routes(config: &mut ServiceConfig) {
    let query = QueryConfig::default().error_handler(|error, _| {
        // It names the parameter, and says nothing of the value that could be a secret: none is sent there.
        Problem::new(Kind::InvalidRequest, error.to_string()).into()
    });
    let path = PathConfig::default()
        .error_handler(|error, _| Problem::new(Kind::InvalidRequest, error.to_string()).into());
    let scope = web::scope(PATH)
        .wrap(from_fn(guards::keep_web_pages_out_of_v1))
        .app_data(query)
        .app_data(path)
        .service(
            resource("/clients", "GET, HEAD, POST")
                .route(web::get().to(clients::get_list))
                .route(web::head().to(clients::get_list))
                .route(web::post().to(clients::post)),
        )
        .service(
            resource("/clients/{clientId}", "GET, HEAD, PATCH, DELETE")
                .route(web::get().to(clients::get_one))
                .route(web::head().to(clients::get_one))
                .route(web::patch().to(clients::patch))
                .route(web::delete().to(clients::delete)),
        )
        .service(
            resource("/clients/{clientId}/tokens/revoke", "POST")
                .route(web::post().to(clients::post_revoke_tokens)),
        )
        .service(
            resource("/clients/{clientId}/secrets", "GET, HEAD, POST")
                .route(web::get().to(secrets::get_list))
                .route(web::head().to(secrets::get_list))
                .route(web::post().to(secrets::post)),
        )
        .service(
            resource("/clients/{clientId}/secrets/rotate", "POST")
                .route(web::post().to(secrets::post_rotate)),
        )
        .service(
            resource("/clients/{clientId}/secrets/{secretId}", "DELETE")
                .route(web::delete().to(secrets::delete)),
        )
        .service(
            resource("/services", "GET, HEAD, POST")
                .route(web::get().to(services::get_list))
                .route(web::head().to(services::get_list))
                .route(web::post().to(services::post)),
        )
        .service(
            resource("/services/{audience}", "GET, HEAD, PATCH, DELETE")
                .route(web::get().to(services::get_one))
                .route(web::head().to(services::get_one))
                .route(web::patch().to(services::patch))
                .route(web::delete().to(services::delete)),
        )
        .service(
            readable("/misfits")
                .route(web::get().to(services::get_misfits))
                .route(web::head().to(services::get_misfits)),
        )
        .service(readable("/unused").route(web::get().to(unused::get)).route(web::head().to(unused::get)))
        .service(readable("/keys").route(web::get().to(keys::get_list)).route(web::head().to(keys::get_list)))
        .service(
            readable("/keys/plan").route(web::get().to(keys::get_plan)).route(web::head().to(keys::get_plan)),
        )
        .service(resource("/keys/rotate", "POST").route(web::post().to(keys::post_rotate)))
        .service(resource("/keys/{kid}/revoke", "POST").route(web::post().to(keys::post_revoke)))
        .service(
            readable("/audiences")
                .route(web::get().to(audiences::get_list))
                .route(web::head().to(audiences::get_list)),
        )
        .service(resource("/audiences/{audience}", "PUT").route(web::put().to(audiences::put)))
        .service(
            resource("/admin-keys", "GET, HEAD, POST")
                .route(web::get().to(admin_keys::get_list))
                .route(web::head().to(admin_keys::get_list))
                .route(web::post().to(admin_keys::post)),
        )
        .service(resource("/admin-keys/{name}", "DELETE").route(web::delete().to(admin_keys::delete)))
        .service(
            readable("/audit").route(web::get().to(audit::get_list)).route(web::head().to(audit::get_list)),
        )
        .service(
            readable("/audit/head")
                .route(web::get().to(audit::get_head))
                .route(web::head().to(audit::get_head)),
        )
        .service(resource("/audit/verify", "POST").route(web::post().to(audit::post_verify)))
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
