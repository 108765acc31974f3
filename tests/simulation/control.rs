//! The control side: what is asked of the reactors, with its effect on the models.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use longwire::config::Settings;
use longwire::links::{Command, ConnectionId, ConnectionInfo, Kicker, Target, Ticket, UserName};
use longwire::metrics::CloseReason;

use crate::expect::{Expect, Farewell};
use crate::frames;
use crate::ledger::Phase;
use crate::model;
use crate::world::{Drain, World};

/// Something for a reactor's inbox.
#[derive(Clone, Debug)]
pub enum Order {
    Push { to: To, text: Rc<str> },
    KickUser { user: String, code: u16, text: String },
    KickConnection { c: usize, code: u16, text: String },
    Find { user: String },
    FindSlowest { limit: usize },
    Reply { c: usize, text: String },
    Admit { c: usize, admitted: bool },
    Replace { c: usize },
    Reload(Arc<Settings>),
    Drain { window_ms: u64 },
}

/// Who gets a push.
#[derive(Clone, Debug)]
pub enum To {
    User(String),
    Topic(String),
    All,
}

/// What a reactor owes.
#[derive(Debug)]
pub enum Owed {
    /// Exactly these counts; or, of these clients, those who are still there.
    Pushed {
        matched: u64,
        queued: u64,
        dropped: u64,
        paced: Vec<usize>,
    },
    Kicked(u64),
    Found(Vec<ConnectionInfo>),
    /// The bytes queued for each, the worst first.
    Slowest(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Claimed,
    Refused,
    Released,
}

/// See the top of the file.
#[derive(Default)]
pub struct Control {
    pub owed: HashMap<Ticket, Owed>,
    last_ticket: Ticket,
    pub places: HashMap<ConnectionId, Place>,
    /// What a service or the session policy will say, and when.
    pub later: Vec<(u64, usize, Order)>,
}

impl Control {
    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    pub fn users(&self) -> Vec<String> {
        (0..100).map(|number| format!("u{number}")).collect()
    }

    pub fn check_end(&self) {
        assert!(self.owed.is_empty(), "never answered: {:?}", self.owed);
        let kept: Vec<_> = self
            .places
            .iter()
            .filter(|(_, place)| **place == Place::Claimed)
            .collect();
        assert!(kept.is_empty(), "places that were never released: {kept:?}");
    }
}

impl World {
    /// A reactor takes something from its inbox.
    pub fn carry_out(&mut self, r: usize, order: Order, ticket: Option<Ticket>) {
        self.say(|| format!("{order:?} {ticket:?}"));
        let (command, owed) = self.command(r, order, ticket);
        if let (Some(ticket), Some(owed)) = (ticket, owed) {
            self.control.owed.insert(ticket, owed);
        }
        self.reactors[r].shard.command(command);
        self.after(r, Phase::Command, None);
    }

    fn user_name(&self, name: &str) -> UserName {
        UserName {
            name: Arc::from(name),
            hash: self.node.hash_user(name),
        }
    }

    /// The command, with its effect on the models already done, and what answers it.
    fn command(&mut self, r: usize, order: Order, ticket: Option<Ticket>) -> (Command, Option<Owed>) {
        match order {
            Order::Push { to, text } => self.push(r, &to, text, ticket),
            Order::KickUser { user, code, text } => {
                let theirs = self.open_clients(r, |model| model.user == user);
                for &c in &theirs {
                    self.clients[c]
                        .model
                        .end_with(CloseReason::Kicked, Farewell::Exact(Some(code), text.clone()));
                }
                let user = self.user_name(&user);
                let command = Command::KickUser {
                    user,
                    code,
                    text: text.into(),
                    by: Kicker::Api,
                    ticket,
                };
                (command, Some(Owed::Kicked(theirs.len() as u64)))
            }
            Order::KickConnection { c, code, text } => {
                let connection = self.connection_id(c);
                let model = &mut self.clients[c].model;
                let closed = u64::from(model.is_live());
                match model.stage {
                    model::Stage::Handshake => model.end(CloseReason::Kicked),
                    _ => model.end_with(CloseReason::Kicked, Farewell::Exact(Some(code), text.clone())),
                }
                (
                    Command::KickConnection {
                        connection,
                        code,
                        text: text.into(),
                        by: Kicker::Api,
                        ticket,
                    },
                    Some(Owed::Kicked(closed)),
                )
            }
            Order::Find { user } => {
                let theirs = self.open_clients(r, |model| model.user == user);
                let found = theirs.iter().map(|&c| self.info(c)).collect();
                let user = self.user_name(&user);
                (
                    Command::FindUser {
                        user,
                        ticket: ticket.unwrap(),
                    },
                    Some(Owed::Found(found)),
                )
            }
            Order::FindSlowest { limit } => {
                let open = self.reactors[r].open.iter();
                let live = open.filter(|&&c| self.clients[c].model.is_live());
                let mut queued: Vec<usize> = live.map(|&c| self.queued(r, c)).filter(|&bytes| bytes > 0).collect();
                queued.sort_by_key(|&bytes| std::cmp::Reverse(bytes));
                queued.truncate(limit);
                (
                    Command::FindSlowest {
                        limit,
                        ticket: ticket.unwrap(),
                    },
                    Some(Owed::Slowest(queued)),
                )
            }
            Order::Reply { c, text } => {
                let frame = frames::server_text(&text);
                if self.clients[c].model.is_live() {
                    if self.overflows(r, c, frame.len()) {
                        self.clients[c].model.end(CloseReason::SlowConsumer);
                    } else {
                        self.clients[c].model.expected.push_back(Expect::Text(text));
                    }
                }
                (
                    Command::Reply {
                        connection: self.connection_id(c),
                        frame: frame.into(),
                    },
                    None,
                )
            }
            Order::Admit { c, admitted } => {
                let connection = self.connection_id(c);
                if let Some(claim) = &mut self.clients[c].model.claim {
                    claim.admitted = Some(admitted);
                    if !admitted {
                        self.control.places.insert(connection, Place::Refused);
                    }
                }
                (Command::Admit { connection, admitted }, None)
            }
            Order::Replace { c } => {
                self.clients[c].model.end(CloseReason::SessionPolicy);
                (
                    Command::Replace {
                        connection: self.connection_id(c),
                    },
                    None,
                )
            }
            Order::Reload(settings) => {
                self.note("reload");
                self.reactors[r].settings = Arc::clone(&settings);
                (Command::Reload(settings), None)
            }
            Order::Drain { window_ms } => {
                let total = self.reactors[r].shard.engine.len() as u64;
                let started_ms = self.now.ms();
                let drain = Drain {
                    started_ms,
                    window_ms,
                    total,
                    closed: 0,
                    told: false,
                    newcomers: self.clients.len(),
                    turns_over: 0,
                };
                self.reactors[r].drain.get_or_insert(drain);
                (Command::Drain { window_ms }, None)
            }
        }
    }

    fn open_clients(&self, r: usize, is: impl Fn(&model::Model) -> bool) -> Vec<usize> {
        let open = self.reactors[r].open.iter().copied();
        open.filter(|&c| self.clients[c].model.is_open() && is(&self.clients[c].model))
            .collect()
    }

    fn overflows(&self, r: usize, c: usize, frame_bytes: usize) -> bool {
        self.queued(r, c) + frame_bytes > self.reactors[r].settings.limits.outbound_bytes
    }

    fn push(&mut self, r: usize, to: &To, text: Rc<str>, ticket: Option<Ticket>) -> (Command, Option<Owed>) {
        let frame = frames::server_text(&text);
        let (members, target) = match to {
            To::User(user) => (
                self.open_clients(r, |model| model.user == *user),
                Target::User(self.user_name(user)),
            ),
            To::Topic(topic) => (
                self.open_clients(r, |model| model.topics.contains(topic)),
                Target::Topic(topic.as_str().into()),
            ),
            To::All => (self.open_clients(r, |_| true), Target::All),
        };
        let mut dropped = 0;
        for &c in &members {
            if !self.is_crowd() && self.overflows(r, c, frame.len()) {
                self.clients[c].model.end(CloseReason::SlowConsumer);
                dropped += 1;
            } else {
                self.clients[c].model.pushes.push_back(Rc::clone(&text));
            }
        }
        let matched = members.len() as u64;
        let paced = if self.is_crowd() { members } else { Vec::new() };
        if !self.is_crowd() {
            self.reactors[r].tally.matched += matched;
        }
        let owed = Owed::Pushed {
            matched,
            queued: matched - dropped,
            dropped,
            paced,
        };
        (
            Command::Push {
                target,
                frame: frame.into(),
                arrived_us: self.now.us,
                ticket,
            },
            Some(owed),
        )
    }

    fn info(&self, c: usize) -> ConnectionInfo {
        let model = &self.clients[c].model;
        ConnectionInfo {
            connection: self.connection_id(c),
            device: model.device.clone(),
            since_ms: model.since_ms,
            expires_at: model.expires_at,
            topics: model.topics.iter().cloned().collect(),
            remote: model.client,
        }
    }

    pub fn later(&mut self, r: usize, order: Order) {
        let wait_ms = if self.chance(90) {
            self.random.u64(..200)
        } else {
            self.random.u64(..20_000)
        };
        self.control.later.push((self.now.ms() + wait_ms, r, order));
    }

    /// Puts what is due of the services' and the session policy's answers into the inboxes.
    pub fn control_answers(&mut self) {
        let now_ms = self.now.ms();
        let mut later = std::mem::take(&mut self.control.later);
        for (_, r, order) in later.extract_if(.., |(at_ms, _, _)| *at_ms <= now_ms) {
            self.reactors[r].inbox.push_back((order, None));
        }
        later.append(&mut self.control.later);
        self.control.later = later;
    }

    pub fn order_drain(&mut self, window_ms: u64) {
        self.node.set_draining();
        for reactor in &mut self.reactors {
            reactor.inbox.push_back((Order::Drain { window_ms }, None));
        }
    }
}
