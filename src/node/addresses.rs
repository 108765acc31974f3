//! How many connections each client address has, over all reactors of a node: what `limits.connections_per_ip` is
//! held against. Exact, and no larger than the addresses that are connected now. The one lock in the node that
//! reactors share: it is cut into shards, held for one map access, and used only where the limit is set.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Reactors that accept at the same time meet in one shard seldom enough.
const SHARDS: usize = 16;

type Shard = HashMap<IpAddr, usize, Seeded>;
/// Clients choose their addresses, IPv6 ones freely, so the hash is seeded.
type Seeded = foldhash::quality::RandomState;

#[derive(Debug)]
pub(super) struct Addresses {
    seeded: Seeded,
    shards: [Mutex<Shard>; SHARDS],
}

impl Addresses {
    pub(super) fn new() -> Self {
        let seeded = Seeded::default();
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::with_hasher(seeded.clone()))),
            seeded,
        }
    }

    /// Counts one connection more, unless `ip` has `max` already.
    pub(super) fn acquire(&self, ip: IpAddr, max: usize) -> bool {
        let ip = ip.to_canonical();
        let mut shard = self.shard(ip);
        let count = shard.get(&ip).copied().unwrap_or(0);
        let admitted = count < max;
        if admitted {
            shard.insert(ip, count + 1);
        }
        admitted
    }

    /// Counts one less, for one that was acquired.
    pub(super) fn release(&self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if let Entry::Occupied(mut entry) = self.shard(ip).entry(ip) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }

    fn shard(&self, ip: IpAddr) -> MutexGuard<'_, Shard> {
        // The maps use the hash's lowest and highest bits themselves.
        let number = (self.seeded.hash_one(ip) >> 32) as usize % SHARDS;
        // Nothing panics while it holds the lock, so a poisoned one is still exact.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
