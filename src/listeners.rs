//! The sockets that the server listens on: its own, or those that systemd hands over.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use crate::config::Listen;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// An address and port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// The sockets of a server.
#[derive(Debug)]
pub struct Listeners {
    /// At least one.
    pub sockets: Vec<Listener>,
    /// Whether they stay when this server ends: systemd keeps its own, and queues connections for the next one.
    pub inherited: bool,
    /// A socket file to be removed at the end.
    file: Option<PathBuf>,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses.
    #[error("cannot listen on {address}: {reason}. Stop what uses it, or set `listen` to another address")]
    Refused {
        /// Where.
        address: String,
        /// What the system said.
        reason: io::Error,
    },
    /// `listen = "systemd"`, but systemd handed over nothing.
    #[error(
        "`listen` is systemd, but no socket was handed over (LISTEN_FDS). Start m2mint by its socket unit"
    )]
    NoneInherited,
}

impl Listeners {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ListenError`], in words for the person who starts the program.
    pub fn open(listen: &Listen) -> Result<Self, ListenError> {
        let refused = |address: String| move |reason| ListenError::Refused { address, reason };
        match listen {
            Listen::Tcp(address) => {
                let socket = TcpListener::bind(address).map_err(refused(address.to_string()))?;
                Ok(Self::own(Listener::Tcp(socket), None))
            }
            Listen::Unix(path) => {
                let socket = open_unix(path).map_err(refused(format!("unix:{}", path.display())))?;
                Ok(Self::own(Listener::Unix(socket), Some(path.clone())))
            }
            Listen::Systemd => {
                let sockets = inherited().map_err(refused("systemd's socket".into()))?;
                if sockets.is_empty() {
                    return Err(ListenError::NoneInherited);
                }
                Ok(Self { sockets, inherited: true, file: None })
            }
        }
    }

    fn own(socket: Listener, file: Option<PathBuf>) -> Self {
        Self { sockets: vec![socket], inherited: false, file }
    }

    /// Copies of the sockets that share their queues.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Vec<Listener>> {
        self.sockets.iter().map(Listener::try_clone).collect()
    }

    /// Removes what the sockets leave behind in the file system.
    pub fn clean_up(&self) {
        if let Some(path) = &self.file {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sockets.iter().map(Listener::to_string).collect();
        f.write_str(&names.join(" and "))
    }
}

impl Listener {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// Turns away, politely, everybody who is waiting in the queue: connections that the system has accepted and that
    /// nobody will serve any more. Answers who they were: they stay connected until that is dropped.
    #[must_use]
    pub fn turn_away(&self) -> Vec<Box<dyn Read>> {
        let mut turned_away: Vec<Box<dyn Read>> = Vec::new();
        match self {
            Self::Tcp(socket) => {
                while let Ok((mut peer, _)) = socket.accept() {
                    // Whoever has gone needs no answer.
                    let _ = peer.set_nonblocking(true).and_then(|()| peer.write_all(SORRY));
                    let _ = peer.shutdown(Shutdown::Write);
                    turned_away.push(Box::new(peer));
                }
            }
            Self::Unix(socket) => {
                while let Ok((mut peer, _)) = socket.accept() {
                    let _ = peer.set_nonblocking(true).and_then(|()| peer.write_all(SORRY));
                    let _ = peer.shutdown(Shutdown::Write);
                    turned_away.push(Box::new(peer));
                }
            }
        }
        turned_away
    }
}

/// Lets go of those who were turned away. What a closing socket has not read takes its answer with it, so their
/// requests are read first, as far as they have arrived.
pub fn let_go(mut turned_away: Vec<Box<dyn Read>>) {
    for peer in &mut turned_away {
        let _ = peer.read(&mut [0; 4096]);
    }
}

const SORRY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    cache-control: no-store\r\ncontent-type: application/json\r\ncontent-length: 91\r\n\r\n\
    {\"error\":\"temporarily_unavailable\",\"error_description\":\"the server is stopping; try again\"}";

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => match socket.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("a socket"),
            },
            Self::Unix(socket) => {
                match socket.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned)) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("a Unix socket"),
                }
            }
        }
    }
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket that nobody answers at was left behind by a server that was killed. Whatever else is there stays.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    // For the proxy's group; not for everybody.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(socket)
}

fn inherited() -> io::Result<Vec<Listener>> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..handed.len() {
        let tcp = handed.take_tcp_listener(at);
        if let Ok(Some(socket)) = tcp {
            sockets.push(Listener::Tcp(socket));
        } else if let Some(socket) = handed.take_unix_listener(at)? {
            sockets.push(Listener::Unix(socket));
        }
    }
    Ok(sockets)
}
