//! The HTTP request that opens a WebSocket (RFC 6455 section 4.2): finding its end, reading it, answering it. Decides
//! only what the request itself decides; origins, limits and draining are the application's. Nothing is kept here
//! between two reads but a number that the engine holds.

use std::mem::MaybeUninit;

mod forwarded;
mod response;

#[cfg(test)]
mod tests;

pub use forwarded::forwarded_client;
pub use response::{accept_response, refusal_response};

/// The path that clients upgrade.
pub const PATH: &str = "/ws";

/// The subprotocol that is echoed when it is offered.
pub const SUBPROTOCOL: &str = "longwire.v1";

/// A request head may be this long, its empty line included.
pub const MAX_HEAD_BYTES: usize = 8192;

/// Nor may it have more headers than this: proxies add a dozen, browsers send two.
const MAX_HEADERS: usize = 100;

/// How much of a request head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// No end yet: scan again with more bytes, from where this one stopped (the length of what it was given).
    Incomplete,
    /// The head is this many bytes; what follows it are frames.
    Complete(usize),
    /// Over `MAX_HEAD_BYTES`: 431.
    TooLarge,
    /// No head of HTTP begins so: 400.
    Broken,
}

/// Looks for the end of a request head. `head` is all that has come, of which the first `already_scanned` bytes were
/// found `Incomplete` before: each byte is looked at once.
pub fn scan(head: &[u8], already_scanned: usize) -> Scan {
    if head.first().is_some_and(|byte| !byte.is_ascii_alphabetic()) {
        return Scan::Broken;
    }
    for (index, &byte) in head.iter().enumerate().take(MAX_HEAD_BYTES).skip(already_scanned) {
        if !byte.is_ascii_control() {
            continue;
        }
        let before = &head[..index];
        match byte {
            b'\r' | b'\t' => {}
            b'\n' if before.ends_with(b"\r\n\r") => return Scan::Complete(index + 1),
            // httparse takes a bare line feed for an end of line; what stands before us may not.
            b'\n' if before.ends_with(b"\r") => {}
            _ => return Scan::Broken,
        }
    }
    if head.len() > MAX_HEAD_BYTES {
        Scan::TooLarge
    } else {
        Scan::Incomplete
    }
}

/// A request that asks for what this server has.
#[derive(Debug)]
pub struct Request<'a> {
    /// `Sec-WebSocket-Key`.
    pub key: &'a str,
    /// `Origin`, where there is one.
    pub origin: Option<&'a str>,
    /// The values of every `X-Forwarded-For`, in order: see `forwarded_client`.
    pub forwarded_for: Vec<&'a str>,
    /// Whether `longwire.v1` is among the offered subprotocols.
    pub longwire_v1: bool,
}

/// Why a request is not answered with an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another path than `/ws`.
    NotFound,
    /// Another method than GET.
    Method,
    /// No upgrade to WebSocket, or to another version of it than 13.
    UpgradeRequired,
    /// It breaks a rule; the text says which.
    BadRequest(&'static str),
    /// More headers than a head may have.
    HeadTooLarge,
}

impl Refused {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Method => 405,
            Self::UpgradeRequired => 426,
            Self::BadRequest(_) => 400,
            Self::HeadTooLarge => 431,
        }
    }

    /// The whole response to this head.
    pub fn response(self, head: &[u8]) -> Vec<u8> {
        let text = match self {
            Self::NotFound => "the WebSocket endpoint is /ws",
            Self::Method => "use GET with an upgrade to WebSocket",
            Self::UpgradeRequired => "this is a WebSocket endpoint, version 13",
            Self::BadRequest(what) => what,
            Self::HeadTooLarge => "too many headers",
        };
        let mut response = refusal_response(self.status(), None, text);
        // A HEAD is answered as a GET, less the body (RFC 9110 section 9.3.2): clients take one for a broken response.
        if wants_no_body(head) {
            response.truncate(response.len() - text.len() - 1);
        }
        response
    }
}

/// Whether this is the head of a HEAD request. Empty lines before it are passed over, as `parse` does (RFC 9112 section 2.2).
pub fn wants_no_body(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(b"HEAD ")
}

/// Reads a complete head.
///
/// What is wrong is looked for in this order: the syntax, the path, the method, the upgrade and its version, the rest.
pub fn parse(head: &[u8]) -> Result<Request<'_>, Refused> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::HeadTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refused::BadRequest("not an HTTP/1.1 request")),
    }
    if !request.path.is_some_and(is_endpoint) {
        return Err(Refused::NotFound);
    }
    if request.method != Some("GET") {
        return Err(Refused::Method);
    }
    let fields = Fields::read(request.headers)?;
    // An upgrade in an HTTP/1.0 request is to be ignored (RFC 9110 section 7.8).
    if request.version != Some(1) || !fields.upgrade || !fields.connection_upgrade || fields.version != Some(b"13") {
        return Err(Refused::UpgradeRequired);
    }
    if fields.hosts != 1 {
        return Err(Refused::BadRequest("exactly one Host header is needed"));
    }
    if fields.has_body {
        return Err(Refused::BadRequest("an upgrade has no body"));
    }
    let key = fields
        .key
        .filter(|key| is_key(key))
        .and_then(|key| std::str::from_utf8(key).ok());
    Ok(Request {
        key: key.ok_or(Refused::BadRequest("Sec-WebSocket-Key must be 16 bytes of base64"))?,
        origin: fields.origin,
        forwarded_for: fields.forwarded_for,
        longwire_v1: fields.longwire_v1,
    })
}

/// The headers that matter.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    upgrade: bool,
    connection_upgrade: bool,
    version: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    origin: Option<&'a str>,
    forwarded_for: Vec<&'a str>,
    longwire_v1: bool,
    has_body: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>]) -> Result<Self, Refused> {
        let mut fields = Self::default();
        for header in headers {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("Host") {
                fields.hosts += 1;
            } else if is("Upgrade") {
                fields.upgrade |= elements(value).any(|element| element.eq_ignore_ascii_case(b"websocket"));
            } else if is("Connection") {
                fields.connection_upgrade |= elements(value).any(|element| element.eq_ignore_ascii_case(b"upgrade"));
            } else if is("Sec-WebSocket-Version") {
                // Two versions are not version 13.
                fields.version = Some(if fields.version.is_some() { b"" } else { value });
            } else if is("Sec-WebSocket-Key") {
                if fields.key.replace(value).is_some() {
                    return Err(Refused::BadRequest("more than one Sec-WebSocket-Key"));
                }
            } else if is("Sec-WebSocket-Protocol") {
                fields.longwire_v1 |= elements(value).any(|element| element == SUBPROTOCOL.as_bytes());
            } else if is("Origin") {
                let origin = std::str::from_utf8(value).map_err(|_| Refused::BadRequest("Origin is not text"))?;
                if fields.origin.replace(origin).is_some() {
                    return Err(Refused::BadRequest("more than one Origin"));
                }
            } else if is("X-Forwarded-For") {
                // What is no text is no address either: an empty value says so.
                fields
                    .forwarded_for
                    .push(std::str::from_utf8(value).unwrap_or_default());
            } else if is("Transfer-Encoding") || (is("Content-Length") && value != b"0") {
                fields.has_body = true;
            }
        }
        Ok(fields)
    }
}

/// The elements of a comma-separated header value (RFC 9110 section 5.6.1).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether a request target is the endpoint: its query is ignored, and it may be absolute (RFC 9112 section 3.2.2).
fn is_endpoint(target: &str) -> bool {
    let target = target.split('?').next().unwrap_or_default();
    match target.split_once("://") {
        Some(("http" | "https" | "ws" | "wss", rest)) => {
            rest.split_once('/').is_some_and(|(_, path)| path == &PATH[1..])
        }
        _ => target == PATH,
    }
}

/// Whether `key` is base64 of 16 bytes: 22 digits and the padding.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22
            && digits
                .iter()
                .all(|&digit| digit.is_ascii_alphanumeric() || digit == b'+' || digit == b'/')
    })
}
