//! The row about NATS: whether somebody is there, and how large a message may be. Reads the line that a server begins
//! with (`INFO {…}`, in the clear also where TLS follows) and hangs up; logs in to nobody.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use super::Looked;
use super::report::{Amount, Row, Verdict, size};

/// How long a server may take to be reached, and then to say the first line.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A server's INFO with a hundred others named in it is some kilobytes.
const INFO_MAX_BYTES: u64 = 64 << 10;
/// What headers add to a push or a call (docs/nats.md).
const HEADERS_BYTES: u64 = 1 << 10;
/// What nodes say to each other about sessions (docs/nats.md).
const NODES_NEED_BYTES: u64 = 512 << 10;
const DEFAULT_PORT: u16 = 4222;

pub(super) fn row(looked: &Looked<'_>) -> Row {
    let limits = &looked.settings.limits;
    let largest = limits.push_bytes.max(limits.message_bytes) as u64 + HEADERS_BYTES;
    let need = Amount::Bytes(largest.max(NODES_NEED_BYTES));
    let Amount::Bytes(need_bytes) = need else {
        return Row::unknown("nats", need, "");
    };
    let urls = &looked.settings.nats.url;
    if urls.is_empty() {
        return Row::new("nats", Amount::text("none"), Amount::None, Verdict::Ok)
            .note("nats.url is empty: this node is on its own");
    }
    let mut smallest: Option<u64> = None;
    let mut silent = Vec::new();
    for url in urls {
        match max_payload(url) {
            Ok(bytes) => smallest = Some(smallest.map_or(bytes, |smallest| smallest.min(bytes))),
            Err(error) => silent.push(format!("{url}: {error}")),
        }
    }
    let value = smallest.map_or(Amount::None, Amount::Bytes);
    if let Some(first) = silent.first() {
        let host = first.split("://").last().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().to_owned();
        return Row::new("nats", value, need, Verdict::Short)
            .note(format!(
                "{} of {} servers answer; {}",
                urls.len() - silent.len(),
                urls.len(),
                silent.join("; ")
            ))
            .mend(|| match host.as_str() {
                "127.0.0.1" | "localhost" | "[" => {
                    "sudo apt-get install -y nats-server && sudo systemctl enable --now nats-server".into()
                }
                host => format!("ssh {host} sudo systemctl restart nats-server   # or mend nats.url"),
            });
    }
    Row::new("nats", value, need, Verdict::of(smallest.unwrap_or_default(), need_bytes))
        .note("max_payload of the servers of nats.url, all of which answer, against limits.push_bytes and message_bytes")
        .mend(|| {
            format!(
                "echo 'max_payload: {need_bytes}' | sudo tee -a /etc/nats-server.conf && sudo systemctl reload nats-server   \
                 # on each of them; needed: {}",
                size(need_bytes)
            )
        })
}

/// `max_payload` of the server at a URL, in bytes; or why it is not known.
fn max_payload(url: &str) -> Result<u64, String> {
    let (host, port) = host_and_port(url);
    let addresses = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut refused = "has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => return info(&stream),
            Err(error) => refused = error.to_string(),
        }
    }
    Err(refused)
}

fn info(stream: &TcpStream) -> Result<u64, String> {
    stream
        .set_read_timeout(Some(ANSWER_WITHIN))
        .map_err(|error| error.to_string())?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(INFO_MAX_BYTES));
    reader
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("is silent: {error}"))?;
    parse_info(&line).ok_or_else(|| "somebody listens there, but it is no NATS server that speaks first".into())
}

fn parse_info(line: &[u8]) -> Option<u64> {
    let info: Value = serde_json::from_slice(line.strip_prefix(b"INFO ")?).ok()?;
    info["max_payload"].as_u64()
}

/// Of `nats://HOST:PORT`, where the port may be missing; an IPv6 address stands in brackets.
fn host_and_port(url: &str) -> (&str, u16) {
    let address = url
        .split_once("://")
        .map_or(url, |(_, rest)| rest)
        .trim_end_matches('/');
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (address, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    (host, port.unwrap_or(DEFAULT_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_a_port() {
        for (url, expected) in [
            ("nats://a:5", ("a", 5)),
            ("tls://a.example/", ("a.example", 4222)),
            ("nats://[::1]:7", ("::1", 7)),
            ("nats://[::1]", ("::1", 4222)),
        ] {
            assert_eq!(host_and_port(url), expected);
        }
    }

    #[test]
    fn a_server_s_first_line_is_read() {
        assert_eq!(parse_info(b"INFO {\"max_payload\":1048576} \r\n"), Some(1 << 20));
        for line in [
            &b"INFO {}"[..],
            b"INFO {",
            b"HTTP/1.1 400",
            b"",
            b"INFO {\"max_payload\":\"x\"}",
            b"\xff\xfe",
        ] {
            assert_eq!(parse_info(line), None);
        }
    }
}
