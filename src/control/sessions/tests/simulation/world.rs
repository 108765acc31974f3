//! The simulated world: nodes, clients and the bus between them, driven by one seed. What must be true of it is in
//! `checks`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::super::registry::Registry;
use super::super::super::{Answer, Batch, Login, Now, Verdict};
use super::super::*;

/// The bus's slowest delivery where nothing is wrong.
pub(super) const DELAY_US: u64 = 100_000;

#[derive(Clone, Debug)]
pub(super) enum Message {
    Batch(Batch),
    Answer(Answer),
    /// A member's beats ended.
    Gone,
    /// A node's own: it is time to say what it has to say.
    Speak,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Asking,
    Admitted,
    Refused,
    Replaced,
    Left,
}

/// A client, as the reactor sees it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) user: Box<str>,
    pub(super) device: Option<Box<str>>,
    pub(super) connection: ConnectionId,
    pub(super) node: usize,
    pub(super) stage: Stage,
    pub(super) at_us: u64,
    pub(super) left_us: Option<u64>,
    /// Everybody of the user who was there at some time since it asked, or whose departure was still on its way.
    pub(super) seen: BTreeSet<u32>,
}

pub(super) struct Node {
    pub(super) epoch: u64,
    pub(super) registry: Registry,
    pub(super) skew_us: u64,
    pub(super) away: bool,
    /// Whether a `Message::Speak` is under way to itself.
    pub(super) speaks_soon: bool,
}

/// How long a node waits at most before it says what it has to say: the bus gathers logins into batches.
const SPEAKS_WITHIN_US: u64 = 5_000;

/// What the bus does to messages.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// Of 100 messages, how many are lost.
    pub(super) lost: u32,
    /// Of 100 messages, how many come twice.
    pub(super) twice: u32,
    pub(super) slowest_us: u64,
    /// Whether a node's messages to another keep their order.
    pub(super) in_order: bool,
}

const FAIR: Weather = Weather {
    lost: 0,
    twice: 0,
    slowest_us: DELAY_US,
    in_order: true,
};

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: fastrand::Rng,
    pub(super) policy: Policy,
    pub(super) now_us: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: HashMap<u32, Client>,
    /// By time, then by order of sending: to, from (epoch), what.
    pub(super) bus: BTreeMap<(u64, u64), (usize, u64, Message)>,
    pub(super) sent: u64,
    /// When the last message from an epoch to a node arrives.
    pub(super) last: HashMap<(u64, usize), u64>,
    pub(super) weather: Weather,
    /// Nodes on this side hear only each other.
    pub(super) apart: Option<BTreeSet<usize>>,
    pub(super) next_epoch: u64,
    pub(super) closed_admitted: usize,
}

impl World {
    pub(super) fn new(seed: u64, policy: Policy) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.usize(3..=5);
        let mut world = Self {
            seed,
            rng,
            policy,
            now_us: 1_000_000_000,
            nodes: Vec::new(),
            clients: HashMap::new(),
            bus: BTreeMap::new(),
            sent: 0,
            last: HashMap::new(),
            weather: FAIR,
            apart: None,
            next_epoch: 1,
            closed_admitted: 0,
        };
        for _ in 0..count {
            let node = world.fresh_node();
            world.nodes.push(node);
        }
        world
    }

    pub(super) fn fresh_node(&mut self) -> Node {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        Node {
            epoch,
            registry: Registry::new(epoch),
            skew_us: self.rng.u64(0..2_000_000),
            away: false,
            speaks_soon: false,
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let cut = self
            .apart
            .as_ref()
            .is_some_and(|side| side.contains(&from) != side.contains(&to));
        if cut || self.nodes[from].away || self.nodes[to].away || self.rng.u32(0..100) < self.weather.lost {
            return;
        }
        let copies = 1 + u32::from(self.rng.u32(0..100) < self.weather.twice);
        let epoch = self.nodes[from].epoch;
        for _ in 0..copies {
            let mut at = self.now_us + self.rng.u64(1..=self.weather.slowest_us);
            // Answers come another way than batches, and may overtake them.
            if self.weather.in_order && matches!(message, Message::Batch(_)) {
                let last = self.last.entry((epoch, to)).or_default();
                at = at.max(*last + 1);
                *last = at;
            }
            self.sent += 1;
            self.bus.insert((at, self.sent), (to, epoch, message.clone()));
        }
    }

    /// Takes out what a node decided; what it wants to say it says a little later, with what comes until then.
    pub(super) fn drive(&mut self, index: usize) {
        if !self.nodes[index].speaks_soon {
            self.nodes[index].speaks_soon = true;
            let epoch = self.nodes[index].epoch;
            let at = self.now_us + self.rng.u64(0..=SPEAKS_WITHIN_US);
            self.sent += 1;
            self.bus.insert((at, self.sent), (index, epoch, Message::Speak));
        }
        self.take_verdicts(index);
    }

    fn speak(&mut self, index: usize) {
        self.nodes[index].speaks_soon = false;
        let members: Vec<u64> = self.nodes.iter().map(|node| node.epoch).collect();
        if !self.nodes[index].away {
            while let Some(batch) = self.nodes[index].registry.batch(&self.policy, &members, self.now_us) {
                for to in (0..self.nodes.len()).filter(|&to| to != index) {
                    self.send(index, to, Message::Batch(batch.clone()));
                }
            }
        }
        self.take_verdicts(index);
    }

    fn take_verdicts(&mut self, index: usize) {
        while let Some(verdict) = self.nodes[index].registry.verdict() {
            let (Verdict::Admit(id) | Verdict::Refuse(id) | Verdict::Replace(id)) = verdict;
            let client = self.clients.get_mut(&id.index).unwrap();
            let (before, after) = match verdict {
                Verdict::Admit(_) => (Stage::Asking, Stage::Admitted),
                Verdict::Refuse(_) => (Stage::Asking, Stage::Refused),
                Verdict::Replace(_) => (Stage::Admitted, Stage::Replaced),
            };
            assert_eq!(client.stage, before, "seed {}: {verdict:?}", self.seed);
            self.closed_admitted += usize::from(after == Stage::Replaced);
            client.stage = after;
            client.left_us = (after != Stage::Admitted).then_some(self.now_us);
            let (user, node) = (client.user.clone(), client.node);
            if after == Stage::Replaced && self.rng.bool() {
                self.nodes[node].registry.release(id, &user);
            }
        }
    }

    pub(super) fn login(&mut self, index: usize) {
        let number = u32::try_from(self.clients.len()).unwrap();
        let epoch = self.nodes[index].epoch;
        let connection = ConnectionId { epoch, ..id(number) };
        let user: Box<str> = format!("u{}", self.rng.u8(0..3)).into();
        let device = (self.rng.u8(0..4) > 0).then(|| format!("d{}", self.rng.u8(0..3)).into());
        let mut seen = BTreeSet::new();
        for (&other, client) in &mut self.clients {
            if client.user == user && matches!(client.stage, Stage::Asking | Stage::Admitted) {
                client.seen.insert(number);
                seen.insert(other);
            }
            let leaving = client
                .left_us
                .is_some_and(|left_us| left_us + 2 * DELAY_US > self.now_us);
            if client.user == user && leaving {
                seen.insert(other);
            }
        }
        let node = &mut self.nodes[index];
        let now = Now {
            unix_us: self.now_us + node.skew_us,
            steady_us: self.now_us,
        };
        let login = Login {
            connection,
            user: user.clone(),
            device: device.clone(),
        };
        node.registry.login(&self.policy, login, now, !node.away);
        let client = Client {
            user,
            device,
            connection,
            node: index,
            stage: Stage::Asking,
            at_us: node.registry.clock_us(),
            left_us: None,
            seen,
        };
        self.clients.insert(number, client);
        self.drive(index);
    }

    pub(super) fn leave(&mut self) {
        let here: BTreeSet<u32> = self.alive().map(|(&number, _)| number).collect();
        let Some(number) = self.rng.choice(here) else { return };
        let client = self.clients.get_mut(&number).unwrap();
        client.stage = Stage::Left;
        client.left_us = Some(self.now_us);
        let (index, user) = (client.node, client.user.clone());
        let epoch = self.nodes[index].epoch;
        self.nodes[index]
            .registry
            .release(ConnectionId { epoch, ..id(number) }, &user);
        self.drive(index);
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (&u32, &Client)> {
        let here = |stage| matches!(stage, Stage::Asking | Stage::Admitted);
        self.clients.iter().filter(move |(_, client)| here(client.stage))
    }

    pub(super) fn crash(&mut self, index: usize) {
        for client in self.clients.values_mut().filter(|client| client.node == index) {
            if matches!(client.stage, Stage::Asking | Stage::Admitted) {
                client.stage = Stage::Left;
            }
        }
        for to in (0..self.nodes.len()).filter(|&to| to != index) {
            self.sent += 1;
            let at = self.now_us + 1_000_000;
            self.bus
                .insert((at, self.sent), (to, self.nodes[index].epoch, Message::Gone));
        }
        self.nodes[index] = self.fresh_node();
        self.bus.retain(|_, (to, _, _)| *to != index);
    }

    pub(super) fn go_away_or_come_back(&mut self, index: usize) {
        self.nodes[index].away = !self.nodes[index].away;
        if self.nodes[index].away {
            self.nodes[index].registry.alone(&self.policy);
        } else {
            self.nodes[index].registry.rejoin();
        }
        self.drive(index);
    }

    /// Lets time go by: deliveries and deadlines in their order.
    pub(super) fn pass(&mut self, until_us: u64) {
        loop {
            let message = self.bus.first_key_value().map(|(&(at, _), _)| at);
            let deadlines = self.nodes.iter().filter_map(|node| node.registry.next_deadline_us());
            let Some(at) = deadlines.chain(message).min().filter(|&at| at <= until_us) else {
                break;
            };
            self.now_us = self.now_us.max(at);
            if message == Some(at) {
                let (_, (to, from, message)) = self.bus.pop_first().unwrap();
                self.deliver(to, from, message);
            } else {
                for index in 0..self.nodes.len() {
                    self.nodes[index].registry.tick(&self.policy, self.now_us);
                    self.drive(index);
                }
            }
        }
        self.now_us = self.now_us.max(until_us);
    }

    pub(super) fn deliver(&mut self, to: usize, from: u64, message: Message) {
        let registry = &mut self.nodes[to].registry;
        match message {
            Message::Batch(batch) => {
                let answer = registry.heard(&self.policy, from, batch);
                let back = self.nodes.iter().position(|node| node.epoch == from);
                if let (Some(answer), Some(back)) = (answer, back) {
                    self.send(to, back, Message::Answer(answer));
                }
            }
            Message::Answer(answer) => registry.answer(&self.policy, from, answer),
            Message::Gone => registry.node_gone(&self.policy, from),
            Message::Speak => return self.speak(to),
        }
        self.drive(to);
    }

    /// Until nothing moves any more.
    pub(super) fn quieten(&mut self) {
        self.pass(self.now_us + 30_000_000);
        assert!(self.bus.is_empty(), "seed {}", self.seed);
    }

    /// All tell everything anew, with nothing lost any more.
    pub(super) fn heal(&mut self) {
        self.weather = FAIR;
        self.apart = None;
        for node in &mut self.nodes {
            node.away = false;
        }
        self.quieten();
        for node in &mut self.nodes {
            node.registry.rejoin();
        }
        for index in 0..self.nodes.len() {
            self.drive(index);
        }
        self.quieten();
    }
}
