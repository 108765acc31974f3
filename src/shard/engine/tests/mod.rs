//! The engine under an application that writes down what it is told, without sockets and without a clock. What random
//! sequences come to is in `tests/simulation`; here stand the cases that have names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod closing;
mod deadlines;
mod input;
mod output;

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::{Engine, Rules, Sent, Urgency};
use crate::metrics::{CloseReason, NodeCounters, RefusalReason};
use crate::protocol::frame::{self, Opcode};
use crate::protocol::handshake::Request;
use crate::shard::outbound::Frame;
use crate::shard::{Application, End, Flow, Key, Message, Next, Now, Refusal, Shard, Stage};

const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Writes down what it is told.
#[derive(Default)]
pub(super) struct Probe {
    heard: Vec<String>,
    ended: Vec<(Key, CloseReason)>,
    codes: Vec<u16>,
    /// Holds every message that is not handed over again.
    holds: bool,
    /// Answers every message with as many bytes.
    answer_bytes: Option<usize>,
    refuses: bool,
}

impl Application for Probe {
    type Session = ();
    type Command = ();
    type Notice = ();

    fn accepted(&mut self, _: &mut Engine<()>, _: Key) {}

    fn admit(&mut self, _: &mut Engine<()>, _: Key, _: &Request<'_>) -> Result<(), Refusal> {
        let refusal = Refusal {
            status: 503,
            reason: RefusalReason::Full,
            retry_after_s: Some(3),
            text: "full",
        };
        if self.refuses { Err(refusal) } else { Ok(()) }
    }

    fn message(&mut self, engine: &mut Engine<()>, key: Key, message: Message<'_>, resumed: bool) -> Flow {
        if self.holds && !resumed {
            return Flow::Hold;
        }
        let Message::Text(text) = message else { panic!("binary") };
        self.heard.push(text.to_owned());
        if let Some(bytes) = self.answer_bytes {
            engine.send(key, Frame::plain(text_frame(bytes)), Urgency::Urgent);
        }
        if text == "bye" {
            engine.close(key, CloseReason::Kicked);
        }
        Flow::Continue
    }

    fn deadline(&mut self, _: &mut Engine<()>, _: Key) {}

    fn ended(&mut self, _: &mut Engine<()>, key: Key, end: End) {
        self.ended.push((key, end.reason));
        self.codes.push(end.code);
    }

    fn command(&mut self, _: &mut Engine<()>, (): ()) {}

    fn takes_commands(&self, _: &Engine<()>) -> bool {
        true
    }

    fn run(&mut self, _: &mut Engine<()>) -> Next {
        Next::Idle
    }

    fn next_notice(&mut self) -> Option<()> {
        None
    }

    fn notice_refused(&mut self, _: &mut Engine<()>, (): ()) {}
}

pub(super) type World = Shard<Probe>;

fn rules() -> Rules {
    Rules {
        handshake_ms: 10_000,
        ping_ms: 25_000,
        pong_ms: 10_000,
        message_bytes_max: 1_000,
        binary: false,
        outbound_bytes_max: 1_000,
        read_pause_bytes: 500,
    }
}

fn world_with(rules: Rules) -> World {
    let mut world = Shard::new(
        Engine::new(rules, 1, Arc::new(NodeCounters::new(1)), 0),
        Probe::default(),
    );
    at(&mut world, 1_000);
    world
}

fn world() -> World {
    world_with(rules())
}

/// It is so many milliseconds after the start.
fn at(world: &mut World, ms: u64) {
    world.tick(Now {
        us: ms * 1_000,
        unix_ms: 1_700_000_000_000 + ms,
    });
}

/// It is so late, and everything that is due has fired.
fn expire_at(world: &mut World, ms: u64) {
    at(world, ms);
    assert!(!world.expire(100), "deadlines fire again and again");
}

fn receive(world: &mut World, key: Key, bytes: &[u8]) {
    world.receive(key, &mut bytes.to_vec());
}

/// A connection whose upgrade is answered and written.
fn upgraded(world: &mut World) -> Key {
    let key = world.open(None);
    receive(world, key, HEAD);
    assert!(flush(world, key).starts_with(b"HTTP/1.1 101 "));
    key
}

/// A client's frame.
fn client(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let mut bytes = vec![0x80 | opcode as u8, 0x80 | u8::try_from(payload.len()).unwrap()];
    assert!(payload.len() < 126);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn text(text: &str) -> Vec<u8> {
    client(Opcode::Text, text.as_bytes())
}

/// A server's text frame of so many bytes, header and all.
fn text_frame(bytes: usize) -> Vec<u8> {
    let header = if bytes < 128 { 2 } else { 4 };
    frame::encode(Opcode::Text, &vec![b'x'; bytes - header])
}

fn send(world: &mut World, key: Key, bytes: usize) -> Sent {
    let push = Frame::push(Bytes::from(text_frame(bytes)), 1);
    let sent = world.engine.send(key, push, Urgency::Urgent);
    world.settle();
    sent
}

/// The slices to write next.
fn pending(world: &World, key: Key) -> Vec<Vec<u8>> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = world.pending(key, &mut slices);
    slices[..filled].iter().map(|slice| slice.to_vec()).collect()
}

/// A socket that takes at most `room` bytes; what it took.
fn write(world: &mut World, key: Key, room: usize) -> Vec<u8> {
    let mut bytes = pending(world, key).concat();
    bytes.truncate(room);
    world.wrote(key, bytes.len(), 5);
    bytes
}

/// Everything that is queued, written.
fn flush(world: &mut World, key: Key) -> Vec<u8> {
    write(world, key, usize::MAX)
}

fn stage(world: &World, key: Key) -> Option<Stage> {
    world.engine.get(key).map(|connection| connection.stage())
}

fn closed(world: &World, reason: CloseReason) -> u64 {
    world.engine.counters().closed[reason as usize].get()
}
