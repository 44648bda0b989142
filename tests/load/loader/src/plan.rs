//! What to send, and what to expect.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::random::Random;

/// One measurement.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// What requests cost.
    Closed(Closed),
    /// How long they take.
    Open(Open),
    /// What becomes of them when there are too many.
    Overload(Overload),
}

/// The next request on a connection follows the answer to the one before.
#[derive(Deserialize)]
pub struct Closed {
    /// Connections to each server that are kept alive.
    pub connections: usize,
    /// How often the servers take turns.
    pub slices: usize,
    /// The servers that are compared.
    pub sides: Vec<Side>,
}

/// A server, and what is sent to it.
#[derive(Deserialize)]
pub struct Side {
    /// The server.
    pub address: SocketAddr,
    /// Its process, whose CPU time is read.
    pub pid: i32,
    /// Answers before the measurement begins.
    pub warm_up: usize,
    /// Answers in each slice.
    pub requests: usize,
    /// What is sent.
    pub traffic: Traffic,
}

/// Requests come at times of their own, whatever the server does.
#[derive(Deserialize)]
pub struct Open {
    /// The server.
    pub address: SocketAddr,
    /// Connections that are kept alive.
    pub connections: usize,
    /// Answers before the measurement begins.
    pub warm_up: usize,
    /// Answers that are measured.
    pub requests: usize,
    /// Requests a second on average: their arrivals are a Poisson process.
    pub rate: f64,
    /// What is sent.
    pub traffic: Traffic,
    /// Evenly spaced requests on one connection of their own, beside the measured ones.
    pub beside: Option<Beside>,
}

/// Requests become due faster than the server can answer them.
#[derive(Deserialize)]
pub struct Overload {
    /// The server.
    pub address: SocketAddr,
    /// Connections that are kept alive.
    pub connections: usize,
    /// How long.
    pub seconds: f64,
    /// Requests a second, evenly spaced.
    pub rate: f64,
    /// Whether a client that was refused asks again only after the time that it was told.
    pub patient: bool,
    /// What is sent.
    pub traffic: Traffic,
    /// What has to be answered all the same, on one connection of its own.
    pub beside: Beside,
}

/// Requests that go on beside the measured ones.
#[derive(Deserialize)]
pub struct Beside {
    /// Requests a second.
    pub rate: f64,
    /// What is sent.
    pub traffic: Traffic,
}

/// Requests to choose from, and what a good answer has in its body.
#[derive(Deserialize)]
pub struct Traffic {
    /// A file of whole requests, each ended by a NUL byte.
    pub file: PathBuf,
    /// Text that is in the body of every good answer.
    pub expect: String,
}

/// Requests in memory.
pub struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    random: Random,
}

impl Requests {
    /// Reads the file.
    pub fn of(traffic: &Traffic) -> io::Result<Self> {
        let bytes = std::fs::read(&traffic.file)?;
        let ends: Vec<usize> = memchr::memchr_iter(0, &bytes).collect();
        if ends.is_empty() {
            return Err(io::Error::other("no request in the file"));
        }
        Ok(Self { bytes, ends, random: Random::new() })
    }

    /// Any of them.
    pub fn any(&mut self) -> &[u8] {
        let index = self.random.below(self.ends.len());
        let start = if index == 0 { 0 } else { self.ends[index - 1] + 1 };
        &self.bytes[start..self.ends[index]]
    }
}
