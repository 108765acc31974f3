//! Topics: what may be subscribed, what comes back, who gets a push.

use serde_json::json;

use crate::support::{Client, Gateway, Value, mint};

fn topics_token(user: &str, patterns: Value) -> String {
    mint(json!({"sub": user, "topics": patterns}))
}

/// Sends `subscribe` or `unsubscribe` and gives the topics of the 200: those that were there before come first.
#[track_caller]
fn change(client: &mut Client, path: &str, topics: Value) -> Vec<String> {
    let mut reply = client.call(json!({"path": path, "id": 5, "body": {"topics": topics}}));
    assert_eq!(
        (&reply["status"], &reply["id"], &reply["path"]),
        (&json!(200), &json!(5), &json!(path)),
        "{reply}"
    );
    serde_json::from_value(reply["body"]["topics"].take()).unwrap()
}

/// How many connections a push to the topic matches.
#[track_caller]
fn matched(gateway: &Gateway, topic: &str) -> Value {
    gateway.push(json!({"topic": topic}), "p", json!(topic))["matched"].clone()
}

#[test]
fn without_a_claim_and_a_setting_no_topic_may_be_subscribed() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    client.refused(
        json!({"path": "subscribe", "id": 1, "body": {"topics": ["t"]}}),
        403,
        "topic_forbidden",
    );
    assert!(change(&mut client, "subscribe", json!([])).is_empty());
}

#[test]
fn patterns_are_exact_or_open_ended() {
    let gateway = Gateway::start("");
    let mut client = Client::login_with(&gateway, &topics_token("u", json!(["news", "room.*"])), Value::Null);
    for topic in ["news", "room.1", "room.1.door"] {
        change(&mut client, "subscribe", json!([topic]));
    }
    for topic in ["news.x", "newsx", "room", "rooms", "x.room.1"] {
        client.refused(
            json!({"path": "subscribe", "id": 1, "body": {"topics": [topic]}}),
            403,
            "topic_forbidden",
        );
    }
}

#[test]
fn the_reply_lists_all_topics_of_now_and_the_api_does_too() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut client = Client::login(&gateway, "u");
    assert_eq!(change(&mut client, "subscribe", json!(["a", "b.c"])), ["a", "b.c"]);
    assert_eq!(
        change(&mut client, "subscribe", json!(["d", "a", "d"])),
        ["a", "b.c", "d"]
    );
    assert_eq!(
        change(&mut client, "subscribe", json!([])),
        ["a", "b.c", "d"],
        "an empty list changes nothing"
    );
    assert_eq!(change(&mut client, "unsubscribe", json!([])), ["a", "b.c", "d"]);
    assert_eq!(
        change(&mut client, "unsubscribe", json!(["b.c", "never.subscribed"])),
        ["a", "d"]
    );
    let by_api = |gateway: &Gateway| gateway.user("u")["connections"][0]["topics"].clone();
    assert_eq!(by_api(&gateway), json!(["a", "d"]));
    let more = json!(["z", "b.c", "y", "x"]);
    assert_eq!(
        change(&mut client, "subscribe", more),
        ["a", "d", "z", "b.c", "y", "x"],
        "in the order in which they were subscribed"
    );
    assert_eq!(
        change(&mut client, "unsubscribe", json!(["y", "a"])),
        ["d", "z", "b.c", "x"]
    );
    assert_eq!(by_api(&gateway), json!(["d", "z", "b.c", "x"]));
    assert!(change(&mut client, "unsubscribe", json!(["x", "z", "b.c"])).len() == 1);
    assert_eq!(change(&mut client, "subscribe", json!(["a"])), ["d", "a"]);
    assert!(change(&mut client, "unsubscribe", json!(["a", "d"])).is_empty());
}

#[test]
fn subscribe_is_all_or_nothing() {
    let gateway = Gateway::start("limits.topics_per_connection = 3");
    let mut client = Client::login_with(&gateway, &topics_token("u", json!(["a", "b", "c", "d"])), Value::Null);
    let refused = |topics: Value| json!({"path": "subscribe", "id": 1, "body": {"topics": topics}});
    client.refused(refused(json!(["a", "forbidden"])), 403, "topic_forbidden");
    client.refused(refused(json!(["a", "b", "c", "d"])), 403, "too_many_topics");
    client.refused(refused(json!(["a", "not a topic"])), 400, "bad_message");
    assert_eq!(change(&mut client, "subscribe", json!([])), Vec::<String>::new());
    assert_eq!(
        change(&mut client, "subscribe", json!(["a", "b", "c"])),
        ["a", "b", "c"]
    );
    client.refused(refused(json!(["d"])), 403, "too_many_topics");
    assert_eq!(
        change(&mut client, "subscribe", json!(["a", "c"])),
        ["a", "b", "c"],
        "these are there already"
    );
    assert_eq!(change(&mut client, "unsubscribe", json!(["a"])), ["b", "c"]);
    assert_eq!(change(&mut client, "subscribe", json!(["d"])), ["b", "c", "d"]);
}

#[test]
fn a_malformed_topic_or_body_is_400() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut client = Client::login(&gateway, "u");
    for path in ["subscribe", "unsubscribe"] {
        for topic in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "ä", "a.*", ">", "a\u{0}"] {
            client.refused(
                json!({"path": path, "id": 1, "body": {"topics": [topic]}}),
                400,
                "bad_message",
            );
        }
        for body in [
            json!(null),
            json!([]),
            json!({}),
            json!("a"),
            json!({"topics": "a"}),
            json!({"topics": [1]}),
        ] {
            client.refused(json!({"path": path, "id": 1, "body": body}), 400, "bad_message");
        }
        client.refused(json!({"path": path, "id": 1}), 400, "bad_message");
    }
    assert!(change(&mut client, "subscribe", json!([])).is_empty());
}

#[test]
fn a_push_reaches_each_subscriber_of_exactly_that_topic() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut clients: Vec<Client> = (0..6)
        .map(|i| Client::login(&gateway, &format!("u{}", i / 2)))
        .collect();
    for client in &mut clients[..4] {
        change(client, "subscribe", json!(["room.42"]));
    }
    change(&mut clients[4], "subscribe", json!(["room.42.x", "room", "room.4"]));
    let counts = gateway.push(json!({"topic": "room.42"}), "news", json!("hi"));
    assert_eq!(
        counts,
        json!({"matched": 4, "queued": 4, "dropped": 0, "nodes": {"asked": 1, "answered": 1}})
    );
    for client in &mut clients[..4] {
        assert_eq!(client.json(), json!({"path": "news", "topic": "room.42", "body": "hi"}));
    }
    clients.iter_mut().for_each(Client::fence);
}

#[test]
fn who_has_unsubscribed_or_gone_gets_nothing() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut stays = Client::login_with(&gateway, &crate::support::token("a"), json!({"topics": ["t"]}));
    let mut leaves = Client::login_with(&gateway, &crate::support::token("b"), json!({"topics": ["t"]}));
    let goes = Client::login_with(&gateway, &crate::support::token("c"), json!({"topics": ["t"]}));
    assert_eq!(matched(&gateway, "t"), 3);
    change_after_push(&mut leaves);
    goes.close();
    gateway.wait_connections("c", 0);
    assert_eq!(matched(&gateway, "t"), 1);
    assert_eq!(stays.json()["body"], "t");
    assert_eq!(stays.json()["body"], "t");
    leaves.fence();
    assert_eq!(matched(&gateway, "nobody.ever"), 0);
}

/// Takes the push that is on its way, then unsubscribes.
#[track_caller]
fn change_after_push(client: &mut Client) {
    assert_eq!(client.json()["topic"], "t");
    assert!(change(client, "unsubscribe", json!(["t"])).is_empty());
}

#[test]
fn topics_survive_a_later_token_of_the_same_user() {
    let gateway = Gateway::start("");
    let token = topics_token("u", json!(["t"]));
    let mut client = Client::login_with(&gateway, &token, json!({"topics": ["t"]}));
    client.connect(&token, Value::Null);
    assert_eq!(matched(&gateway, "t"), 1);
}
