//! A Friday's deployment: three nodes with clients are restarted one after the other. Every client is told when to come
//! back, as slowly as the weakest of the other nodes announces to take clients, and every client is back in the end.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tungstenite::Message;
use tungstenite::protocol::frame::CloseFrame;

use crate::nodes::{Cluster, listening, wait_members, wait_ready};
use crate::support::{Gateway, PATIENCE, Value, token, wait_until};

const CLIENTS: usize = 60;
/// Logins a second that each node announces.
const PACE: u64 = 10;

fn changes() -> String {
    format!("limits.logins_per_second = {PACE}\ntimeouts.drain = \"500ms\"")
}

/// What the clients share: where the nodes are, and how long each was told to wait.
#[derive(Default)]
struct World {
    nodes: Mutex<Vec<SocketAddr>>,
    told_ms: Mutex<Vec<u64>>,
}

/// Connects and logs in; `None`: not here, not now.
fn log_in(address: SocketAddr, user: &str) -> Option<tungstenite::WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut socket, _) = tungstenite::client("ws://localhost/ws", stream).ok()?;
    let login = json!({"path": "connect", "token": token(user)});
    socket.send(Message::text(login.to_string())).ok()?;
    let reply: Value = serde_json::from_str(socket.read().ok()?.to_text().ok()?).ok()?;
    (reply["status"] == 200).then_some(socket)
}

/// A client as docs/protocol.md wants it, to the push `end`.
fn live(world: &World, number: usize) {
    for attempt in number.. {
        let address = {
            let nodes = world.nodes.lock().unwrap();
            nodes[attempt % nodes.len()]
        };
        let Some(mut socket) = log_in(address, &format!("u{number}")) else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let close: Option<CloseFrame> = loop {
            match socket.read() {
                Ok(Message::Text(text)) if text.contains("\"end\"") => return,
                Ok(Message::Close(close)) => break close,
                Ok(_) => {}
                Err(_) => break None,
            }
        };
        let told = close.as_ref().and_then(|close| close.reason.strip_prefix("retry_ms="));
        if let Some(told_ms) = told.and_then(|ms| ms.parse().ok()) {
            world.told_ms.lock().unwrap().push(told_ms);
            thread::sleep(Duration::from_millis(told_ms));
        }
    }
}

/// Clients spread over the nodes, all of them in.
fn crowd(cluster: &Cluster) -> (Arc<World>, Vec<thread::JoinHandle<()>>) {
    let world = Arc::new(World::default());
    *world.nodes.lock().unwrap() = cluster.nodes.iter().map(Gateway::ws).collect();
    let clients = (0..CLIENTS).map(|number| {
        let world = Arc::clone(&world);
        thread::spawn(move || live(&world, number))
    });
    let clients = clients.collect();
    all_there(&cluster.nodes[0]);
    (world, clients)
}

fn cluster_of(node: &Gateway) -> Vec<Value> {
    node.get("/v1/cluster").ok()["nodes"].as_array().unwrap().clone()
}

fn all_there(node: &Gateway) {
    wait_until("every client to be there", || {
        node.push(json!({"all": true}), "there", Value::Null)["queued"] == CLIENTS
    });
}

#[test]
fn a_rolling_restart_sends_clients_away_as_slowly_as_the_others_take_them() {
    let mut cluster = Cluster::start(3, &changes());
    let (world, clients) = crowd(&cluster);

    for place in 0..3 {
        let watcher = (place + 1) % 3;
        // The clients' own logins make the nodes busy for a moment, which says nothing of the next one.
        wait_until("the nodes to be quiet", || {
            let nodes = cluster_of(&cluster.nodes[place]);
            nodes.len() == 3
                && nodes.iter().all(|node| {
                    assert_eq!(node["logins_max_per_s"], PACE, "{node}");
                    node["logins_per_s"] == 0
                })
        });
        let here = cluster_of(&cluster.nodes[place])[place]["connections"]
            .as_u64()
            .unwrap();
        world.told_ms.lock().unwrap().clear();

        cluster.nodes[place].run.signal("TERM");
        assert_eq!(cluster.nodes[place].run.exit_code(), 0);
        wait_until("everybody to know when to come back", || {
            world.told_ms.lock().unwrap().len() as u64 == here
        });
        let mut told_ms = world.told_ms.lock().unwrap().clone();
        told_ms.sort_unstable();
        // One a tenth of a second each, from a tenth of a second on. A node that was still busy with logins is spared
        // further, so that it may be more.
        let last_ms = 100 + (here.max(PACE) - 1) * 1_000 / PACE;
        assert!(
            told_ms.last().is_some_and(|last| *last + 150 >= last_ms),
            "{told_ms:?}, to be {last_ms}"
        );
        let close = told_ms.windows(2).find(|pair| pair[1] - pair[0] < 1_000 / PACE / 2);
        assert!(close.is_none(), "{close:?} of {told_ms:?}");

        let name = format!("n{}", place + 1);
        cluster.nodes[place] = listening(&cluster.config(&name, &changes()));
        wait_ready(&cluster.nodes[place]);
        wait_members(&cluster.nodes);
        world.nodes.lock().unwrap()[place] = cluster.nodes[place].ws();
        all_there(&cluster.nodes[watcher]);
    }

    cluster.nodes[0].push(json!({"all": true}), "end", Value::Null);
    for client in clients {
        client.join().unwrap();
    }
}

/// Renewals are no logins: a node whose clients renew their tokens all the time is as free as any other.
#[test]
fn renewals_slow_no_drain_down() {
    let mut cluster = Cluster::start(2, &changes());
    let (_, clients) = crowd(&cluster);
    let mut renewing = crate::support::Client::login(&cluster.nodes[1], "renewing");
    // What a node tells is up to two seconds old, so that the crowd's own logins may still come up.
    let most = CLIENTS as u64 + 2;
    let told = || {
        let node = &cluster_of(&cluster.nodes[0])[1];
        let logins = node["logins_per_s"].as_u64().unwrap();
        assert!(logins <= most, "{logins} logins a second, {most} in all");
        node["connections"].clone()
    };
    wait_until("many renewals", || {
        for _ in 0..20 {
            renewing.connect(&token("renewing"), Value::Null);
        }
        told();
        cluster.nodes[1].metric("longwire_auth_total{result=\"ok\"}") > Some(600.0)
    });
    // What is told from now on is of later: of one connection more, and of one less.
    let late = crate::support::Client::login(&cluster.nodes[1], "late");
    let here = || cluster_of(&cluster.nodes[1])[1]["connections"].clone();
    wait_until("the node to tell of a connection after the renewals", || {
        told() == here()
    });
    late.close();
    cluster.nodes[1].wait_connections("late", 0);
    wait_until("the node to tell of its end", || told() == here());
    renewing.close();
    cluster.nodes[0].push(json!({"all": true}), "end", Value::Null);
    for client in clients {
        client.join().unwrap();
    }
    cluster.nodes[0].run.signal("TERM");
    assert_eq!(cluster.nodes[0].run.exit_code(), 0);
}
