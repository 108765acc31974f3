//! The data plane's knowledge, without a socket and without a clock: bytes and time go in, bytes and notices come out.
//!
//! `Shard` is the seam that the reactor drives. Below it, `Engine` knows WebSocket (handshake, frames, queues, pings,
//! closes) and nothing of users; above it an `Application` knows what messages mean. The gateway's application is
//! `gateway::Gateway`; `examples/echo.rs` is another one on the same engine.

pub mod auth;
pub mod connection;
pub mod engine;
pub mod gateway;
pub mod outbound;
pub mod wheel;

use std::io::IoSlice;

use crate::metrics::{CloseReason, RefusalReason};
use crate::protocol::handshake::Request;

pub use connection::{Connection, Key, Stage};
pub use engine::{Engine, Rules, Sent, Urgency};

/// The time of a turn. Read once by the reactor, passed to everything that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the node started; never goes back.
    pub us: u64,
    /// Wall clock, Unix milliseconds; may jump.
    pub unix_ms: u64,
}

impl Now {
    /// Milliseconds since the node started.
    pub fn ms(self) -> u64 {
        self.us / 1000
    }
}

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// A whole message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message; only where `Rules::binary` allows them.
    Binary(&'a [u8]),
}

/// What becomes of the connection after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The message was taken; go on with the next.
    Continue,
    /// It cannot be taken yet. The engine keeps it and everything behind it, and reads no more of this connection until
    /// the application calls `Engine::resume`, which hands the same message over again.
    Hold,
}

/// An answer to a request that will not be upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Counted under this.
    pub reason: RefusalReason,
    /// Seconds for `Retry-After`, where it is worth coming back.
    pub retry_after_s: Option<u32>,
    /// One sentence for the body.
    pub text: &'static str,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: CloseReason,
    /// The close code that was really said: ours, or the client's where it closed (1005 if it named none); 1006 where
    /// there was no close frame.
    pub code: u16,
    /// What waited to be written to it when its end was decided, before anything was thrown away.
    pub queued_bytes: usize,
}

/// How many seconds or items a turn may spend on what, for `Application::run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left over; call again when something happens.
    Idle,
    /// Call again at this time (milliseconds since the node's start) at the latest.
    At(u64),
    /// Work is left over: do not wait.
    Now,
}

impl Next {
    /// Whichever of the two comes first.
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::Idle, next) | (next, Self::Idle) => next,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
        }
    }
}

/// What a message means. The engine calls it; it acts through the engine it is given, which also knows the time
/// (`Engine::now`).
pub trait Application: Sized {
    /// What the application keeps for each connection, in the connection's slot. Its size is paid for every connection.
    type Session: Default;
    /// What comes in through the reactor's inbox.
    type Command;
    /// What goes out through its outbox.
    type Notice;

    /// A socket was accepted. The application may set the connection's first deadline.
    fn accepted(&mut self, engine: &mut Engine<Self::Session>, key: Key);
    /// A valid upgrade request is here: take it, or say how to refuse.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn admit(&mut self, engine: &mut Engine<Self::Session>, key: Key, request: &Request<'_>) -> Result<(), Refusal>;
    /// A whole message. `resumed` says that it was held and is handed over again.
    fn message(&mut self, engine: &mut Engine<Self::Session>, key: Key, message: Message<'_>, resumed: bool) -> Flow;
    /// Some deadline of this connection passed; the application looks at its own ones and stores the next.
    fn deadline(&mut self, engine: &mut Engine<Self::Session>, key: Key);
    /// The connection has left the open stages (its close may still be under way). Called exactly once for each that
    /// was accepted; nothing can be sent to it any more.
    fn ended(&mut self, engine: &mut Engine<Self::Session>, key: Key, end: End);
    /// Something from the inbox.
    fn command(&mut self, engine: &mut Engine<Self::Session>, command: Self::Command);
    /// False stops the inbox until a later turn: backpressure.
    fn takes_commands(&self, engine: &Engine<Self::Session>) -> bool;
    /// Once a turn: a budget's worth of work that was put off.
    fn run(&mut self, engine: &mut Engine<Self::Session>) -> Next;
    /// The next thing for the outbox.
    fn next_notice(&mut self) -> Option<Self::Notice>;
    /// The outbox is full: either keep the notice for a later turn (it comes first again), or deal with it.
    fn notice_refused(&mut self, engine: &mut Engine<Self::Session>, notice: Self::Notice);
}

/// An engine and its application: what a reactor drives. Every method leaves the two in agreement: whoever the engine
/// lost on the way was reported to the application before the method returns.
pub struct Shard<A: Application> {
    /// Connections and bytes.
    pub engine: Engine<A::Session>,
    /// Meaning.
    pub application: A,
}

impl<A: Application> Shard<A> {
    /// Puts the two together.
    pub fn new(engine: Engine<A::Session>, application: A) -> Self {
        Self { engine, application }
    }

    /// A new turn: what time it is from now on.
    pub fn tick(&mut self, now: Now) {
        self.engine.set_now(now);
    }

    fn settle(&mut self) {
        while let Some((key, end)) = self.engine.next_ended() {
            self.application.ended(&mut self.engine, key, end);
        }
    }

    /// A socket was accepted; `client` is the peer's address, `None` on a Unix socket.
    pub fn open(&mut self, client: Option<std::net::IpAddr>) -> Key {
        let key = self.engine.open(client);
        self.application.accepted(&mut self.engine, key);
        self.engine.arm(key.index);
        self.settle();
        key
    }

    /// Bytes were read. They are decoded in place.
    pub fn receive(&mut self, key: Key, bytes: &mut [u8]) {
        self.engine.receive(&mut self.application, key, bytes);
        self.settle();
    }

    /// The peer closed its side.
    pub fn end_of_file(&mut self, key: Key) {
        self.engine.end_of_file(key);
        self.settle();
    }

    /// The socket failed.
    pub fn lost(&mut self, key: Key) {
        self.engine.lost(key, CloseReason::ConnectionLost);
        self.settle();
    }

    /// Whether the reactor may read this connection now.
    pub fn wants_read(&self, key: Key) -> bool {
        self.engine.wants_read(key)
    }

    /// Something from the inbox.
    pub fn command(&mut self, command: A::Command) {
        self.application.command(&mut self.engine, command);
        self.settle();
    }

    /// Whether the inbox may be drained further.
    pub fn takes_commands(&self) -> bool {
        self.application.takes_commands(&self.engine)
    }

    /// Fires at most `budget` deadlines. True if more are due.
    pub fn expire(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(index) = self.engine.next_due() else {
                return false;
            };
            let key = self.engine.key_of(index);
            self.application.deadline(&mut self.engine, key);
            self.engine.deadline(key);
            self.settle();
        }
        true
    }

    /// Work that was put off, within the application's own budgets.
    pub fn run(&mut self) -> Next {
        let next = self.application.run(&mut self.engine);
        self.settle();
        next
    }

    /// The next notice for the outbox.
    pub fn next_notice(&mut self) -> Option<A::Notice> {
        self.application.next_notice()
    }

    /// The outbox did not take it.
    pub fn notice_refused(&mut self, notice: A::Notice) {
        self.application.notice_refused(&mut self.engine, notice);
        self.settle();
    }

    /// The bytes to write next, and how many slices they are.
    pub fn pending<'a>(&'a self, key: Key, slices: &mut [IoSlice<'a>]) -> usize {
        self.engine.pending(key, slices)
    }

    /// `n` bytes were written at `now_us`. True if more are waiting.
    pub fn wrote(&mut self, key: Key, n: usize, now_us: u64) -> bool {
        self.engine.wrote(key, n, now_us)
    }

    /// When the next deadline is due, milliseconds since the node's start.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.engine.next_due_ms()
    }
}
