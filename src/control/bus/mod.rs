//! The bus: how a node reaches connections wherever they are, and the services behind it. One trait; `local` is the bus
//! of a node on its own, `nats` that of a cluster. A bus is told what to do by the HTTP API and by `outbox`; it hands
//! what is for this node's own connections to the router. It knows nothing of HTTP.

mod local;
mod nats;

use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;

use bytes::Bytes;

use super::history;
use super::router::{Audience, Unanswered};
use crate::config::Settings;
use crate::links::{Call, Command, ConnectionId, ConnectionInfo, Notice};
use crate::metrics::NodeCounters;
use crate::protocol::message::{self, ErrorCode};

pub use local::Local;
pub use nats::{Joined, Nats, join};

/// What a bus answers in its own time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unanswered>> + Send + 'a>>;

/// A message for many.
#[derive(Clone, Debug)]
pub struct Push {
    /// Who gets it.
    pub audience: Audience,
    /// The JSON text that each connection gets as one text frame.
    pub text: Bytes,
}

/// What became of a push, over all nodes that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections it was for.
    pub matched: u64,
    /// Of these, how many queued it.
    pub queued: u64,
    /// Of these, how many could not.
    pub dropped: u64,
    /// Whose counts these are.
    pub nodes: Nodes,
}

/// Who was asked, and who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Nodes that were asked, this one included.
    pub asked: u64,
    /// Nodes that answered in time, this one included.
    pub answered: u64,
}

impl Default for Nodes {
    /// This one alone.
    fn default() -> Self {
        Self { asked: 1, answered: 1 }
    }
}

/// A connection with its node's name.
#[derive(Clone, Debug)]
pub struct Found {
    /// The node that holds it.
    pub node: String,
    /// What that node says of it.
    pub info: ConnectionInfo,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its version of longwire.
    pub version: String,
    /// When it started, Unix milliseconds.
    pub since_ms: u64,
    /// Its open connections.
    pub connections: u64,
    /// Logins a second that it has now.
    pub logins_per_s: u32,
    /// Logins a second that it takes beside its other work.
    pub logins_max_per_s: u32,
    /// Whether it is draining.
    pub draining: bool,
}

/// One way to reach the cluster.
pub trait Bus: Send + Sync {
    /// Brings each push to every matching connection of every node, in this order; one report each.
    fn push<'a>(&'a self, pushes: &'a [Push]) -> Answer<'a, Vec<Report>>;

    /// A user's connections on all nodes.
    fn find_user<'a>(&'a self, user: &'a str) -> Answer<'a, (Vec<Found>, Nodes)>;

    /// What all nodes remember of a user.
    fn history<'a>(&'a self, question: &'a history::Question) -> Answer<'a, (history::Answer, Nodes)>;

    /// Closes a user's connections on all nodes; how many there were.
    fn kick_user<'a>(&'a self, user: &'a str, code: u16, text: &'a str) -> Answer<'a, (u64, Nodes)>;

    /// Closes one connection, wherever it is; 0 if nowhere.
    fn kick_connection<'a>(&'a self, connection: ConnectionId, code: u16, text: &'a str) -> Answer<'a, u64>;

    /// Takes over a client's message: if it has an id, exactly one `Command::Reply` follows. Must not wait.
    fn call(&self, call: Call);

    /// The nodes that are alive, this one among them.
    fn members(&self) -> Vec<Member>;

    /// Whether the bus is in reach.
    ///
    /// # Errors
    /// What is out of reach, for `/readyz`.
    fn ready(&self) -> Result<(), String>;

    /// Tells whoever listens that a connection logged in or left (`Notice::Connected`, `Notice::Disconnected`). Must not
    /// wait.
    fn event(&self, _notice: &Notice) {}

    /// Other settings are in force.
    fn reload(&self, _settings: &Settings) {}

    /// The node is about to stop: says goodbye, and sees to it that what was said is on its way.
    fn leave(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Makes the reply to a call that no service answered, and counts it; nothing for a call without an id.
pub fn refuse(counters: &NodeCounters, call: &Call, code: ErrorCode, why: &str) -> Option<Command> {
    let id = call.id.as_deref()?;
    count_reply(counters, code.status());
    let frame = message::error_reply(Some(id), Some(&call.path), code, why).into();
    Some(Command::Reply {
        connection: call.connection,
        frame,
    })
}

/// Counts a reply to a client's call.
fn count_reply(counters: &NodeCounters, status: u16) {
    let mut calls = counters.calls.lock().unwrap_or_else(PoisonError::into_inner);
    *calls.entry(status).or_default() += 1;
}
