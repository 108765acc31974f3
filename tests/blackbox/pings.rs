//! The gateway's own pings, and what happens to who shows no sign of life.

use serde_json::json;

use crate::support::client::{open_with_stream, pump_until};
use crate::support::raw::{PING, PONG, TEXT, frame};
use crate::support::{Client, Gateway, Raw, Value, token, wait_until};

const FAST: &str = "timeouts.ping = \"200ms\"\ntimeouts.pong = \"300ms\"";

#[test]
fn who_shows_no_sign_of_life_is_pinged_and_closed_1001_ping_timeout() {
    let gateway = Gateway::start(FAST);
    let mut raw = Raw::login(&gateway, "u");
    assert_eq!(raw.frame().0, PING);
    loop {
        let (opcode, payload) = raw.frame();
        if opcode != PING {
            assert_eq!(
                crate::support::raw::close_of(&payload),
                (1001, "ping_timeout".to_owned())
            );
            break;
        }
    }
    wait_until("it to be counted", || gateway.closed_for("ping_timeout") == 1.0);
    gateway.wait_connections("u", 0);
}

#[test]
fn who_answers_pings_stays() {
    let gateway = Gateway::start(FAST);
    let _silent = Raw::login(&gateway, "silent");
    let (mut answering, stream) = open_with_stream(&gateway);
    answering.connect(&token("answering"), Value::Null);
    pump_until(&mut answering, "the silent one to be closed", &stream, || {
        gateway.closed_for("ping_timeout") == 1.0
    });
    answering.fence();
}

#[test]
fn any_message_is_a_sign_of_life() {
    let gateway = Gateway::start(FAST);
    let mut chatting = Raw::login(&gateway, "chatting");
    let mut silent = 0;
    let _silent = Raw::login(&gateway, "silent");
    wait_until("the silent one to be closed", || {
        silent += 1;
        chatting.send_json(&json!({"path": "ping", "id": silent}));
        assert_eq!(chatting.json()["id"], silent);
        gateway.closed_for("ping_timeout") == 1.0
    });
    chatting.send_json(&json!({"path": "ping", "id": "last"}));
    assert_eq!(chatting.json()["id"], "last");
}

#[test]
fn a_pong_nobody_asked_for_is_a_sign_of_life_too() {
    let gateway = Gateway::start(FAST);
    let mut heartbeat = Raw::login(&gateway, "heartbeat");
    let _silent = Raw::login(&gateway, "silent");
    wait_until("the silent one to be closed", || {
        heartbeat.send(&frame(PONG, b"heartbeat"));
        gateway.closed_for("ping_timeout") == 1.0
    });
    heartbeat.send(&frame(TEXT, br#"{"path":"ping","id":1}"#));
    assert_eq!(heartbeat.json()["id"], 1);
}

#[test]
fn connect_tells_the_interval() {
    let gateway = Gateway::start("timeouts.ping = \"40s\"");
    let mut client = Client::open(&gateway);
    assert_eq!(client.connect(&token("u"), Value::Null)["ping_ms"], 40_000);
}
