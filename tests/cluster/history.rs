//! A user's history over all nodes: each remembers its own connections, and any of them tells it whole.

use serde_json::json;

use crate::nodes::Cluster;
use crate::support::{Client, Value, token, wait_for, wait_until};

#[test]
fn any_node_tells_what_all_of_them_remember() {
    let cluster = Cluster::start(3, "");
    for node in &cluster.nodes {
        Client::login(node, "anna").close();
        wait_until("the end to be counted", || node.closed_for("client") == 1.0);
    }
    for node in &cluster.nodes {
        let events = wait_for("all events", || {
            let answer = node.get("/v1/users/anna/history").ok();
            assert!(answer.get("nodes").is_none(), "{answer}");
            let events = answer["events"].as_array().unwrap().clone();
            (events.len() == 6).then_some(events)
        });
        // One came after the other, on another node each.
        let seen: Vec<&str> = events.iter().map(|event| event["node"].as_str().unwrap()).collect();
        assert_eq!(seen, ["n1", "n1", "n2", "n2", "n3", "n3"]);
        assert!(events.is_sorted_by_key(|event| event["at_ms"].as_u64()));
    }
}

#[test]
fn a_kick_is_remembered_with_who_asked_for_it_wherever_it_was_asked() {
    let cluster = Cluster::start(2, "");
    let mut bus = cluster.bus();
    let ends = |user: &str| {
        wait_for("both ends", || {
            let answer = cluster.nodes[0].get(&format!("/v1/users/{user}/history")).ok();
            let events = answer["events"].as_array().unwrap().clone();
            let ends: Vec<Value> = events.into_iter().filter(|event| event["event"] == "closed").collect();
            (ends.len() == 2).then_some(ends)
        })
    };
    let mut clients = cluster.login_everywhere("anna");
    cluster.nodes[0].delete("/v1/users/anna").ok();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.closed().0, 4403));
    assert!(ends("anna").iter().all(|end| end["by"] == "api"));
    let mut clients = cluster.login_everywhere("berta");
    bus.publish("longwire.kick.user.berta", r#"{"code":4000,"reason":"bye"}"#);
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.closed().0, 4000));
    for end in ends("berta") {
        assert_eq!((&end["by"], &end["code"]), (&json!("nats"), &json!(4000)));
    }
}

#[test]
fn one_connection_is_found_on_the_node_that_had_it_and_a_long_history_comes_in_parts() {
    let cluster = Cluster::start(2, "");
    let mut client = Client::open(&cluster.nodes[1]);
    let id = client.connect(&token("anna"), Value::Null)["connection"].clone();
    let id = id.as_str().unwrap();
    // Some 200 KB of JSON: more than goes into one message between nodes.
    for _ in 0..499 {
        drop(Client::login(&cluster.nodes[1], "anna"));
    }
    let answer = |query: &str| cluster.nodes[0].get(&format!("/v1/users/anna/history?{query}")).ok();
    wait_until("all to be gone", || {
        cluster.nodes[1].closed_for("connection_lost") == 499.0
            && answer("limit=1000")["events"].as_array().unwrap().len() == 999
    });
    let whole = answer("limit=1000");
    assert_eq!(whole["more"], false);
    let newest = answer("limit=700");
    assert_eq!(
        (newest["events"].as_array().unwrap().len(), &newest["more"]),
        (700, &json!(true))
    );
    assert_eq!(newest["events"][699], whole["events"][998]);
    let one = answer(&format!("connection={id}"));
    assert_eq!(one["events"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&one["events"][0]["event"], &one["events"][0]["node"]),
        (&json!("connected"), &json!("n2"))
    );
}

#[test]
fn a_node_that_does_not_answer_is_named_and_the_rest_is_told() {
    let cluster = Cluster::start(2, "");
    Client::login(&cluster.nodes[0], "anna").close();
    cluster.nodes[1].run.signal("STOP");
    let answer = wait_for("both events", || {
        let answer = cluster.nodes[0].get("/v1/users/anna/history").ok();
        (answer["events"].as_array().unwrap().len() == 2).then_some(answer)
    });
    cluster.nodes[1].run.signal("CONT");
    assert_eq!(answer["nodes"], json!({"asked": 2, "answered": 1}));
}
