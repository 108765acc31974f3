//! Who holds a place under the session policy: `sessions.per_user_max` and `sessions.one_per_device`, over all nodes of
//! the cluster. A pure state machine: no clock, no bus, no lock. Time and messages are handed in; what it decides comes
//! out as `Verdict`s, what the other nodes must hear as `Batch`es and `Answer`s. `outbox` and the bus drive it. Only
//! logins that asked are in it, so a limit that is switched on by a reload counts the logins from then on.
//!
//! How nodes come to one answer: a login's claim is told to all nodes and held until each has answered with its own
//! places of that user, at most `HOLD_US`. It is then decided by one rule (`rule`) over all places known. A node that
//! hears of others' places runs the same rule and closes what it holds itself and the rule gives to another. Each node
//! tells only of its own places and closes only its own, so there is nothing to agree upon but the places themselves.

mod registry;
mod rule;

pub use registry::Registry;

use crate::links::ConnectionId;

/// How long a login waits at most for the other nodes' answers, microseconds.
pub const HOLD_US: u64 = 500_000;
/// Claims in one batch, except that a user's places are never torn apart when all places are told anew.
pub const CLAIMS_IN_BATCH: usize = 128;
/// Releases in one batch.
pub const RELEASES_IN_BATCH: usize = 256;

/// A connection's place, as its node tells the others of it. `connection.epoch` says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which connection.
    pub connection: ConnectionId,
    /// Its user.
    pub user: Box<str>,
    /// Its device; `None` clashes with no other.
    pub device: Option<Box<str>>,
    /// When it was claimed: Unix microseconds of its node, never two alike in one node, and later than any that the
    /// node had heard of.
    pub at_us: u64,
    /// Since when its seat is taken: `at_us`, or earlier where it took over the seat of its device's earlier connection.
    pub since_us: u64,
}

/// A login that asks for a place.
#[derive(Clone, Debug)]
pub struct Login {
    /// Which connection.
    pub connection: ConnectionId,
    /// Its user.
    pub user: Box<str>,
    /// Its device, where known.
    pub device: Option<Box<str>>,
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Unix time in microseconds: orders claims of several nodes.
    pub unix_us: u64,
    /// A clock that never jumps, microseconds since whenever: bounds waits.
    pub steady_us: u64,
}

/// What is to be done to a connection of this node. Those that go come before those that take their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The login goes on.
    Admit(ConnectionId),
    /// The login is refused. It holds no place any more.
    Refuse(ConnectionId),
    /// The connection loses its place to another. It holds none any more.
    Replace(ConnectionId),
}

/// What a node tells all others. To be published in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Grows by one with each batch of a node.
    pub id: u64,
    /// Everything that was heard of the sender before is void.
    pub reset: bool,
    /// Whoever hears it owes an answer, also with no places in it.
    pub asks: bool,
    /// Places of the sender that are gone.
    pub released: Vec<Released>,
    /// Places of the sender: claimed, or told anew. One that stands in `released` too leaves the age of its seat to the
    /// newest connection of its device.
    pub claims: Vec<Place>,
}

/// A place that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whose it was.
    pub connection: ConnectionId,
    /// Its user.
    pub user: Box<str>,
}

/// The answer to a batch that asks: all places that the answering node holds of the users named in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The batch's id.
    pub batch: u64,
    /// Places that the answering node claims later have a later `at_us` than this.
    pub as_of_us: u64,
    /// Its places.
    pub places: Vec<Place>,
}

#[cfg(test)]
mod tests;
