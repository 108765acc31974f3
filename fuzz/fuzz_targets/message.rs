//! A text is read as a message where serde_json's plain reading says that it is one, with the same fields; the replies to
//! it are JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire::protocol::message::{
    Bad, ErrorCode, Incoming, Token, connect_body, error_reply, parse, push, reply, topics_body, valid_path,
};
use longwire::protocol::subject::valid_topic;
use serde_json::Value;

fuzz_target!(|text: &str| check(text));

fn check(text: &str) {
    let result = parse(text);
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        if let Ok(message) = &result {
            check_fields(message, &value);
        }
        // Written out again it has no field twice: then what it must be is plain.
        check_plain(&value.to_string());
    }
    match result {
        Ok(message) => check_answers(&message),
        Err(Bad::Path { id }) => assert_json(payload(&error_reply(id, None, ErrorCode::BadMessage, text))),
        Err(Bad::Message(what)) => assert_json(payload(&error_reply(Some("null"), None, ErrorCode::BadMessage, what))),
    }
}

/// Whether `text` is a message, said a second time and in another way.
fn check_plain(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap();
    let result = parse(text);
    let path = value
        .as_object()
        .and_then(|fields| fields.get("path"))
        .and_then(Value::as_str);
    let id_is_valid = match value.get("id") {
        None => true,
        Some(Value::String(id)) => id.len() <= 64,
        Some(id) => id.is_i64() || id.is_u64(),
    };
    match path {
        Some(path) if id_is_valid && valid_path(path) => check_fields(&result.unwrap(), &value),
        Some(_) if id_is_valid => assert!(matches!(result, Err(Bad::Path { .. }))),
        _ => assert!(matches!(result, Err(Bad::Message(_)))),
    }
}

fn check_fields(message: &Incoming<'_>, value: &Value) {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(Some(&*message.path), value["path"].as_str());
    assert_eq!(message.id.map(read).as_ref(), value.get("id"));
    let body = message.body.map_or(Value::Null, |body| read(body.get()));
    assert_eq!(body, value.get("body").cloned().unwrap_or_default());
    match &message.token {
        Token::Absent => assert!(value.get("token").is_none_or(Value::is_null)),
        Token::Text(token) => assert_eq!(Some(&**token), value["token"].as_str()),
        Token::NotAString => assert!(!value["token"].is_string()),
    }
}

fn check_answers(message: &Incoming<'_>) {
    assert!(valid_path(&message.path));
    assert_json(payload(&error_reply(
        message.id,
        Some(&message.path),
        ErrorCode::NoHandler,
        &message.path,
    )));
    if let Some(body) = message.body {
        let frame = reply(message.id, &message.path, 200, body.get());
        assert!(payload(&frame).len() > body.get().len());
        let text = push(&message.path, Some(&message.path), body);
        // Deeper than serde_json reads values, a body is still passed on as it is.
        if serde_json::from_str::<Value>(body.get()).is_ok() {
            assert_json(payload(&frame));
            assert_json(std::str::from_utf8(&text).unwrap());
        }
    }
    if let Ok(body) = connect_body(message.body) {
        assert!(body.device.is_none_or(|device| (1..=64).contains(&device.len())));
        assert!(body.topics.iter().all(|topic| valid_topic(topic)));
    }
    if let Ok(topics) = topics_body(message.body) {
        assert!(topics.iter().all(|topic| valid_topic(topic)));
    }
}

fn assert_json(text: &str) {
    // What is nested deeper than 128 was nested so before.
    if let Err(error) = serde_json::from_str::<Value>(text) {
        assert!(error.to_string().starts_with("recursion limit"), "{text}: {error}");
    }
}

/// What a server's text frame carries.
fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81);
    let start = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    std::str::from_utf8(&frame[start..]).unwrap()
}
