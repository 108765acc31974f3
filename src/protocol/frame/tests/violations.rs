//! Each rule of RFC 6455 that a frame can break, by its name, and what only just breaks none.

use super::*;

const PROTOCOL: Violation = Violation::Protocol("");

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
