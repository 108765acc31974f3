//! `longwire.event.connected` and `disconnected`: who, where, why, and in which order.

use serde_json::json;

use crate::nats::{Nats, encode};
use crate::nodes::Cluster;
use crate::support::raw::{CLOSE, close_payload, frame};
use crate::support::tokens::now_ms;
use crate::support::{Client, Gateway, Raw, Value, mint, now_s, token};

/// A bus client that hears every event and every call.
fn listener(cluster: &Cluster) -> Nats {
    let mut listener = cluster.bus();
    listener.subscribe("longwire.event.>");
    listener.subscribe("longwire.call.>");
    listener.flush();
    listener
}

/// The next event: checks its subject against its user, takes `at_ms` out and checks it.
#[track_caller]
fn event(listener: &mut Nats, what: &str, since_ms: u64) -> Value {
    let message = listener.next();
    let mut event = message.json();
    let user = event["user"].as_str().unwrap();
    assert_eq!(
        message.subject,
        format!("longwire.event.{what}.{}", encode(user)),
        "{event}"
    );
    let at_ms = event
        .as_object_mut()
        .unwrap()
        .remove("at_ms")
        .unwrap()
        .as_u64()
        .unwrap();
    assert!((since_ms..=now_ms()).contains(&at_ms), "{at_ms} since {since_ms}");
    event
}

/// A client of `u` whose `connected` was heard, and its connection.
#[track_caller]
fn connected(node: &Gateway, name: &str, listener: &mut Nats, token: &str) -> (Client, Value) {
    let since_ms = now_ms();
    let mut client = Client::open(node);
    let body = client.connect(token, Value::Null);
    let event = event(listener, "connected", since_ms);
    assert_eq!(
        event,
        json!({"user": "u", "connection": body["connection"], "node": name, "device": null})
    );
    (client, body["connection"].clone())
}

#[track_caller]
fn disconnected(listener: &mut Nats, since_ms: u64, connection: &Value, name: &str, reason: &str, code: u16) {
    let event = event(listener, "disconnected", since_ms);
    assert_eq!(
        event,
        json!({
            "user": "u", "connection": connection, "node": name, "device": null, "reason": reason, "code": code,
        })
    );
}

#[test]
fn a_clients_own_close_is_told_with_its_code() {
    let cluster = Cluster::start(2, "");
    let mut listener = listener(&cluster);
    for (node, name) in cluster.nodes.iter().zip(["n1", "n2"]) {
        let (client, connection) = connected(node, name, &mut listener, &token("u"));
        let since_ms = now_ms();
        client.close();
        disconnected(&mut listener, since_ms, &connection, name, "client", 1000);
    }
    for code in [1001, 3000, 4999] {
        let since_ms = now_ms();
        let mut raw = Raw::login(&cluster.nodes[0], "u");
        let connection = event(&mut listener, "connected", since_ms)["connection"].clone();
        raw.send(&frame(CLOSE, &close_payload(code, "bye")));
        disconnected(&mut listener, since_ms, &connection, "n1", "client", code);
    }
}

#[test]
fn a_lost_connection_is_1006() {
    let cluster = Cluster::start(1, "");
    let mut listener = listener(&cluster);
    let (client, connection) = connected(&cluster.nodes[0], "n1", &mut listener, &token("u"));
    let since_ms = now_ms();
    drop(client);
    disconnected(&mut listener, since_ms, &connection, "n1", "connection_lost", 1006);
}

#[test]
fn kicks_are_told_with_the_code_that_the_client_got() {
    let cluster = Cluster::start(2, "");
    let mut listener = listener(&cluster);
    let node = &cluster.nodes[1];
    let since_ms = now_ms();
    let (mut client, connection) = connected(node, "n2", &mut listener, &token("u"));
    cluster.nodes[0].delete("/v1/users/u").ok();
    assert_eq!(client.closed().0, 4403);
    disconnected(&mut listener, since_ms, &connection, "n2", "kicked", 4403);
    let (mut client, connection) = connected(node, "n2", &mut listener, &token("u"));
    cluster
        .bus()
        .publish("longwire.kick.user.u", r#"{"code":4000,"reason":"bye"}"#);
    assert_eq!(client.closed(), (4000, "bye".into()));
    disconnected(&mut listener, since_ms, &connection, "n2", "kicked", 4000);
}

#[test]
fn an_expired_token_is_4410() {
    let cluster = Cluster::start(1, "auth.leeway = \"0s\"");
    let mut listener = listener(&cluster);
    let short = mint(json!({"sub": "u", "exp": now_s() + 2}));
    let since_ms = now_ms();
    let (mut client, connection) = connected(&cluster.nodes[0], "n1", &mut listener, &short);
    assert_eq!(client.closed().0, 4410);
    disconnected(&mut listener, since_ms, &connection, "n1", "token_expired", 4410);
}

#[test]
fn a_drain_tells_of_every_connection() {
    let mut cluster = Cluster::start(2, "timeouts.drain = \"300ms\"");
    let mut listener = listener(&cluster);
    let since_ms = now_ms();
    let mut there: Vec<(Client, Value)> = (0..20)
        .map(|_| connected(&cluster.nodes[0], "n1", &mut listener, &token("u")))
        .collect();
    cluster.nodes[0].run.signal("TERM");
    let mut waiting: Vec<Value> = there.iter().map(|(_, connection)| connection.clone()).collect();
    for (client, _) in &mut there {
        assert_eq!(client.closed().0, 1012);
    }
    drop(there);
    while !waiting.is_empty() {
        let event = event(&mut listener, "disconnected", since_ms);
        assert_eq!(
            (&event["node"], &event["reason"], &event["code"]),
            (&json!("n1"), &json!("drain"), &json!(1012)),
            "{event}"
        );
        let at = waiting.iter().position(|connection| *connection == event["connection"]);
        waiting.remove(at.unwrap_or_else(|| panic!("twice, or never connected: {event}")));
    }
    assert_eq!(cluster.nodes[0].run.exit_code(), 0);
}

#[test]
fn every_end_that_the_gateway_decides_names_its_reason() {
    let changes = "limits.message_bytes = \"1KiB\"\nsessions.per_user_max = 1\nsessions.when_full = \"replace_oldest\"";
    let cluster = Cluster::start(1, changes);
    let node = &cluster.nodes[0];
    let mut listener = listener(&cluster);
    let since_ms = now_ms();
    let (mut client, connection) = connected(node, "n1", &mut listener, &token("u"));
    client.send_text("x".repeat(2000));
    assert_eq!(client.closed().0, 1009);
    disconnected(&mut listener, since_ms, &connection, "n1", "message_too_big", 1009);
    let (mut client, connection) = connected(node, "n1", &mut listener, &token("u"));
    for _ in 0..10 {
        client.send_text("nonsense");
    }
    let (replies, (code, _)) = client.until_closed();
    assert_eq!((replies.len(), code), (10, 1008));
    disconnected(&mut listener, since_ms, &connection, "n1", "bad_messages", 1008);
    let (mut first, connection) = connected(node, "n1", &mut listener, &token("u"));
    let mut second = Client::login(node, "u");
    assert_eq!(first.closed().0, 4409);
    // The newcomer's `connected` and the other's end: either may be told first.
    let both = [listener.next(), listener.next()];
    let ended = both
        .iter()
        .find(|message| message.subject == "longwire.event.disconnected.u")
        .expect("the end of the first")
        .json();
    assert_eq!(
        (&ended["connection"], &ended["reason"], &ended["code"]),
        (&connection, &json!("session_policy"), &json!(4409))
    );
    second.fence();
}

#[test]
fn connected_comes_before_the_first_call_and_that_before_disconnected() {
    let cluster = Cluster::start(2, "");
    let mut listener = listener(&cluster);
    for round in 0..40 {
        let mut raw = Raw::upgraded(&cluster.nodes[round % 2]);
        // In one write: the call is there when the login is.
        let login = json!({"path": "connect", "id": 0, "token": token("u")}).to_string();
        let call = json!({"path": "first", "body": round}).to_string();
        let mut bytes = frame(1, login.as_bytes());
        bytes.extend(frame(1, call.as_bytes()));
        bytes.extend(frame(CLOSE, &close_payload(1000, "")));
        raw.send(&bytes);
        let messages = [listener.next(), listener.next(), listener.next()];
        let subjects = messages.each_ref().map(|message| message.subject.as_str());
        assert_eq!(
            subjects,
            [
                "longwire.event.connected.u",
                "longwire.call.first",
                "longwire.event.disconnected.u"
            ]
        );
        assert_eq!(messages[0].json()["connection"], messages[2].json()["connection"]);
        assert_eq!(messages[1].json(), json!(round));
    }
}

#[test]
fn the_user_is_percent_encoded_in_the_subject_and_plain_in_the_payload() {
    let cluster = Cluster::start(1, "");
    let mut listener = listener(&cluster);
    let since_ms = now_ms();
    for user in ["a.b@c", "ü 100%", "*", ">", "\"\\\n"] {
        let client = Client::login_with(&cluster.nodes[0], &token(user), json!({"device": "my \"phone\"/ü"}));
        let event_of = |listener: &mut Nats, what: &str| {
            let event = event(listener, what, since_ms);
            assert_eq!(
                (&event["user"], &event["device"]),
                (&json!(user), &json!("my \"phone\"/ü")),
                "{event}"
            );
        };
        event_of(&mut listener, "connected");
        client.close();
        event_of(&mut listener, "disconnected");
    }
}

#[test]
fn who_never_logged_in_is_no_event_and_a_later_token_is_none_either() {
    let cluster = Cluster::start(1, "");
    let mut listener = listener(&cluster);
    let mut stranger = Client::open(&cluster.nodes[0]);
    stranger.refused(json!({"path": "connect", "id": 1, "token": "x"}), 401, "token_invalid");
    stranger.close();
    let since_ms = now_ms();
    let (mut client, connection) = connected(&cluster.nodes[0], "n1", &mut listener, &token("u"));
    client.connect(&token("u"), Value::Null);
    client.close();
    disconnected(&mut listener, since_ms, &connection, "n1", "client", 1000);
}
