//! Who subscribed what on this reactor. A topic has a list of its members, a connection a list of its topics, and each
//! entry knows its place in the other list, so that leaving costs the same for ten members as for a million. Tells the
//! node's filter which topics have a member here. Used by the gateway alone.

use hashbrown::HashTable;
use slab::Slab;

use super::Session;
use crate::node::Shared;
use crate::shard::engine::Engine;

/// A connection's entry for one of its topics.
pub(super) struct Subscription {
    topic: u32,
    /// Its place in the topic's `members`.
    position: u32,
}

struct Member {
    /// The connection's slab index.
    connection: u32,
    /// Its place in the connection's list of subscriptions.
    position: u32,
}

struct Topic {
    name: Box<str>,
    members: Vec<Member>,
}

/// All topics of a reactor that have a subscriber.
#[derive(Default)]
pub(super) struct Topics {
    ids: HashTable<u32>,
    topics: Slab<Topic>,
}

impl Topics {
    fn find(&self, node: &Shared, name: &str) -> Option<u32> {
        self.ids
            .find(node.hash_topic(name), |&id| *self.topics[id as usize].name == *name)
            .copied()
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// How many connections subscribed to this topic.
    pub fn members(&self, node: &Shared, name: &str) -> usize {
        self.find(node, name)
            .map_or(0, |id| self.topics[id as usize].members.len())
    }

    /// The slab index of the member at this position.
    pub fn member(&self, node: &Shared, name: &str, position: usize) -> Option<u32> {
        let id = self.find(node, name)?;
        self.topics[id as usize]
            .members
            .get(position)
            .map(|member| member.connection)
    }

    pub fn is_member(&self, session: &Session, name: &str) -> bool {
        session
            .subscriptions()
            .iter()
            .any(|subscription| *self.topics[subscription.topic as usize].name == *name)
    }

    /// The names that a connection subscribed, in the order of its subscriptions.
    pub fn names<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = &'a str> {
        session
            .subscriptions()
            .iter()
            .map(|subscription| &*self.topics[subscription.topic as usize].name)
    }

    /// Subscribes; a connection that has the topic already keeps it once.
    pub fn join(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32, name: &str) {
        if self.is_member(engine.session(index), name) {
            return;
        }
        let id = match self.find(node, name) {
            Some(id) => id,
            None => self.insert(engine.reactor(), node, name),
        };
        let members = &mut self.topics[id as usize].members;
        let subscriptions = engine.session_mut(index).subscriptions.get_or_insert_default();
        subscriptions.push(Subscription {
            topic: id,
            position: members.len() as u32,
        });
        members.push(Member {
            connection: index,
            position: (subscriptions.len() - 1) as u32,
        });
    }

    fn insert(&mut self, reactor: usize, node: &Shared, name: &str) -> u32 {
        let hash = node.hash_topic(name);
        let id = self.topics.insert(Topic {
            name: name.into(),
            members: Vec::new(),
        }) as u32;
        let topics = &self.topics;
        self.ids
            .insert_unique(hash, id, |&id| node.hash_topic(&topics[id as usize].name));
        // Before the client hears that it is subscribed: whatever is pushed from then on finds it.
        let filter = node.topic_filter(reactor);
        filter.add(hash);
        if filter.needs_growth() {
            filter.grow(topics.iter().map(|(_, topic)| node.hash_topic(&topic.name)));
        }
        id
    }

    /// Ends one subscription; nothing happens if it is not there.
    pub fn leave(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32, name: &str) {
        let subscriptions = engine.session(index).subscriptions();
        let found = subscriptions
            .iter()
            .position(|entry| *self.topics[entry.topic as usize].name == *name);
        if let Some(position) = found {
            self.remove(engine, node, index, position);
        }
    }

    /// Ends every subscription of a connection.
    pub fn leave_all(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32) {
        while let Some(last) = engine.session(index).subscriptions().len().checked_sub(1) {
            self.remove(engine, node, index, last);
        }
    }

    fn remove(&mut self, engine: &mut Engine<Session>, node: &Shared, index: u32, position: usize) {
        let session = engine.session_mut(index);
        let Some(subscriptions) = &mut session.subscriptions else {
            return;
        };
        // Those behind it move up, for the client is told its topics in the order in which it subscribed them. Whoever
        // moves must be told its new place, in either list.
        let removed = subscriptions.remove(position);
        for (position, moved) in subscriptions.iter().enumerate().skip(position) {
            self.topics[moved.topic as usize].members[moved.position as usize].position = position as u32;
        }
        if subscriptions.is_empty() {
            session.subscriptions = None;
        }
        let topic = &mut self.topics[removed.topic as usize];
        topic.members.swap_remove(removed.position as usize);
        match topic.members.get(removed.position as usize) {
            Some(moved) => {
                if let Some(subscriptions) = &mut engine.session_mut(moved.connection).subscriptions {
                    subscriptions[moved.position as usize].position = removed.position;
                }
            }
            None if topic.members.is_empty() => {
                let hash = node.hash_topic(&topic.name);
                self.topics.remove(removed.topic as usize);
                if let Ok(entry) = self.ids.find_entry(hash, |&id| id == removed.topic) {
                    entry.remove();
                }
                node.topic_filter(engine.reactor()).remove(hash);
            }
            None => {}
        }
    }
}
