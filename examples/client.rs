//! A client that stays connected: logs in, prints pushes, renews its token, comes back after every loss that can heal.
//!
//! ```sh
//! cargo run --example client -- 127.0.0.1:9040 token.txt room.42
//! ```
//!
//! `token.txt` holds a JWT (`longwire token` mints one); it is read anew whenever a fresh one is needed, as your program
//! would ask your backend. Further arguments are topics. docs/clients.md says why it does what it does, and which of its
//! rules are left out here. Blocking, on tungstenite alone and without TLS; [`Session`] and [`wait_ms`] are the parts to
//! keep on a stack of your own.
#![allow(clippy::print_stdout)]

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// Close codes from 3000 on that a client comes back from.
const COME_BACK: [u16; 5] = [4401, 4408, 4410, 4413, 4429];
/// A connection that was logged in this long sets the back-off to its beginning.
const PROVED: Duration = Duration::from_secs(10);
/// The longest `retry_ms` that is believed.
const TOLD_MAX_MS: u64 = 1_200_000;
/// For the TCP connection, the upgrade, the login.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Silence for longer than the gateway's pings are apart, by this much, is a dead connection.
const PONG: Duration = Duration::from_secs(10);
/// How long until a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// After a rate limit while topics are subscribed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the clock is looked at while nothing comes.
const TICK: Duration = Duration::from_secs(1);

/// How a connection, or an attempt at one, ended.
enum End {
    /// Come back; the reason may be `retry_ms=<n>`.
    Lost(String),
    /// Do not.
    Final(String),
}

impl<E: std::error::Error> From<E> for End {
    fn from(error: E) -> Self {
        Self::Lost(error.to_string())
    }
}

/// One connection.
struct Session {
    socket: WebSocket<TcpStream>,
    token: String,
    token_file: String,
    topics: Vec<String>,
    /// Topics that are still to be subscribed, in groups; the last one is asked for, or waits for `resume_at`.
    groups: Vec<Vec<String>>,
    resume_at: Option<Instant>,
    ping: Duration,
    opened_at: Option<Instant>,
    renew_at: Option<Instant>,
    heard_at: Instant,
}

impl Session {
    fn open(address: &str, token_file: &str, topics: &[String]) -> Result<Self, End> {
        // The token first: the gateway's clock runs from the accept.
        let token = fs::read_to_string(token_file)?;
        let peer = address
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| End::Final(format!("{address} is no address")))?;
        let stream = TcpStream::connect_timeout(&peer, ATTEMPT)?;
        stream.set_read_timeout(Some(ATTEMPT))?;
        stream.set_write_timeout(Some(ATTEMPT))?;
        let (socket, _) =
            tungstenite::client(format!("ws://{address}/ws"), stream).map_err(|error| End::Lost(error.to_string()))?;
        let mut session = Self {
            socket,
            token: token.trim().to_owned(),
            token_file: token_file.to_owned(),
            topics: topics.to_vec(),
            groups: Vec::new(),
            resume_at: None,
            ping: ATTEMPT,
            opened_at: None,
            renew_at: None,
            heard_at: Instant::now(),
        };
        session.log_in(topics)?;
        Ok(session)
    }

    fn log_in(&mut self, topics: &[String]) -> Result<(), End> {
        let login = json!({"path": "connect", "id": "login", "token": self.token, "body": {"topics": topics}});
        Ok(self.socket.send(Message::text(login.to_string()))?)
    }

    /// Asks for the last group of topics.
    fn subscribe(&mut self) -> Result<(), End> {
        self.resume_at = None;
        let Some(group) = self.groups.last() else {
            return Ok(());
        };
        let message = json!({"path": "subscribe", "id": "topics", "body": {"topics": group}});
        Ok(self.socket.send(Message::text(message.to_string()))?)
    }

    /// Prints what comes, until it ends.
    fn run(&mut self) -> End {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.heard_at = Instant::now();
                    if let Err(end) = self.message(&text) {
                        return end;
                    }
                }
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (u16::from(frame.code), frame.reason.to_string())
                    });
                    let stop = code == 1000 || (code >= 3000 && !COME_BACK.contains(&code));
                    return if stop {
                        End::Final(format!("{code} {reason}"))
                    } else {
                        End::Lost(reason)
                    };
                }
                // The gateway's pings: tungstenite answers them by itself.
                Ok(_) => self.heard_at = Instant::now(),
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return error.into(),
            }
            if self.heard_at.elapsed() > self.ping + PONG {
                return End::Lost("no sign of life".to_owned());
            }
            let now = Instant::now();
            if self.renew_at.is_some_and(|at| at <= now)
                && let Err(end) = self.renew()
            {
                return end;
            }
            if self.resume_at.is_some_and(|at| at <= now)
                && let Err(end) = self.subscribe()
            {
                return end;
            }
        }
    }

    fn message(&mut self, text: &str) -> Result<(), End> {
        let message: Value = serde_json::from_str(text)?;
        let Some(status) = message["status"].as_u64() else {
            println!("push {message}");
            return Ok(());
        };
        match message["id"].as_str() {
            Some("login") => self.logged_in(status, &message),
            Some("topics") => self.subscribed(status, &message),
            _ => Ok(()),
        }
    }

    /// The answer to the login, or to a renewal.
    fn logged_in(&mut self, status: u64, message: &Value) -> Result<(), End> {
        let body = &message["body"];
        if status == 200 {
            if self.opened_at.is_none() {
                println!("open {body}");
                self.opened_at = Some(Instant::now());
                self.ping = Duration::from_millis(body["ping_ms"].as_u64().unwrap_or(25_000));
                self.socket.get_ref().set_read_timeout(Some(TICK))?;
                self.subscribe()?;
            } else {
                println!("renewed {body}");
            }
            // Four fifths of what is left.
            self.renew_at = body["expires_at"].as_u64().map(|end_s| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let left = Duration::from_secs(end_s).saturating_sub(now);
                Instant::now() + (left * 4 / 5).max(TICK)
            });
            return Ok(());
        }
        if self.opened_at.is_some() && status != 403 {
            // The token that is there is good for a while yet; 403: the fresh one is another user's.
            self.renew_at = Some(Instant::now() + RENEW_AGAIN);
            return Ok(());
        }
        if self.opened_at.is_none() && matches!(status, 400 | 403) && !self.topics.is_empty() {
            // One forbidden topic must not keep the others away.
            self.groups.push(std::mem::take(&mut self.topics));
            return self.log_in(&[]);
        }
        let later = status == 429 || status >= 500;
        let reason = message["error"]["code"].as_str().unwrap_or_default().to_owned();
        Err(if later { End::Lost(reason) } else { End::Final(reason) })
    }

    /// The answer to a group of topics: what is refused is asked again in halves, until it is one topic.
    fn subscribed(&mut self, status: u64, message: &Value) -> Result<(), End> {
        if status == 429 {
            self.resume_at = Some(Instant::now() + PAUSE);
            return Ok(());
        }
        let reason = message["error"]["code"].as_str().unwrap_or_default();
        if status >= 500 {
            return Err(End::Lost(reason.to_owned()));
        }
        let mut group = self.groups.pop().unwrap_or_default();
        if status != 200 && group.len() > 1 {
            let second = group.split_off(group.len() / 2);
            self.groups.push(second);
            self.groups.push(group);
        } else if status != 200 {
            println!("refused {} {reason}", group.concat());
        }
        self.subscribe()
    }

    /// Topics stay as they are. Without a fresh token the connection is good for a while yet.
    fn renew(&mut self) -> Result<(), End> {
        let Ok(token) = fs::read_to_string(&self.token_file) else {
            self.renew_at = Some(Instant::now() + RENEW_AGAIN);
            return Ok(());
        };
        self.renew_at = None;
        let login = json!({"path": "connect", "id": "login", "token": token.trim()});
        Ok(self.socket.send(Message::text(login.to_string()))?)
    }
}

/// How long to wait after `failures` losses since a connection proved itself: as told, or anything up to the back-off's
/// bound. All of it is random ("full jitter"), or everybody who lost a node would be back at once.
fn wait_ms(failures: u32, reason: &str) -> u64 {
    let own = fastrand::u64(0..=(1_000 << failures.min(5)).min(30_000));
    let told = reason
        .strip_prefix("retry_ms=")
        .and_then(|text| text.parse::<u64>().ok())
        // Beyond belief: spread, so that a crowd does not come back at once.
        .map(|told| {
            if told > TOLD_MAX_MS {
                fastrand::u64(0..TOLD_MAX_MS)
            } else {
                told
            }
        });
    match told {
        // Told again by a connection that proved nothing: the back-off holds too.
        Some(told) if failures > 0 => told.max(own),
        Some(told) => told,
        None => own,
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, token_file, topics @ ..] = arguments.as_slice() else {
        println!("usage: client HOST:PORT TOKEN_FILE [TOPIC]…");
        return;
    };
    let mut failures = 0;
    loop {
        let (end, opened_at) = match Session::open(address, token_file, topics) {
            Ok(mut session) => (session.run(), session.opened_at),
            Err(end) => (end, None),
        };
        // Time that a hung gateway takes to say nothing proves nothing.
        if opened_at.is_some_and(|at| at.elapsed() >= PROVED) {
            failures = 0;
        }
        match end {
            End::Final(reason) => return println!("closed {reason}"),
            End::Lost(reason) => {
                let wait_ms = wait_ms(failures, &reason);
                failures += 1;
                println!("waiting {wait_ms} ms: {reason}");
                thread::sleep(Duration::from_millis(wait_ms));
            }
        }
    }
}
