//! A panic on a reactor's thread is a bug that must not be silent: the process says so and ends, so that its service
//! manager starts it anew. The test starts itself again as a server whose application panics when a client tells it to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use longwire::config::settings::ListenAddress;
use longwire::metrics::NodeCounters;
use longwire::node::Shared;
use longwire::protocol::handshake::Request;
use longwire::reactor::{Reactor, listener, waker_token};
use longwire::shard::{Application, End, Engine, Flow, Key, Message, Next, Refusal, Rules, Shard};
use longwire::{cli, links};

const SERVER: &str = "LONGWIRE_TEST_PANICKING_SERVER";

struct Panics;

impl Application for Panics {
    type Session = ();
    type Command = ();
    type Notice = ();

    fn accepted(&mut self, _engine: &mut Engine<()>, _key: Key) {}
    fn admit(&mut self, _engine: &mut Engine<()>, _key: Key, _request: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }
    fn message(&mut self, _engine: &mut Engine<()>, _key: Key, _message: Message<'_>, _resumed: bool) -> Flow {
        panic!("told to");
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

struct Nobody;

impl links::Wake for Nobody {
    fn wake(&self) {}
}

fn serve() {
    cli::logging::end_on_panic();
    let prepared = [listener::prepare(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap()];
    let rules = Rules {
        handshake_ms: 10_000,
        ping_ms: 25_000,
        pong_ms: 10_000,
        message_bytes_max: 1024,
        binary: true,
        outbound_bytes_max: 1024,
        read_pause_bytes: 512,
    };
    let reactor = std::thread::Builder::new().name("reactor-0".to_owned()).spawn(move || {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), waker_token()).unwrap();
        let (_sender, inbox) = links::channel(1, waker);
        let (outbox, _receiver) = links::channel(1, Nobody);
        let shard = Shard::new(Engine::new(rules, 1, Arc::new(NodeCounters::new(1)), 0), Panics);
        let reactor = Reactor::new(poll, &prepared, shard, inbox, outbox, Arc::new(Shared::new(1, 1))).unwrap();
        let listener::Prepared::Tcp { address, .. } = &prepared[0] else {
            panic!("a TCP address")
        };
        println!("listening on {address}");
        reactor.run()
    });
    // Like control, the main thread does not look after the reactor's.
    drop(reactor);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_panic_on_a_reactor_ends_the_process_and_is_told() {
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "a_panic_on_a_reactor_ends_the_process_and_is_told",
            "--exact",
            "--nocapture",
        ])
        .env(SERVER, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
    let address = address.expect("the server listens");
    let stream = TcpStream::connect(&address).unwrap();
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).unwrap();
    socket.send("panic".into()).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(101), "{said}");
    assert!(said.contains("told to") && said.contains("reactor-0"), "{said}");
}
