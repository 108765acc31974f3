//! Logins on several nodes at the same moment: whoever decides, all nodes reach the same answer.

use serde_json::json;

use crate::nodes::Cluster;
use crate::support::{Client, Value, token, wait_for};

const ROUNDS: usize = 30;

/// What a login came to: `None` if it was refused with 409 (and the close that follows was checked).
fn outcome(client: &mut Client) -> Option<Value> {
    let reply = client.json();
    match reply["status"].as_u64() {
        Some(200) => Some(reply["body"]["connection"].clone()),
        Some(409) => {
            assert_eq!(client.closed().0, 4409);
            None
        }
        _ => panic!("{reply}"),
    }
}

/// In each round every node gets a login of the same user at once (`each` of them); exactly `survivors` stay, on which
/// all nodes agree, and the others are closed with 4409.
fn race(nodes: usize, each: usize, policy: &str, body: &Value, survivors: usize) {
    let cluster = Cluster::start(nodes, &format!("{policy}\nlog.level = \"info\""));
    let mut stayed: Vec<Client> = Vec::new();
    // All rounds' logins are on their way before the first is looked at.
    let rounds: Vec<(String, Vec<Client>)> = (0..ROUNDS)
        .map(|round| {
            let user = format!("u{round}");
            let mut clients: Vec<Client> = (0..nodes * each)
                .map(|n| Client::open(&cluster.nodes[n % nodes]))
                .collect();
            let message = json!({"path": "connect", "id": 1, "token": token(&user), "body": body}).to_string();
            clients.iter_mut().for_each(|client| client.send_text(message.clone()));
            (user, clients)
        })
        .collect();
    for (user, mut clients) in rounds {
        let mut let_in: Vec<(Client, Value)> = clients
            .drain(..)
            .filter_map(|mut client| outcome(&mut client).map(|connection| (client, connection)))
            .collect();
        let there = |node: usize| -> Vec<Value> {
            let answer = cluster.nodes[node].user(&user);
            let connections = answer["connections"].as_array().unwrap();
            let mut ids: Vec<Value> = connections.iter().map(|c| c["connection"].clone()).collect();
            ids.sort_by_key(Value::to_string);
            ids
        };
        let agreed = wait_for(&format!("{survivors} of {user} to stay"), || {
            let first = there(0);
            (first.len() == survivors && (1..nodes).all(|node| there(node) == first)).then_some(first)
        });
        for (mut client, connection) in let_in.drain(..) {
            if agreed.contains(&connection) {
                client.fence();
                stayed.push(client);
            } else {
                assert_eq!(client.closed().0, 4409);
            }
        }
    }
    assert_eq!(stayed.len(), ROUNDS * survivors);
    stayed.iter_mut().for_each(Client::fence);
    assert_eq!(
        cluster.nodes[0].push(json!({"all": true}), "p", json!(1)),
        crate::nodes::counts(ROUNDS * survivors, nodes)
    );
}

#[test]
fn of_two_logins_on_two_nodes_at_once_exactly_one_stays_with_reject() {
    race(
        2,
        1,
        "sessions.per_user_max = 1\nsessions.when_full = \"reject\"",
        &Value::Null,
        1,
    );
}

#[test]
fn of_two_logins_on_two_nodes_at_once_exactly_one_stays_with_replace_oldest() {
    race(
        2,
        1,
        "sessions.per_user_max = 1\nsessions.when_full = \"replace_oldest\"",
        &Value::Null,
        1,
    );
}

#[test]
fn of_six_logins_on_three_nodes_at_once_exactly_two_stay_with_reject() {
    race(
        3,
        2,
        "sessions.per_user_max = 2\nsessions.when_full = \"reject\"",
        &Value::Null,
        2,
    );
}

#[test]
fn of_six_logins_on_three_nodes_at_once_exactly_two_stay_with_replace_oldest() {
    race(
        3,
        2,
        "sessions.per_user_max = 2\nsessions.when_full = \"replace_oldest\"",
        &Value::Null,
        2,
    );
}

#[test]
fn of_three_logins_of_a_device_at_once_exactly_one_stays() {
    race(3, 1, "sessions.one_per_device = true", &json!({"device": "phone"}), 1);
}

#[test]
fn a_user_who_reconnects_from_node_to_node_is_always_let_in_by_replace_oldest() {
    let cluster = Cluster::start(3, "sessions.per_user_max = 1\nsessions.when_full = \"replace_oldest\"");
    let mut newest = Client::login(&cluster.nodes[0], "u");
    for n in 1..60 {
        // Dropped without a close, as by a phone that changes networks: the old place may be held still.
        newest = Client::login(&cluster.nodes[n % 3], "u");
    }
    cluster.nodes[0].wait_connections("u", 1);
    newest.fence();
}
