//! A client's bytes, in pieces and whole, give the same events; tungstenite reads the same ones.
#![no_main]

use std::borrow::Cow;
use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use longwire::protocol::frame::{Decoder, Event, Rules, Violation};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

fuzz_target!(|data: &[u8]| {
    if let [piece_bytes, max_message_units, stream @ ..] = data {
        check(
            stream,
            usize::from(*piece_bytes) + 1,
            usize::from(*max_message_units) * 16,
        );
    }
});

fn check(stream: &[u8], piece_bytes: usize, max_message_bytes: usize) {
    let rules = Rules {
        max_message_bytes,
        binary: true,
    };
    let (events, violation) = decode(stream, stream.len().max(1), rules);
    assert_eq!(decode(stream, piece_bytes, rules), (events.clone(), violation));

    let mut known = events.clone();
    if let Some(Event::Close(Some(code @ 1014))) = known.last_mut() {
        // Registered after RFC 6455; tungstenite takes it for one that may not be sent.
        *code = 1002;
    }
    let (theirs, failed) = tungstenite(stream, max_message_bytes);
    match violation {
        None => assert_eq!((theirs, failed), (known, false)),
        // Ours fails earlier than theirs, which waits for whole frames, and where theirs is lenient: what was read
        // before is the same.
        Some(_) => assert!(theirs.starts_with(&known), "{theirs:?} does not begin with {known:?}"),
    }

    // Without binary messages, the same up to the first of them.
    let (text_only, refused) = decode(stream, piece_bytes, Rules { binary: false, ..rules });
    assert!(events.starts_with(&text_only));
    assert!(!text_only.iter().any(|event| matches!(event, Event::Binary(_))));
    assert!(refused == violation || refused == Some(Violation::Binary));
}

/// The events up to the end, a violation or a close frame.
fn decode(stream: &[u8], piece_bytes: usize, rules: Rules) -> (Vec<Event<'static>>, Option<Violation>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    let mut received_bytes = 0;
    for piece in stream.chunks(piece_bytes) {
        received_bytes += piece.len();
        let mut scratch = piece.to_vec();
        let mut input = &mut scratch[..];
        loop {
            match decoder.next(&mut input, rules) {
                Ok(Some(event)) => events.push(into_owned(event)),
                Ok(None) => break,
                Err(violation) => return (events, Some(violation)),
            }
            if matches!(events.last(), Some(Event::Close(_))) {
                return (events, None);
            }
        }
        assert!(input.is_empty());
        assert!(decoder.buffered_bytes() <= 2 * received_bytes + 256);
    }
    (events, None)
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

/// tungstenite's events up to the end, an error (then true) or a close frame.
fn tungstenite(stream: &[u8], max_message_bytes: usize) -> (Vec<Event<'static>>, bool) {
    // Control frames are not under the limit for messages.
    let config = WebSocketConfig::default()
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes.max(125)))
        .read_buffer_size(4096);
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut wire = Wire(stream);
    let mut events = Vec::new();
    loop {
        match context.read(&mut wire) {
            Ok(Message::Text(text)) => events.push(Event::Text(Cow::Owned(text.as_str().to_owned()))),
            Ok(Message::Binary(bytes)) => events.push(Event::Binary(Cow::Owned(bytes.to_vec()))),
            Ok(Message::Ping(bytes)) => events.push(Event::Ping(Cow::Owned(bytes.to_vec()))),
            Ok(Message::Pong(_)) => events.push(Event::Pong),
            Ok(Message::Close(close)) => {
                events.push(Event::Close(close.map(|close| close.code.into())));
                return (events, false);
            }
            Err(Error::Io(_)) => return (events, false),
            Ok(Message::Frame(_)) | Err(_) => return (events, true),
        }
    }
}

/// What has come, then nothing; what is written goes nowhere.
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
