//! One connection as the contract says it should be: what it is owed and when it ends. Knows nothing of how the gateway
//! does it; the simulation tells it what was delivered, and holds the gateway to what it answers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use longwire::config::Settings;
use longwire::metrics::{CloseReason, RefusalReason};
use longwire::shard::Now;

use crate::expect::{Answer, Call, Ending, Expect, Farewell, Tally};
use crate::messages::{Body, Head, Message, Sent};
use crate::tokens::{Claims, Token};

mod login;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Handshake,
    Unauthenticated,
    Open,
    Ended,
}

/// A login that waits for the session policy.
#[derive(Clone, Debug)]
pub struct Claim {
    pub claims: Claims,
    pub device: Option<String>,
    pub admitted: Option<bool>,
}

/// What the model needs to know of the node.
pub struct Ground<'a> {
    pub settings: &'a Settings,
    pub now: Now,
    pub draining: bool,
    pub connections_max: usize,
    /// Upgraded connections of the node.
    pub places: &'a mut usize,
    pub addresses: &'a mut HashMap<IpAddr, usize>,
    pub tally: &'a mut Tally,
}

/// See the top of the file.
pub struct Model {
    pub stage: Stage,
    /// The end that what was delivered must lead to.
    pub predicted: Option<(Ending, Farewell)>,
    pub expected: VecDeque<Expect>,
    pub pushes: VecDeque<Rc<str>>,
    pub calls: VecDeque<Call>,
    /// So many of the first of these may have been refused without a word.
    pub doubtful_calls: usize,
    pub claim: Option<Claim>,
    pub client: Option<IpAddr>,
    pub address_counted: bool,
    pub user: String,
    pub device: Option<String>,
    pub since_ms: u64,
    pub expires_at: Option<u64>,
    pub topics: BTreeSet<String>,
    pub connect_by_ms: u64,
    pub handshake_by_ms: u64,
    may_send: Vec<String>,
    may_subscribe: Vec<String>,
    bad: u32,
    failures: u32,
    rate_refusals: u32,
    /// Thousandths of a message.
    credit: u64,
    credited_ms: u64,
    /// The message in front was counted before it was held.
    counted: bool,
}

impl Model {
    pub fn new(settings: &Settings, now: Now, peer: Option<IpAddr>) -> Self {
        Self {
            stage: Stage::Handshake,
            predicted: None,
            expected: VecDeque::new(),
            pushes: VecDeque::new(),
            calls: VecDeque::new(),
            doubtful_calls: 0,
            claim: None,
            client: peer,
            address_counted: false,
            user: String::new(),
            device: None,
            since_ms: 0,
            expires_at: None,
            topics: BTreeSet::new(),
            connect_by_ms: now.ms() + settings.timeouts.connect_ms,
            handshake_by_ms: now.ms() + settings.timeouts.handshake_ms,
            may_send: Vec::new(),
            may_subscribe: Vec::new(),
            bad: 0,
            failures: 0,
            rate_refusals: 0,
            credit: u64::MAX / 2,
            credited_ms: 0,
            counted: false,
        }
    }

    /// Whether messages and pushes go to and fro, as far as the model can tell.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Unauthenticated | Stage::Open) && self.predicted.is_none()
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open && self.predicted.is_none()
    }

    /// When the token's time is over, Unix milliseconds.
    pub fn token_end_ms(&self, settings: &Settings) -> Option<u64> {
        self.expires_at.map(|at| at * 1_000 + settings.auth.leeway_ms)
    }

    /// What was delivered leads to this end.
    pub fn end(&mut self, reason: CloseReason) {
        let farewell = if self.stage == Stage::Handshake {
            Farewell::None
        } else {
            Farewell::of(reason)
        };
        self.end_with(reason, farewell);
    }

    pub fn end_with(&mut self, reason: CloseReason, farewell: Farewell) {
        if self.stage != Stage::Ended {
            self.predicted.get_or_insert((reason.into(), farewell));
        }
    }

    /// The call that control should get next, now that it gets `seen`.
    pub fn next_call(&mut self, seen: &Call) -> Option<Call> {
        while self.doubtful_calls > 0 {
            self.doubtful_calls -= 1;
            let call = self.calls.pop_front();
            if call.as_ref() == Some(seen) {
                return call;
            }
        }
        self.calls.pop_front()
    }

    /// Something that it sent was delivered and not held.
    pub fn apply(&mut self, sent: &Sent, ground: &mut Ground<'_>) {
        match sent {
            Sent::Head(head) => self.head(head, ground),
            Sent::Ping(payload) => self.expected.push_back(Expect::Pong(payload.clone())),
            Sent::Pong => {}
            Sent::Close(code) => self.end_with(CloseReason::Client, Farewell::Exact(*code, String::new())),
            Sent::Violation(reason) => self.end(*reason),
            Sent::Message(_) | Sent::BadPath { .. } | Sent::Bad => {
                if !self.count(ground) {
                    self.refuse_rate(sent);
                } else {
                    self.text(sent, ground);
                }
                self.counted = false;
            }
        }
    }

    /// Whether the message in front was counted already.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// Counts the message in front against the rate, once. False: it is refused.
    pub fn count(&mut self, ground: &mut Ground<'_>) -> bool {
        if std::mem::replace(&mut self.counted, true) {
            return true;
        }
        ground.tally.messages += 1;
        let per_second = u64::from(ground.settings.limits.messages_per_second);
        if per_second == 0 {
            return true;
        }
        let flowed = (ground.now.ms() - self.credited_ms) * per_second;
        self.credited_ms = ground.now.ms();
        self.credit = (self.credit + flowed).min(2_000 * per_second);
        if self.credit < 1_000 {
            return false;
        }
        self.credit -= 1_000;
        self.rate_refusals = 0;
        true
    }

    fn refuse_rate(&mut self, sent: &Sent) {
        match sent {
            Sent::Message(message) => self.fail(message, 429, "rate_limited"),
            Sent::BadPath { id: Some(id) } => self.error(Some(id), None, 429, "rate_limited"),
            Sent::Bad => self.error(Some("null"), None, 429, "rate_limited"),
            _ => {}
        }
        self.rate_refusals += 1;
        if self.rate_refusals == 20 {
            self.end(CloseReason::RateLimited);
        }
    }

    fn head(&mut self, head: &Head, ground: &mut Ground<'_>) {
        let (status, reason) = match head {
            Head::Wrong { status, reason } => (*status, *reason),
            Head::Good {
                origin,
                client,
                protocol,
            } => {
                let origins = &ground.settings.server.origins;
                let max = ground.settings.limits.connections_per_ip;
                let count = client.map_or(0, |ip| ground.addresses.get(&ip).copied().unwrap_or(0));
                if origin.is_some_and(|origin| !origins.is_empty() && !origins.iter().any(|o| o == origin)) {
                    (403, RefusalReason::Origin)
                } else if ground.draining {
                    (503, RefusalReason::Draining)
                } else if max > 0 && client.is_some() && count >= max {
                    (429, RefusalReason::PerIp)
                } else if *ground.places >= ground.connections_max {
                    (503, RefusalReason::Full)
                } else {
                    *ground.places += 1;
                    self.client = *client;
                    self.address_counted = max > 0 && client.is_some();
                    if let (true, Some(ip)) = (self.address_counted, client) {
                        *ground.addresses.entry(*ip).or_default() += 1;
                    }
                    self.stage = Stage::Unauthenticated;
                    return self.expected.push_back(Expect::Upgraded { protocol: *protocol });
                }
            }
        };
        self.expected.push_back(Expect::Refused { status });
        self.predicted = Some((reason.into(), Farewell::None));
    }

    fn text(&mut self, sent: &Sent, ground: &mut Ground<'_>) {
        match sent {
            Sent::Bad => {
                self.error(Some("null"), None, 400, "bad_message");
                self.bad += 1;
                if self.bad == 10 {
                    self.end(CloseReason::BadMessages);
                }
            }
            Sent::BadPath { id } => {
                self.bad = 0;
                if let Some(id) = id {
                    self.error(Some(id), None, 400, "bad_message");
                }
            }
            Sent::Message(message) => {
                self.bad = 0;
                self.message(message, ground);
            }
            _ => {}
        }
    }

    fn message(&mut self, message: &Message, ground: &mut Ground<'_>) {
        if message.path == "connect" {
            let (device, topics, wrong) = match &message.body {
                Body::Connect { device, topics } => (device.clone(), topics.clone(), false),
                Body::Absent => (None, Vec::new(), false),
                _ => (None, Vec::new(), true),
            };
            if self.authenticate(message, device, &topics, wrong, ground) {
                let body = Answer::Connected {
                    user: self.user.clone(),
                    expires_at: self.expires_at,
                    ping_ms: ground.settings.timeouts.ping_ms,
                };
                self.reply(message, body);
            }
            return;
        }
        if message.token != Token::Absent && !self.authenticate(message, None, &[], false, ground) {
            return;
        }
        if self.stage != Stage::Open {
            return self.fail(message, 401, "not_connected");
        }
        match message.path.as_str() {
            "ping" => self.reply(message, Answer::Empty),
            "subscribe" | "unsubscribe" => self.subscribe(message, ground),
            "ack" | "resume" => self.fail(message, 404, "no_handler"),
            path if !matches(&self.may_send, path) => self.fail(message, 403, "path_forbidden"),
            path => self.calls.push_back(Call {
                id: message.id.clone(),
                path: path.to_owned(),
                body: message.body.json().unwrap_or_else(|| "null".to_owned()),
                user: self.user.clone(),
                device: self.device.clone(),
            }),
        }
    }

    fn subscribe(&mut self, message: &Message, ground: &Ground<'_>) {
        let Body::Topics(topics) = &message.body else {
            return self.fail(message, 400, "bad_message");
        };
        if message.path == "subscribe" {
            if let Err(code) = self.may_add(&self.may_subscribe, topics, ground.settings) {
                return self.fail(message, 403, code);
            }
            self.topics.extend(topics.iter().cloned());
        } else {
            topics.iter().for_each(|topic| _ = self.topics.remove(topic));
        }
        self.reply(message, Answer::Topics(self.topics.clone()));
    }

    fn reply(&mut self, message: &Message, body: Answer) {
        if message.id.is_some() || message.path == "connect" {
            let path = Some(message.path.clone());
            self.expected.push_back(Expect::Reply {
                id: message.id.clone(),
                path,
                status: 200,
                body,
            });
        }
    }

    fn fail(&mut self, message: &Message, status: u16, code: &'static str) {
        if message.id.is_some() || message.path == "connect" {
            self.error(message.id.as_deref(), Some(&message.path), status, code);
        }
    }

    /// A reply that says what went wrong.
    pub fn error(&mut self, id: Option<&str>, path: Option<&str>, status: u16, code: &'static str) {
        let (id, path) = (id.map(str::to_owned), path.map(str::to_owned));
        self.expected.push_back(Expect::Reply {
            id,
            path,
            status,
            body: Answer::Error(code),
        });
    }
}

fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    })
}
