//! A stand-in for an OpenTelemetry collector: takes OTLP over HTTP, and reads what it gets by the field numbers of
//! `opentelemetry/proto/trace/v1/trace.proto`, without the crates that wrote it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

/// A collector on a port of its own. Ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    got: Mutex<Vec<Request>>,
    /// What it answers; 0 is nothing at all.
    status: AtomicU16,
    ends: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// A request, as it came.
#[derive(Clone)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

impl Request {
    pub fn spans(&self) -> Vec<Span> {
        spans(&self.body)
    }
}

/// A span that arrived.
#[derive(Debug, Clone, Default)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub state: String,
    /// Empty where it begins a trace.
    pub parent: String,
    pub name: String,
    pub kind: u64,
    pub status: u64,
    pub attributes: BTreeMap<String, String>,
    /// Those of whatever sent it.
    pub resource: BTreeMap<String, String>,
}

/// `SpanKind.SPAN_KIND_SERVER`
pub const SERVER: u64 = 2;
/// `Status.STATUS_CODE_ERROR`
pub const ERROR: u64 = 2;

impl Collector {
    /// Answers every request with this status; with nothing at all where that is 0.
    pub fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { status: status.into(), ..Shared::default() });
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if inner.ends.load(Ordering::SeqCst) {
                    break;
                }
                inner.connections.lock().push(stream.try_clone().unwrap());
                let inner = Arc::clone(&inner);
                serving.push(std::thread::spawn(move || inner.serve(&stream)));
            }
            inner.connections.lock().iter().for_each(|one| drop(one.shutdown(Shutdown::Both)));
            serving.into_iter().for_each(|one| one.join().unwrap());
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, answers that.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.got.lock().clone()
    }

    /// Every span that came, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(Request::spans).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        // Wakes it up.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap()];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let status = self.status.load(Ordering::SeqCst);
            self.got.lock().push(Request { head, body, status });
            if status != 0
                && (&*stream)
                    .write_all(format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .is_err()
            {
                return;
            }
        }
    }
}

/// A field of a message: its number, and what it holds.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let mut take = |length: usize| {
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            taken
        };
        fields.push(match tag & 7 {
            0 => Field::Number(tag >> 3, varint(&mut bytes)),
            1 => Field::Number(tag >> 3, u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Field::Number(tag >> 3, u32::from_le_bytes(take(4).try_into().unwrap()).into()),
            2 => {
                let length = varint(&mut bytes);
                let (taken, rest) = bytes.split_at(usize::try_from(length).unwrap());
                bytes = rest;
                Field::Bytes(tag >> 3, taken)
            }
            other => panic!("no such wire type: {other}"),
        });
    }
    fields
}

/// Every message in a field.
fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let is_it = |field| match field {
        Field::Bytes(found, bytes) if found == number => Some(bytes),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(is_it).collect()
}

fn number(bytes: &[u8], wanted: u64) -> Option<u64> {
    fields(bytes).into_iter().find_map(|field| match field {
        Field::Number(found, value) if found == wanted => Some(value),
        _ => None,
    })
}

fn text(bytes: &[u8], number: u64) -> String {
    messages(bytes, number).first().map(|text| String::from_utf8(text.to_vec()).unwrap()).unwrap_or_default()
}

fn hex(bytes: &[u8], number: u64) -> String {
    messages(bytes, number).concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(bytes: &[u8], in_field: u64) -> BTreeMap<String, String> {
    let attribute = |pair: &[u8]| {
        let value = messages(pair, 2).concat();
        let number = number(&value, 3).map(|number| number.to_string());
        (text(pair, 1), number.unwrap_or_else(|| text(&value, 1)))
    };
    messages(bytes, in_field).into_iter().map(attribute).collect()
}

fn spans(request: &[u8]) -> Vec<Span> {
    let mut all = Vec::new();
    for of_resource in messages(request, 1) {
        let resource = attributes(&messages(of_resource, 1).concat(), 1);
        for span in messages(of_resource, 2).into_iter().flat_map(|of_scope| messages(of_scope, 2)) {
            let status = messages(span, 15).concat();
            all.push(Span {
                trace: hex(span, 1),
                id: hex(span, 2),
                state: text(span, 3),
                parent: hex(span, 4),
                name: text(span, 5),
                kind: number(span, 6).unwrap_or_default(),
                status: number(&status, 3).unwrap_or_default(),
                attributes: attributes(span, 9),
                resource: resource.clone(),
            });
        }
    }
    all
}
