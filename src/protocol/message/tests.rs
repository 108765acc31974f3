//! What is a message and what is not, and the exact text of what clients get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What `frame`, a server's text frame, says.
fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81);
    let (bytes, start) = match frame[1] {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(frame[2..10].try_into().unwrap())).unwrap(),
            10,
        ),
        bytes => (usize::from(bytes), 2),
    };
    assert_eq!(frame.len(), start + bytes);
    std::str::from_utf8(&frame[start..]).unwrap()
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_whole_message_is_borrowed() {
    let text = r#" {"path": "order/create", "id": 7, "token": "a.b.c", "body": {"sku": [1, "x"] }, "else": [{}]} "#;
    let message = parse(text).unwrap();
    assert!(matches!(message.path, Cow::Borrowed("order/create")));
    assert_eq!(message.id, Some("7"));
    assert!(matches!(message.token, Token::Text(Cow::Borrowed("a.b.c"))));
    assert_eq!(message.body.map(RawValue::get), Some(r#"{"sku": [1, "x"] }"#));
}

#[test]
fn a_path_is_enough() {
    let message = parse(r#"{"path":"ping"}"#).unwrap();
    assert_eq!(
        (message.path.as_ref(), message.id, message.token),
        ("ping", None, Token::Absent)
    );
    assert!(message.body.is_none());
    let message = parse(r#"{"path":"ping","token":null,"body":null}"#).unwrap();
    assert_eq!(message.token, Token::Absent);
    assert!(message.body.is_none());
}

#[test]
fn escapes_are_read() {
    let message = parse(r#"{"p\u0061th":"a\/b","id":"\u00e9\n","token":"\u0041"}"#).unwrap();
    assert_eq!(message.path, "a/b");
    assert_eq!(message.id, Some(r#""\u00e9\n""#), "as it was written");
    assert_eq!(message.token, Token::Text("A".into()));
}

#[test]
fn ids() {
    let good_string = format!("\"{}\"", "x".repeat(64));
    let escaped_string = format!("\"{}\"", r"\u0078".repeat(64));
    let two_bytes_each = format!("\"{}\"", "é".repeat(32));
    let long_number = "9".repeat(64);
    for id in [
        "0",
        "-0",
        "-1",
        "18446744073709551616",
        "\"\"",
        &good_string,
        &escaped_string,
        &two_bytes_each,
        &long_number,
    ] {
        let text = format!("{{\"path\":\"p\",\"id\": {id} }}");
        assert_eq!(parse(&text).unwrap().id, Some(id), "{id}");
    }
    let long_string = format!("\"{}\"", "x".repeat(65));
    let long_characters = format!("\"{}\"", "é".repeat(33));
    let too_long_number = "9".repeat(65);
    let half_a_pair = r#""\ud800""#;
    let bad = ["null", "true", "1.0", "1e3", "-1.5", "[]", "{}", half_a_pair];
    for id in bad
        .into_iter()
        .chain([&*long_string, &*long_characters, &*too_long_number])
    {
        let text = format!("{{\"path\":\"p\",\"id\":{id}}}");
        assert!(matches!(parse(&text), Err(Bad::Message(_))), "{id}");
    }
}

#[test]
fn what_is_no_message() {
    let nothing = [
        "",
        " ",
        "null",
        "7",
        "\"path\"",
        "[]",
        r#"["p",7,"t",null]"#,
        "{",
        "{]",
        "nonsense",
        "\u{feff}{}",
    ];
    let no_path = [
        "{}",
        r#"{"path":null}"#,
        r#"{"path":7}"#,
        r#"{"path":["p"]}"#,
        r#"{"Path":"p"}"#,
        r#"{"path":"\ud800"}"#,
    ];
    let twice = [
        r#"{"path":"p","path":"p"}"#,
        r#"{"path":"p","id":1,"id":1}"#,
        r#"{"path":"p","token":null,"token":"t"}"#,
        r#"{"path":"p","body":1,"body":1}"#,
    ];
    let broken = [
        r#"{"path":"p"} x"#,
        r#"{"path":"p",}"#,
        r#"{"path":"p","body":tru}"#,
        "{\"path\":\"p\u{0}\"}",
    ];
    for text in nothing.into_iter().chain(no_path).chain(twice).chain(broken) {
        assert!(matches!(parse(text), Err(Bad::Message(_))), "{text}");
    }
    assert!(
        parse(r#"{"path":"p","x":1,"x":2}"#).is_ok(),
        "unknown fields are ignored, even twice"
    );
}

#[test]
fn a_path_that_breaks_the_rule_keeps_its_id() {
    let too_long = "x".repeat(257);
    for path in [
        "", "/", "/a", "a/", "a//b", "a b", "a.b", "ä", "a\\u0000", "a/*", &too_long,
    ] {
        let text = format!("{{\"path\":\"{path}\",\"id\":\"q\"}}");
        assert_eq!(parse(&text).unwrap_err(), Bad::Path { id: Some("\"q\"") }, "{path}");
    }
    assert_eq!(parse(r#"{"path":""}"#).unwrap_err(), Bad::Path { id: None });
    assert!(
        matches!(parse(r#"{"path":"","id":null}"#), Err(Bad::Message(_))),
        "the id comes first"
    );
    let longest = format!("{{\"path\":\"{}\"}}", "x".repeat(256));
    assert!(parse(&longest).is_ok());
}

#[test]
fn tokens_that_are_no_strings() {
    for token in ["7", "{}", "[\"t\"]", "true", r#""\ud800""#] {
        let text = format!("{{\"path\":\"p\",\"token\":{token}}}");
        assert_eq!(parse(&text).unwrap().token, Token::NotAString, "{token}");
    }
}

#[test]
fn depth_is_no_danger() {
    let deep = format!(
        "{{\"path\":\"p\",\"x\":{0}{1},\"body\":{0}{1}}}",
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    assert_eq!(parse(&deep).unwrap().body.unwrap().get().len(), 60_000);
}

#[test]
fn connect_bodies() {
    for empty in [
        "null",
        "{}",
        r#"{"device":null,"topics":null}"#,
        r#"{"device":"","topics":[],"else":1}"#,
    ] {
        assert_eq!(connect_body(Some(raw(empty))), Ok(ConnectBody::default()), "{empty}");
    }
    assert_eq!(connect_body(None), Ok(ConnectBody::default()));
    let body = connect_body(Some(raw(r#"{"device":"my phone\n","topics":["room.42","\u0061"]}"#))).unwrap();
    assert_eq!(body.device.as_deref(), Some("my phone\n"));
    assert_eq!(body.topics, ["room.42", "a"]);
    let long = format!(r#"{{"device":"{}"}}"#, "x".repeat(65));
    let bad = [
        "[]",
        "7",
        "\"x\"",
        r#"{"device":7}"#,
        r#"{"topics":{}}"#,
        r#"{"topics":["a b"]}"#,
        r#"{"topics":[7]}"#,
    ];
    for body in bad
        .into_iter()
        .chain([r#"{"topics":["a",""]}"#, r#"{"device":"a","device":"b"}"#, &long])
    {
        assert!(connect_body(Some(raw(body))).is_err(), "{body}");
    }
}

#[test]
fn topics_bodies() {
    assert_eq!(
        topics_body(Some(raw(r#"{"topics":["room.42","x"]}"#))).unwrap(),
        ["room.42", "x"]
    );
    assert!(topics_body(Some(raw(r#"{"topics":[]}"#))).unwrap().is_empty());
    let bad = [
        "null",
        "{}",
        "[]",
        r#"{"topics":null}"#,
        r#"{"topics":"a"}"#,
        r#"{"topics":["a",null]}"#,
    ];
    for body in bad.into_iter().chain([r#"{"topics":["a..b"]}"#, r#"{"topics":["*"]}"#]) {
        assert!(topics_body(Some(raw(body))).is_err(), "{body}");
    }
    assert!(topics_body(None).is_err());
}

#[test]
fn replies() {
    let frame = reply(Some("7"), "order/create", 200, r#"{"order":1}"#);
    assert_eq!(
        payload(&frame),
        r#"{"id":7,"path":"order/create","status":200,"body":{"order":1}}"#
    );
    assert_eq!(
        payload(&reply(None, "connect", 200, "{}")),
        r#"{"path":"connect","status":200,"body":{}}"#
    );
    let frame = error_reply(Some("\"q\""), Some("p"), ErrorCode::PathForbidden, "no \"p\"\n");
    assert_eq!(
        payload(&frame),
        r#"{"id":"q","path":"p","status":403,"error":{"code":"path_forbidden","message":"no \"p\"\n"}}"#
    );
    let frame = error_reply(Some(NULL_ID), None, ErrorCode::BadMessage, "not JSON");
    assert_eq!(
        payload(&frame),
        r#"{"id":null,"status":400,"error":{"code":"bad_message","message":"not JSON"}}"#
    );
    let body = format!("\"{}\"", "x".repeat(100_000));
    let frame = reply(Some("1"), "p", 207, &body);
    assert_eq!(
        serde_json::from_str::<Value>(payload(&frame)).unwrap()["body"]
            .as_str()
            .unwrap()
            .len(),
        100_000
    );
}

#[test]
fn replies_of_the_gateways_own_paths() {
    let body = Connected {
        user: "a\"b",
        connection: "0-1-2-3",
        node: "n1",
        expires_at: None,
        ping_ms: 25_000,
    };
    assert_eq!(
        payload(&connected(None, &body)),
        r#"{"path":"connect","status":200,"body":{"user":"a\"b","connection":"0-1-2-3","node":"n1","expires_at":null,"ping_ms":25000}}"#
    );
    assert_eq!(
        payload(&topics_reply(Some("1"), "subscribe", ["a", "room.42"])),
        r#"{"id":1,"path":"subscribe","status":200,"body":{"topics":["a","room.42"]}}"#
    );
    assert_eq!(
        payload(&topics_reply(Some("1"), "unsubscribe", [])),
        r#"{"id":1,"path":"unsubscribe","status":200,"body":{"topics":[]}}"#
    );
}

#[test]
fn pushes() {
    assert_eq!(
        push("order/paid", None, raw(r#"{"order": 1}"#)),
        br#"{"path":"order/paid","body":{"order": 1}}"#
    );
    assert_eq!(
        push("news", Some("room.42"), raw("\"hi\"")),
        br#"{"path":"news","topic":"room.42","body":"hi"}"#
    );
}

#[test]
fn every_error_code() {
    let table = "400 bad_message 401 not_connected 401 token_missing 401 token_invalid 401 token_expired \
                 401 token_not_yet_valid 403 path_forbidden 403 topic_forbidden 403 too_many_topics 403 user_mismatch \
                 404 no_handler 409 too_many_connections 413 reply_too_large 429 rate_limited 502 bad_reply \
                 503 bus_unavailable 503 overloaded 504 handler_timeout";
    let codes: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{} {}", code.status(), code.as_str()))
        .collect();
    assert_eq!(codes.join(" "), table);
}

proptest! {
    /// What serde_json reads as a value and what is read here agree on every field.
    #[test]
    fn agrees_with_a_plain_reading(
        path in prop_oneof!["[a-z/]{0,9}", any::<String>()],
        id in proptest::option::of(prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from), Just(json!(1.5)), Just(Value::Null)]),
        body in proptest::option::of(any::<String>()),
    ) {
        let mut value = json!({ "path": path });
        if let Some(id) = &id {
            value["id"] = id.clone();
        }
        if let Some(body) = &body {
            value["body"] = json!([body]);
        }
        let text = value.to_string();
        let id_text = id.as_ref().map(Value::to_string);
        let id_is_valid = match &id {
            None => true,
            Some(Value::String(id)) => id.len() <= 64,
            Some(id) => id.is_i64(),
        };
        match parse(&text) {
            Ok(message) => {
                prop_assert!(id_is_valid && valid_path(&path));
                prop_assert_eq!(message.path, path);
                prop_assert_eq!(message.id, id_text.as_deref());
                prop_assert_eq!(message.body.map(|body| body.get().to_owned()), body.map(|body| json!([body]).to_string()));
            }
            Err(Bad::Path { id }) => {
                prop_assert!(id_is_valid && !valid_path(&path));
                prop_assert_eq!(id, id_text.as_deref());
            }
            Err(Bad::Message(_)) => prop_assert!(!id_is_valid),
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// Whatever people are told, the reply is JSON.
    #[test]
    fn error_replies_are_json(message in any::<String>()) {
        let frame = error_reply(None, Some("p"), ErrorCode::Overloaded, &message);
        let value: Value = serde_json::from_str(payload(&frame)).unwrap();
        prop_assert_eq!(value, json!({"path": "p", "status": 503, "error": {"code": "overloaded", "message": message}}));
    }

    #[test]
    fn pushes_are_json(path in any::<String>(), topic in proptest::option::of(any::<String>()), body in any::<String>()) {
        let body = json!([body]);
        let text = push(&path, topic.as_deref(), raw(&body.to_string()));
        let mut expected = json!({ "path": path, "body": body });
        if let Some(topic) = topic {
            expected["topic"] = topic.into();
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }
}
