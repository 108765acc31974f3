//! The engine: every connection of one reactor, from the request head to the last close frame, with its queue and its
//! deadlines. It knows RFC 6455 and knows nothing of users. Driven through `Shard`; acted upon by the `Application`.
//!
//! `input` is the way in (handshake, frames), `output` the way out (queues, dirty lists, writes), `deadlines` and
//! `closing` say when and how a connection ends; this file has the slots and the stages.

mod closing;
mod deadlines;
mod input;
mod output;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use super::connection::{Connection, Dirty, Key, Stage};
use super::outbound::{Frame, Queues};
use super::wheel::Wheel;
use super::{End, Now};
use crate::metrics::NodeCounters;
use crate::metrics::counters::{Counter, ReactorCounters};
use crate::protocol::frame::{self, Opcode};

/// How long a close frame waits for the peer's, and a refusal for the peer's end of file.
pub const CLOSE_WAIT_MS: u64 = 2_000;

/// What the engine holds every connection to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// From accept to the end of the request head.
    pub handshake_ms: u64,
    /// Between the pings of a connection, at most; each is put up to a tenth earlier by chance.
    pub ping_ms: u64,
    /// From a ping to a sign of life.
    pub pong_ms: u64,
    /// One message, all its fragments together.
    pub message_bytes_max: usize,
    /// Whether binary messages are taken.
    pub binary: bool,
    /// Queued for one connection; past it the connection is closed as a slow consumer.
    pub outbound_bytes_max: usize,
    /// Past this many queued bytes the connection is not read: whoever does not take answers gets to ask no more.
    pub read_pause_bytes: usize,
}

/// Which list of `flush_dirty` a frame puts its connection in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Written before everything of a fan-out: replies, pushes to one user, control frames.
    Urgent,
    /// A part of a fan-out to many.
    Bulk,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is queued.
    Queued,
    /// The queue was past its limit; the connection is being closed for it.
    Overflow,
    /// The connection is not there any more, or closing.
    Gone,
}

/// Every connection of one reactor.
pub struct Engine<S> {
    pub(super) connections: Slab<Connection<S>>,
    wheel: Wheel,
    queues: Queues,
    urgent: VecDeque<u32>,
    bulk: VecDeque<u32>,
    /// Connections that left the open stages and that the application has not been told of.
    ended: VecDeque<(Key, End)>,
    /// Connections whose sockets may be closed.
    dead: VecDeque<u32>,
    /// Connections that may be read again although no event will say so.
    readable_again: VecDeque<Key>,
    /// Sockets whose write side is to be shut: the peer sees the end, and its answer ends the connection.
    half_close: VecDeque<Key>,
    generations: u32,
    /// See `websockets`.
    websockets: usize,
    outbound_bytes: usize,
    rules: Rules,
    now: Now,
    random: fastrand::Rng,
    ping: Rc<Frame>,
    counters: Arc<NodeCounters>,
    reactor: usize,
}

impl<S: Default> Engine<S> {
    /// An engine without connections. `seed` is for the jitter; `reactor` says which cells of `counters` are its own.
    pub fn new(rules: Rules, seed: u64, counters: Arc<NodeCounters>, reactor: usize) -> Self {
        Self {
            connections: Slab::new(),
            wheel: Wheel::new(0),
            queues: Queues::default(),
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            ended: VecDeque::new(),
            dead: VecDeque::new(),
            readable_again: VecDeque::new(),
            half_close: VecDeque::new(),
            generations: 0,
            websockets: 0,
            outbound_bytes: 0,
            rules,
            now: Now { us: 0, unix_ms: 0 },
            random: fastrand::Rng::with_seed(seed),
            ping: Frame::plain(frame::encode(Opcode::Ping, b"")),
            counters,
            reactor,
        }
    }

    pub(super) fn open(&mut self, client: Option<IpAddr>) -> Key {
        self.generations = self.generations.wrapping_add(1);
        let connection = Connection::new(self.generations, client, self.now.ms() + self.rules.handshake_ms);
        let index = self.connections.insert(connection) as u32;
        self.counters().accepted.add(1);
        self.counters().connections_handshake.add(1);
        Key {
            index,
            generation: self.generations,
        }
    }
}

impl<S> Engine<S> {
    /// This reactor's counter cells.
    pub fn counters(&self) -> &ReactorCounters {
        &self.counters.reactors[self.reactor]
    }

    /// Which reactor this is.
    pub fn reactor(&self) -> usize {
        self.reactor
    }

    /// The time of this turn.
    pub fn now(&self) -> Now {
        self.now
    }

    pub(super) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Puts other rules in force; deadlines already set stay.
    pub fn set_rules(&mut self, rules: Rules) {
        let paused_before = self.rules.read_pause_bytes;
        self.rules = rules;
        // Whoever was not read under the old rules and may be under the new would otherwise wait for a write that is never
        // due.
        for (index, connection) in &self.connections {
            let queued_bytes = connection.queued_bytes();
            if queued_bytes > paused_before && queued_bytes <= self.rules.read_pause_bytes {
                let generation = connection.generation;
                self.readable_again.push_back(Key {
                    index: index as u32,
                    generation,
                });
            }
        }
    }

    /// Random numbers that a simulation can repeat.
    pub fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    /// The connection, if the key is not stale.
    pub fn get(&self, key: Key) -> Option<&Connection<S>> {
        self.connections
            .get(key.index as usize)
            .filter(|connection| connection.generation == key.generation)
    }

    /// The connection, if the key is not stale.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection<S>> {
        self.connections
            .get_mut(key.index as usize)
            .filter(|connection| connection.generation == key.generation)
    }

    /// The application's part of the connection in this slot.
    ///
    /// # Panics
    /// If the slot is free: the application keeps indices only between `accepted` and `ended`.
    pub fn session(&self, index: u32) -> &S {
        &self.connections[index as usize].session
    }

    /// As `session`.
    ///
    /// # Panics
    /// As `session`.
    pub fn session_mut(&mut self, index: u32) -> &mut S {
        &mut self.connections[index as usize].session
    }

    /// The key of the connection in this slot.
    ///
    /// # Panics
    /// If the slot is free.
    pub fn key_of(&self, index: u32) -> Key {
        Key {
            index,
            generation: self.connections[index as usize].generation,
        }
    }

    /// One past the highest slot that was ever in use.
    pub fn slots(&self) -> u32 {
        self.connections.capacity() as u32
    }

    /// The connection in this slot, if there is one.
    pub fn at(&self, index: u32) -> Option<(Key, &Connection<S>)> {
        let connection = self.connections.get(index as usize)?;
        Some((
            Key {
                index,
                generation: connection.generation,
            },
            connection,
        ))
    }

    /// Connections of every stage.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True if there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Connections that were upgraded and are still owed something: a close frame is written, or was and is unanswered, at
    /// the least. Requests, answered or not, are none.
    pub fn websockets(&self) -> usize {
        self.websockets
    }

    /// Stores where the client really is, when a trusted proxy says so.
    pub fn set_client(&mut self, key: Key, client: Option<IpAddr>) {
        if let Some(connection) = self.get_mut(key) {
            connection.client = client;
        }
    }

    /// The connection logged in.
    pub fn authenticated(&mut self, key: Key) {
        self.move_to(key.index, Stage::Open);
    }

    /// Stores the application's deadline (milliseconds since the node's start; `NEVER` for none).
    pub fn set_application_deadline(&mut self, key: Key, deadline_ms: u64) {
        if let Some(connection) = self.get_mut(key) {
            connection.application_deadline_ms = deadline_ms;
            self.arm(key.index);
        }
    }

    fn stage_gauge(&self, stage: Stage) -> Option<&Counter> {
        let counters = self.counters();
        match stage {
            Stage::Handshake => Some(&counters.connections_handshake),
            Stage::Unauthenticated => Some(&counters.connections_unauthenticated),
            Stage::Open => Some(&counters.connections_open),
            Stage::Closing => Some(&counters.connections_closing),
            Stage::Dead => None,
        }
    }

    fn move_to(&mut self, index: u32, stage: Stage) {
        let connection = &mut self.connections[index as usize];
        let before = std::mem::replace(&mut connection.stage, stage);
        if before == stage {
            return;
        }
        let refused = connection.refused;
        let is_websocket = |stage| match stage {
            Stage::Unauthenticated | Stage::Open => true,
            Stage::Closing => !refused,
            Stage::Handshake | Stage::Dead => false,
        };
        self.websockets -= usize::from(is_websocket(before));
        self.websockets += usize::from(is_websocket(stage));
        if let Some(gauge) = self.stage_gauge(before) {
            gauge.sub(1);
        }
        if let Some(gauge) = self.stage_gauge(stage) {
            gauge.add(1);
        }
    }

    /// For `reap_closed`: the next connection whose socket is to be closed. Its slot is free when this returns.
    pub fn next_dead(&mut self) -> Option<Key> {
        let index = self.dead.pop_front()?;
        let key = self.key_of(index);
        self.discard_queue(index);
        self.wheel.cancel(index);
        self.connections.remove(index as usize);
        Some(key)
    }

    /// Whether sockets wait to be closed.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// For the simulation and for assertions: nothing of a closed connection may be left anywhere.
    pub fn leftovers(&self) -> (usize, usize, usize) {
        (self.wheel.len(), self.outbound_bytes, self.queues.owners().count())
    }

    fn is_dirty(&self, index: u32) -> bool {
        self.connections
            .get(index as usize)
            .is_some_and(|connection| connection.dirty != Dirty::Clean)
    }
}

#[cfg(test)]
mod tests;
