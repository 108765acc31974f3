//! What the reactors of one node share with each other and with control: a few numbers, two filters a reactor of the
//! users and the topics that it holds, and the connections of each address. No queue (that is `links`) and no
//! connection's state (that is `shard`). Everything is an atomic, but for the sharded lock of the addresses. Reactors,
//! their shards and control hold it in an `Arc`.

mod addresses;
mod door;
mod filter;
mod users;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use addresses::Addresses;
use door::Door;
pub use filter::NameFilter;
use users::Users;

/// See the top of the file.
#[derive(Debug)]
pub struct Shared {
    epoch: u64,
    started: Instant,
    /// Not made from the epoch, which clients see in the connection ids: they could choose names that collide.
    name_hasher: foldhash::quality::RandomState,
    draining: AtomicBool,
    door: Door,
    reactors: Box<[ReactorCell]>,
    connections: OwnLine,
    places: OwnLine,
    addresses: Addresses,
    users: Users,
    logins_promised_per_s: AtomicU32,
    logins_per_s: AtomicU32,
    drain_pace_per_s: AtomicU32,
}

/// Logins a second that a reactor takes beside its other work: a twentieth of what one does with HS256 tokens when it does
/// nothing else (docs/performance.md), so that a node can promise it without a look at what it is doing.
pub const LOGINS_PER_S_A_REACTOR: u32 = 1_000;

/// What one reactor writes and others read. On cache lines of its own, so that reactors do not slow each other down:
/// 128 bytes, because x86 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ReactorCell {
    outbound_bytes: AtomicUsize,
    last_beat_us: AtomicU64,
    filter: NameFilter,
    topic_filter: NameFilter,
}

/// A number on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicUsize);

impl Shared {
    /// For a node with this many reactors, numbered from 0. `epoch` is the random number that tells this process from
    /// every other in the ids of its connections.
    pub fn new(reactors: usize, epoch: u64) -> Self {
        Self {
            epoch,
            started: Instant::now(),
            name_hasher: foldhash::quality::RandomState::default(),
            draining: AtomicBool::new(false),
            door: Door::default(),
            reactors: (0..reactors).map(|_| ReactorCell::default()).collect(),
            connections: OwnLine::default(),
            places: OwnLine::default(),
            addresses: Addresses::new(),
            users: Users::new(reactors),
            logins_promised_per_s: AtomicU32::new(0),
            logins_per_s: AtomicU32::new(0),
            drain_pace_per_s: AtomicU32::new(LOGINS_PER_S_A_REACTOR),
        }
    }

    /// The process's own number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many reactors there are.
    pub fn reactors(&self) -> usize {
        self.reactors.len()
    }

    /// A user's hash: the same on every thread of this process, another in the next. Clients choose user names, so it
    /// is seeded.
    pub fn hash_user(&self, name: &str) -> u64 {
        self.name_hasher.hash_one(name)
    }

    /// A topic's hash, as `hash_user`: clients choose topics too.
    pub fn hash_topic(&self, name: &str) -> u64 {
        self.name_hasher.hash_one(name)
    }

    /// Microseconds since this was made, on a clock that never goes back.
    pub fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Which users a reactor may hold, by `hash_user`.
    ///
    /// # Panics
    /// As everything here that takes a reactor's number: if there is no such reactor.
    pub fn filter(&self, reactor: usize) -> &NameFilter {
        &self.reactors[reactor].filter
    }

    /// Which topics may have a subscriber on a reactor, by `hash_topic`.
    pub fn topic_filter(&self, reactor: usize) -> &NameFilter {
        &self.reactors[reactor].topic_filter
    }

    /// A socket was accepted. Returns how many are open now, this one among them: a reactor that finds it above the
    /// node's limit refuses this one, and so no two reactors can both take the last place.
    pub fn connection_opened(&self) -> usize {
        self.connections.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A socket was closed that `connection_opened` had counted.
    pub fn connection_closed(&self) {
        let before = self.connections.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more sockets closed than opened");
    }

    /// All open sockets of the node, those among them whose handshake is not done.
    pub fn connections(&self) -> usize {
        self.connections.0.load(Ordering::Relaxed)
    }

    /// Takes one of the node's `max` places for a WebSocket, unless all are taken: then false. Sockets that are not upgraded
    /// yet, or are being refused, take none. Whoever got true owes one `place_release`.
    pub fn place_acquire(&self, max: usize) -> bool {
        let taken = self.places.0.fetch_add(1, Ordering::Relaxed);
        if taken >= max {
            self.places.0.fetch_sub(1, Ordering::Relaxed);
        }
        taken < max
    }

    /// Places taken: WebSockets that are open.
    pub fn places(&self) -> usize {
        self.places.0.load(Ordering::Relaxed)
    }

    /// Gives back what `place_acquire` took.
    pub fn place_release(&self) {
        let before = self.places.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more places given back than taken");
    }

    /// Counts a connection of this address, unless there are `max` already: then false, and nothing is counted. An
    /// IPv4 address counts as the same in its IPv6-mapped form. Whoever got true owes one `address_release`.
    pub fn address_acquire(&self, ip: IpAddr, max: usize) -> bool {
        self.addresses.acquire(ip, max)
    }

    /// Gives back what `address_acquire` counted.
    pub fn address_release(&self, ip: IpAddr) {
        self.addresses.release(ip);
    }

    /// A reactor says how many bytes it has queued for all its connections.
    pub fn outbound_set(&self, reactor: usize, bytes: usize) {
        self.reactors[reactor].outbound_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes queued in the whole node, as the reactors last said.
    pub fn outbound_total(&self) -> usize {
        self.reactors
            .iter()
            .map(|cell| cell.outbound_bytes.load(Ordering::Relaxed))
            .sum()
    }

    /// A reactor holds the user with this hash now, and did not before.
    pub fn user_joined(&self, hash: u64) {
        self.users.joined(hash);
    }

    /// A reactor that held the user with this hash does not any more.
    pub fn user_left(&self, hash: u64) {
        self.users.left(hash);
    }

    /// Users with a connection on any reactor of this node, each once.
    pub fn users(&self) -> usize {
        self.users.count()
    }

    /// Whether the node takes nobody new.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on it takes nobody new. There is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Sets what `logins_max_per_s` says (`limits.logins_per_second`); 0: `LOGINS_PER_S_A_REACTOR` for each reactor.
    pub fn logins_promised_set(&self, per_s: u32) {
        self.logins_promised_per_s.store(per_s, Ordering::Relaxed);
    }

    /// Logins a second that the node takes beside its other work, as it announces to the cluster.
    pub fn logins_max_per_s(&self) -> u32 {
        match self.logins_promised_per_s.load(Ordering::Relaxed) {
            0 => LOGINS_PER_S_A_REACTOR * self.reactors() as u32,
            promised => promised,
        }
    }

    /// How many logins there were in the last second.
    pub fn logins_set(&self, per_s: u32) {
        self.logins_per_s.store(per_s, Ordering::Relaxed);
    }

    /// As `logins_set` last said.
    pub fn logins_per_s(&self) -> u32 {
        self.logins_per_s.load(Ordering::Relaxed)
    }

    /// How many clients a second the rest of the cluster takes over from this node while it drains.
    pub fn drain_pace_set(&self, per_s: u32) {
        self.drain_pace_per_s.store(per_s.max(1), Ordering::Relaxed);
    }

    /// As `drain_pace_set` last said; at least 1.
    pub fn drain_pace_per_s(&self) -> u32 {
        self.drain_pace_per_s.load(Ordering::Relaxed)
    }

    /// A reactor is about to accept. False: it may not, because another is alone at it, or the node accepts nobody any
    /// more. Whoever got true owes one `accept_end`.
    pub fn accept_begin(&self) -> bool {
        self.door.begin()
    }

    /// Whom it accepted is counted by `connection_opened`.
    pub fn accept_end(&self) {
        self.door.end();
    }

    /// After `accept_begin`: no other reactor accepts anybody until `accept_alone_end`, so that a descriptor that this one
    /// frees goes to whom it accepts next. False: another is accepting now; it is soon done.
    pub fn accept_alone(&self) -> bool {
        self.door.alone()
    }

    /// Ends what `accept_alone` began.
    pub fn accept_alone_end(&self) {
        self.door.alone_end();
    }

    /// From now on nobody is accepted: not even to be refused. There is no way back.
    pub fn close(&self) {
        self.door.close();
    }

    /// Whether `close` was called.
    pub fn closed(&self) -> bool {
        self.door.closed()
    }

    /// After `close`: nobody is left, and nobody will come.
    pub fn deserted(&self) -> bool {
        self.door.idle() && self.connections() == 0
    }

    /// A reactor finished a turn.
    pub fn beat(&self, reactor: usize) {
        self.reactors[reactor]
            .last_beat_us
            .store(self.now_us(), Ordering::Relaxed);
    }

    /// When a reactor last finished a turn, in microseconds of `now_us`; 0 if it never has.
    pub fn last_beat_us(&self, reactor: usize) -> u64 {
        self.reactors[reactor].last_beat_us.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
