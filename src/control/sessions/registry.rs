//! `Registry`: the places of this node, and of the other nodes those of users that have a place here too. Carries out
//! what `rule` says and keeps the conversation with the other nodes: what they must hear, whom an answer is awaited of.
//! Never tells of another node's place, and never closes one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::rule::{self, Seat, State};
use super::{Batch, CLAIMS_IN_BATCH, HOLD_US, Login, Now, Place, RELEASES_IN_BATCH, Released, Verdict};
use crate::config::Sessions as Policy;
use crate::links::ConnectionId;

/// How long after its decision a batch's late answers are still taken in, microseconds.
const LATE_US: u64 = 10_000_000;
/// Times from here on are not a clock's (the year 148,102): places that bear them are not believed.
const AT_US_END: u64 = 1 << 62;

/// All places of one user that are known here, at least one of them this node's own.
#[derive(Debug, Default)]
struct User {
    seats: Vec<Seat>,
    /// How many of them are other nodes', so that these are found without looking at every user's places.
    remote: u32,
    /// How many batches ask about this user and are not decided.
    asking: u32,
}

/// A place that the others are to hear of.
#[derive(Debug)]
struct Untold {
    connection: ConnectionId,
    user: Box<str>,
    /// When a claim is decided without having been told; 0 where it is decided already.
    deadline_us: u64,
}

/// A place of this node that is gone and that the others know.
#[derive(Debug)]
struct Left {
    released: Released,
    /// Told once more along with its release: it leaves the age of its seat.
    bequeathed: Option<Place>,
}

/// A batch that asked and has not been answered by all.
#[derive(Debug)]
struct Waiting {
    unanswered: Vec<u64>,
    /// Whom it asked about.
    users: Vec<Box<str>>,
    /// When its claims are decided without the missing answers.
    deadline_us: u64,
    decided: bool,
}

/// The places of all users with a place here.
#[derive(Debug, Default)]
pub struct Registry {
    own_epoch: u64,
    users: HashMap<Box<str>, User>,
    /// The latest `at_us` given or heard of.
    clock_us: u64,
    verdicts: VecDeque<Verdict>,
    // What the others are to hear.
    untold: VecDeque<Untold>,
    released: VecDeque<Left>,
    /// Users all of whose places are to be told anew.
    anew: Vec<Box<str>>,
    reset_due: bool,
    last_batch: u64,
    // Whom an answer is awaited of.
    waiting: BTreeMap<u64, Waiting>,
    /// The last batch heard of each node.
    heard: HashMap<u64, u64>,
    /// Others' places that ended while answers were awaited, which may still name them, and the last batch at that time.
    ended: HashMap<ConnectionId, u64>,
}

impl Registry {
    /// Of the process whose connections' ids have this epoch.
    pub fn new(own_epoch: u64) -> Self {
        Self {
            own_epoch,
            ..Self::default()
        }
    }

    /// A login asks for a place. `ask`: the other nodes are asked first, through `batch`; otherwise it is decided now.
    /// Exactly one `Admit` or `Refuse` follows, unless it is released before. A connection that holds a place keeps it.
    pub fn login(&mut self, policy: &Policy, login: Login, now: Now, ask: bool) {
        let Login {
            connection,
            user,
            device,
        } = login;
        let ask = ask && rule::counts(policy, device.as_deref());
        let entry = self.users.entry(user.clone()).or_insert_with(|| User {
            seats: Vec::with_capacity(1),
            ..User::default()
        });
        if let Some(seat) = entry.seats.iter().find(|seat| seat.connection == connection) {
            if matches!(seat.state, State::Admitted { .. }) {
                self.verdicts.push_back(Verdict::Admit(connection));
            }
            return;
        }
        let at_us = now.unix_us.min(AT_US_END - 1).max(self.clock_us + 1);
        self.clock_us = at_us;
        entry.seats.push(Seat {
            connection,
            device,
            at_us,
            since_us: at_us,
            state: if ask { State::Pending { batch: 0 } } else { State::Due },
            told: false,
        });
        if ask {
            let deadline_us = now.steady_us.saturating_add(HOLD_US);
            self.untold.push_back(Untold {
                connection,
                user,
                deadline_us,
            });
        } else {
            self.settle(policy, &user);
        }
    }

    /// A connection is gone. One that holds no place any more is no error.
    pub fn release(&mut self, connection: ConnectionId, user: &str) {
        let Some(entry) = self.users.get_mut(user) else { return };
        let at = entry
            .seats
            .iter()
            .position(|seat| seat.connection == connection && seat.is_own());
        if let Some(at) = at {
            let seat = entry.seats.remove(at);
            self.seat_left(&seat, user);
            self.drop_if_empty(user);
        }
    }

    /// The next thing to do to a connection of this node.
    pub fn verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// What the other nodes are to hear next; `None` when there is nothing more. To be called until then whenever the
    /// bus is there, soon after each call that may have left something. `members`: the epochs of the other nodes, each
    /// of which owes an answer to a batch that asks. `steady_us`: `Now::steady_us`.
    pub fn batch(&mut self, policy: &Policy, members: &[u64], steady_us: u64) -> Option<Batch> {
        let id = self.last_batch + 1;
        let mut batch = Batch {
            id,
            reset: std::mem::take(&mut self.reset_due),
            ..Batch::default()
        };
        let released = self.released.len().min(RELEASES_IN_BATCH);
        for left in self.released.drain(..released) {
            batch.released.push(left.released);
            batch.claims.extend(left.bequeathed);
        }
        let mut users: Vec<Box<str>> = Vec::new();
        let mut deadline_us = steady_us.saturating_add(HOLD_US);
        while batch.claims.len() < CLAIMS_IN_BATCH {
            let Some(untold) = self.untold.pop_front() else { break };
            let Some(entry) = self.users.get_mut(&untold.user) else {
                continue;
            };
            let own = |seat: &&mut Seat| seat.connection == untold.connection && seat.is_own();
            let Some(seat) = entry.seats.iter_mut().find(own) else {
                continue;
            };
            if seat.state == (State::Pending { batch: 0 }) {
                seat.state = State::Pending { batch: id };
                deadline_us = deadline_us.min(untold.deadline_us);
                // Also if an answer has told of it already: the others' answers decide it.
                batch.asks = true;
            }
            // What was decided without having been told is asked about too: others' places are not known.
            batch.asks |= !seat.told;
            seat.told = true;
            batch.claims.push(place(seat, &untold.user));
            users.push(untold.user);
        }
        while batch.claims.len() < CLAIMS_IN_BATCH {
            let Some(user) = self.anew.pop() else { break };
            let Some(entry) = self.users.get_mut(&user) else {
                continue;
            };
            let before = batch.claims.len();
            for seat in entry.seats.iter_mut().filter(|seat| seat.is_own()) {
                if rule::counts(policy, seat.device.as_deref()) {
                    seat.told = true;
                    batch.claims.push(place(seat, &user));
                }
            }
            if batch.claims.len() > before {
                batch.asks = true;
                users.push(user);
            }
        }
        if batch.claims.is_empty() && batch.released.is_empty() && !batch.reset {
            return None;
        }
        self.last_batch = id;
        if batch.asks {
            let waiting = Waiting {
                unanswered: members
                    .iter()
                    .copied()
                    .filter(|&epoch| epoch != self.own_epoch)
                    .collect(),
                users,
                deadline_us,
                decided: false,
            };
            for user in &waiting.users {
                if let Some(entry) = self.users.get_mut(user) {
                    entry.asking += 1;
                }
            }
            self.waiting.insert(id, waiting);
            self.decide_if_answered(policy, id);
        }
        Some(batch)
    }

    /// Another node is gone, and its places with it.
    pub fn node_gone(&mut self, policy: &Policy, epoch: u64) {
        self.heard.remove(&epoch);
        self.forget(epoch);
        let mut asked = Vec::new();
        for (&id, waiting) in &mut self.waiting {
            waiting.unanswered.retain(|&member| member != epoch);
            asked.push(id);
        }
        for id in asked {
            self.decide_if_answered(policy, id);
        }
    }

    /// The bus is away: the other nodes' places cannot be known, so this node is alone. From now on `login` without
    /// `ask`, and no `batch` until `rejoin`.
    pub fn alone(&mut self, policy: &Policy) {
        self.forget_all();
        for id in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.decide_batch(policy, id);
        }
        self.waiting.clear();
        self.ended.clear();
        for Untold { user, .. } in std::mem::take(&mut self.untold) {
            self.make_due(&user, 0);
            self.settle(policy, &user);
        }
    }

    /// The bus is back, or a node was taken for gone and is not: what was heard may be outdated and what was told may be
    /// lost, so everything is told anew, and asked about.
    pub fn rejoin(&mut self) {
        self.forget_all();
        self.released.clear();
        self.anew = self.users.keys().cloned().collect();
        self.reset_due = true;
    }

    /// When `tick` must be called at the latest, in microseconds of `Now::steady_us`.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let untold = self.untold.iter().map(|untold| untold.deadline_us).find(|&at| at > 0);
        let waiting = self.waiting.values().map(|waiting| waiting.deadline_us);
        waiting.chain(untold).min()
    }

    /// Decides the claims that have waited long enough.
    pub fn tick(&mut self, policy: &Policy, steady_us: u64) {
        for at in 0..self.untold.len() {
            let Some(untold) = self.untold.get_mut(at).filter(|untold| untold.deadline_us > 0) else {
                continue;
            };
            if untold.deadline_us > steady_us {
                break;
            }
            untold.deadline_us = 0;
            let user = untold.user.clone();
            self.make_due(&user, 0);
            self.settle(policy, &user);
        }
        let overdue = |(&id, waiting): (&u64, &Waiting)| (waiting.deadline_us <= steady_us).then_some(id);
        for id in self.waiting.iter().filter_map(overdue).collect::<Vec<_>>() {
            match self.waiting.get_mut(&id) {
                Some(waiting) if !waiting.decided => {
                    waiting.deadline_us = steady_us.saturating_add(LATE_US);
                    self.decide_batch(policy, id);
                }
                _ => self.forget_batch(id),
            }
        }
    }
}

#[cfg(test)]
impl Registry {
    /// Users with an entry.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// The latest time given or heard of.
    pub(super) fn clock_us(&self) -> u64 {
        self.clock_us
    }

    /// What is known of a user: connections, and since when their seats are taken.
    pub(super) fn known(&self, user: &str) -> Vec<(ConnectionId, u64)> {
        let seats = self.users.get(user).map(|entry| entry.seats.iter());
        seats
            .into_iter()
            .flatten()
            .map(|seat| (seat.connection, seat.since_us))
            .collect()
    }

    /// Places known, others' included.
    pub(super) fn places(&self) -> usize {
        self.users.values().map(|user| user.seats.len()).sum()
    }
}

mod hearing;
mod steps;
use steps::place;
