//! A server's half of a WebSocket, as far as the wrong servers need it.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Takes a client's request, whatever it says, and answers that it is upgraded.
pub fn upgrade(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(upgraded).ok()
}

/// A frame of this first byte.
pub fn frame(first: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match message.len() {
        short @ 0..126 => bytes.push(short as u8),
        long => bytes.extend([&[126][..], &(long as u16).to_be_bytes()].concat()),
    }
    [&bytes[..], message].concat()
}

/// The next frame of a client, unmasked; none at its end.
pub fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut exactly = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let head = exactly(2)?;
    let length = match head[1] & 0x7f {
        126 => usize::from(u16::from_be_bytes(exactly(2)?.try_into().unwrap())),
        short => usize::from(short),
    };
    let mask = exactly(4)?;
    let mut payload = exactly(length)?;
    let bytes = payload.iter_mut().zip(mask.iter().cycle());
    bytes.for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0] & 15, payload))
}
