//! From a socket to HTTP: a connection takes its seat, speaks TLS where that is spoken, and is served.
//!
//! The seat comes first, so that a handshake that never ends makes room for others as any idle connection does.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::ServerBuilder;
use actix_service::boxed::{self, BoxServiceFactory};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::AppConfig;
use actix_web::rt::net::{TcpStream, UnixStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connections::{Connections, Holding, Seat};
use crate::http2::{self, Farewell};
use crate::listeners::{Listener, Side, Socket};
use crate::tls::Tls;

/// How long the other side may take to end a connection that has been ended here.
const GOODBYE: Duration = Duration::from_secs(1);

/// What answers requests, whatever it is made of: connections are served by the same code for all of them.
pub type App = BoxServiceFactory<(), Request, Response<BoxBody>, Response<BoxBody>, ()>;

/// Makes what answers on such a listener; each worker asks for its own.
pub type Apps = Arc<dyn Fn(Side) -> App + Send + Sync>;

/// What answers requests, as [`Serving`] takes it.
pub fn app<F, S, B>(factory: F) -> App
where
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, InitError = ()> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    S::Future: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = factory.into_factory();
    let app = app.map(|response| response.into().map_into_boxed_body());
    let app = app.map_err(|error| error.into().error_response().into());
    boxed::factory(map_config(app, |()| AppConfig::default()))
}

/// How connections are served.
#[derive(Clone)]
pub struct Serving {
    /// Where they take their seats.
    pub connections: Arc<Connections>,
    /// Certificate and private key.
    pub tls: Option<Arc<Tls>>,
    /// How long a handshake may take, and then the head of a request.
    pub head_time: Duration,
    /// How long a connection is kept after an answer.
    pub idle_time: Duration,
    /// The largest head of a request, in bytes.
    pub largest_head: usize,
    /// What HTTP/2 connections are told when the server is stopping.
    pub farewell: Farewell,
}

impl Serving {
    /// Adds a listener to a server. Each worker makes an app for it.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(self, server: ServerBuilder, listener: Listener, apps: Apps) -> io::Result<ServerBuilder> {
        let name = listener.to_string();
        let Listener { socket, side, tls, .. } = listener;
        let serving = Self { tls: self.tls.clone().filter(|_| tls), ..self };
        match socket {
            Socket::Tcp(socket) => server.listen(name, socket, move || {
                let http = serving.http(&apps, side);
                let serving = serving.clone();
                fn_service(move |stream| serving.clone().meet(stream, side)).and_then(http)
            }),
            Socket::Unix(socket) => server.listen_uds(name, socket, move || {
                let http = serving.http(&apps, side);
                let serving = serving.clone();
                fn_service(move |stream| std::future::ready(serving.meet_local(stream))).and_then(http)
            }),
        }
    }

    fn http(
        &self,
        apps: &Apps,
        side: Side,
    ) -> impl ServiceFactory<Met, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<>
    {
        let http1 = HttpService::build()
            .client_request_timeout(self.head_time)
            .client_disconnect_timeout(GOODBYE)
            .keep_alive(self.idle_time)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(Arc::clone(&connection.seat));
            })
            .h1(apps(side));
        let (http1, http2) = (Rc::new(http1), Rc::new(apps(side)));
        let largest_head = u32::try_from(self.largest_head).unwrap_or(u32::MAX);
        let bounds = http2::Bounds { head: self.head_time, idle: self.idle_time, largest_head };
        let farewell = self.farewell.clone();
        fn_factory(move || {
            let (http1, http2, farewell) = (Rc::clone(&http1), Rc::clone(&http2), farewell.clone());
            async move {
                let http1 = http1.new_service(()).await?;
                let http2 =
                    http2.new_service(()).await.map_err(|error| tracing::error!(?error, "no HTTP/2"))?;
                let (http1, http2) = (Rc::new(http1), Rc::new(http2));
                Ok(fn_service(move |(connection, protocol, peer): Met| {
                    let (http1, http2, farewell) = (Rc::clone(&http1), Rc::clone(&http2), farewell.clone());
                    async move {
                        if protocol != Protocol::Http2 {
                            return http1.call((connection, peer)).await;
                        }
                        let seat = Arc::clone(&connection.seat);
                        http2::serve(connection, peer, seat, http2, bounds, farewell).await
                    }
                }))
            }
        })
    }

    async fn meet(self, stream: TcpStream, side: Side) -> Result<Met, DispatchError> {
        let seat = Arc::new(self.connections.welcome(&stream).ok_or_else(full)?);
        let peer = stream.peer_addr().ok();
        let Some(tls) = &self.tls else {
            return Ok((self.connection(Stream::Tcp(stream), seat, Protocol::Http1), Protocol::Http1, peer));
        };
        let current = tls.current();
        let config = if side == Side::Admin { &current.admin } else { &current.public };
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        drop(current);
        let stream = match timeout(self.head_time, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = peer.map(|peer| peer.to_string()), %error, "no TLS");
                return Err(DispatchError::Io(error));
            }
            Err(_) => return Err(DispatchError::SlowRequestTimeout),
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok((self.connection(Stream::Tls(Box::new(stream)), seat, protocol), protocol, peer))
    }

    fn meet_local(&self, stream: UnixStream) -> Result<Met, DispatchError> {
        let seat = Arc::new(self.connections.welcome(&stream).ok_or_else(full)?);
        Ok((self.connection(Stream::Unix(stream), seat, Protocol::Http1), Protocol::Http1, None))
    }

    fn connection(&self, stream: Stream, seat: Arc<Seat>, protocol: Protocol) -> Connection {
        // HTTP/2 has bounds of its own, and has to read to know what it may write.
        let bounds = (protocol != Protocol::Http2).then(|| Bounds::new(&seat, self));
        Connection { stream, seat, bounds }
    }
}

fn full() -> DispatchError {
    DispatchError::Io(io::Error::other("all seats are taken"))
}

/// A connection that can be served.
type Met = (Connection, Protocol, Option<SocketAddr>);

/// A connection and its seat, which is free again when the connection is dropped.
struct Connection {
    stream: Stream,
    seat: Arc<Seat>,
    bounds: Option<Bounds>,
}

/// What keeps a client from asking for more answers than it takes: requests that follow one another without waiting are read
/// a few at a time, and none as long as answers cannot be sent.
struct Bounds {
    /// How long nothing at all may be taken of an answer.
    patience: Duration,
    /// Bytes that were read since there was nothing to read, or since others had their turn.
    read: usize,
    /// Set while answers cannot be sent: when that ends the connection.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether somebody waits for more requests meanwhile.
    reader_waits: bool,
    /// What has come of a request that is not whole yet.
    holding: Holding,
    /// How often the connection had been answered then.
    answers: u64,
    largest_head: usize,
    leaving: Option<Leaving>,
}

/// An end that waits for the other side: where something comes in after it, the system tells that by a reset, which takes
/// the answer away from a client that is still sending.
struct Leaving {
    until: Pin<Box<Sleep>>,
    /// How many bytes more are passed over.
    left: usize,
    is_shut: bool,
}

/// How many bytes of a client that is still sending are passed over.
const MOST_PASSED_OVER: usize = 1024 * 1024;

/// For a head that is too large (RFC 6585 §5).
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Whether there is room for what was read.
enum Room {
    Enough,
    HeadTooLarge,
    None,
}

/// How many bytes are read before what they ask for is answered: some dozens of the shortest requests.
const TURN: usize = 2048;

impl Bounds {
    fn new(seat: &Seat, serving: &Serving) -> Self {
        Self {
            patience: serving.idle_time,
            read: 0,
            stalled: None,
            reader_waits: false,
            holding: seat.holding(),
            answers: 0,
            largest_head: serving.largest_head,
            leaving: None,
        }
    }

    /// Counts what has been read. Whether there is room for it.
    fn note_read(&mut self, count: usize, seat: &Seat) -> Room {
        let answers = seat.answers();
        if std::mem::replace(&mut self.answers, answers) != answers {
            self.holding.release();
        }
        let is_head = !seat.is_busy();
        match (self.holding.add(count), is_head) {
            (_, true) if self.holding.bytes() > self.largest_head => Room::HeadTooLarge,
            (false, _) => Room::None,
            (true, _) => Room::Enough,
        }
    }

    /// How many bytes may be read now.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(stalled) = &mut self.stalled {
            self.reader_waits = true;
            return stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if self.read >= TURN {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(TURN - self.read))
    }

    /// Notes whether something could be sent.
    fn note_sent<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stalled = None;
            if std::mem::take(&mut self.reader_waits) {
                cx.waker().wake_by_ref();
            }
            return sent;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Calls a method of whichever stream it is.
macro_rules! of_stream {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.stream {
            Stream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            Stream::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl Connection {
    /// Ends what is sent, and passes over what still comes, until the other side has ended too.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(bounds) = &mut self.bounds else { return Poll::Ready(Ok(())) };
        let leaving = bounds.leaving.get_or_insert_with(|| Leaving {
            until: Box::pin(sleep(GOODBYE)),
            left: MOST_PASSED_OVER,
            is_shut: false,
        });
        if !leaving.is_shut {
            leaving.is_shut = of_stream!(self, stream => stream.poll_shutdown(cx)).is_ready();
        }
        let mut passed_over = [0; TURN];
        while leaving.left > 0 {
            let mut part = ReadBuf::new(&mut passed_over);
            match of_stream!(self, stream => stream.poll_read(cx, &mut part)) {
                Poll::Ready(Ok(())) if !part.filled().is_empty() => {
                    leaving.left = leaving.left.saturating_sub(part.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return leaving.until.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note_sent<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.bounds {
            Some(bounds) => bounds.note_sent(cx, sent),
            None => sent,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bounds.as_ref().is_some_and(|bounds| bounds.leaving.is_some()) {
            return this.poll_leave(cx);
        }
        let Some(bounds) = &mut this.bounds else {
            return of_stream!(this, stream => stream.poll_read(cx, buffer));
        };
        let room = ready!(bounds.poll_room(cx))?.min(buffer.remaining());
        let before = buffer.filled().len();
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let read =
            of_stream!(this, stream => Pin::new(&mut stream.get_mut().take(room)).poll_read(cx, buffer));
        let count = buffer.filled().len() - before;
        bounds.read = if read.is_pending() { 0 } else { bounds.read + count };
        match bounds.note_read(count, &this.seat) {
            Room::Enough => read,
            Room::HeadTooLarge => {
                // Nothing else is being sent: it is told if that works at once.
                let _ = of_stream!(this, stream => stream.poll_write(cx, TOO_LARGE));
                let _ = of_stream!(this, stream => stream.poll_flush(cx));
                buffer.clear();
                this.poll_leave(cx)
            }
            Room::None => Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = of_stream!(this, stream => stream.poll_write(cx, bytes));
        this.note_sent(cx, sent)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = of_stream!(this, stream => stream.poll_write_vectored(cx, slices));
        this.note_sent(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sent = of_stream!(this, stream => stream.poll_flush(cx));
        this.note_sent(cx, sent)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bounds.is_some() {
            return this.poll_leave(cx);
        }
        of_stream!(this, stream => stream.poll_shutdown(cx))
    }
}
