//! What `Registry` does with other nodes' messages. Each node speaks for its own places alone, so whatever it says of
//! another's is dropped.

use std::collections::HashSet;

use super::super::rule;
use super::super::{Answer, Batch, Released};
use super::steps::{believable, place};
use super::{AT_US_END, Registry, Untold};
use crate::config::Sessions as Policy;
use crate::links::ConnectionId;

impl Registry {
    /// Another node's batch. What comes back is to be sent to it alone.
    pub fn heard(&mut self, policy: &Policy, from: u64, batch: Batch) -> Option<Answer> {
        let last = self.heard.get(&from).copied().unwrap_or(0);
        // A second time, or overtaken by a later one: what it said is known or outdated.
        if from == self.own_epoch || batch.id <= last {
            return None;
        }
        self.heard.insert(from, batch.id);
        if batch.reset {
            self.forget(from);
        }
        let mut gone: HashSet<ConnectionId> = HashSet::new();
        for Released { connection, user } in batch.released {
            gone.insert(connection);
            if self.waiting.values().any(|waiting| waiting.unanswered.contains(&from)) {
                self.ended.insert(connection, self.last_batch);
            }
            self.drop_remote(&user, |seat| seat.connection == connection && connection.epoch == from);
        }
        let mut answer = Answer {
            batch: batch.id,
            as_of_us: self.clock_us,
            places: Vec::new(),
        };
        let mut asked: HashSet<Box<str>> = HashSet::new();
        for place in batch.claims {
            if !believable(from, &place) {
                continue;
            }
            self.clock_us = self.clock_us.max(place.at_us);
            if let Some(entry) = self.users.get_mut(&place.user) {
                if !gone.contains(&place.connection) {
                    entry.learn(place.clone());
                } else if let Some(seat) = entry.inherit(&place).filter(|seat| seat.told) {
                    self.untold.push_back(Untold {
                        connection: seat.connection,
                        user: place.user.clone(),
                        deadline_us: 0,
                    });
                }
                asked.insert(place.user);
            }
        }
        for user in asked {
            if let (true, Some(entry)) = (batch.asks, self.users.get_mut(&user)) {
                let own = entry.seats.iter_mut().filter(|seat| seat.is_own());
                for seat in own.filter(|seat| rule::counts(policy, seat.device.as_deref())) {
                    seat.told = true;
                    answer.places.push(place(seat, &user));
                }
            }
            self.settle(policy, &user);
        }
        batch.asks.then_some(answer)
    }

    /// Another node's answer to a batch of this one. Taken once, also late.
    pub fn answer(&mut self, policy: &Policy, from: u64, answer: Answer) {
        let Some(waiting) = self.waiting.get_mut(&answer.batch) else {
            return;
        };
        let Some(at) = waiting.unanswered.iter().position(|&epoch| epoch == from) else {
            return;
        };
        waiting.unanswered.swap_remove(at);
        let users = std::mem::take(&mut waiting.users);
        if answer.as_of_us < AT_US_END {
            self.clock_us = self.clock_us.max(answer.as_of_us);
        }
        // What it does not name it has not, unless claimed since.
        let named: HashSet<ConnectionId> = answer.places.iter().map(|place| place.connection).collect();
        for user in &users {
            self.drop_remote(user, |seat| {
                let id = seat.connection;
                id.epoch == from && seat.at_us <= answer.as_of_us && !named.contains(&id)
            });
        }
        for place in answer.places {
            if believable(from, &place) && !self.ended.contains_key(&place.connection) {
                self.clock_us = self.clock_us.max(place.at_us);
                if let Some(entry) = self.users.get_mut(&place.user) {
                    entry.learn(place);
                }
            }
        }
        for user in &users {
            self.settle(policy, user);
        }
        if let Some(waiting) = self.waiting.get_mut(&answer.batch) {
            waiting.users = users;
        }
        self.decide_if_answered(policy, answer.batch);
    }
}
