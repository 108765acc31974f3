//! The gateway's application on an engine without sockets and without a clock. What random sequences come to is in
//! `tests/simulation`; here stand the cases that have names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod drain;
mod events;
mod history;
mod limits;
mod login;
mod pushes;
mod topics;

use std::io::IoSlice;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Gateway, rules};
use crate::config::{self, Settings};
use crate::links::{Command, ConnectionId, Kicker, Notice, SlowConnection, Target, Ticket, UserName};
use crate::metrics::{CloseReason, NodeCounters};
use crate::node::Shared;
use crate::protocol::frame;
use crate::shard::auth::{Grant, mint};
use crate::shard::{Engine, Key, Next, Now, Shard, Stage, Urgency};

const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const START_UNIX_MS: u64 = 1_700_000_000_000;

fn settings() -> Settings {
    let mut settings = config::development("0123456789abcdef0123456789abcdef".into());
    settings.server.node = "n1".into();
    settings.auth.leeway_ms = 0;
    settings.auth.default_topics = vec!["*".into()];
    settings.limits.outbound_total_bytes = 1 << 30;
    // What the recorder is told would stand between what the tests look for; those of `history` turn it on.
    settings.limits.history_bytes = 0;
    settings
}

/// One reactor of a node, and what a control thread would see.
struct World {
    shard: Shard<Gateway>,
    node: Arc<Shared>,
    settings: Settings,
    ms: u64,
    /// How far the wall clock is from where it should be.
    clock_off_ms: i64,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self::of_node(settings, Arc::new(Shared::new(1, 7)), 0)
    }

    fn of_node(settings: Settings, node: Arc<Shared>, reactor: usize) -> Self {
        let counters = Arc::new(NodeCounters::new(node.reactors()));
        let engine = Engine::new(rules(&settings), 1, counters, reactor);
        let gateway = Gateway::new(Arc::new(settings.clone()), Arc::clone(&node), 1_000_000).unwrap();
        let mut world = Self {
            shard: Shard::new(engine, gateway),
            node,
            settings,
            ms: 0,
            clock_off_ms: 0,
        };
        world.pass(1_000);
        world
    }

    /// Time goes on, and what is due by then fires.
    fn pass(&mut self, ms: u64) {
        self.ms += ms;
        self.tick();
        assert!(!self.shard.expire(100_000), "deadlines fire again and again");
    }

    fn tick(&mut self) {
        let unix_ms = (START_UNIX_MS + self.ms).saturating_add_signed(self.clock_off_ms);
        self.shard.tick(Now {
            us: self.ms * 1_000,
            unix_ms,
        });
    }

    fn token(&self, user: &str, ttl_seconds: u64) -> String {
        let grant = Grant {
            user: user.into(),
            ttl_seconds,
            ..Grant::default()
        };
        self.mint(&grant)
    }

    fn mint(&self, grant: &Grant) -> String {
        mint(&self.settings.auth, grant, self.shard.engine.now().unix_ms).unwrap()
    }

    /// A connection whose upgrade is answered and written.
    fn upgraded(&mut self) -> Key {
        let key = self.shard.open(None);
        self.shard.receive(key, &mut HEAD.to_vec());
        assert_eq!(self.stage(key), Stage::Unauthenticated);
        self.drop_written(key);
        key
    }

    /// A logged-in connection with nothing queued.
    fn connected(&mut self, user: &str) -> Key {
        let token = self.token(user, 3_600);
        self.connected_with(&token)
    }

    fn connected_with(&mut self, token: &str) -> Key {
        let key = self.upgraded();
        self.say(key, json!({"path": "connect", "token": token}));
        while self.stage(key) != Stage::Open {
            // The turn's tokens are spent.
            self.shard.run();
        }
        self.drop_written(key);
        key
    }

    fn say(&mut self, key: Key, message: Value) {
        self.shard.receive(key, &mut client_text(&message.to_string()));
    }

    fn subscribe(&mut self, key: Key, path: &str, topic: &str) {
        self.say(key, json!({"path": path, "body": {"topics": [topic]}}));
    }

    /// Writes everything that is queued for a connection; the frames' payloads, a close frame's as `code reason`.
    fn hear(&mut self, key: Key) -> Vec<String> {
        let mut bytes = self.drop_written(key);
        let mut payloads = Vec::new();
        while !bytes.is_empty() {
            let (begin, length) = match bytes[1] {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                length => (2, usize::from(length)),
            };
            let rest = bytes.split_off(begin + length);
            let payload = &bytes[begin..];
            payloads.push(match bytes[0] {
                0x88 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    format!("{code} {}", String::from_utf8_lossy(&payload[2..]))
                }
                _ => String::from_utf8(payload.to_vec()).unwrap(),
            });
            bytes = rest;
        }
        payloads
    }

    /// The replies among what is queued, as id and status.
    fn statuses(&mut self, key: Key) -> Vec<(Value, u64)> {
        let replies = self
            .hear(key)
            .into_iter()
            .filter_map(|text| serde_json::from_str::<Value>(&text).ok());
        replies
            .map(|reply| (reply["id"].clone(), reply["status"].as_u64().unwrap()))
            .collect()
    }

    fn drop_written(&mut self, key: Key) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 256];
        let filled = self.shard.pending(key, &mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        self.shard.wrote(key, bytes.len(), self.ms * 1_000);
        bytes
    }

    fn queued_bytes(&self, key: Key) -> usize {
        self.shard.engine.get(key).unwrap().queued_bytes()
    }

    fn stage(&self, key: Key) -> Stage {
        self.shard
            .engine
            .get(key)
            .map_or(Stage::Dead, |connection| connection.stage())
    }

    fn user(&self, name: &str) -> UserName {
        UserName {
            name: name.into(),
            hash: self.node.hash_user(name),
        }
    }

    fn push(&mut self, target: Target, text: &str, ticket: Option<Ticket>) {
        let frame = frame::encode_text(text.as_bytes());
        self.shard.command(Command::Push {
            target,
            frame,
            arrived_us: 1,
            ticket,
        });
    }

    fn push_user(&mut self, user: &str, text: &str, ticket: Option<Ticket>) {
        let target = Target::User(self.user(user));
        self.push(target, text, ticket);
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.shard.next_notice()).collect()
    }

    /// What the pushes with tickets came to: ticket, matched, queued, dropped.
    fn reports(&mut self) -> Vec<(Ticket, u64, u64, u64)> {
        let report = |notice| match notice {
            Notice::Pushed {
                ticket,
                matched,
                queued,
                dropped,
            } => (ticket, matched, queued, dropped),
            other => panic!("{other:?}"),
        };
        self.notices().into_iter().map(report).collect()
    }

    fn id(&self, key: Key) -> ConnectionId {
        let reactor = self.shard.engine.reactor() as u16;
        ConnectionId {
            epoch: self.node.epoch(),
            reactor,
            index: key.index,
            generation: key.generation,
        }
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.shard.engine.counters().closed[reason as usize].get()
    }

    /// Everybody is lost, and nothing may be left of anybody.
    fn end(mut self) {
        let keys: Vec<Key> = (0..self.shard.engine.slots())
            .filter_map(|slot| self.shard.engine.at(slot).map(|(key, _)| key))
            .collect();
        for key in keys {
            self.shard.lost(key);
        }
        while self.shard.engine.next_dead().is_some() {}
        self.shard.run();
        assert_eq!(self.shard.application.leftovers(), [0; 6]);
        assert_eq!(self.shard.engine.leftovers(), Default::default());
        assert_eq!(self.node.users(), 0);
    }
}

fn client_text(text: &str) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let mut bytes = vec![0x81, 0xFE];
    if text.len() < 126 {
        bytes[1] = 0x80 | text.len() as u8;
    } else {
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    }
    bytes.extend(mask);
    bytes.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
