//! Fan-outs under way: pushes to a topic or to everybody, delivered a piece a turn so that a million deliveries starve
//! nobody. A fan-out advances only as fast as its frames are written (`Engine::bulk_len`), so it never queues more than
//! slow readers make it.
//!
//! Order is kept all the same: every connection remembers the number of the last fan-out it was considered for, and
//! whatever else is about to be sent to it, or changes what it subscribed, first catches up with those it has missed.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::topics::Topics;
use super::{Gateway, Session};
use crate::links::{Notice, Ticket};
use crate::node::Shared;
use crate::shard::connection::Stage;
use crate::shard::engine::{Engine, Sent, Urgency};
use crate::shard::outbound::Frame;

/// Connections waiting for a write of a fan-out beyond which it pauses.
const BULK_WAITING_MAX: usize = 512;
/// Connections looked at in one turn, whether they match or not.
const LOOKED_AT_A_TURN: u32 = 8_192;
/// A topic of at most this many members is served at once and ahead of fan-outs to more.
const SMALL: usize = 64;
/// Fan-outs under way beyond which the inbox waits.
pub(super) const JOBS_MAX: usize = 64;

enum To {
    /// Slots from `cursor` on are still to be looked at.
    All { cursor: u32 },
    /// Members before `cursor` are still to be looked at. From the end to the beginning: a member that leaves is replaced
    /// by the last one, which by then was served.
    Topic { name: Arc<str>, cursor: usize },
}

struct Job {
    number: u64,
    to: To,
    frame: Rc<Frame>,
    ticket: Option<Ticket>,
    counts: Counts,
}

/// How a push went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub matched: u64,
    pub queued: u64,
    pub dropped: u64,
}

impl Counts {
    pub fn add(&mut self, sent: Sent) {
        match sent {
            Sent::Queued => self.queued += 1,
            Sent::Overflow => self.dropped += 1,
            Sent::Gone => return,
        }
        self.matched += 1;
    }

    pub fn notice(self, ticket: Ticket) -> Notice {
        Notice::Pushed {
            ticket,
            matched: self.matched,
            queued: self.queued,
            dropped: self.dropped,
        }
    }
}

/// The fan-outs of a reactor, oldest first.
#[derive(Default)]
pub(super) struct Broadcasts {
    jobs: VecDeque<Job>,
    last_number: u64,
}

impl Broadcasts {
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// What a connection that logs in now has been considered for: everything so far.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    fn add(&mut self, to: To, frame: Rc<Frame>, ticket: Option<Ticket>) {
        self.last_number += 1;
        self.jobs.push_back(Job {
            number: self.last_number,
            to,
            frame,
            ticket,
            counts: Counts::default(),
        });
    }

    /// Gives a connection what the fan-outs under way have for it, in their order.
    pub fn catch_up(&mut self, engine: &mut Engine<Session>, topics: &Topics, index: u32) {
        for job in &mut self.jobs {
            job.serve(engine, topics, index, Urgency::Urgent);
        }
    }
}

impl Job {
    fn serve(&mut self, engine: &mut Engine<Session>, topics: &Topics, index: u32, urgency: Urgency) {
        let Some((key, connection)) = engine.at(index) else {
            return;
        };
        if connection.stage() != Stage::Open || connection.session.broadcast_number >= self.number {
            return;
        }
        let matches = match &self.to {
            To::All { .. } => true,
            To::Topic { name, .. } => topics.is_member(&connection.session, name),
        };
        engine.session_mut(index).broadcast_number = self.number;
        if matches {
            self.counts.add(engine.send(key, self.frame.clone(), urgency));
        }
    }

    /// Serves on until the budget is spent, or the writes must catch up. True when all are served.
    fn advance(&mut self, engine: &mut Engine<Session>, topics: &Topics, node: &Shared, budget: &mut u32) -> bool {
        while *budget > 0 && engine.bulk_len() < BULK_WAITING_MAX {
            *budget -= 1;
            let index = match &mut self.to {
                To::All { cursor } => {
                    if *cursor >= engine.slots() {
                        return true;
                    }
                    *cursor += 1;
                    *cursor - 1
                }
                To::Topic { name, cursor } => {
                    *cursor = (*cursor).min(topics.members(node, name));
                    if *cursor == 0 {
                        return true;
                    }
                    *cursor -= 1;
                    match topics.member(node, name, *cursor) {
                        Some(index) => index,
                        None => return true,
                    }
                }
            };
            self.serve(engine, topics, index, Urgency::Bulk);
        }
        false
    }
}

impl Gateway {
    /// Begins a fan-out to a topic, or to everybody if `topic` is `None`.
    pub(super) fn broadcast(
        &mut self,
        engine: &mut Engine<Session>,
        topic: Option<Arc<str>>,
        frame: Rc<Frame>,
        ticket: Option<Ticket>,
    ) {
        let to = match topic {
            None => To::All { cursor: 0 },
            Some(name) => {
                let members = self.topics.members(&self.node, &name);
                if members <= SMALL {
                    return self.push_to_few(engine, &name, members, &frame, ticket);
                }
                To::Topic { name, cursor: members }
            }
        };
        self.broadcasts.add(to, frame, ticket);
        if self.broadcasts.len() == 1 {
            self.advance_broadcasts(engine);
        }
    }

    /// Serves a small topic at once. Each member first gets what the fan-outs under way have for it.
    fn push_to_few(
        &mut self,
        engine: &mut Engine<Session>,
        topic: &str,
        members: usize,
        frame: &Rc<Frame>,
        ticket: Option<Ticket>,
    ) {
        let mut counts = Counts::default();
        for position in 0..members {
            // Nobody leaves in between: the application hears of those who end by this when it is done.
            let Some(index) = self.topics.member(&self.node, topic, position) else {
                break;
            };
            self.broadcasts.catch_up(engine, &self.topics, index);
            counts.add(engine.send(engine.key_of(index), frame.clone(), Urgency::Urgent));
        }
        self.notices.extend(ticket.map(|ticket| counts.notice(ticket)));
    }

    /// Advances the fan-outs under way, in order. True if any is left.
    pub(super) fn advance_broadcasts(&mut self, engine: &mut Engine<Session>) -> bool {
        let mut budget = LOOKED_AT_A_TURN;
        while let Some(mut job) = self.broadcasts.jobs.pop_front() {
            if !job.advance(engine, &self.topics, &self.node, &mut budget) {
                self.broadcasts.jobs.push_front(job);
                return true;
            }
            if let Some(ticket) = job.ticket {
                self.notices.push(job.counts.notice(ticket));
            }
        }
        false
    }
}
