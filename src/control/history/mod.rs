//! Why a connection is gone, asked afterwards: what reactors tell goes into the `recorder`, and comes out as the events of
//! `GET /v1/users/{user}/history`. `record` is how the recorder writes things down. Told by `outbox`; asked by the API by
//! way of the bus, since other nodes have their own.

mod record;
mod recorder;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::state::unix_ms;
use crate::links::{ConnectionId, Happening, What};
use crate::metrics::NodeCounters;
use recorder::{CHUNK_BYTES, Recorder};

/// Events that one answer holds at most, over all nodes.
pub const EVENTS_MAX: usize = 1_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Whose history.
    pub user: String,
    /// Of this connection alone.
    #[serde(default)]
    pub connection: Option<String>,
    /// At most so many events, the newest; never more than `EVENTS_MAX`.
    pub limit: usize,
}

/// What is known, of one node or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Oldest first, each with its node.
    pub events: Vec<Event>,
    /// From when on nothing is missing, Unix milliseconds; `None`: a node that was asked does not record.
    pub since_ms: Option<u64>,
    /// There are older ones that were not asked for.
    pub more: bool,
}

impl Answer {
    /// Adds what another node knows.
    pub fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        self.more |= other.more;
        self.since_ms = self.since_ms.zip(other.since_ms).map(|(own, other)| own.max(other));
    }

    /// Somebody who knew of what was before `unix_ms` is not there to be asked.
    pub fn know_nothing_before(&mut self, unix_ms: Option<u64>) {
        self.since_ms = self.since_ms.map(|since_ms| since_ms.max(unix_ms.unwrap_or(0)));
    }

    /// The newest `limit` events, in the order in which they happened.
    pub fn cut_to(&mut self, limit: usize) {
        self.events.sort_by_key(|event| event.at_ms);
        let over = self.events.len().saturating_sub(limit);
        self.more |= over > 0;
        self.events.drain(..over);
    }
}

/// Something that happened to a connection, as the API and the other nodes see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
    /// To which connection.
    pub connection: String,
    /// Of which node.
    pub node: String,
    /// The device, where known.
    pub device: Option<String>,
    /// The client's address, where known.
    pub remote: Option<IpAddr>,
}

/// What happened. Words, not enums: another node may be a newer longwire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Kind {
    /// It logged in.
    Connected {
        /// The token's end, Unix seconds.
        expires_at: Option<u64>,
    },
    /// A fresh token moved its end.
    Renewed {
        /// The token's end, Unix seconds.
        expires_at: Option<u64>,
    },
    /// A token was refused.
    Refused {
        /// The error's code, as the client was told.
        error: Cow<'static, str>,
    },
    /// It ended.
    Closed {
        /// Why.
        reason: Cow<'static, str>,
        /// The close code; 1006 where there was no close frame.
        code: u16,
        /// Since its login, milliseconds.
        lived_ms: u64,
        /// What waited to be written to it, bytes.
        queued_bytes: u32,
        /// Who kicked it: `api` or `nats`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Cow<'static, str>>,
    },
}

impl From<What> for Kind {
    fn from(what: What) -> Self {
        match what {
            What::Connected { expires_at } => Self::Connected { expires_at },
            What::Renewed { expires_at } => Self::Renewed { expires_at },
            What::Refused { why } => Self::Refused {
                error: why.label().into(),
            },
            What::Closed {
                reason,
                code,
                lived_ms,
                queued_bytes,
                by,
            } => Self::Closed {
                reason: reason.label().into(),
                code,
                lived_ms,
                queued_bytes,
                by: by.map(|by| by.label().into()),
            },
        }
    }
}

/// See the module.
pub struct History {
    node: String,
    recorder: Mutex<Recorder>,
    counters: Arc<NodeCounters>,
}

impl History {
    /// The history of node `node`, whose connections have this epoch, in at most `bytes_max` bytes; 0: it is off.
    pub fn new(node: &str, epoch: u64, bytes_max: usize, counters: Arc<NodeCounters>) -> Self {
        Self {
            node: node.into(),
            recorder: Mutex::new(Recorder::new(bytes_max, CHUNK_BYTES, epoch, unix_ms())),
            counters,
        }
    }

    /// Another `limits.history_bytes` is in force.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        let mut recorder = self.lock();
        recorder.set_bytes_max(bytes_max, unix_ms());
        self.count(&recorder);
    }

    /// Keeps what a reactor tells.
    pub fn note(&self, happenings: &[Happening]) {
        let mut recorder = self.lock();
        happenings.iter().for_each(|happening| recorder.push(happening));
        self.count(&recorder);
    }

    /// What this node knows.
    pub fn recall(&self, question: &Question) -> Answer {
        let recorder = self.lock();
        let since_ms = recorder.is_on().then(|| recorder.since_ms());
        let connection: Option<Option<ConnectionId>> = question.connection.as_ref().map(|id| id.parse().ok());
        if connection == Some(None) {
            return Answer {
                since_ms,
                ..Answer::default()
            };
        }
        let recalled = recorder.recall(&question.user, connection.flatten(), question.limit.min(EVENTS_MAX));
        let events = recalled.happenings.into_iter().map(|happening| Event {
            at_ms: happening.at_unix_ms,
            kind: happening.what.into(),
            connection: happening.connection.to_string(),
            node: self.node.clone(),
            device: happening.device.map(Into::into),
            remote: happening.remote,
        });
        Answer {
            events: events.collect(),
            since_ms,
            more: recalled.more,
        }
    }

    fn count(&self, recorder: &Recorder) {
        self.counters.history_events.set(recorder.events() as u64);
        self.counters.history_bytes.set(recorder.bytes() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
