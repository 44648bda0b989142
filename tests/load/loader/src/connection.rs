//! One keep-alive connection with at most one request under way.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::{Expected, Progress};

/// Larger than any answer that is expected.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A connection to the server.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    received: usize,
}

impl Connection {
    /// Connects, and registers for answers under `token`.
    pub fn open(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        // Connected in blocking mode: a server that is not there is found at once, with its reason.
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self { stream, buffer: vec![0; LARGEST_ANSWER].into(), received: 0 })
    }

    /// Sends a request. It always fits into the socket's buffer, which is empty: the last answer has come.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.received = 0;
        let written = self.stream.write(request)?;
        if written == request.len() {
            Ok(())
        } else {
            Err(io::Error::other("a request was not sent at once"))
        }
    }

    /// Reads what has come; whether the answer is whole. No request may be refused.
    pub fn receive(&mut self, expected: &Expected) -> io::Result<bool> {
        match self.progress(expected)? {
            Progress::Good => Ok(true),
            Progress::Partial => Ok(false),
            Progress::Refused(_) => Err(io::Error::other("a request was refused")),
        }
    }

    /// Reads what has come.
    pub fn progress(&mut self, expected: &Expected) -> io::Result<Progress> {
        loop {
            match self.stream.read(&mut self.buffer[self.received..]) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(count) => {
                    self.received += count;
                    match expected.judge(&self.buffer[..self.received]).map_err(io::Error::other)? {
                        // Nothing more can come before the next request: no need to read once more for WouldBlock.
                        whole @ (Progress::Good | Progress::Refused(_)) => return Ok(whole),
                        Progress::Partial => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Partial),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
