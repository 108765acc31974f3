//! What nodes say to each other, and what they report to services: the JSON shapes of `docs/nats.md`, and the subjects.
//! Data alone. Used by everything in this bus.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::Found;
use crate::control::history;
use crate::links::{ConnectionId, ConnectionInfo};

/// The header that names a user, percent-encoded.
pub const USER: &str = "Longwire-User";
/// The users of a push for several, percent-encoded, joined by commas.
pub const USERS: &str = "Longwire-Users";
/// The connection that sent a message.
pub const CONNECTION: &str = "Longwire-Connection";
/// The node that holds it.
pub const NODE: &str = "Longwire-Node";
/// The message's path.
pub const PATH: &str = "Longwire-Path";
/// The sender's device, percent-encoded.
pub const DEVICE: &str = "Longwire-Device";
/// The status of a service's answer.
pub const STATUS: &str = "Longwire-Status";

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Asks for its name, and answers for no connection yet.
    Joining,
    /// Takes connections.
    Up,
    /// Closes those it has.
    Draining,
    /// Its last word.
    Gone,
}

/// A node's sign of life: `<prefix>.node.beat`, and its answer to `<prefix>.node.hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Its name.
    pub node: String,
    /// Its process, 16 hexadecimal digits as in its connections' ids.
    pub epoch: String,
    /// Its version of longwire.
    pub version: String,
    /// When it started, Unix milliseconds.
    pub since_ms: u64,
    /// Its open connections.
    pub connections: u64,
    /// Logins a second that it has now, and that it takes beside its other work. A node that does not say (an older
    /// version) takes what one reactor does.
    #[serde(default)]
    pub logins_per_s: u32,
    /// See `logins_per_s`.
    #[serde(default = "one_reactor")]
    pub logins_max_per_s: u32,
    /// Where it is in its life.
    pub state: Standing,
    /// Whether it holds its name: false while it is asking for it.
    pub holds_name: bool,
}

impl Beat {
    /// The epoch as a number.
    pub fn epoch(&self) -> Option<u64> {
        read_epoch(&self.epoch)
    }

    /// A number as an epoch.
    pub fn write_epoch(epoch: u64) -> String {
        format!("{epoch:016x}")
    }
}

fn one_reactor() -> u32 {
    crate::node::LOGINS_PER_S_A_REACTOR
}

/// An epoch as a number.
pub fn read_epoch(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// What a node answers to another's hello.
#[derive(Debug, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// About itself.
    #[serde(flatten)]
    pub beat: Beat,
    /// What it last heard of another process with the asker's name.
    pub namesake: Option<Namesake>,
}

/// A process with the same name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Namesake {
    /// Which.
    pub epoch: String,
    /// How long ago it gave a sign of life, milliseconds.
    pub age_ms: u64,
}

/// What every gathered answer begins with.
#[derive(Debug, Deserialize)]
pub struct From {
    /// The node that answers.
    pub node: String,
    /// Another part of its answer follows.
    #[serde(default)]
    pub more: bool,
    /// It did not, or not wholly, do what was asked.
    #[serde(default)]
    pub error: Option<serde::de::IgnoredAny>,
}

/// What a node reports of a push.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PushReport<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Connections it was for.
    pub matched: u64,
    /// Of these, how many queued it.
    pub queued: u64,
    /// Of these, how many could not.
    pub dropped: u64,
    /// Why it did not reach everybody here whom it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// The counts of a report; the error is for people.
#[derive(Debug, Deserialize)]
pub struct PushCounts {
    /// As in `PushReport`.
    pub matched: u64,
    /// As in `PushReport`.
    pub queued: u64,
    /// As in `PushReport`.
    pub dropped: u64,
}

/// What a node reports of a kick.
#[derive(Debug, Serialize, Deserialize)]
pub struct KickReport<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Connections it closed.
    pub closed: u64,
}

/// `<prefix>.kick.user.<user>`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kick {
    /// The close code; one that may not be chosen is 4403.
    #[serde(default)]
    pub code: Option<u32>,
    /// The close frame's text.
    #[serde(default)]
    pub reason: Option<String>,
    /// `api`: asked by the HTTP API of another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `<prefix>.node.find`: a user's connections are wanted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Find {
    /// Whose.
    pub user: String,
}

/// A part of the answer to `Find`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindAnswer {
    /// The node's name.
    pub node: String,
    /// What it holds.
    pub connections: Vec<WireConnection>,
    /// Another part follows.
    #[serde(default)]
    pub more: bool,
}

/// A part of the answer to `<prefix>.node.history`, which asks a `history::Question`.
#[derive(Debug, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// The node's name.
    pub node: String,
    /// What it remembers.
    pub events: Vec<history::Event>,
    /// As in `history::Answer`.
    pub since_ms: Option<u64>,
    /// As `history::Answer::more`.
    #[serde(default)]
    pub older: bool,
    /// Another part follows.
    #[serde(default)]
    pub more: bool,
}

impl HistoryAnswer {
    /// What this part says.
    pub fn answer(self) -> history::Answer {
        history::Answer {
            events: self.events,
            since_ms: self.since_ms,
            more: self.older,
        }
    }
}

/// A connection, as `GET /v1/users/{user}` shows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct WireConnection {
    connection: String,
    device: Option<String>,
    since_ms: u64,
    expires_at: Option<u64>,
    topics: Vec<String>,
    remote: Option<IpAddr>,
}

impl std::convert::From<ConnectionInfo> for WireConnection {
    fn from(info: ConnectionInfo) -> Self {
        Self {
            connection: info.connection.to_string(),
            device: info.device,
            since_ms: info.since_ms,
            expires_at: info.expires_at,
            topics: info.topics,
            remote: info.remote,
        }
    }
}

impl WireConnection {
    /// Back again; nothing if its id is none.
    pub fn found_on(self, node: &str) -> Option<Found> {
        Some(Found {
            node: node.into(),
            info: ConnectionInfo {
                connection: self.connection.parse().ok()?,
                device: self.device,
                since_ms: self.since_ms,
                expires_at: self.expires_at,
                topics: self.topics,
                remote: self.remote,
            },
        })
    }

    /// Leaves topics out until it takes at most `bytes_max` as JSON; the bytes that it takes.
    pub fn cut_to(&mut self, bytes_max: usize) -> usize {
        loop {
            let bytes = serde_json::to_vec(self).map_or(0, |json| json.len() + 1);
            if bytes <= bytes_max || self.topics.is_empty() {
                return bytes;
            }
            self.topics.truncate(self.topics.len() / 2);
        }
    }
}

/// `<prefix>.node.close`: one connection is to be closed, by the node whose epoch its id has.
#[derive(Debug, Serialize, Deserialize)]
pub struct Close {
    /// Which.
    pub connection: String,
    /// With this code.
    pub code: u16,
    /// And this text.
    pub text: String,
}

impl Close {
    /// The connection's id, if it is one.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection.parse().ok()
    }
}

/// The event of a connection that logged in or left.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// Whose.
    pub user: &'a str,
    /// Which.
    pub connection: String,
    /// The node that holds or held it.
    pub node: &'a str,
    /// The device, where known.
    pub device: Option<&'a str>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Why it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// With which close code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}
