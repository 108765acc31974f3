//! What happens on the clients' sockets: the upgrade, the login, frames, the end. Counts into the tally and the accounts.
//! Decides no time: `tasks` says who connects, leaves and calls when.

use std::io::ErrorKind;

use super::client_frames::{self as frames, Upgraded};
use super::connection::Stage;
use super::{Task, Worker};
use crate::clock;
use crate::payload::{self, Found, Mark, Stream};
use crate::plan::{Login, Target};

/// How long a connection attempt may take until it is given up, microseconds.
const LOGIN_PATIENCE_US: u64 = 30_000_000;
/// How long a leaving client waits for the server's close frame, microseconds.
pub const LEAVE_PATIENCE_US: u64 = 5_000_000;

impl Worker {
    /// Client `at` begins to connect.
    pub fn connect(&mut self, at: usize, intended_us: u64) {
        let number = self.clients[at].number as usize;
        let target = &self.plan.targets[number % self.plan.targets.len()];
        let sources = &self.plan.sources;
        // Sources turn slower than targets, so that every pair of the two is used.
        let turn = number / self.plan.targets.len();
        let source = (!sources.is_empty()).then(|| sources[turn % sources.len()]);
        let client = &mut self.clients[at];
        client.intended_us = intended_us;
        self.under_way += 1;
        if let Err(error) = client.connect(target, source, self.poll.registry(), mio::Token(at)) {
            client.stage = Stage::Connecting;
            let kind = connect_error(&error);
            return self.lost(at, kind, None);
        }
        let generation = client.generation;
        self.later(clock::now_us() + LOGIN_PATIENCE_US, at, generation, Task::GiveUp);
    }

    /// The kernel says that client `at` can go on.
    pub fn event(&mut self, at: usize, readable: bool, writable: bool) {
        if writable && self.clients[at].stage == Stage::Connecting {
            if let Some(error) = self.clients[at].take_error() {
                return self.lost(at, connect_error(&error), None);
            }
            let path = match &self.plan.targets[self.clients[at].number as usize % self.plan.targets.len()] {
                Target::Tcp(_, path) => path.as_str(),
                Target::Unix(_) => "/ws",
            };
            self.scratch.clear();
            frames::write_upgrade(path, &mut self.scratch);
            self.clients[at].stage = Stage::Upgrading;
            let sent = self.clients[at].send(&self.scratch);
            if sent.is_err() {
                return self.lost(at, "reset_in_handshake", None);
            }
        } else if writable && self.clients[at].flush().is_err() {
            return self.lost(at, "connection_lost", None);
        }
        if readable && !self.clients[at].stopped {
            self.read(at);
        }
    }

    /// Reads until there is nothing more.
    pub fn read(&mut self, at: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let generation = self.clients[at].generation;
        loop {
            let client = &mut self.clients[at];
            if client.stage == Stage::Away || client.generation != generation {
                break;
            }
            match client.read(&mut buffer) {
                Ok(0) => {
                    self.ended(at);
                    break;
                }
                Ok(n) => {
                    self.take(at, &buffer[..n]);
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended(at);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn take(&mut self, at: usize, bytes: &[u8]) {
        if self.clients[at].kept.is_empty() {
            let used = self.parse(at, bytes);
            if self.clients[at].stage != Stage::Away && used < bytes.len() {
                self.clients[at].kept.extend_from_slice(&bytes[used..]);
            }
            return;
        }
        let mut kept = std::mem::take(&mut self.clients[at].kept);
        kept.extend_from_slice(bytes);
        let used = self.parse(at, &kept);
        if self.clients[at].stage != Stage::Away && used < kept.len() {
            kept.drain(..used);
            self.clients[at].kept = kept;
        }
    }

    /// Handles what is complete; how many bytes that was.
    fn parse(&mut self, at: usize, bytes: &[u8]) -> usize {
        let mut used = 0;
        if self.clients[at].stage == Stage::Upgrading {
            match frames::read_upgrade(bytes) {
                Upgraded::NotYet => return 0,
                Upgraded::No(status) => {
                    self.lost(at, &format!("refused_{status}"), None);
                    return 0;
                }
                Upgraded::Yes(head) => used = head,
            }
            self.upgraded(at);
        }
        while let Some(frame) = frames::read_frame(&bytes[used..]) {
            let payload = &bytes[used..][frame.payload.clone()];
            used += frame.payload.end;
            self.frame(at, frame.opcode, payload);
            if self.clients[at].stage == Stage::Away {
                break;
            }
        }
        used
    }

    fn upgraded(&mut self, at: usize) {
        if self.plan.login == Login::None {
            return self.logged_in(at);
        }
        let client = &mut self.clients[at];
        client.stage = Stage::LoggingIn;
        let topic = self.plan.topic(client.number);
        let topics = topic.map_or_else(String::new, |topic| format!(r#","topics":["load.{topic}"]"#));
        let connect = format!(
            r#"{{"path":"connect","id":1,"token":"{}","body":{{"device":"load"{topics}}}}}"#,
            client.token
        );
        if client
            .send_frame(frames::TEXT, connect.as_bytes(), &mut self.scratch)
            .is_err()
        {
            self.lost(at, "reset_in_handshake", None);
        }
    }

    fn logged_in(&mut self, at: usize) {
        let now_us = clock::now_us();
        let client = &mut self.clients[at];
        client.stage = Stage::In;
        client.retry_of_us = None;
        if self.measuring {
            client.user.was_away();
            client.topic.was_away();
            client.all.was_away();
        }
        if self.churn.is_some() {
            client.stays.begin(now_us);
        }
        self.under_way -= 1;
        self.tally.connected += 1;
        self.tally.logins += 1;
        self.tally.last_login_us = now_us;
        let intended_us = client.intended_us;
        self.tally.delay("login", now_us.saturating_sub(intended_us));
        self.stays(at, now_us);
    }

    fn frame(&mut self, at: usize, opcode: Option<u8>, payload: &[u8]) {
        let client = &mut self.clients[at];
        match opcode {
            Some(frames::PING) => {
                if client.send_frame(frames::PONG, payload, &mut self.scratch).is_err() {
                    self.lost(at, "connection_lost", None);
                }
            }
            Some(frames::PONG) => {}
            Some(frames::CLOSE) => {
                let code = frames::close_code(payload);
                if client.stage == Stage::Leaving {
                    return self.left(at);
                }
                let answer = payload.get(..2).unwrap_or_default();
                let _ = client.send_frame(frames::CLOSE, answer, &mut self.scratch);
                self.lost(at, &format!("closed_{code}"), frames::retry_ms(payload));
            }
            Some(frames::TEXT | frames::BINARY) if client.stage == Stage::LoggingIn => {
                if contains(payload, br#""status":200"#) && contains(payload, br#""path":"connect""#) {
                    self.logged_in(at);
                } else {
                    self.lost(at, "login_refused", None);
                }
            }
            Some(frames::TEXT | frames::BINARY) => self.message(at, payload),
            _ => {
                self.tally.error("bad_frame");
                self.tally.accounts.garbled += 1;
            }
        }
    }

    fn message(&mut self, at: usize, message: &[u8]) {
        let now_us = clock::now_us();
        self.tally.received += 1;
        self.tally.last_received_us = now_us;
        let accounts = &mut self.tally.accounts;
        let (mark, place) = match payload::find(message) {
            Found::Whole(mark, _) if mark.run != self.plan.run => return self.tally.error("foreign_message"),
            Found::Whole(mark, place) => (mark, place),
            Found::Broken | Found::None => {
                accounts.garbled += 1;
                return self.tally.error("garbled");
            }
        };
        let client = &mut self.clients[at];
        let mine = match mark.stream {
            Stream::User(number) | Stream::Call(number) => number == client.number,
            Stream::Topic(topic) => self.plan.topic(client.number) == Some(topic),
            Stream::All => true,
        };
        let reply = matches!(mark.stream, Stream::Call(_)) && self.plan.login != Login::None;
        let whole = reply || payload::surrounded_as_sent(message, mark.stream, place);
        if !mine || !whole {
            accounts.garbled += 1;
            return self.tally.error(if mine { "garbled" } else { "misdelivered" });
        }
        let mut answered = true;
        let kind = match mark.stream {
            Stream::User(_) => {
                client.user.take(mark.number, accounts);
                "push"
            }
            Stream::Topic(_) => {
                client.topic.take(mark.number, accounts);
                "broadcast"
            }
            Stream::All => {
                client.all.take(mark.number, accounts);
                "broadcast"
            }
            Stream::Call(_) => {
                if !client.calls.take(mark.number, accounts) {
                    return;
                }
                if reply { "call" } else { "echo" }
            }
        };
        if reply {
            answered = self.reply(&mark, &message[place.to..]);
        }
        // How fast a call is refused says nothing of how fast calls are answered.
        if answered && !self.clients[at].slow {
            self.tally.delay(kind, now_us.saturating_sub(mark.intended_us));
        }
    }

    /// The rest of a reply to a call: its status, and the body, which must be what was asked. Whether it was answered.
    fn reply(&mut self, mark: &Mark, rest: &[u8]) -> bool {
        const STATUS: &[u8] = br#""status":"#;
        let status = rest.windows(STATUS.len()).position(|part| part == STATUS);
        let status = status.and_then(|from| std::str::from_utf8(rest.get(from + STATUS.len()..)?.get(..3)?).ok());
        match status {
            Some("200") if self.echoes => match payload::find(rest) {
                Found::Whole(body, _) if body == *mark => {}
                _ => {
                    self.tally.accounts.garbled += 1;
                    self.tally.error("garbled");
                }
            },
            Some("200") => {}
            other => {
                let kind = format!("call_status_{}", other.unwrap_or("none"));
                self.tally.error(&kind);
                return false;
            }
        }
        true
    }

    /// The server closed its end, or the connection broke.
    fn ended(&mut self, at: usize) {
        match self.clients[at].stage {
            Stage::Leaving => {
                self.tally.error("close_unanswered");
                self.left(at);
            }
            Stage::In => self.lost(at, "connection_lost", None),
            _ => match self.clients[at].take_error() {
                Some(error) => self.lost(at, connect_error(&error), None),
                None => self.lost(at, "reset_in_handshake", None),
            },
        }
    }

    /// A connection is gone against the client's will: counted, and tried again after a while.
    pub fn lost(&mut self, at: usize, kind: &str, retry_ms: Option<u64>) {
        self.tally.error(kind);
        let client = &mut self.clients[at];
        let coming = matches!(client.stage, Stage::Connecting | Stage::Upgrading | Stage::LoggingIn);
        client.retry_of_us = coming.then_some(client.intended_us);
        self.drop_connection(at, false);
        let wait_us = retry_ms.map_or_else(|| fastrand::u64(500_000..1_500_000), |ms| ms * 1_000);
        self.comes_back(at, clock::now_us() + wait_us);
    }

    /// A leaving client has left.
    pub fn left(&mut self, at: usize) {
        self.drop_connection(at, false);
        self.absent.push_back(at);
    }

    /// Whatever stage it is in, it has no connection afterwards.
    pub fn drop_connection(&mut self, at: usize, reset: bool) {
        let client = &mut self.clients[at];
        match client.stage {
            Stage::Connecting | Stage::Upgrading | Stage::LoggingIn => self.under_way -= 1,
            Stage::In => {
                self.tally.connected -= 1;
                client.stays.end(clock::now_us());
            }
            Stage::Away | Stage::Leaving => {}
        }
        client.calls.lost(&mut self.tally.accounts);
        client.drop_socket(reset);
    }
}

fn connect_error(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection_refused",
        ErrorKind::ConnectionReset => "reset_in_handshake",
        ErrorKind::AddrNotAvailable => "no_port_left",
        ErrorKind::NotFound => "no_such_socket",
        ErrorKind::WouldBlock => "listen_queue_full",
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => "no_descriptor_left",
        _ => "connect_failed",
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
