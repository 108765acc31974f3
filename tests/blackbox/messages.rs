//! Messages before and after login: ids, malformed ones, paths, and what a node without NATS answers.

use serde_json::json;

use crate::support::{Client, Gateway, Value, token, wait_until};

const BAD_TEXTS: [&str; 22] = [
    "",
    "not json",
    "{",
    "[]",
    "7",
    "null",
    "\"ping\"",
    "{}",
    r#"{"id":1}"#,
    r#"{"path":null,"id":1}"#,
    r#"{"path":7,"id":1}"#,
    r#"{"path":["ping"],"id":1}"#,
    r#"{"path":"ping","id":1.5}"#,
    r#"{"path":"ping","id":1e3}"#,
    r#"{"path":"ping","id":true}"#,
    r#"{"path":"ping","id":null}"#,
    r#"{"path":"ping","id":[1]}"#,
    r#"{"path":"ping","id":{}}"#,
    r#"{"path":"ping","id":1}}"#,
    r#"{"path":"ping","id":1} {"path":"ping","id":2}"#,
    r#"{'path':'ping'}"#,
    r#"{"path":"\ud800","id":1}"#,
];

/// Sends a text that is no message and checks the answer.
#[track_caller]
fn bad(client: &mut Client, text: &str) {
    client.send_text(text);
    let reply = client.json();
    assert_eq!(
        (&reply["status"], &reply["error"]["code"]),
        (&json!(400), &json!("bad_message")),
        "{text}: {reply}"
    );
    assert_eq!(reply.get("id"), Some(&Value::Null), "{text}: {reply}");
    assert!(reply["error"]["message"].is_string(), "{text}: {reply}");
}

#[test]
fn text_that_is_no_message_is_answered_400_with_a_null_id_before_and_after_login() {
    let gateway = Gateway::start("");
    for text in BAD_TEXTS {
        let mut client = Client::open(&gateway);
        bad(&mut client, text);
        client.connect(&token("u"), Value::Null);
        bad(&mut client, text);
        client.fence();
        client.close();
    }
}

#[test]
fn an_id_longer_than_64_bytes_is_malformed() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    bad(&mut client, &json!({"path": "ping", "id": "x".repeat(65)}).to_string());
    bad(&mut client, &json!({"path": "ping", "id": "é".repeat(33)}).to_string());
    client.fence();
}

#[test]
fn the_tenth_malformed_message_in_a_row_is_answered_and_closes_1008() {
    let gateway = Gateway::start("");
    for logged_in in [false, true] {
        let mut client = if logged_in {
            Client::login(&gateway, "u")
        } else {
            Client::open(&gateway)
        };
        for _ in 0..9 {
            bad(&mut client, "nonsense");
        }
        client.send_text("nonsense");
        let (messages, (code, _)) = client.until_closed();
        assert_eq!((messages.len(), code), (1, 1008));
    }
    wait_until("both to be counted", || gateway.closed_for("bad_messages") == 2.0);
}

#[test]
fn a_message_that_is_one_starts_the_count_of_malformed_ones_anew() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    for _ in 0..3 {
        for _ in 0..9 {
            bad(&mut client, "[]");
        }
        client.fence();
    }
}

#[test]
fn a_reply_carries_the_id_as_it_came() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let ids = [
        "0",
        "7",
        "-1",
        "9007199254740993",
        "-9223372036854775808",
        "18446744073709551615",
    ];
    for id in ids {
        client.send_text(format!(r#"{{"path":"ping","id":{id}}}"#));
        let reply = client.text();
        assert!(reply.contains(&format!("\"id\":{id},")), "{id}: {reply}");
    }
    for id in [
        "",
        "a",
        "κόσμε",
        "a\"b\\c\n\u{1}",
        &"x".repeat(64),
        &"é".repeat(32),
        "null",
        "7",
    ] {
        let reply = client.call(json!({"path": "ping", "id": id}));
        assert_eq!(reply, json!({"id": id, "path": "ping", "status": 200, "body": {}}));
    }
    client.send_text(r#"{"path":"ping","id":"\u0061\/b"}"#);
    assert_eq!(client.json()["id"], "a/b");
}

#[test]
fn a_message_without_an_id_is_not_answered() {
    let gateway = Gateway::start("");
    let mut client = Client::login_with(
        &gateway,
        &crate::support::mint(json!({"sub": "u", "topics": ["t"]})),
        json!(null),
    );
    client.send(json!({"path": "ping"}));
    client.send(json!({"path": "order/create", "body": 1}));
    client.send(json!({"path": "subscribe", "body": {"topics": ["t"]}}));
    client.send(json!({"path": "subscribe", "body": {"topics": ["forbidden"]}}));
    client.fence();
    assert_eq!(
        gateway.user("u")["connections"][0]["topics"],
        json!(["t"]),
        "handled all the same"
    );
}

#[test]
fn connect_is_answered_without_an_id_too() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    let refused = client.call(json!({"path": "connect"}));
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!(401), &json!("token_missing"))
    );
    assert!(refused.get("id").is_none_or(Value::is_null), "{refused}");
    let reply = client.call(json!({"path": "connect", "token": token("u")}));
    assert_eq!((&reply["path"], &reply["status"]), (&json!("connect"), &json!(200)));
    assert!(reply.get("id").is_none_or(Value::is_null), "{reply}");
}

#[test]
fn unknown_fields_are_ignored() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let reply = client.call(json!({"path": "ping", "id": 1, "status": 500, "error": {}, "extra": [1, {"a": null}]}));
    assert_eq!(reply, json!({"id": 1, "path": "ping", "status": 200, "body": {}}));
    client.send_text(" \t\r\n{ \"path\" : \"ping\" , \"id\" : 2 }\n ");
    assert_eq!(client.json()["id"], 2);
}

#[test]
fn a_path_that_breaks_the_rule_is_answered_with_its_id_and_not_counted() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let long = "a".repeat(257);
    let paths = [
        "", "/", "/a", "a/", "a//b", "a b", "a.b", "ä", "a/../b", "a\u{0}b", "a%20b", "a*", "ping/", &long,
    ];
    for (id, path) in paths.into_iter().enumerate() {
        client.refused(json!({"path": path, "id": id}), 400, "bad_message");
    }
    client.fence();
}

#[test]
fn paths_within_the_rule_reach_for_a_service_and_without_nats_there_is_none() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let long = format!("{}/{}", "a".repeat(127), "b".repeat(128));
    assert_eq!(long.len(), 256);
    for path in [
        "a",
        "order/create",
        "A-Z_0/9/-/_",
        "connects",
        "connect/x",
        "pingx",
        "Ping",
        &long,
    ] {
        let message = json!({"path": path, "id": path.len(), "body": {"any": ["thing"]}});
        client.refused(message.clone(), 404, "no_handler");
        let reply = client.call(message);
        assert_eq!(reply["path"], path);
    }
    for body in [json!(null), json!(1), json!("x"), json!([]), json!({})] {
        client.refused(json!({"path": "a", "id": 1, "body": body}), 404, "no_handler");
    }
}

#[test]
fn before_connect_everything_else_is_401_not_connected_and_nothing_is_done() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut client = Client::open(&gateway);
    for path in ["ping", "subscribe", "unsubscribe", "order/create"] {
        client.refused(
            json!({"path": path, "id": 1, "body": {"topics": ["t"]}}),
            401,
            "not_connected",
        );
    }
    client.send(json!({"path": "ping"}));
    client.send(json!({"path": "order/create"}));
    for id in 0..10 {
        client.refused(json!({"path": "ping", "id": id}), 401, "not_connected");
    }
    client.connect(&token("u"), Value::Null);
    client.fence();
    assert_eq!(gateway.user("u")["connections"][0]["topics"], json!([]));
}

#[test]
fn a_ping_may_carry_any_body() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    for body in [
        json!(null),
        json!(1.5),
        json!("x"),
        json!([1, [2]]),
        json!({"topics": 1}),
    ] {
        let reply = client.call(json!({"path": "ping", "id": 1, "body": body}));
        assert_eq!(reply, json!({"id": 1, "path": "ping", "status": 200, "body": {}}));
    }
}

#[test]
fn a_body_nested_thousands_deep_is_answered_and_hurts_nobody() {
    let gateway = Gateway::start("");
    let mut other = Client::login(&gateway, "other");
    let mut client = Client::login(&gateway, "u");
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    for path in ["ping", "connect", "subscribe", "order/create"] {
        client.send_text(format!(r#"{{"path":"{path}","id":1,"body":{deep}}}"#));
        assert!(client.json()["status"].is_number());
    }
    client.send_text("[".repeat(60_000));
    assert_eq!(client.json()["error"]["code"], "bad_message");
    client.fence();
    other.fence();
}
