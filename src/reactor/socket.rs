//! One client's socket: read into the reactor's scratch buffer, write what is queued. Knows system calls, and nothing of
//! what the bytes mean. Used by the reactor alone.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// A connected socket of either family.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a read or a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// So many bytes went; zero is never said.
    Bytes(usize),
    /// None can go now: the next edge says when.
    Blocked,
    /// Read only: the peer closed its side.
    EndOfFile,
    /// The socket is broken.
    Failed,
}

impl Stream {
    /// Edge-triggered for both directions, once and for all.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        loop {
            let result = match self {
                Self::Tcp(stream) => stream.read(buffer),
                Self::Unix(stream) => stream.read(buffer),
            };
            match transfer(result, Transfer::EndOfFile) {
                Some(transfer) => return transfer,
                None => continue,
            }
        }
    }

    /// One system call, whatever the number of slices: `send` for one of them, which costs less than `writev`.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        loop {
            let result = match (&mut *self, slices) {
                (Self::Tcp(stream), [one]) => stream.write(one),
                (Self::Tcp(stream), many) => stream.write_vectored(many),
                (Self::Unix(stream), [one]) => stream.write(one),
                (Self::Unix(stream), many) => stream.write_vectored(many),
            };
            match transfer(result, Transfer::Blocked) {
                Some(transfer) => return transfer,
                None => continue,
            }
        }
    }

    /// Tells the peer that nothing more comes. A socket that is gone already needs not be told.
    pub fn shut_write(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

/// `None`: interrupted, do it again.
fn transfer(result: io::Result<usize>, zero: Transfer) -> Option<Transfer> {
    Some(match result {
        Ok(0) => zero,
        Ok(bytes) => Transfer::Bytes(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Transfer::Blocked,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
        Err(_) => Transfer::Failed,
    })
}
