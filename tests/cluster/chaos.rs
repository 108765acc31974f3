//! Three nodes, hundreds of clients that reconnect by themselves, a publisher on the bus and two callers of the API, all
//! at work while a node is killed and started again and NATS is killed and started again. Afterwards nothing that was
//! reported as queued is missing where its connections lived on, nothing came twice, and no order is broken.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::{Message, WebSocket};

use crate::nats::Nats;
use crate::nodes::{Cluster, counts, listening, members, wait_crossing, wait_members, wait_not_ready, wait_ready};
use crate::support::http::try_request;
use crate::support::{Client, PATIENCE, Value, token, wait_for, wait_until};

/// Users, of two connections each.
const USERS: usize = 150;
/// Between two pushes of one publisher, so that it does not use the machine up.
const PACE: Duration = Duration::from_millis(4);

fn user(n: usize) -> String {
    format!("u{n}")
}

/// One connection of a client from its login to its end.
struct Life {
    opened: Instant,
    /// None: it was there to the end.
    ended: Option<Instant>,
    /// The numbers that came, by the path of their publisher.
    came: HashMap<String, Vec<usize>>,
}

/// Where clients may connect to; a node that is down is in it too, as in life.
type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

fn log_in(address: SocketAddr, user: &str) -> Option<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut socket, _) = tungstenite::client("ws://localhost/ws", stream).ok()?;
    let login = json!({"path": "connect", "token": token(user), "body": {"topics": ["t"]}});
    socket.send(Message::text(login.to_string())).ok()?;
    let reply: Value = serde_json::from_str(socket.read().ok()?.to_text().ok()?).ok()?;
    assert_eq!(
        (&reply["path"], &reply["status"]),
        (&json!("connect"), &json!(200)),
        "{reply}"
    );
    Some(socket)
}

/// A client: connects, reads, connects again when it is cut off, until the push `end`. Gives its lives.
fn live(addresses: &Addresses, user: &str, mut node: usize) -> Vec<Life> {
    let mut lives = Vec::new();
    loop {
        let address = {
            let addresses = addresses.lock().unwrap();
            addresses[node % addresses.len()]
        };
        let Some(mut socket) = log_in(address, user) else {
            node += 1;
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let mut life = Life {
            opened: Instant::now(),
            ended: None,
            came: HashMap::new(),
        };
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let push: Value = serde_json::from_str(&text).unwrap();
                    match push["path"].as_str().unwrap() {
                        "healed" => {}
                        "end" => {
                            lives.push(life);
                            return lives;
                        }
                        path => {
                            let n = usize::try_from(push["body"].as_u64().unwrap()).unwrap();
                            life.came.entry(path.to_owned()).or_default().push(n);
                        }
                    }
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => panic!("nobody was to be closed: {frame:?}"),
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
        }
        life.ended = Some(Instant::now());
        lives.push(life);
        node += 1;
    }
}

/// Publishes on the bus until told to stop, whatever becomes of it.
fn publish(port: u16, stop: &AtomicBool, published: &AtomicUsize) {
    let mut bus: Option<Nats> = None;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(PACE);
        let subject = match n % 20 {
            0 => "longwire.push.all".to_owned(),
            1 | 2 => "longwire.push.topic.t".to_owned(),
            _ => format!("longwire.push.user.{}", user(n % USERS)),
        };
        let text = json!({"path": "bus", "body": n}).to_string();
        let sent = bus
            .as_mut()
            .is_some_and(|bus| bus.try_publish(&subject, None, &[], text.as_bytes()).is_ok());
        if sent {
            published.fetch_add(1, Ordering::Relaxed);
        } else {
            bus = Nats::connect_with(port, json!({})).ok();
        }
    }
}

/// A push that the API answered.
struct Pushed {
    n: usize,
    user: String,
    sent: Instant,
    answered: Instant,
    matched: u64,
    queued: u64,
}

/// Pushes by one node's API until told to stop, one after the other.
fn push(api: SocketAddr, path: &str, stop: &AtomicBool, done: &AtomicUsize) -> Vec<Pushed> {
    let mut pushes = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(PACE);
        let user = user((n * 7) % USERS);
        let body = json!({"to": {"user": user}, "path": path, "body": n}).to_string();
        let sent = Instant::now();
        let answer = try_request("POST", &format!("http://{api}/v1/push"), None, Some(&body))
            .unwrap_or_else(|e| panic!("push {n}: {e}"))
            .ok();
        let count = |name: &str| answer[name].as_u64().unwrap();
        assert_eq!(count("matched"), count("queued") + count("dropped"), "{answer}");
        assert!(
            answer["nodes"]["answered"].as_u64() <= answer["nodes"]["asked"].as_u64(),
            "{answer}"
        );
        pushes.push(Pushed {
            n,
            user,
            sent,
            answered: Instant::now(),
            matched: count("matched"),
            queued: count("queued"),
        });
        done.fetch_add(1, Ordering::Relaxed);
    }
    pushes
}

/// Checks the pushes of one caller against what the users' connections got. Gives how many of them were reported as
/// queued for both connections of a user, neither of which ended.
fn check(path: &str, pushes: &[Pushed], lives: &HashMap<String, Vec<Life>>) -> usize {
    let mut whole = 0;
    for push in pushes {
        let lives = &lives[&push.user];
        let mut came = 0;
        for life in lives {
            let times = life
                .came
                .get(path)
                .map_or(0, |came| came.iter().filter(|n| **n == push.n).count());
            assert!(times <= 1, "{path} {} came {times} times to one connection", push.n);
            came += times as u64;
        }
        let mut there = lives
            .iter()
            .filter(|life| life.opened <= push.answered && life.ended.is_none_or(|ended| ended >= push.sent));
        if there.all(|life| life.ended.is_none()) {
            assert!(
                came >= push.queued,
                "{path} {} for {}: {} of {} queued by the report, {came} came",
                push.n,
                push.user,
                push.queued,
                push.matched
            );
            whole += usize::from(push.queued == 2);
        }
    }
    whole
}

#[test]
fn nothing_that_was_reported_as_queued_is_lost_and_no_order_is_broken() {
    let mut cluster = Cluster::start(3, "auth.default_topics = [\"*\"]\nlog.level = \"info\"");
    let addresses: Addresses = Arc::new(Mutex::new(cluster.nodes.iter().map(|node| node.ws()).collect()));
    let clients: Vec<_> = (0..USERS * 2)
        .map(|n| {
            let addresses = Arc::clone(&addresses);
            // Half of the users on the first two nodes, which stay; the others' second connection on the third.
            let node = if n < USERS { 0 } else { 1 + n % 2 };
            let user = user(n % USERS);
            let client = thread::Builder::new().stack_size(512 << 10);
            let live = move || (user.clone(), live(&addresses, &user, node));
            client.spawn(live).unwrap()
        })
        .collect();
    let all_there = |cluster: &Cluster| {
        wait_until("every client to be there", || {
            let reached = cluster.nodes[0].push(json!({"all": true}), "healed", Value::Null);
            reached["queued"] == USERS * 2
        });
    };
    all_there(&cluster);

    let (stop, published) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let apis = [cluster.nodes[0].api, cluster.nodes[1].api];
    let port = cluster.nats.port;
    let more = |what: &str, counters: &[&AtomicUsize], n: usize| {
        let targets: Vec<usize> = counters.iter().map(|c| c.load(Ordering::Relaxed) + n).collect();
        wait_until(what, || {
            let mut pairs = counters.iter().zip(&targets);
            pairs.all(|(counter, target)| counter.load(Ordering::Relaxed) >= *target)
        });
    };
    let both = [&done[0], &done[1]];
    let all = [&done[0], &done[1], &published];

    let pushes = thread::scope(|scope| {
        // Whatever fails in here, the threads end.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let guard = Stop(&stop);
        scope.spawn(|| publish(port, &stop, &published));
        let callers = [0, 1].map(|n| {
            let (api, stop, done) = (apis[n], &stop, &done[n]);
            scope.spawn(move || push(api, &format!("api{n}"), stop, done))
        });
        more("pushes at the start", &all, 300);

        cluster.nodes[2].run.signal("KILL");
        wait_for("the node to be dead", || cluster.nodes[2].run.try_exit());
        more("pushes with a node just killed", &both, 2);
        wait_until("it to be gone", || members(&cluster.nodes[0]) == ["n1", "n2"]);
        all_there(&cluster);
        more("pushes without it", &all, 100);

        // NATS goes while the node comes back.
        cluster.nats.kill();
        cluster.nodes[2] = listening(&cluster.config("n3", "auth.default_topics = [\"*\"]\nlog.level = \"info\""));
        addresses.lock().unwrap()[2] = cluster.nodes[2].ws();
        cluster.nodes.iter().for_each(|node| drop(wait_not_ready(node)));
        more("pushes without NATS", &both, 100);
        cluster.nats.run();
        more("pushes with NATS just back", &all, 5);
        cluster.nodes.iter().for_each(wait_ready);
        wait_members(&cluster.nodes);
        wait_crossing(&cluster.nodes);
        more("pushes with all whole again", &all, 300);

        // And once more all at once: the restart of a moment.
        cluster.nats.restart();
        more("pushes around a restart", &all, 100);
        wait_members(&cluster.nodes);
        wait_crossing(&cluster.nodes);
        more("pushes at the end", &all, 100);
        drop(guard);
        callers.map(|caller| caller.join().unwrap())
    });

    all_there(&cluster);
    let mut new = cluster.login_everywhere("new");
    for node in &cluster.nodes {
        assert_eq!(node.push(json!({"user": "new"}), "p", json!(1)), counts(3, 3));
    }
    cluster.bus().publish("longwire.push.user.new", r#"{"path":"bus"}"#);
    for client in &mut new {
        (0..3).for_each(|_| assert_eq!(client.json()["path"], "p"));
        assert_eq!(client.json()["path"], "bus");
    }
    new.into_iter().for_each(Client::close);
    let ended = cluster.nodes[2].push(json!({"all": true}), "end", Value::Null);
    assert_eq!(ended["nodes"], json!({"asked": 3, "answered": 3}));
    let mut lives: HashMap<String, Vec<Life>> = HashMap::new();
    for client in clients {
        let (user, more) = client.join().unwrap();
        lives.entry(user).or_default().extend(more);
    }

    for (user, lives) in &lives {
        for (path, came) in lives.iter().flat_map(|life| &life.came) {
            let broken = came.windows(2).find(|pair| pair[0] >= pair[1]);
            assert!(broken.is_none(), "{path} at {user}: {broken:?}");
        }
    }
    let moved = lives.values().filter(|lives| lives.len() > 2).count();
    assert!(moved > 0, "no client had to reconnect: the test has tested nothing");
    for (n, pushes) in pushes.iter().enumerate() {
        let whole = check(&format!("api{n}"), pushes, &lives);
        assert!(whole >= 300, "only {whole} of {} pushes say anything", pushes.len());
    }
}
