//! What the model says should come of things: frames that are owed, ends and how they are told, calls, counts.

use std::collections::{BTreeMap, BTreeSet};

use longwire::metrics::{CloseReason, RefusalReason};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Closed(u8),
    Refused(u8),
}

impl Ending {
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed(reason) => CloseReason::ALL[reason as usize].label(),
            Self::Refused(reason) => RefusalReason::ALL[reason as usize].label(),
        }
    }

    pub fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Closed(reason) => Some(CloseReason::ALL[reason as usize]),
            Self::Refused(_) => None,
        }
    }
}

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason as u8)
    }
}

impl From<RefusalReason> for Ending {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason as u8)
    }
}

/// The close frame that a client should see.
#[derive(Clone, Debug, PartialEq)]
pub enum Farewell {
    /// The socket just ends.
    None,
    Exact(Option<u16>, String),
    /// With some words.
    Code(u16),
    /// With `retry_ms=<n>`.
    Retry(u16),
}

impl Farewell {
    /// Whether this close frame tells it; `None`: there is none.
    pub fn is_told_by(&self, frame: Option<&(Option<u16>, String)>) -> bool {
        match (self, frame) {
            (Self::None, frame) => frame.is_none(),
            (_, None) => false,
            (Self::Exact(code, text), Some(frame)) => frame == &(*code, text.clone()),
            (Self::Code(code), Some((told, text))) => *told == Some(*code) && !text.is_empty(),
            (Self::Retry(code), Some((told, text))) => {
                let retry_ms = text.strip_prefix("retry_ms=");
                *told == Some(*code) && retry_ms.is_some_and(|ms| ms.parse::<u64>().is_ok())
            }
        }
    }

    /// The code that an event of this end has.
    pub fn code(&self) -> u16 {
        match self {
            Self::None => 1006,
            Self::Exact(code, _) => code.unwrap_or(1005),
            Self::Code(code) | Self::Retry(code) => *code,
        }
    }

    /// The table of the contract, section 2.
    pub fn of(reason: CloseReason) -> Self {
        use CloseReason::*;
        let labelled = |code| Self::Exact(Some(code), reason.label().to_owned());
        match reason {
            ConnectionLost | HandshakeTimeout => Self::None,
            ProtocolError => Self::Code(1002),
            UnsupportedData => Self::Code(1003),
            BadUtf8 => Self::Code(1007),
            MessageTooBig => Self::Code(1009),
            Drain => Self::Retry(1012),
            Overload => Self::Retry(1013),
            Client => labelled(1000),
            PingTimeout => labelled(1001),
            BadMessages => labelled(1008),
            Internal => labelled(1011),
            AuthFailed => labelled(4401),
            Kicked => labelled(4403),
            ConnectTimeout => labelled(4408),
            SessionPolicy => labelled(4409),
            TokenExpired => labelled(4410),
            SlowConsumer => labelled(4413),
            RateLimited => labelled(4429),
        }
    }
}

/// A frame that a client is owed.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    Upgraded {
        protocol: bool,
    },
    Refused {
        status: u16,
    },
    Pong(Vec<u8>),
    /// Exactly this text.
    Text(String),
    Reply {
        id: Option<String>,
        path: Option<String>,
        status: u16,
        body: Answer,
    },
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Error(&'static str),
    Empty,
    Topics(BTreeSet<String>),
    Connected {
        user: String,
        expires_at: Option<u64>,
        ping_ms: u64,
    },
}

/// A message that a service should get.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub id: Option<String>,
    pub path: String,
    pub body: String,
    pub user: String,
    pub device: Option<String>,
}

/// What the counters of one reactor should say.
#[derive(Default)]
pub struct Tally {
    pub accepted: u64,
    pub messages: u64,
    pub auth: BTreeMap<&'static str, u64>,
    pub endings: BTreeMap<Ending, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub matched: u64,
}
