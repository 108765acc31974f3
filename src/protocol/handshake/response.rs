//! What a request to open a WebSocket is answered with. Called by the engine; what the reactor says without a free
//! descriptor is its own.

use tungstenite::handshake::derive_accept_key;

use super::{Request, SUBPROTOCOL};

/// The response that turns the connection into a WebSocket (RFC 6455 section 4.2.2).
pub fn accept_response(request: &Request<'_>) -> Vec<u8> {
    let accept = derive_accept_key(request.key.as_bytes());
    let (name, value, end) = if request.longwire_v1 {
        ("\r\nSec-WebSocket-Protocol: ", SUBPROTOCOL, "\r\n\r\n")
    } else {
        ("", "", "\r\n\r\n")
    };
    let begin =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    [begin, &accept, name, value, end].concat().into_bytes()
}

/// The response that refuses it, after which the connection is closed: plain text, with `Retry-After` where
/// `retry_after_s` is given, and the headers that belong to the status.
///
/// `status` is one of 400, 403, 404, 405, 426, 429, 431 and 503.
pub fn refusal_response(status: u16, retry_after_s: Option<u32>, text: &str) -> Vec<u8> {
    let (phrase, headers) = match status {
        400 => ("Bad Request", "Connection: close\r\n"),
        403 => ("Forbidden", "Connection: close\r\n"),
        404 => ("Not Found", "Connection: close\r\n"),
        405 => ("Method Not Allowed", "Connection: close\r\nAllow: GET\r\n"),
        // An Upgrade header needs its connection option too (RFC 9110 section 7.8).
        426 => (
            "Upgrade Required",
            "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        429 => ("Too Many Requests", "Connection: close\r\n"),
        431 => ("Request Header Fields Too Large", "Connection: close\r\n"),
        _ => ("Service Unavailable", "Connection: close\r\n"),
    };
    let retry_after = retry_after_s.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
    let body_bytes = text.len() + 1;
    format!(
        "HTTP/1.1 {status} {phrase}\r\n{headers}{retry_after}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {body_bytes}\r\n\r\n{text}\n"
    )
    .into_bytes()
}
