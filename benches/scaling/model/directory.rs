//! One node's side of the directed mode: whom it holds, what it tells the others, what it believes of them, and so
//! which nodes a push goes to. Pure state over messages and a clock that is passed in (this node's own, in microseconds;
//! no two nodes' clocks need agree). Never sends anything itself; called by `world`.
//!
//! The rule that makes a stale entry harmless: a table is believed only while it is *in step* (the holder's epoch, every
//! announcement since its first or since a snapshot) and *under lease* (the holder has echoed a time stamp of ours that
//! is younger than the lease). A login is answered once every node with a lease has confirmed its announcement, or the
//! lease's length after it. So when a client learns that it is logged in, every other node either knows, or does not
//! believe its table and sends the holder every push.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::users::UserSet;
use super::{Micros, Rules, Timing};

/// A node's name. It outlives a restart.
pub type Node = usize;
/// The random number of one process.
pub type Epoch = u64;
/// A user; the real thing would be a hash of the name, where a collision costs one message in vain.
pub type User = u32;
/// What `world` knows a login by.
pub type Login = u64;

/// What a node publishes for all others: in batches while there is something to say, and as a beat.
#[derive(Debug)]
pub struct Announcement {
    pub from: Node,
    pub epoch: Epoch,
    /// 0, 1, 2 …: without a hole.
    pub seq: u64,
    /// The sender's clock, to be echoed.
    pub stamp_us: Micros,
    /// Users held now that were not, and the opposite, since the announcement before.
    pub joins: Vec<User>,
    pub leaves: Vec<User>,
    /// One entry a node that the sender has heard.
    pub heard: Vec<Heard>,
}

/// What an announcement says to one node that reads it.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub node: Node,
    pub epoch: Epoch,
    /// The last announcement up to which the sender has all of that node's, if it has.
    pub applied: Option<u64>,
    /// That node's latest stamp: with it comes a lease.
    pub stamp_us: Micros,
}

/// All users a node holds, as of an announcement.
#[derive(Debug)]
pub struct Snapshot {
    pub from: Node,
    pub epoch: Epoch,
    pub seq: u64,
    pub users: Vec<User>,
}

/// Where a push goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One message that every node gets.
    Everyone,
    /// To the nodes listed; so many of them only because their table is not believed.
    Listed { disbelieved: usize },
}

/// Another node, as this one knows it.
#[derive(Debug)]
struct Peer {
    epoch: Epoch,
    heard_us: Micros,
    stamp_us: Micros,
    /// The announcement up to which `users` is whole; none: out of step.
    applied: Option<u64>,
    users: UserSet,
    /// Our own clock: until then the table may be believed.
    lease_until_us: Micros,
    asked_us: Option<Micros>,
    /// Whether it has named this process among those that it heard.
    lists_us: bool,
    /// The last announcement of ours that it has confirmed.
    confirmed: Option<u64>,
    /// When we last echoed its stamp.
    granted_us: Option<Micros>,
}

/// See the top of the file.
#[derive(Debug)]
pub struct Directory {
    name: Node,
    epoch: Epoch,
    timing: Timing,
    rules: Rules,
    /// Or when it came back to the bus.
    started_us: Micros,
    /// Since when the bus has been heard without a break: before it has listened long enough, a node does not know who
    /// there is.
    listening_from_us: Micros,
    next_seq: u64,
    sent_us: Option<Micros>,
    /// Connections of each user held.
    held: HashMap<User, u32>,
    /// What is not announced yet: true for a join.
    changes: BTreeMap<User, bool>,
    /// Logins whose announcement is not sent, and those not confirmed: sequence and time of the announcement.
    unsent: Vec<Login>,
    unconfirmed: VecDeque<(u64, Micros, Login)>,
    peers: BTreeMap<Node, Peer>,
    owes_confirmation: bool,
    was_ready: bool,
}

impl Directory {
    /// A process that has just started.
    pub fn new(name: Node, epoch: Epoch, timing: Timing, rules: Rules, now_us: Micros) -> Self {
        Self {
            name,
            epoch,
            timing,
            rules,
            started_us: now_us,
            listening_from_us: now_us,
            next_seq: 0,
            sent_us: None,
            held: HashMap::new(),
            changes: BTreeMap::new(),
            unsent: Vec::new(),
            unconfirmed: VecDeque::new(),
            peers: BTreeMap::new(),
            owes_confirmation: false,
            was_ready: false,
        }
    }

    /// Whether clients may come: it has listened for long enough, and everybody heard has named this process.
    pub fn is_ready(&mut self, now_us: Micros) -> bool {
        let timing = self.timing;
        self.was_ready |= now_us >= self.started_us + timing.listen_us
            && self
                .peers
                .values()
                .all(|peer| peer.lists_us || timing.is_silent(peer.heard_us, now_us));
        self.was_ready
    }

    /// The connection to the bus is there again: whoever has started meanwhile is to be heard first.
    pub fn reconnected(&mut self, now_us: Micros) {
        self.started_us = now_us;
        self.listening_from_us = now_us;
    }

    /// Whether a connection of this user is here.
    pub fn holds(&self, user: User) -> bool {
        self.held.contains_key(&user)
    }

    /// A client has logged in. True: it may be told at once; else `confirmed` will name the login.
    pub fn login(&mut self, now_us: Micros, user: User, login: Login) -> bool {
        let connections = self.held.entry(user).or_default();
        *connections += 1;
        if *connections == 1 && self.changes.remove(&user).is_none() {
            self.changes.insert(user, true);
        }
        if !self.rules.wait_for_confirmation {
            return true;
        }
        if self.changes.contains_key(&user) {
            self.unsent.push(login);
            return false;
        }
        // The user is announced, if perhaps not confirmed: this login waits no longer than what was sent last.
        match self.next_seq.checked_sub(1) {
            Some(seq) if seq >= self.first_unconfirmed(now_us) => {
                self.unconfirmed.push_back((seq, now_us, login));
                false
            }
            _ => true,
        }
    }

    /// A connection of this user has ended.
    pub fn logout(&mut self, user: User) {
        let Some(connections) = self.held.get_mut(&user) else {
            return;
        };
        *connections -= 1;
        if *connections == 0 {
            self.held.remove(&user);
            if self.changes.remove(&user).is_none() {
                self.changes.insert(user, false);
            }
        }
    }

    /// Once a batch interval: what is to be published now, if anything. `wants` gets the nodes whose snapshot is needed.
    pub fn tick(&mut self, now_us: Micros, wants: &mut Vec<Node>) -> Option<Announcement> {
        self.note_touch(now_us);
        for (&node, peer) in &mut self.peers {
            let is_due = peer
                .asked_us
                .is_none_or(|asked_us| now_us >= asked_us + self.timing.beat_us);
            if peer.applied.is_none() && is_due && !self.timing.is_silent(peer.heard_us, now_us) {
                peer.asked_us = Some(now_us);
                wants.push(node);
            }
        }
        let beat_due = self
            .sent_us
            .is_none_or(|sent_us| now_us >= sent_us + self.timing.beat_us);
        if self.changes.is_empty() && !self.owes_confirmation && !beat_due {
            return None;
        }
        self.owes_confirmation = false;
        self.sent_us = Some(now_us);
        let seq = self.next_seq;
        self.next_seq += 1;
        for login in self.unsent.drain(..) {
            self.unconfirmed.push_back((seq, now_us, login));
        }
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for (user, is_join) in std::mem::take(&mut self.changes) {
            if is_join { &mut joins } else { &mut leaves }.push(user);
        }
        let mut heard = Vec::with_capacity(self.peers.len());
        for (&node, peer) in &mut self.peers {
            if !self.timing.is_silent(peer.heard_us, now_us) {
                peer.granted_us = Some(now_us);
                heard.push(Heard {
                    node,
                    epoch: peer.epoch,
                    applied: peer.applied,
                    stamp_us: peer.stamp_us,
                });
            }
        }
        Some(Announcement {
            from: self.name,
            epoch: self.epoch,
            seq,
            stamp_us: now_us,
            joins,
            leaves,
            heard,
        })
    }

    /// Another node's announcement has arrived.
    pub fn on_announcement(&mut self, now_us: Micros, told: &Announcement) {
        let peer = self.peers.entry(told.from).or_insert_with(|| Peer::new(told.epoch));
        if peer.epoch != told.epoch && self.rules.epochs {
            *peer = Peer {
                // Leases that the process before had from us are still waited for.
                granted_us: peer.granted_us,
                ..Peer::new(told.epoch)
            };
        }
        peer.heard_us = now_us;
        peer.stamp_us = told.stamp_us;
        let expected = peer.applied.map(|seq| seq + 1);
        if expected.is_some_and(|expected| told.seq < expected) {
            return;
        }
        let in_step = expected == Some(told.seq) || told.seq == 0 || (!self.rules.sequence && expected.is_some());
        if in_step {
            peer.applied = Some(told.seq);
            if told.seq == 0 {
                peer.users.clear();
            }
            told.joins.iter().for_each(|&user| peer.users.insert(user));
            told.leaves.iter().for_each(|&user| peer.users.remove(user));
            self.owes_confirmation |= !told.joins.is_empty();
        } else {
            peer.applied = None;
            peer.lease_until_us = 0;
        }
        let to_us = told.heard.iter().find(|heard| heard.node == self.name);
        if let Some(heard) = to_us.filter(|heard| heard.epoch == self.epoch || !self.rules.epochs) {
            peer.lists_us = true;
            peer.confirmed = peer.confirmed.max(heard.applied);
            if in_step {
                peer.lease_until_us = heard.stamp_us + self.timing.lease_us;
            }
        }
    }

    /// What to answer a node that asks for everything.
    pub fn snapshot(&self) -> Option<Snapshot> {
        // Nothing was announced: whoever asks means the process before this one.
        let seq = self.next_seq.checked_sub(1)?;
        let mut users: Vec<User> = self
            .held
            .keys()
            .copied()
            .filter(|user| !self.changes.contains_key(user))
            .collect();
        // Left, but not yet announced: the next announcement says so.
        users.extend(
            self.changes
                .iter()
                .filter(|(_, is_join)| !**is_join)
                .map(|(user, _)| user),
        );
        Some(Snapshot {
            from: self.name,
            epoch: self.epoch,
            seq,
            users,
        })
    }

    /// The answer to what `tick` wanted. The lease comes with the next announcement.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) {
        let Some(peer) = self.peers.get_mut(&snapshot.from) else {
            return;
        };
        if peer.epoch == snapshot.epoch && peer.applied.is_none() {
            peer.applied = Some(snapshot.seq);
            peer.users.clear();
            snapshot.users.iter().for_each(|&user| peer.users.insert(user));
            self.owes_confirmation = true;
        }
    }

    /// Logins that may be answered now.
    pub fn confirmed(&mut self, now_us: Micros, done: &mut Vec<Login>) {
        if self.unconfirmed.is_empty() {
            return;
        }
        let first_unconfirmed = self.first_unconfirmed(now_us);
        while let Some(&(seq, sent_us, login)) = self.unconfirmed.front() {
            if seq >= first_unconfirmed && now_us < sent_us + self.timing.lease_wait_us() {
                break;
            }
            self.unconfirmed.pop_front();
            done.push(login);
        }
    }

    /// Everybody who may hold a lease of ours has confirmed all announcements before this one.
    fn first_unconfirmed(&self, now_us: Micros) -> u64 {
        let wait_us = self.timing.lease_wait_us();
        let leased = self
            .peers
            .values()
            .filter(|peer| peer.granted_us.is_some_and(|granted_us| now_us < granted_us + wait_us));
        leased
            .map(|peer| peer.confirmed.map_or(0, |seq| seq + 1))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Where a push for this user goes, beside this node's own connections.
    pub fn route(&mut self, now_us: Micros, user: User, nodes: &mut Vec<Node>) -> Route {
        nodes.clear();
        self.note_touch(now_us);
        if now_us < self.listening_from_us + self.timing.listen_us {
            return Route::Everyone;
        }
        let mut disbelieved = 0;
        for (&node, peer) in &self.peers {
            if peer.is_believed(now_us, self.rules) {
                if peer.users.contains(user) {
                    nodes.push(node);
                }
            } else if now_us < peer.heard_us + self.timing.forget_us {
                disbelieved += 1;
                nodes.push(node);
            }
        }
        Route::Listed { disbelieved }
    }

    /// Out of touch with everybody, a node cannot know who has started meanwhile: it listens anew.
    fn note_touch(&mut self, now_us: Micros) {
        let rules = self.rules;
        if rules.leases && !self.peers.values().any(|peer| peer.is_believed(now_us, rules)) {
            let had_listened = now_us >= self.listening_from_us + self.timing.listen_us;
            if had_listened {
                self.listening_from_us = now_us;
            }
        }
    }
}

impl Peer {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            heard_us: 0,
            stamp_us: 0,
            applied: None,
            users: UserSet::default(),
            lease_until_us: 0,
            asked_us: None,
            lists_us: false,
            confirmed: None,
            granted_us: None,
        }
    }

    fn is_believed(&self, now_us: Micros, rules: Rules) -> bool {
        self.applied.is_some() && (now_us < self.lease_until_us || !rules.leases)
    }
}
