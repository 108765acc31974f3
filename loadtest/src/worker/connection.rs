//! One client: its socket, what it still has to read and to write, and its accounts. Knows no other client and no schedule.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::sockopt;

use super::accounts::{Calls, Stays, Tracker};
use super::client_frames as frames;
use crate::plan::Target;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection.
    Away,
    /// The connection is being made.
    Connecting,
    /// The upgrade is under way.
    Upgrading,
    /// The login is under way.
    LoggingIn,
    /// Logged in (or upgraded, where there is no login).
    In,
    /// It has sent a close frame.
    Leaving,
}

/// One client.
pub struct Client {
    /// Its number over all workers.
    pub number: u32,
    /// Counts its connections: timers of an earlier one mean nothing.
    pub generation: u32,
    /// How far it is.
    pub stage: Stage,
    /// When its login was intended.
    pub intended_us: u64,
    /// When the login was intended whose attempts have failed so far: a login that succeeds at the third attempt took all
    /// the time since.
    pub retry_of_us: Option<u64>,
    /// Its token; empty: none.
    pub token: Box<str>,
    /// Pushes to its user.
    pub user: Tracker,
    /// Pushes to its topic.
    pub topic: Tracker,
    /// Pushes to everybody.
    pub all: Tracker,
    /// Its calls.
    pub calls: Calls,
    /// Where clients come and go: from when to when it was there.
    pub stays: Stays,
    /// One of those who stop reading.
    pub slow: bool,
    /// Has stopped reading.
    pub stopped: bool,
    socket: Option<Socket>,
    /// The beginning of a frame whose rest is to come.
    pub kept: Vec<u8>,
    out: Vec<u8>,
}

impl Client {
    /// Away.
    pub fn new(number: u32, token: String, slow: bool) -> Self {
        Self {
            number,
            generation: 0,
            stage: Stage::Away,
            intended_us: 0,
            retry_of_us: None,
            token: token.into_boxed_str(),
            user: Tracker::default(),
            topic: Tracker::default(),
            all: Tracker::default(),
            calls: Calls::default(),
            stays: Stays::default(),
            slow,
            stopped: false,
            socket: None,
            kept: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// No port, no descriptor, nobody listens (at once, on a Unix socket).
    pub fn connect(
        &mut self,
        target: &Target,
        source: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        self.generation += 1;
        self.kept.clear();
        self.out.clear();
        self.stopped = false;
        let mut socket = Socket::connect(target, source, self.slow)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Some(socket);
        self.stage = Stage::Connecting;
        Ok(())
    }

    /// Lets go of the connection; `reset` without a word (RST, which leaves no port waiting).
    pub fn drop_socket(&mut self, reset: bool) {
        if let Some(Socket::Tcp(stream)) = &self.socket
            && reset
        {
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.socket = None;
        self.stage = Stage::Away;
        self.stopped = false;
        self.kept = Vec::new();
        self.out = Vec::new();
    }

    /// Reads once.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.socket {
            Some(socket) => socket.read(buffer),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// The error that a connection attempt ended with.
    pub fn take_error(&self) -> Option<io::Error> {
        match self.socket.as_ref()? {
            Socket::Tcp(stream) => stream.take_error().ok().flatten(),
            Socket::Unix(stream) => stream.take_error().ok().flatten(),
        }
    }

    /// Sends bytes, now or when there is room.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.out.is_empty() {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut rest = bytes;
        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }

    /// There is room: sends what waits.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.send(&out)
    }

    /// Sends a frame; `scratch` is only to build it in.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8], scratch: &mut Vec<u8>) -> io::Result<()> {
        scratch.clear();
        frames::write_frame(opcode, payload, scratch);
        self.send(scratch)
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(target: &Target, source: Option<IpAddr>, small: bool) -> io::Result<Self> {
        let address = match target {
            Target::Unix(path) => return UnixStream::connect(path).map(Self::Unix),
            Target::Tcp(address, _) => *address,
        };
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        if small {
            socket.set_recv_buffer_size(4 * 1024)?;
        }
        if let Some(source) = source {
            // The port is chosen when the target is known: each pair of source and target has a whole range of ports. A
            // plain `bind` takes a port of the source for all targets together.
            nix::sys::socket::setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        Ok(Self::Tcp(TcpStream::from_std(socket.into())))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_taken_and_its_port_chosen_with_the_target() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap(), "/ws".to_owned());
        let source: IpAddr = "127.0.0.2".parse().unwrap();
        let Socket::Tcp(stream) = Socket::connect(&target, Some(source), false).unwrap() else {
            panic!("a TCP target")
        };
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), source);
        assert!(nix::sys::socket::getsockopt(&stream, sockopt::IpBindAddressNoPort).unwrap());
    }
}
