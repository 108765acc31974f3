//! A NATS client of a few lines: prepared bytes go out as fast as one socket takes them, what comes in is counted and
//! thrown away. No library, so that the publisher is never what is measured.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes handed to the socket at once, about.
pub const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Seen {
    messages: AtomicU64,
    pongs: AtomicU64,
}

pub struct Wire {
    socket: Arc<Mutex<TcpStream>>,
    seen: Arc<Seen>,
    pings: u64,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let reader = BufReader::with_capacity(256 * 1024, socket.try_clone().unwrap());
        let socket = Arc::new(Mutex::new(socket));
        let seen = Arc::<Seen>::default();
        let (answers, counted) = (Arc::clone(&socket), Arc::clone(&seen));
        std::thread::spawn(move || read(reader, &answers, &counted));
        let mut wire = Self { socket, seen, pings: 0 };
        wire.write(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n");
        wire.fence();
        wire
    }

    /// Whole protocol lines, or a `PONG` gets in between.
    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.lock().unwrap().write_all(bytes).unwrap();
    }

    pub fn subscribe(&mut self, subject: &str) {
        self.write(format!("SUB {subject} 1\r\n").as_bytes());
        self.fence();
    }

    /// Returns when the server has taken everything written so far.
    pub fn fence(&mut self) {
        self.pings += 1;
        self.write(b"PING\r\n");
        let until = Instant::now() + PATIENCE;
        while self.seen.pongs.load(Ordering::Acquire) < self.pings {
            assert!(Instant::now() < until, "the NATS server does not answer");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// How many messages have come for the subscriptions.
    pub fn messages(&self) -> u64 {
        self.seen.messages.load(Ordering::Acquire)
    }

    pub fn wait_for_messages(&self, enough: u64) {
        let until = Instant::now() + PATIENCE;
        while self.messages() < enough {
            assert!(
                Instant::now() < until,
                "{} messages came instead of {enough}",
                self.messages()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The reader has the socket, too.
        let _ = self.socket.lock().unwrap().shutdown(Shutdown::Both);
    }
}

fn read(mut reader: BufReader<TcpStream>, answers: &Mutex<TcpStream>, seen: &Seen) {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        match words.next() {
            Some("MSG" | "HMSG") => {
                let bytes: usize = words.next_back().unwrap().parse().unwrap();
                let mut left = (bytes + 2) as u64;
                while left > 0 {
                    let taken = reader.by_ref().take(left).fill_buf().unwrap().len();
                    reader.consume(taken);
                    left -= taken as u64;
                }
                seen.messages.fetch_add(1, Ordering::Release);
            }
            Some("PONG") => {
                seen.pongs.fetch_add(1, Ordering::Release);
            }
            Some("PING") => answers.lock().unwrap().write_all(b"PONG\r\n").unwrap(),
            Some("-ERR") => panic!("NATS: {line}"),
            _ => {}
        }
    }
}

/// Appends a publication to prepared bytes.
pub fn publication(bytes: &mut Vec<u8>, subject: &str, reply: Option<&str>, payload: &[u8]) {
    let mut line = String::with_capacity(64);
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    write!(line, "PUB {subject} {reply}{}\r\n", payload.len()).unwrap();
    bytes.extend_from_slice(line.as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
}
