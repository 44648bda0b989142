//! An HTTP server that does what a test tells it to, and an issuer's keys.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use m2mint_keys::jwk::JwkSet;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{Claims, Minter};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Waits until this is set.
    pub held: Option<Arc<AtomicBool>>,
    /// Hangs up in place of an answer.
    pub hang_up: bool,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![], body: body.into(), held: None, hang_up: false }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::ok("") }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn held_until(self, released: &Arc<AtomicBool>) -> Self {
        Self { held: Some(Arc::clone(released)), ..self }
    }
}

type Handler = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The server. Ends with the test.
pub struct Fake {
    pub address: SocketAddr,
    handler: Arc<Mutex<Arc<Handler>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, handler)
    }

    pub fn start_with(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handler: Arc<Mutex<Arc<Handler>>> = Arc::new(Mutex::new(Arc::new(Box::new(handler))));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (handler, requests, ended) =
                (Arc::clone(&handler), Arc::clone(&requests), Arc::clone(&ended));
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (handler, requests, tls) = (Arc::clone(&handler), Arc::clone(&requests), tls.clone());
                    let Ok(stream) = stream else { continue };
                    // A client that hangs up is its own affair.
                    std::thread::spawn(move || drop(converse(stream, tls, &handler, &requests)));
                }
            }
        });
        Self { address, handler, requests, ended, thread: Some(thread) }
    }

    /// From now on, answers so.
    pub fn now(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Arc::new(Box::new(handler));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.path == path).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn converse(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    handler: &Mutex<Arc<Handler>>,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    match tls {
        None => {
            let mut reader = BufReader::new(stream.try_clone()?);
            answer(&mut reader, &mut &stream, handler, requests)
        }
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            let mut reader = BufReader::new(StreamOwned::new(connection, stream));
            let mut answered = Vec::new();
            answer(&mut reader, &mut answered, handler, requests)?;
            let mut stream = reader.into_inner();
            stream.write_all(&answered)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

fn answer(
    reader: &mut impl std::io::BufRead,
    writer: &mut impl Write,
    handler: &Mutex<Arc<Handler>>,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    requests.lock().unwrap().push(request.clone());
    let handler = Arc::clone(&handler.lock().unwrap());
    let reply = handler(&request);
    if let Some(released) = &reply.held {
        let given_up = Instant::now() + Duration::from_secs(20);
        while !released.load(Ordering::SeqCst) && Instant::now() < given_up {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    if reply.hang_up {
        return Ok(());
    }
    write!(writer, "HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status)?;
    if !reply.headers.iter().any(|(name, _)| *name == "transfer-encoding") {
        write!(writer, "content-length: {}\r\n", reply.body.len())?;
    }
    for (name, value) in &reply.headers {
        write!(writer, "{name}: {value}\r\n")?;
    }
    writer.write_all(b"\r\n")?;
    writer.write_all(&reply.body)?;
    writer.flush()
}

/// A steady clock that the test moves.
#[derive(Clone)]
pub struct Steady {
    start: Instant,
    millis: Arc<AtomicU64>,
}

impl Steady {
    pub fn new() -> Self {
        Self { start: Instant::now(), millis: Arc::default() }
    }

    pub fn pass(&self, time: Duration) {
        self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn read(&self) -> impl Fn() -> Instant + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.start + Duration::from_millis(clock.millis.load(Ordering::SeqCst))
    }
}

/// An issuer's key, and its tokens.
pub struct Issuer {
    minter: Minter,
    pub set: JwkSet,
    jti: AtomicI64,
}

pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

impl Issuer {
    pub fn new() -> Self {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let set = JwkSet::new([key.public()]);
        Self { minter: Minter::new(key), set, jti: AtomicI64::new(0) }
    }

    pub fn jwks(&self) -> String {
        serde_json::to_string(&self.set).unwrap()
    }

    /// A token for `event`, another one each time.
    pub fn token(&self, issuer: &str) -> String {
        self.minter
            .mint(&Claims {
                issuer,
                client_id: "task",
                audience: "event",
                scopes: &["event.view"],
                issued_at: NOW,
                lifetime: 3600,
                jti: &self.jti.fetch_add(1, Ordering::SeqCst).to_string(),
                extra: None,
            })
            .unwrap()
    }
}

/// Runs a test in a runtime with several threads.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// Waits for what happens in the background.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let given_up = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < given_up, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
