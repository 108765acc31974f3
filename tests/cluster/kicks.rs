//! Kicks over the bus and by the API of another node, and who is where over all nodes.

use serde_json::json;

use crate::nats::encode;
use crate::nodes::Cluster;
use crate::support::{Client, Value, mint, now_s, token};

#[test]
fn a_kick_closes_all_connections_of_the_user_on_every_node() {
    let cluster = Cluster::start(3, "");
    let mut anna = cluster.login_everywhere("anna");
    anna.extend(cluster.login_everywhere("anna"));
    let mut others = cluster.login_everywhere("berta");
    let mut bus = cluster.bus();
    bus.publish("longwire.kick.user.anna", "");
    for client in &mut anna {
        assert_eq!(client.closed().0, 4403);
    }
    bus.publish("longwire.kick.user.anna", "");
    bus.publish("longwire.push.all", r#"{"path":"end"}"#);
    for client in &mut others {
        assert_eq!(client.json()["path"], "end");
    }
    for node in &cluster.nodes {
        node.wait_connections("anna", 0);
        crate::support::wait_until("the kicks to be counted", || node.closed_for("kicked") == 2.0);
    }
}

#[test]
fn a_kick_may_bring_its_own_code_and_reason() {
    let cluster = Cluster::start(2, "");
    let mut bus = cluster.bus();
    let user = "a.b@c ü";
    for (payload, code, reason) in [
        (r#"{"code":4000,"reason":"bye"}"#, 4000, Some("bye")),
        (r#"{"code":1000}"#, 1000, None),
        (r#"{"code":1008,"reason":"κόσμε"}"#, 1008, Some("κόσμε")),
        (r#"{"code":3000,"reason":""}"#, 3000, Some("")),
        (r#"{"code":4999}"#, 4999, None),
        (r#"{"reason":"only why"}"#, 4403, Some("only why")),
        (" {\"reason\" : \"x\", \"more\": 1}\n", 4403, Some("x")),
        ("{}", 4403, None),
    ] {
        let mut clients = cluster.login_everywhere(user);
        bus.publish(&format!("longwire.kick.user.{}", encode(user)), payload);
        for client in &mut clients {
            let (got, text) = client.closed();
            assert_eq!(got, code, "{payload}");
            if let Some(reason) = reason {
                assert_eq!(text, reason, "{payload}");
            }
        }
    }
}

#[test]
fn a_kick_with_a_code_that_may_not_be_sent_is_4403() {
    let cluster = Cluster::start(1, "");
    let mut bus = cluster.bus();
    for code in [
        0, 1, 999, 1001, 1002, 1004, 1005, 1006, 1011, 1012, 1015, 2999, 5000, 65_535,
    ] {
        let mut client = Client::login(&cluster.nodes[0], "u");
        bus.publish("longwire.kick.user.u", json!({"code": code, "reason": "r"}).to_string());
        assert_eq!(client.closed(), (4403, "r".into()), "{code}");
    }
}

#[test]
fn a_kick_that_is_hard_to_read_is_a_kick_all_the_same() {
    let cluster = Cluster::start(1, "");
    let mut bus = cluster.bus();
    let payloads: [&[u8]; 11] = [
        b"nonsense",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff",
        br#"{"code":"4000"}"#,
        br#"{"code":4000.5}"#,
        br#"{"code":-4000}"#,
        br#"{"code":69536}"#,
        br#"{"reason":7}"#,
    ];
    for payload in payloads {
        let mut client = Client::login(&cluster.nodes[0], "u");
        bus.publish("longwire.kick.user.u", payload);
        assert_eq!(client.closed().0, 4403, "{payload:?}");
    }
    // A close frame has room for 123 bytes of reason.
    for reason in ["x".repeat(1000), "ü".repeat(62), "😀".repeat(40)] {
        let mut client = Client::login(&cluster.nodes[0], "u");
        bus.publish(
            "longwire.kick.user.u",
            json!({"code": 4000, "reason": reason}).to_string(),
        );
        let (code, text) = client.closed();
        assert_eq!(code, 4000);
        assert!(text.len() <= 123 && reason.starts_with(&text), "{text}");
    }
}

#[test]
fn a_kick_with_a_reply_subject_is_answered_by_every_node() {
    let cluster = Cluster::start(3, "");
    let mut clients = [
        Client::login(&cluster.nodes[0], "u"),
        Client::login(&cluster.nodes[0], "u"),
        Client::login(&cluster.nodes[2], "u"),
    ];
    let mut bus = cluster.bus();
    let mut answers = bus.request_many("longwire.kick.user.u", "", 3);
    answers.sort_by_key(|answer| answer["node"].to_string());
    assert_eq!(
        answers,
        [
            json!({"node": "n1", "closed": 2}),
            json!({"node": "n2", "closed": 0}),
            json!({"node": "n3", "closed": 1}),
        ]
    );
    for client in &mut clients {
        assert_eq!(client.closed().0, 4403);
    }
}

#[test]
fn a_push_published_before_a_kick_arrives_before_the_close() {
    let cluster = Cluster::start(2, "auth.default_topics = [\"*\"]");
    let mut bus = cluster.bus();
    let topics = json!({"topics": ["t"]});
    for _ in 0..40 {
        let login = |n: usize| Client::login_with(&cluster.nodes[n % 2], &token("u"), topics.clone());
        // On both nodes: so all of this round has come through both when it is over.
        let mut clients = [login(0), login(1), login(2), login(3)];
        bus.publish("longwire.push.user.u", "1");
        bus.publish("longwire.push.topic.t", "2");
        bus.publish("longwire.push.all", "3");
        bus.publish("longwire.kick.user.u", r#"{"code":4001}"#);
        for client in &mut clients {
            let (messages, (code, _)) = client.until_closed();
            assert_eq!((messages, code), (["1", "2", "3"].map(str::to_owned).to_vec(), 4001));
        }
    }
}

#[test]
fn deleting_a_user_closes_on_every_node_and_counts_them_all() {
    let cluster = Cluster::start(3, "");
    let user = "a.b@c/d ü";
    let mut clients = cluster.login_everywhere(user);
    clients.push(Client::login(&cluster.nodes[1], user));
    let mut other = Client::login(&cluster.nodes[1], "other");
    let path = "/v1/users/a.b%40c%2Fd%20%C3%BC";
    assert_eq!(cluster.nodes[0].delete(path).ok(), json!({"closed": 4}));
    for client in &mut clients {
        assert_eq!(client.closed().0, 4403);
    }
    other.fence();
    assert_eq!(cluster.nodes[2].delete(path).ok(), json!({"closed": 0}));
    assert_eq!(cluster.nodes[2].delete("/v1/users/nobody").ok(), json!({"closed": 0}));
    assert_eq!(
        cluster.nodes[0].get(path).ok(),
        json!({"user": user, "online": false, "connections": []})
    );
}

#[test]
fn deleting_a_connection_finds_it_on_whichever_node_it_is() {
    let cluster = Cluster::start(3, "");
    for asked in &cluster.nodes {
        for (held, _) in cluster.nodes.iter().zip(0..3) {
            let mut client = Client::open(held);
            let body = client.connect(&token("u"), Value::Null);
            let mut stays = Client::login(held, "u");
            let path = format!("/v1/connections/{}", body["connection"].as_str().unwrap());
            assert_eq!(asked.delete(&path).ok(), json!({"closed": 1}));
            assert_eq!(client.closed().0, 4403);
            stays.fence();
            stays.close();
            client.wait_ended();
            asked.wait_connections("u", 0);
            asked.delete(&path).problem(404);
        }
        for unknown in ["nonsense", "0", "%00", "ffffffffffffffffffffffff"] {
            asked.delete(&format!("/v1/connections/{unknown}")).problem(404);
        }
    }
}

#[test]
fn a_users_connections_are_described_over_all_nodes() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]");
    let expires_at = now_s() + 1000;
    let mut expected = Vec::new();
    let mut clients = Vec::new();
    for (n, node) in cluster.nodes.iter().enumerate() {
        let mut client = Client::open(node);
        let device = format!("phone {n}");
        let claims = json!({"sub": "anna", "exp": expires_at});
        let body = client.connect(&mint(claims), json!({"device": device, "topics": ["t"]}));
        expected.push(json!({
            "connection": body["connection"], "node": format!("n{}", n + 1), "device": device, "since_ms": null,
            "expires_at": expires_at, "topics": ["t"], "remote": "127.0.0.1",
        }));
        clients.push(client);
    }
    let described = |node: &crate::support::Gateway| {
        let mut answer = node.user("anna");
        assert_eq!((&answer["user"], &answer["online"]), (&json!("anna"), &json!(true)));
        let mut connections = answer["connections"].take();
        let connections = connections.as_array_mut().unwrap();
        connections.sort_by_key(|connection| connection["node"].to_string());
        connections.clone()
    };
    let first = described(&cluster.nodes[0]);
    for node in &cluster.nodes {
        assert_eq!(described(node), first, "the same wherever it is asked");
    }
    for (mut connection, expected) in first.into_iter().zip(&expected) {
        assert!(connection["since_ms"].take().as_u64().unwrap() > 0);
        assert_eq!(connection, *expected);
    }
    clients.remove(1).close();
    for node in [&cluster.nodes[0], &cluster.nodes[2]] {
        node.wait_connections("anna", 2);
    }
    assert_eq!(
        cluster.nodes[1].user("nobody"),
        json!({"user": "nobody", "online": false, "connections": []})
    );
}
