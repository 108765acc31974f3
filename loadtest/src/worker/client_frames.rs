//! The client's half of RFC 6455: the upgrade with a fixed key, masked frames, and the server's frames decoded where they
//! lie in the read buffer, without allocation. Owns no socket.

use std::ops::Range;

/// The key of every upgrade, and what a server has to make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The opcodes that are used here.
pub const TEXT: u8 = 1;
/// As above.
pub const BINARY: u8 = 2;
/// As above.
pub const CLOSE: u8 = 8;
/// As above.
pub const PING: u8 = 9;
/// As above.
pub const PONG: u8 = 10;

/// Appends the upgrade request.
pub fn write_upgrade(path: &str, out: &mut Vec<u8>) {
    for part in [
        "GET ",
        path,
        " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        KEY,
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// What the server says to the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgraded {
    /// More bytes are needed.
    NotYet,
    /// Yes; frames begin at this byte.
    Yes(usize),
    /// No, with this status; 0: this is no HTTP, or the accept key is wrong.
    No(u16),
}

/// Reads the answer to the upgrade.
pub fn read_upgrade(bytes: &[u8]) -> Upgraded {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > 16 * 1024 {
            Upgraded::No(0)
        } else {
            Upgraded::NotYet
        };
    };
    let head = &bytes[..end];
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .unwrap_or(0);
    match status {
        101 if head.windows(ACCEPT.len()).any(|part| part == ACCEPT) => Upgraded::Yes(end + 4),
        101 => Upgraded::No(0),
        status => Upgraded::No(status),
    }
}

/// Appends a masked frame.
pub fn write_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is; `None`: a fragment, a masked frame, reserved bits: nothing that is understood here.
    pub opcode: Option<u8>,
    /// Where its payload lies.
    pub payload: Range<usize>,
}

/// The frame that begins these bytes, if it is there to its end (which is its payload's).
pub fn read_frame(bytes: &[u8]) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (header, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let header = if second & 0x80 == 0 { header } else { header + 4 };
    let end = header + usize::try_from(length).ok()?;
    let plain = first & 0xf0 == 0x80 && second & 0x80 == 0 && first & 15 != 0;
    (bytes.len() >= end).then_some(Frame {
        opcode: plain.then_some(first & 15),
        payload: header..end,
    })
}

/// The code of a close frame; 1005 where there is none.
pub fn close_code(payload: &[u8]) -> u16 {
    payload
        .first_chunk::<2>()
        .map_or(1005, |code| u16::from_be_bytes(*code))
}

/// `retry_ms=<n>` in a close frame's reason.
pub fn retry_ms(payload: &[u8]) -> Option<u64> {
    let reason = std::str::from_utf8(payload.get(2..)?).ok()?;
    reason.strip_prefix("retry_ms=")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..126 => bytes.push(length as u8),
                126..65_536 => bytes.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
            }
            let header = bytes.len();
            bytes.resize(header + length, b'x');
            let frame = read_frame(&bytes);
            assert_eq!(
                frame.map(|frame| (frame.opcode, frame.payload)),
                Some((Some(TEXT), header..header + length))
            );
            assert_eq!(read_frame(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(
            read_frame(&[0x01, 0]).map(|frame| frame.opcode),
            Some(None),
            "a fragment"
        );
    }

    #[test]
    fn the_upgrade_is_checked() {
        let yes = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81";
        assert_eq!(read_upgrade(yes), Upgraded::Yes(yes.len() - 1));
        assert_eq!(read_upgrade(&yes[..30]), Upgraded::NotYet);
        assert_eq!(read_upgrade(b"HTTP/1.1 503 No\r\n\r\n"), Upgraded::No(503));
        assert_eq!(read_upgrade(b"HTTP/1.1 101 Yes\r\n\r\n"), Upgraded::No(0));
        assert_eq!(retry_ms(b"\x03\xf4retry_ms=250"), Some(250));
        assert_eq!(close_code(b""), 1005);
    }
}
