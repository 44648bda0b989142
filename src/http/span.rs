//! What a trace tells of a request, by OpenTelemetry's conventions for HTTP servers. Nothing of that is a secret: no query, no
//! header but the request id, no body, and of a path only what the server itself calls it.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::Data;

use crate::http::State;
use crate::http::error::{AdminError, PublicError};
use crate::http::exchange;
use crate::traces::parent::Parent;
use crate::traces::{Span, Traces};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Begins the span of a request, where it is recorded.
#[must_use]
pub fn begin(traces: &Traces, request: &ServiceRequest, id: &HeaderValue) -> Option<Span> {
    let values = |name| request.headers().get_all(name).map(|value| value.as_bytes());
    let span = traces.begin(|| Parent::read(values(TRACEPARENT), || values(TRACESTATE)))?;
    let method = known(request.method());
    let route = request.match_pattern();
    // A method that nobody knows may be anything, and so may a path.
    span.name(match (method, &route) {
        (Some(method), Some(route)) => format!("{method} {route}"),
        (method, _) => method.unwrap_or("HTTP").to_owned(),
    });
    span.note("http.request.method", method.unwrap_or("_OTHER"));
    span.note("url.path", route.as_deref().unwrap_or("REDACTED"));
    if let Some(route) = route {
        span.note("http.route", route);
    }
    if let Some(state) = request.app_data::<Data<State>>() {
        let is_tls = state.dashboard.speaks_tls && request.peer_addr().is_some();
        span.note("url.scheme", if is_tls { "https" } else { "http" });
        if let Some(address) = exchange::source(request.request(), state).address() {
            span.note("client.address", address.to_string());
        }
    }
    span.note("network.protocol.version", version(request.version()));
    span.note("m2mint.request.id", id.to_str().unwrap_or_default());
    Some(span)
}

/// Ends the span of a request that was answered.
pub fn answered(span: Option<Span>, response: &ServiceResponse<impl MessageBody>) {
    if let Some(span) = span {
        let error = response.response().error();
        let oauth = error.and_then(|error| match error.as_error() {
            Some(AdminError::OAuth(error)) => Some(error.code.name()),
            _ => error.as_error::<PublicError>().map(PublicError::code),
        });
        end(span, response.status(), oauth);
    }
}

/// Ends the span of a request whose answer is made elsewhere.
pub fn failed(span: Option<Span>, status: StatusCode, what: Option<&str>) {
    if let Some(span) = span {
        end(span, status, what);
    }
}

fn end(span: Span, status: StatusCode, what: Option<&str>) {
    span.count("http.response.status_code", status.as_u16().into());
    let is_error = status.is_client_error() || status.is_server_error();
    if let Some(what) = what.or(is_error.then_some(status.as_str())) {
        span.note("error.type", what);
    }
    if status.is_server_error() {
        span.fail();
    }
    span.end();
}

fn known(method: &Method) -> Option<&str> {
    let standard = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    standard.into_iter().find(|name| *name == method.as_str())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
