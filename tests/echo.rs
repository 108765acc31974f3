//! The echo server of `examples/echo.rs`: messages of any size up to 16 MiB come back whole and in order, fragments too,
//! and whoever sends without reading is made to wait instead of filling the server's memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, coding::CloseCode};
use tungstenite::protocol::{WebSocket, WebSocketConfig};

const MAX: usize = 16 * 1024 * 1024;

struct Echo {
    child: Child,
    address: String,
}

impl Echo {
    fn start() -> Self {
        static BUILT: Once = Once::new();
        BUILT.call_once(|| {
            // `cargo test` has built it already, `cargo test --test echo` has not.
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--quiet",
                "--locked",
                "--example",
                "echo",
                "--profile",
                profile,
            ]);
            assert!(
                cargo
                    .current_dir(env!("CARGO_MANIFEST_DIR"))
                    .status()
                    .unwrap()
                    .success()
            );
        });
        // The examples lie beside the tests.
        let mut path: PathBuf = std::env::current_exe().unwrap();
        path.pop();
        path.pop();
        path.extend(["examples", "echo"]);
        let mut child = Command::new(path)
            .args(["127.0.0.1:0", "2"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .split("ws://")
            .nth(1)
            .unwrap()
            .trim_end_matches("/ws")
            .to_owned();
        Self { child, address }
    }

    fn connect(&self) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://{}/ws", self.address);
        tungstenite::client::client_with_config(url, stream, Some(config))
            .unwrap()
            .0
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next message that is no control frame.
fn next(socket: &mut WebSocket<TcpStream>) -> Message {
    loop {
        let message = socket.read().unwrap();
        if !message.is_ping() && !message.is_pong() {
            return message;
        }
    }
}

#[test]
fn messages_of_every_size_come_back() {
    let echo = Echo::start();
    let mut socket = echo.connect();
    for bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20, MAX] {
        let binary = Message::binary((0..bytes).map(|byte| byte as u8).collect::<Vec<_>>());
        socket.send(binary.clone()).unwrap();
        assert_eq!(next(&mut socket), binary, "{bytes} bytes");
        let text = Message::text("ä".repeat(bytes / 2));
        socket.send(text.clone()).unwrap();
        assert_eq!(next(&mut socket), text, "{bytes} bytes of text");
    }
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let echo = Echo::start();
    let mut socket = echo.connect();
    // The server says so at the header and reads no further, so the send itself may fail.
    let _ = socket.send(Message::binary(vec![0; MAX + 1]));
    match next(&mut socket) {
        Message::Close(Some(CloseFrame { code, .. })) => assert_eq!(code, CloseCode::Size),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fragments_come_back_as_one_message() {
    let echo = Echo::start();
    let mut socket = echo.connect();
    let piece = |opcode, payload: &str, last| Frame::message(payload.to_owned(), OpCode::Data(opcode), last);
    socket.write(Message::Frame(piece(Data::Text, "one ", false))).unwrap();
    socket.write(Message::Ping("in between".into())).unwrap();
    socket
        .write(Message::Frame(piece(Data::Continue, "two ", false)))
        .unwrap();
    socket
        .send(Message::Frame(piece(Data::Continue, "three", true)))
        .unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("in between".into()));
    assert_eq!(next(&mut socket), Message::text("one two three"));
}

#[test]
fn whoever_sends_without_reading_loses_nothing() {
    let echo = Echo::start();
    let socket = echo.connect();
    let mut writer = WebSocket::from_raw_socket(
        socket.get_ref().try_clone().unwrap(),
        tungstenite::protocol::Role::Client,
        None,
    );
    let mut reader = socket;
    // Far more than the sockets and the server's queue hold: the server must stop reading and go on later.
    let (count, size) = (400_usize, 256 * 1024);
    let sender = thread::spawn(move || {
        for number in 0..count {
            let mut message = vec![0; size];
            message[..8].copy_from_slice(&number.to_be_bytes());
            writer.send(Message::binary(message)).unwrap();
        }
    });
    for number in 0..count {
        let message = next(&mut reader).into_data();
        assert_eq!(message.len(), size);
        assert_eq!(message[..8], number.to_be_bytes());
    }
    sender.join().unwrap();
}
