//! Frame headers (RFC 6455 section 5.2): a client's is checked as far as its bytes have come, the gateway's is written.
//! Called by the decoder and the encoder only.

use super::{MAX_CONTROL_BYTES, Opcode, Rules, Violation};

/// The longest header: two bytes, a 64-bit length, a mask.
pub(super) const MAX_HEADER_BYTES: usize = 14;

/// A client's frame header, all of it acceptable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    pub payload_bytes: usize,
}

/// Reads the header that `bytes` begin with, and says how long it is; none if it is not all there.
///
/// `message_bytes` is how much of a fragmented message has come before, if one is under way. What can be refused is
/// refused as soon as the byte that shows it is there, in the order of the bytes: however a stream is cut into pieces,
/// it fails in the same way. What merely is not wanted (`Binary`, `TooBig`) comes after what is forbidden.
///
/// Inlined because its result is large: handed over in memory it costs the decoder a third of its time.
#[inline(always)]
pub(super) fn parse(
    bytes: &[u8],
    message_bytes: Option<usize>,
    rules: Rules,
) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let fin = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return Err(Violation::Protocol("reserved bits are set"));
    }
    let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
        return Err(Violation::Protocol("reserved opcode"));
    };
    match (opcode, message_bytes) {
        (Opcode::Continuation, None) => return Err(Violation::Protocol("continuation of no message")),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Protocol("a message inside a message")),
        _ if opcode.is_control() && !fin => return Err(Violation::Protocol("fragmented control frame")),
        _ => {}
    }

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(Violation::Protocol("frame is not masked"));
    }
    let short = usize::from(second & 0x7F);
    if opcode.is_control() && short > MAX_CONTROL_BYTES {
        return Err(Violation::Protocol("control frame is too long"));
    }
    let (announced, length_end) = match short {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|length| <[u8; 8]>::try_from(length).ok()) {
            Some(length) => (u64::from_be_bytes(length), 10),
            None => return Ok(None),
        },
        _ => (short as u64, 2),
    };
    if announced >> 63 != 0 {
        return Err(Violation::Protocol("length has its highest bit set"));
    }
    if (length_end == 4 && announced < 126) || (length_end == 10 && announced <= 0xFFFF) {
        return Err(Violation::Protocol("length is not minimal"));
    }
    if opcode == Opcode::Binary && !rules.binary {
        return Err(Violation::Binary);
    }
    let room = rules.max_message_bytes.saturating_sub(message_bytes.unwrap_or(0));
    let payload_bytes = match usize::try_from(announced) {
        Ok(bytes) if opcode.is_control() || bytes <= room => bytes,
        _ => return Err(Violation::TooBig),
    };

    let Some(&[a, b, c, d]) = bytes.get(length_end..length_end + 4) else {
        return Ok(None);
    };
    Ok(Some((
        Header {
            fin,
            opcode,
            mask: [a, b, c, d],
            payload_bytes,
        },
        length_end + 4,
    )))
}

/// The header of a final, unmasked frame: the bytes, and how many of them count.
pub(super) fn write_server_header(opcode: Opcode, payload_bytes: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = 0x80 | opcode as u8;
    let length = payload_bytes as u64;
    let end = match length {
        0..=125 => {
            header[1] = length as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&length.to_be_bytes());
            10
        }
    };
    (header, end)
}
