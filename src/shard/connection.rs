//! One connection as the engine keeps it. Every byte here is paid for each of a million connections: what only some
//! need lives in a box or in a pool. Used by the engine; the application sees its own `session` field.

use std::net::IpAddr;

use super::NEVER;
use super::outbound::QueueId;
use crate::protocol::frame::Decoder;

/// Names a connection: a slot, and how often the slot had been used before, so that a stale key finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The slab slot.
    pub index: u32,
    /// The slot's generation.
    pub generation: u32,
}

impl Key {
    /// Both in one word, as mio's `Token` carries it.
    pub fn pack(self) -> usize {
        ((self.generation as usize) << 32) | self.index as usize
    }

    /// The inverse of `pack`.
    pub fn unpack(word: usize) -> Self {
        Self {
            index: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The request head is not complete.
    Handshake,
    /// Upgraded; the application has not yet called `Engine::authenticated`.
    Unauthenticated,
    /// Logged in.
    Open,
    /// A close frame or a refusal is queued or sent; the application does not know it any more.
    Closing,
    /// Nothing is owed to it: the reactor closes its socket in `reap_closed`.
    Dead,
}

/// Whether the connection waits in one of the lists of `flush_dirty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Dirty {
    Clean,
    Bulk,
    Urgent,
}

/// Input that could not be handed on yet.
#[derive(Debug)]
pub(super) enum Kept {
    /// The beginning of a request head.
    Head(Vec<u8>),
    /// A message that the application holds, and the bytes behind it.
    Message {
        text: bool,
        message: Vec<u8>,
        rest: Vec<u8>,
    },
}

/// A connection's slot.
#[derive(Debug)]
pub struct Connection<S> {
    pub(super) generation: u32,
    pub(super) queue: QueueId,
    pub(super) queued_bytes: u32,
    pub(super) stage: Stage,
    pub(super) dirty: Dirty,
    /// What the peer sends is thrown away: after a protocol error there are no frames any more, only bytes.
    pub(super) deaf: bool,
    /// Its request was answered with plain HTTP: it never was a WebSocket.
    pub(super) refused: bool,
    /// The peer's close frame is here.
    pub(super) peer_closed: bool,
    /// The socket took less than it was given, and has not drained since.
    pub(super) write_blocked: bool,
    /// Handshake: when the head must be complete. Closing: when the socket is closed anyway. Else: the next ping.
    pub(super) deadline_ms: u64,
    /// When a sign of life must have come; `NEVER` while no ping is unanswered.
    pub(super) pong_by_ms: u64,
    /// The application's own deadline.
    pub(super) application_deadline_ms: u64,
    pub(super) decoder: Decoder,
    pub(super) kept: Option<Box<Kept>>,
    /// The client's address; `None` on a Unix socket whose proxy named nobody.
    pub(super) client: Option<IpAddr>,
    /// The application's part.
    pub session: S,
}

impl<S: Default> Connection<S> {
    pub(super) fn new(generation: u32, client: Option<IpAddr>, deadline_ms: u64) -> Self {
        Self {
            generation,
            queue: QueueId::NONE,
            queued_bytes: 0,
            stage: Stage::Handshake,
            dirty: Dirty::Clean,
            deaf: false,
            refused: false,
            peer_closed: false,
            write_blocked: false,
            deadline_ms,
            pong_by_ms: NEVER,
            application_deadline_ms: NEVER,
            decoder: Decoder::default(),
            kept: None,
            client,
            session: S::default(),
        }
    }
}

impl<S> Connection<S> {
    /// The nearest of its deadlines.
    pub(super) fn nearest_deadline_ms(&self) -> u64 {
        self.deadline_ms.min(self.pong_by_ms).min(self.application_deadline_ms)
    }

    /// Whether messages and pushes still go to and fro.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Unauthenticated | Stage::Open)
    }

    /// Whether a message of it is held for the application.
    pub fn holds_message(&self) -> bool {
        matches!(self.kept.as_deref(), Some(Kept::Message { .. }))
    }

    /// Whether its request was refused, so that it never was a WebSocket.
    pub fn was_refused(&self) -> bool {
        self.refused
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The client's address.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Bytes queued for it.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes as usize
    }
}
