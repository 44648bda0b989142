//! The signals that the server obeys.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGUSR1: rotate the signing key.
    Rotate,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: finish what is under way and stop.
    Stop,
}

/// Signals as they come in.
#[derive(Debug)]
pub struct Signals {
    rotate: Stream,
    reload: Stream,
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    /// Starts listening. Before this, SIGUSR1 and SIGHUP would end the process: so it comes first.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            rotate: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.rotate.recv() => Signal::Rotate,
            _ = self.reload.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }
}
