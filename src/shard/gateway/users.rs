//! Who is connected to this reactor: user names, and for each the chain of its connections. The chain runs through the
//! connections' own slots, so that a user with one connection costs a name and 24 bytes. Tells the node's filter which
//! users are here. Used by the gateway alone.

use hashbrown::HashTable;
use slab::Slab;

use super::Session;
use crate::node::Shared;
use crate::shard::engine::Engine;

/// The number of a user on this reactor.
pub(super) type UserId = u32;
/// No user, no connection.
pub(super) const NONE: u32 = u32::MAX;

struct User {
    name: Box<str>,
    /// Slab index of its newest connection; the others follow through `Session::next`.
    first: u32,
    connections: u32,
}

/// All users of a reactor.
#[derive(Default)]
pub(super) struct Users {
    ids: HashTable<UserId>,
    users: Slab<User>,
}

impl Users {
    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn name(&self, id: UserId) -> &str {
        &self.users[id as usize].name
    }

    pub fn find(&self, name: &str, hash: u64) -> Option<UserId> {
        self.ids
            .find(hash, |&id| *self.users[id as usize].name == *name)
            .copied()
    }

    /// Puts a connection at the head of its user's chain, making the user if it is the first.
    pub fn join(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32, name: &str) {
        let hash = node.hash_user(name);
        let id = match self.find(name, hash) {
            Some(id) => id,
            None => self.insert(engine.reactor(), node, name, hash),
        };
        let user = &mut self.users[id as usize];
        let after = std::mem::replace(&mut user.first, index);
        user.connections += 1;
        if after != NONE {
            engine.session_mut(after).previous = index;
        }
        let session = engine.session_mut(index);
        session.user = id;
        session.previous = NONE;
        session.next = after;
    }

    fn insert(&mut self, reactor: usize, node: &Shared, name: &str, hash: u64) -> UserId {
        let id = self.users.insert(User {
            name: name.into(),
            first: NONE,
            connections: 0,
        }) as UserId;
        let users = &self.users;
        self.ids
            .insert_unique(hash, id, |&id| node.hash_user(&users[id as usize].name));
        let filter = node.filter(reactor);
        node.user_joined(hash);
        filter.add(hash);
        if filter.needs_growth() {
            filter.grow(users.iter().map(|(_, user)| node.hash_user(&user.name)));
        }
        id
    }

    /// Takes a connection out of its user's chain, and the user with its last one.
    pub fn leave(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32) {
        let session = engine.session_mut(index);
        let (id, previous, next) = (session.user, session.previous, session.next);
        session.user = NONE;
        if previous != NONE {
            engine.session_mut(previous).next = next;
        } else {
            self.users[id as usize].first = next;
        }
        if next != NONE {
            engine.session_mut(next).previous = previous;
        }
        let user = &mut self.users[id as usize];
        user.connections -= 1;
        if user.connections == 0 {
            let hash = node.hash_user(&user.name);
            self.users.remove(id as usize);
            if let Ok(entry) = self.ids.find_entry(hash, |&other| other == id) {
                entry.remove();
            }
            node.user_left(hash);
            node.filter(engine.reactor()).remove(hash);
        }
    }

    /// The slab index of a user's newest connection.
    pub fn first(&self, id: UserId) -> u32 {
        self.users[id as usize].first
    }
}
