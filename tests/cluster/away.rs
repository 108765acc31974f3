//! What a node does while its NATS is away, and that all of it heals.

use std::time::Instant;

use serde_json::json;

use crate::nats::NatsServer;
use crate::nodes::{
    Cluster, after_healed, counts, listening, on, wait_crossing, wait_members, wait_not_ready, wait_ready,
};
use crate::support::client::assert_refusal;
use crate::support::{Client, Gateway, PATIENCE, wait_until};

/// Answers every call of `echo` until the server goes.
fn echo(nats: &NatsServer) -> std::thread::JoinHandle<()> {
    let mut service = nats.connect();
    service.subscribe("longwire.call.echo");
    service.flush();
    std::thread::spawn(move || {
        while let Ok(call) = service.try_next() {
            let Some(reply) = call.reply.clone() else { continue };
            if service.try_publish(&reply, None, &[], &call.payload).is_err() {
                return;
            }
        }
    })
}

/// Calls until the status is this one. Others before it are those of a node that has not noticed yet.
#[track_caller]
fn call_until(client: &mut Client, status: u16, before: &[u16]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.send(json!({"path": "echo", "id": 1, "body": 1}));
        let reply = after_healed(client);
        let got = u16::try_from(reply["status"].as_u64().unwrap_or_else(|| panic!("{reply}"))).unwrap();
        if got == status {
            if status == 503 {
                assert_refusal(&reply, &json!(1), 503, "bus_unavailable");
            }
            return;
        }
        assert!(before.contains(&got) && Instant::now() < deadline, "{reply}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Everything works over all nodes.
#[track_caller]
fn assert_whole(cluster: &Cluster, clients: &mut [Client]) {
    cluster.nodes.iter().for_each(wait_ready);
    wait_members(&cluster.nodes);
    wait_crossing(&cluster.nodes);
    for node in &cluster.nodes {
        assert_eq!(
            node.push(json!({"user": "u"}), "p", json!(1)),
            counts(clients.len(), cluster.nodes.len())
        );
        assert_eq!(node.metric("longwire_bus_connected"), Some(1.0));
    }
    let _service = echo(&cluster.nats);
    let mut bus = cluster.bus();
    bus.publish("longwire.push.user.u", r#"{"path":"bus"}"#);
    for client in clients {
        (0..cluster.nodes.len()).for_each(|_| assert_eq!(after_healed(client)["path"], "p"));
        assert_eq!(after_healed(client)["path"], "bus");
        call_until(client, 200, &[]);
    }
}

/// Everything that does not need the bus works, the rest is refused.
#[track_caller]
fn assert_alone(node: &Gateway, client: &mut Client, nodes: usize) {
    let reason = wait_not_ready(node);
    assert!(reason.to_uppercase().contains("NATS"), "{reason}");
    assert_eq!(node.get("/healthz").status, 200);
    call_until(client, 503, &[504]);
    // Without an id nobody is told.
    client.send(json!({"path": "echo", "body": 1}));
    client.fence();
    let push = node.push(json!({"user": "u"}), "alone", json!(1));
    assert_eq!(
        push,
        json!({"matched": 1, "queued": 1, "dropped": 0, "nodes": {"asked": nodes, "answered": 1}})
    );
    assert_eq!(client.json(), json!({"path": "alone", "body": 1}));
    assert_eq!(node.metric("longwire_bus_connected"), Some(0.0));
    assert_eq!(node.connections_of("u"), 1);
    let mut new = Client::login(node, "new");
    new.fence();
    assert_eq!(node.delete("/v1/users/new").ok()["closed"], 1);
    assert_eq!(new.closed().0, 4403);
}

#[test]
fn a_killed_nats_takes_no_connection_with_it_and_all_heals_when_it_is_back() {
    let mut cluster = Cluster::start(3, "timeouts.call = \"1s\"");
    let mut clients = cluster.login_everywhere("u");
    assert_whole(&cluster, &mut clients);
    for _ in 0..2 {
        cluster.nats.kill();
        for (node, client) in cluster.nodes.iter().zip(&mut clients) {
            assert_alone(node, client, 3);
        }
        cluster.nats.run();
        assert_whole(&cluster, &mut clients);
    }
}

#[test]
fn a_nats_that_restarts_in_a_moment_is_found_again() {
    let mut cluster = Cluster::start(2, "");
    let mut clients = cluster.login_everywhere("u");
    for _ in 0..3 {
        cluster.nats.restart();
        assert_whole(&cluster, &mut clients);
    }
}

#[test]
fn a_paused_nats_is_noticed_and_all_heals_when_it_goes_on() {
    let cluster = Cluster::start(2, "timeouts.call = \"1s\"");
    let mut clients = cluster.login_everywhere("u");
    assert_whole(&cluster, &mut clients);
    cluster.nats.pause();
    for (node, client) in cluster.nodes.iter().zip(&mut clients) {
        assert_alone(node, client, 2);
    }
    cluster.nats.resume();
    assert_whole(&cluster, &mut clients);
}

#[test]
fn a_short_pause_loses_no_push() {
    let cluster = Cluster::start(2, "");
    let mut clients = cluster.login_everywhere("u");
    let mut bus = cluster.bus();
    for n in 0..200 {
        if n == 100 {
            cluster.nats.pause();
        }
        bus.publish("longwire.push.user.u", crate::nodes::numbered(n));
        if n == 150 {
            cluster.nats.resume();
        }
    }
    for client in &mut clients {
        (0..200).for_each(|n| assert_eq!(client.json()["body"], n));
    }
}

#[test]
fn calls_on_their_way_when_nats_goes_are_answered_once() {
    let mut cluster = Cluster::start(1, "timeouts.call = \"2s\"");
    let mut service = cluster.bus();
    service.subscribe("longwire.call.>");
    service.flush();
    let mut client = Client::login(&cluster.nodes[0], "u");
    for n in 0..50 {
        client.send(json!({"path": "never/answered", "id": n}));
    }
    (0..50).for_each(|_| drop(service.next()));
    cluster.nats.kill();
    let mut ids: Vec<u64> = (0..50)
        .map(|_| {
            let reply = client.json();
            assert!(reply["status"] == 503 || reply["status"] == 504, "{reply}");
            reply["id"].as_u64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..50), "{ids:?}");
    client.fence();
}

#[test]
fn a_node_starts_without_its_nats_says_so_and_is_ready_when_it_is_there() {
    let mut nats = NatsServer::prepare("");
    let node = listening(&on(std::slice::from_ref(&nats), "n1", ""));
    let reason = wait_not_ready(&node);
    assert!(reason.to_uppercase().contains("NATS"), "{reason}");
    node.log_line(&["WARN", "NATS"]);
    let mut client = Client::login(&node, "u");
    client.refused(json!({"path": "echo", "id": 1}), 503, "bus_unavailable");
    let push = node.push(json!({"user": "u"}), "p", json!(1));
    assert_eq!((&push["matched"], &push["nodes"]["answered"]), (&json!(1), &json!(1)));
    assert_eq!(client.json()["path"], "p");
    nats.run();
    wait_ready(&node);
    let mut cluster = Cluster {
        nodes: vec![node],
        nats,
    };
    let second = Gateway::start(&cluster.config("n2", ""));
    let mut clients = vec![client, Client::login(&second, "u")];
    cluster.nodes.push(second);
    assert_whole(&cluster, &mut clients);
}

#[test]
fn a_node_without_its_nats_drains_and_ends() {
    let mut cluster = Cluster::start(1, "timeouts.drain = \"100ms\"");
    let mut client = Client::login(&cluster.nodes[0], "u");
    cluster.nats.kill();
    wait_not_ready(&cluster.nodes[0]);
    cluster.nodes[0].run.signal("TERM");
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(cluster.nodes[0].run.exit_code(), 0);
}

#[test]
fn a_node_that_ends_while_nats_is_paused_ends() {
    let mut cluster = Cluster::start(1, "timeouts.drain = \"100ms\"");
    let mut client = Client::login(&cluster.nodes[0], "u");
    cluster.nats.pause();
    cluster.nodes[0].run.signal("TERM");
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(cluster.nodes[0].run.exit_code(), 0);
}

#[test]
fn a_client_that_ended_while_nats_was_away_is_nowhere_afterwards() {
    let mut cluster = Cluster::start(2, "");
    let mut stays = Client::login(&cluster.nodes[1], "u");
    let goes = Client::login(&cluster.nodes[0], "u");
    cluster.nodes[1].wait_connections("u", 2);
    cluster.nats.kill();
    wait_not_ready(&cluster.nodes[0]);
    goes.close();
    cluster.nats.run();
    wait_crossing(&cluster.nodes);
    for node in &cluster.nodes {
        wait_until("one to be left", || node.connections_of("u") == 1);
    }
    assert_eq!(cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1)), counts(1, 2));
    assert_eq!(after_healed(&mut stays)["path"], "p");
}
