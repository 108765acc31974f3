//! Many clients in one process of their own: they connect, log in (or not), answer pings, and count what they get.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::support::binary::SECRET;
use crate::support::client::{UPGRADE, masked, server_frame, token};

/// Handshakes under way at once: fewer than any listen queue holds.
const WINDOW: usize = 256;
const PATIENCE: Duration = Duration::from_secs(120);

/// The clients' process, as its parent sees it.
pub struct Crowd {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    /// Connections that say nothing.
    pub fn start_raw(address: SocketAddr, count: usize) -> Self {
        Self::start(&["raw", &address.to_string(), &count.to_string(), "-"])
    }

    /// Clients `<prefix>0…` that are logged in, each with one device, when this returns.
    pub fn start_clients(address: SocketAddr, count: usize, prefix: &str) -> Self {
        Self::start(&["clients", &address.to_string(), &count.to_string(), prefix])
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("role-crowd")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut crowd = Self { child, answers };
        assert_eq!(crowd.answer(), "ready");
        crowd
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, what: &str) -> u64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
        self.answer().parse().expect("a number")
    }

    pub fn frames(&mut self) -> u64 {
        self.ask("frames")
    }

    pub fn wait_for_closed(&mut self, connections: u64) {
        self.wait("closed", connections);
    }

    pub fn wait_for_frames(&mut self, frames: u64) {
        self.wait("frames", frames);
    }

    pub fn wait_for_bytes(&mut self, bytes: u64) {
        self.wait("bytes", bytes);
    }

    fn wait(&mut self, what: &str, enough: u64) {
        let until = Instant::now() + PATIENCE;
        while self.ask(what) < enough {
            assert!(Instant::now() < until, "the crowd got fewer {what} than {enough}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Raw,
    Connecting,
    Upgrading,
    LoggingIn,
    In,
    Closed,
}

/// What happened so far, over all clients.
#[derive(Default)]
struct Tally {
    done: usize,
    frames: u64,
    bytes: u64,
    closed: u64,
}

struct Client {
    stream: TcpStream,
    stage: Stage,
    kept: Vec<u8>,
}

/// The clients themselves.
pub fn run(arguments: &[String]) {
    let [mode, address, count, prefix] = arguments else {
        panic!("four arguments")
    };
    let address: SocketAddr = address.parse().unwrap();
    let count: usize = count.parse().unwrap();
    let raw = mode == "raw";
    let auth = longwire::config::development(SECRET.to_owned()).auth;
    let (questions, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = questions.send(line);
        }
        std::process::exit(0);
    });
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    let mut tally = Tally::default();
    let mut ready = false;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        while clients.len() < count && clients.len() - tally.done < WINDOW {
            let mut stream = TcpStream::connect(address).unwrap();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(clients.len()), interest)
                .unwrap();
            let stage = if raw { Stage::Raw } else { Stage::Connecting };
            clients.push(Client {
                stream,
                stage,
                kept: Vec::new(),
            });
        }
        if tally.done == count && !ready {
            ready = true;
            println!("ready");
        }
        poll.poll(&mut events, Some(Duration::from_millis(if ready { 5 } else { 100 })))
            .unwrap();
        for event in &events {
            let number = event.token().0;
            let client = &mut clients[number];
            if event.is_writable() {
                match client.stage {
                    Stage::Raw => {
                        client.stage = Stage::In;
                        tally.done += 1;
                    }
                    Stage::Connecting => {
                        client.stage = Stage::Upgrading;
                        client.stream.write_all(UPGRADE).unwrap();
                    }
                    _ => {}
                }
            }
            if event.is_readable() {
                loop {
                    match client.stream.read(&mut buffer) {
                        Ok(0) => {
                            assert_eq!(client.stage, Stage::Closed, "the server closed without a word");
                            break;
                        }
                        Ok(n) => {
                            tally.bytes += n as u64;
                            if !raw {
                                client.take(&buffer[..n], &mut tally, || {
                                    token(&auth, &format!("{prefix}{number}"), None)
                                });
                            }
                            if n < buffer.len() {
                                break;
                            }
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        while let Ok(question) = asked.try_recv() {
            let answer = match question.as_str() {
                "frames" => tally.frames,
                "closed" => tally.closed,
                _ => tally.bytes,
            };
            println!("{answer}");
        }
    }
}

impl Client {
    fn take(&mut self, bytes: &[u8], tally: &mut Tally, token: impl Fn() -> String) {
        self.kept.extend_from_slice(bytes);
        if self.stage == Stage::Upgrading {
            let Some(end) = self.kept.windows(4).position(|window| window == b"\r\n\r\n") else {
                return;
            };
            assert!(
                self.kept.starts_with(b"HTTP/1.1 101"),
                "{}",
                String::from_utf8_lossy(&self.kept)
            );
            self.kept.drain(..end + 4);
            self.stage = Stage::LoggingIn;
            let connect = format!(
                r#"{{"path":"connect","id":1,"token":"{}","body":{{"device":"phone"}}}}"#,
                token()
            );
            self.send(1, connect.as_bytes());
        }
        let mut at = 0;
        while let Some((opcode, header, payload)) = server_frame(&self.kept[at..]) {
            let whole = header + payload;
            if self.kept.len() - at < whole {
                break;
            }
            match (opcode, self.stage) {
                (9, _) => self.send(10, b""),
                (8, _) => {
                    let payload = self.kept[at + header..at + whole].to_vec();
                    self.send(8, &payload[..2]);
                    self.stage = Stage::Closed;
                    tally.closed += 1;
                }
                (1, Stage::LoggingIn) => {
                    let reply = &self.kept[at + header..at + whole];
                    assert!(
                        reply.windows(12).any(|w| w == b"\"status\":200"),
                        "{}",
                        String::from_utf8_lossy(reply)
                    );
                    self.stage = Stage::In;
                    tally.done += 1;
                }
                (1, _) => tally.frames += 1,
                _ => panic!("opcode {opcode}"),
            }
            at += whole;
        }
        self.kept.drain(..at);
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).unwrap();
    }
}
