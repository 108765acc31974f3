//! Several gateways on one NATS: started at once, each knowing the others before the test begins.

use std::thread;

use serde_json::json;

use crate::nats::{Nats, NatsServer};
use crate::support::{Client, Gateway, TempDir, Value, wait_until};

/// A running nats-server and the nodes on it. The nodes end first.
pub struct Cluster {
    pub nodes: Vec<Gateway>,
    pub nats: NatsServer,
}

/// The config of a node with this name on these servers.
pub fn on(servers: &[NatsServer], name: &str, changes: &str) -> String {
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    with_urls(&urls, name, changes)
}

/// The same with URLs.
pub fn with_urls(urls: &[String], name: &str, changes: &str) -> String {
    // No pings: they would keep a client waiting for what does not come.
    format!(
        "server.node = \"{name}\"\nnats.url = [\"{}\"]\ntimeouts.ping = \"10m\"\n{changes}",
        urls.join("\", \"")
    )
}

/// A node that listens; whether it is ready is the test's own question.
pub fn listening(changes: &str) -> Gateway {
    Gateway::listening_in(TempDir::new(), changes, |_| {})
}

/// Starts nodes with these configs at the same time.
pub fn start_all(configs: &[String]) -> Vec<Gateway> {
    thread::scope(|scope| {
        let starts: Vec<_> = configs
            .iter()
            .map(|config| scope.spawn(|| Gateway::start(config)))
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    })
}

impl Cluster {
    /// Nodes `n1`, `n2`, … on a server of their own.
    pub fn start(nodes: usize, changes: &str) -> Self {
        Self::start_on(NatsServer::start(), nodes, changes)
    }

    /// The same on this server.
    pub fn start_on(nats: NatsServer, nodes: usize, changes: &str) -> Self {
        let configs: Vec<String> = (1..=nodes)
            .map(|n| on(std::slice::from_ref(&nats), &format!("n{n}"), changes))
            .collect();
        let nodes = start_all(&configs);
        wait_members(&nodes);
        Self { nodes, nats }
    }

    /// One node of this name on a server of its own.
    pub fn start_named(name: &str) -> Self {
        let nats = NatsServer::start();
        let nodes = start_all(&[on(std::slice::from_ref(&nats), name, "")]);
        Self { nodes, nats }
    }

    /// A client on the bus.
    #[track_caller]
    pub fn bus(&self) -> Nats {
        self.nats.connect()
    }

    /// The config of one more node.
    pub fn config(&self, name: &str, changes: &str) -> String {
        on(std::slice::from_ref(&self.nats), name, changes)
    }

    /// A client of this user on every node.
    #[track_caller]
    pub fn login_everywhere(&self, user: &str) -> Vec<Client> {
        self.nodes.iter().map(|node| Client::login(node, user)).collect()
    }
}

/// The names of the members that a node knows, sorted; empty while it does not answer.
pub fn members(node: &Gateway) -> Vec<String> {
    let answer = node.get("/v1/cluster").ok();
    let nodes = answer["nodes"].as_array().unwrap();
    let mut names: Vec<String> = nodes.iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Waits until each of these nodes knows as many members as there are of them.
pub fn wait_members(nodes: &[Gateway]) {
    for node in nodes {
        wait_until("the nodes to know each other", || members(node).len() == nodes.len());
    }
}

/// Waits until a node is ready.
#[track_caller]
pub fn wait_ready(node: &Gateway) {
    wait_until("/readyz to say 200", || node.get("/readyz").status == 200);
}

/// Waits until a node is not ready, and gives the reason.
#[track_caller]
pub fn wait_not_ready(node: &Gateway) -> String {
    wait_until("/readyz to say 503", || node.get("/readyz").status == 503);
    node.get("/readyz").problem(503)
}

/// Waits until a push to everybody by the API of each node is answered by all of them. The clients get it with the path
/// `healed`; see `drain_healed`.
#[track_caller]
pub fn wait_crossing(nodes: &[Gateway]) {
    let all = json!({"asked": nodes.len(), "answered": nodes.len()});
    for node in nodes {
        wait_until("pushes to cross all nodes", || {
            node.push(json!({"all": true}), "healed", Value::Null)["nodes"] == all
        });
    }
}

/// The next message that is no `healed`.
#[track_caller]
pub fn after_healed(client: &mut Client) -> Value {
    loop {
        let message = client.json();
        if message["path"] != "healed" {
            return message;
        }
    }
}

/// The answer to an API push that all of `nodes` counted.
pub fn counts(matched: usize, nodes: usize) -> Value {
    json!({"matched": matched, "queued": matched, "dropped": 0, "nodes": {"asked": nodes, "answered": nodes}})
}

/// The text of a push that tells its number.
pub fn numbered(n: usize) -> String {
    json!({"path": "n", "body": n}).to_string()
}

/// Checks that these and no others come before the message `{"path":"end"}`, which the caller has sent on its way after
/// them by the same publisher.
#[track_caller]
pub fn expect_until_end(client: &mut Client, texts: &[&str]) {
    for text in texts {
        assert_eq!(client.text(), *text);
    }
    assert_eq!(client.json()["path"], "end");
}
