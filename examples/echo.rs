//! A WebSocket echo server on longwire's own data plane: the reactor, the handshake, the frames, the queues, with an
//! application of a few lines that sends every message back. For conformance suites and for raw comparisons.
//!
//! ```sh
//! cargo run --release --example echo -- 127.0.0.1:9002
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::{Arc, mpsc};

use longwire::config::settings::ListenAddress;
use longwire::links;
use longwire::metrics::NodeCounters;
use longwire::node::Shared;
use longwire::protocol::frame::{Opcode, encode};
use longwire::protocol::handshake::Request;
use longwire::reactor::{Reactor, descriptors, listener, waker_token};
use longwire::shard::outbound::Frame;
use longwire::shard::{Application, End, Engine, Flow, Key, Message, Next, Refusal, Rules, Shard, Urgency};
use mio::{Poll, Waker};

/// The largest message, all its fragments together.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

struct Echo;

impl Application for Echo {
    type Session = ();
    type Command = ();
    type Notice = ();

    fn accepted(&mut self, _engine: &mut Engine<()>, _key: Key) {}

    fn admit(&mut self, _engine: &mut Engine<()>, _key: Key, _request: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn message(&mut self, engine: &mut Engine<()>, key: Key, message: Message<'_>, _resumed: bool) -> Flow {
        let frame = match message {
            Message::Text(text) => encode(Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => encode(Opcode::Binary, bytes),
        };
        engine.send(key, Frame::plain(frame), Urgency::Urgent);
        Flow::Continue
    }

    fn deadline(&mut self, _engine: &mut Engine<()>, _key: Key) {}
    fn ended(&mut self, _engine: &mut Engine<()>, _key: Key, _end: End) {}
    fn command(&mut self, _engine: &mut Engine<()>, _command: ()) {}

    fn takes_commands(&self, _engine: &Engine<()>) -> bool {
        true
    }

    fn run(&mut self, _engine: &mut Engine<()>) -> Next {
        Next::Idle
    }

    fn next_notice(&mut self) -> Option<()> {
        None
    }

    fn notice_refused(&mut self, _engine: &mut Engine<()>, _notice: ()) {}
}

/// The outbox's reader: an echo server has nothing to say to anybody else.
struct Nobody;

impl links::Wake for Nobody {
    fn wake(&self) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    let reactors = std::env::args().nth(2).map_or(Ok(1), |reactors| reactors.parse())?;
    descriptors::raise_limit()?;
    let prepared = Arc::new([listener::prepare(&ListenAddress::Tcp(address.parse()?))?]);
    let node = Arc::new(Shared::new(reactors, 1));
    let counters = Arc::new(NodeCounters::new(reactors));
    let (ready, listening) = mpsc::channel();
    let threads: Vec<_> = (0..reactors)
        .map(|number| {
            let (node, counters, prepared) = (node.clone(), counters.clone(), prepared.clone());
            let ready = ready.clone();
            std::thread::spawn(move || run(number, node, counters, &*prepared, &ready))
        })
        .collect();
    drop(ready);
    if listening.iter().take(reactors).count() == reactors
        && let listener::Prepared::Tcp { address, .. } = &prepared[0]
    {
        println!("echoing on ws://{address}/ws");
    }
    for thread in threads {
        thread
            .join()
            .map_err(|_| "a reactor panicked")?
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn run(
    number: usize,
    node: Arc<Shared>,
    counters: Arc<NodeCounters>,
    listeners: &[listener::Prepared],
    ready: &mpsc::Sender<()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let rules = Rules {
        handshake_ms: 10_000,
        ping_ms: 25_000,
        pong_ms: 10_000,
        message_bytes_max: MESSAGE_BYTES_MAX,
        binary: true,
        // Whoever sends without reading is not read any more: the queue holds at most what one read brought in.
        outbound_bytes_max: 8 * MESSAGE_BYTES_MAX,
        read_pause_bytes: MESSAGE_BYTES_MAX,
    };
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), waker_token())?;
    let (_sender, inbox) = links::channel(1, waker);
    let (outbox, _receiver) = links::channel(1, Nobody);
    let shard = Shard::new(Engine::new(rules, fastrand::u64(..), counters, number), Echo);
    let reactor = Reactor::new(poll, listeners, shard, inbox, outbox, node)?;
    ready.send(())?;
    reactor.run()?;
    Ok(())
}
