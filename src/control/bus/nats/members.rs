//! Who is in the cluster, as this node has heard: a table of the others' signs of life, and the claim of this node's own
//! name. Plain state: time is passed in as milliseconds of any clock that never goes back, nothing is sent from here.
//! `heart` and `ingest` drive it, the bus reads it.

use std::collections::HashMap;

use super::super::Member;
use super::wire::{Beat, Standing};

/// Silence after which a node is taken for dead: four beats in a row are lost, and a dead one is off the list before the
/// 5 s that are promised.
pub const DEAD_AFTER_MS: u64 = 4_500;
/// A name is free again this long after its holder's last sign of life.
const FREE_AFTER_MS: u64 = 5_000;
/// How long a start waits for a holder of its name to say so.
const ANSWERS_WITHIN_MS: u64 = 250;
/// How long a start waits for a name that is held.
const CLAIM_FOR_MS: u64 = 5_000;
/// A holder that was heard of within this time is alive.
const ALIVE_MS: u64 = 2_000;

/// What a sign of life tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// A node that was taken for dead is alive.
    Returned,
    /// A node has left.
    Left(u64),
}

/// Where this node stands with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Not asked for yet.
    Unclaimed,
    /// Asked for; nobody has to answer who has nothing against it.
    Claiming {
        /// Since when.
        since_ms: u64,
    },
    /// This node's.
    Held,
    /// Another node's, which is alive.
    Refused,
}

struct Entry {
    member: Member,
    seen_ms: u64,
}

/// See the module.
pub struct Members {
    own_epoch: u64,
    own_name: String,
    own_since_ms: u64,
    others: HashMap<u64, Entry>,
    /// Processes that were taken for dead, their names and last signs of life. A process dies once, so there are few.
    dead: HashMap<u64, (String, u64)>,
    /// When a node was last heard to leave, or taken for dead.
    gone_ms: Option<u64>,
    name: Name,
    /// Processes that hold this node's name or come before it, and when they last gave a sign of life: below 0 where that
    /// was before this node's clock began.
    rivals: HashMap<u64, i64>,
}

impl Members {
    /// Nobody heard of yet. `own_since_ms` is the Unix time of this process's start.
    pub fn new(own_name: &str, own_epoch: u64, own_since_ms: u64) -> Self {
        Self {
            own_epoch,
            own_name: own_name.into(),
            own_since_ms,
            others: HashMap::new(),
            dead: HashMap::new(),
            gone_ms: None,
            name: Name::Unclaimed,
            rivals: HashMap::new(),
        }
    }

    /// A node's sign of life.
    pub fn heard(&mut self, beat: &Beat, now_ms: u64) -> Heard {
        let Some(epoch) = beat.epoch().filter(|&epoch| epoch != self.own_epoch) else {
            return Heard::Nothing;
        };
        self.heard_claim(beat, now_ms);
        match beat.state {
            Standing::Up | Standing::Draining => {}
            // It does not answer for connections yet, or not any more.
            Standing::Joining | Standing::Gone => {
                return match self.others.remove(&epoch) {
                    Some(_) => {
                        self.gone_ms = Some(now_ms);
                        Heard::Left(epoch)
                    }
                    None => Heard::Nothing,
                };
            }
        }
        let entry = Entry {
            member: Member {
                name: beat.node.clone(),
                version: beat.version.clone(),
                since_ms: beat.since_ms,
                connections: beat.connections,
                logins_per_s: beat.logins_per_s,
                logins_max_per_s: beat.logins_max_per_s,
                draining: beat.state == Standing::Draining,
            },
            seen_ms: now_ms,
        };
        self.others.insert(epoch, entry);
        if self.dead.remove(&epoch).is_some() {
            Heard::Returned
        } else {
            Heard::Nothing
        }
    }

    /// What a node says of its name, whether or not it is a member already.
    pub fn heard_claim(&mut self, beat: &Beat, now_ms: u64) {
        let Some(epoch) = beat
            .epoch()
            .filter(|&epoch| epoch != self.own_epoch && beat.node == self.own_name)
        else {
            return;
        };
        // Of two that are only asking, or that both hold it since NATS was split, the one that was there first comes first.
        let comes_first = (beat.since_ms, epoch) < (self.own_since_ms, self.own_epoch);
        let is_rival = match self.name {
            Name::Held => beat.holds_name && comes_first,
            _ => beat.holds_name || comes_first,
        };
        if beat.state == Standing::Gone {
            self.rivals.remove(&epoch);
        } else if is_rival {
            self.rivals.insert(epoch, now_ms.cast_signed());
            if self.name == Name::Held {
                self.name = Name::Refused;
            }
        }
    }

    /// Another node remembers that this process, with this node's name, gave a sign of life `age_ms` ago.
    pub fn remembered(&mut self, epoch: u64, age_ms: u64, now_ms: u64) {
        if epoch != self.own_epoch {
            let seen_ms = now_ms.cast_signed().saturating_sub_unsigned(age_ms);
            let seen = self.rivals.entry(epoch).or_insert(seen_ms);
            *seen = seen_ms.max(*seen);
        }
    }

    /// The last sign of life of a node named `name` that is not the process `but`: its epoch and how long ago it was.
    pub fn last_seen(&self, name: &str, but: u64, now_ms: u64) -> Option<(u64, u64)> {
        let living = self
            .others
            .iter()
            .map(|(&epoch, entry)| (epoch, entry.member.name.as_str(), entry.seen_ms));
        let dead = self
            .dead
            .iter()
            .map(|(&epoch, (name, seen_ms))| (epoch, name.as_str(), *seen_ms));
        living
            .chain(dead)
            .filter(|&(epoch, its_name, _)| its_name == name && epoch != but)
            .map(|(epoch, _, seen_ms)| (epoch, now_ms.saturating_sub(seen_ms)))
            .min_by_key(|&(_, age_ms)| age_ms)
    }

    /// Forgets whoever was silent for too long; the epochs of those.
    pub fn expire(&mut self, now_ms: u64) -> Vec<u64> {
        let dead: Vec<u64> = self
            .others
            .iter()
            .filter(|(_, entry)| now_ms.saturating_sub(entry.seen_ms) >= DEAD_AFTER_MS)
            .map(|(&epoch, _)| epoch)
            .collect();
        if !dead.is_empty() {
            self.gone_ms = Some(now_ms);
        }
        for &epoch in &dead {
            if let Some(entry) = self.others.remove(&epoch) {
                self.dead.insert(epoch, (entry.member.name, entry.seen_ms));
            }
        }
        dead
    }

    /// The bus was away, so nobody could be heard: all get another chance.
    pub fn all_seen(&mut self, now_ms: u64) {
        for entry in self.others.values_mut() {
            entry.seen_ms = now_ms;
        }
    }

    /// Asks for the name, anew if it was held: whoever was silent for long may have lost it.
    pub fn claim(&mut self, now_ms: u64) {
        if self.name != Name::Refused {
            self.name = Name::Claiming { since_ms: now_ms };
            self.rivals.clear();
        }
    }

    /// Where the claim stands now.
    pub fn name(&mut self, now_ms: u64) -> Name {
        let Name::Claiming { since_ms } = self.name else {
            return self.name;
        };
        let claiming_ms = now_ms.saturating_sub(since_ms);
        let silent_for = |seen_ms: &i64, ms| seen_ms.saturating_add_unsigned(ms) <= now_ms.cast_signed();
        let mut rivals = self.rivals.values();
        if claiming_ms >= ANSWERS_WITHIN_MS && rivals.all(|seen| silent_for(seen, FREE_AFTER_MS)) {
            self.name = Name::Held;
            self.rivals.clear();
        } else if claiming_ms >= CLAIM_FOR_MS && !self.rivals.values().all(|seen| silent_for(seen, ALIVE_MS)) {
            self.name = Name::Refused;
        }
        self.name
    }

    /// Whether the name is this node's.
    pub fn holds_name(&self) -> bool {
        self.name == Name::Held
    }

    /// Names of the others, one a process.
    pub fn names(&self) -> Vec<String> {
        self.others.values().map(|entry| entry.member.name.clone()).collect()
    }

    /// When a node was last gone, with all that it alone knew.
    pub fn gone_ms(&self) -> Option<u64> {
        self.gone_ms
    }

    /// How many others there are.
    pub fn count(&self) -> usize {
        self.others.len()
    }

    /// Epochs of the others.
    pub fn epochs(&self) -> Vec<u64> {
        self.others.keys().copied().collect()
    }

    /// The name of the process with this epoch.
    pub fn name_of(&self, epoch: u64) -> Option<&str> {
        self.others.get(&epoch).map(|entry| entry.member.name.as_str())
    }

    /// The others, in no order.
    pub fn list(&self) -> Vec<Member> {
        self.others.values().map(|entry| entry.member.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
