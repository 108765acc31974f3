//! Heads in pieces, what is refused and as what, the responses, and whose connection it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// The request of RFC 6455 section 1.2, with `changes` to its lines: `Name: value` replaces or adds, `-Name` removes,
/// `+Name: value` adds another.
fn request(changes: &[&str]) -> Vec<u8> {
    let mut lines: Vec<String> = [
        "GET /ws HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    .map(str::to_owned)
    .into();
    for change in changes {
        if change.ends_with("HTTP/1.1") || change.ends_with("HTTP/1.0") || change.ends_with("HTTP/2.0") {
            lines[0] = (*change).to_owned();
            continue;
        }
        if let Some(line) = change.strip_prefix('+') {
            lines.push(line.to_owned());
            continue;
        }
        let name = change.trim_start_matches('-').split(':').next().unwrap();
        lines.retain(|line| !line.starts_with(&format!("{name}:")));
        if !change.starts_with('-') {
            lines.push((*change).to_owned());
        }
    }
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

fn status(head: &[u8]) -> u16 {
    parse(head).map_or_else(Refused::status, |_| 101)
}

#[test]
fn the_rfcs_example_is_accepted() {
    let head = request(&[
        "Sec-WebSocket-Protocol: chat, longwire.v1",
        "Origin: http://example.com",
    ]);
    assert_eq!(scan(&head, 0), Scan::Complete(head.len()));
    let request = parse(&head).unwrap();
    assert_eq!(request.origin, Some("http://example.com"));
    assert!(request.longwire_v1);
    assert_eq!(
        String::from_utf8(accept_response(&request)).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: longwire.v1\r\n\r\n"
    );
}

#[test]
fn no_subprotocol_is_echoed_that_was_not_offered() {
    for changes in [&[][..], &["Sec-WebSocket-Protocol: chat, longwire.v10, Longwire.v1"]] {
        let head = request(changes);
        let response = String::from_utf8(accept_response(&parse(&head).unwrap())).unwrap();
        assert!(
            response.ends_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
            "{response}"
        );
    }
    let head = request(&["Sec-WebSocket-Protocol: chat", "+sec-websocket-protocol:longwire.v1"]);
    assert!(parse(&head).unwrap().longwire_v1, "in a second header");
}

#[test]
fn spellings_that_are_accepted() {
    let cases: [&[&str]; 12] = [
        &["GET /ws?token=x HTTP/1.1"],
        &["GET /ws? HTTP/1.1"],
        &["GET http://server.example.com/ws HTTP/1.1"],
        &["GET ws://server.example.com/ws?a=b HTTP/1.1"],
        &["Upgrade: WebSocket"],
        &["Upgrade: h2c, websocket"],
        &["Connection: keep-alive, Upgrade"],
        &["Connection: keep-alive", "+Connection: upgrade"],
        &["-Host", "host:x"],
        &["Content-Length: 0"],
        &["Sec-WebSocket-Version:   13\t"],
        &["Cookie: caf\u{e9}"],
    ];
    for changes in cases {
        assert_eq!(status(&request(changes)), 101, "{changes:?}");
    }
}

#[test]
fn what_is_refused() {
    let many: Vec<_> = (0..100).map(|index| format!("+X-{index}: y")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let cases: [(&[&str], u16); 38] = [
        (&["GET / HTTP/1.1"], 404),
        (&["GET /ws/ HTTP/1.1"], 404),
        (&["GET /WS HTTP/1.1"], 404),
        (&["GET /wsx HTTP/1.1"], 404),
        (&["GET //ws HTTP/1.1"], 404),
        (&["GET ws HTTP/1.1"], 404),
        (&["GET * HTTP/1.1"], 404),
        (&["GET /x?/ws HTTP/1.1"], 404),
        (&["GET http://host?/ws HTTP/1.1"], 404),
        (&["GET http://host HTTP/1.1"], 404),
        (&["POST /other HTTP/1.1"], 404),
        (&["POST /ws HTTP/1.1"], 405),
        (&["HEAD /ws HTTP/1.1"], 405),
        (&["get /ws HTTP/1.1"], 405),
        (&["POST /ws HTTP/1.1", "Content-Length: 5", "-Host", "-Upgrade"], 405),
        (&["-Upgrade"], 426),
        (&["Upgrade: h2c"], 426),
        (&["-Connection"], 426),
        (&["Connection: keep-alive"], 426),
        (&["-Sec-WebSocket-Version"], 426),
        (&["Sec-WebSocket-Version: 8"], 426),
        (&["Sec-WebSocket-Version: 8, 13"], 426),
        (&["+Sec-WebSocket-Version: 13"], 426),
        (&["Sec-WebSocket-Version: 12", "-Host", "-Sec-WebSocket-Key"], 426),
        (&["GET /ws HTTP/1.0"], 426),
        (&["GET /ws HTTP/2.0"], 400),
        (&["-Host"], 400),
        (&["+Host: other"], 400),
        (&["-Sec-WebSocket-Key"], 400),
        (&["Sec-WebSocket-Key: "], 400),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="], 400),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"], 400),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-=="], 400),
        (&["+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], 400),
        (&["Content-Length: 5"], 400),
        (&["Transfer-Encoding: chunked"], 400),
        (&["Origin: a", "+Origin: a"], 400),
        (&many, 431),
    ];
    for (changes, expected) in cases {
        assert_eq!(status(&request(changes)), expected, "{changes:?}");
    }
    for broken in [
        "GET /ws\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost\r\n\r\n",
        "x\r\n\r\n",
        "",
    ] {
        assert_eq!(status(broken.as_bytes()), 400, "{broken:?}");
    }
    assert_eq!(status(b"GET /ws HTTP/1.1\r\nOrigin: \xFF\r\n\r\n"), 400);
    assert_eq!(status(b"GET /ws HTTP/1.1\r\nHost : x\r\n\r\n"), 400);
    assert_eq!(status(b"GET /ws HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n"), 400);
}

#[test]
fn refusals_carry_what_belongs_to_them() {
    let text = |refused: Refused| String::from_utf8(refused.response(b"GET /ws HTTP/1.1\r\n\r\n")).unwrap();
    assert!(text(Refused::Method).contains("\r\nAllow: GET\r\n"));
    for head in ["HEAD /ws HTTP/1.1\r\n\r\n", "\r\n\r\nHEAD /ws HTTP/1.1\r\n\r\n"] {
        let response = String::from_utf8(Refused::Method.response(head.as_bytes())).unwrap();
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
    let upgrade = text(Refused::UpgradeRequired);
    assert!(upgrade.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
    assert!(upgrade.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    assert_eq!(
        String::from_utf8(refusal_response(503, Some(7), "full")).unwrap(),
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 7\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nfull\n"
    );
    for (status, phrase) in [
        (400, "Bad Request"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (429, "Too Many Requests"),
        (431, "Request Header Fields Too Large"),
        (503, "Service Unavailable"),
    ] {
        let response = refusal_response(status, None, "because");
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        let head_bytes = parsed.parse(&response).unwrap().unwrap();
        assert_eq!((parsed.code, parsed.reason), (Some(status), Some(phrase)));
        let header = |name: &str| {
            parsed
                .headers
                .iter()
                .find(|header| header.name == name)
                .map(|header| header.value)
        };
        assert_eq!(
            header("Content-Length"),
            Some((response.len() - head_bytes).to_string().as_bytes())
        );
        assert_eq!(header("Connection"), Some(&b"close"[..]));
        assert_eq!(header("Retry-After"), None);
    }
}

#[test]
fn a_head_ends_where_its_empty_line_does() {
    let mut bytes = request(&[]);
    let head_bytes = bytes.len();
    bytes.extend(b"\x81\x80\0\0\0\0\r\n\r\n");
    assert_eq!(scan(&bytes, 0), Scan::Complete(head_bytes));
    for end in 0..head_bytes {
        assert_eq!(scan(&bytes[..end], end.saturating_sub(1)), Scan::Incomplete, "{end}");
        assert_eq!(scan(&bytes, end), Scan::Complete(head_bytes), "{end}");
    }
}

#[test]
fn garbage_is_broken_early() {
    let broken: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00",
        b"\0",
        b"\r\n\r\n",
        b"\nGET",
        b" GET",
        b"\xFF",
        b"GET /ws HTTP/1.1\n",
        b"GET /ws\0",
        b"GET /ws HTTP/1.1\r\nHost: a\x7F",
    ];
    for head in broken {
        assert_eq!(scan(head, 0), Scan::Broken, "{head:?}");
    }
}

#[test]
fn a_head_may_be_8_kib_and_no_more() {
    let padding = MAX_HEAD_BYTES - request(&["X-Padding: "]).len();
    let longest = request(&[&format!("X-Padding: {}", "x".repeat(padding))]);
    assert_eq!(longest.len(), 8192);
    assert_eq!(scan(&longest, 0), Scan::Complete(8192));
    let over = request(&[&format!("X-Padding: {}", "x".repeat(padding + 1))]);
    assert_eq!(scan(&over, 0), Scan::TooLarge);
    assert_eq!(scan(&over[..8192], 8191), Scan::Incomplete);
    assert_eq!(scan(&over, 8192), Scan::TooLarge);
}

#[test]
fn the_client_is_the_rightmost_that_is_no_proxy() {
    let trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.is_loopback(),
    };
    let cases: [(&[&str], Option<&str>); 19] = [
        (&[], None),
        (&[""], None),
        (&["192.0.2.1"], Some("192.0.2.1")),
        (&["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
        (&["6.6.6.6 ,192.0.2.1,  10.1.1.1"], Some("192.0.2.1")),
        (&["6.6.6.6", "192.0.2.1, 10.0.0.1", "10.0.0.2"], Some("192.0.2.1")),
        (&["192.0.2.1:1234, [::1]:80, [::1]"], Some("192.0.2.1")),
        (&["2001:db8::1"], Some("2001:db8::1")),
        (&["[2001:db8::1]"], Some("2001:db8::1")),
        (&["[2001:db8::1]:443"], Some("2001:db8::1")),
        (&["::ffff:192.0.2.1, ::ffff:10.0.0.1"], Some("192.0.2.1")),
        (&["10.0.0.1, 10.0.0.2"], None),
        (&["192.0.2.1, unknown"], None),
        (&["nonsense, 192.0.2.1, 10.0.0.1"], Some("192.0.2.1")),
        (&["192.0.2.1, nonsense, 10.0.0.1"], None),
        (&["192.0.2.1,"], None),
        (&["192.0.2.1:"], None),
        (&["192.0.2.1:99999"], None),
        (&["[192.0.2.1]"], None),
    ];
    for (values, expected) in cases {
        assert_eq!(
            forwarded_client(values, trusted)
                .map(|address| address.to_string())
                .as_deref(),
            expected,
            "{values:?}"
        );
    }
    let head = request(&["X-Forwarded-For: 1.1.1.1", "+x-forwarded-for: 2.2.2.2 , 3.3.3.3"]);
    assert_eq!(parse(&head).unwrap().forwarded_for, ["1.1.1.1", "2.2.2.2 , 3.3.3.3"]);
}

proptest! {
    /// Wherever a head is cut, scanning on from there finds what scanning the whole does.
    #[test]
    fn scanning_in_pieces_is_scanning_the_whole(
        head in prop_oneof!["G[\r\nab:]{0,40}", "(GET /ws\r\n[a-z:]{0,3}\r\n){0,3}\r\n[\r\na]{0,9}", "[\\x00-\\x7f]{0,20}"],
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(head.len() + 1);
        let whole = scan(head.as_bytes(), 0);
        let first = scan(&head.as_bytes()[..cut], 0);
        let pieces = if first == Scan::Incomplete { scan(head.as_bytes(), cut) } else { first };
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        scan(&bytes, 0);
        prop_assert!(parse(&bytes).is_err());
    }
}
