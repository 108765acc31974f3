//! Pushes published on NATS: who gets them, what the reports say, what is dropped.

use serde_json::json;

use crate::nats::{Nats, NatsServer};
use crate::nodes::{Cluster, expect_until_end, on, start_all, wait_members};
use crate::support::{Client, Gateway, Value, token, wait_until};

const END: &str = r#"{"path":"end"}"#;

/// Odd spacing, escapes, unicode, numbers that no parser keeps: what comes out must be what went in.
const VERBATIM: [&str; 4] = [
    r#"{"path":"order/paid","body":{"order":1}}"#,
    " {\t\"body\" : [ 1.50 , 12345678901234567890123 ],\n \"path\":\"p\" } ",
    r#"{"path":"κόσμε","body":"😀 ü \u00fc \"\\\n"}"#,
    "neither JSON nor an object: that is the publisher's duty",
];

/// A client on every node with the topic `room.42`, and one without.
fn topic_clients(cluster: &Cluster) -> (Vec<Client>, Vec<Client>) {
    let login = |topics: Value| -> Vec<Client> {
        let each = cluster.nodes.iter();
        each.map(|node| Client::login_with(node, &token("u"), json!({"topics": topics})))
            .collect()
    };
    (login(json!(["other", "room.42"])), login(json!(["room", "room.42.1"])))
}

/// Checks that the reports of all nodes come, one each, and gives them sorted by node.
#[track_caller]
fn reports(bus: &mut Nats, subject: &str, payload: &[u8], nodes: usize) -> Vec<Value> {
    let mut reports = bus.request_many(subject, payload, nodes);
    reports.sort_by_key(|report| report["node"].to_string());
    // What any node had answered to the first is there when it has answered the second.
    bus.request_many("longwire.push.user.nobody-at-all", "{}", nodes);
    assert!(bus.arrived().is_empty(), "a report too many");
    reports
}

#[test]
fn a_push_to_a_user_reaches_each_of_the_users_connections_on_every_node_verbatim() {
    let cluster = Cluster::start(3, "");
    let mut phones = cluster.login_everywhere("anna");
    phones.extend(cluster.login_everywhere("anna"));
    let mut others = cluster.login_everywhere("berta");
    let mut bus = cluster.bus();
    for text in VERBATIM {
        bus.publish("longwire.push.user.anna", text);
    }
    bus.publish("longwire.push.all", END);
    phones.iter_mut().for_each(|phone| expect_until_end(phone, &VERBATIM));
    others.iter_mut().for_each(|other| expect_until_end(other, &[]));
}

#[test]
fn a_push_to_a_topic_reaches_exactly_its_subscribers() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]");
    let (mut inside, mut outside) = topic_clients(&cluster);
    let mut bus = cluster.bus();
    for text in VERBATIM {
        bus.publish("longwire.push.topic.room.42", text);
    }
    bus.publish("longwire.push.all", END);
    inside.iter_mut().for_each(|client| expect_until_end(client, &VERBATIM));
    outside.iter_mut().for_each(|client| expect_until_end(client, &[]));
    for client in &mut inside {
        client.call(json!({"path": "unsubscribe", "id": 1, "body": {"topics": ["room.42"]}}));
    }
    for client in &mut outside {
        client.call(json!({"path": "subscribe", "id": 1, "body": {"topics": ["room.42"]}}));
    }
    bus.publish("longwire.push.topic.room.42", VERBATIM[0]);
    bus.publish("longwire.push.all", END);
    inside.iter_mut().for_each(|client| expect_until_end(client, &[]));
    outside
        .iter_mut()
        .for_each(|client| expect_until_end(client, &VERBATIM[..1]));
}

#[test]
fn a_push_to_all_reaches_the_authenticated_alone() {
    let cluster = Cluster::start(3, "");
    let mut clients: Vec<Client> = (0..4)
        .flat_map(|i| cluster.login_everywhere(&format!("u{i}")))
        .collect();
    let mut strangers: Vec<Client> = cluster.nodes.iter().map(Client::open).collect();
    let mut bus = cluster.bus();
    bus.publish("longwire.push.all", VERBATIM[1]);
    bus.publish("longwire.push.all", END);
    clients
        .iter_mut()
        .for_each(|client| expect_until_end(client, &VERBATIM[1..2]));
    for stranger in &mut strangers {
        stranger.connect(&token("late"), Value::Null);
        stranger.fence();
    }
}

#[test]
fn every_node_reports_what_became_of_a_push() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]");
    let login = |node: &Gateway, user: &str| Client::login_with(node, &token(user), json!({"topics": ["t"]}));
    let mut clients = [
        login(&cluster.nodes[0], "u"),
        login(&cluster.nodes[0], "u"),
        login(&cluster.nodes[1], "u"),
        login(&cluster.nodes[1], "v"),
    ];
    let mut bus = cluster.bus();
    let report = |node: usize, matched: u64| json!({"node": format!("n{node}"), "matched": matched, "queued": matched, "dropped": 0});
    for (subject, matched) in [
        ("user.u", [2, 1, 0]),
        ("user.v", [0, 1, 0]),
        ("user.nobody", [0, 0, 0]),
        ("topic.t", [2, 2, 0]),
        ("topic.nothing", [0, 0, 0]),
        ("all", [2, 2, 0]),
    ] {
        let subject = format!("longwire.push.{subject}");
        let expected: Vec<Value> = (1..=3).map(|n| report(n, matched[n - 1])).collect();
        assert_eq!(reports(&mut bus, &subject, END.as_bytes(), 3), expected, "{subject}");
    }
    for (client, pushes) in clients.iter_mut().zip([3, 3, 3, 3]) {
        (0..pushes).for_each(|_| assert_eq!(client.text(), END));
        client.fence();
    }
}

#[test]
fn what_is_not_utf8_or_too_large_is_dropped_counted_and_reported() {
    let cluster = Cluster::start(2, "limits.push_bytes = \"2KiB\"");
    let mut clients = cluster.login_everywhere("u");
    let mut bus = cluster.bus();
    let largest = format!(r#"{{"path":"p","body":"{}"}}"#, "x".repeat(2048 - 22));
    assert_eq!(largest.len(), 2048);
    let dropped = |node: &Gateway| node.metric("longwire_bus_dropped_total").unwrap();
    let before: Vec<f64> = cluster.nodes.iter().map(dropped).collect();
    let too_large = largest.clone() + " ";
    let far_too_large = "x".repeat(500_000);
    let bad: [&[u8]; 4] = [
        b"{\"path\":\"p\",\"body\":\"\xff\"}",
        b"\xc3",
        too_large.as_bytes(),
        far_too_large.as_bytes(),
    ];
    for payload in bad {
        for subject in ["longwire.push.user.u", "longwire.push.topic.t", "longwire.push.all"] {
            let reports = reports(&mut bus, subject, payload, 2);
            for (report, node) in reports.iter().zip(["n1", "n2"]) {
                assert_eq!(
                    (&report["node"], &report["matched"]),
                    (&json!(node), &json!(0)),
                    "{report}"
                );
                assert!(report["error"].as_str().is_some_and(|e| !e.is_empty()), "{report}");
            }
        }
    }
    for (node, before) in cluster.nodes.iter().zip(before) {
        wait_until("each to be counted", || dropped(node) == before + 12.0);
    }
    bus.publish("longwire.push.user.u", &largest);
    bus.publish("longwire.push.user.u", END);
    clients
        .iter_mut()
        .for_each(|client| expect_until_end(client, &[&largest]));
}

#[test]
fn two_prefixes_on_one_bus_are_two_clusters() {
    let nats = NatsServer::start();
    let on = |name: &str, prefix: &str| {
        on(
            std::slice::from_ref(&nats),
            name,
            &format!("nats.prefix = \"{prefix}\""),
        )
    };
    let nodes = start_all(&[on("n1", "one"), on("n2", "one"), on("n1", "two.eu"), on("n3", "two.eu")]);
    wait_members(&nodes[..2]);
    wait_members(&nodes[2..]);
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    let mut bus = nats.connect();
    bus.publish("one.push.user.u", r#"{"path":"one"}"#);
    bus.publish("two.eu.push.user.u", r#"{"path":"two"}"#);
    bus.publish("longwire.push.user.u", r#"{"path":"neither"}"#);
    bus.publish("two.push.user.u", r#"{"path":"neither"}"#);
    bus.publish("one.push.all", END);
    bus.publish("two.eu.push.all", END);
    for (client, path) in clients.iter_mut().zip([
        r#"{"path":"one"}"#,
        r#"{"path":"one"}"#,
        r#"{"path":"two"}"#,
        r#"{"path":"two"}"#,
    ]) {
        expect_until_end(client, &[path]);
    }
    assert_eq!(
        nodes[3].push(json!({"user": "u"}), "p", json!(1)),
        crate::nodes::counts(2, 2)
    );
}

#[test]
fn one_message_may_name_many_users() {
    let cluster = Cluster::start(2, "");
    let mut named: Vec<Client> = ["a", "b.c", "ü"]
        .iter()
        .flat_map(|user| cluster.login_everywhere(user))
        .collect();
    let mut other = cluster.login_everywhere("other");
    let mut bus = cluster.bus();
    let mut publish = |names: &str| {
        let headers = [("Longwire-Users", names)];
        bus.try_publish("longwire.push.users", None, &headers, VERBATIM[1].as_bytes())
            .unwrap();
    };
    publish("a,b%2Ec,%C3%BC,nobody");
    // What is no name spoils the whole: nobody gets it.
    for names in ["a,b.c", "a,%zz", "a,,b%2Ec", ""] {
        publish(names);
    }
    bus.publish("longwire.push.users", VERBATIM[1]);
    bus.publish("longwire.push.all", END);
    named
        .iter_mut()
        .for_each(|client| expect_until_end(client, &VERBATIM[1..2]));
    other.iter_mut().for_each(|client| expect_until_end(client, &[]));
    for node in &cluster.nodes {
        wait_until("the others to be counted", || {
            node.metric("longwire_bus_dropped_total") == Some(5.0)
        });
    }
}
