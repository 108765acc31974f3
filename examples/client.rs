//! A client that stays connected: logs in, prints pushes, renews its token, comes back after every loss that can heal.
//!
//! ```sh
//! cargo run --example client -- 127.0.0.1:9040 token.txt room.42
//! ```
//!
//! `token.txt` holds a JWT (`longwire token` mints one); it is read anew whenever a fresh one is needed, as your program
//! would ask your backend. Further arguments are topics. docs/clients.md says why it does what it does. Blocking, on
//! tungstenite alone and without TLS; [`Session`] and [`wait_ms`] are the parts to keep on a stack of your own.
#![allow(clippy::print_stdout)]

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// Close codes from 3000 on that a client comes back from.
const COME_BACK: [u16; 5] = [4401, 4408, 4410, 4413, 4429];
/// A connection that held this long sets the back-off to its beginning.
const PROVED: Duration = Duration::from_secs(10);
/// The longest `retry_ms` that is believed.
const TOLD_MAX_MS: u64 = 1_200_000;
/// For the TCP connection, the upgrade, the login.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Silence for longer than the gateway's pings are apart, by this much, is a dead connection.
const PONG: Duration = Duration::from_secs(10);
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

/// One connection, logged in.
struct Session {
    socket: WebSocket<TcpStream>,
    token_file: String,
    ping: Duration,
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
            token_file: token_file.to_owned(),
            ping: ATTEMPT,
            renew_at: None,
            heard_at: Instant::now(),
        };
        let login = json!({"path": "connect", "id": "login", "token": token.trim(), "body": {"topics": topics}});
        session.socket.send(Message::text(login.to_string()))?;
        Ok(session)
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
            if self.renew_at.is_some_and(|at| at <= Instant::now())
                && let Err(end) = self.renew()
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
        if message["id"] != "login" {
            return Ok(());
        }
        let body = &message["body"];
        if status != 200 {
            let reason = message["error"]["code"].as_str().unwrap_or_default().to_owned();
            let later = status == 429 || status >= 500;
            return Err(if later { End::Lost(reason) } else { End::Final(reason) });
        }
        println!("open {body}");
        self.ping = Duration::from_millis(body["ping_ms"].as_u64().unwrap_or(25_000));
        self.socket.get_ref().set_read_timeout(Some(TICK))?;
        // Four fifths of what is left.
        self.renew_at = body["expires_at"].as_u64().map(|end_s| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_secs(end_s).saturating_sub(now);
            Instant::now() + (left * 4 / 5).max(TICK)
        });
        Ok(())
    }

    /// Topics stay as they are.
    fn renew(&mut self) -> Result<(), End> {
        self.renew_at = None;
        let token = fs::read_to_string(&self.token_file)?;
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
        .and_then(|text| text.parse::<u64>().ok());
    match told {
        // Told again by a connection that proved nothing: the back-off holds too.
        Some(told) if failures > 0 => told.min(TOLD_MAX_MS).max(own),
        Some(told) => told.min(TOLD_MAX_MS),
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
        let began = Instant::now();
        let end = match Session::open(address, token_file, topics) {
            Ok(mut session) => session.run(),
            Err(end) => end,
        };
        if began.elapsed() > PROVED {
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
