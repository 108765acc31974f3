//! A small HTTP/1.1 client for `POST /v1/push`: connections that are kept, one request in flight on each, what waits kept
//! as marks alone. A connection is one publisher: its pushes are in order. Knows no schedule.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::payload::{self, Mark, Stream};
use crate::tokens;

/// How a push's answer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Pushed {
    /// Connections that matched.
    pub matched: u64,
    /// Of these, those it was queued for.
    pub queued: u64,
    /// And those it was not.
    pub dropped: u64,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200.
    Pushed(Pushed),
    /// Another status, or no answer at all (0).
    Failed(u16),
}

/// One connection to the API.
pub struct Connection {
    address: SocketAddr,
    key: Option<String>,
    token: Token,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    in_flight: Option<Mark>,
    waiting: VecDeque<Mark>,
    /// Bytes of a push as the client gets it.
    bytes: usize,
}

impl Connection {
    /// Connects at the first request.
    pub fn new(address: SocketAddr, key: Option<String>, bytes: usize, token: Token) -> Self {
        Self {
            address,
            key,
            token,
            stream: None,
            out: Vec::new(),
            written: 0,
            read: Vec::new(),
            in_flight: None,
            waiting: VecDeque::new(),
            bytes,
        }
    }

    /// Requests that are not answered yet.
    pub fn open(&self) -> usize {
        self.waiting.len() + usize::from(self.in_flight.is_some())
    }

    /// One more push, sent when those before it are answered.
    pub fn push(&mut self, mark: Mark, registry: &Registry, done: &mut dyn FnMut(Mark, Outcome)) {
        self.waiting.push_back(mark);
        self.go_on(registry, done);
    }

    /// The kernel says that there is something to read or room to write.
    pub fn event(&mut self, registry: &Registry, done: &mut dyn FnMut(Mark, Outcome)) {
        if let Err(_lost) = self.write().and_then(|()| self.read(done)) {
            self.stream = None;
            self.read.clear();
            if let Some(mark) = self.in_flight.take() {
                done(mark, Outcome::Failed(0));
            }
        }
        self.go_on(registry, done);
    }

    /// Gives up what is not answered.
    pub fn give_up(&mut self, done: &mut dyn FnMut(Mark, Outcome)) {
        for mark in self.in_flight.take().into_iter().chain(self.waiting.drain(..)) {
            done(mark, Outcome::Failed(0));
        }
    }

    fn go_on(&mut self, registry: &Registry, done: &mut dyn FnMut(Mark, Outcome)) {
        while self.in_flight.is_none() {
            let Some(mark) = self.waiting.pop_front() else { return };
            self.request(&mark);
            self.in_flight = Some(mark);
            let sent = self.connected(registry).and_then(|()| self.write());
            if sent.is_err() {
                self.stream = None;
                self.in_flight = None;
                done(mark, Outcome::Failed(0));
            }
        }
    }

    fn connected(&mut self, registry: &Registry) -> io::Result<()> {
        if self.stream.is_none() {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn request(&mut self, mark: &Mark) {
        let mut body = Vec::with_capacity(self.bytes + 64);
        let to = match mark.stream {
            Stream::User(number) | Stream::Call(number) => format!(r#"{{"user":"{}"}}"#, tokens::user(number)),
            Stream::Topic(topic) => format!(r#"{{"topic":"load.{topic}"}}"#),
            Stream::All => r#"{"all":true}"#.to_owned(),
        };
        body.extend_from_slice(format!(r#"{{"to":{to},"path":"load","body":""#).as_bytes());
        payload::write(mark, pads(mark.stream, self.bytes), &mut body);
        body.extend_from_slice(payload::CLOSING.as_bytes());
        self.out.clear();
        self.written = 0;
        self.out
            .extend_from_slice(b"POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        if let Some(key) = &self.key {
            self.out.extend_from_slice(b"Authorization: Bearer ");
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        self.out
            .extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.out.extend_from_slice(&body);
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                // Not connected yet counts as no room.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, done: &mut dyn FnMut(Mark, Outcome)) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.read.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let Some((outcome, used)) = answer(&self.read)? {
            self.read.drain(..used);
            if let Some(mark) = self.in_flight.take() {
                done(mark, outcome);
            }
        }
        Ok(())
    }
}

/// Pads that make a push of this stream as long as asked, as the client gets it.
fn pads(stream: Stream, bytes: usize) -> usize {
    let opening = match stream {
        Stream::Topic(topic) => payload::topic_opening(topic).len(),
        _ => payload::OPENING.len(),
    };
    bytes.saturating_sub(payload::HEAD + opening + payload::CLOSING.len())
}

/// The answer that begins these bytes, if it is complete, and its length.
fn answer(bytes: &[u8]) -> io::Result<Option<(Outcome, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let broken = || io::Error::from(ErrorKind::InvalidData);
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| broken())?;
    let status: u16 = head
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + 4 + length.unwrap_or(0);
    let Some(body) = bytes.get(end + 4..whole) else {
        return Ok(None);
    };
    let pushed = (status == 200).then(|| serde_json::from_slice(body).ok()).flatten();
    Ok(Some((pushed.map_or(Outcome::Failed(status), Outcome::Pushed), whole)))
}

/// One request, one answer's body, over a connection of its own: for figures (`/metrics`) and what is rare.
///
/// # Errors
/// The socket's.
pub fn get(address: SocketAddr, key: Option<&str>, path: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{key}\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text
        .split_once("\r\n\r\n")
        .map_or_else(String::new, |(_, body)| body.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 37\r\n\r\n{\"matched\":1,\"queued\":1,\"dropped\":0} HTTP";
        let pushed = Pushed {
            matched: 1,
            queued: 1,
            dropped: 0,
        };
        assert_eq!(answer(text).unwrap(), Some((Outcome::Pushed(pushed), text.len() - 4)));
        assert_eq!(answer(&text[..60]).unwrap(), None);
        let refused = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer(refused).unwrap(), Some((Outcome::Failed(503), refused.len())));
    }
}
