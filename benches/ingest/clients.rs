//! Logged-in clients on a thread of their own: they read, answer pings, check that pushes come without a hole and in order,
//! measure how long each took from the publisher's socket, and send calls when told to.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::node;
use crate::support::client::{UPGRADE, masked, server_frame};

/// Logins under way at once: fewer than any listen queue holds.
const WINDOW: usize = 128;
const PATIENCE: Duration = Duration::from_secs(120);
pub const PUSH_BYTES: usize = 128;

/// What tells the two kinds of pushes apart; each is numbered from 1, by user and over all.
pub const TO_USER: u8 = b'n';
pub const TO_TOPIC: u8 = b'm';

/// A push of `PUSH_BYTES`: its number, and when it is published.
pub fn payload(kind: u8, number: u64, at: Duration) -> [u8; PUSH_BYTES] {
    let text = format!(
        r#"{{"{}":"{number:010}","t":"{:016}","x":"{}"}}"#,
        char::from(kind),
        at.as_nanos(),
        "x".repeat(PUSH_BYTES - 48)
    );
    text.as_bytes().try_into().expect("128 bytes")
}

#[derive(Default)]
struct Tally {
    logged_in: AtomicU64,
    pushes: AtomicU64,
    out_of_order: AtomicU64,
    replies: AtomicU64,
    is_recording: AtomicBool,
    is_over: AtomicBool,
    delays_ns: Mutex<Vec<u64>>,
}

pub struct Clients {
    tally: Arc<Tally>,
    calls: Sender<usize>,
}

impl Clients {
    /// Users `user0…`, one connection each, all in one topic, all logged in when this returns. `base` is what the times
    /// in payloads count from.
    pub fn start(address: SocketAddr, count: usize, topic: &'static str, base: Instant) -> Self {
        let tally = Arc::<Tally>::default();
        let (calls, asked) = channel();
        let counted = Arc::clone(&tally);
        std::thread::spawn(move || run(address, count, topic, base, &counted, &asked));
        let clients = Self { tally, calls };
        clients.wait("logins", |tally| &tally.logged_in, count as u64);
        clients
    }

    fn wait(&self, what: &str, which: fn(&Tally) -> &AtomicU64, enough: u64) {
        let until = Instant::now() + PATIENCE;
        while which(&self.tally).load(Ordering::Acquire) < enough {
            let got = which(&self.tally).load(Ordering::Acquire);
            assert!(Instant::now() < until, "{got} {what} instead of {enough}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn pushes(&self) -> u64 {
        self.tally.pushes.load(Ordering::Acquire)
    }

    pub fn wait_for_pushes(&self, enough: u64) {
        self.wait("pushes", |tally| &tally.pushes, enough);
    }

    pub fn out_of_order(&self) -> u64 {
        self.tally.out_of_order.load(Ordering::Acquire)
    }

    /// Replies to calls.
    pub fn replies(&self) -> u64 {
        self.tally.replies.load(Ordering::Acquire)
    }

    pub fn wait_for_replies(&self, enough: u64) {
        self.wait("replies", |tally| &tally.replies, enough);
    }

    /// Each client sends so many calls that want a reply.
    pub fn call(&self, each: usize) {
        self.calls.send(each).unwrap();
    }

    pub fn record_delays(&self) {
        self.tally.is_recording.store(true, Ordering::Release);
    }

    /// Sorted, since `record_delays`.
    pub fn take_delays(&self) -> Vec<Duration> {
        self.tally.is_recording.store(false, Ordering::Release);
        let mut delays = self.tally.delays_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delays: Vec<Duration> = delays.drain(..).map(Duration::from_nanos).collect();
        delays.sort_unstable();
        delays
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tally.is_over.store(true, Ordering::Release);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    LoggingIn,
    In,
}

struct Client {
    stream: TcpStream,
    stage: Stage,
    kept: Vec<u8>,
    /// The last number of each kind of push.
    to_user: u64,
    to_topic: u64,
}

fn run(address: SocketAddr, count: usize, topic: &str, base: Instant, tally: &Tally, calls: &Receiver<usize>) {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    let mut buffer = vec![0; 256 * 1024];
    while !tally.is_over.load(Ordering::Acquire) {
        let logged_in = tally.logged_in.load(Ordering::Relaxed) as usize;
        while clients.len() < count && clients.len() - logged_in < WINDOW {
            let mut stream = TcpStream::connect(address).unwrap();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(clients.len()), interest)
                .unwrap();
            clients.push(Client {
                stream,
                stage: Stage::Connecting,
                kept: Vec::new(),
                to_user: 0,
                to_topic: 0,
            });
        }
        poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
        for event in &events {
            let number = event.token().0;
            let client = &mut clients[number];
            if event.is_writable() && client.stage == Stage::Connecting {
                client.stage = Stage::Upgrading;
                client.stream.write_all(UPGRADE).unwrap();
            }
            while event.is_readable() {
                match client.stream.read(&mut buffer) {
                    Ok(0) if tally.is_over.load(Ordering::Acquire) => return,
                    Ok(0) => panic!("the node closed without a word"),
                    Ok(n) => {
                        client.take(&buffer[..n], number, topic, base, tally);
                        if n < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) if tally.is_over.load(Ordering::Acquire) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        while let Ok(each) = calls.try_recv() {
            for client in &mut clients {
                for id in 0..each {
                    client.send(
                        1,
                        format!(r#"{{"path":"never/answers","id":{id},"body":{{}}}}"#).as_bytes(),
                    );
                }
            }
        }
    }
}

impl Client {
    fn take(&mut self, bytes: &[u8], number: usize, topic: &str, base: Instant, tally: &Tally) {
        self.kept.extend_from_slice(bytes);
        let kept = std::mem::take(&mut self.kept);
        let mut at = 0;
        if self.stage == Stage::Upgrading {
            let Some(end) = kept.windows(4).position(|window| window == b"\r\n\r\n") else {
                self.kept = kept;
                return;
            };
            assert!(kept.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&kept));
            at = end + 4;
            self.stage = Stage::LoggingIn;
            let token = node::token(&format!("user{number}"));
            let connect = format!(r#"{{"path":"connect","id":1,"token":"{token}","body":{{"topics":["{topic}"]}}}}"#);
            self.send(1, connect.as_bytes());
        }
        let now = base.elapsed();
        let is_recording = tally.is_recording.load(Ordering::Relaxed);
        let mut delays_ns = Vec::new();
        let mut pushes = 0;
        while let Some((opcode, header, length)) = server_frame(&kept[at..]) {
            let Some(text) = kept.get(at + header..at + header + length) else {
                break;
            };
            at += header + length;
            match opcode {
                9 => self.send(10, text),
                1 if length == PUSH_BYTES && text.starts_with(b"{\"") && text[3..6] == *b"\":\"" => {
                    pushes += 1;
                    let digits = |range: std::ops::Range<usize>| {
                        text[range]
                            .iter()
                            .fold(0, |sum: u64, byte| sum * 10 + u64::from(byte - b'0'))
                    };
                    let last = match text[2] {
                        TO_USER => &mut self.to_user,
                        _ => &mut self.to_topic,
                    };
                    let number = digits(6..16);
                    if number != *last + 1 {
                        tally.out_of_order.fetch_add(1, Ordering::Relaxed);
                    }
                    *last = number;
                    if is_recording {
                        delays_ns.push((now.as_nanos() as u64).saturating_sub(digits(23..39)));
                    }
                }
                1 if self.stage == Stage::LoggingIn => {
                    let reply = String::from_utf8_lossy(text);
                    assert!(reply.contains("\"status\":200"), "{reply}");
                    self.stage = Stage::In;
                    tally.logged_in.fetch_add(1, Ordering::Release);
                }
                1 => {
                    tally.replies.fetch_add(1, Ordering::Release);
                }
                _ => panic!("opcode {opcode}: {}", String::from_utf8_lossy(text)),
            }
        }
        if !delays_ns.is_empty() {
            let mut all = tally.delays_ns.lock().unwrap_or_else(PoisonError::into_inner);
            all.append(&mut delays_ns);
        }
        tally.pushes.fetch_add(pushes, Ordering::Release);
        self.kept.extend_from_slice(&kept[at..]);
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).unwrap();
    }
}
