//! The decoder and the encoder against RFC 6455, each rule by its name. What holds for any bytes is in `properties`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;

use super::*;

mod properties;

const MASK: [u8; 4] = [0xA1, 0x5C, 0x00, 0xFF];
const RULES: Rules = Rules {
    max_message_bytes: 1 << 20,
    binary: true,
};
const PROTOCOL: Violation = Violation::Protocol("");

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

/// Each violation by its name, found no later than with the last of these bytes, however they come.
#[test]
fn violations() {
    let small = Rules {
        max_message_bytes: 200,
        binary: true,
    };
    let no_binary = Rules { binary: false, ..small };
    let hello = client(Opcode::Text, b"hello");
    let open = fragment(Opcode::Text, b"open");
    let cases: Vec<(&str, Vec<u8>, Rules, Violation)> = vec![
        ("rsv1", vec![0xC1], RULES, PROTOCOL),
        ("rsv2", vec![0xA1], RULES, PROTOCOL),
        ("rsv3", vec![0x91], RULES, PROTOCOL),
        ("reserved data opcode", vec![0x83], RULES, PROTOCOL),
        ("last reserved data opcode", vec![0x87], RULES, PROTOCOL),
        ("reserved control opcode", vec![0x8B], RULES, PROTOCOL),
        ("last reserved control opcode", vec![0x8F], RULES, PROTOCOL),
        (
            "second frame is broken",
            [hello.clone(), vec![0xF1]].concat(),
            RULES,
            PROTOCOL,
        ),
        ("unmasked text", vec![0x81, 0x05], RULES, PROTOCOL),
        ("unmasked ping", vec![0x89, 0x00], RULES, PROTOCOL),
        (
            "unmasked binary is a protocol error before it is binary",
            vec![0x82, 0x05],
            no_binary,
            PROTOCOL,
        ),
        ("fragmented ping", vec![0x09], RULES, PROTOCOL),
        ("fragmented pong", vec![0x0A], RULES, PROTOCOL),
        ("fragmented close", vec![0x08], RULES, PROTOCOL),
        ("control frame over 125", vec![0x89, 0x80 | 126], RULES, PROTOCOL),
        ("control frame far over 125", vec![0x88, 0x80 | 127], RULES, PROTOCOL),
        ("16-bit length of 125", vec![0x81, 0xFE, 0, 125], RULES, PROTOCOL),
        (
            "64-bit length of 65535",
            vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            RULES,
            PROTOCOL,
        ),
        (
            "64-bit length of 0",
            vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0],
            no_binary,
            PROTOCOL,
        ),
        (
            "64-bit length with its top bit",
            vec![0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
            RULES,
            PROTOCOL,
        ),
        ("continuation of nothing", vec![0x80], RULES, PROTOCOL),
        (
            "continuation after a whole message",
            [hello.clone(), vec![0x80]].concat(),
            RULES,
            PROTOCOL,
        ),
        (
            "text inside a message",
            [open.clone(), vec![0x81]].concat(),
            RULES,
            PROTOCOL,
        ),
        (
            "binary inside a message",
            [open.clone(), vec![0x02]].concat(),
            no_binary,
            PROTOCOL,
        ),
        ("close with half a code", client(Opcode::Close, &[3]), RULES, PROTOCOL),
        (
            "close with 1005",
            client(Opcode::Close, &1005u16.to_be_bytes()),
            RULES,
            PROTOCOL,
        ),
        (
            "bad code before bad reason",
            client(Opcode::Close, &[0, 0, 0xFF]),
            RULES,
            PROTOCOL,
        ),
        (
            "close reason is not UTF-8",
            client(Opcode::Close, &[0x03, 0xE8, 0xFF]),
            RULES,
            Violation::BadUtf8,
        ),
        (
            "close reason is cut",
            client(Opcode::Close, &[0x03, 0xE8, 0xE2, 0x82]),
            RULES,
            Violation::BadUtf8,
        ),
        (
            "text is not UTF-8",
            client(Opcode::Text, b"a\xFFb"),
            RULES,
            Violation::BadUtf8,
        ),
        (
            "text is cut",
            client(Opcode::Text, b"a\xE2\x82"),
            RULES,
            Violation::BadUtf8,
        ),
        (
            "surrogate",
            client(Opcode::Text, b"\xED\xA0\x80"),
            RULES,
            Violation::BadUtf8,
        ),
        ("overlong", client(Opcode::Text, b"\xC0\x80"), RULES, Violation::BadUtf8),
        (
            "above U+10FFFF",
            client(Opcode::Text, b"\xF4\x90\x80\x80"),
            RULES,
            Violation::BadUtf8,
        ),
        (
            "message ends inside a character",
            [fragment(Opcode::Text, b"\xE2\x82"), client(Opcode::Continuation, b"")].concat(),
            RULES,
            Violation::BadUtf8,
        ),
        ("too big", vec![0x81, 0xFE, 0, 201], small, Violation::TooBig),
        (
            "far too big",
            vec![0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            RULES,
            Violation::TooBig,
        ),
        (
            "too big together",
            [fragment(Opcode::Text, &[b'a'; 100]), vec![0x80, 0xE5]].concat(),
            small,
            Violation::TooBig,
        ),
        ("binary", vec![0x82, 0x80], no_binary, Violation::Binary),
        ("fragmented binary", vec![0x02, 0x80], no_binary, Violation::Binary),
        (
            "binary before too big",
            vec![0x82, 0xFE, 0xFF, 0xFF],
            no_binary,
            Violation::Binary,
        ),
    ];
    for (name, bytes, rules, expected) in cases {
        let whole = decode_whole(&bytes, rules);
        assert_eq!(decode_bytewise(&bytes, rules), whole, "{name}");
        let violation = whole.1.unwrap_or_else(|| panic!("{name}: accepted"));
        assert_eq!(violation.close_code(), expected.close_code(), "{name}: {violation:?}");
    }
}

#[test]
fn what_is_just_allowed() {
    let small = Rules {
        max_message_bytes: 200,
        binary: false,
    };
    let full = "a".repeat(200);
    assert_eq!(
        decode_whole(&client(Opcode::Text, full.as_bytes()), small),
        (vec![text(&full)], None)
    );
    let halves = [
        fragment(Opcode::Text, &full.as_bytes()[..99]),
        client(Opcode::Continuation, &full.as_bytes()[99..]),
    ]
    .concat();
    assert_eq!(decode_whole(&halves, small), (vec![text(&full)], None));
    // The limit is for messages: control frames have their own.
    let tiny = Rules {
        max_message_bytes: 1,
        binary: false,
    };
    assert_eq!(
        decode_whole(&client(Opcode::Ping, &[9; 125]), tiny),
        (vec![ping(&[9; 125])], None)
    );
    for bytes in [125, 126, 0xFFFF, 0x10000] {
        let long = "x".repeat(bytes);
        assert_eq!(
            decode_whole(&client(Opcode::Text, long.as_bytes()), RULES),
            (vec![text(&long)], None)
        );
    }
}

#[test]
fn every_close_code() {
    assert_eq!(
        decode_whole(&client(Opcode::Close, b""), RULES),
        (vec![Event::Close(None)], None)
    );
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let (events, violation) = decode_whole(&client(Opcode::Close, &code.to_be_bytes()), RULES);
        assert_eq!(events == [Event::Close(Some(code))], allowed, "{code}");
        assert_eq!(
            violation.map(Violation::close_code),
            (!allowed).then_some(1002),
            "{code}"
        );
    }
}

#[test]
fn bad_text_is_found_before_its_frame_is_there() {
    let bytes = client(Opcode::Text, b"\xE2\x28 and much more");
    for (cut, expected) in [(6, Ok(None)), (7, Ok(None)), (8, Err(Violation::BadUtf8))] {
        let mut bytes = bytes[..cut].to_vec();
        assert_eq!(Decoder::default().next(&mut &mut bytes[..], RULES), expected, "{cut}");
    }
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
        let mut appended = vec![1, 2, 3];
        encode_into(&mut appended, Opcode::Text, &payload);
        assert_eq!(appended[3..], frame);
        let (head, tail) = payload.split_at(bytes / 3);
        assert_eq!(encode_parts(Opcode::Text, [head, b"", tail]), frame);
        assert_eq!(encode_text(&payload), frame);
    }
}
