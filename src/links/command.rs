//! What control and a reactor say to each other: `Command` goes in through a reactor's inbox, `Notice` comes out
//! through its outbox. Plain data only; `shard::gateway` carries commands out and produces notices, `control` does the
//! opposite. Nothing here knows how either side works.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Happening, Kicker};
use crate::config::Settings;
use crate::metrics::CloseReason;

/// Names a connection over the whole cluster and over restarts: `epoch` is drawn at random by each process, `index`
/// and `generation` are the slot in its reactor's slab.
///
/// Written `EEEEEEEEEEEEEEEE-R-I-G`, all hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The process.
    pub epoch: u64,
    /// The reactor in it.
    pub reactor: u16,
    /// The slot in the reactor's slab.
    pub index: u32,
    /// How often the slot had been used before.
    pub generation: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:016x}-{:x}-{:x}-{:x}",
            self.epoch, self.reactor, self.index, self.generation
        )
    }
}

impl FromStr for ConnectionId {
    type Err = ();

    /// Accepts exactly what `Display` writes, so that an id has one spelling.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(());
        let id = Self {
            epoch: u64::from_str_radix(part()?, 16).map_err(drop)?,
            reactor: u16::from_str_radix(part()?, 16).map_err(drop)?,
            index: u32::from_str_radix(part()?, 16).map_err(drop)?,
            generation: u32::from_str_radix(part()?, 16).map_err(drop)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// A user's name with its hash (`node::Shared::hash_user`), so that no reactor hashes it again.
#[derive(Clone, Debug)]
pub struct UserName {
    /// The name as it stands in the token.
    pub name: Arc<str>,
    /// `node::Shared::hash_user(name)`.
    pub hash: u64,
}

/// Who gets a push.
#[derive(Clone, Debug)]
pub enum Target {
    /// Every connection of this user.
    User(UserName),
    /// Every connection subscribed to exactly this topic.
    Topic(Arc<str>),
    /// Every authenticated connection.
    All,
}

/// Ties a command to the notice that answers it. Control chooses it; a reactor only carries it back.
pub type Ticket = u64;

/// What control asks of a reactor.
#[derive(Debug)]
pub enum Command {
    /// Queue an encoded WebSocket frame for every matching connection. Answered by `Notice::Pushed` if `ticket` is some.
    Push {
        /// Who gets it.
        target: Target,
        /// The whole frame, header included, as `protocol::frame::encode_text` makes it.
        frame: Bytes,
        /// When the push arrived at the node, microseconds of `node::Shared::now_us`.
        arrived_us: u64,
        /// Where to report, if anybody waits.
        ticket: Option<Ticket>,
    },
    /// Close a user's connections. Answered by `Notice::Kicked`.
    KickUser {
        /// Whose.
        user: UserName,
        /// The close code: 4403 unless the service chose another.
        code: u16,
        /// The close frame's reason, at most 123 bytes.
        text: Arc<str>,
        /// Who asks.
        by: Kicker,
        /// Where to report.
        ticket: Option<Ticket>,
    },
    /// Close one connection. Answered by `Notice::Kicked` with `closed` 0 or 1.
    KickConnection {
        /// Which.
        connection: ConnectionId,
        /// As in `KickUser`.
        code: u16,
        /// As in `KickUser`.
        text: Arc<str>,
        /// As in `KickUser`.
        by: Kicker,
        /// Where to report.
        ticket: Option<Ticket>,
    },
    /// Describe a user's connections. Answered by `Notice::Found`.
    FindUser {
        /// Whose.
        user: UserName,
        /// Where to report.
        ticket: Ticket,
    },
    /// Describe the connections with the most bytes queued. Answered by `Notice::Slowest`.
    FindSlowest {
        /// How many at most.
        limit: usize,
        /// Where to report.
        ticket: Ticket,
    },
    /// An encoded frame for one connection: the reply to its `Notice::Call`. A stale id is harmless.
    Reply {
        /// To whom.
        connection: ConnectionId,
        /// The whole frame.
        frame: Bytes,
    },
    /// The answer to `Notice::Claim`: whether this login may go on.
    Admit {
        /// Whose login.
        connection: ConnectionId,
        /// False: answered 409 and closed with 4409.
        admitted: bool,
    },
    /// The session policy gave this connection's place to another: close it with 4409.
    Replace {
        /// Which.
        connection: ConnectionId,
    },
    /// Use these settings from now on.
    Reload(Arc<Settings>),
    /// Take nobody new and close everybody, spread over `window_ms`. Answered by `Notice::Drained` when the last is gone.
    Drain {
        /// Over how long.
        window_ms: u64,
    },
}

/// What `GET /v1/users/{user}` says of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Which.
    pub connection: ConnectionId,
    /// The device's name, where known.
    pub device: Option<String>,
    /// When it logged in, Unix milliseconds.
    pub since_ms: u64,
    /// When its token expires, Unix seconds.
    pub expires_at: Option<u64>,
    /// What it subscribed.
    pub topics: Vec<String>,
    /// The client's address; `None` for a Unix socket whose proxy named nobody.
    pub remote: Option<IpAddr>,
}

/// What `GET /v1/slow` says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowConnection {
    /// Which.
    pub connection: ConnectionId,
    /// Its user; `None` before the login.
    pub user: Option<String>,
    /// The device's name, where known.
    pub device: Option<String>,
    /// The client's address; `None` for a Unix socket whose proxy named nobody.
    pub remote: Option<IpAddr>,
    /// Bytes queued for it and not yet taken by its socket.
    pub queued_bytes: usize,
}

/// A client's message for a backend service.
#[derive(Debug)]
pub struct Call {
    /// Who sent it, and who gets the reply.
    pub connection: ConnectionId,
    /// The client's `id` as it stood in the message (JSON text); `None`: a publish, nobody waits for a reply.
    pub id: Option<Box<str>>,
    /// The path, valid.
    pub path: Box<str>,
    /// The body's JSON text; `null` if the client sent none.
    pub body: Bytes,
    /// The sender's name.
    pub user: Box<str>,
    /// The sender's device, where known.
    pub device: Option<Box<str>>,
}

/// What a reactor tells control.
#[derive(Debug)]
pub enum Notice {
    /// Answers `Command::Push`.
    Pushed {
        /// The command's.
        ticket: Ticket,
        /// Connections it was for.
        matched: u64,
        /// Of these, how many queued it.
        queued: u64,
        /// Of these, how many could not (their queue was past the limit).
        dropped: u64,
    },
    /// Answers `Command::KickUser` and `KickConnection`.
    Kicked {
        /// The command's.
        ticket: Ticket,
        /// How many connections it closed.
        closed: u64,
    },
    /// Answers `Command::FindUser`.
    Found {
        /// The command's.
        ticket: Ticket,
        /// The user's connections on this reactor.
        connections: Vec<ConnectionInfo>,
    },
    /// Answers `Command::FindSlowest`.
    Slowest {
        /// The command's.
        ticket: Ticket,
        /// The longest queues of this reactor, in no particular order.
        connections: Vec<SlowConnection>,
    },
    /// A message that a backend service answers. Whoever takes it owes exactly one `Command::Reply` if it has an id.
    Call(Box<Call>),
    /// A valid token waits for the session policy's word. Owes exactly one `Command::Admit`. Sent only where a policy
    /// is configured.
    Claim {
        /// Whose login.
        connection: ConnectionId,
        /// The user.
        user: Box<str>,
        /// The device, where known.
        device: Option<Box<str>>,
    },
    /// A connection that claimed a place is gone.
    Release {
        /// Which.
        connection: ConnectionId,
        /// Its user.
        user: Box<str>,
    },
    /// A connection logged in; a renewed token is no login. Comes before everything else of this connection but its
    /// `Claim`. Only where `nats.url` is set: others hear of it as an event.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// The user.
        user: Box<str>,
        /// The device, where known.
        device: Option<Box<str>>,
        /// When, Unix milliseconds.
        at_unix_ms: u64,
    },
    /// A connection that was `Connected` has ended; its calls came before. Exactly one for each `Connected`.
    Disconnected {
        /// Which.
        connection: ConnectionId,
        /// As in its `Connected`.
        user: Box<str>,
        /// As in its `Connected`.
        device: Option<Box<str>>,
        /// When, Unix milliseconds.
        at_unix_ms: u64,
        /// Why.
        reason: CloseReason,
        /// The WebSocket close code that was said: the gateway's own, or the client's where the client closed (1005 if
        /// it named none); 1006 where there was no close frame.
        code: u16,
    },
    /// For the flight recorder, where `limits.history_bytes` is not 0: what happened since the last of these, in its order.
    /// May be lost: what the outbox has no room for is counted and forgotten.
    History(Vec<Happening>),
    /// After `Command::Drain`: this reactor holds no client any more. Who has not asked to be let in yet is none.
    Drained,
}
