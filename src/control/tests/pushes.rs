//! `/v1/push` and `/v1/push/batch`.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::fake::{Node, settings};

fn report(matched: u64, dropped: u64) -> serde_json::Value {
    let queued = matched - dropped;
    json!({ "matched": matched, "queued": queued, "dropped": dropped, "nodes": { "asked": 1, "answered": 1 } })
}

#[test]
fn a_push_reaches_every_connection_of_its_audience() {
    let node = Node::start(settings());
    let (a1, b, a2) = (
        node.login("a", &["room.1"]),
        node.login("b", &["room.1"]),
        node.login("a", &[]),
    );

    let answer = node.post(
        "/v1/push",
        r#"{"to":{"user":"a"},"path":"order/paid","body":{"n":1.50}}"#,
    );
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.json(), report(2, 0));
    assert_eq!(node.frames(a1), [r#"{"path":"order/paid","body":{"n":1.50}}"#]);
    assert_eq!(node.frames(a2), node.frames(a1));
    assert!(node.frames(b).is_empty());

    let twice = node.post("/v1/push", r#"{"to":{"users":["b","a","b","a"]},"path":"p","body":1}"#);
    assert_eq!(twice.json(), report(3, 0));
    let topic = node.post("/v1/push", r#"{"to":{"topic":"room.1"},"path":"news","body":"hi"}"#);
    assert_eq!(topic.json(), report(2, 0));
    let all = node.post("/v1/push", r#"{"to":{"all":true},"path":"p"}"#);
    assert_eq!(all.json(), report(3, 0));
    let frames = [
        r#"{"path":"p","body":1}"#,
        r#"{"path":"news","topic":"room.1","body":"hi"}"#,
        r#"{"path":"p","body":null}"#,
    ];
    assert_eq!(node.frames(b), frames);
    assert_eq!(node.counters.pushes_api.get(), 4);
}

#[test]
fn an_offline_user_is_matched_zero_and_a_full_queue_is_dropped() {
    let node = Node::start(settings());
    assert_eq!(
        node.post("/v1/push", r#"{"to":{"user":"nobody"},"path":"p"}"#).json(),
        report(0, 0)
    );
    node.login("a", &[]);
    node.login("a", &[]);
    node.world().connections[0].stuck = true;
    assert_eq!(
        node.post("/v1/push", r#"{"to":{"user":"a"},"path":"p"}"#).json(),
        report(2, 1)
    );
    assert_eq!(
        node.post("/v1/push", r#"{"to":{"users":[]},"path":"p"}"#).json(),
        report(0, 0)
    );
}

#[test]
fn a_batch_is_pushed_in_its_order() {
    let node = Node::start(settings());
    let a = node.login("a", &["t"]);
    let pushes: Vec<_> = (0..1000)
        .map(|n| match n % 3 {
            0 => json!({ "to": { "user": "a" }, "path": "p", "body": n }),
            1 => json!({ "to": { "topic": "t" }, "path": "p", "body": n }),
            _ => json!({ "to": { "user": "nobody" }, "path": "p", "body": n }),
        })
        .collect();
    let answer = node.post("/v1/push/batch", &json!({ "pushes": pushes }).to_string());
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 1000);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(*result, report(u64::from(n % 3 != 2), 0));
    }
    let bodies: Vec<_> = (0..1000).filter(|n| n % 3 != 2).collect();
    let got: Vec<_> = node
        .frames(a)
        .iter()
        .map(|text| {
            serde_json::from_str::<serde_json::Value>(text).unwrap()["body"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(got, bodies);
    assert_eq!(
        node.post("/v1/push/batch", r#"{"pushes":[]}"#).json(),
        json!({ "results": [] })
    );
}

#[test]
fn an_invalid_push_refuses_its_batch_and_names_itself() {
    let node = Node::start(settings());
    let a = node.login("a", &[]);
    let body = r#"{"pushes":[{"to":{"user":"a"},"path":"p"},{"to":{"user":"a"},"path":"no good"}]}"#;
    let answer = node.post("/v1/push/batch", body);
    let (code, detail) = answer.problem(400);
    assert_eq!(
        (code.as_str(), answer.json()["index"].as_u64()),
        ("bad_request", Some(1))
    );
    assert!(detail.starts_with("pushes[1]: path"), "{detail}");
    assert!(node.frames(a).is_empty());

    let big = "x".repeat(300_000);
    let body = format!(r#"{{"pushes":[{{"to":{{"user":"a"}},"path":"p","body":"{big}"}}]}}"#);
    assert_eq!(node.post("/v1/push/batch", &body).problem(400).0, "too_large");
    let one = r#"{"to":{"user":"a"},"path":"p"}"#;
    let many = format!(r#"{{"pushes":[{}]}}"#, [one; 1001].join(","));
    node.post("/v1/push/batch", &many).problem(400);
}

#[test]
fn what_is_no_push_is_400_and_says_why() {
    let node = Node::start(settings());
    for (body, code, says) in [
        ("", "bad_json", "EOF"),
        ("{", "bad_json", "line 1 column 1"),
        (r#"{"to":{"user":"a"},"path":"p"} x"#, "bad_json", "line 1 column 32"),
        ("\u{feff}{}", "bad_json", "line 1"),
        ("[]", "bad_request", ""),
        (r#"{"path":"p"}"#, "bad_request", "`to`"),
        (r#"{"to":{"user":"a"}}"#, "bad_request", "`path`"),
        (r#"{"to":{},"path":"p"}"#, "bad_request", "exactly one"),
        (r#"{"to":{"all":false},"path":"p"}"#, "bad_request", "exactly one"),
        (
            r#"{"to":{"user":"a","all":true},"path":"p"}"#,
            "bad_request",
            "exactly one",
        ),
        (r#"{"to":{"user":7},"path":"p"}"#, "bad_request", "line 1"),
        (r#"{"to":{"user":""},"path":"p"}"#, "bad_request", "to.user"),
        (r#"{"to":{"users":["a",""]},"path":"p"}"#, "bad_request", "to.users[1]"),
        (r#"{"to":{"topic":"a..b"},"path":"p"}"#, "bad_request", "to.topic"),
        (r#"{"to":{"user":"a"},"path":""}"#, "bad_request", "path"),
        (r#"{"to":{"user":"a"},"path":"a//b"}"#, "bad_request", "path"),
    ] {
        let (got, detail) = node.post("/v1/push", body).problem(400);
        assert_eq!(got, code, "{body}");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let long = format!(r#"{{"to":{{"user":"{}"}},"path":"p"}}"#, "é".repeat(65));
    node.post("/v1/push", &long).problem(400);
    let many = json!({ "to": { "users": (0..10_001).map(|n| format!("u{n}")).collect::<Vec<_>>() }, "path": "p" });
    node.post("/v1/push", &many.to_string()).problem(400);
    assert_eq!(node.counters.pushes_api.get(), 0);
}

#[test]
fn push_bytes_is_the_limit_of_the_message_not_of_the_request() {
    let mut settings = settings();
    settings.limits.push_bytes = 100;
    let node = Node::start(settings);
    let frame = r#"{"path":"p","body":""}"#.len();
    let push = |bytes: usize, spaces: usize| {
        let (body, space) = ("x".repeat(bytes), " ".repeat(spaces));
        node.post(
            "/v1/push",
            &format!(r#"{{{space}"to":{{"user":"a"}},"path":"p","body":"{body}"}}"#),
        )
    };
    assert_eq!(push(100 - frame, 10_000).status, 200);
    assert_eq!(push(101 - frame, 0).problem(413).0, "too_large");
    assert_eq!(push(4_000_000, 0).problem(413).0, "too_large");
}

#[test]
fn a_full_inbox_is_503_with_retry_after() {
    let node = Node::start(settings());
    node.login("a", &[]);
    node.full.store(true, Ordering::SeqCst);
    let answer = node.post("/v1/push", r#"{"to":{"user":"a"},"path":"p"}"#);
    assert_eq!(answer.problem(503).0, "overloaded");
    assert_eq!(answer.headers["retry-after"], "1");
    node.full.store(false, Ordering::SeqCst);
    assert_eq!(
        node.post("/v1/push", r#"{"to":{"user":"a"},"path":"p"}"#).json(),
        report(1, 0)
    );
}
