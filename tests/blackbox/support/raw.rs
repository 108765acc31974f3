//! A client that sends whatever bytes it is told to, and reads what comes back byte by byte by RFC 6455's own text.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::Gateway;
use super::client::stream_to;

/// The key of RFC 6455 section 1.3, whose answer is known.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The lines of a good upgrade request, one header a line, without the line ends.
pub fn upgrade_lines() -> Vec<String> {
    [
        "GET /ws HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("Sec-WebSocket-Key: {KEY}"),
        "Sec-WebSocket-Version: 13".to_owned(),
    ])
    .collect()
}

/// The good upgrade request with more headers.
pub fn upgrade_request(headers: &[&str]) -> String {
    let mut lines = upgrade_lines();
    lines.extend(headers.iter().map(|&h| h.to_owned()));
    lines.join("\r\n") + "\r\n\r\n"
}

/// A client's frame: masked, the shortest length. `first` is the first byte: FIN, reserved bits and opcode.
pub fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(masked(payload));
    frame
}

/// A whole message or control frame in one frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(0x80 | opcode, payload)
}

/// A fragment: `opcode` on the first, `CONTINUATION` on the others.
pub fn fragment(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    frame_of(if last { 0x80 | opcode } else { opcode }, payload)
}

pub fn masked(payload: &[u8]) -> Vec<u8> {
    payload
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

pub fn mask_key() -> [u8; 4] {
    MASK
}

/// A plain HTTP answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn open(gateway: &Gateway) -> Self {
        Self::over(stream_to(gateway.ws()))
    }

    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Upgraded, nothing else sent.
    #[track_caller]
    pub fn upgraded(gateway: &Gateway) -> Self {
        Self::open(gateway).upgrade()
    }

    /// Sends the good request and checks the answer.
    #[track_caller]
    pub fn upgrade(mut self) -> Self {
        self.send(upgrade_request(&[]).as_bytes());
        let response = self.response();
        assert_eq!(response.status, 101, "{response:?}");
        self
    }

    /// Upgraded and logged in.
    #[track_caller]
    pub fn login(gateway: &Gateway, user: &str) -> Self {
        Self::upgraded(gateway).log_in(user)
    }

    #[track_caller]
    pub fn log_in(mut self, user: &str) -> Self {
        self.send_json(&serde_json::json!({"path": "connect", "id": 0, "token": super::token(user)}));
        let reply = self.json();
        assert_eq!(reply["status"], 200, "{reply}");
        self
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what may not arrive, because the other side may be gone already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    #[track_caller]
    pub fn send_json(&mut self, message: &Value) {
        self.send(&frame(TEXT, message.to_string().as_bytes()));
    }

    /// A second handle on the stream, for a thread that writes.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Reads more, or nothing if it was interrupted; false at the end of the stream. A reset counts as an end.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend(&chunk[..n]);
                true
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(e) => panic!("nothing came: {e}; so far {} bytes", self.buffer.len()),
        }
    }

    #[track_caller]
    fn need(&mut self, bytes: usize) {
        while self.buffer.len() < bytes {
            assert!(
                self.more(),
                "the stream ended, {} of {bytes} bytes were there",
                self.buffer.len()
            );
        }
    }

    /// The plain HTTP answer that comes next; its body is read as far as `Content-Length` says.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more(),
                "the stream ended inside a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        let status = status_line[9..12].parse().unwrap();
        let split = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        let headers: Vec<_> = lines.map(|line| split(line).unwrap()).collect();
        let mut response = Response {
            status,
            headers,
            body: String::new(),
        };
        if status >= 200 {
            let length = response
                .header("Content-Length")
                .expect("Content-Length")
                .parse()
                .unwrap();
            self.need(length);
            response.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        }
        response
    }

    /// The next frame: opcode and payload. Checks that it is whole, unmasked, without reserved bits and that its length
    /// is the shortest.
    #[track_caller]
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        self.try_frame().expect("a frame, not the end of the stream")
    }

    /// The next frame, or `None` at the end of the stream.
    #[track_caller]
    pub fn try_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        while self.buffer.is_empty() {
            if !self.more() {
                return None;
            }
        }
        self.need(2);
        let (first, second) = (self.buffer[0], self.buffer[1]);
        assert_eq!(first & 0xf0, 0x80, "FIN and no reserved bits: {first:#x}");
        assert_eq!(second & 0x80, 0, "a server's frame is not masked");
        let (header, length) = match second {
            126 => {
                self.need(4);
                let length = usize::from(u16::from_be_bytes(self.buffer[2..4].try_into().unwrap()));
                assert!(length > 125);
                (4, length)
            }
            127 => {
                self.need(10);
                let length = u64::from_be_bytes(self.buffer[2..10].try_into().unwrap()) as usize;
                assert!(length > 0xffff);
                (10, length)
            }
            short => (2, usize::from(short)),
        };
        self.need(header + length);
        let payload = self.buffer.drain(..header + length).skip(header).collect();
        Some((first & 0x0f, payload))
    }

    /// The next text message, parsed; pings are passed over without an answer.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        loop {
            match self.frame() {
                (TEXT, payload) => return serde_json::from_slice(&payload).unwrap(),
                (PING, _) => {}
                other => panic!("a text message was due, not {other:?}"),
            }
        }
    }

    /// The close frame that must come next: code and reason.
    #[track_caller]
    pub fn closed(&mut self) -> (u16, String) {
        match self.frame() {
            (CLOSE, payload) => close_of(&payload),
            other => panic!("a close was due, not {other:?}"),
        }
    }

    /// Checks that the stream ends now, with nothing more on it.
    #[track_caller]
    pub fn ended(&mut self) {
        while self.buffer.is_empty() && self.more() {}
        assert!(
            self.buffer.is_empty(),
            "more came: {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
    }
}

/// Code and reason of a close frame's payload.
#[track_caller]
pub fn close_of(payload: &[u8]) -> (u16, String) {
    assert!(payload.len() >= 2, "a close with a code was due: {payload:?}");
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

/// A close frame's payload.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}
