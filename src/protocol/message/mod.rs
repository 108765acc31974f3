//! The JSON of messages: what a client sends is read without copying it, what it gets is written straight into a frame.
//! Knows shapes and names, not what they do. Called by the gateway, and by control for replies and pushes.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::subject::{is_segmented, valid_topic};

mod reply;

#[cfg(test)]
mod tests;

pub use reply::{Connected, ErrorCode, NULL_ID, connected, error_reply, push, reply, topics_reply};

/// A message's id, decoded if it is a string, and a device's name are at most this long.
const MAX_ID_BYTES: usize = 64;

/// A message from a client.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Which business logic. Keeps to the rule (`valid_path`).
    pub path: Cow<'a, str>,
    /// The JSON text of the id, verbatim, if a reply is wanted.
    pub id: Option<&'a str>,
    /// The token, where there is one.
    pub token: Token<'a>,
    /// The parameters. Absent and `null` mean the same.
    pub body: Option<&'a RawValue>,
}

/// The field `token`.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Not there, or `null`.
    Absent,
    /// A string.
    Text(Cow<'a, str>),
    /// There, but no string.
    NotAString,
}

/// Why a text is no message. Both are answered with `ErrorCode::BadMessage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad<'a> {
    /// No object with a string `path` and, where there is one, a valid `id`: counted, and answered with `NULL_ID`. The
    /// text says what is wrong.
    Message(&'static str),
    /// All of that, but the path breaks its rule: not counted, and answered with its id.
    Path {
        /// As in `Incoming`.
        id: Option<&'a str>,
    },
}

/// The fields as they stand in the text, each none if it is not there.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    path: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// Some even for `null`, which an `Option` takes for none.
fn present<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a client's message.
pub fn parse(text: &str) -> Result<Incoming<'_>, Bad<'_>> {
    let fields: Fields<'_> = object(text).map_err(Bad::Message)?;
    let path = fields.path.ok_or(Bad::Message("path is missing"))?;
    let path = string(path).ok_or(Bad::Message("path is not a string"))?;
    let id = match fields.id {
        Some(id) if is_id(id) => Some(id.get()),
        Some(_) => {
            return Err(Bad::Message(
                "id is neither an integer nor a string of at most 64 bytes",
            ));
        }
        None => None,
    };
    if !valid_path(&path) {
        return Err(Bad::Path { id });
    }
    let token = match fields.token {
        Some(token) => string(token).map_or(Token::NotAString, Token::Text),
        None => Token::Absent,
    };
    Ok(Incoming {
        path,
        id,
        token,
        body: fields.body,
    })
}

/// Whether `path` keeps to the rule: 1 to 256 bytes, segments of `[A-Za-z0-9_-]+` joined by `/`.
pub fn valid_path(path: &str) -> bool {
    is_segmented(path, b'/')
}

/// The body of `connect`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConnectBody<'a> {
    /// The device's name, never empty.
    pub device: Option<Cow<'a, str>>,
    /// What to subscribe to, every one a valid topic.
    pub topics: Vec<Cow<'a, str>>,
}

/// Reads the body of `connect`: none, `null`, or an object with a `device` and `topics`, each of which may be absent. The
/// error says what is wrong.
pub fn connect_body(body: Option<&RawValue>) -> Result<ConnectBody<'_>, &'static str> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        device: Option<&'a RawValue>,
        #[serde(borrow, default)]
        topics: Option<&'a RawValue>,
    }
    let Some(body) = body.filter(|body| body.get() != "null") else {
        return Ok(ConnectBody::default());
    };
    let body: Body<'_> = object(body.get()).map_err(|_| "body is not an object with device and topics")?;
    let device = match body.device.map(string) {
        Some(Some(device)) if device.len() <= MAX_ID_BYTES => Some(device),
        Some(_) => return Err("device is not a string of at most 64 bytes"),
        None => None,
    };
    Ok(ConnectBody {
        // An empty name names no device.
        device: device.filter(|device| !device.is_empty()),
        topics: body.topics.map_or(Ok(Vec::new()), topics)?,
    })
}

/// Reads the body of `subscribe` and `unsubscribe`, an object with `topics`. The error says what is wrong.
pub fn topics_body(body: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, &'static str> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        topics: &'a RawValue,
    }
    let body = body.and_then(|body| object::<Body<'_>>(body.get()).ok());
    body.ok_or("body is not an object with topics")
        .and_then(|body| topics(body.topics))
}

fn topics(raw: &RawValue) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let names: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| "topics is not an array")?;
    let names = names
        .into_iter()
        .map(|name| string(name).filter(|name| valid_topic(name)));
    names
        .collect::<Option<_>>()
        .ok_or("a topic is not segments of [A-Za-z0-9_-] joined by dots, at most 256 bytes")
}

/// Reads a JSON object into the fields of `T`; unknown ones are ignored, a known one must not stand there twice.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, &'static str> {
    // serde would take an array for a struct too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err("not a JSON object");
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "a field is there twice",
        _ => "not JSON",
    })
}

/// The string that `raw` is; none if it is something else, or has half a surrogate pair in it.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// Whether `raw` is an integer, however large a number, written in at most 64 bytes, or a string of at most 64.
fn is_id(raw: &RawValue) -> bool {
    let text = raw.get();
    if text.starts_with('"') {
        return string(raw).is_some_and(|id| id.len() <= MAX_ID_BYTES);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.len() <= MAX_ID_BYTES && digits.bytes().all(|byte| byte.is_ascii_digit())
}
