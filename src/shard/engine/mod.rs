//! The engine: every connection of one reactor, from the request head to the last close frame, with its queue and its
//! deadlines. It knows RFC 6455 and knows nothing of users. Driven through `Shard`; acted upon by the `Application`.
//!
//! `input` is the way in (handshake, frames), `output` the way out (queues, dirty lists, writes), this file is what
//! lies between: slots, stages, deadlines.

mod input;
mod output;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use super::connection::{Connection, Dirty, Key, Stage};
use super::outbound::{Frame, QueueId, Queues};
use super::wheel::Wheel;
use super::{NEVER, Now};
use crate::metrics::counters::{Counter, ReactorCounters};
use crate::metrics::{CloseReason, NodeCounters};
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
    ended: VecDeque<(Key, CloseReason)>,
    /// Connections whose sockets may be closed.
    dead: VecDeque<u32>,
    /// Connections that may be read again although no event will say so.
    readable_again: VecDeque<Key>,
    /// Sockets whose write side is to be shut: the peer sees the end, and its answer ends the connection.
    half_close: VecDeque<Key>,
    generations: u32,
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
        if let Some(gauge) = self.stage_gauge(before) {
            gauge.sub(1);
        }
        if let Some(gauge) = self.stage_gauge(stage) {
            gauge.add(1);
        }
    }

    /// Files the nearest deadline, if it is nearer than the one filed. One that moved away is found too early when it
    /// fires and filed again: moving a deadline costs a store.
    pub(super) fn arm(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index as usize) else {
            return;
        };
        if connection.stage == Stage::Dead {
            // Its deadline has passed, and would fire over and over until it is reaped.
            return;
        }
        let nearest_ms = connection.nearest_deadline_ms();
        if nearest_ms != NEVER
            && self
                .wheel
                .deadline_ms(index)
                .is_none_or(|filed_ms| nearest_ms < filed_ms)
        {
            self.wheel.file(index, nearest_ms);
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.wheel.next_due_ms()
    }

    pub(super) fn next_due(&mut self) -> Option<u32> {
        self.wheel.pop_due(self.now.ms())
    }

    /// A deadline of this connection fired: does what is due, and files the next.
    pub(super) fn deadline(&mut self, key: Key) {
        let now_ms = self.now.ms();
        let Some(connection) = self.get_mut(key) else { return };
        match connection.stage {
            Stage::Handshake if connection.deadline_ms <= now_ms => self.lost(key, CloseReason::HandshakeTimeout),
            Stage::Closing if connection.deadline_ms <= now_ms => self.bury(key.index),
            Stage::Unauthenticated | Stage::Open => {
                if connection.pong_by_ms <= now_ms {
                    self.close(key, CloseReason::PingTimeout);
                } else if connection.deadline_ms <= now_ms {
                    self.send_ping(key, now_ms);
                }
            }
            _ => {}
        }
        self.arm(key.index);
    }

    fn send_ping(&mut self, key: Key, now_ms: u64) {
        let next_ms = self.ping_after(now_ms);
        // A sign of life may come a little late, never be missed early.
        let pong_by_ms = (now_ms + self.rules.pong_ms).next_multiple_of(self.ping_grid_ms());
        let ping = self.ping.clone();
        if let Some(connection) = self.get_mut(key) {
            connection.deadline_ms = next_ms;
            connection.pong_by_ms = connection.pong_by_ms.min(pong_by_ms);
        }
        self.send(key, ping, Urgency::Urgent);
    }

    /// Pings, and the looks for their answers, fall on moments that connections share: one wake of the reactor then serves
    /// some dozens of them, which for 10,000 idle connections is most of the cost.
    fn ping_grid_ms(&self) -> u64 {
        (self.rules.ping_ms / 100).clamp(1, 250)
    }

    /// Never longer than `ping_ms`, so that clients may count on it; up to a tenth shorter, so that a crowd that came at
    /// once is not pinged at once for ever.
    fn ping_after(&mut self, now_ms: u64) -> u64 {
        let ping_ms = self.rules.ping_ms;
        let wanted_ms = now_ms + ping_ms - self.random.u64(0..=ping_ms / 10);
        let grid_ms = self.ping_grid_ms();
        (wanted_ms / grid_ms * grid_ms).max(now_ms + 1)
    }

    /// The first ping comes at a random moment of the interval's second half: who connected at once is pinged spread.
    pub(super) fn first_ping_at(&mut self) -> u64 {
        let now_ms = self.now.ms();
        let earlier_ms = self.random.u64(0..=self.rules.ping_ms / 2);
        let grid_ms = self.ping_grid_ms();
        (self.ping_after(now_ms).saturating_sub(earlier_ms) / grid_ms * grid_ms).max(now_ms + 1)
    }

    /// Closes with this reason's own code, and its label as the text.
    pub fn close(&mut self, key: Key, reason: CloseReason) {
        self.close_with(key, reason, reason.code(), reason.label());
    }

    /// Begins the closing handshake: what is queued is still written, then the close frame. Before the upgrade there is
    /// nothing to say it with, and the socket is closed. A connection that is closing already is left alone.
    pub fn close_with(&mut self, key: Key, reason: CloseReason, code: u16, text: &str) {
        let Some(connection) = self.get(key) else { return };
        match connection.stage {
            Stage::Handshake => self.lost(key, reason),
            Stage::Unauthenticated | Stage::Open => {
                let close = Frame::plain(frame::encode_close(code, text));
                self.begin_closing(key, reason, close);
            }
            Stage::Closing | Stage::Dead => {}
        }
    }

    /// As `close_with`, for a peer that takes nothing: drops what is queued, so that the close frame has a chance and the
    /// memory is free at once.
    pub fn close_and_drop_queue(&mut self, key: Key, reason: CloseReason, text: &str) {
        if self.get(key).is_some_and(Connection::is_live) {
            self.drop_unwritten(key.index);
            self.close_with(key, reason, reason.code(), text);
        }
    }

    fn begin_closing(&mut self, key: Key, reason: CloseReason, close: Rc<Frame>) {
        self.end(key, reason);
        self.move_to(key.index, Stage::Closing);
        self.enqueue(key.index, close, Urgency::Urgent);
        let deadline_ms = self.now.ms() + CLOSE_WAIT_MS;
        let connection = &mut self.connections[key.index as usize];
        connection.kept = None;
        connection.pong_by_ms = NEVER;
        connection.application_deadline_ms = NEVER;
        connection.deadline_ms = deadline_ms;
        // A held or paused connection is read again: its close frame may be waiting in the socket.
        self.readable_again.push_back(key);
        self.arm(key.index);
    }

    /// Counts the end, and puts it on the list for the application.
    fn end(&mut self, key: Key, reason: CloseReason) {
        self.counters().closed[reason as usize].add(1);
        self.ended.push_back((key, reason));
    }

    /// The socket is gone, or not worth a word: no more frames, close it at the end of the turn.
    pub(super) fn lost(&mut self, key: Key, reason: CloseReason) {
        let Some(connection) = self.get(key) else { return };
        if matches!(
            connection.stage,
            Stage::Handshake | Stage::Unauthenticated | Stage::Open
        ) {
            self.end(key, reason);
        }
        self.bury(key.index);
    }

    /// The peer sent its end of file. An answer that is still queued is written first.
    pub(super) fn end_of_file(&mut self, key: Key) {
        match self.get_mut(key) {
            Some(connection) if connection.stage == Stage::Closing && connection.queue != QueueId::NONE => {
                connection.peer_closed = true;
            }
            _ => self.lost(key, CloseReason::ConnectionLost),
        }
    }

    fn bury(&mut self, index: u32) {
        if self.connections[index as usize].stage != Stage::Dead {
            self.move_to(index, Stage::Dead);
            self.wheel.cancel(index);
            self.dead.push_back(index);
        }
    }

    pub(super) fn next_ended(&mut self) -> Option<(Key, CloseReason)> {
        self.ended.pop_front()
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
