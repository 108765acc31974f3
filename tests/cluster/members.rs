//! Who is in the cluster: heartbeats, drains, ends of every kind, and names that are taken.

use serde_json::json;

use crate::nats::NatsServer;
use crate::nodes::{Cluster, counts, listening, members, on, start_all, wait_members, wait_ready};
use crate::support::gateway::{config, longwire};
use crate::support::tokens::now_ms;
use crate::support::{Client, Gateway, Run, TempDir, Value, wait_for, wait_until};

/// Ends a node as a power cut would.
fn kill(node: &mut Gateway) {
    node.run.signal("KILL");
    wait_for("the node to be dead", || node.run.try_exit());
}

/// The answer of `GET /v1/cluster`, sorted by name.
fn nodes(node: &Gateway) -> Vec<Value> {
    let mut answer = node.get("/v1/cluster").ok();
    let mut nodes = answer["nodes"].as_array_mut().unwrap().clone();
    nodes.sort_by_key(|node| node["name"].to_string());
    nodes
}

#[test]
fn every_node_lists_all_with_the_same_facts() {
    let before = now_ms();
    let cluster = Cluster::start(3, "");
    let clients: Vec<Client> = [0, 0, 0, 2]
        .iter()
        .map(|n| Client::login(&cluster.nodes[*n], "u"))
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    let mut since = Vec::new();
    for node in &cluster.nodes {
        let mut listed = wait_for("every node's connections to be known", || {
            let listed = nodes(node);
            let connections: Vec<_> = listed.iter().filter_map(|n| n["connections"].as_u64()).collect();
            (connections == [3, 0, 1]).then_some(listed)
        });
        for node in &mut listed {
            // Rates of the last second, which the nodes do not tell at the same moment.
            let node = node.as_object_mut().unwrap();
            assert!(node.remove("logins_per_s").unwrap().is_u64());
            assert!(node.remove("logins_max_per_s").unwrap().as_u64().unwrap() > 0);
        }
        since.push(listed.iter_mut().map(|n| n["since_ms"].take()).collect::<Vec<Value>>());
        let expected: Vec<Value> = [("n1", 3), ("n2", 0), ("n3", 1)]
            .into_iter()
            .map(|(name, connections)| {
                json!({
                    "name": name, "version": version, "since_ms": null, "connections": connections, "state": "up",
                })
            })
            .collect();
        assert_eq!(listed, expected);
    }
    assert!(since.windows(2).all(|pair| pair[0] == pair[1]), "{since:?}");
    assert!(since[0].iter().all(|ms| ms.as_u64().unwrap() >= before), "{since:?}");
    drop(clients);
    for node in &cluster.nodes {
        wait_until("the counts to go down", || {
            nodes(node).iter().all(|n| n["connections"] == 0)
        });
    }
}

#[test]
fn a_node_that_drains_says_so_and_is_gone_when_it_has_ended() {
    let mut cluster = Cluster::start(3, "timeouts.drain = \"10m\"");
    let clients: Vec<Client> = (0..3)
        .map(|i| Client::login(&cluster.nodes[2], &format!("u{i}")))
        .collect();
    cluster.nodes[2].run.signal("TERM");
    for node in &cluster.nodes {
        wait_until("the drain to be known", || nodes(node)[2]["state"] == "draining");
        assert_eq!(nodes(node)[0]["state"], "up");
    }
    // Whoever is on it still is reached and counted.
    let reached = cluster.nodes[0].push(json!({"all": true}), "p", json!(1));
    assert_eq!(reached["nodes"], json!({"asked": 3, "answered": 3}));
    assert!(reached["matched"].as_u64().unwrap() >= 1, "{reached}");
    drop(clients);
    assert_eq!(cluster.nodes[2].run.exit_code(), 0);
    for node in &cluster.nodes[..2] {
        wait_until("it to be gone", || members(node) == ["n1", "n2"]);
    }
    assert_eq!(cluster.nodes[0].push(json!({"all": true}), "p", json!(1)), counts(0, 2));
}

#[test]
fn a_node_that_ended_is_not_waited_for_and_its_name_is_free_at_once() {
    let mut cluster = Cluster::start(2, "timeouts.drain = \"100ms\"");
    for _ in 0..3 {
        cluster.nodes[1].run.signal("TERM");
        assert_eq!(cluster.nodes[1].run.exit_code(), 0);
        cluster.nodes[1] = Gateway::start(&cluster.config("n2", "timeouts.drain = \"100ms\""));
        wait_members(&cluster.nodes);
        Client::login(&cluster.nodes[1], "u").fence();
    }
}

#[test]
fn a_killed_node_is_gone_and_answers_do_not_wait_for_it() {
    let mut cluster = Cluster::start(3, "");
    let mut client = Client::login(&cluster.nodes[1], "u");
    let _lost = Client::login(&cluster.nodes[2], "u");
    kill(&mut cluster.nodes[2]);
    let reached = cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1));
    // Whether it is known to be gone by now or not, the truth about the others is told.
    assert_eq!((&reached["matched"], &reached["queued"]), (&json!(1), &json!(1)));
    assert_eq!(reached["nodes"]["answered"], 2, "{reached}");
    assert_eq!(cluster.nodes[0].connections_of("u"), 1);
    assert_eq!(client.json()["path"], "p");
    for node in &cluster.nodes[..2] {
        wait_until("it to be gone", || members(node) == ["n1", "n2"]);
        assert_eq!(node.push(json!({"user": "u"}), "p", json!(1)), counts(1, 2));
    }
    assert_eq!(cluster.nodes[0].delete("/v1/users/u").ok(), json!({"closed": 1}));
}

#[test]
fn a_paused_node_is_gone_and_comes_back_with_its_connections() {
    let cluster = Cluster::start(3, "");
    let mut clients = cluster.login_everywhere("u");
    cluster.nodes[2].run.signal("STOP");
    for node in &cluster.nodes[..2] {
        wait_until("it to be gone", || members(node) == ["n1", "n2"]);
    }
    assert_eq!(
        cluster.nodes[0].push(json!({"user": "u"}), "while", json!(1)),
        counts(2, 2)
    );
    cluster.nodes[2].run.signal("CONT");
    wait_members(&cluster.nodes);
    for node in &cluster.nodes {
        wait_until("pushes to reach all three", || {
            node.push(json!({"user": "u"}), "probe", json!(1)) == counts(3, 3)
        });
        node.push(json!({"user": "u"}), "end", json!(1));
    }
    for client in &mut clients {
        let mut ends = 0;
        while ends < 3 {
            ends += usize::from(client.json()["path"] == "end");
        }
        client.fence();
    }
}

#[test]
fn a_killed_node_comes_back_under_its_name() {
    let mut cluster = Cluster::start(2, "");
    kill(&mut cluster.nodes[1]);
    // The start waits for as long as the name may be held.
    cluster.nodes[1] = Gateway::start(&cluster.config("n2", ""));
    wait_members(&cluster.nodes);
    let _clients = cluster.login_everywhere("u");
    assert_eq!(cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1)), counts(2, 2));
}

#[test]
fn a_name_that_is_held_is_refused_and_its_holder_goes_on() {
    let cluster = Cluster::start(2, "");
    let mut client = Client::login(&cluster.nodes[1], "u");
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config(&cluster.config("n2", "")));
    let mut second = Run::start(longwire().arg("--config").arg(&file).current_dir(dir.path()));
    assert_eq!(second.exit_code(), 1);
    // What it said may be read a moment later than its end.
    wait_until("it to say why", || {
        let said = second.output();
        said.contains("n2") && said.contains("server.node")
    });
    let said = second.output();
    assert!(!said.contains("websocket listening"), "{said}");
    assert_eq!(members(&cluster.nodes[0]), ["n1", "n2"]);
    assert_eq!(cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1)), counts(1, 2));
    assert_eq!(client.json()["path"], "p");
}

#[test]
fn of_two_that_start_at_once_with_one_name_one_goes_on() {
    let cluster = Cluster::start(1, "");
    let starts = || -> (Run, TempDir) {
        let dir = TempDir::new();
        let file = dir.write("longwire.toml", config(&cluster.config("twin", "")));
        let run = Run::start(longwire().arg("--config").arg(&file).current_dir(dir.path()));
        (run, dir)
    };
    let mut twins = [starts(), starts()];
    let ended = wait_for("one of them to give up", || {
        twins.iter_mut().position(|(run, _)| run.try_exit().is_some())
    });
    let (loser, winner) = if ended == 0 { (0, 1) } else { (1, 0) };
    assert_eq!(twins[loser].0.exit_code(), 1);
    wait_until("the other to be there", || {
        assert!(twins[winner].0.try_exit().is_none(), "both gave up");
        members(&cluster.nodes[0]) == ["n1", "twin"] && twins[winner].0.output().contains("websocket listening")
    });
}

#[test]
fn a_node_that_joins_is_part_of_all_at_once() {
    let mut cluster = Cluster::start(2, "");
    let mut clients = cluster.login_everywhere("u");
    let more = [cluster.config("n3", ""), cluster.config("n4", "")];
    cluster.nodes.extend(start_all(&more));
    wait_members(&cluster.nodes);
    clients.extend(cluster.nodes[2..].iter().map(|node| Client::login(node, "u")));
    for node in &cluster.nodes {
        assert_eq!(node.push(json!({"user": "u"}), "p", json!(1)), counts(4, 4));
    }
    for client in &mut clients {
        (0..4).for_each(|_| assert_eq!(client.json()["path"], "p"));
    }
}

#[test]
fn a_node_that_is_ready_counts_the_others_from_its_first_answer() {
    let cluster = Cluster::start(2, "");
    let _clients = cluster.login_everywhere("u");
    for n in 3..6 {
        let node = listening(&cluster.config(&format!("n{n}"), ""));
        wait_ready(&node);
        let reached = node.push(json!({"user": "u"}), "p", json!(1));
        assert_eq!(
            (&reached["matched"], &reached["queued"]),
            (&json!(2), &json!(2)),
            "{reached}"
        );
        assert_eq!(node.connections_of("u"), 2);
    }
}

/// Waits until one of two with one name has left, with exit code 1 and a word about the name. Which one stays.
fn one_leaves(nodes: &mut [Gateway; 2]) -> usize {
    let left = wait_for("one of them to leave", || {
        nodes.iter_mut().position(|node| node.run.try_exit().is_some())
    });
    assert_eq!(nodes[left].run.exit_code(), 1);
    nodes[left].log_line(&["server.node"]);
    1 - left
}

#[test]
fn of_two_that_took_one_name_without_nats_one_leaves_when_it_is_back() {
    let mut nats = NatsServer::prepare("");
    let config = on(std::slice::from_ref(&nats), "twin", "timeouts.drain = \"100ms\"");
    let mut twins = [listening(&config), listening(&config)];
    nats.run();
    let stays = &twins[one_leaves(&mut twins)];
    wait_ready(stays);
    wait_until("one to be left", || members(stays) == ["twin"]);
    let mut client = Client::login(stays, "u");
    assert_eq!(stays.push(json!({"user": "u"}), "p", json!(1)), counts(1, 1));
    assert_eq!(client.json()["path"], "p");
}

#[test]
fn a_node_whose_name_was_given_away_while_it_was_paused_does_not_share_it() {
    let changes = "timeouts.drain = \"100ms\"";
    let mut cluster = Cluster::start(2, changes);
    let paused = cluster.nodes.remove(1);
    paused.run.signal("STOP");
    let heir = Gateway::start(&cluster.config("n2", changes));
    paused.run.signal("CONT");
    let mut both = [paused, heir];
    let stays = &both[one_leaves(&mut both)];
    let mut client = Client::login(stays, "u");
    wait_until("the cluster to be whole", || {
        members(&cluster.nodes[0]) == ["n1", "n2"]
            && cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1)) == counts(1, 2)
    });
    assert_eq!(client.json()["path"], "p");
}
