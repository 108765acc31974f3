//! The session policy over nodes: how many connections a user or a device may have, wherever they are.

use serde_json::json;

use crate::nodes::{Cluster, members, wait_crossing, wait_not_ready, wait_ready};
use crate::support::{Client, Gateway, Value, token, wait_for, wait_until};

const REJECT: &str = "sessions.per_user_max = 1\nsessions.when_full = \"reject\"";
const REPLACE: &str = "sessions.per_user_max = 1\nsessions.when_full = \"replace_oldest\"";

/// A login that the policy refuses: with 409 and 4409 at once, or let in and closed with 4409 a moment later.
#[track_caller]
fn refused(node: &Gateway, user: &str, body: &Value) {
    let mut client = Client::open(node);
    let reply = client.call(json!({"path": "connect", "id": 1, "token": token(user), "body": body}));
    match reply["status"].as_u64() {
        Some(409) => assert_eq!(reply["error"]["code"], "too_many_connections", "{reply}"),
        Some(200) => {}
        _ => panic!("{reply}"),
    }
    assert_eq!(client.closed().0, 4409);
}

/// Logs in until it is let in for good.
#[track_caller]
fn let_in(node: &Gateway, user: &str) -> Client {
    wait_for("a login to be let in", || {
        let mut client = Client::open(node);
        let reply = client.call(json!({"path": "connect", "id": 1, "token": token(user)}));
        (reply["status"] == 200).then_some(client)
    })
}

#[test]
fn reject_keeps_the_one_that_is_there_on_another_node() {
    let cluster = Cluster::start(2, REJECT);
    let mut there = Client::login(&cluster.nodes[0], "u");
    for _ in 0..3 {
        refused(&cluster.nodes[1], "u", &Value::Null);
        refused(&cluster.nodes[0], "u", &Value::Null);
    }
    there.fence();
    for node in &cluster.nodes {
        node.wait_connections("u", 1);
    }
    Client::login(&cluster.nodes[1], "somebody else").fence();
    there.close();
    let mut next = let_in(&cluster.nodes[1], "u");
    next.fence();
    refused(&cluster.nodes[0], "u", &Value::Null);
    next.fence();
}

#[test]
fn the_limit_counts_all_nodes_together() {
    let cluster = Cluster::start(3, "sessions.per_user_max = 3");
    let mut there = cluster.login_everywhere("u");
    for node in &cluster.nodes {
        refused(node, "u", &Value::Null);
    }
    there.iter_mut().for_each(Client::fence);
    there.remove(1).close();
    let mut next = let_in(&cluster.nodes[2], "u");
    next.fence();
    there.iter_mut().for_each(Client::fence);
    for node in &cluster.nodes {
        node.wait_connections("u", 3);
    }
}

#[test]
fn replace_oldest_closes_the_oldest_wherever_it_is() {
    let cluster = Cluster::start(2, REPLACE);
    let mut newest = Client::login(&cluster.nodes[0], "u");
    for n in 1..7 {
        let mut next = Client::login(&cluster.nodes[n % 2], "u");
        assert_eq!(newest.closed().0, 4409);
        next.fence();
        newest = next;
    }
    for node in &cluster.nodes {
        node.wait_connections("u", 1);
    }
    newest.fence();
}

#[test]
fn replace_oldest_with_room_for_two_over_three_nodes() {
    let cluster = Cluster::start(3, "sessions.per_user_max = 2\nsessions.when_full = \"replace_oldest\"");
    let mut there: Vec<Client> = Vec::new();
    for n in 0..8 {
        there.push(Client::login(&cluster.nodes[n % 3], "u"));
        if there.len() == 3 {
            assert_eq!(there.remove(0).closed().0, 4409);
        }
        there.iter_mut().for_each(Client::fence);
    }
}

#[test]
fn one_per_device_closes_the_earlier_one_on_another_node() {
    let cluster = Cluster::start(2, "sessions.one_per_device = true");
    let login = |node: usize, user: &str, device: &str| {
        Client::login_with(&cluster.nodes[node], &token(user), json!({"device": device}))
    };
    let mut phone = login(0, "u", "phone");
    let mut tablet = login(1, "u", "tablet");
    let mut others_phone = login(0, "other", "phone");
    let mut nameless = cluster.login_everywhere("u");
    for n in 1..6 {
        let mut next = login(n % 2, "u", "phone");
        assert_eq!(phone.closed().0, 4409);
        next.fence();
        phone = next;
    }
    tablet.fence();
    others_phone.fence();
    nameless.iter_mut().for_each(Client::fence);
    cluster.nodes[0].wait_connections("u", 4);
}

#[test]
fn one_per_device_makes_room_before_the_limit_is_looked_at() {
    let cluster = Cluster::start(2, "sessions.one_per_device = true\nsessions.per_user_max = 2");
    let login =
        |node: usize, device: &str| Client::login_with(&cluster.nodes[node], &token("u"), json!({"device": device}));
    let mut phone = login(0, "phone");
    let mut tablet = login(1, "tablet");
    let mut phone_again = login(1, "phone");
    assert_eq!(phone.closed().0, 4409);
    tablet.fence();
    phone_again.fence();
    refused(&cluster.nodes[0], "u", &json!({"device": "watch"}));
    tablet.fence();
    phone_again.fence();
}

#[test]
fn the_places_of_a_killed_node_are_free_again() {
    let mut cluster = Cluster::start(2, REJECT);
    let mut lost = Client::login(&cluster.nodes[0], "u");
    refused(&cluster.nodes[1], "u", &Value::Null);
    lost.fence();
    cluster.nodes[0].run.signal("KILL");
    wait_for("the node to be dead", || cluster.nodes[0].run.try_exit());
    wait_until("it to be gone", || members(&cluster.nodes[1]) == ["n2"]);
    let mut next = let_in(&cluster.nodes[1], "u");
    next.fence();
    cluster.nodes[1].wait_connections("u", 1);
}

#[test]
fn the_places_of_a_drained_node_are_free_at_once() {
    let mut cluster = Cluster::start(2, &format!("{REJECT}\ntimeouts.drain = \"100ms\""));
    let mut moved = Client::login(&cluster.nodes[0], "u");
    cluster.nodes[0].run.signal("TERM");
    assert_eq!(moved.closed().0, 1012);
    drop(moved);
    let mut next = let_in(&cluster.nodes[1], "u");
    next.fence();
    assert_eq!(cluster.nodes[0].run.exit_code(), 0);
    next.fence();
}

#[test]
fn while_the_bus_is_away_each_node_decides_alone_and_afterwards_one_rule_holds() {
    for (policy, survivor) in [(REJECT, 0), (REPLACE, 1)] {
        let mut cluster = Cluster::start(2, policy);
        let mut stays = Client::login(&cluster.nodes[1], "stays");
        cluster.nats.kill();
        cluster.nodes.iter().for_each(|node| drop(wait_not_ready(node)));
        let mut clients = cluster.login_everywhere("u");
        refused_or_replaced(&cluster.nodes[1], &mut stays, policy);
        clients.iter_mut().for_each(Client::fence);
        cluster.nats.run();
        cluster.nodes.iter().for_each(wait_ready);
        let mut survivor = clients.remove(survivor);
        let (messages, (code, _)) = clients[0].until_closed();
        assert_eq!((messages.len(), code), (0, 4409));
        survivor.fence();
        for node in &cluster.nodes {
            node.wait_connections("u", 1);
        }
        wait_crossing(&cluster.nodes);
        assert_eq!(survivor.json()["path"], "healed");
    }
}

/// On its own a node still holds the policy among its own connections.
#[track_caller]
fn refused_or_replaced(node: &Gateway, there: &mut Client, policy: &str) {
    if policy == REJECT {
        refused(node, "stays", &Value::Null);
        there.fence();
    } else {
        let mut next = Client::login(node, "stays");
        assert_eq!(there.closed().0, 4409);
        next.fence();
    }
}
