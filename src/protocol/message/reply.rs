//! What clients get: replies, each a whole WebSocket frame, and pushes. Called by the gateway and by control.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::protocol::frame::{Opcode, encode_parts};

/// The id of the reply to something that is no message.
pub const NULL_ID: &str = "null";

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal,)*) => {
        /// What a reply's `error.code` says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in the reply.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The reply's status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

error_codes! {
    /// Not a message, or one whose path or body breaks a rule.
    BadMessage = 400 "bad_message",
    /// Nothing but `connect` before a valid `connect`.
    NotConnected = 401 "not_connected",
    /// `connect` without a token.
    TokenMissing = 401 "token_missing",
    /// Not a token, not signed by a configured key, or not meant for this server.
    TokenInvalid = 401 "token_invalid",
    /// Its time is over.
    TokenExpired = 401 "token_expired",
    /// Its time has not come.
    TokenNotYetValid = 401 "token_not_yet_valid",
    /// The permissions do not cover this path.
    PathForbidden = 403 "path_forbidden",
    /// The permissions do not cover this topic.
    TopicForbidden = 403 "topic_forbidden",
    /// Over `limits.topics_per_connection`.
    TooManyTopics = 403 "too_many_topics",
    /// A token of another user on a connected connection.
    UserMismatch = 403 "user_mismatch",
    /// Nobody answers this path.
    NoHandler = 404 "no_handler",
    /// Over `sessions.per_user_max`.
    TooManyConnections = 409 "too_many_connections",
    /// The service's reply is over `limits.push_bytes`.
    ReplyTooLarge = 413 "reply_too_large",
    /// Over `limits.messages_per_second`.
    RateLimited = 429 "rate_limited",
    /// The service's reply is not JSON, or its status is none.
    BadReply = 502 "bad_reply",
    /// NATS is out of reach.
    BusUnavailable = 503 "bus_unavailable",
    /// Too much is under way on this node.
    Overloaded = 503 "overloaded",
    /// No answer within `timeouts.call`.
    HandlerTimeout = 504 "handler_timeout",
}

/// A reply with a body. `id` is the JSON text of the message's id, left out where it is none; `path` is valid; `body` is
/// JSON text. Answers a whole frame.
pub fn reply(id: Option<&str>, path: &str, status: u16, body: &str) -> Vec<u8> {
    frame(id, Some(path), status, &[",\"body\":", body, "}"])
}

/// A reply that says what went wrong. `id` as in `reply`; `path` is left out where the message had no valid one;
/// `message` is for people, and is escaped here.
pub fn error_reply(id: Option<&str>, path: Option<&str>, code: ErrorCode, message: &str) -> Vec<u8> {
    let message = json(&message);
    frame(
        id,
        path,
        code.status(),
        &[
            ",\"error\":{\"code\":\"",
            code.as_str(),
            "\",\"message\":",
            &message,
            "}}",
        ],
    )
}

/// A reply: what all have in common, and `rest`.
fn frame(id: Option<&str>, path: Option<&str>, status: u16, rest: &[&str]) -> Vec<u8> {
    let (id_name, id, id_end) = id.map_or(("", "", ""), |id| ("\"id\":", id, ","));
    let (path_name, path, path_end) = path.map_or(("", "", ""), |path| ("\"path\":\"", path, "\","));
    let status = status.to_string();
    let begin = [
        "{",
        id_name,
        id,
        id_end,
        path_name,
        path,
        path_end,
        "\"status\":",
        &status,
    ];
    encode_parts(Opcode::Text, begin.iter().chain(rest).map(|part| part.as_bytes()))
}

/// The body of the reply to `connect`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connected<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The connection's id.
    pub connection: &'a str,
    /// The node's name.
    pub node: &'a str,
    /// When the token expires, in Unix seconds.
    pub expires_at: Option<u64>,
    /// How often the gateway pings, in milliseconds.
    pub ping_ms: u64,
}

/// The reply to a successful `connect`.
pub fn connected(id: Option<&str>, body: &Connected<'_>) -> Vec<u8> {
    reply(id, "connect", 200, &json(body))
}

/// The reply to `subscribe` and `unsubscribe`: all topics that the connection now has.
pub fn topics_reply<'a>(id: Option<&str>, path: &str, topics: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut body = String::from("{\"topics\":[");
    for (index, topic) in topics.into_iter().enumerate() {
        // Topics are plain: nothing in them needs escaping.
        body.push_str(if index == 0 { "\"" } else { ",\"" });
        body.push_str(topic);
        body.push('"');
    }
    body.push_str("]}");
    reply(id, path, 200, &body)
}

/// The text of a push, not framed: it travels to other nodes as it is.
pub fn push(path: &str, topic: Option<&str>, body: &RawValue) -> Vec<u8> {
    #[derive(Serialize)]
    struct Push<'a> {
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
        body: &'a RawValue,
    }
    json(&Push { path, topic, body }).into_bytes()
}

/// The JSON text of strings and plain structs, for which serde_json has no error.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| NULL_ID.to_owned())
}
