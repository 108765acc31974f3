//! WebSocket frames (RFC 6455 section 5): the client's are decoded in place out of whatever bytes have arrived, the
//! gateway's are encoded into one allocation of the exact size. Knows nothing of messages' meaning, never answers a
//! frame, never closes anything: the engine does.

mod decode;
mod encode;
mod header;
mod mask;
mod utf8;

#[cfg(test)]
mod tests;

pub use decode::{Decoder, Event, Rules};
pub use encode::{encode, encode_close, encode_parts, encode_text};
pub use mask::unmask;

/// What kind of frame it is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The sender is done.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or comes unasked.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; none if they are reserved.
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Why a client's bytes are not acceptable. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RFC 6455 forbids it; the text says what.
    Protocol(&'static str),
    /// A text message, or a close reason, that is not UTF-8.
    BadUtf8,
    /// A message over `Rules::max_message_bytes`, all its fragments together.
    TooBig,
    /// A binary message where `Rules::binary` does not allow one.
    Binary,
}

impl Violation {
    /// The close code that says so (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Binary => 1003,
            Self::BadUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }

    /// What was wrong, in words: for the close frame's reason and the log.
    pub fn text(self) -> &'static str {
        match self {
            Self::Protocol(what) => what,
            Self::Binary => "binary messages are not accepted",
            Self::BadUtf8 => "text is not UTF-8",
            Self::TooBig => "message is too big",
        }
    }
}

/// Control frames carry at most this much (RFC 6455 section 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;
