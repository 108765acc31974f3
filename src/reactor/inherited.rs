//! Listening sockets that a service manager opened before it started this process (socket activation, `sd_listen_fds(3)`).
//! They outlive the process: whoever connects while it restarts waits in their backlog. Each is matched with a configured
//! address by where it is bound, and one that no address asks for is refused, so that no port is open that nobody serves.
//! Received once, by `serve`, which gives the API its own; the rest goes to `threads`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{SockAddr, Socket, Type};

use super::descriptors;
use super::listener::{self, Prepared};
use crate::config::settings::ListenAddress;

/// What a socket unit can be told to do about a socket that is not wanted.
const ADVICE: &str = "write the same addresses in the socket unit (ListenStream=) and in server.listen";

/// The sockets that nothing has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(Socket, Bound)>,
}

impl Inherited {
    /// Takes what this process was started with; nothing without a service manager. The first thing that a process does:
    /// see `descriptors::inherited`.
    ///
    /// # Errors
    /// What was passed is no listening stream socket, or is not there at all.
    pub fn receive() -> io::Result<Self> {
        let passed = descriptors::inherited()
            .map_err(|error| io::Error::new(error.kind(), format!("the sockets that LISTEN_FDS promises: {error}")))?;
        Self::check(passed)
    }

    fn check(passed: Vec<OwnedFd>) -> io::Result<Self> {
        let sockets = passed.into_iter().map(|descriptor| {
            let socket = Socket::from(descriptor);
            let bound = socket.local_addr().map(Bound::from);
            match (&bound, socket.is_listener(), socket.r#type()) {
                (Ok(_), Ok(true), Ok(Type::STREAM)) => Ok((socket, bound?)),
                _ => {
                    let what = bound.map_or("something that is no socket".to_owned(), |bound| bound.to_string());
                    Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!(
                            "the service manager passed {what}, which is no listening stream socket: use ListenStream= and \
                             Accept=no in the socket unit"
                        ),
                    ))
                }
            }
        });
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    fn find(&mut self, address: &ListenAddress) -> Option<Socket> {
        let index = self.sockets.iter().position(|(_, bound)| bound.is(address))?;
        Some(self.sockets.swap_remove(index).0)
    }

    /// The socket that listens on `address`, ready to be shared by the reactors; `None`: nobody opened it.
    ///
    /// # Errors
    /// The socket could not be made ready.
    pub fn take(&mut self, address: &ListenAddress) -> io::Result<Option<Prepared>> {
        let adopt = |socket| listener::adopt(socket, address);
        self.find(address).map(adopt).transpose()
    }

    /// The same for a listener that is no reactor's.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.find(&ListenAddress::Tcp(address)).map(TcpListener::from)
    }

    /// To be asked when everybody has taken what is theirs.
    ///
    /// # Errors
    /// There is a socket that nobody wanted; the message names it.
    pub fn nothing_left(&self) -> io::Result<()> {
        let Some((_, bound)) = self.sockets.first() else {
            return Ok(());
        };
        let text = format!(
            "the service manager listens on {bound}, which server.listen does not name (or once only): {ADVICE}"
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

/// Where a socket is bound; `None`: nowhere that a configuration could name (an abstract name, another family).
#[derive(Debug)]
struct Bound(Option<ListenAddress>);

impl Bound {
    fn is(&self, address: &ListenAddress) -> bool {
        self.0.as_ref() == Some(address)
    }
}

impl From<SockAddr> for Bound {
    fn from(address: SockAddr) -> Self {
        let tcp = address.as_socket().map(ListenAddress::Tcp);
        Self(tcp.or_else(|| Some(ListenAddress::Unix(address.as_pathname()?.to_owned()))))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a socket without an address"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tcp() -> (OwnedFd, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener.into(), address)
    }

    #[test]
    fn each_socket_is_found_by_its_address_and_once() {
        let ((first, first_at), (second, second_at)) = (tcp(), tcp());
        let dir = std::env::temp_dir().join(format!("longwire-inherited-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("ws.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let mut inherited = Inherited::check(vec![first, unix.into(), second]).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();

        assert_eq!(inherited.take_tcp(second_at).unwrap().local_addr().unwrap(), second_at);
        assert!(inherited.take_tcp(second_at).is_none());
        let prepared = inherited.take(&ListenAddress::Unix(path)).unwrap();
        assert!(matches!(prepared, Some(Prepared::Unix(_))));
        assert!(
            inherited
                .nothing_left()
                .unwrap_err()
                .to_string()
                .contains(&first_at.to_string())
        );
        let prepared = inherited.take(&ListenAddress::Tcp(first_at)).unwrap();
        assert!(matches!(prepared, Some(Prepared::Shared { address, .. }) if address == first_at));
        inherited.nothing_left().unwrap();
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_refused() {
        let (listener, at) = tcp();
        let connected = TcpStream::connect(at).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for wrong in [connected.into(), datagrams.into(), OwnedFd::from(file)] {
            let error = Inherited::check(vec![wrong]).unwrap_err().to_string();
            assert!(error.contains("ListenStream="), "{error}");
        }
        Inherited::check(vec![listener]).unwrap();
    }
}
