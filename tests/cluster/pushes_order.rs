//! Order: per connection, the pushes of one publisher arrive in the order in which it published them.

use std::fmt::Write;
use std::io::Read;

use serde_json::json;

use crate::nats::Nats;
use crate::nodes::{Cluster, counts, numbered};
use crate::support::{Client, Gateway, token};

/// Pushes of each publisher.
const PUSHES: usize = 6_000;

/// Four connections of `u` with the topic `t` on every node: both reactors of each have some, but for chance.
fn clients(cluster: &Cluster) -> Vec<Client> {
    let login = |node: &Gateway| Client::login_with(node, &token("u"), json!({"topics": ["t"]}));
    cluster
        .nodes
        .iter()
        .flat_map(|node| [(); 4].map(|()| login(node)))
        .collect()
}

#[test]
fn thousands_to_user_topic_and_all_arrive_in_order_on_every_connection() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]\nlog.level = \"info\"");
    let mut clients = clients(&cluster);
    let publish = |publisher: usize, mut bus: Nats| {
        for n in 0..PUSHES {
            let subject = match (n * 7 + publisher) % 4 {
                0 => "longwire.push.user.u",
                1 => "longwire.push.topic.t",
                2 => "longwire.push.all",
                _ => "longwire.push.user.somebody-else",
            };
            bus.publish(subject, format!("[{publisher},{n}]"));
        }
        bus.flush();
    };
    std::thread::scope(|scope| {
        for publisher in 0..2 {
            let bus = cluster.bus();
            scope.spawn(move || publish(publisher, bus));
        }
        for client in &mut clients {
            let mut next = [0, 0];
            let expected = |publisher: usize, from: usize| (from..PUSHES).find(|n| (n * 7 + publisher) % 4 != 3);
            while let (Some(_), _) | (_, Some(_)) = (expected(0, next[0]), expected(1, next[1])) {
                let text = client.text();
                let [publisher, n]: [usize; 2] = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    Some(n),
                    expected(publisher, next[publisher]),
                    "of publisher {publisher}"
                );
                next[publisher] = n + 1;
            }
            client.fence();
        }
    });
}

#[test]
fn a_burst_for_somebody_who_is_not_here_loses_nothing_of_the_others() {
    let cluster = Cluster::start(2, "log.level = \"info\"");
    let mut clients = cluster.login_everywhere("u");
    let filler = "x".repeat(128);
    let mut burst = String::new();
    for n in 0..100_000 {
        if n % 50 == 0 {
            let text = numbered(n);
            write!(burst, "PUB longwire.push.user.u {}\r\n{text}\r\n", text.len()).unwrap();
        } else {
            write!(burst, "PUB longwire.push.user.absent-{n} 128\r\n{filler}\r\n").unwrap();
        }
    }
    let mut raw = crate::support::client::stream_to(([127, 0, 0, 1], cluster.nats.port).into());
    std::io::Write::write_all(&mut raw, b"CONNECT {\"verbose\":false}\r\n").unwrap();
    std::io::Write::write_all(&mut raw, burst.as_bytes()).unwrap();
    std::io::Write::write_all(&mut raw, b"PING\r\n").unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"PONG\r\n") {
        let mut chunk = [0; 4096];
        let n = raw.read(&mut chunk).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&answers));
        answers.extend(&chunk[..n]);
    }
    for client in &mut clients {
        for n in (0..100_000).step_by(50) {
            assert_eq!(client.json()["body"], n);
        }
        client.fence();
    }
    for node in &cluster.nodes {
        assert_eq!(node.metric("longwire_bus_dropped_total"), Some(0.0));
    }
}

#[test]
fn pushes_of_one_caller_of_the_api_arrive_in_order() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]\nlog.level = \"info\"");
    let mut clients = clients(&cluster);
    let to = [
        json!({"user": "u"}),
        json!({"topic": "t"}),
        json!({"all": true}),
        json!({"users": ["x", "u", "y"]}),
    ];
    for n in 0..400 {
        let push = cluster.nodes[0].push(to[n % 4].clone(), "n", json!(n));
        assert_eq!(push, counts(12, 3));
    }
    for client in &mut clients {
        (0..400).for_each(|n| assert_eq!(client.json()["body"], n));
        client.fence();
    }
}

#[test]
fn a_caller_who_waits_for_each_answer_may_change_the_node() {
    let cluster = Cluster::start(3, "log.level = \"info\"");
    let mut clients = cluster.login_everywhere("u");
    for n in 0..300 {
        let push = cluster.nodes[n % 3].push(json!({"user": "u"}), "n", json!(n));
        assert_eq!(push, counts(3, 3));
    }
    for client in &mut clients {
        (0..300).for_each(|n| assert_eq!(client.json()["body"], n));
    }
}

#[test]
fn a_batch_arrives_in_order_on_every_node() {
    let cluster = Cluster::start(3, "auth.default_topics = [\"*\"]\nlog.level = \"info\"");
    let mut clients = clients(&cluster);
    let to = [
        json!({"user": "u"}),
        json!({"topic": "t"}),
        json!({"all": true}),
        json!({"users": ["x", "u", "y"]}),
    ];
    let pushes: Vec<_> = (0..300)
        .map(|n| json!({"to": to[n % 4], "path": "n", "body": n}))
        .collect();
    let answer = cluster.nodes[1].post("/v1/push/batch", json!({"pushes": pushes})).ok();
    assert_eq!(answer, json!({"results": vec![counts(12, 3); 300]}));
    for client in &mut clients {
        (0..300).for_each(|n| assert_eq!(client.json()["body"], n));
        client.fence();
    }
}
