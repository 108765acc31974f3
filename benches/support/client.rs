//! A client's half of the protocol as bytes, with as little work as can be: the clients share the machine with the node.

use longwire::config::settings::Auth;
use longwire::shard::auth::{Grant, mint};

pub const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A token of this user that holds for an hour.
pub fn token(auth: &Auth, user: &str, topics: Option<Vec<String>>) -> String {
    let grant = Grant {
        user: user.to_owned(),
        ttl_seconds: 3_600,
        topics,
        ..Grant::default()
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    mint(auth, &grant, now.as_millis() as u64).unwrap()
}

/// A client's frame of less than 64 KiB.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    if payload.len() < 126 {
        frame.push(0x80 | payload.len() as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Opcode, header bytes and payload bytes of the frame that begins here.
pub fn server_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    Some(match second {
        126 => {
            let length = u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap());
            (first & 15, 4, length.into())
        }
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            (first & 15, 10, length as usize)
        }
        short => (first & 15, 2, short.into()),
    })
}
