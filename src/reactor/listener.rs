//! Listening sockets: binding them, accepting within a budget, and the gate that closes when descriptors run out.
//! Each reactor has its own socket for a TCP address (SO_REUSEPORT: the kernel spreads connections by their hash) and
//! a duplicate of the one socket for a Unix path, or for an address whose socket was inherited. Used by the reactor and by
//! start-up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{self, IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::Path;
use std::time::Duration;

use mio::net::{TcpListener, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::socket::Stream;
use crate::config::settings::ListenAddress;
use crate::metrics::Seldom;

/// Connections that the kernel may hold ready; it takes no more than `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// Data that the peer does not acknowledge for this long ends the connection: a peer that vanished without a word.
const USER_TIMEOUT: Duration = Duration::from_secs(40);
/// How long the gate stays closed when no connection of this reactor ends before: somebody else's descriptor may have
/// been freed, which no event tells.
const GATE_RETRY_MS: u64 = 100;
/// And how long when nobody could be answered because another reactor was accepting.
const GATE_SOON_MS: u64 = 1;
/// How often the log says that descriptors are out.
const SAY_EVERY_MS: u64 = 5_000;
/// A peer that is refused for want of descriptors gets this, unread and unparsed.
const NO_DESCRIPTORS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
    Content-Type: text/plain\r\nContent-Length: 31\r\n\r\nthis node has no descriptor free";

/// An address that was found free, ready to be bound by every reactor.
#[derive(Debug)]
pub enum Prepared {
    /// A TCP address with its real port.
    Tcp {
        /// Where the reactors bind.
        address: SocketAddr,
        /// Where the kernel chose the port: bound and not listening, so that nobody else is given it meanwhile.
        holder: Option<Socket>,
    },
    /// A TCP socket that was inherited, listening. The reactors share it: the kernel lets nobody join a SO_REUSEPORT group
    /// that another user, such as the service manager's root, has begun.
    Shared {
        /// Where it is bound.
        address: SocketAddr,
        /// The socket.
        listener: net::TcpListener,
    },
    /// A bound Unix socket, which the reactors share.
    Unix(unix::UnixListener),
}

/// Makes sure that nobody listens there yet, and settles the port where it was 0.
///
/// # Errors
/// The message says what to do.
pub fn prepare(address: &ListenAddress) -> io::Result<Prepared> {
    match address {
        ListenAddress::Tcp(address) if address.port() == 0 => {
            let holder = tcp_socket(*address, true)?;
            let address = holder.local_addr()?.as_socket().unwrap_or(*address);
            Ok(Prepared::Tcp {
                address,
                holder: Some(holder),
            })
        }
        ListenAddress::Tcp(address) => {
            // Without SO_REUSEPORT: bound with it, a second longwire would quietly take half of the connections.
            let probe = tcp_socket(*address, false)?;
            listen(&probe).map_err(|error| explain(address, &error))?;
            Ok(Prepared::Tcp {
                address: *address,
                holder: None,
            })
        }
        ListenAddress::Unix(path) => unix_listener(path).map(Prepared::Unix),
    }
}

/// Makes an inherited socket that listens on `address` as one that was opened here. Its backlog, its file's mode and the
/// like stay the service manager's.
///
/// # Errors
/// An option could not be set.
pub(super) fn adopt(socket: Socket, address: &ListenAddress) -> io::Result<Prepared> {
    socket.set_nonblocking(true)?;
    match address {
        ListenAddress::Tcp(address) => {
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            Ok(Prepared::Shared {
                address: *address,
                listener: socket.into(),
            })
        }
        ListenAddress::Unix(_) => Ok(Prepared::Unix(socket.into())),
    }
}

fn explain(address: impl std::fmt::Display, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "somebody listens there already (perhaps another longwire): stop it, or set another server.listen"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: set another server.listen",
        io::ErrorKind::AddrNotAvailable => "this host has no such address: set another server.listen",
        _ => "set another server.listen",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}; {advice}"))
}

fn tcp_socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        if address.is_ipv6() {
            // One address is one listener: `[::]` does not quietly take IPv4 as well.
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit these, which saves each of them the calls.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind().map_err(|error: io::Error| explain(address, &error))
}

fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

fn unix_listener(path: &Path) -> io::Result<unix::UnixListener> {
    let shown = format!("unix:{}", path.display());
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        if unix::UnixStream::connect(path).is_ok() {
            return Err(explain(shown, &io::ErrorKind::AddrInUse.into()));
        }
        // Left behind by a process that is gone.
        fs::remove_file(path).map_err(|error| explain(&shown, &error))?;
    }
    let listener = unix::UnixListener::bind(path).map_err(|error| explain(&shown, &error))?;
    // The proxy runs as another user; who may reach the socket is decided by its directory.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(|error| explain(&shown, &error))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[derive(Debug)]
enum Socketlike {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One listening socket of one reactor.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socketlike,
    /// The last accept found somebody; edge-triggered, so nobody will say it again.
    ready: bool,
}

impl Listener {
    pub fn new(prepared: &Prepared) -> io::Result<Self> {
        let socket = match prepared {
            Prepared::Tcp { address, .. } => {
                let socket = tcp_socket(*address, true)?;
                listen(&socket).map_err(|error| explain(address, &error))?;
                Socketlike::Tcp(TcpListener::from_std(socket.into()))
            }
            Prepared::Shared { listener, .. } => Socketlike::Tcp(TcpListener::from_std(listener.try_clone()?)),
            Prepared::Unix(listener) => Socketlike::Unix(UnixListener::from_std(listener.try_clone()?)),
        };
        Ok(Self { socket, ready: false })
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socketlike::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Socketlike::Unix(listener) => registry.register(listener, token, Interest::READABLE),
        }
    }

    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The next connection with its peer's address. `Ok(None)`: nobody is waiting.
    pub fn accept(&mut self) -> io::Result<Option<(Stream, Option<IpAddr>)>> {
        let accepted = match &self.socket {
            Socketlike::Tcp(listener) => listener
                .accept()
                .map(|(stream, peer)| (Stream::Tcp(stream), Some(peer.ip().to_canonical()))),
            Socketlike::Unix(listener) => listener.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Stops accepting when there is no descriptor for another connection. Without it the listener stays ready and the
/// reactor spins on EMFILE.
#[derive(Debug)]
pub(super) struct Gate {
    closed_until_ms: Option<u64>,
    /// For the log.
    seldom: Seldom,
    /// Kept open so that it can be given up for a moment: with it one peer at a time is told, instead of left hanging. Other
    /// reactors with the same table have each its own, and none takes another's for a client (`node::Shared::accept_alone`).
    reserve: Option<File>,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            closed_until_ms: None,
            seldom: Seldom::new(SAY_EVERY_MS),
            reserve: open_reserve().ok(),
        }
    }

    /// If it is to be said that descriptors are out: how often they were since it was last said.
    pub fn says(&mut self, now_ms: u64) -> Option<u64> {
        self.seldom.says(now_ms)
    }

    pub fn is_open(&self) -> bool {
        self.closed_until_ms.is_none()
    }

    /// When to try again, if the gate is closed.
    pub fn reopens_ms(&self) -> Option<u64> {
        self.closed_until_ms
    }

    /// A descriptor was freed, or time went by.
    pub fn consider_reopening(&mut self, now_ms: u64, freed: bool) {
        if let Some(until_ms) = self.closed_until_ms
            && (freed || until_ms <= now_ms)
        {
            self.closed_until_ms = None;
            if self.reserve.is_none() {
                match open_reserve() {
                    Ok(reserve) => self.reserve = Some(reserve),
                    // Somebody who is no reactor took it. The next that is free is the reserve's, and no client's.
                    Err(error) if is_exhaustion(&error) => self.closed_until_ms = Some(now_ms + GATE_RETRY_MS),
                    Err(_) => {}
                }
            }
        }
    }

    /// `accept` said that no descriptor is left, and another reactor would take what this one gave up.
    pub fn close_for_now(&mut self, now_ms: u64) {
        self.closed_until_ms = Some(now_ms + GATE_SOON_MS);
    }

    /// `accept` said that no descriptor is left: answers one peer with the reserve, and closes the gate. True if a peer was
    /// answered. Only while no other reactor accepts.
    pub fn close(&mut self, listener: &mut Listener, now_ms: u64) -> bool {
        self.closed_until_ms = Some(now_ms + GATE_RETRY_MS);
        let answered = match self.reserve.take() {
            Some(reserve) => {
                drop(reserve);
                listener
                    .accept()
                    .ok()
                    .flatten()
                    .is_some_and(|(stream, _)| turn_away(stream))
            }
            None => false,
        };
        self.reserve = open_reserve().ok();
        answered
    }
}

fn turn_away(stream: Stream) -> bool {
    match stream {
        Stream::Tcp(mut stream) => stream.write_all(NO_DESCRIPTORS).is_ok(),
        Stream::Unix(stream) => write_unix(stream),
    }
}

fn write_unix(mut stream: UnixStream) -> bool {
    stream.write_all(NO_DESCRIPTORS).is_ok()
}

fn open_reserve() -> io::Result<File> {
    File::open("/dev/null")
}

/// Whether `accept` failed for want of descriptors or memory, which goes on until something is freed.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
