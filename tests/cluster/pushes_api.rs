//! `POST /v1/push` on one of three nodes: reaches all of them and counts what all of them did.

use std::net::Shutdown;

use serde_json::json;

use crate::nats::NatsServer;
use crate::nodes::{Cluster, counts};
use crate::support::client::stream_to;
use crate::support::{Client, Raw, Value, token};

#[test]
fn a_push_reaches_every_node_and_counts_them_whichever_is_asked() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]");
    let topics = json!({"topics": ["room.42"]});
    let mut anna: Vec<Client> = cluster
        .nodes
        .iter()
        .map(|node| Client::login_with(node, &token("anna"), topics.clone()))
        .collect();
    anna.push(Client::login(&cluster.nodes[2], "anna"));
    let mut berta = Client::login(&cluster.nodes[1], "berta");
    let _stranger = Client::open(&cluster.nodes[1]);
    for (n, node) in cluster.nodes.iter().enumerate() {
        let push = |to: Value| node.push(to, "p", json!(n));
        assert_eq!(push(json!({"user": "anna"})), counts(4, 3));
        assert_eq!(push(json!({"user": "berta"})), counts(1, 3));
        assert_eq!(push(json!({"topic": "room.42"})), counts(3, 3));
        assert_eq!(push(json!({"all": true})), counts(5, 3));
        assert_eq!(
            push(json!({"users": ["berta", "anna", "berta", "nobody"]})),
            counts(5, 3)
        );
        for (i, client) in anna.iter_mut().enumerate() {
            let own = json!({"path": "p", "body": n});
            assert_eq!(client.json(), own);
            if i < 3 {
                assert_eq!(client.json(), json!({"path": "p", "topic": "room.42", "body": n}));
            }
            assert_eq!(client.json(), own);
            assert_eq!(client.json(), own);
            client.fence();
        }
        (0..3).for_each(|_| assert_eq!(berta.json()["body"], n));
        berta.fence();
    }
}

#[test]
fn a_push_to_somebody_offline_matches_nobody_on_any_node() {
    let cluster = Cluster::start(3, "");
    let node = &cluster.nodes[0];
    for to in [
        json!({"user": "nobody"}),
        json!({"users": ["nobody", "no one"]}),
        json!({"topic": "nothing"}),
        json!({"all": true}),
    ] {
        assert_eq!(node.push(to, "p", json!(1)), counts(0, 3));
    }
    // With nobody named, nobody need be asked.
    let none = node.push(json!({"users": []}), "p", json!(1));
    assert_eq!((&none["matched"], &none["queued"]), (&json!(0), &json!(0)));
    Client::login(&cluster.nodes[1], "short").close();
    node.wait_connections("short", 0);
    assert_eq!(node.push(json!({"user": "short"}), "p", json!(1)), counts(0, 3));
}

#[test]
fn thousands_of_users_by_name_are_reached_where_they_are() {
    let cluster = Cluster::start(3, "log.level = \"info\"");
    let mut clients: Vec<Client> = (0..90)
        .map(|i| Client::login(&cluster.nodes[i % 3], &format!("u.{i}")))
        .collect();
    let mut other = Client::login(&cluster.nodes[1], "other");
    for names in [1_200, 10_000] {
        let users: Vec<String> = (0..names).map(|i| format!("u.{i}")).collect();
        let push = cluster.nodes[0].push(json!({"users": users}), "p", json!(names));
        assert_eq!(push, counts(90, 3));
        for client in &mut clients {
            assert_eq!(client.json(), json!({"path": "p", "body": names}));
            client.fence();
        }
    }
    other.fence();
}

#[test]
fn a_list_of_names_longer_than_a_message_of_the_bus_is_no_shorter_for_it() {
    let nats = NatsServer::start_with("max_payload: 32768\n");
    let cluster = Cluster::start_on(nats, 2, "limits.push_bytes = \"16KiB\"");
    // 376 bytes each when encoded, 188 KB in all: far more than this server takes at once.
    let name = |i: usize| format!("{}{i:04}", "ü".repeat(62));
    let mut clients: Vec<Client> = (0..20)
        .map(|i| Client::login(&cluster.nodes[i % 2], &name(i * 25)))
        .collect();
    let users: Vec<String> = (0..500).map(name).collect();
    for node in &cluster.nodes {
        let push = node.push(json!({"users": users}), "p", json!("x".repeat(10_000)));
        assert_eq!(push, counts(20, 2));
    }
    for client in &mut clients {
        (0..2).for_each(|_| assert_eq!(client.json()["path"], "p"));
        client.fence();
    }
}

#[test]
fn a_body_crosses_the_bus_as_it_was_sent() {
    let cluster = Cluster::start(2, "");
    let mut clients = cluster.login_everywhere("u");
    for body in [
        r#"{"a":[1,2,{"b":null}],"c":"κόσμε \"\\\n"}"#,
        "12345678901234567890123",
        "1.50",
        "\"\"",
        "null",
    ] {
        let push = format!(r#"{{"to":{{"user":"u"}},"path":"p","body":{body}}}"#);
        let answer = cluster.nodes[0].request("POST", "/v1/push", Some(&push)).ok();
        assert_eq!(answer, counts(2, 2));
        for client in &mut clients {
            let text = client.text();
            assert!(text.contains(&format!("\"body\":{body}")), "{body}: {text}");
        }
    }
}

#[test]
fn a_batch_gives_one_result_each_over_all_nodes() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]");
    let mut a = Client::login_with(&cluster.nodes[0], &token("a"), json!({"topics": ["t"]}));
    let mut b = Client::login(&cluster.nodes[2], "b");
    let pushes = json!([
        {"to": {"user": "a"}, "path": "one", "body": 1},
        {"to": {"user": "nobody"}, "path": "two"},
        {"to": {"all": true}, "path": "three", "body": 3},
        {"to": {"topic": "t"}, "path": "four", "body": 4},
        {"to": {"users": ["a", "b", "a"]}, "path": "five", "body": 5},
    ]);
    let results = cluster.nodes[1].post("/v1/push/batch", json!({"pushes": pushes})).ok();
    let expected = [1, 0, 2, 1, 2].map(|matched| counts(matched, 3));
    assert_eq!(results, json!({"results": expected}));
    for path in ["one", "three", "four", "five"] {
        assert_eq!(a.json()["path"], path);
    }
    for path in ["three", "five"] {
        assert_eq!(b.json()["path"], path);
    }
    let mut pushes = vec![json!({"to": {"user": "a"}, "path": "p"}); 20];
    pushes[13] = json!({"to": {"user": "a"}, "path": "a b"});
    let refused = cluster.nodes[1]
        .post("/v1/push/batch", json!({"pushes": pushes}))
        .problem(400);
    assert!(refused.contains("13"), "{refused}");
    a.fence();
    b.fence();
}

#[test]
fn a_push_over_push_bytes_is_413_and_reaches_no_node() {
    let cluster = Cluster::start(2, "limits.push_bytes = \"2KiB\"");
    let mut clients = cluster.login_everywhere("u");
    let push = json!({"to": {"user": "u"}, "path": "p", "body": "x".repeat(2049)});
    cluster.nodes[0].post("/v1/push", push).problem(413);
    assert_eq!(
        cluster.nodes[0].push(json!({"user": "u"}), "p", json!("x".repeat(1900))),
        counts(2, 2)
    );
    for client in &mut clients {
        assert_eq!(client.json()["path"], "p");
        client.fence();
    }
}

#[test]
fn many_callers_at_once_are_each_told_the_truth() {
    let cluster = Cluster::start(3, "log.level = \"info\"");
    let mut clients: Vec<Client> = (0..8)
        .flat_map(|user| cluster.login_everywhere(&format!("u{user}")))
        .collect();
    std::thread::scope(|scope| {
        for user in 0..8 {
            let node = &cluster.nodes[user % 3];
            scope.spawn(move || {
                for n in 0..50 {
                    let push = node.push(json!({"user": format!("u{user}")}), "n", json!(n));
                    assert_eq!(push, counts(3, 3));
                }
            });
        }
    });
    for client in &mut clients {
        (0..50).for_each(|n| assert_eq!(client.json()["body"], n));
        client.fence();
    }
}

#[test]
fn what_the_nats_server_does_not_take_is_refused_and_does_no_harm() {
    let nats = NatsServer::start_with("max_payload: 8192\n");
    let cluster = Cluster::start_on(nats, 2, "");
    let mut clients = cluster.login_everywhere("u");
    let mut service = cluster.bus();
    service.subscribe("longwire.call.p");
    service.flush();
    let large = "x".repeat(20_000);
    let push = json!({"to": {"user": "u"}, "path": "p", "body": large});
    cluster.nodes[0].post("/v1/push", push).problem(413);
    clients[0].send(json!({"path": "p", "id": 1, "body": large}));
    assert_eq!(clients[0].json()["status"], 503);
    clients[0].send(json!({"path": "p", "body": large}));
    clients[0].send(json!({"path": "p", "id": 2, "body": "x"}));
    let call = service.next();
    assert_eq!(call.json(), json!("x"));
    service.answer(&call, &[], "1");
    assert_eq!(clients[0].json()["status"], 200);
    let whole = "x".repeat(7_000);
    assert_eq!(
        cluster.nodes[0].push(json!({"user": "u"}), "p", json!(whole)),
        counts(2, 2)
    );
    for client in &mut clients {
        assert_eq!(client.json()["path"], "p");
        client.fence();
    }
}

#[test]
fn a_caller_that_has_closed_its_own_side_gets_the_answer() {
    let cluster = Cluster::start(2, "");
    let body = json!({"to": {"user": "u"}, "path": "p"}).to_string();
    let mut caller = Raw::over(stream_to(cluster.nodes[0].api));
    caller.send(
        format!(
            "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    caller.writer().shutdown(Shutdown::Write).unwrap();
    let response = caller.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.body.parse::<Value>().unwrap(), counts(0, 2));
    caller.ended();
}
