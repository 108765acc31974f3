//! Free-form names in subjects and headers: percent-encoded, and what does not decode does no harm.

use serde_json::json;

use crate::nats::encode;
use crate::nodes::{Cluster, counts, expect_until_end};
use crate::support::{Client, token, wait_until};

const NAMES: [&str; 12] = [
    "a.b@c",
    "ü",
    "a b",
    "%",
    "%41",
    "*",
    ">",
    "a\r\nLongwire-Node: evil",
    "日本語 ✓",
    "\u{0}\u{7f}",
    ".",
    "-_",
];

#[test]
fn a_name_of_any_bytes_is_reached_by_its_encoding() {
    assert_eq!(encode("a.b@c"), "a%2Eb%40c");
    let cluster = Cluster::start(2, "");
    let mut clients: Vec<Vec<Client>> = NAMES.iter().map(|name| cluster.login_everywhere(name)).collect();
    let longest = "ß".repeat(64);
    let mut long = cluster.login_everywhere(&longest);
    let mut bus = cluster.bus();
    for name in NAMES {
        bus.publish(
            &format!("longwire.push.user.{}", encode(name)),
            json!({"path": "p", "body": name}).to_string(),
        );
    }
    bus.publish(&format!("longwire.push.user.{}", encode(&longest)), "long");
    bus.publish("longwire.push.all", r#"{"path":"end"}"#);
    for (client, name) in clients
        .iter_mut()
        .zip(NAMES)
        .flat_map(|(c, name)| c.iter_mut().map(move |c| (c, name)))
    {
        assert_eq!(client.json(), json!({"path": "p", "body": name}));
        assert_eq!(client.json(), json!({"path": "end"}), "{name}");
    }
    long.iter_mut().for_each(|client| expect_until_end(client, &["long"]));
    for name in NAMES {
        assert_eq!(
            cluster.nodes[0].push(json!({"user": name}), "p", json!(name)),
            counts(2, 2),
            "{name}"
        );
    }
    let named: Vec<&str> = NAMES.iter().copied().chain([longest.as_str()]).collect();
    let push = cluster.nodes[1].push(json!({"users": named}), "q", json!(1));
    assert_eq!(push, counts(2 * named.len(), 2));
    for (client, name) in clients
        .iter_mut()
        .zip(NAMES)
        .flat_map(|(c, name)| c.iter_mut().map(move |c| (c, name)))
    {
        assert_eq!(client.json(), json!({"path": "p", "body": name}));
        assert_eq!(client.json(), json!({"path": "q", "body": 1}));
        client.fence();
    }
}

#[test]
fn a_subject_that_names_nobody_is_dropped_and_counted() {
    let cluster = Cluster::start(1, "auth.default_topics = [\"*\"]");
    let node = &cluster.nodes[0];
    let mut client = Client::login_with(node, &token("u"), json!({"topics": ["t"]}));
    let mut bus = cluster.bus();
    let before = node.metric("longwire_bus_dropped_total").unwrap();
    let malformed = [
        "user.%",
        "user.u%",
        "user.%4",
        "user.%zz",
        "user.%+1",
        "user.%C3",
        "user.%FF",
        "user.u.u",
        "user.ü",
        "topic.a%20b",
        "topic.%74",
        "all.u",
        "nonsense",
        "nonsense.u",
    ];
    for subject in malformed {
        bus.publish(&format!("longwire.push.{subject}"), r#"{"path":"bad"}"#);
    }
    bus.publish("longwire.push.user.u", r#"{"path":"end"}"#);
    expect_until_end(&mut client, &[]);
    wait_until("each to be counted", || {
        node.metric("longwire_bus_dropped_total") == Some(before + malformed.len() as f64)
    });
    bus.publish("longwire.kick.user.%zz", "");
    bus.publish("longwire.kick.user.%FF", "");
    bus.publish("longwire.push.user.u", r#"{"path":"end"}"#);
    expect_until_end(&mut client, &[]);
}
