//! Narrow ways: a slow network to NATS, a server that takes little at once, nodes with other limits. What cannot be done
//! is said, and nobody is taken for dead.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::nats::NatsServer;
use crate::nodes::{Cluster, listening, members, on, start_all, wait_members, with_urls};
use crate::support::{Client, Gateway, token, wait_until};

const SLOW_BYTES_A_SECOND: usize = 2_000_000;

/// A way to a NATS server that carries what comes from the node slowly, and the rest as it comes; its URL.
fn slow_way(to: &NatsServer) -> String {
    let server = to.url().trim_start_matches("nats://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for node in listener.incoming() {
            let (Ok(node), Ok(server)) = (node, TcpStream::connect(&server)) else {
                return;
            };
            carry(server.try_clone().unwrap(), node.try_clone().unwrap(), None);
            carry(node, server, Some(SLOW_BYTES_A_SECOND));
        }
    });
    url
}

fn carry(mut from: TcpStream, mut to: TcpStream, bytes_a_second: Option<usize>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            if let Some(rate) = bytes_a_second {
                thread::sleep(Duration::from_secs(1) * n as u32 / rate as u32);
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Ends the load when the test is done, or has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_node_with_a_slow_way_to_nats_stays_in_the_cluster_and_its_queue_within_bounds() {
    let nats = NatsServer::start();
    let near = Gateway::start(&on(std::slice::from_ref(&nats), "near", ""));
    let far = Gateway::start(&with_urls(&[slow_way(&nats)], "far", "log.level = \"info\""));
    let nodes = [near, far];
    wait_members(&nodes);
    let [near, far] = &nodes;
    let mut client = Client::login(far, "u");
    let body = "x".repeat(200_000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&done);
        for _ in 0..50 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Accepted with what came of it in a second, or refused for want of room.
                    let answer = far.post("/v1/push", json!({"to": {"user": "v"}, "path": "p", "body": body}));
                    assert!(matches!(answer.status, 200 | 503));
                }
            });
        }
        // Longer than a node may be silent: 400 looks, of which none finds it gone.
        for look in 0..400 {
            assert_eq!(members(near), ["far", "near"], "look {look}");
            thread::sleep(Duration::from_millis(20));
        }
        // Its answers may be late; then they are known to be missing.
        let found = near.user("u");
        assert!(found["online"] == true || found["nodes"]["answered"] == 1, "{found}");
    });
    wait_until("the way to be free again", || {
        near.push(json!({"user": "u"}), "p", json!(1))["matched"] == 1
    });
    assert_eq!(client.json()["body"], 1);
    let resident = far.metric("process_resident_memory_bytes").unwrap();
    assert!(resident < 250e6, "{resident} bytes");
}

#[test]
fn a_kick_that_found_no_way_in_time_is_not_carried_out_later() {
    let cluster = Cluster::start(2, "");
    cluster.nats.pause();
    // The server takes what its socket's buffers hold, and no more: fill them with pushes that nobody waits for.
    let body = "x".repeat(250_000);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| cluster.nodes[0].post("/v1/push", json!({"to": {"user": "v"}, "path": "p", "body": body})));
        }
    });
    let answer = cluster.nodes[0].delete("/v1/users/u").ok();
    assert_eq!(answer["closed"], 0);
    cluster.nats.resume();
    crate::nodes::wait_crossing(&cluster.nodes);
    let mut client = Client::login(&cluster.nodes[1], "u");
    for _ in 0..20 {
        assert_eq!(cluster.nodes[0].push(json!({"user": "u"}), "p", json!(1))["matched"], 1);
        assert_eq!(client.json()["path"], "p");
    }
}

#[test]
fn look_ups_are_cut_to_what_nats_takes() {
    let nats = NatsServer::start_with("max_payload: 20000");
    let nodes = start_all(&["n1", "n2"].map(|name| on(std::slice::from_ref(&nats), name, "")));
    wait_members(&nodes);
    let clients: Vec<Client> = (0..150).map(|_| Client::login(&nodes[1], "u")).collect();
    let found = nodes[0].user("u");
    assert_eq!(found["connections"].as_array().unwrap().len(), clients.len());
    assert!(found.get("nodes").is_none(), "{found}");
    // One connection alone may be more than a message: it is there all the same.
    let topics: Vec<String> = (0..100).map(|n| format!("{}{n:03}", "t".repeat(250))).collect();
    let mut many = Client::open(&nodes[1]);
    let minted = crate::support::mint(json!({"sub": "w", "exp": 9_999_999_999_u64, "topics": ["*"]}));
    many.connect(&minted, json!({"topics": topics}));
    let found = nodes[0].user("w");
    assert_eq!(
        (&found["online"], found["connections"].as_array().unwrap().len()),
        (&json!(true), 1)
    );
}

#[test]
fn one_device_holds_over_nodes_though_all_claims_are_more_than_a_message() {
    let nats = NatsServer::start_with("max_payload: 40000");
    let policy = "sessions.one_per_device = true";
    let nodes = start_all(&["n1", "n2"].map(|name| on(std::slice::from_ref(&nats), name, policy)));
    wait_members(&nodes);
    let users: Vec<String> = (0..200).map(|n| format!("{}{n:03}", "u".repeat(100))).collect();
    let login = |node: usize, user: &str| {
        let mut client = Client::open(&nodes[node]);
        client.send(json!({"path": "connect", "id": 1, "token": token(user), "body": {"device": "phone"}}));
        client
    };
    let mut first: Vec<Client> = users.iter().map(|user| login(0, user)).collect();
    first
        .iter_mut()
        .for_each(|client| assert_eq!(client.json()["status"], 200));
    let mut second: Vec<Client> = users.iter().map(|user| login(1, user)).collect();
    second
        .iter_mut()
        .for_each(|client| assert_eq!(client.json()["status"], 200));
    first.iter_mut().for_each(|client| assert_eq!(client.closed().0, 4409));
    second.iter_mut().for_each(Client::fence);
}

#[test]
fn a_push_that_another_node_s_limits_refuse_is_not_answered_as_offline() {
    let nats = NatsServer::start();
    let small = on(std::slice::from_ref(&nats), "small", "limits.push_bytes = \"10KiB\"");
    let nodes = start_all(&[on(std::slice::from_ref(&nats), "large", ""), small]);
    wait_members(&nodes);
    let mut client = Client::login(&nodes[1], "u");
    let answer = nodes[0].push(json!({"user": "u"}), "p", json!("x".repeat(50_000)));
    assert_eq!(
        answer,
        json!({"matched": 0, "queued": 0, "dropped": 0, "nodes": {"asked": 2, "answered": 1}})
    );
    assert_eq!(nodes[0].push(json!({"user": "u"}), "p", json!(1))["matched"], 1);
    assert_eq!(client.json()["body"], 1);
}

#[test]
fn a_large_batch_for_many_reaches_every_node_or_says_which_pushes_did_not() {
    let cluster = Cluster::start(2, "limits.outbound_bytes = \"8MiB\"");
    let [mut local, mut remote] = [0, 1].map(|node| Client::login(&cluster.nodes[node], "u0"));
    let mut users: Vec<String> = (0..10_000).map(|n| format!("{}{n}", "n".repeat(40))).collect();
    users[0] = "u0".into();
    let body = "x".repeat(200_000);
    let pushes: Vec<_> = (0..9)
        .map(|n| json!({"to": {"users": users}, "path": "p", "body": [n, body]}))
        .collect();
    let answer = cluster.nodes[0].post("/v1/push/batch", json!({"pushes": pushes})).ok();
    let results = answer["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 9);
    // On its own node nothing is in the way.
    for n in 0..9 {
        assert_eq!(local.json()["body"][0], n);
    }
    // On the other, whatever was answered for is there, in order; what NATS had no room for in time may not be.
    let answered: Vec<usize> = (0..9).filter(|&n| results[n]["nodes"]["answered"] == 2).collect();
    let mut came: Vec<u64> = Vec::new();
    wait_until("a push to get through behind them", || {
        cluster.nodes[0].push(json!({"user": "u0"}), "last", json!(null))["nodes"]["answered"] == 2
    });
    loop {
        let message = remote.json();
        if message["path"] == "last" {
            break;
        }
        came.push(message["body"][0].as_u64().unwrap());
    }
    assert!(came.is_sorted_by(|a, b| a < b), "{came:?}");
    assert!(
        answered.iter().all(|&n| came.contains(&(n as u64))),
        "{answered:?} of {came:?}"
    );
}

#[test]
fn a_signal_ends_a_start_that_waits_for_its_name() {
    let nats = NatsServer::start();
    let config = on(std::slice::from_ref(&nats), "n1", "");
    let holder = Gateway::start(&config);
    let dir = crate::support::TempDir::new();
    let path = dir.write("longwire.toml", crate::support::gateway::config(&config));
    let mut second = crate::support::Run::start(crate::support::gateway::longwire().arg("--config").arg(&path));
    // It has asked, as soon as the holder has answered it; then it waits.
    let mut bus = nats.connect();
    bus.subscribe("longwire.node.hello");
    bus.flush();
    bus.next();
    second.signal("TERM");
    assert_eq!(second.exit_code(), 0, "{}", second.output());
    assert!(!second.output().contains("alive"), "{}", second.output());
    assert_eq!(holder.get("/readyz").status, 200);
}

#[test]
fn refused_publishing_makes_a_node_not_ready() {
    let nats = NatsServer::start_with(
        "authorization { users: [{ user: u, password: p, permissions: { publish: { deny: \"longwire.push.>\" } } }] }",
    );
    let node = listening(&on(
        std::slice::from_ref(&nats),
        "n1",
        "nats.user = \"u\"\nnats.password = \"p\"",
    ));
    crate::nodes::wait_ready(&node);
    node.post("/v1/push", json!({"to": {"all": true}, "path": "p"}));
    wait_until("/readyz to say so", || node.get("/readyz").status == 503);
    let why = node.get("/readyz").problem(503);
    assert!(why.contains("longwire.push.all"), "{why}");
}
