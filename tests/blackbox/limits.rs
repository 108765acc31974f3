//! What one client may ask for, and what happens to one that does not read.

use std::net::SocketAddr;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::client::assert_refusal;
use crate::support::raw::{CLOSE, PING, TEXT, close_of, frame};
use crate::support::{Client, Gateway, PATIENCE, Raw, Value, wait_until};

#[test]
fn past_the_rate_messages_are_429_and_twenty_in_a_row_close_4429() {
    let gateway = Gateway::start("limits.messages_per_second = 1");
    // A clock second may refill the bucket by one in between and start the row anew, so more than 20 are sent.
    let mut raw = Raw::upgraded(&gateway);
    let mut bytes = frame(
        TEXT,
        json!({"path": "connect", "id": 0, "token": crate::support::token("u")})
            .to_string()
            .as_bytes(),
    );
    for id in 1..=60 {
        bytes.extend(frame(TEXT, json!({"path": "ping", "id": id}).to_string().as_bytes()));
    }
    raw.send(&bytes);
    assert_eq!(raw.json()["status"], 200, "the connect");
    assert_eq!(raw.json()["status"], 200, "a burst of twice the rate passes");
    let mut in_a_row = 0;
    for id in 2.. {
        let (opcode, payload) = raw.frame();
        if opcode == CLOSE {
            assert_eq!(close_of(&payload).0, 4429);
            break;
        }
        let reply: Value = serde_json::from_slice(&payload).unwrap();
        if reply["status"] == 200 {
            in_a_row = 0;
        } else {
            assert_refusal(&reply, &json!(id), 429, "rate_limited");
            in_a_row += 1;
        }
    }
    assert_eq!(in_a_row, 20);
    wait_until("it to be counted", || gateway.closed_for("rate_limited") == 1.0);
}

#[test]
fn the_rate_is_each_connections_own_and_control_frames_do_not_count() {
    let gateway = Gateway::start("limits.messages_per_second = 2");
    let mut a = Raw::login(&gateway, "a");
    let pings: Vec<u8> = (0..200).flat_map(|i| frame(PING, &[i])).collect();
    a.send(&pings);
    for _ in 0..200 {
        assert_eq!(a.frame().0, 0xA);
    }
    a.send_json(&json!({"path": "ping", "id": 1}));
    assert_eq!(a.json()["status"], 200);
    let mut b = Client::login(&gateway, "b");
    b.fence();
}

#[test]
fn a_refused_message_is_not_handled() {
    let gateway = Gateway::start("limits.messages_per_second = 1\nauth.default_topics = [\"*\"]");
    let mut client = Client::login(&gateway, "u");
    let mut subscribed = 0;
    for i in 0..10 {
        let reply = client.call(json!({"path": "subscribe", "id": i, "body": {"topics": [format!("t{i}")]}}));
        subscribed += usize::from(reply["status"] == 200);
    }
    assert!(subscribed < 10);
    assert_eq!(
        gateway.user("u")["connections"][0]["topics"].as_array().unwrap().len(),
        subscribed
    );
}

#[test]
fn malformed_messages_count_for_the_rate() {
    let gateway = Gateway::start("limits.messages_per_second = 1");
    let mut client = Client::login(&gateway, "u");
    let mut refused = 0;
    for _ in 0..5 {
        client.send_text("nonsense");
        refused += usize::from(client.json()["status"] == 429);
    }
    assert!(refused >= 1);
}

#[test]
fn without_a_limit_thousands_of_messages_pass() {
    let gateway = Gateway::start("");
    let mut raw = Raw::login(&gateway, "u");
    let mut writer = raw.writer();
    let sender = std::thread::spawn(move || {
        for id in 0..5000 {
            let message = json!({"path": "ping", "id": id}).to_string();
            std::io::Write::write_all(&mut writer, &frame(TEXT, message.as_bytes())).unwrap();
        }
    });
    for id in 0..5000 {
        let reply = raw.json();
        assert_eq!((&reply["id"], &reply["status"]), (&json!(id), &json!(200)));
    }
    sender.join().unwrap();
}

/// A client whose kernel takes little, so that it counts as slow soon.
fn slow_client(address: SocketAddr, user: &str) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&address.into()).unwrap();
    Raw::over(socket.into()).upgrade().log_in(user)
}

#[test]
fn a_slow_reader_is_closed_4413_and_the_others_miss_nothing() {
    let gateway = Gateway::start("limits.outbound_bytes = \"256KiB\"");
    let mut slow = slow_client(gateway.ws(), "slow");
    let mut quick = Client::login(&gateway, "quick");
    let filler = "x".repeat(100 * 1024);
    let mut sent = 0;
    wait_until("the slow one to be given up", || {
        let counts = gateway.push(json!({"all": true}), "p", json!({"n": sent, "filler": filler}));
        let of = |name: &str| counts[name].as_u64().unwrap();
        assert_eq!(of("matched"), of("queued") + of("dropped"), "{counts}");
        let got = quick.json();
        assert_eq!(got["body"]["n"], sent, "the quick one gets each, in order");
        sent += 1;
        gateway.closed_for("slow_consumer") == 1.0
    });
    quick.fence();
    // Now the slow one reads after all: whole frames in order, then the close.
    let mut expected = 0;
    loop {
        match slow.frame() {
            (TEXT, payload) => {
                let push: Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(push["body"]["n"], expected);
                expected += 1;
            }
            (CLOSE, payload) => {
                assert_eq!(close_of(&payload).0, 4413);
                break;
            }
            (PING, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(expected < sent);
    gateway.wait_connections("slow", 0);
    wait_until("the queue to be empty again", || {
        gateway.metric("longwire_outbound_bytes") == Some(0.0)
    });
    assert!(
        gateway
            .metric("longwire_deliveries_total{outcome=\"dropped\"}")
            .unwrap()
            >= 1.0
    );
}

#[test]
fn who_does_not_read_is_named_with_what_waits_for_it() {
    let gateway = Gateway::start("limits.outbound_bytes = \"64MiB\"");
    let mut quick = Client::login(&gateway, "quick");
    assert_eq!(gateway.get("/v1/slow").ok(), json!({"node": "test", "connections": []}));
    let _slow = slow_client(gateway.ws(), "slow");
    let filler = "x".repeat(100 * 1024);
    wait_until("something to wait for the slow one", || {
        gateway.push(json!({"all": true}), "p", json!(filler));
        quick.json();
        let answer = gateway.get("/v1/slow?limit=1").ok();
        let Some(worst) = answer["connections"].get(0) else {
            return false;
        };
        // The quick one may be asked about between a push and its write.
        worst["user"] == "slow"
            && worst["remote"] == "127.0.0.1"
            && worst["device"].is_null()
            && worst["queued_bytes"].as_u64().unwrap() > 100 * 1024
            && gateway
                .delete(&format!("/v1/connections/{}", worst["connection"].as_str().unwrap()))
                .status
                == 200
    });
    gateway.wait_connections("slow", 0);
    quick.fence();
}

#[test]
fn past_the_nodes_outbound_budget_the_worst_go_first() {
    let gateway = Gateway::start("limits.outbound_bytes = \"64MiB\"\nlimits.outbound_total_bytes = \"2MiB\"");
    let mut slow = slow_client(gateway.ws(), "slow");
    let mut quick = Client::login(&gateway, "quick");
    let filler = "x".repeat(100 * 1024);
    let mut sent = 0;
    wait_until("the worst to be given up", || {
        gateway.push(json!({"all": true}), "p", json!({"n": sent, "filler": filler}));
        assert_eq!(quick.json()["body"]["n"], sent);
        sent += 1;
        gateway.closed_for("overload") >= 1.0
    });
    quick.fence();
    gateway.wait_connections("slow", 0);
    let (code, reason) = loop {
        match slow.frame() {
            (CLOSE, payload) => break close_of(&payload),
            (opcode, _) => assert!(opcode == TEXT || opcode == PING),
        }
    };
    assert_eq!(code, 1013);
    assert!(
        reason
            .strip_prefix("retry_ms=")
            .is_some_and(|ms| ms.parse::<u64>().is_ok()),
        "{reason}"
    );
}
