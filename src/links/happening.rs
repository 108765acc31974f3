//! What the flight recorder is told of connections, so that somebody can ask afterwards why one is gone: made by
//! `shard::gateway`, kept by `control::history`. Plain data.

use std::net::IpAddr;

use super::ConnectionId;
use crate::metrics::{AuthResult, CloseReason};

/// Who closed a connection that was kicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kicker {
    /// Somebody who called the HTTP API of this node or of another.
    Api,
    /// A service, over the bus.
    Bus,
}

impl Kicker {
    /// Every value, in the order of `as u8`.
    pub const ALL: &'static [Self] = &[Self::Api, Self::Bus];

    /// The word for it in answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Bus => "nats",
        }
    }
}

/// Something that happened to a user's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub user: Box<str>,
    /// The device, where known.
    pub device: Option<Box<str>>,
    /// The client's address; `None` for a Unix socket whose proxy named nobody.
    pub remote: Option<IpAddr>,
    /// When, Unix milliseconds.
    pub at_unix_ms: u64,
    /// What.
    pub what: What,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It logged in.
    Connected {
        /// The token's `exp`, Unix seconds.
        expires_at: Option<u64>,
    },
    /// A fresh token moved its end.
    Renewed {
        /// The token's `exp`, Unix seconds.
        expires_at: Option<u64>,
    },
    /// A token of this user, or on this user's connection, was refused.
    Refused {
        /// Why; never `AuthResult::Ok`.
        why: AuthResult,
    },
    /// It ended.
    Closed {
        /// Why.
        reason: CloseReason,
        /// As in `Notice::Disconnected`.
        code: u16,
        /// Since its login, milliseconds.
        lived_ms: u64,
        /// What waited to be written to it when its end was decided; thrown away for a slow consumer.
        queued_bytes: u32,
        /// By whom, where it was kicked.
        by: Option<Kicker>,
    },
}
