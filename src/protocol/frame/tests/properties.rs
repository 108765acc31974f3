//! What holds for any bytes: pieces give what the whole gives, tungstenite reads the same, encoding and decoding are
//! inverse, and the fast ways agree with the plain ones.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::*;
use crate::protocol::frame::utf8::TextBuffer;

/// A stream as tungstenite sees it: what has come, then nothing; what is written goes nowhere.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            self.0.read(buffer)
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of `bytes` in the given role.
fn tungstenite_reads(role: Role, bytes: &[u8]) -> Vec<Event<'static>> {
    let mut wire = Wire(bytes);
    let mut context = WebSocketContext::new(role, Some(WebSocketConfig::default()));
    let mut events = Vec::new();
    loop {
        match context.read(&mut wire) {
            Ok(Message::Text(text)) => events.push(Event::Text(Cow::Owned(text.as_str().to_owned()))),
            Ok(Message::Binary(bytes)) => events.push(Event::Binary(Cow::Owned(bytes.to_vec()))),
            Ok(Message::Ping(bytes)) => events.push(ping(&bytes)),
            Ok(Message::Pong(_)) => events.push(Event::Pong),
            Ok(Message::Close(close)) => {
                events.push(Event::Close(close.map(|close| close.code.into())));
                return events;
            }
            Err(Error::Io(_)) => return events,
            other => panic!("{other:?}"),
        }
    }
}

/// A client's well-formed message as the frames that carry it, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        any::<String>().prop_map(|text| (Opcode::Text, text.into_bytes())),
        "[a-z€𝄞]{0,200}".prop_map(|text| (Opcode::Text, text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (Opcode::Binary, bytes)),
        (65_500usize..65_600).prop_map(|bytes| (Opcode::Text, vec![b'x'; bytes])),
    ];
    let control = (
        prop_oneof![Just(Opcode::Ping), Just(Opcode::Pong)],
        proptest::collection::vec(any::<u8>(), 0..=125),
    );
    let cuts = proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(control)), 0..4);
    (payload, cuts).prop_map(|((opcode, payload), mut cuts)| {
        let mut bytes = Vec::new();
        cuts.sort_by_key(|(index, _)| index.index(payload.len() + 1));
        let mut start = 0;
        let mut kind = opcode;
        for (index, control) in cuts {
            let end = index.index(payload.len() + 1);
            bytes.extend(fragment(kind, &payload[start..end]));
            if let Some((opcode, payload)) = control {
                bytes.extend(client(opcode, &payload));
            }
            (start, kind) = (end, Opcode::Continuation);
        }
        bytes.extend(client(kind, &payload[start..]));
        bytes
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(message(), 0..5).prop_map(|messages| messages.concat())
}

/// `bytes` cut at any places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|index| index.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.iter()
        .map(|&end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #[test]
    fn agrees_with_tungstenite(bytes in stream()) {
        let (events, violation) = decode_whole(&bytes, RULES);
        prop_assert_eq!(violation, None);
        prop_assert_eq!(events, tungstenite_reads(Role::Server, &bytes));
    }

    #[test]
    fn any_pieces_are_the_whole(bytes in stream(), cuts in cuts()) {
        prop_assert_eq!(decode(cut(&bytes, &cuts), RULES), decode_whole(&bytes, RULES));
    }

    /// Also where something is wrong somewhere.
    #[test]
    fn any_pieces_of_a_damaged_stream_are_the_whole(
        mut bytes in stream(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in cuts(),
        binary in any::<bool>(),
        max_message_bytes in 0usize..400,
    ) {
        if !bytes.is_empty() {
            for (index, byte) in damage {
                *index.get_mut(&mut bytes) = byte;
            }
        }
        let rules = Rules { max_message_bytes, binary };
        prop_assert_eq!(decode(cut(&bytes, &cuts), rules), decode_whole(&bytes, rules));
    }

    #[test]
    fn clients_read_what_is_encoded(
        texts in proptest::collection::vec(any::<String>(), 0..5),
        payload in proptest::collection::vec(any::<u8>(), 0..=125),
        code in 3000u16..=4999,
        reason in any::<String>(),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for part in texts {
            bytes.extend(encode_text(part.as_bytes()));
            bytes.extend(encode(Opcode::Ping, &payload));
            expected.extend([text(&part), ping(&payload)]);
        }
        bytes.extend(encode_close(code, &reason));
        expected.push(Event::Close(Some(code)));
        prop_assert_eq!(tungstenite_reads(Role::Client, &bytes), expected);
    }

    /// What is encoded, masked on the way, is decoded to the same.
    #[test]
    fn encode_and_decode_are_inverse(payload in any::<String>(), long in prop_oneof![Just(0usize), 60_000usize..70_000]) {
        let payload = payload + &"x".repeat(long);
        let frame = encode(Opcode::Text, payload.as_bytes());
        let header_bytes = frame.len() - payload.len();
        let mut sent = frame;
        sent[1] |= 0x80;
        sent.splice(header_bytes..header_bytes, MASK);
        unmask(&mut sent[header_bytes + 4..], MASK);
        prop_assert_eq!(&sent, &client(Opcode::Text, payload.as_bytes()));
        prop_assert_eq!(decode_whole(&sent, RULES), (vec![text(&payload)], None));
    }

    #[test]
    fn unmasks_as_the_rfc_says(payload in proptest::collection::vec(any::<u8>(), 0..100), mask: [u8; 4], skip in 0usize..8) {
        // At any alignment.
        let start = skip.min(payload.len());
        let mut fast = payload.clone();
        unmask(&mut fast[start..], mask);
        let naive: Vec<_> = payload[start..].iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
        prop_assert_eq!(&fast[start..], naive);
        prop_assert_eq!(&fast[..start], &payload[..start]);
    }

    #[test]
    fn text_in_pieces_is_valid_where_the_whole_is(
        bytes in prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            "[a€𝄞é]{0,40}".prop_map(String::into_bytes),
            proptest::collection::vec(prop_oneof![Just(b'a'), 0x80u8..=0xFF], 0..12),
        ],
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in cuts(),
    ) {
        let mut bytes = bytes;
        if let (Some((index, byte)), false) = (damage, bytes.is_empty()) {
            *index.get_mut(&mut bytes) = byte;
        }
        let mut buffer = TextBuffer::default();
        let mut pushed = Vec::new();
        let mut result = Ok(());
        for piece in cut(&bytes, &cuts) {
            pushed.extend_from_slice(piece);
            result = buffer.push(piece);
            // Refused exactly when no continuation could mend it.
            let hopeless = std::str::from_utf8(&pushed).is_err_and(|error| error.error_len().is_some());
            prop_assert_eq!(result.is_err(), hopeless);
            if hopeless {
                break;
            }
            prop_assert_eq!(buffer.len(), pushed.len());
        }
        let whole = result.and_then(|()| buffer.finish());
        prop_assert_eq!(whole.ok(), String::from_utf8(bytes).ok());
    }
}
