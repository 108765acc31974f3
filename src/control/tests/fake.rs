//! A node without reactors: commands are carried out at once on a list of connections. And an HTTP client to talk to it.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::config::{self, Settings};
use crate::control::{self, NotifyWake, PageFacts, Parts};
use crate::links::{Command, ConnectionId, ConnectionInfo, Notice, Sender, SlowConnection, Target};
use crate::metrics::NodeCounters;
use crate::node::Shared;

pub const EPOCH: u64 = 0xabc;
pub const REACTORS: usize = 2;

pub struct Connection {
    pub info: ConnectionInfo,
    pub user: String,
    /// Text of the frames it got, in order.
    pub frames: Vec<String>,
    /// As if its queue were full.
    pub stuck: bool,
}

#[derive(Default)]
pub struct World {
    pub connections: Vec<Connection>,
    pub closed: Vec<(ConnectionId, u16)>,
    pub admitted: Vec<(ConnectionId, bool)>,
    pub replaced: Vec<ConnectionId>,
    pub reloaded: usize,
}

pub struct Node {
    pub address: SocketAddr,
    pub world: Arc<Mutex<World>>,
    pub shared: Arc<Shared>,
    pub counters: Arc<NodeCounters>,
    pub outbox: Sender<Notice, NotifyWake>,
    /// Whether the inboxes are full.
    pub full: Arc<AtomicBool>,
    control: JoinHandle<u8>,
}

pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks that it is a problem of RFC 9457 with this status; its code and detail.
    pub fn problem(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.content_type, "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["type"].is_string());
        (
            problem["code"].as_str().unwrap().into(),
            problem["detail"].as_str().unwrap().into(),
        )
    }
}

pub fn settings() -> Settings {
    let mut settings = config::development("0123456789abcdef0123456789abcdef".into());
    settings.server.node = "localhost".into();
    settings
}

impl Node {
    pub fn start(settings: Settings) -> Self {
        let api = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = api.local_addr().unwrap();
        let shared = Arc::new(Shared::new(REACTORS, EPOCH));
        let counters = Arc::new(NodeCounters::new(REACTORS));
        let world = Arc::new(Mutex::new(World::default()));
        let full = Arc::new(AtomicBool::new(false));
        let (outbox, prepared) = control::prepare().unwrap();
        let inbox = |reactor: usize| -> control::Inbox {
            let (world, full, outbox) = (Arc::clone(&world), Arc::clone(&full), outbox.clone());
            Box::new(move |command| {
                if full.load(Ordering::SeqCst) {
                    return Err(command);
                }
                for notice in carry_out(&mut world.lock().unwrap(), reactor, command) {
                    outbox.send(notice).map_err(|_| "outbox full").unwrap();
                }
                Ok(())
            })
        };
        let (started, is_started) = mpsc::channel();
        let parts = Parts {
            settings: Arc::new(settings),
            shared: Arc::clone(&shared),
            counters: Arc::clone(&counters),
            inboxes: (0..REACTORS).map(inbox).collect(),
            api,
            reload: Box::new(|| Err("not in this test".into())),
            set_log_level: Box::new(|_| Ok(())),
            page: PageFacts {
                websocket: Some("ws://127.0.0.1:9040/ws".into()),
                token: Some("a\"b".into()),
            },
            started: Box::new(move || started.send(()).unwrap()),
        };
        let control = std::thread::spawn(move || control::run(prepared, parts).unwrap());
        is_started.recv().unwrap();
        Self {
            address,
            world,
            shared,
            counters,
            outbox,
            full,
            control,
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Logs a user in; the connection's id.
    pub fn login(&self, user: &str, topics: &[&str]) -> ConnectionId {
        let mut world = self.world();
        let index = world.connections.len();
        let reactor = index % REACTORS;
        let connection = id(reactor as u16, index as u32);
        self.shared.filter(reactor).add(self.shared.hash_user(user));
        for topic in topics {
            self.shared.topic_filter(reactor).add(self.shared.hash_topic(topic));
        }
        world.connections.push(Connection {
            info: ConnectionInfo {
                connection,
                device: Some("phone".into()),
                since_ms: 1_000 + index as u64,
                expires_at: None,
                topics: topics.iter().map(|&topic| topic.into()).collect(),
                remote: Some([127, 0, 0, 1].into()),
            },
            user: user.into(),
            frames: Vec::new(),
            stuck: false,
        });
        connection
    }

    /// What a connection was sent.
    pub fn frames(&self, connection: ConnectionId) -> Vec<String> {
        let world = self.world();
        world
            .connections
            .iter()
            .find(|held| held.info.connection == connection)
            .unwrap()
            .frames
            .clone()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[], body)
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        Answer {
            status: response.status().as_u16(),
            content_type: response
                .headers()
                .get("content-type")
                .map_or("", |value| value.to_str().unwrap())
                .into(),
            headers: response.headers().clone(),
            text: response.body_mut().read_to_string().unwrap(),
        }
    }

    /// Drains it by way of the API; control's exit code.
    pub fn drain(self) -> u8 {
        assert_eq!(self.post("/v1/drain", "").status, 202);
        self.control.join().unwrap()
    }
}

pub fn id(reactor: u16, index: u32) -> ConnectionId {
    ConnectionId {
        epoch: EPOCH,
        reactor,
        index,
        generation: 1,
    }
}

/// The text of an unmasked text frame.
fn text(frame: &[u8]) -> String {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    String::from_utf8(frame[header..].to_vec()).unwrap()
}

fn carry_out(world: &mut World, reactor: usize, command: Command) -> Vec<Notice> {
    let here = |held: &Connection| usize::from(held.info.connection.reactor) == reactor;
    match command {
        Command::Push {
            target, frame, ticket, ..
        } => {
            let (mut matched, mut queued) = (0, 0);
            for held in world.connections.iter_mut().filter(|held| here(held)) {
                let fits = match &target {
                    Target::User(user) => *user.name == *held.user,
                    Target::Topic(topic) => held.info.topics.iter().any(|held| **held == **topic),
                    Target::All => true,
                };
                matched += u64::from(fits);
                if fits && !held.stuck {
                    queued += 1;
                    held.frames.push(text(&frame));
                }
            }
            let notice = |ticket| Notice::Pushed {
                ticket,
                matched,
                queued,
                dropped: matched - queued,
            };
            ticket.map(notice).into_iter().collect()
        }
        Command::KickUser { user, code, ticket, .. } => {
            let closed = close(world, code, |held| here(held) && held.user == *user.name);
            ticket
                .map(|ticket| Notice::Kicked { ticket, closed })
                .into_iter()
                .collect()
        }
        Command::KickConnection {
            connection,
            code,
            ticket,
            ..
        } => {
            let closed = close(world, code, |held| held.info.connection == connection);
            ticket
                .map(|ticket| Notice::Kicked { ticket, closed })
                .into_iter()
                .collect()
        }
        Command::FindUser { user, ticket } => {
            let found = world
                .connections
                .iter()
                .filter(|held| here(held) && held.user == *user.name);
            vec![Notice::Found {
                ticket,
                connections: found.map(|held| held.info.clone()).collect(),
            }]
        }
        Command::FindSlowest { limit, ticket } => {
            let queued = world.connections.iter().filter(|held| here(held) && held.stuck);
            let slow = queued.map(|held| SlowConnection {
                connection: held.info.connection,
                user: Some(held.user.clone()),
                device: held.info.device.clone(),
                remote: held.info.remote,
                queued_bytes: 1000 * (held.info.connection.index as usize + 1),
            });
            let mut connections: Vec<_> = slow.collect();
            connections.sort_by_key(|connection| std::cmp::Reverse(connection.queued_bytes));
            connections.truncate(limit);
            vec![Notice::Slowest { ticket, connections }]
        }
        Command::Reply { connection, frame } => {
            let held = world
                .connections
                .iter_mut()
                .find(|held| held.info.connection == connection);
            held.into_iter().for_each(|held| held.frames.push(text(&frame)));
            Vec::new()
        }
        Command::Admit { connection, admitted } => {
            world.admitted.push((connection, admitted));
            Vec::new()
        }
        Command::Replace { connection } => {
            world.replaced.push(connection);
            Vec::new()
        }
        Command::Reload(_) => {
            world.reloaded += 1;
            Vec::new()
        }
        Command::Drain { .. } => {
            close(world, 1012, here);
            vec![Notice::Drained]
        }
    }
}

fn close(world: &mut World, code: u16, which: impl Fn(&Connection) -> bool) -> u64 {
    let (gone, stay) = std::mem::take(&mut world.connections)
        .into_iter()
        .partition(|held| which(held));
    let gone: Vec<Connection> = gone;
    world.connections = stay;
    world
        .closed
        .extend(gone.iter().map(|held| (held.info.connection, code)));
    gone.len() as u64
}
