//! How many users have a connection on this node. A user with a phone on one reactor and a laptop on another is one
//! user, and no reactor alone can know that: here each user's hash stands once, with the number of reactors that hold
//! the user. About 13 bytes a user, in shards so that reactors seldom meet; a node with one reactor needs none of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A power of two: the shard is the hash's top bits.
const SHARDS: usize = 16;
/// The lower bits of an entry count reactors, of which there are at most 256; 55 bits are left of the hash. Two users of a
/// million share those with a chance of one in a hundred thousand, and then count as one.
const COUNT_BITS: u32 = 9;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Users {
    users: AtomicUsize,
    shards: Option<Box<[Mutex<HashTable<u64>>; SHARDS]>>,
}

impl Users {
    pub fn new(reactors: usize) -> Self {
        let shards = (reactors > 1).then(|| Box::new(std::array::from_fn(|_| Mutex::default())));
        Self {
            users: AtomicUsize::new(0),
            shards,
        }
    }

    pub fn count(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// A reactor holds this user now, and did not before.
    pub fn joined(&self, hash: u64) {
        let is_new = self.with_entry(hash, |entry| match entry {
            Entry::Occupied(mut occupied) => {
                *occupied.get_mut() += 1;
                false
            }
            Entry::Vacant(vacant) => {
                vacant.insert((hash >> COUNT_BITS << COUNT_BITS) | 1);
                true
            }
        });
        if is_new {
            self.users.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A reactor that held this user does not any more.
    pub fn left(&self, hash: u64) {
        let is_last = self.with_entry(hash, |entry| match entry {
            Entry::Occupied(mut occupied) => {
                *occupied.get_mut() -= 1;
                let is_last = occupied.get().trailing_zeros() >= COUNT_BITS;
                if is_last {
                    occupied.remove();
                }
                is_last
            }
            Entry::Vacant(_) => false,
        });
        if is_last {
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn with_entry(&self, hash: u64, act: impl FnOnce(Entry<'_, u64>) -> bool) -> bool {
        let Some(shards) = &self.shards else { return true };
        let shard = &shards[(hash >> (u64::BITS - SHARDS.trailing_zeros())) as usize];
        // Nothing in here panics half way; a poisoned shard is whole.
        let mut users = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let name = hash >> COUNT_BITS;
        act(users.entry(
            spread(name),
            |entry| entry >> COUNT_BITS == name,
            |entry| spread(entry >> COUNT_BITS),
        ))
    }
}

/// The table wants its bits at both ends, where a name has none (Knuth's multiplicative hashing).
fn spread(name: u64) -> u64 {
    name.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_on_two_reactors_is_one_user() {
        let users = Users::new(2);
        users.joined(0xABCD_0000);
        users.joined(0xABCD_0000);
        users.joined(0x1234_0000);
        assert_eq!(users.count(), 2);
        users.left(0xABCD_0000);
        assert_eq!(users.count(), 2);
        users.left(0xABCD_0000);
        assert_eq!(users.count(), 1);
        users.left(0x1234_0000);
        assert_eq!(users.count(), 0);
    }

    #[test]
    fn one_reactor_counts_without_a_table() {
        let users = Users::new(1);
        users.joined(1);
        users.joined(2);
        users.left(1);
        assert_eq!(users.count(), 1);
    }
}
