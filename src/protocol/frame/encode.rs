//! The gateway's own frames: final, unmasked, one allocation of the exact size each. Called by whoever has something to
//! say to a client; a push is encoded once a node and shared.

use bytes::Bytes;

use super::header::write_server_header;
use super::{MAX_CONTROL_BYTES, Opcode};

/// A whole frame around `payload`.
///
/// Control frames must not carry more than `MAX_CONTROL_BYTES`.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    encode_parts(opcode, [payload])
}

/// A whole frame whose payload is `parts` one after the other, so that nobody joins them first only to copy them again.
pub fn encode_parts<'a, P>(opcode: Opcode, parts: P) -> Vec<u8>
where
    P: IntoIterator<Item = &'a [u8], IntoIter: Clone>,
{
    let parts = parts.into_iter();
    let payload_bytes = parts.clone().map(<[u8]>::len).sum();
    debug_assert!(!opcode.is_control() || payload_bytes <= MAX_CONTROL_BYTES);
    let (header, header_bytes) = write_server_header(opcode, payload_bytes);
    let mut frame = Vec::with_capacity(header_bytes + payload_bytes);
    frame.extend_from_slice(&header[..header_bytes]);
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

/// A text frame that any number of connections can share. `payload` must be UTF-8.
pub fn encode_text(payload: &[u8]) -> Bytes {
    encode(Opcode::Text, payload).into()
}

/// A close frame. A reason over 123 bytes is cut at the last character that fits.
pub fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(MAX_CONTROL_BYTES - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    encode_parts(Opcode::Close, [&code.to_be_bytes()[..], &reason.as_bytes()[..end]])
}
