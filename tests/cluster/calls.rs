//! Clients' messages as services see them: subjects, headers, bodies; and who hears of what.

use serde_json::json;

use crate::nats::client::Message;
use crate::nodes::Cluster;
use crate::support::client::assert_refusal;
use crate::support::{Client, Value, mint, token};

/// A bus client that hears every call.
fn service(cluster: &Cluster) -> crate::nats::Nats {
    let mut service = cluster.bus();
    service.subscribe("longwire.call.>");
    service.flush();
    service
}

#[track_caller]
fn assert_headers(call: &Message, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(call.header(name), *value, "{name} of {call:?}");
    }
}

#[test]
fn a_message_with_an_id_is_a_request_and_its_answer_the_reply() {
    let cluster = Cluster::start(2, "");
    let mut service = service(&cluster);
    for (node, name) in cluster.nodes.iter().zip(["n1", "n2"]) {
        let mut client = Client::open(node);
        let connection = client.connect(&token("anna"), Value::Null)["connection"].clone();
        client.send(json!({"path": "order/create", "id": 7, "body": {"sku": "a1"}}));
        let call = service.next();
        assert_eq!(call.subject, "longwire.call.order.create");
        assert_eq!(call.json(), json!({"sku": "a1"}));
        assert_headers(
            &call,
            &[
                ("Longwire-User", Some("anna")),
                ("Longwire-Connection", connection.as_str()),
                ("Longwire-Node", Some(name)),
                ("Longwire-Path", Some("order/create")),
                ("Longwire-Device", None),
            ],
        );
        service.answer(&call, &[], r#"{"order":1}"#);
        assert_eq!(
            client.json(),
            json!({"id": 7, "path": "order/create", "status": 200, "body": {"order": 1}})
        );
        client.fence();
    }
}

#[test]
fn names_from_outside_are_percent_encoded_in_headers_and_the_node_s_is_not() {
    let cluster = Cluster::start_named("ws-1.eu_a");
    let mut service = service(&cluster);
    for (user, encoded) in [
        ("a.b@c", "a%2Eb%40c"),
        ("a\r\nLongwire-Node: evil", "a%0D%0ALongwire-Node%3A%20evil"),
        ("ü 100%", "%C3%BC%20100%25"),
    ] {
        let mut client = Client::login_with(&cluster.nodes[0], &token(user), json!({"device": "my phone/ü"}));
        client.send(json!({"path": "a_b-C/9", "id": "x"}));
        let call = service.next();
        assert_eq!(call.subject, "longwire.call.a_b-C.9");
        assert_headers(
            &call,
            &[
                ("Longwire-User", Some(encoded)),
                ("Longwire-Device", Some("my%20phone%2F%C3%BC")),
                ("Longwire-Path", Some("a_b-C/9")),
                ("Longwire-Node", Some("ws-1.eu_a")),
            ],
        );
        service.answer(&call, &[], "null");
        assert_eq!(client.json()["status"], 200);
    }
    let claimed = mint(json!({"sub": "u", "device": "of the token"}));
    let mut client = Client::login_with(&cluster.nodes[0], &claimed, json!({"device": "of the client"}));
    client.send(json!({"path": "p", "id": 1}));
    assert_headers(&service.next(), &[("Longwire-Device", Some("of%20the%20token"))]);
}

#[test]
fn bodies_pass_verbatim_both_ways_and_none_is_null() {
    let cluster = Cluster::start(1, "");
    let mut service = service(&cluster);
    let mut client = Client::login(&cluster.nodes[0], "u");
    for body in [
        r#"{ "b" : 1.50, "c":[ ],"d":"κ\u00fc\n" }"#,
        "12345678901234567890123",
        "\"\"",
        "[]",
        "false",
        "null",
    ] {
        client.send_text(format!(r#"{{"path":"echo","id":1,"body":{body}}}"#));
        let call = service.next();
        assert_eq!(call.text(), body);
        service.answer(&call, &[], body);
        let text = client.text();
        assert!(text.contains(&format!("\"body\":{body}")), "{body}: {text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["status"], 200);
    }
    client.send(json!({"path": "echo", "id": 1}));
    assert_eq!(service.next().text(), "null");
}

#[test]
fn a_message_without_an_id_is_published_and_never_answered() {
    let cluster = Cluster::start(1, "");
    let mut client = Client::login_with(&cluster.nodes[0], &token("u"), json!({"device": "d"}));
    // Nobody listens: it is lost, and nobody is told.
    client.send(json!({"path": "lost", "body": 0}));
    client.fence();
    let mut service = cluster.bus();
    service.subscribe("longwire.call.seen.*");
    service.flush();
    client.send(json!({"path": "seen/by", "body": [1]}));
    let call = service.next();
    assert_eq!((call.subject.as_str(), call.text()), ("longwire.call.seen.by", "[1]"));
    assert_eq!(call.reply, None);
    assert_headers(
        &call,
        &[
            ("Longwire-User", Some("u")),
            ("Longwire-Device", Some("d")),
            ("Longwire-Path", Some("seen/by")),
        ],
    );
    client.fence();
}

#[test]
fn what_the_gateway_refuses_or_answers_itself_no_service_hears_of() {
    let cluster = Cluster::start(1, "auth.default_paths = [\"order/*\"]");
    let mut service = service(&cluster);
    let mut client = Client::open(&cluster.nodes[0]);
    client.refused(json!({"path": "order/a", "id": 1}), 401, "not_connected");
    client.send(json!({"path": "order/a"}));
    client.connect(&token("u"), Value::Null);
    client.refused(json!({"path": "other/a", "id": 2}), 403, "path_forbidden");
    client.send(json!({"path": "other/a"}));
    client.refused(json!({"path": "order//a", "id": 3}), 400, "bad_message");
    client.refused(json!({"path": "order.a", "id": 3}), 400, "bad_message");
    client.refused(json!({"path": "order/*", "id": 3}), 400, "bad_message");
    client.fence();
    client.send(json!({"path": "order/fence", "id": 4}));
    let call = service.next();
    assert_eq!(call.subject, "longwire.call.order.fence");
    service.answer(&call, &[], "1");
    assert_eq!(
        client.json(),
        json!({"id": 4, "path": "order/fence", "status": 200, "body": 1})
    );
}

#[test]
fn with_nobody_listening_the_answer_is_404_at_once() {
    // Past `PATIENCE` by far: only an answer that waits for nothing comes in time.
    let cluster = Cluster::start(2, "timeouts.call = \"10m\"");
    for node in &cluster.nodes {
        let mut client = Client::login(node, "u");
        client.refused(json!({"path": "order/create", "id": 7, "body": 1}), 404, "no_handler");
        client.refused(json!({"path": "x", "id": "y"}), 404, "no_handler");
        client.fence();
    }
}

#[test]
fn no_answer_in_time_is_504_and_a_late_one_is_dropped() {
    let cluster = Cluster::start(1, "timeouts.call = \"300ms\"");
    let mut service = service(&cluster);
    let mut client = Client::login(&cluster.nodes[0], "u");
    client.send(json!({"path": "slow", "id": 1}));
    let late = service.next();
    let reply = client.json();
    assert_refusal(&reply, &json!(1), 504, "handler_timeout");
    service.answer(&late, &[], r#""late""#);
    service.flush();
    // A push by the same publisher after the late answer, so the answer is not still on its way.
    service.publish("longwire.push.user.u", r#"{"path":"after"}"#);
    assert_eq!(client.json(), json!({"path": "after"}));
    client.fence();
}

#[test]
fn a_client_that_has_gone_is_answered_to_nobody() {
    let cluster = Cluster::start(1, "server.reactors = 1");
    let node = &cluster.nodes[0];
    let mut service = service(&cluster);
    let mut gone = Client::login(node, "gone");
    gone.send(json!({"path": "p", "id": 1}));
    let call = service.next();
    drop(gone);
    node.wait_connections("gone", 0);
    // In all likelihood in the same slot.
    let mut next = Client::login(node, "next");
    service.answer(&call, &[], r#""not for you""#);
    service.publish("longwire.push.user.next", r#"{"path":"after"}"#);
    assert_eq!(next.json(), json!({"path": "after"}));
    next.fence();
}

#[test]
fn each_call_goes_to_one_of_a_queue_group_and_the_first_answer_counts() {
    let cluster = Cluster::start(2, "");
    let mut group: Vec<_> = (0..3)
        .map(|_| {
            let mut service = cluster.bus();
            service.subscribe_in("longwire.call.work", "workers");
            service.flush();
            service
        })
        .collect();
    let enders: Vec<_> = group.iter().map(crate::nats::Nats::ender).collect();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = group
            .iter_mut()
            .map(|service| {
                scope.spawn(move || {
                    let mut calls = 0;
                    while let Ok(call) = service.try_next() {
                        calls += 1;
                        service.answer(&call, &[], &call.payload);
                        service.answer(&call, &[], r#""twice""#);
                    }
                    calls
                })
            })
            .collect();
        let mut clients = cluster.login_everywhere("u");
        for client in &mut clients {
            for n in 0..60 {
                client.send(json!({"path": "work", "id": n, "body": n}));
            }
        }
        for client in &mut clients {
            let mut replies: Vec<Value> = (0..60).map(|_| client.json()).collect();
            replies.sort_by_key(|reply| reply["id"].as_u64());
            for (n, reply) in replies.iter().enumerate() {
                assert_eq!(*reply, json!({"id": n, "path": "work", "status": 200, "body": n}));
            }
            client.fence();
        }
        drop(enders);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), 120, "{counts:?}");
    assert!(counts.iter().all(|calls| *calls > 0), "{counts:?}");
}

#[test]
fn messages_of_one_connection_reach_a_service_in_the_order_sent() {
    let cluster = Cluster::start(1, "timeouts.call = \"10m\"");
    let mut service = service(&cluster);
    let mut client = Client::login(&cluster.nodes[0], "u");
    for n in 0..1000 {
        if n % 3 == 0 {
            client.send(json!({"path": "p", "body": n}));
        } else {
            client.send(json!({"path": "p", "id": n, "body": n}));
        }
    }
    let calls: Vec<Message> = (0..1000).map(|_| service.next()).collect();
    for (n, call) in calls.iter().enumerate() {
        assert_eq!(call.json(), json!(n));
    }
    // A thousand calls in flight do not hold a push up.
    service.publish("longwire.push.user.u", r#"{"path":"push"}"#);
    assert_eq!(client.json(), json!({"path": "push"}));
    for call in calls.iter().rev().filter(|call| call.reply.is_some()) {
        service.answer(call, &[], &call.payload);
    }
    for n in (0..1000).rev().filter(|n| n % 3 != 0) {
        assert_eq!(client.json(), json!({"id": n, "path": "p", "status": 200, "body": n}));
    }
    client.fence();
}

#[test]
fn an_id_may_be_used_again_and_comes_back_as_it_was() {
    let cluster = Cluster::start(1, "");
    let mut service = service(&cluster);
    let mut client = Client::login(&cluster.nodes[0], "u");
    for id in [
        json!(0),
        json!(-5),
        json!("x"),
        json!("ü \"\\"),
        json!(9_007_199_254_740_993_u64),
        json!("x"),
    ] {
        client.send(json!({"path": "p", "id": id}));
        client.send(json!({"path": "p", "id": id}));
        for n in 0..2 {
            let call = service.next();
            service.answer(&call, &[], n.to_string());
        }
        for n in 0..2 {
            assert_eq!(client.json(), json!({"id": id, "path": "p", "status": 200, "body": n}));
        }
    }
}
