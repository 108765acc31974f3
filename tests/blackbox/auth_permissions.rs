//! What a login may do: paths, topics, devices, and how a later token changes it.

use serde_json::json;

use crate::support::{Client, Gateway, Value, mint, token};

/// Whether this client may send that path (a node without NATS answers 404 where it may).
#[track_caller]
fn may_send(client: &mut Client, path: &str) -> bool {
    let reply = client.call(json!({"path": path, "id": 1}));
    match (reply["status"].as_u64(), reply["error"]["code"].as_str()) {
        (Some(404), Some("no_handler")) => true,
        (Some(403), Some("path_forbidden")) => false,
        _ => panic!("{path}: {reply}"),
    }
}

fn with_paths(paths: Value) -> String {
    mint(json!({"sub": "u", "paths": paths}))
}

#[test]
fn without_the_claim_and_without_a_setting_every_path_may_be_sent() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    assert!(may_send(&mut client, "anything/at/all"));
}

#[test]
fn default_paths_hold_for_a_token_without_the_claim() {
    let gateway = Gateway::start("auth.default_paths = [\"order/*\", \"exact\"]");
    let mut client = Client::login(&gateway, "u");
    for (path, allowed) in [
        ("order/create", true),
        ("order/a/b", true),
        ("exact", true),
        ("exact/x", false),
        ("order", false),
        ("x", false),
    ] {
        assert_eq!(may_send(&mut client, path), allowed, "{path}");
    }
    let mut claims = Client::login_with(&gateway, &with_paths(json!(["x"])), Value::Null);
    assert!(may_send(&mut claims, "x"), "the claim stands instead of the setting");
    assert!(!may_send(&mut claims, "order/create"));
}

#[test]
fn the_claim_paths_is_a_list_of_exact_and_open_ended_patterns() {
    let gateway = Gateway::start("");
    let mut client = Client::login_with(&gateway, &with_paths(json!(["a", "b/*", "c*"])), Value::Null);
    for (path, allowed) in [
        ("a", true),
        ("a/b", false),
        ("aa", false),
        ("b", false),
        ("b/x", true),
        ("b/x/y", true),
        ("c", true),
        ("cats/x", true),
        ("d", false),
    ] {
        assert_eq!(may_send(&mut client, path), allowed, "{path}");
    }
}

#[test]
fn the_gateways_own_paths_are_always_allowed() {
    let gateway = Gateway::start("auth.default_topics = [\"t\"]");
    let mut client = Client::login_with(&gateway, &with_paths(json!([])), Value::Null);
    assert!(!may_send(&mut client, "a"));
    client.fence();
    for path in ["subscribe", "unsubscribe"] {
        assert_eq!(
            client.call(json!({"path": path, "id": 1, "body": {"topics": ["t"]}}))["status"],
            200,
            "{path}"
        );
    }
    client.connect(&with_paths(json!([])), Value::Null);
}

#[test]
fn a_forbidden_path_without_an_id_is_not_answered() {
    let gateway = Gateway::start("");
    let mut client = Client::login_with(&gateway, &with_paths(json!([])), Value::Null);
    client.send(json!({"path": "a"}));
    client.fence();
}

#[test]
fn a_malformed_claim_of_permissions_grants_nothing() {
    let gateway = Gateway::start("");
    for paths in [json!("*"), json!({"*": true}), json!([["*"]]), json!(7)] {
        let mut client = Client::open(&gateway);
        let reply = client.call(json!({"path": "order/create", "id": 1, "token": with_paths(paths.clone())}));
        assert!(reply["status"] == 401 || reply["status"] == 403, "{paths}: {reply}");
    }
}

#[test]
fn a_later_tokens_permissions_hold_for_what_follows() {
    let gateway = Gateway::start("");
    let token = |paths: Value, topics: Value| mint(json!({"sub": "u", "paths": paths, "topics": topics}));
    let mut client = Client::login_with(&gateway, &token(json!(["a"]), json!(["t"])), Value::Null);
    assert!(may_send(&mut client, "a") && !may_send(&mut client, "b"));
    client.connect(&token(json!(["b"]), json!([])), Value::Null);
    assert!(may_send(&mut client, "b") && !may_send(&mut client, "a"));
    client.refused(
        json!({"path": "subscribe", "id": 1, "body": {"topics": ["t"]}}),
        403,
        "topic_forbidden",
    );
    let with_token = json!({"path": "a", "id": 1, "token": token(json!(["a"]), json!(["t"]))});
    client.refused(with_token, 404, "no_handler");
    assert!(may_send(&mut client, "a"));
}

#[test]
fn the_device_comes_from_connect_and_a_claim_wins() {
    let gateway = Gateway::start("");
    let device = |user: &str| gateway.user(user)["connections"][0]["device"].clone();
    let _a = Client::login_with(&gateway, &token("a"), json!({"device": "phone"}));
    assert_eq!(device("a"), "phone");
    let claim = mint(json!({"sub": "b", "device": "claimed"}));
    let _b = Client::login_with(&gateway, &claim, json!({"device": "phone"}));
    assert_eq!(device("b"), "claimed");
    let _c = Client::login(&gateway, "c");
    assert_eq!(device("c"), Value::Null);
    let mut d = Client::open(&gateway);
    d.send(json!({"path": "ping", "id": 1, "token": mint(json!({"sub": "d", "device": "claimed"}))}));
    assert_eq!(d.json()["status"], 200);
    assert_eq!(device("d"), "claimed");
}

#[test]
fn a_malformed_device_is_400_and_the_client_is_not_connected() {
    let gateway = Gateway::start("");
    for device in [json!("x".repeat(65)), json!(7), json!(["x"]), json!({})] {
        let mut client = Client::open(&gateway);
        let message = json!({"path": "connect", "id": 1, "token": token("u"), "body": {"device": device}});
        client.refused(message, 400, "bad_message");
        client.refused(json!({"path": "ping", "id": 2}), 401, "not_connected");
        client.connect(&token("u"), json!({"device": "x".repeat(64)}));
        client.close();
    }
}

#[test]
fn topics_may_be_subscribed_with_connect() {
    let gateway = Gateway::start("auth.default_topics = [\"room.*\", \"news\"]");
    let mut client = Client::login_with(&gateway, &token("u"), json!({"topics": ["room.1", "news"]}));
    assert_eq!(gateway.push(json!({"topic": "room.1"}), "p", json!(1))["matched"], 1);
    assert_eq!(client.json(), json!({"path": "p", "topic": "room.1", "body": 1}));
}

#[test]
fn a_forbidden_or_malformed_topic_in_connect_leaves_the_client_unconnected() {
    let gateway = Gateway::start("auth.default_topics = [\"room.*\"]\nlimits.topics_per_connection = 2");
    let cases = [
        (json!(["room.1", "secret"]), 403, "topic_forbidden"),
        (json!(["room.1", "room..2"]), 400, "bad_message"),
        (json!(["room.1", 7]), 400, "bad_message"),
        (json!("room.1"), 400, "bad_message"),
        (json!(["room.1", "room.2", "room.3"]), 403, "too_many_topics"),
    ];
    for (topics, status, code) in cases {
        let mut client = Client::open(&gateway);
        let message = json!({"path": "connect", "id": 1, "token": token("u"), "body": {"topics": topics}});
        client.refused(message, status, code);
        client.refused(json!({"path": "ping", "id": 2}), 401, "not_connected");
    }
    assert_eq!(gateway.user("u")["online"], false);
    assert_eq!(gateway.push(json!({"topic": "room.1"}), "p", json!(1))["matched"], 0);
}

#[test]
fn those_refusals_do_not_count_as_refused_tokens() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    for _ in 0..5 {
        let message = json!({"path": "connect", "id": 1, "token": token("u"), "body": {"device": 7}});
        client.refused(message, 400, "bad_message");
    }
    client.connect(&token("u"), Value::Null);
    client.fence();
}
