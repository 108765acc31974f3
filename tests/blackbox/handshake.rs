//! What is upgraded, what is answered in plain HTTP instead, and with which headers.

use std::io::Read;

use serde_json::json;

use crate::support::raw::{ACCEPT, Response, TEXT, frame, upgrade_lines, upgrade_request};
use crate::support::{Client, Gateway, Raw, token, wait_until};

/// Sends a request head and gives the answer; a refusal must end the stream after it.
#[track_caller]
fn answer(gateway: &Gateway, request: &str) -> Response {
    let mut raw = Raw::open(gateway);
    raw.send(request.as_bytes());
    let response = raw.response();
    if response.status != 101 {
        let connection = response.header("Connection").unwrap_or_default().to_lowercase();
        assert!(
            connection.split(',').any(|option| option.trim() == "close"),
            "{response:?}"
        );
        raw.ended();
    }
    response
}

/// The good request with one line replaced (or, with an empty new line, left out).
fn with_line(start: &str, new: &str) -> String {
    let mut lines = upgrade_lines();
    let at = lines.iter().position(|line| line.starts_with(start)).unwrap();
    if new.is_empty() {
        lines.remove(at);
    } else {
        lines[at] = new.to_owned();
    }
    lines.join("\r\n") + "\r\n\r\n"
}

#[test]
fn an_upgrade_is_answered_with_the_accept_key_and_nothing_that_was_not_asked_for() {
    let gateway = Gateway::start("");
    let response = answer(&gateway, &upgrade_request(&[]));
    assert_eq!(response.status, 101);
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT));
    assert_eq!(
        response.header("Upgrade").map(str::to_lowercase).as_deref(),
        Some("websocket")
    );
    assert_eq!(
        response.header("Connection").map(str::to_lowercase).as_deref(),
        Some("upgrade")
    );
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
}

#[test]
fn header_names_and_tokens_are_matched_without_regard_to_case_and_lists_are_read() {
    let gateway = Gateway::start("");
    let request = format!(
        "GET /ws HTTP/1.1\r\nhOST: x\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\n\
         sec-websocket-key: {}\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n",
        crate::support::raw::KEY
    );
    assert_eq!(answer(&gateway, &request).status, 101);
}

#[test]
fn the_subprotocol_is_echoed_when_offered_and_others_are_not() {
    let gateway = Gateway::start("");
    let protocol = |offer: &str| {
        let response = answer(
            &gateway,
            &upgrade_request(&[&format!("Sec-WebSocket-Protocol: {offer}")]),
        );
        assert_eq!(response.status, 101);
        response.header("Sec-WebSocket-Protocol").map(str::to_owned)
    };
    assert_eq!(protocol("longwire.v1").as_deref(), Some("longwire.v1"));
    assert_eq!(protocol("chat, longwire.v1").as_deref(), Some("longwire.v1"));
    assert_eq!(protocol("chat, superchat"), None);
    assert_eq!(protocol("longwire.v2"), None);
    let two = upgrade_request(&["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: longwire.v1"]);
    assert_eq!(
        answer(&gateway, &two).header("Sec-WebSocket-Protocol"),
        Some("longwire.v1")
    );
}

#[test]
fn an_offered_extension_is_not_taken() {
    let gateway = Gateway::start("");
    let response = answer(
        &gateway,
        &upgrade_request(&["Sec-WebSocket-Extensions: permessage-deflate"]),
    );
    assert_eq!(
        (response.status, response.header("Sec-WebSocket-Extensions")),
        (101, None)
    );
}

#[test]
fn a_query_is_ignored_and_every_other_path_is_404() {
    let gateway = Gateway::start("");
    for path in ["/ws?", "/ws?token=a&b=c", "/ws?/other"] {
        let response = answer(&gateway, &with_line("GET", &format!("GET {path} HTTP/1.1")));
        assert_eq!(response.status, 101, "{path}");
    }
    for path in ["/", "/ws/", "/ws/x", "/wss", "/WS", "/other?x=/ws", "//ws"] {
        let response = answer(&gateway, &with_line("GET", &format!("GET {path} HTTP/1.1")));
        assert_eq!(response.status, 404, "{path}");
    }
    wait_until("the refusals to be counted", || gateway.refused_for("not_found") == 7.0);
}

#[test]
fn another_method_is_405_and_says_which_is_allowed() {
    let gateway = Gateway::start("");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = answer(&gateway, &with_line("GET", &format!("{method} /ws HTTP/1.1")));
        assert_eq!(
            (response.status, response.header("Allow")),
            (405, Some("GET")),
            "{method}"
        );
    }
}

#[test]
fn a_head_request_is_refused_without_a_body() {
    let gateway = Gateway::start("");
    for (line, status) in [("HEAD /ws HTTP/1.1", 405), ("HEAD /other HTTP/1.1", 404)] {
        let mut raw = Raw::open(&gateway);
        raw.send(with_line("GET", line).as_bytes());
        let mut response = String::new();
        raw.writer().read_to_string(&mut response).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(response.contains("\r\nContent-Length: "), "{response}");
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
}

#[test]
fn no_upgrade_or_another_version_is_426_and_says_which_version() {
    let gateway = Gateway::start("");
    let requests = [
        "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        with_line("Upgrade", ""),
        with_line("Upgrade", "Upgrade: h2c"),
        // HTTP/1.0 has no upgrades: one is to be ignored there (RFC 9110 section 7.8).
        with_line("GET", "GET /ws HTTP/1.0"),
        with_line("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
        with_line("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"),
        with_line("Sec-WebSocket-Version", ""),
    ];
    for request in requests {
        let response = answer(&gateway, &request);
        assert_eq!(response.status, 426, "{request}");
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"), "{request}");
        assert_eq!(
            response.header("Upgrade").map(str::to_lowercase).as_deref(),
            Some("websocket"),
            "{request}"
        );
    }
    wait_until("the refusals to be counted", || {
        gateway.refused_for("bad_request") == 7.0
    });
}

#[test]
fn a_broken_request_is_400() {
    let gateway = Gateway::start("");
    let key = "Sec-WebSocket-Key";
    let requests = [
        "GARBAGE\r\n\r\n".to_owned(),
        "GET /ws HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n".to_owned(),
        "GET /ws HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(),
        with_line("Host", ""),
        with_line(key, ""),
        with_line(key, "Sec-WebSocket-Key: "),
        with_line(key, "Sec-WebSocket-Key: not base64, at all!!"),
        with_line(key, "Sec-WebSocket-Key: dG9vIHNob3J0"),
        with_line(key, "Sec-WebSocket-Key: dGhpcyBvbmUgaXMgbG9uZ2VyIHRoYW4gc2l4dGVlbg=="),
        upgrade_request(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
    ];
    for request in &requests {
        assert_eq!(answer(&gateway, request).status, 400, "{request}");
    }
    wait_until("the refusals to be counted", || {
        gateway.refused_for("bad_request") == requests.len() as f64
    });
}

#[test]
fn bytes_that_are_no_http_end_the_connection_and_nothing_else() {
    let gateway = Gateway::start("");
    let mut other = Client::login(&gateway, "other");
    // The start of a TLS ClientHello: a client that was told wss where ws was meant.
    let hello = [
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x00, 0xff, 0x00, b'\r', b'\n',
    ];
    for bytes in [&hello[..], &[0; 64], &[0xff; 64]] {
        let mut raw = Raw::open(&gateway);
        raw.send(bytes);
        raw.try_send(b"\r\n\r\n");
        assert_eq!(raw.response().status, 400);
        raw.ended();
    }
    other.fence();
}

#[test]
fn an_origin_outside_the_list_is_403_and_none_at_all_passes() {
    let gateway = Gateway::start(r#"server.origins = ["https://a.example", "https://b.example:8443"]"#);
    let status = |origin: &str| answer(&gateway, &upgrade_request(&[&format!("Origin: {origin}")])).status;
    assert_eq!(status("https://a.example"), 101);
    assert_eq!(status("https://b.example:8443"), 101);
    for other in [
        "https://evil.example",
        "http://a.example",
        "https://b.example",
        "https://a.example.evil.example",
        "null",
    ] {
        assert_eq!(status(other), 403, "{other}");
    }
    assert_eq!(answer(&gateway, &upgrade_request(&[])).status, 101);
    wait_until("the refusals to be counted", || gateway.refused_for("origin") == 5.0);
}

#[test]
fn with_no_list_any_origin_passes() {
    let gateway = Gateway::start("");
    assert_eq!(
        answer(&gateway, &upgrade_request(&["Origin: https://anything.example"])).status,
        101
    );
}

#[test]
fn a_head_in_single_bytes_is_read() {
    let gateway = Gateway::start("");
    let mut raw = Raw::open(&gateway);
    for byte in upgrade_request(&[]).as_bytes() {
        raw.send(&[*byte]);
    }
    assert_eq!(raw.response().status, 101);
    raw.log_in("slow").ended_after_close();
}

impl Raw {
    /// A client's own close, echoed and followed by the end of the stream.
    #[track_caller]
    fn ended_after_close(mut self) {
        self.send(&frame(0x8, &1000u16.to_be_bytes()));
        assert_eq!(self.closed().0, 1000);
        self.ended();
    }
}

#[test]
fn frames_pipelined_behind_the_request_are_handled() {
    let gateway = Gateway::start("");
    let connect = json!({"path": "connect", "id": 1, "token": token("eager")}).to_string();
    let ping = json!({"path": "ping", "id": 2}).to_string();
    let mut bytes = upgrade_request(&[]).into_bytes();
    let head = bytes.len();
    bytes.extend(frame(TEXT, connect.as_bytes()));
    let first = bytes.len();
    bytes.extend(frame(TEXT, ping.as_bytes()));
    // All in one write; cut inside the first frame; cut inside the second; cut right behind the head.
    for cut in [bytes.len(), head + 1, head + 20, first + 3, head] {
        let mut raw = Raw::open(&gateway);
        raw.send(&bytes[..cut]);
        raw.send(&bytes[cut..]);
        assert_eq!(raw.response().status, 101);
        let reply = raw.json();
        assert_eq!((&reply["id"], &reply["status"]), (&json!(1), &json!(200)));
        let reply = raw.json();
        assert_eq!((&reply["id"], &reply["status"]), (&json!(2), &json!(200)));
    }
}

/// The client's address by the API, of a client that came with these headers.
fn remote(gateway: &Gateway, forwarded: &[&str]) -> String {
    let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
    let user = format!("u{}", fastrand::u64(..));
    let mut client = Client::open_with(gateway, &headers);
    client.connect(&token(&user), json!(null));
    gateway.user(&user)["connections"][0]["remote"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_trusted_proxy_names_the_client_by_its_rightmost_entry_that_is_no_trusted_proxy() {
    let gateway = Gateway::start(r#"server.trusted_proxies = ["127.0.0.0/8", "10.1.0.0/16", "2001:db8:1::/48"]"#);
    assert_eq!(remote(&gateway, &[]), "127.0.0.1");
    assert_eq!(remote(&gateway, &["203.0.113.7"]), "203.0.113.7");
    assert_eq!(remote(&gateway, &["198.51.100.1, 203.0.113.7"]), "203.0.113.7");
    assert_eq!(remote(&gateway, &["203.0.113.7, 10.1.2.3"]), "203.0.113.7");
    assert_eq!(
        remote(&gateway, &["198.51.100.1,203.0.113.7,10.1.2.3, 127.0.0.9"]),
        "203.0.113.7"
    );
    assert_eq!(
        remote(&gateway, &["198.51.100.1", "203.0.113.7, 10.1.2.3"]),
        "203.0.113.7",
        "several headers are one list"
    );
    assert_eq!(remote(&gateway, &["2001:db8:2::5"]), "2001:db8:2::5");
    assert_eq!(remote(&gateway, &["203.0.113.7, 2001:db8:1::9"]), "203.0.113.7");
}

#[test]
fn a_malformed_entry_leaves_the_peers_own_address() {
    let gateway = Gateway::start("");
    for malformed in [
        "nonsense",
        "203.0.113.7, nonsense",
        "203.0.113",
        "203.0.113.7.9",
        "unknown",
        ",",
    ] {
        assert_eq!(remote(&gateway, &[malformed]), "127.0.0.1", "{malformed}");
    }
}

#[test]
fn a_malformed_entry_left_of_the_clients_is_never_looked_at() {
    let gateway = Gateway::start("");
    assert_eq!(remote(&gateway, &["nonsense, 203.0.113.7"]), "203.0.113.7");
}

#[test]
fn who_is_no_trusted_proxy_cannot_name_the_client() {
    let gateway = Gateway::start(r#"server.trusted_proxies = ["10.0.0.0/8"]"#);
    assert_eq!(remote(&gateway, &["203.0.113.7"]), "127.0.0.1");
}

#[test]
fn an_ipv4_client_of_a_listener_for_both_families_is_known_by_its_ipv4_address() {
    let gateway = Gateway::start(r#"server.listen = ["[::]:0"]"#);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], gateway.ws().port()));
    let Ok(stream) = std::net::TcpStream::connect(address) else {
        // A listener for IPv6 alone cannot mix the two up.
        return;
    };
    let _client = Raw::over(stream).upgrade().log_in("u");
    assert_eq!(gateway.user("u")["connections"][0]["remote"], "127.0.0.1");
}
