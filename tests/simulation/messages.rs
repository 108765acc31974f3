//! What a client can send, as the model understands it, and the text of its messages.

use std::net::IpAddr;

use fastrand::Rng;
use longwire::metrics::{CloseReason, RefusalReason};

use crate::frames::KEY;
use crate::tokens::Token;

/// The paths that no service answers.
const GATEWAY_PATHS: [&str; 6] = ["connect", "ping", "subscribe", "unsubscribe", "ack", "resume"];

/// One thing that a client sent.
#[derive(Clone, Debug)]
pub enum Sent {
    Head(Head),
    Message(Message),
    /// A message with a path that breaks its rule.
    BadPath {
        id: Option<String>,
    },
    /// Text that is no message.
    Bad,
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// Bytes that RFC 6455 or the settings forbid.
    Violation(CloseReason),
}

/// A request head.
#[derive(Clone, Debug)]
pub enum Head {
    /// Asks for what there is; `client` is who it should be taken for.
    Good {
        origin: Option<&'static str>,
        client: Option<IpAddr>,
        protocol: bool,
    },
    Wrong {
        status: u16,
        reason: RefusalReason,
    },
}

/// A well-formed message.
#[derive(Clone, Debug)]
pub struct Message {
    pub path: String,
    /// Its JSON text.
    pub id: Option<String>,
    pub token: Token,
    pub body: Body,
}

/// The field `body`.
#[derive(Clone, Debug)]
pub enum Body {
    Absent,
    /// For `connect`.
    Connect {
        device: Option<String>,
        topics: Vec<String>,
    },
    /// For `subscribe` and `unsubscribe`.
    Topics(Vec<String>),
    /// Breaks the rule of `connect` and of `subscribe`.
    Wrong,
    /// For a service.
    Any(String),
}

impl Sent {
    /// Whether the gateway may hold it until a token is checked.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Message(message) if message.token != Token::Absent => Some(&message.token),
            _ => None,
        }
    }
}

impl Body {
    /// Its JSON text, if it is there.
    pub fn json(&self) -> Option<String> {
        Some(match self {
            Self::Absent => return None,
            Self::Connect { device, topics } => match device {
                Some(device) => format!("{{\"topics\":{topics:?},\"device\":{device:?}}}"),
                None => format!("{{\"device\":null,\"topics\":{topics:?}}}"),
            },
            Self::Topics(topics) => format!("{{\"topics\":{topics:?}}}"),
            Self::Wrong => "{\"topics\":[\"a..b\"]}".to_owned(),
            Self::Any(json) => json.clone(),
        })
    }
}

impl Message {
    /// Whether handling it queues a reply: calls are answered later, and messages without an id never.
    pub fn is_answered_at_once(&self) -> bool {
        self.id.is_some() && !self.is_call()
    }

    /// Whether it is for a service.
    pub fn is_call(&self) -> bool {
        !GATEWAY_PATHS.contains(&self.path.as_str())
    }

    /// Its JSON, with the fields in any order, among others that mean nothing.
    pub fn json(&self, random: &mut Rng) -> String {
        let mut fields = vec![format!("\"path\":\"{}\"", self.path)];
        fields.extend(self.id.as_ref().map(|id| format!("\"id\":{id}")));
        fields.extend(self.token.json().map(|token| format!("\"token\" : {token}")));
        fields.extend(self.body.json().map(|body| format!("\"body\":{body}")));
        if random.u8(..8) == 0 {
            fields.push("\"x\\u0041\": [{\"path\":1}, \"äö€\"]".to_owned());
        }
        random.shuffle(&mut fields);
        let space = if random.bool() { " " } else { "" };
        format!(
            "{space}{{{}}}{space}",
            fields.join(if random.bool() { "," } else { "\n, " })
        )
    }
}

/// Text that is no message.
pub fn bad_text(random: &mut Rng) -> String {
    let texts = [
        "[]",
        "{}",
        "",
        "null",
        "{\"path\":7}",
        "{\"path\":\"ping\",\"id\":1.5}",
        "{\"path\":\"ping\",\"id\":null}",
        "{\"path\":\"ping\",\"path\":\"ping\"}",
        "{\"path\":\"ping\",\"id\":{}}",
        "{\"path\":\"ping\"",
        "[\"ping\",1]",
    ];
    texts[random.usize(..texts.len())].to_owned()
}

/// A message whose path breaks the rule, with this id.
pub fn bad_path_text(random: &mut Rng, id: Option<&str>) -> String {
    let long = "a".repeat(257);
    let paths = ["", "/", "a//b", "a/", "a b", "spaß", "a.b", &long];
    let path = paths[random.usize(..paths.len())];
    match id {
        Some(id) => format!("{{\"id\":{id},\"path\":\"{path}\"}}"),
        None => format!("{{\"path\":\"{path}\"}}"),
    }
}

/// A head that asks for an upgrade.
pub fn good_head(origin: Option<&str>, forwarded: Option<IpAddr>, protocol: bool) -> String {
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let forwarded = forwarded.map_or(String::new(), |ip| format!("X-Forwarded-For: 8.8.8.8, {ip}\r\n"));
    let protocol = if protocol {
        "Sec-WebSocket-Protocol: other, longwire.v1\r\n"
    } else {
        ""
    };
    format!(
        "GET /ws?x=1 HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{origin}{forwarded}{protocol}\r\n"
    )
}

/// A head that is refused, how, and from which byte on.
pub fn wrong_head(random: &mut Rng) -> (String, Head, usize) {
    let upgrade = format!(
        "Host: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    let bad = RefusalReason::BadRequest;
    let (text, status, reason) = match random.u8(..8) {
        0 => (
            format!("GET /other HTTP/1.1\r\n{upgrade}"),
            404,
            RefusalReason::NotFound,
        ),
        1 => (format!("POST /ws HTTP/1.1\r\n{upgrade}"), 405, bad),
        2 => ("GET /ws HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(), 426, bad),
        3 => (
            format!("GET /ws HTTP/1.1\r\n{upgrade}").replace("Host: here\r\n", ""),
            400,
            bad,
        ),
        4 => (
            format!("GET /ws HTTP/1.1\r\n{}{upgrade}", "X: y\r\n".repeat(101)),
            431,
            RefusalReason::HeadTooLarge,
        ),
        5 => ("\u{16}\u{3}\u{1}".to_owned(), 400, bad),
        6 => ("GET /ws HTTP/1.1\nHost: here\n\n".to_owned(), 400, bad),
        _ => (
            format!("GET /ws HTTP/1.1\r\nX: {}", "y".repeat(8192)),
            431,
            RefusalReason::HeadTooLarge,
        ),
    };
    let from = match status {
        400 => 1,
        431 if !text.ends_with("\r\n\r\n") => 8193,
        _ => text.len(),
    };
    (text, Head::Wrong { status, reason }, from)
}
