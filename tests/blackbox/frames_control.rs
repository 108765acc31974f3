//! Control frames: pings, pongs and both sides' closes.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::raw::{CLOSE, PING, PONG, TEXT, close_payload, frame};
use crate::support::{Gateway, Raw, wait_until};

#[test]
fn a_ping_is_answered_with_its_payload_before_and_after_login() {
    let gateway = Gateway::start("");
    let check = |raw: &mut Raw| {
        for payload in [&b""[..], b"hello", &[0xff; 125]] {
            raw.send(&frame(PING, payload));
            assert_eq!(raw.frame(), (PONG, payload.to_vec()));
        }
    };
    let mut raw = Raw::upgraded(&gateway);
    check(&mut raw);
    check(&mut raw.log_in("u"));
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    raw.send(&frame(PONG, b""));
    raw.send(&frame(PONG, b"whatever"));
    raw.send(&frame(PING, b"still here"));
    assert_eq!(raw.frame(), (PONG, b"still here".to_vec()));
}

#[test]
fn a_clients_close_is_echoed_and_the_stream_ends() {
    let gateway = Gateway::start("");
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
    ] {
        let mut raw = Raw::login(&gateway, "u");
        raw.send(&frame(CLOSE, &close_payload(code, "the client's reason")));
        assert_eq!(raw.closed().0, code);
        raw.ended();
    }
    wait_until("all to be counted", || gateway.closed_for("client") == 13.0);
    gateway.wait_connections("u", 0);
}

#[test]
fn a_close_without_a_code_is_answered_with_a_close() {
    let gateway = Gateway::start("");
    let mut raw = Raw::upgraded(&gateway);
    raw.send(&frame(CLOSE, b""));
    let (opcode, payload) = raw.frame();
    assert_eq!(opcode, CLOSE);
    assert!(
        payload.is_empty() || payload[..2] == 1000u16.to_be_bytes(),
        "{payload:?}"
    );
    raw.ended();
}

#[test]
fn close_codes_that_may_not_be_sent_close_1002() {
    let gateway = Gateway::start("");
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999] {
        let mut raw = Raw::upgraded(&gateway);
        raw.send(&frame(CLOSE, &close_payload(code, "")));
        assert_eq!(raw.closed().0, 1002, "{code}");
        raw.ended();
    }
    let mut raw = Raw::upgraded(&gateway);
    raw.send(&frame(CLOSE, &[0x03]));
    assert_eq!(raw.closed().0, 1002, "half a code");
}

#[test]
fn a_close_reason_that_is_not_utf8_closes_1007() {
    let gateway = Gateway::start("");
    let mut raw = Raw::upgraded(&gateway);
    raw.send(&frame(CLOSE, b"\x03\xe8\xff\xfe"));
    assert_eq!(raw.closed().0, 1007);
}

#[test]
fn what_comes_after_the_clients_close_is_not_handled() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    let ping = json!({"path": "ping", "id": 1}).to_string();
    let all = [
        frame(CLOSE, &close_payload(1000, "")),
        frame(TEXT, ping.as_bytes()),
        frame(PING, b"x"),
    ]
    .concat();
    raw.send(&all);
    assert_eq!(raw.closed().0, 1000);
    raw.ended();
}

#[test]
fn after_its_own_close_the_gateway_waits_for_the_clients_and_ends_the_stream_at_once_then() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    gateway.delete("/v1/users/u").ok();
    assert_eq!(raw.closed().0, 4403);
    raw.send(&frame(CLOSE, &close_payload(4403, "")));
    raw.ended();
}

#[test]
fn after_its_own_close_the_gateway_gives_the_client_two_seconds_to_answer() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    gateway.delete("/v1/users/u").ok();
    assert_eq!(raw.closed().0, 4403);
    let closed_at = Instant::now();
    raw.ended();
    let waited = closed_at.elapsed();
    assert!(
        waited >= Duration::from_secs(1),
        "the client had only {waited:?} to answer"
    );
}

#[test]
fn after_its_own_close_the_gateway_handles_no_more_messages() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    gateway.delete("/v1/users/u").ok();
    assert_eq!(raw.closed().0, 4403);
    raw.send_json(&json!({"path": "ping", "id": 1}));
    raw.send(&frame(PING, b"x"));
    assert_eq!(gateway.push(json!({"user": "u"}), "p", json!(1))["matched"], 0);
    raw.send(&frame(CLOSE, &close_payload(4403, "")));
    raw.ended();
}
