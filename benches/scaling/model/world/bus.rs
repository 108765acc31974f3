//! The bus of the model: what nodes say to each other when their time comes, how long it takes, and what is lost on the
//! way. Part of `world`.

use std::sync::Arc;

use super::super::Micros;
use super::super::directory::{Announcement, Node, Snapshot};
use super::{Event, World};

#[derive(Clone, Debug)]
pub(super) enum Message {
    Announcement(Arc<Announcement>),
    WantSnapshot,
    Snapshot(Arc<Snapshot>),
}

impl World {
    /// A node looks at whether it has something to say.
    pub(super) fn tick(&mut self, node: Node, process: u32) {
        let member = &mut self.members[node];
        if member.process != process {
            return;
        }
        let clock_us = member.clock_us(self.now_us);
        let Some(directory) = &mut member.directory else { return };
        let mut wants = Vec::new();
        let told = directory.tick(clock_us, &mut wants);
        self.file(self.p.timing.batch_us, Event::Tick(node, process));
        for to in wants {
            self.outcome.directed.told += 1;
            self.send(node, to, Message::WantSnapshot);
        }
        if let Some(told) = told.map(Arc::new) {
            self.outcome.directed.told += 1;
            for to in 0..self.members.len() {
                if to != node {
                    self.send(node, to, Message::Announcement(Arc::clone(&told)));
                }
            }
        }
        self.answer_logins(node);
    }

    fn send(&mut self, from: Node, to: Node, message: Message) {
        if self.members[from].is_cut || self.members[to].is_cut || self.rng.f64() < self.p.faults.loss {
            return;
        }
        let jitter_us = -self.rng.f64().max(1e-9).ln() * self.p.jitter_us as f64;
        let way = from * self.members.len() + to;
        let at_us = (self.now_us + self.p.latency_us + jitter_us as Micros)
            .max(self.last_arrival_us[way])
            .max(self.members[to].stalled_until_us + 1);
        self.last_arrival_us[way] = at_us;
        self.file(at_us - self.now_us, Event::Arrive { from, to, message });
    }

    /// A message reaches a node, if the bus does.
    pub(super) fn arrive(&mut self, from: Node, to: Node, message: &Message) {
        let clock_us = self.members[to].clock_us(self.now_us);
        if !self.is_reachable(to) {
            return;
        }
        let stalled_until_us = self.members[to].stalled_until_us;
        let Some(directory) = &mut self.members[to].directory else {
            return;
        };
        if stalled_until_us > self.now_us {
            // The stall began while it was on the way. What was sent later comes a moment later: the order stays.
            let (after_us, message) = (stalled_until_us - self.now_us, message.clone());
            self.file(after_us, Event::Arrive { from, to, message });
            return;
        }
        let counts = &mut self.outcome.directed;
        counts.heard_told += 1;
        match message {
            Message::Announcement(told) => {
                counts.entries += (told.joins.len() + told.leaves.len()) as u64;
                counts.heard += told.heard.len() as u64;
                directory.on_announcement(clock_us, told);
                self.answer_logins(to);
            }
            Message::WantSnapshot => {
                if let Some(snapshot) = directory.snapshot() {
                    counts.told += 1;
                    self.outcome.snapshots += 1;
                    self.send(to, from, Message::Snapshot(Arc::new(snapshot)));
                }
            }
            Message::Snapshot(snapshot) => {
                counts.entries += snapshot.users.len() as u64;
                directory.on_snapshot(snapshot);
            }
        }
    }
}
