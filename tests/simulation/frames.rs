//! Bytes of both directions, made and read without longwire's own code: a client's frames are written and the gateway's
//! are read with tungstenite's headers and httparse. Reading checks what RFC 6455 asks of a server.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The key of RFC 6455 section 1.3, and the answer to it that stands there.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: OpCode = OpCode::Data(Data::Text);
pub const BINARY: OpCode = OpCode::Data(Data::Binary);
pub const CONTINUE: OpCode = OpCode::Data(Data::Continue);
pub const PING: OpCode = OpCode::Control(Control::Ping);
pub const PONG: OpCode = OpCode::Control(Control::Pong);
pub const CLOSE: OpCode = OpCode::Control(Control::Close);

/// A masked frame.
pub fn frame(opcode: OpCode, is_final: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final,
        opcode,
        mask: Some(mask),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A server's text frame around `text`.
pub fn server_text(text: &str) -> Vec<u8> {
    let header = FrameHeader {
        opcode: TEXT,
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    header.format(text.len() as u64, &mut bytes).unwrap();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A close frame's payload.
pub fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    code.map_or(Vec::new(), |code| [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// What a client reads.
#[derive(Debug, PartialEq)]
pub enum Received {
    /// The 101; whether it names the subprotocol.
    Upgraded {
        protocol: bool,
    },
    /// Any other answer; whether it has a `Retry-After`.
    Refused {
        status: u16,
        retry_after: bool,
    },
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// The client's end of the stream.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    upgraded: bool,
    /// Nothing may come after a close frame or a refusal.
    ended: bool,
}

impl Reader {
    pub fn push(&mut self, bytes: impl Iterator<Item = u8>) {
        self.bytes.extend(bytes);
        assert!(
            !self.ended || self.bytes.is_empty(),
            "bytes after the end: {:?}",
            self.bytes
        );
    }

    /// Whether it stands between two frames.
    pub fn is_whole(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn next(&mut self) -> Option<Received> {
        let (received, length) = if self.upgraded { self.frame()? } else { self.response()? };
        self.bytes.drain(..length);
        self.upgraded |= matches!(received, Received::Upgraded { .. });
        if matches!(received, Received::Close(..) | Received::Refused { .. }) {
            self.ended = true;
            assert!(self.bytes.is_empty(), "bytes after the end: {:?}", self.bytes);
        }
        Some(received)
    }

    fn response(&self) -> Option<(Received, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.bytes).unwrap() else {
            return None;
        };
        let header = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| std::str::from_utf8(header.value).unwrap().to_owned())
        };
        let status = response.code.unwrap();
        if status == 101 {
            assert_eq!(header("upgrade").as_deref(), Some("websocket"));
            assert_eq!(header("connection").as_deref(), Some("Upgrade"));
            assert_eq!(header("sec-websocket-accept").as_deref(), Some(ACCEPT));
            return Some((
                Received::Upgraded {
                    protocol: header("sec-websocket-protocol").is_some(),
                },
                head,
            ));
        }
        assert!(header("connection").unwrap().starts_with("close"));
        let body: usize = header("content-length").unwrap().parse().unwrap();
        let retry_after = header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() > 0);
        (self.bytes.len() >= head + body).then_some((Received::Refused { status, retry_after }, head + body))
    }

    fn frame(&self) -> Option<(Received, usize)> {
        let mut cursor = Cursor::new(&self.bytes);
        let (header, length) = FrameHeader::parse(&mut cursor).unwrap()?;
        let begin = cursor.position() as usize;
        assert!(header.is_final && !header.rsv1 && !header.rsv2 && !header.rsv3 && header.mask.is_none());
        assert_eq!(header.len(length), begin, "the length is not minimal");
        let payload = self.bytes.get(begin..begin + length as usize)?;
        let received = match header.opcode {
            TEXT => Received::Text(String::from_utf8(payload.to_vec()).unwrap()),
            OpCode::Control(control) => {
                assert!(length <= 125);
                match (control, payload) {
                    (Control::Ping, payload) => Received::Ping(payload.to_vec()),
                    (Control::Pong, payload) => Received::Pong(payload.to_vec()),
                    (_, []) => Received::Close(None, String::new()),
                    (_, [high, low, reason @ ..]) => {
                        let reason = String::from_utf8(reason.to_vec()).unwrap();
                        Received::Close(Some(u16::from_be_bytes([*high, *low])), reason)
                    }
                    (_, [_]) => panic!("half a close code"),
                }
            }
            other => panic!("a server never sends {other}"),
        };
        Some((received, begin + length as usize))
    }
}
