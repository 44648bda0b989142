//! Middleware and extractor for actix-web.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use m2mint_keys::guard::{Caller, Guard};
//!
//! async fn create(caller: Caller) -> String {
//!     format!("created for {}\n", caller.client_id().unwrap_or("a user"))
//! }
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guard = Guard::new("https://auth.example.com/auth", "event")?;
//! HttpServer::new(move || {
//!     App::new().route("/events", web::post().to(create).wrap(guard.require(["event.create"])))
//! })
//! .bind(("127.0.0.1", 3001))?
//! .run()
//! .await?;
//! # Ok(())
//! # }
//! ```

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError, web};

use crate::guard::{Caller, Denied, Guard, Requirement};

impl Guard {
    /// The route that publishes the metadata: `App::new().configure(|app| guard.serve_metadata(app))`.
    pub fn serve_metadata(&self, app: &mut web::ServiceConfig) {
        if let Some(metadata) = self.metadata().cloned() {
            let path = metadata.path().to_owned();
            app.route(
                &path,
                web::get().to(move || {
                    let json = metadata.json().to_owned();
                    async { HttpResponse::Ok().content_type("application/json").body(json) }
                }),
            );
        }
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        // Every status that it names is one.
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::UNAUTHORIZED)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        for header in self.headers() {
            response.insert_header(header);
        }
        response.body(self.body())
    }
}

impl<S, B> Transform<S, ServiceRequest> for Requirement
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service: Rc::new(service), requirement: Rc::new(self.clone()) }))
    }
}

/// A service behind a [`Requirement`].
pub struct Guarded<S> {
    service: Rc<S>,
    requirement: Rc<Requirement>,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (service, requirement) = (Rc::clone(&self.service), Rc::clone(&self.requirement));
        Box::pin(async move {
            let authorizations = request.headers().get_all(AUTHORIZATION).map(|value| value.to_str().ok());
            match requirement.admit(authorizations).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    Ok(service.call(request).await?.map_into_left_body())
                }
                Err(denied) => Ok(request.into_response(denied.error_response()).map_into_right_body()),
            }
        })
    }
}

/// The handler takes a caller, and nothing in front of it says who may call.
#[derive(Debug, thiserror::Error)]
#[error("this route has no guard")]
pub struct Unguarded;

impl ResponseError for Unguarded {}

/// Who calls, in a handler behind a [`Requirement`]. Without one the handler is never reached.
impl FromRequest for Caller {
    type Error = Unguarded;
    type Future = Ready<Result<Self, Unguarded>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or(Unguarded))
    }
}
