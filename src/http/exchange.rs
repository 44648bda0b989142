//! What surrounds each exchange: a request id, an end to those that take too long, a count of those under way, the log line
//! of those that failed, and no kept-alive connection once the server is stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::time::millis;
use serde_json::json;

use crate::audit::refusals::Refused;
use crate::connections::Seat;
use crate::http::State;
use crate::http::dashboard::error::DashboardError;
use crate::http::error::problem::Problem;
use crate::http::error::{AdminError, PublicError};
use crate::http::span;
use crate::limits::{self, source::Source};
use crate::metrics::endpoint::{Endpoint, Outcome};
use crate::metrics::{self, Metrics};
use crate::model::audit::Origin;
use crate::traces::{self, Span, Traces};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken over from a proxy.
const LONGEST_ID: usize = 64;
/// Spreads consecutive numbers over all 64 bits, and gives no number twice: it is odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The exchanges under way.
pub struct Exchanges {
    under_way: AtomicUsize,
    begun: AtomicU64,
    stopping: AtomicBool,
    /// Milliseconds that one may take.
    longest: AtomicU64,
    /// Where request ids begin, so that those of two runs differ.
    first_id: u64,
    /// What is counted.
    metrics: Arc<Metrics>,
    /// Where the public API is.
    base_path: String,
    /// What is recorded.
    traces: Traces,
}

impl Exchanges {
    /// None yet.
    ///
    /// # Errors
    /// [`CryptoError`] when there is no randomness to be had.
    pub fn new(
        longest: Duration,
        metrics: Arc<Metrics>,
        base_path: String,
        traces: Traces,
    ) -> Result<Self, CryptoError> {
        Ok(Self {
            under_way: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            longest: AtomicU64::new(millis(longest).unsigned_abs()),
            first_id: u64::from_be_bytes(crypto::random()?),
            metrics,
            base_path,
            traces,
        })
    }

    /// From now on, an exchange may take this long.
    pub fn set_longest(&self, longest: Duration) {
        self.longest.store(millis(longest).unsigned_abs(), Ordering::Relaxed);
    }

    /// From now on, every answer ends its connection.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// How many are under way, and how many ever began.
    #[must_use]
    pub fn count(&self) -> (usize, u64) {
        (self.under_way.load(Ordering::Acquire), self.begun.load(Ordering::Acquire))
    }
}

/// Counts one exchange less when it is dropped, however the exchange ends.
struct UnderWay(Data<Exchanges>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The middleware.
///
/// # Errors
/// Those of the handler.
pub async fn surround(
    exchanges: Data<Exchanges>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    exchanges.under_way.fetch_add(1, Ordering::AcqRel);
    let under_way = UnderWay(exchanges);
    let exchanges = &under_way.0;
    let number = exchanges.begun.fetch_add(1, Ordering::AcqRel);
    let id = given_id(&request).unwrap_or_else(|| made_id(exchanges.first_id.wrapping_add(number)));
    // Where handlers find it: in place of one that cannot be logged.
    request.headers_mut().insert(X_REQUEST_ID, id.clone());
    // While it lives, the connection is not idle.
    let busy = seat(request.request()).map(|seat| seat.busy());
    let is_multiplexed = request.version() >= Version::HTTP_2;
    let longest = Duration::from_millis(exchanges.longest.load(Ordering::Relaxed));
    let endpoint = Endpoint::at(request.path(), &exchanges.base_path);
    let count = |outcome| exchanges.metrics.count(endpoint, outcome, began.elapsed());
    let span = span::begin(&exchanges.traces, &request, &id);
    let handled = traces::within(span.as_ref(), next.call(request));
    let mut response = match tokio::time::timeout_at((began + longest).into(), handled).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            count(Outcome::Failed);
            span::failed(span, error.as_response_error().status_code(), None);
            return Err(error);
        }
        Err(_) => {
            count(Outcome::TooSlow);
            span::failed(span, StatusCode::REQUEST_TIMEOUT, Some("timeout"));
            // In HTTP/2, only this stream ends: others share the connection.
            if !is_multiplexed {
                busy.as_ref().inspect(|busy| busy.stop_reading());
            }
            return Err(InternalError::from_response("too slow", too_slow(id)).into());
        }
    };
    count(outcome(&response));
    note_refusal(&response, span.as_ref());
    span::answered(span, &response);
    if response.status().is_server_error() {
        log_failure(&response, &id);
    }
    response.headers_mut().insert(X_REQUEST_ID, id);
    if exchanges.stopping.load(Ordering::Acquire) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response.response_mut().head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    Ok(response)
}

/// The seat of the connection that a request came on.
#[must_use]
pub fn seat(request: &HttpRequest) -> Option<Arc<Seat>> {
    let of_connection = request.conn_data::<Arc<Seat>>().cloned();
    // Over HTTP/2, requests bring it themselves.
    of_connection.or_else(|| request.extensions().get::<Arc<Seat>>().cloned())
}

/// What is told to somebody whose body does not come. Nothing more is read from the connection.
fn too_slow(id: HeaderValue) -> HttpResponse {
    let told = json!({"error": "invalid_request", "error_description": "the request took too long to come"});
    HttpResponse::RequestTimeout()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((X_REQUEST_ID, id))
        .force_close()
        .json(told)
}

/// Where a request comes from: the other end of the connection, or whoever a trusted proxy says it passes on.
#[must_use]
pub fn source(request: &HttpRequest, state: &State) -> Source {
    let peer = Source::of(request.peer_addr().map(|peer| peer.ip()));
    if !request.headers().contains_key(X_FORWARDED_FOR) {
        return peer;
    }
    // Several headers are one list. What is no text ends it: nobody knows where it would go on.
    let headers: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).collect();
    let hops = headers.iter().rev().flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
    limits::source::behind(peer, hops, &state.trusted_proxies.load())
}

/// Who sends `request`, and which one it is, for the audit log.
#[must_use]
pub fn origin(request: &HttpRequest, state: &State, actor: impl Into<String>) -> Origin {
    let id = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    Origin {
        actor: actor.into(),
        address: source(request, state).address().map(|address| address.to_string()),
        request: id.map(str::to_owned),
    }
}

fn outcome(response: &ServiceResponse<impl MessageBody>) -> Outcome {
    let error = response.response().error();
    match Outcome::of(response.status()) {
        Outcome::Failed if error.is_some_and(is_overload) => Outcome::Overloaded,
        // The core says some refusals with 200.
        Outcome::Ok if error.is_some() => Outcome::Invalid,
        outcome => outcome,
    }
}

/// Notes for the audit log that somebody was not let in, and in the trace which client it said to be.
fn note_refusal(response: &ServiceResponse<impl MessageBody>, span: Option<&Span>) {
    let Some(error) = response.response().error() else { return };
    let public = error.as_error::<PublicError>().and_then(PublicError::not_let_in);
    let problem = || error.as_error::<Problem>().and_then(Problem::not_let_in);
    let admin = || error.as_error::<AdminError>().and_then(AdminError::not_let_in);
    let refused = public.or_else(admin).or_else(problem);
    let refused = refused.or_else(|| error.as_error::<DashboardError>().and_then(DashboardError::not_let_in));
    let (Some(refused), Some(state)) = (refused, response.request().app_data::<Data<State>>()) else {
        return;
    };
    // What is no client's id may be anything.
    let is_client = |id: &&str| state.directory.client(id, &state.directory.guard()).is_some();
    if let (Some(span), Some(client)) = (span, refused.client.filter(is_client)) {
        span.note("m2mint.client.id", client);
    }
    let why = if refused.too_many { metrics::Refused::TooMany } else { metrics::Refused::Denied };
    state.metrics.count_refused(refused.door, why);
    state.keeper.refusals().note(refused.door, || Refused {
        door: refused.door,
        at: state.clock.wall(),
        origin: origin(response.request(), state, refused.actor.unwrap_or("unknown")),
        client: refused.client.filter(is_client).map(str::to_owned),
        reason: refused.reason.into_owned(),
    });
}

/// The id that a proxy gave, if it is plain enough to be logged.
fn given_id(request: &ServiceRequest) -> Option<HeaderValue> {
    let given = request.headers().get(X_REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    ((1..=LONGEST_ID).contains(&given.len()) && given.as_bytes().iter().all(plain)).then(|| given.clone())
}

fn made_id(number: u64) -> HeaderValue {
    let mut digits = [0; 16];
    let spread = number.wrapping_mul(SPREAD);
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (spread >> (60 - 4 * at)) & 0xf;
        *digit = b"0123456789abcdef".get(usize::try_from(nibble).unwrap_or(0)).copied().unwrap_or(b'0');
    }
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn is_overload(error: &actix_web::Error) -> bool {
    error.as_error::<PublicError>().is_some_and(PublicError::is_overload)
        || matches!(error.as_error(), Some(AdminError::Overloaded))
}

fn log_failure(response: &ServiceResponse<impl MessageBody>, id: &HeaderValue) {
    let id = id.to_str().unwrap_or_default();
    let (method, path) = (response.request().method(), response.request().path());
    let error = response.response().error();
    if error.is_some_and(is_overload) {
        return;
    }
    let cause = error.and_then(|error| {
        let public = error.as_error::<PublicError>().and_then(PublicError::cause);
        let admin = || error.as_error::<AdminError>().and_then(AdminError::cause);
        let problem = || error.as_error::<Problem>().and_then(Problem::cause);
        let dashboard = || error.as_error::<DashboardError>().and_then(DashboardError::cause);
        public.or_else(admin).or_else(problem).or_else(dashboard)
    });
    let cause = cause.unwrap_or("unknown");
    tracing::error!(request_id = id, %method, path, status = response.status().as_u16(), cause, "request failed");
}
