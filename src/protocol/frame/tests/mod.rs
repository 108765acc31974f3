//! The decoder and the encoder against RFC 6455: what is right comes through. What is refused, and what is just allowed, is
//! in `violations`; what holds for any bytes in `properties`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;

use super::*;

mod properties;
mod violations;

const MASK: [u8; 4] = [0xA1, 0x5C, 0x00, 0xFF];
const RULES: Rules = Rules {
    max_message_bytes: 1 << 20,
    binary: true,
};

/// A client's frame with whatever first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        bytes @ 0..=125 => frame.push(0x80 | bytes as u8),
        bytes @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((bytes as u16).to_be_bytes());
        }
        bytes => {
            frame.push(0x80 | 127);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let start = frame.len();
    frame.extend(payload);
    unmask(&mut frame[start..], MASK);
    frame
}

fn client(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked(0x80 | opcode as u8, payload)
}

fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked(opcode as u8, payload)
}

fn into_owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
        Event::Binary(bytes) => Event::Binary(Cow::Owned(bytes.into_owned())),
        Event::Ping(bytes) => Event::Ping(Cow::Owned(bytes.into_owned())),
        Event::Pong => Event::Pong,
        Event::Close(code) => Event::Close(code),
    }
}

type Outcome = (Vec<Event<'static>>, Option<Violation>);

/// Everything that `pieces` hold, up to a violation or a close frame.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, rules: Rules) -> Outcome {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    let mut received_bytes = 0;
    for piece in pieces {
        received_bytes += piece.len();
        let mut scratch = piece.to_vec();
        let mut input = &mut scratch[..];
        loop {
            match decoder.next(&mut input, rules) {
                Ok(Some(event)) => {
                    let message = matches!(event, Event::Text(_) | Event::Binary(_));
                    events.push(into_owned(event));
                    assert!(
                        !message || decoder.buffered_bytes() == 0,
                        "keeps something after a message"
                    );
                }
                Ok(None) => break,
                Err(violation) => return (events, Some(violation)),
            }
            if matches!(events.last(), Some(Event::Close(_))) {
                return (events, None);
            }
        }
        assert!(input.is_empty(), "no event, and bytes left over");
        assert!(
            decoder.buffered_bytes() <= 2 * received_bytes + 256,
            "keeps more than it was given"
        );
    }
    (events, None)
}

fn decode_whole(bytes: &[u8], rules: Rules) -> Outcome {
    decode([bytes], rules)
}

fn decode_bytewise(bytes: &[u8], rules: Rules) -> Outcome {
    decode(bytes.chunks(1), rules)
}

fn text(text: &str) -> Event<'static> {
    Event::Text(Cow::Owned(text.to_owned()))
}

fn ping(payload: &[u8]) -> Event<'static> {
    Event::Ping(Cow::Owned(payload.to_vec()))
}

#[test]
fn whole_frames_are_lent_and_nothing_is_kept() {
    let mut bytes = [
        client(Opcode::Text, "häß".as_bytes()),
        client(Opcode::Binary, &[7; 70_000]),
    ]
    .concat();
    bytes.extend(client(Opcode::Ping, b"p"));
    let mut input = &mut bytes[..];
    let mut decoder = Decoder::default();
    let events: Vec<_> = std::iter::from_fn(|| decoder.next(&mut input, RULES).unwrap()).collect();
    assert!(matches!(events[0], Event::Text(Cow::Borrowed("häß"))));
    assert!(matches!(events[1], Event::Binary(Cow::Borrowed(bytes)) if *bytes == [7; 70_000]));
    assert!(matches!(events[2], Event::Ping(Cow::Borrowed(b"p"))));
    assert_eq!(events.len(), 3);
    assert_eq!(decoder.buffered_bytes(), 0);
    assert_eq!(size_of::<Decoder>(), 8);
}

#[test]
fn a_tail_is_kept_until_it_completes() {
    let bytes = client(Opcode::Text, b"hello");
    for cut in 1..bytes.len() {
        let (mut first, mut second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let mut decoder = Decoder::default();
        assert_eq!(decoder.next(&mut &mut first[..], RULES), Ok(None), "cut at {cut}");
        assert_ne!(decoder.buffered_bytes(), 0);
        assert_eq!(
            decoder.next(&mut &mut second[..], RULES),
            Ok(Some(text("hello"))),
            "cut at {cut}"
        );
        assert_eq!(decoder.buffered_bytes(), 0, "cut at {cut}");
    }
}

#[test]
fn fragments_join_and_control_frames_come_between() {
    let bytes = [
        fragment(Opcode::Text, &"a€".as_bytes()[..2]),
        client(Opcode::Ping, b"1"),
        fragment(Opcode::Continuation, b""),
        client(Opcode::Pong, b"what"),
        client(Opcode::Continuation, &"a€".as_bytes()[2..]),
        client(Opcode::Text, b""),
        client(Opcode::Close, &[0x03, 0xE8]),
        b"whatever follows a close".to_vec(),
    ]
    .concat();
    let expected = vec![ping(b"1"), Event::Pong, text("a€"), text(""), Event::Close(Some(1000))];
    assert_eq!(decode_whole(&bytes, RULES), (expected.clone(), None));
    assert_eq!(decode_bytewise(&bytes, RULES), (expected, None));
}

#[test]
fn nothing_is_reserved_for_what_is_only_announced() {
    let rules = Rules {
        max_message_bytes: 1 << 30,
        binary: true,
    };
    let mut head = vec![0x82, 0xFF, 0, 0, 0, 0, 0x3F, 0xFF, 0xFF, 0xFF];
    head.extend(MASK);
    head.push(0);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.next(&mut &mut head[..], rules), Ok(None));
    assert!(decoder.buffered_bytes() < 512);
}

#[test]
fn close_reasons_are_cut_at_a_character() {
    assert_eq!(encode_close(1001, "ping_timeout"), b"\x88\x0E\x03\xE9ping_timeout");
    let long = "€".repeat(50);
    let frame = encode_close(4403, &long);
    assert_eq!(frame[1], 2 + 123);
    assert_eq!(&frame[4..], "€".repeat(41).as_bytes());
    assert_eq!(encode_close(4403, &"é".repeat(70)).len(), 4 + 122);
}

#[test]
fn encoded_frames_are_allocated_exactly() {
    for bytes in [0, 1, 125, 126, 0xFFFF, 0x10000] {
        let payload = vec![b'x'; bytes];
        let frame = encode(Opcode::Text, &payload);
        assert_eq!(frame.capacity(), frame.len());
        let (head, tail) = payload.split_at(bytes / 3);
        assert_eq!(encode_parts(Opcode::Text, [head, b"", tail]), frame);
        assert_eq!(encode_text(&payload), frame);
    }
}
