//! The sockets that the server listens on: its own, or those that systemd hands over.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listenfd::ListenFd;

use crate::config::values::{PLAIN, PLAIN_ADMIN};
use crate::config::{Config, Listen};
use crate::tls::{Tls, TlsError};

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// An address and port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// What is served at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The public API.
    Public,
    /// The admin API.
    Admin,
    /// The one and the other.
    Both,
}

/// A socket, and what is served at it.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Socket,
    /// What is served.
    pub side: Side,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether it stays when this server ends: systemd keeps its own, and queues connections for the next one.
    pub inherited: bool,
    /// The socket file, to be removed at the end.
    file: Option<PathBuf>,
}

/// The sockets of a server.
pub struct Listeners {
    /// At least one, the public API's first.
    pub sockets: Vec<Listener>,
    /// Certificate and private key, where TLS is spoken.
    pub tls: Option<Arc<Tls>>,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses.
    #[error("cannot listen on {address}: {reason}. Stop what uses it, or set `{key}` to another address")]
    Refused {
        /// The configuration key.
        key: &'static str,
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
    /// All of systemd's sockets are the admin API's.
    #[error("every socket that systemd handed over is named admin: one has to be the public API's")]
    OnlyAdmin,
    /// A CA for administrators, and no socket where TLS could ask for their certificates.
    #[error(
        "admin.client_ca guards nothing: no socket with an address is the admin API's alone. Set admin.listen, or name one of systemd's sockets admin"
    )]
    NothingToGuard,
    /// Certificate and private key.
    #[error("{key}: {0}", key = .0.key())]
    Tls(#[from] TlsError),
    /// It would not be safe.
    #[error("{address}: {reason}")]
    Plain {
        /// Where.
        address: String,
        /// What to do instead.
        reason: &'static str,
    },
}

impl Listeners {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ListenError`], in words for the person who starts the program.
    pub fn open(config: &Config) -> Result<Self, ListenError> {
        let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let mut sockets = open(&config.listen, "listen")?;
        if sockets.iter().all(|one| one.side == Side::Admin) {
            return Err(ListenError::OnlyAdmin);
        }
        if let Some(admin) = &config.admin_listen {
            sockets.extend(
                open(admin, "admin.listen")?.into_iter().map(|one| Listener { side: Side::Admin, ..one }),
            );
        }
        let has_admin = sockets.iter().any(|one| one.side == Side::Admin);
        for one in &mut sockets {
            one.tls = config.tls.is_some() && matches!(one.socket, Socket::Tcp(_));
            let is_safe = one.tls || one.is_local();
            let plain = |reason| ListenError::Plain { address: one.to_string(), reason };
            match one.side {
                Side::Admin if !is_safe => return Err(plain(PLAIN_ADMIN)),
                Side::Admin => {}
                _ if !is_safe && !config.plain_http => return Err(plain(PLAIN)),
                _ if has_admin || !is_safe => one.side = Side::Public,
                _ => {}
            }
        }
        let wants_certificates = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if wants_certificates && !sockets.iter().any(|one| one.side == Side::Admin && one.tls) {
            return Err(ListenError::NothingToGuard);
        }
        sockets.sort_by_key(|one| one.side == Side::Admin);
        if sockets.iter().all(|one| one.side == Side::Public) {
            tracing::warn!("the admin API is not served: {PLAIN_ADMIN}, with admin.listen");
        }
        Ok(Self { sockets, tls })
    }

    /// Copies of the sockets that share their queues.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Vec<Listener>> {
        self.sockets.iter().map(Listener::try_clone).collect()
    }

    /// Where the admin API is served.
    pub fn admin(&self) -> Option<&Listener> {
        self.sockets.iter().rfind(|one| one.side != Side::Public)
    }

    /// Turns away everybody who waits at a socket that ends with this server.
    #[must_use]
    pub fn turn_away(&self) -> Vec<Box<dyn Read>> {
        self.sockets.iter().filter(|one| !one.inherited).flat_map(Listener::turn_away).collect()
    }

    /// Removes what the sockets leave behind in the file system.
    pub fn clean_up(&self) {
        for path in self.sockets.iter().filter_map(|one| one.file.as_ref()) {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// How many connections may wait to be accepted; the system may allow fewer. Whoever finds no room there tries again after
/// a second.
const QUEUE: i32 = 4096;

fn open(listen: &Listen, key: &'static str) -> Result<Vec<Listener>, ListenError> {
    let refused = |address: String| move |reason| ListenError::Refused { key, address, reason };
    Ok(match listen {
        Listen::Tcp(address) => {
            let socket = open_tcp(*address).map_err(refused(address.to_string()))?;
            vec![Listener::new(Socket::Tcp(socket), None)]
        }
        Listen::Unix(path) => {
            let socket = open_unix(path).map_err(refused(format!("unix:{}", path.display())))?;
            vec![Listener::new(Socket::Unix(socket), Some(path.clone()))]
        }
        Listen::Systemd => {
            let sockets = inherited().map_err(refused("systemd's socket".into()))?;
            if sockets.is_empty() {
                return Err(ListenError::NoneInherited);
            }
            sockets
        }
    })
}

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = self.sockets.iter().filter(|one| one.side != Side::Admin);
        let names: Vec<_> = public.map(Listener::to_string).collect();
        f.write_str(&names.join(" and "))
    }
}

impl Listener {
    /// One of this server's own, where everything is served.
    const fn new(socket: Socket, file: Option<PathBuf>) -> Self {
        Self { socket, side: Side::Both, tls: false, inherited: false, file }
    }

    /// A free port of this machine that nobody else gets to.
    ///
    /// # Errors
    /// The system's.
    pub fn on_free_port() -> io::Result<Self> {
        let socket = Socket::Tcp(open_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?);
        Ok(Self::new(socket, None))
    }

    fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
        };
        Ok(Self { socket, file: self.file.clone(), ..*self })
    }

    /// Whether nobody outside of this machine gets there.
    fn is_local(&self) -> bool {
        match &self.socket {
            Socket::Tcp(socket) => {
                socket.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
            }
            Socket::Unix(_) => true,
        }
    }

    /// Turns away, politely, everybody who is waiting in the queue: connections that the system has accepted and that
    /// nobody will serve any more. Answers who they were: they stay connected until that is dropped.
    fn turn_away(&self) -> Vec<Box<dyn Read>> {
        let mut turned_away: Vec<Box<dyn Read>> = Vec::new();
        match &self.socket {
            // In TLS, an answer would take a handshake.
            Socket::Tcp(socket) if self.tls => while socket.accept().is_ok() {},
            Socket::Tcp(socket) => {
                while let Ok((mut peer, _)) = socket.accept() {
                    // Whoever has gone needs no answer.
                    let _ = peer.set_nonblocking(true).and_then(|()| peer.write_all(SORRY));
                    let _ = peer.shutdown(Shutdown::Write);
                    turned_away.push(Box::new(peer));
                }
            }
            Socket::Unix(socket) => {
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
        match &self.socket {
            Socket::Tcp(socket) => match socket.local_addr() {
                Ok(address) => write!(f, "{}://{address}", if self.tls { "https" } else { "http" }),
                Err(_) => f.write_str("a socket"),
            },
            Socket::Unix(socket) => {
                match socket.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned)) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("a Unix socket"),
                }
            }
        }
    }
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    rustix::net::listen(&socket, QUEUE)?;
    Ok(socket)
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket that nobody answers at was left behind by a server that was killed. Whatever else is there stays.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    rustix::net::listen(&socket, QUEUE)?;
    // For the proxy's group; not for everybody.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(socket)
}

/// The name that a socket unit gives to the admin API's sockets (FileDescriptorName=).
const ADMIN: &str = "admin";

fn inherited() -> io::Result<Vec<Listener>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..handed.len() {
        let side = if names.next() == Some(ADMIN) { Side::Admin } else { Side::Both };
        let tcp = handed.take_tcp_listener(at);
        let socket = if let Ok(Some(socket)) = tcp {
            Socket::Tcp(socket)
        } else if let Some(socket) = handed.take_unix_listener(at)? {
            Socket::Unix(socket)
        } else {
            continue;
        };
        sockets.push(Listener { socket, side, tls: false, inherited: true, file: None });
    }
    Ok(sockets)
}
