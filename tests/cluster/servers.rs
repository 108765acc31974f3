//! A cluster of three NATS servers that loses one: the node that was connected to it goes to another.

use serde_json::json;

use crate::nats::NatsServer;
use crate::nats::wait_routed;
use crate::nodes::{after_healed, counts, on, start_all, wait_crossing, wait_members, wait_ready, with_urls};
use crate::support::{Client, Gateway};

/// Pushes by the API and by the bus reach all clients, one of which is on each node.
#[track_caller]
fn assert_whole(nodes: &[Gateway], servers: &[&NatsServer], clients: &mut [Client]) {
    nodes.iter().for_each(wait_ready);
    wait_members(nodes);
    wait_crossing(nodes);
    for node in nodes {
        assert_eq!(
            node.push(json!({"user": "u"}), "p", json!(1)),
            counts(clients.len(), nodes.len())
        );
    }
    for server in servers {
        let mut bus = server.connect();
        bus.publish("longwire.push.user.u", r#"{"path":"bus"}"#);
        bus.flush();
        for client in clients.iter_mut() {
            while after_healed(client)["path"] != "bus" {}
        }
    }
}

#[test]
fn each_server_in_turn_may_be_lost() {
    let mut servers = NatsServer::start_three();
    let nodes = start_all(&["n1", "n2", "n3"].map(|name| on(&servers, name, "")));
    wait_members(&nodes);
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    for lost in 0..3 {
        servers[lost].kill();
        let left: Vec<&NatsServer> = (0..3).filter(|n| *n != lost).map(|n| &servers[n]).collect();
        assert_whole(&nodes, &left, &mut clients);
        servers[lost].run();
        wait_routed(&servers);
        assert_whole(&nodes, &servers.each_ref(), &mut clients);
    }
}

#[test]
fn a_paused_server_is_left_for_another() {
    let servers = NatsServer::start_three();
    let nodes = start_all(&["n1", "n2", "n3"].map(|name| on(&servers, name, "")));
    wait_members(&nodes);
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    for paused in 0..3 {
        servers[paused].pause();
        let left: Vec<&NatsServer> = (0..3).filter(|n| *n != paused).map(|n| &servers[n]).collect();
        assert_whole(&nodes, &left, &mut clients);
        servers[paused].resume();
        wait_routed(&servers);
        assert_whole(&nodes, &servers.each_ref(), &mut clients);
    }
}

#[test]
fn pushes_cross_from_server_to_server() {
    let servers = NatsServer::start_three();
    // Each node on a server of its own.
    let configs: Vec<String> = servers
        .iter()
        .enumerate()
        .map(|(n, server)| with_urls(&[server.url()], &format!("n{}", n + 1), ""))
        .collect();
    let nodes = start_all(&configs);
    wait_members(&nodes);
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    assert_whole(&nodes, &servers.each_ref(), &mut clients);
}

#[test]
fn of_the_servers_configured_those_that_are_down_at_the_start_are_passed_over() {
    let mut servers = [NatsServer::prepare(""), NatsServer::start(), NatsServer::prepare("")];
    let nodes = start_all(&["n1", "n2"].map(|name| on(&servers, name, "")));
    wait_members(&nodes);
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    assert_whole(&nodes, &[&servers[1]], &mut clients);
    servers[1].kill();
    servers[2].run();
    assert_whole(&nodes, &[&servers[2]], &mut clients);
}
