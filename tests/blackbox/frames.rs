//! Data frames: every violation of RFC 6455 and its close code, fragments, sizes, text.

use serde_json::json;

use crate::support::raw::{
    BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, fragment, frame, frame_of, mask_key, masked,
};
use crate::support::{Gateway, Raw, Value, wait_until};

/// Sends the bytes on a fresh connection and checks the code that closes it.
#[track_caller]
fn closes_with(gateway: &Gateway, code: u16, what: &str, bytes: &[u8]) {
    let mut raw = Raw::upgraded(gateway);
    raw.send(bytes);
    assert_eq!(raw.closed().0, code, "{what}");
    raw.try_send(&frame(CLOSE, &close_payload(code, "")));
    raw.ended();
}

fn ping_message(id: u32) -> Vec<u8> {
    json!({"path": "ping", "id": id}).to_string().into_bytes()
}

#[track_caller]
fn answered(raw: &mut Raw, id: u32) {
    assert_eq!(raw.json(), json!({"path": "ping", "id": id, "status": 200, "body": {}}));
}

#[test]
fn frames_that_break_the_protocol_close_1002() {
    let gateway = Gateway::start("");
    let header = |first: u8, rest: &[u8]| [&[first], rest, &mask_key()[..], &masked(&[b'x'; 200])].concat();
    let mut unmasked = vec![0x81, 2];
    unmasked.extend(b"{}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no mask", unmasked),
        ("reserved bit 1", frame_of(0xc1, b"{}")),
        ("reserved bit 2", frame_of(0xa1, b"{}")),
        ("reserved bit 3", frame_of(0x91, b"{}")),
        ("reserved data opcode", frame(0x3, b"")),
        ("reserved data opcode", frame(0x7, b"{}")),
        ("reserved control opcode", frame(0xB, b"")),
        ("reserved control opcode", frame(0xF, b"{}")),
        ("fragmented ping", frame_of(PING, b"x")),
        ("fragmented close", frame_of(CLOSE, &close_payload(1000, ""))),
        ("ping of 126 bytes", frame(PING, &[b'x'; 126])),
        (
            "close of 126 bytes",
            frame(CLOSE, &close_payload(1000, &"x".repeat(124))),
        ),
        ("16-bit length for 5 bytes", header(0x81, &[0x80 | 126, 0, 5])),
        ("16-bit length for 125 bytes", header(0x81, &[0x80 | 126, 0, 125])),
        (
            "64-bit length for 200 bytes",
            header(0x81, &[0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 200]),
        ),
        (
            "64-bit length for 65535 bytes",
            header(0x81, &[0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ),
        (
            "64-bit length with the top bit",
            header(0x81, &[0x80 | 127, 0x80, 0, 0, 0, 0, 1, 0, 0]),
        ),
        ("continuation of nothing", frame(CONTINUATION, b"x")),
        ("unfinished continuation of nothing", frame_of(CONTINUATION, b"x")),
        (
            "text inside a message",
            [fragment(TEXT, false, b"{"), frame(TEXT, b"{}")].concat(),
        ),
        (
            "another start inside a message",
            [fragment(TEXT, false, b"{"), fragment(TEXT, false, b"}")].concat(),
        ),
        (
            "continuation after the end",
            [frame(TEXT, b"[]"), frame(CONTINUATION, b"x")].concat(),
        ),
    ];
    let count = cases.len();
    for (what, bytes) in cases {
        if what == "continuation after the end" {
            let mut raw = Raw::upgraded(&gateway);
            raw.send(&bytes);
            assert_eq!(raw.json()["error"]["code"], "bad_message");
            assert_eq!(raw.closed().0, 1002, "{what}");
        } else {
            closes_with(&gateway, 1002, what, &bytes);
        }
    }
    wait_until("all to be counted", || {
        gateway.closed_for("protocol_error") == count as f64
    });
}

#[test]
fn binary_closes_1003() {
    let gateway = Gateway::start("");
    closes_with(&gateway, 1003, "binary", &frame(BINARY, b"{}"));
    closes_with(&gateway, 1003, "empty binary", &frame(BINARY, b""));
    closes_with(
        &gateway,
        1003,
        "binary in fragments",
        &[fragment(BINARY, false, b"{"), frame(0, b"}")].concat(),
    );
    let mut raw = Raw::login(&gateway, "u");
    raw.send(&frame(BINARY, b"{}"));
    assert_eq!(raw.closed().0, 1003);
    wait_until("all to be counted", || gateway.closed_for("unsupported_data") == 4.0);
}

#[test]
fn text_that_is_not_utf8_closes_1007() {
    let gateway = Gateway::start("");
    let cases: [(&str, Vec<u8>); 7] = [
        ("a byte that starts nothing", frame(TEXT, b"{\"path\":\"\xff\"}")),
        ("overlong", frame(TEXT, b"\xc0\xaf")),
        ("a surrogate", frame(TEXT, b"\xed\xa0\x80")),
        ("past the last code point", frame(TEXT, b"\xf4\x90\x80\x80")),
        ("cut short at the end", frame(TEXT, b"abc\xe2\x82")),
        (
            "cut short at the last fragment's end",
            [fragment(TEXT, false, b"a\xe2"), frame(0, b"\x82")].concat(),
        ),
        (
            "broken across fragments",
            [fragment(TEXT, false, b"a\xe2"), frame(0, b"\x28\xa1")].concat(),
        ),
    ];
    for (what, bytes) in &cases {
        closes_with(&gateway, 1007, what, bytes);
    }
    wait_until("all to be counted", || {
        gateway.closed_for("bad_utf8") == cases.len() as f64
    });
}

#[test]
fn characters_may_be_split_anywhere_over_fragments_and_writes() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    let message = r#"{"path":"ping","id":"é€😀","body":"κόσμε"}"#.as_bytes();
    for cut in 1..message.len() {
        raw.send(&fragment(TEXT, false, &message[..cut]));
        raw.send(&fragment(CONTINUATION, true, &message[cut..]));
        assert_eq!(raw.json()["id"], "é€😀", "cut at {cut}");
    }
    for byte in frame(TEXT, message) {
        raw.send(&[byte]);
    }
    assert_eq!(raw.json()["id"], "é€😀");
}

#[test]
fn a_message_may_come_in_many_fragments_with_pings_between() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    let message = ping_message(7);
    for (i, byte) in message.iter().enumerate() {
        raw.send(&fragment(if i == 0 { TEXT } else { CONTINUATION }, false, &[*byte]));
        raw.send(&frame(PING, &[i as u8]));
    }
    raw.send(&fragment(CONTINUATION, true, b""));
    for i in 0..message.len() {
        assert_eq!(
            raw.frame(),
            (0xA, vec![i as u8]),
            "each ping is answered at once, inside the message"
        );
    }
    answered(&mut raw, 7);
}

#[test]
fn many_frames_in_one_write_are_answered_in_order() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    let all: Vec<u8> = (0..500).flat_map(|i| frame(TEXT, &ping_message(i))).collect();
    raw.send(&all);
    (0..500).for_each(|i| answered(&mut raw, i));
}

/// A `ping` message of exactly that many bytes.
fn message_of(bytes: usize) -> Vec<u8> {
    let bare = json!({"path": "ping", "id": 1, "body": ""}).to_string().len();
    let text = json!({"path": "ping", "id": 1, "body": "a".repeat(bytes - bare)})
        .to_string()
        .into_bytes();
    assert_eq!(text.len(), bytes);
    text
}

#[test]
fn a_message_of_64_kib_passes_and_one_byte_more_closes_1009() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    raw.send(&frame(TEXT, &message_of(64 * 1024)));
    answered(&mut raw, 1);
    raw.send(&frame(TEXT, &message_of(64 * 1024 + 1)));
    assert_eq!(raw.closed().0, 1009);
    wait_until("it to be counted", || gateway.closed_for("message_too_big") == 1.0);
}

#[test]
fn all_fragments_together_count_for_the_limit() {
    let gateway = Gateway::start(r#"limits.message_bytes = "1KiB""#);
    let pieces = |bytes: usize| -> Vec<u8> {
        let message = message_of(bytes);
        let (first, rest) = message.split_at(700);
        [fragment(TEXT, false, first), fragment(CONTINUATION, true, rest)].concat()
    };
    let mut raw = Raw::login(&gateway, "u");
    raw.send(&pieces(1024));
    answered(&mut raw, 1);
    raw.send(&pieces(1025));
    assert_eq!(raw.closed().0, 1009);
}

#[test]
fn a_frame_that_announces_too_much_is_refused_by_its_header() {
    let gateway = Gateway::start("");
    for length in [64 * 1024 + 1, 1 << 40, (1 << 63) - 1] {
        let mut header = vec![0x81, 0x80 | 127];
        header.extend(u64::to_be_bytes(length));
        header.extend(mask_key());
        closes_with(&gateway, 1009, "announced only", &header);
    }
}

#[test]
fn the_close_of_a_message_that_is_too_big_arrives_though_the_client_is_still_sending_it() {
    let gateway = Gateway::start("");
    let mut raw = Raw::upgraded(&gateway);
    let mut writer = raw.writer();
    let sender = std::thread::spawn(move || {
        // The gateway may end the stream at some point of this; that is no failure.
        let _ = std::io::Write::write_all(&mut writer, &frame(TEXT, &vec![b'a'; 4 << 20]));
    });
    assert_eq!(raw.closed().0, 1009);
    drop(raw);
    sender.join().unwrap();
}

#[test]
fn a_frame_cut_off_by_the_end_of_the_stream_ends_that_connection_only() {
    let gateway = Gateway::start("");
    let mut other = Raw::login(&gateway, "other");
    for cut in [1, 3, 7, 20] {
        let mut raw = Raw::login(&gateway, "cut");
        raw.send(&frame(TEXT, &message_of(100))[..cut]);
        drop(raw);
    }
    wait_until("the ends to be counted", || {
        gateway.closed_for("connection_lost") == 4.0
    });
    other.send(&frame(TEXT, &ping_message(9)));
    answered(&mut other, 9);
}

#[test]
fn random_bytes_after_the_upgrade_never_hurt_another_connection() {
    let gateway = Gateway::start("");
    let mut other = Raw::login(&gateway, "other");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..100 {
        let mut raw = Raw::upgraded(&gateway);
        let noise: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        raw.try_send(&noise);
        drop(raw);
        if round % 10 == 0 {
            other.send(&frame(TEXT, &ping_message(round)));
            let reply: Value = other.json();
            assert_eq!(reply["id"], round, "seed {seed}");
        }
    }
    assert_eq!(gateway.user("other")["online"], true);
}

#[test]
fn a_limit_far_over_what_one_read_brings_holds_too() {
    let gateway = Gateway::start("limits.message_bytes = \"1MiB\"");
    let mut raw = Raw::login(&gateway, "u");
    raw.send(&frame(TEXT, &message_of(1 << 20)));
    answered(&mut raw, 1);
    let mut pieces = Vec::new();
    for (i, chunk) in message_of(1 << 20).chunks(1000).enumerate() {
        pieces.extend(fragment(if i == 0 { TEXT } else { CONTINUATION }, false, chunk));
    }
    pieces.extend(fragment(CONTINUATION, true, b""));
    raw.send(&pieces);
    answered(&mut raw, 1);
    raw.send(&frame(TEXT, &message_of((1 << 20) + 1)));
    assert_eq!(raw.closed().0, 1009);
}
