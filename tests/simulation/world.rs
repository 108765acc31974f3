//! The world of one run: a clock, a node with its reactors, clients, and the one random number generator that decides
//! everything. What the reactors do is in `reactor`, what control does in `control`, what clients do in `habits`, what
//! must hold in `ledger` and `checks`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;
use longwire::config::Settings;
use longwire::metrics::NodeCounters;
use longwire::node::Shared;
use longwire::shard::gateway::{Gateway, rules};
use longwire::shard::{Engine, Key, Next, Now, Shard};

use crate::client::{Client, Manner, Parting};
use crate::control::{Control, Order};
use crate::expect::Tally;
use crate::ledger::Seen;
use crate::model::{Ground, Model};
use crate::settings::{self, Flavour};
use crate::wire::{End, Wire};

/// The process's number in the names of its connections.
const EPOCH: u64 = 0x5eed;
/// Unix milliseconds of the beginning.
const BEGINNING_MS: u64 = 1_700_000_000_000;

/// One reactor's part of the node.
pub struct Reactor {
    pub shard: Shard<Gateway>,
    /// What the gateway was told last.
    pub settings: Arc<Settings>,
    pub inbox: VecDeque<(Order, Option<u64>)>,
    pub unread: VecDeque<Key>,
    /// Clients whose sockets are open.
    pub open: Vec<usize>,
    pub tally: Tally,
    pub seen: Seen,
    pub drain: Option<Drain>,
    pub work_left: Next,
    /// What it had queued when it last told the node.
    pub published_bytes: usize,
}

/// A drain under way in a reactor.
pub struct Drain {
    pub started_ms: u64,
    pub window_ms: u64,
    pub total: u64,
    /// The first client that came after it had begun.
    pub newcomers: usize,
    pub closed: u64,
    pub told: bool,
    /// Turns since its window is over.
    pub turns_over: u32,
}

/// See the top of the file.
pub struct World {
    pub random: Rng,
    pub flavour: Flavour,
    pub node: Arc<Shared>,
    pub counters: Arc<NodeCounters>,
    pub now: Now,
    pub reactors: Vec<Reactor>,
    pub clients: Vec<Client>,
    pub by_key: HashMap<(usize, Key), usize>,
    pub addresses: HashMap<IpAddr, usize>,
    pub control: Control,
    pub connections_max: usize,
    pub places: usize,
    pub next_id: u64,
    /// The longest intervals that were ever in force.
    pub ping_max_ms: u64,
    pub pong_max_ms: u64,
    /// The shortest.
    pub pong_min_ms: u64,
    /// Turns to come in which time stands nearly still, so that clients catch up after a jump.
    calm: u32,
    /// Nobody comes any more.
    pub closing_down: bool,
    /// How often the rarer things happened.
    pub reached: BTreeMap<&'static str, u64>,
    trace: bool,
}

impl World {
    pub fn new(flavour: Flavour, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let settings = Arc::new(settings::settings(flavour, &mut random));
        let count = if flavour == Flavour::Two { 2 } else { 1 };
        let node = Arc::new(Shared::new(count, EPOCH));
        let counters = Arc::new(NodeCounters::new(count));
        let connections_max = if flavour == Flavour::Crowd {
            10_000
        } else {
            random.usize(5..60)
        };
        let reactors = (0..count).map(|number| {
            let engine = Engine::new(rules(&settings), random.u64(..), Arc::clone(&counters), number);
            let gateway = Gateway::new(Arc::clone(&settings), Arc::clone(&node), connections_max).unwrap();
            Reactor {
                shard: Shard::new(engine, gateway),
                settings: Arc::clone(&settings),
                inbox: VecDeque::new(),
                unread: VecDeque::new(),
                open: Vec::new(),
                tally: Tally::default(),
                seen: Seen::default(),
                drain: None,
                work_left: Next::Idle,
                published_bytes: 0,
            }
        });
        Self {
            reactors: reactors.collect(),
            flavour,
            node,
            counters,
            now: Now {
                us: random.u64(..1 << 40),
                unix_ms: BEGINNING_MS,
            },
            clients: Vec::new(),
            by_key: HashMap::new(),
            addresses: HashMap::new(),
            control: Control::default(),
            connections_max,
            places: 0,
            next_id: 0,
            ping_max_ms: settings.timeouts.ping_ms,
            pong_max_ms: settings.timeouts.pong_ms,
            pong_min_ms: settings.timeouts.pong_ms,
            calm: 0,
            closing_down: false,
            reached: BTreeMap::new(),
            trace: std::env::var_os("LONGWIRE_TRACE").is_some(),
            random,
        }
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>12} {}", self.now.us, what());
        }
    }

    pub fn note(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    pub fn is_crowd(&self) -> bool {
        self.flavour == Flavour::Crowd
    }

    /// What a model needs to know of a reactor's node, beside the model itself.
    pub fn with_ground<R>(&mut self, c: usize, act: impl FnOnce(&mut Client, &mut Ground<'_>) -> R) -> R {
        let client = &mut self.clients[c];
        let reactor = &mut self.reactors[client.reactor];
        let mut ground = Ground {
            settings: &reactor.settings,
            now: self.now,
            draining: reactor.drain.is_some() || self.node.draining(),
            connections_max: self.connections_max,
            places: &mut self.places,
            addresses: &mut self.addresses,
            tally: &mut reactor.tally,
        };
        act(client, &mut ground)
    }

    /// A whole life; what was reached in it.
    pub fn live(mut self) -> BTreeMap<&'static str, u64> {
        let turns = self.random.u32(100..400);
        for _ in 0..turns {
            self.pass_time();
            self.clients_act();
            self.control_acts();
            self.turn();
        }
        self.wind_down();
        self.reached
    }

    fn turn(&mut self) {
        for r in 0..self.reactors.len() {
            self.reactor_turn(r);
        }
    }

    fn pass_time(&mut self) {
        let step_ms = if self.calm > 0 {
            self.calm -= 1;
            self.random.u64(..20)
        } else {
            match self.random.u8(..100) {
                0..25 => 0,
                25..70 => self.random.u64(1..50),
                70..91 => self.random.u64(50..1_000),
                91..98 => self.random.u64(1_000..12_000),
                98 => self.random.u64(12_000..60_000),
                _ => self.random.u64(60_000..20_000_000),
            }
        };
        if step_ms >= 2_000 {
            self.calm = self.random.u32(3..12);
        }
        self.pass(step_ms);
        // Somebody puts the clock right, or wrong.
        if self.random.u16(..1_000) < 5 {
            let jump_ms = self.random.i64(-100_000..100_000) * if self.random.bool() { 1 } else { 60 };
            self.now.unix_ms = self.now.unix_ms.saturating_add_signed(jump_ms);
            self.say(|| format!("the clock jumps by {jump_ms} ms"));
        }
    }

    fn pass(&mut self, step_ms: u64) {
        self.now.us += step_ms * 1_000 + self.random.u64(..1_000);
        self.now.unix_ms += step_ms;
        let most_ms = self.ping_max_ms.max(self.pong_max_ms);
        for client in &mut self.clients {
            client.quiet_ms += step_ms.min(most_ms) + 1;
        }
        self.say(|| format!("+{step_ms} ms"));
    }

    /// A client connects.
    pub fn open_client(&mut self, r: usize, peer: Option<IpAddr>) -> usize {
        let reactor = &mut self.reactors[r];
        let key = reactor.shard.open(peer);
        self.node.connection_opened();
        reactor.tally.accepted += 1;
        let model = Model::new(&reactor.settings, self.now, peer);
        let name = format!("{EPOCH:016x}-{r:x}-{:x}-{:x}", key.index, key.generation);
        let random = &mut self.random;
        let calm = self.flavour == Flavour::Crowd;
        let capacity = if calm || random.bool() {
            1 << 20
        } else {
            1 << random.u32(4..14)
        };
        let manner = Manner {
            reads: if calm || random.u8(..4) > 0 {
                95
            } else {
                random.u8(..50)
            },
            arrives: if calm || random.bool() { 100 } else { random.u8(20..100) },
            piece: if calm || random.bool() {
                1 << 20
            } else {
                1 << random.u32(..10)
            },
            answers_pings: random.u8(..10) > 0,
            parting: [
                Parting::Polite,
                Parting::Polite,
                Parting::Curt,
                Parting::Deaf,
                Parting::Rude,
            ][random.usize(..5)],
        };
        let c = self.clients.len();
        let mut client = Client::new(r, key, name, Wire::new(capacity), model, manner);
        client.sign_ms = self.now.ms();
        client.strict = !self.is_crowd();
        self.clients.push(client);
        self.by_key.insert((r, key), c);
        self.reactors[r].open.push(c);
        self.say(|| format!("client {c} opens {key:?} {manner:?}"));
        c
    }

    /// Everybody goes, one way or another, and nothing may be left.
    fn wind_down(&mut self) {
        self.closing_down = true;
        self.say(|| "winding down".to_owned());
        match self.random.u8(..4) {
            0 => self.order_drain(5_000),
            1 => (0..self.clients.len()).for_each(|c| self.clients[c].wire.end(End::Fin)),
            2 => (0..self.clients.len()).for_each(|c| self.clients[c].wire.end(End::Reset)),
            _ => {}
        }
        let mut turns = 0;
        while self
            .reactors
            .iter()
            .any(|reactor| !reactor.open.is_empty() || !reactor.inbox.is_empty())
        {
            turns += 1;
            if turns == 200 {
                self.order_drain(1_000);
            }
            assert!(
                turns < 1_000,
                "{} connections never end",
                self.clients.iter().filter(|c| !c.reaped).count()
            );
            let step_ms = self.random.u64(..500);
            self.pass(step_ms);
            self.clients_act();
            self.control_answers();
            self.turn();
        }
        // What is left to tell control, and what clients have not read.
        for _ in 0..20 {
            self.pass(20);
            self.turn();
        }
        self.check_end();
    }
}
