//! HTTP/2 with bounds: actix-http's own dispatcher takes any number of requests at once on a connection, each with a head
//! of up to 16 MiB, and does not say goodbye.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::{DispatchError, PayloadError};
use actix_http::{BoxedPayloadStream, HttpMessage as _, Payload, Request, Response};
use actix_service::Service;
use actix_web::http::Method;
use actix_web::http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use bytes::Bytes;
use futures_core::Stream;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connections::{Holding, Seat};

/// Requests at once on a connection; the others wait at the client's.
const MOST_STREAMS: u32 = 64;
/// Requests of a connection that are worked on, those included that were taken back.
const MOST_UNDER_WAY: usize = 2 * MOST_STREAMS as usize;
/// What a client may send before it is read, on a stream and on a connection, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// The most that is put into a frame, in bytes.
const CHUNK: usize = 16 * 1024;
/// What is read of a body that nobody wants, in bytes.
const MOST_PASSED_OVER: usize = 1024 * 1024;
/// How long a client may take to go after it was told to.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The first frames.
    pub head: Duration,
    /// Between an answer and the next request; and an answer, to be taken.
    pub idle: Duration,
    /// The largest head of a request, in bytes.
    pub largest_head: u32,
}

/// Tells connections to end, and knows how many have not yet.
#[derive(Clone)]
pub struct Farewell {
    told: Arc<watch::Sender<bool>>,
    open: Arc<AtomicUsize>,
}

/// A connection that has not ended.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Farewell {
    fn default() -> Self {
        Self { told: Arc::new(watch::Sender::new(false)), open: Arc::default() }
    }
}

impl Farewell {
    /// From now on, connections answer what they have been asked, and end.
    pub fn say(&self) {
        self.told.send_replace(true);
    }

    /// How many have not ended.
    #[must_use]
    pub fn waits_for(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    fn open(&self) -> (Open, watch::Receiver<bool>) {
        self.open.fetch_add(1, Ordering::AcqRel);
        (Open(Arc::clone(&self.open)), self.told.subscribe())
    }
}

/// Serves a connection until either side ends it.
///
/// # Errors
/// What ended it, if it was not one of the sides in an orderly way.
pub async fn serve<T, S>(
    connection: T,
    peer: Option<SocketAddr>,
    seat: Arc<Seat>,
    app: Rc<S>,
    bounds: Bounds,
    farewell: Farewell,
) -> Result<(), DispatchError>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request> + 'static,
    S::Error: Into<Response<BoxBody>>,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    let (_open, mut stopping) = farewell.open();
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(bounds.largest_head)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(STREAM_WINDOW as usize);
    let handshake = timeout(bounds.head, builder.handshake::<_, Bytes>(connection)).await;
    let mut connection = handshake.map_err(|_| DispatchError::SlowRequestTimeout)??;
    // Ends with the connection, and with it whatever is under way: nobody is there for an answer.
    let mut streams = JoinSet::new();
    let mut deadline = pin!(sleep_until(Instant::now() + bounds.head));
    let mut is_leaving = false;
    loop {
        let leave = tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(accepted) => {
                    let (request, mut respond) = accepted?;
                    // Whoever takes back what it asked for has room for more, while the work on that is still going on.
                    let room = seat.share(streams.len()).filter(|_| streams.len() < MOST_UNDER_WAY);
                    let Some(sharing) = room else {
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    };
                    let answered = answer(request, respond, peer, Arc::clone(&seat), Rc::clone(&app), bounds.idle);
                    streams.spawn_local(async move {
                        answered.await;
                        drop(sharing);
                    });
                    false
                }
                None => return Ok(()),
            },
            Some(_) = streams.join_next() => {
                if streams.is_empty() && !is_leaving {
                    deadline.as_mut().reset(Instant::now() + bounds.idle);
                }
                false
            }
            () = deadline.as_mut(), if streams.is_empty() => {
                if is_leaving {
                    return Ok(());
                }
                true
            }
            _ = stopping.wait_for(|stopping| *stopping), if !is_leaving => true,
        };
        if leave {
            // What has been asked is answered, what is asked from now on is not.
            connection.graceful_shutdown();
            is_leaving = true;
            deadline.as_mut().reset(Instant::now() + GOODBYE);
        }
    }
}

async fn answer<S>(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Option<SocketAddr>,
    seat: Arc<Seat>,
    app: Rc<S>,
    patience: Duration,
) where
    S: Service<Request>,
    S::Error: Into<Response<BoxBody>>,
    S::Response: Into<Response<BoxBody>>,
{
    let is_head = request.method() == Method::HEAD;
    let (mut parts, body) = request.into_parts();
    if body.is_end_stream() {
        // It ended with its head. Elsewhere that is said by a header, and so it is asked for.
        parts.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(0));
    }
    let mut holding = seat.holding();
    let head = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if !holding.add(head) {
        return respond.send_reset(Reason::ENHANCE_YOUR_CALM);
    }
    let body = Body(Rc::new(RefCell::new((body, holding))));
    let request = taken_over(parts, body.clone(), peer, seat);
    let response = match app.call(request).await {
        Ok(response) => response.into(),
        Err(error) => error.into(),
    };
    // Who takes no answer must not keep it here for ever.
    if timeout(patience, send(response, &mut respond, is_head)).await.is_err() {
        return respond.send_reset(Reason::CANCEL);
    }
    // A body of which the answer needed nothing would be refused with a reset, which takes the answer away from clients
    // that are still sending.
    let _ = timeout(GOODBYE, body.pass_over()).await;
}

/// The body of a request, which its stream outlives.
#[derive(Clone)]
struct Body(Rc<RefCell<(RecvStream, Holding)>>);

impl Body {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let (stream, holding) = &mut *self.0.borrow_mut();
        let piece = ready!(stream.poll_data(cx));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            // What has been read makes room for more.
            stream.flow_control().release_capacity(piece.len())?;
            if holding.add(piece.len()) { Ok(piece) } else { Err(Reason::ENHANCE_YOUR_CALM.into()) }
        }))
    }

    /// Reads on, to the end or for so long.
    async fn pass_over(&self) {
        let mut left = MOST_PASSED_OVER;
        while let Some(Ok(piece)) = poll_fn(|cx| self.poll(cx)).await {
            let Some(less) = left.checked_sub(piece.len()) else { return };
            left = less;
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|piece| piece.map(|piece| piece.map_err(PayloadError::from)))
    }
}

/// The same request, as the application takes it.
fn taken_over(parts: http::request::Parts, body: Body, peer: Option<SocketAddr>, seat: Arc<Seat>) -> Request {
    let body: BoxedPayloadStream = Box::pin(body);
    let mut request = Request::with_payload(Payload::from(body));
    // RFC 9113 §8.3.1: what Host is elsewhere stands in the URI.
    let host = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    if let Some(host) = host {
        head.headers.insert(HOST, host);
    }
    request.extensions_mut().insert(seat);
    request
}

async fn send(
    response: Response<BoxBody>,
    respond: &mut SendResponse<Bytes>,
    is_head: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let (response, body) = response.into_parts();
    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = http::Version::HTTP_2;
    for (name, value) in response.headers() {
        if !is_of_http1(name) {
            head.headers_mut().append(name, value.clone());
        }
    }
    if let BodySize::Sized(length) = body.size() {
        head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !head.headers().contains_key(DATE) {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        head.headers_mut().insert(DATE, HeaderValue::from_str(&now)?);
    }
    let is_all = is_head || body.size().is_eof();
    let mut stream = respond.send_response(head, is_all)?;
    if is_all {
        return Ok(());
    }
    let mut body = pin!(body);
    while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        let mut piece = piece?;
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len().min(CHUNK));
            let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
            let room = room.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))??;
            stream.send_data(piece.split_to(room.min(piece.len())), false)?;
        }
    }
    stream.send_data(Bytes::new(), true)?;
    Ok(())
}

/// Headers about a connection have no place in HTTP/2 (RFC 9113 §8.2.2).
fn is_of_http1(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, CONTENT_LENGTH].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}
