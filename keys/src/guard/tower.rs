//! A layer for tower, and so for axum, tonic and whatever else takes one.
//!
//! ```no_run
//! use axum::routing::post;
//! use axum::{Extension, Router};
//! use m2mint_keys::guard::{Caller, Guard};
//!
//! async fn create(Extension(caller): Extension<Caller>) -> String {
//!     format!("created for {}\n", caller.client_id().unwrap_or("a user"))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guard = Guard::new("https://auth.example.com/auth", "file")?;
//! let app = Router::new().route("/files", post(create).layer(guard.require(["file.create"])));
//! axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3002").await?, app).await?;
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::guard::{Denied, Guard, Requirement};

impl Guard {
    /// A service that publishes the metadata: `router.route_service(metadata.path(), guard.metadata_service())`.
    #[must_use]
    pub fn metadata_service(&self) -> MetadataService {
        MetadataService(self.metadata().map(|metadata| metadata.json().into()))
    }
}

/// Answers with the metadata of a protected resource (RFC 9728).
#[derive(Clone)]
pub struct MetadataService(Option<Arc<str>>);

impl<B> Service<Request<B>> for MetadataService {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(String::new());
        match &self.0 {
            Some(json) => {
                *response.body_mut() = json.to_string();
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        ready(Ok(response))
    }
}

impl Denied {
    /// The answer.
    #[must_use]
    pub fn to_response<B: From<String>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(self.body()));
        // Every status that it names is one.
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        for (name, value) in self.headers() {
            // Challenges are visible ASCII.
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl<S> Layer<S> for Requirement {
    type Service = Guarded<S>;

    fn layer(&self, service: S) -> Guarded<S> {
        Guarded { service, requirement: self.clone() }
    }
}

/// A service behind a [`Requirement`]. It finds the [`Caller`](crate::guard::Caller) among the extensions of the request.
#[derive(Clone)]
pub struct Guarded<S> {
    service: S,
    requirement: Requirement,
}

impl<S, Incoming, Outgoing> Service<Request<Incoming>> for Guarded<S>
where
    S: Service<Request<Incoming>, Response = Response<Outgoing>> + Clone + Send + 'static,
    S::Future: Send,
    Incoming: Send + 'static,
    Outgoing: From<String>,
{
    type Response = Response<Outgoing>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Outgoing>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        // The service that was found ready is the one to call.
        let fresh = self.service.clone();
        let mut service = mem::replace(&mut self.service, fresh);
        let requirement = self.requirement.clone();
        Box::pin(async move {
            // Copied, so that the future holds no reference into a body that may not be shared between threads.
            let headers: Vec<_> = request.headers().get_all(AUTHORIZATION).iter().cloned().collect();
            match requirement.admit(headers.iter().map(|value| value.to_str().ok())).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await
                }
                Err(denied) => Ok(denied.to_response()),
            }
        })
    }
}
