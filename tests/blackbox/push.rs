//! `POST /v1/push` and `/v1/push/batch`: who gets what, what is counted, what is refused.

use serde_json::json;

use crate::support::http::try_request;
use crate::support::{Client, Gateway, Value, token};

fn counts(matched: u64) -> Value {
    json!({"matched": matched, "queued": matched, "dropped": 0, "nodes": {"asked": 1, "answered": 1}})
}

#[test]
fn a_push_to_a_user_reaches_each_of_the_users_connections() {
    let gateway = Gateway::start("");
    let mut phones: Vec<Client> = (0..4).map(|_| Client::login(&gateway, "anna")).collect();
    let mut other = Client::login(&gateway, "berta");
    let _stranger = Client::open(&gateway);
    assert_eq!(
        gateway.push(json!({"user": "anna"}), "order/paid", json!({"order": 1})),
        counts(4)
    );
    for phone in &mut phones {
        assert_eq!(phone.json(), json!({"path": "order/paid", "body": {"order": 1}}));
        phone.fence();
    }
    other.fence();
}

#[test]
fn a_push_to_somebody_offline_matches_nobody() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.push(json!({"user": "nobody"}), "p", json!(1)), counts(0));
    assert_eq!(
        gateway.push(json!({"users": ["nobody", "no one"]}), "p", json!(1)),
        counts(0)
    );
    assert_eq!(gateway.push(json!({"users": []}), "p", json!(1)), counts(0));
    assert_eq!(gateway.push(json!({"all": true}), "p", json!(1)), counts(0));
    Client::login(&gateway, "short").close();
    gateway.wait_connections("short", 0);
    assert_eq!(gateway.push(json!({"user": "short"}), "p", json!(1)), counts(0));
}

#[test]
fn a_user_named_twice_gets_it_once() {
    let gateway = Gateway::start("");
    let mut a = Client::login(&gateway, "a");
    let mut b = Client::login(&gateway, "b");
    let mut c = Client::login(&gateway, "c");
    assert_eq!(
        gateway.push(json!({"users": ["a", "b", "a", "nobody", "a"]}), "p", json!(1)),
        counts(2)
    );
    assert_eq!(a.json(), json!({"path": "p", "body": 1}));
    assert_eq!(b.json(), json!({"path": "p", "body": 1}));
    a.fence();
    b.fence();
    c.fence();
}

#[test]
fn a_push_to_all_reaches_every_authenticated_connection_and_no_other() {
    let gateway = Gateway::start("");
    let mut clients: Vec<Client> = (0..20).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    let mut stranger = Client::open(&gateway);
    assert_eq!(gateway.push(json!({"all": true}), "p", json!("hello")), counts(20));
    for client in &mut clients {
        assert_eq!(client.json(), json!({"path": "p", "body": "hello"}));
    }
    stranger.connect(&token("late"), Value::Null);
    stranger.fence();
}

#[test]
fn a_body_arrives_as_it_was_sent_and_none_is_null() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    for body in [
        r#"{"a":[1,2,{"b":null}],"c":"κόσμε \"\\\n"}"#,
        "12345678901234567890123",
        "1.50",
        "\"\"",
        "[]",
        "false",
        "null",
    ] {
        let push = format!(r#"{{"to":{{"user":"u"}},"path":"p","body":{body}}}"#);
        assert_eq!(gateway.request("POST", "/v1/push", Some(&push)).ok(), counts(1));
        let text = client.text();
        assert!(text.contains(&format!("\"body\":{body}")), "{body}: {text}");
    }
    assert_eq!(
        gateway.post("/v1/push", json!({"to": {"user": "u"}, "path": "p"})).ok(),
        counts(1)
    );
    assert_eq!(client.json(), json!({"path": "p", "body": null}));
}

#[test]
fn pushes_of_one_caller_arrive_in_order() {
    let gateway = Gateway::start("");
    let mut clients: Vec<Client> = (0..4).map(|_| Client::login(&gateway, "u")).collect();
    for n in 0..300 {
        let to = if n % 2 == 0 {
            json!({"user": "u"})
        } else {
            json!({"all": true})
        };
        assert_eq!(gateway.push(to, "p", json!(n)), counts(4));
    }
    for client in &mut clients {
        for n in 0..300 {
            assert_eq!(client.json()["body"], n);
        }
    }
}

const INVALID: [&str; 17] = [
    "",
    "nonsense",
    "[]",
    "{}",
    r#"{"path":"p","body":1}"#,
    r#"{"to":{},"path":"p"}"#,
    r#"{"to":"u","path":"p"}"#,
    r#"{"to":{"user":7},"path":"p"}"#,
    r#"{"to":{"users":"u"},"path":"p"}"#,
    r#"{"to":{"user":"u","all":true},"path":"p"}"#,
    r#"{"to":{"nobody":"u"},"path":"p"}"#,
    r#"{"to":{"all":false},"path":"p"}"#,
    r#"{"to":{"topic":"a..b"},"path":"p"}"#,
    r#"{"to":{"user":"u"}}"#,
    r#"{"to":{"user":"u"},"path":7}"#,
    r#"{"to":{"user":"u"},"path":"a b"}"#,
    r#"{"to":{"user":"u"},"path":""}"#,
];

#[test]
fn an_invalid_push_is_a_400_problem_and_reaches_nobody() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    for push in INVALID {
        let reply = gateway.request("POST", "/v1/push", Some(push));
        assert_eq!((reply.status, push), (400, push), "{reply:?}");
        let detail = reply.problem(400);
        assert!(
            !detail.contains("struct"),
            "{detail} is of the program, not of the request"
        );
    }
    client.fence();
}

#[test]
fn a_push_over_push_bytes_is_413() {
    let gateway = Gateway::start("limits.push_bytes = \"2KiB\"");
    let mut client = Client::login(&gateway, "u");
    assert_eq!(
        gateway.push(json!({"user": "u"}), "p", json!("x".repeat(1900))),
        counts(1)
    );
    assert_eq!(client.json()["path"], "p");
    for size in [2049, 100_000, 10_000_000] {
        let push = json!({"to": {"user": "u"}, "path": "p", "body": "x".repeat(size)}).to_string();
        // A body this much over may be cut off by the gateway before it is sent whole.
        match try_request("POST", &gateway.url("/v1/push"), None, Some(&push)) {
            Ok(reply) => drop(reply.problem(413)),
            Err(e) => assert!(size > 1_000_000, "{size}: {e}"),
        }
    }
    client.fence();
}

#[test]
fn a_batch_gives_one_result_each_in_order() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut a = Client::login_with(&gateway, &token("a"), json!({"topics": ["t"]}));
    let mut b = Client::login(&gateway, "b");
    let pushes = json!([
        {"to": {"user": "a"}, "path": "one", "body": 1},
        {"to": {"user": "nobody"}, "path": "two"},
        {"to": {"all": true}, "path": "three", "body": 3},
        {"to": {"topic": "t"}, "path": "four", "body": 4},
        {"to": {"users": ["a", "b"]}, "path": "five", "body": 5},
    ]);
    let results = gateway.post("/v1/push/batch", json!({"pushes": pushes})).ok();
    assert_eq!(
        results,
        json!({"results": [counts(1), counts(0), counts(2), counts(1), counts(2)]})
    );
    assert_eq!(a.json(), json!({"path": "one", "body": 1}));
    assert_eq!(a.json(), json!({"path": "three", "body": 3}));
    assert_eq!(a.json(), json!({"path": "four", "topic": "t", "body": 4}));
    assert_eq!(a.json(), json!({"path": "five", "body": 5}));
    assert_eq!(b.json(), json!({"path": "three", "body": 3}));
    assert_eq!(b.json(), json!({"path": "five", "body": 5}));
    assert_eq!(
        gateway.post("/v1/push/batch", json!({"pushes": []})).ok(),
        json!({"results": []})
    );
}

#[test]
fn a_batch_takes_a_thousand_and_no_more() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let batch = |n: usize| {
        let pushes: Vec<Value> = (0..n)
            .map(|i| json!({"to": {"user": "u"}, "path": "p", "body": i}))
            .collect();
        gateway.post("/v1/push/batch", json!({"pushes": pushes}))
    };
    let results = batch(1000).ok();
    assert_eq!(results["results"].as_array().unwrap().len(), 1000);
    assert!(
        results["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| *result == counts(1))
    );
    for i in 0..1000 {
        assert_eq!(client.json()["body"], i);
    }
    batch(1001).problem(400);
    client.fence();
}

#[test]
fn one_invalid_push_refuses_the_whole_batch_and_names_its_index() {
    let gateway = Gateway::start("limits.push_bytes = \"2KiB\"");
    let mut client = Client::login(&gateway, "u");
    let good = json!({"to": {"user": "u"}, "path": "p", "body": 1});
    for bad in [
        json!({"to": {"user": "u"}, "path": "a b"}),
        json!({"to": {"user": "u", "all": true}, "path": "p"}),
        json!({"path": "p"}),
        json!(7),
    ] {
        let mut pushes = vec![good.clone(); 50];
        pushes[37] = bad.clone();
        let text = gateway.post("/v1/push/batch", json!({"pushes": pushes})).problem(400);
        assert!(text.contains("37"), "{bad}: {text}");
    }
    for body in [json!({}), json!([]), json!({"pushes": {}}), json!({"pushes": null})] {
        gateway.post("/v1/push/batch", body).problem(400);
    }
    client.fence();
}

#[test]
fn pushes_while_clients_come_and_go_are_counted_truly() {
    let gateway = Gateway::start("");
    let mut stays = Client::login(&gateway, "u");
    for n in 0..50 {
        let comes = Client::login(&gateway, "u");
        assert_eq!(gateway.push(json!({"user": "u"}), "p", json!(n)), counts(2));
        comes.close();
        gateway.wait_connections("u", 1);
        assert_eq!(stays.json()["body"], n);
    }
}

#[test]
fn a_push_to_a_thousand_users_by_name_reaches_those_that_are_there() {
    let gateway = Gateway::start("");
    let mut clients: Vec<Client> = (0..100).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    let users: Vec<String> = (0..1000).map(|i| format!("u{i}")).collect();
    assert_eq!(gateway.push(json!({"users": users}), "p", json!(1)), counts(100));
    for client in &mut clients {
        assert_eq!(client.json(), json!({"path": "p", "body": 1}));
        client.fence();
    }
}

#[test]
fn an_array_is_no_push() {
    let gateway = Gateway::start("");
    for body in [r#"[{"user":"u"},"p",1]"#, r#"[]"#] {
        gateway.request("POST", "/v1/push", Some(body)).problem(400);
    }
    let batch = r#"{"pushes":[[{"user":"u"},"p",1]]}"#;
    gateway.request("POST", "/v1/push/batch", Some(batch)).problem(400);
}
