//! One client: what it sends, how it behaves, and what it makes of what it gets. Every frame that arrives is held
//! against what the model says is owed.

use std::collections::VecDeque;

use fastrand::Rng;
use longwire::metrics::CloseReason;
use longwire::shard::Key;
use serde_json::Value;
use tungstenite::protocol::frame::coding::OpCode;

use crate::expect::{Answer, Ending, Expect, Farewell};
use crate::frames::{self, Reader, Received};
use crate::messages::Sent;
use crate::model::Model;
use crate::wire::{End, Wire};

/// What a client is like.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Chances in a hundred that it reads, and that what it sent arrives, in a turn.
    pub reads: u8,
    pub arrives: u8,
    /// The most that it reads, and that arrives, at a time.
    pub piece: usize,
    pub answers_pings: bool,
    pub parting: Parting,
}

/// What it does about a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Answers it, and then ends its side.
    Polite,
    /// Ends its side.
    Curt,
    /// Nothing.
    Deaf,
    /// Goes on sending.
    Rude,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub ending: Ending,
    pub farewell: Farewell,
    pub at_ms: u64,
    pub at_unix_ms: u64,
}

/// What control was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    Connected,
    Disconnected,
}

impl Ended {
    /// Whether nothing that it sends can be understood any more.
    pub fn makes_deaf(&self) -> bool {
        use CloseReason::{BadUtf8, MessageTooBig, ProtocolError, UnsupportedData};
        self.ending
            .reason()
            .is_none_or(|reason| matches!(reason, BadUtf8 | MessageTooBig | ProtocolError | UnsupportedData))
    }

    /// Whether its queue was thrown away.
    pub fn lost_queue(&self) -> bool {
        matches!(
            self.ending.reason(),
            Some(CloseReason::SlowConsumer | CloseReason::Overload)
        )
    }
}

struct Item {
    /// From this byte on it may have its effect, and with `at` bytes it must.
    from: u64,
    at: u64,
    sent: Sent,
}

/// See the top of the file.
pub struct Client {
    pub reactor: usize,
    pub key: Key,
    /// The name of the connection.
    pub name: String,
    pub wire: Wire,
    pub model: Model,
    pub manner: Manner,
    pub ended: Option<Ended>,
    pub news: News,
    pub reaped: bool,
    /// Its socket was closed before everything was written.
    pub cut_off: bool,
    /// It saw its close frame or its refusal.
    pub told: bool,
    /// The gateway's last sign that it heard something of this client, and how long the deadlines have run since.
    pub sign_ms: u64,
    pub quiet_ms: u64,
    /// Since when its token is known to be over.
    pub expired_since_ms: Option<u64>,
    /// It ended in the same call that may have gone on with its held message: what it is owed cannot be told.
    pub unclear: bool,
    /// Bytes queued for it when it was last looked at.
    pub queued: usize,
    /// Whether pushes must all be queued by the time the connection ends: not while a fan-out is paced.
    pub strict: bool,
    pub retry_ms: Option<u64>,
    reader: Reader,
    items: VecDeque<Item>,
    sent_bytes: u64,
    /// Nothing that it sends from now on has a meaning.
    is_done: bool,
}

impl Client {
    pub fn new(reactor: usize, key: Key, name: String, wire: Wire, model: Model, manner: Manner) -> Self {
        Self {
            reactor,
            key,
            name,
            wire,
            model,
            manner,
            ended: None,
            news: News::Nothing,
            reaped: false,
            cut_off: false,
            told: false,
            sign_ms: 0,
            quiet_ms: 0,
            expired_since_ms: None,
            unclear: false,
            queued: 0,
            strict: true,
            retry_ms: None,
            reader: Reader::default(),
            items: VecDeque::new(),
            sent_bytes: 0,
            is_done: false,
        }
    }

    /// Whether it would still send something that has a meaning.
    pub fn talks(&self) -> bool {
        !self.told && !self.is_done && !self.wire.has_ended() && self.ended.is_none()
    }

    /// From now on it says nothing that has a meaning.
    pub fn be_done(&mut self) {
        self.is_done = true;
    }

    /// Sends bytes that mean `sent`, which they may from byte `from` on.
    pub fn say_from(&mut self, sent: Sent, bytes: &[u8], from: usize) {
        self.is_done |= matches!(sent, Sent::Close(_) | Sent::Violation(_));
        let from = self.sent_bytes + from as u64;
        self.wire.send(bytes);
        self.sent_bytes += bytes.len() as u64;
        self.items.push_back(Item {
            from,
            at: self.sent_bytes,
            sent,
        });
    }

    pub fn say(&mut self, sent: Sent, bytes: &[u8]) {
        self.say_from(sent, bytes, bytes.len());
    }

    /// Sends one frame.
    pub fn say_frame(&mut self, random: &mut Rng, sent: Sent, opcode: OpCode, payload: &[u8]) {
        self.say(
            sent,
            &frames::frame(opcode, true, random.u32(..).to_le_bytes(), payload),
        );
    }

    /// Sends a text, in one frame or in several with control frames between them.
    pub fn say_text(&mut self, random: &mut Rng, sent: Sent, text: &str) {
        let mut rest = text.as_bytes();
        let mut opcode = frames::TEXT;
        let mut begun = Vec::new();
        while random.u8(..10) == 0 {
            let (piece, tail) = rest.split_at(random.usize(..=rest.len()));
            begun.extend(frames::frame(opcode, false, random.u32(..).to_le_bytes(), piece));
            (rest, opcode) = (tail, frames::CONTINUE);
            if random.bool() {
                let payload = vec![random.u8(..); random.usize(..=125)];
                begun.extend(frames::frame(frames::PING, true, [7, 1, 3, 9], &payload));
                self.say(Sent::Ping(payload), &std::mem::take(&mut begun));
            }
        }
        begun.extend(frames::frame(opcode, true, random.u32(..).to_le_bytes(), rest));
        self.say(sent, &begun);
    }

    /// What was delivered next, if it is there whole.
    pub fn delivered(&self) -> Option<&Sent> {
        self.items
            .front()
            .filter(|item| item.at <= self.wire.delivered_bytes)
            .map(|item| &item.sent)
    }

    pub fn take_delivered(&mut self) -> Option<Sent> {
        self.delivered()?;
        self.items.pop_front().map(|item| item.sent)
    }

    /// The violation or the refused head that is under way, if enough of it was delivered to be seen.
    pub fn half_delivered(&self) -> Option<&Sent> {
        self.items
            .front()
            .filter(|item| item.from <= self.wire.delivered_bytes)
            .map(|item| &item.sent)
    }

    /// Lets some of what it sent arrive. A token in a message that is not answered stops it: whether such a message is
    /// held cannot be seen if there is another token behind it.
    pub fn arrive(&mut self, bytes: usize) {
        let silent = |item: &&Item| match &item.sent {
            Sent::Message(message) => item.sent.token().is_some() && !message.is_answered_at_once(),
            _ => false,
        };
        let barrier = self.items.iter().find(silent).map_or(u64::MAX, |item| item.at);
        let room = barrier.saturating_sub(self.wire.arrived_bytes);
        if room > 0 || self.wire.outgoing() == 0 {
            self.wire.arrive(bytes.min(usize::try_from(room).unwrap_or(usize::MAX)));
        }
    }

    /// Reads up to `bytes` of what the gateway wrote.
    pub fn listen(&mut self, random: &mut Rng, bytes: usize) {
        self.reader.push(self.wire.take(bytes));
        while let Some(received) = self.reader.next() {
            self.hear(random, received);
        }
    }

    fn hear(&mut self, random: &mut Rng, received: Received) {
        match received {
            Received::Ping(payload) => {
                if self.manner.answers_pings && self.talks() {
                    self.say_frame(random, Sent::Pong, frames::PONG, &payload);
                }
            }
            Received::Upgraded { protocol } => self.expect(Expect::Upgraded { protocol }),
            Received::Refused { status, retry_after } => {
                assert_eq!(retry_after, matches!(status, 429 | 503), "Retry-After with {status}");
                self.expect(Expect::Refused { status });
                self.told = true;
            }
            Received::Pong(payload) => self.expect(Expect::Pong(payload)),
            Received::Text(text) => self.hear_text(text),
            Received::Close(code, reason) => self.hear_close(random, code, &reason),
        }
    }

    fn expect(&mut self, received: Expect) {
        if self.unclear {
            return;
        }
        assert_eq!(self.model.expected.pop_front(), Some(received), "{}", self.name);
    }

    fn hear_text(&mut self, text: String) {
        let json: Value = serde_json::from_str(&text).unwrap();
        if json.get("status").is_none() {
            let push = self.model.pushes.pop_front();
            assert_eq!(
                push.as_deref(),
                Some(text.as_str()),
                "{}: a push that was not next",
                self.name
            );
            return;
        }
        if self.unclear {
            return;
        }
        let Some(expected) = self.model.expected.pop_front() else {
            panic!("{}: a reply to nothing: {text}", self.name);
        };
        let Expect::Reply { id, path, status, body } = &expected else {
            assert_eq!(expected, Expect::Text(text), "{}", self.name);
            return;
        };
        let id = id.as_deref().map(|id| serde_json::from_str::<Value>(id).unwrap());
        let agrees = json.get("id") == id.as_ref()
            && json.get("path").and_then(Value::as_str) == path.as_deref()
            && json["status"] == *status
            && self.says(&json, body);
        assert!(agrees, "{}: {text}\nis not {expected:?}", self.name);
    }

    fn says(&self, json: &Value, answer: &Answer) -> bool {
        let body = json.get("body");
        if let Answer::Error(code) = answer {
            return body.is_none() && json["error"]["code"] == *code && json["error"]["message"].is_string();
        }
        let Some(body) = body.filter(|_| json.get("error").is_none()) else {
            return false;
        };
        match answer {
            Answer::Error(_) => false,
            Answer::Empty => body.as_object().is_some_and(serde_json::Map::is_empty),
            Answer::Topics(topics) => {
                let names: Vec<&str> = body["topics"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                names.len() == topics.len() && names.iter().all(|name| topics.contains(*name))
            }
            Answer::Connected {
                user,
                expires_at,
                ping_ms,
            } => {
                body["user"] == **user
                    && body["connection"] == *self.name
                    && body["node"] == crate::settings::NODE
                    && body["expires_at"] == serde_json::json!(expires_at)
                    && body["ping_ms"] == *ping_ms
            }
        }
    }

    fn hear_close(&mut self, random: &mut Rng, code: Option<u16>, reason: &str) {
        let Some(ended) = &self.ended else {
            panic!("{}: closed with {code:?} {reason} for nothing", self.name)
        };
        let told = (code, reason.to_owned());
        assert!(
            ended.farewell.is_told_by(Some(&told)),
            "{}: {ended:?}, and told {told:?}",
            self.name
        );
        if !ended.lost_queue() && !self.unclear {
            assert!(
                self.model.expected.is_empty(),
                "{}: never got {:?}",
                self.name,
                self.model.expected
            );
            assert!(
                !self.strict || self.model.pushes.is_empty(),
                "{}: never got {:?}",
                self.name,
                self.model.pushes
            );
        }
        self.retry_ms = reason.strip_prefix("retry_ms=").map(|ms| ms.parse().unwrap());
        self.told = true;
        match self.manner.parting {
            Parting::Polite => {
                if !self.is_done {
                    self.say_frame(
                        random,
                        Sent::Close(code),
                        frames::CLOSE,
                        &frames::close_payload(code, ""),
                    );
                }
                self.wire.end(End::Fin);
            }
            Parting::Curt => self.wire.end(End::Fin),
            Parting::Deaf => {}
            Parting::Rude => {
                self.say_frame(random, Sent::Bad, frames::TEXT, b"too late");
                self.wire.send(&[0xFF; 40]);
            }
        }
    }

    /// Everything that was written for it was read: it must have seen the end that it was owed.
    pub fn check_goodbye(&self) {
        let ended = self.ended.as_ref().unwrap();
        assert!(self.reader.is_whole(), "{}: half a frame at the end", self.name);
        assert_eq!(self.told, self.owes_goodbye(), "{}: {ended:?}", self.name);
    }

    /// Whether its end is told with a frame or an answer.
    pub fn owes_goodbye(&self) -> bool {
        let ended = self.ended.as_ref().unwrap();
        ended.farewell != Farewell::None || matches!(ended.ending, Ending::Refused(_))
    }
}
