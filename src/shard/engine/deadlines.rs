//! When a connection must be looked at: one entry of the wheel for its nearest deadline, pings and the looks for their
//! answers. Called through `Shard::expire`, and wherever a deadline is set.

use super::Engine;
use crate::metrics::CloseReason;
use crate::shard::NEVER;
use crate::shard::connection::{Key, Stage};
use crate::shard::engine::Urgency;

impl<S> Engine<S> {
    /// Files the nearest deadline, if it is nearer than the one filed. One that moved away is found too early when it
    /// fires and filed again: moving a deadline costs a store.
    pub(in crate::shard) fn arm(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index as usize) else {
            return;
        };
        if connection.stage == Stage::Dead {
            // Its deadline has passed, and would fire over and over until it is reaped.
            return;
        }
        let nearest_ms = connection.nearest_deadline_ms();
        if nearest_ms != NEVER
            && self
                .wheel
                .deadline_ms(index)
                .is_none_or(|filed_ms| nearest_ms < filed_ms)
        {
            self.wheel.file(index, nearest_ms);
        }
    }

    pub(in crate::shard) fn next_due_ms(&self) -> Option<u64> {
        self.wheel.next_due_ms()
    }

    pub(in crate::shard) fn next_due(&mut self) -> Option<u32> {
        self.wheel.pop_due(self.now.ms())
    }

    /// A deadline of this connection fired: does what is due, and files the next.
    pub(in crate::shard) fn deadline(&mut self, key: Key) {
        let now_ms = self.now.ms();
        let Some(connection) = self.get_mut(key) else { return };
        match connection.stage {
            Stage::Handshake if connection.deadline_ms <= now_ms => self.lost(key, CloseReason::HandshakeTimeout),
            Stage::Closing if connection.deadline_ms <= now_ms => self.bury(key.index),
            Stage::Unauthenticated | Stage::Open => {
                if connection.pong_by_ms <= now_ms {
                    self.close(key, CloseReason::PingTimeout);
                } else if connection.deadline_ms <= now_ms {
                    self.send_ping(key, now_ms);
                }
            }
            _ => {}
        }
        self.arm(key.index);
    }

    fn send_ping(&mut self, key: Key, now_ms: u64) {
        let next_ms = self.ping_after(now_ms);
        // A sign of life may come a little late, never be missed early.
        let pong_by_ms = (now_ms + self.rules.pong_ms).next_multiple_of(self.ping_grid_ms());
        let ping = self.ping.clone();
        if let Some(connection) = self.get_mut(key) {
            connection.deadline_ms = next_ms;
            connection.pong_by_ms = connection.pong_by_ms.min(pong_by_ms);
        }
        self.send(key, ping, Urgency::Urgent);
    }

    /// Pings, and the looks for their answers, fall on moments that connections share: one wake of the reactor then serves
    /// some dozens of them, which for 10,000 idle connections is most of the cost.
    fn ping_grid_ms(&self) -> u64 {
        (self.rules.ping_ms / 100).clamp(1, 250)
    }

    /// Never longer than `ping_ms`, so that clients may count on it; up to a tenth shorter, so that a crowd that came at
    /// once is not pinged at once for ever.
    fn ping_after(&mut self, now_ms: u64) -> u64 {
        let ping_ms = self.rules.ping_ms;
        let wanted_ms = now_ms + ping_ms - self.random.u64(0..=ping_ms / 10);
        let grid_ms = self.ping_grid_ms();
        (wanted_ms / grid_ms * grid_ms).max(now_ms + 1)
    }

    /// The first ping comes at a random moment of the interval's second half: who connected at once is pinged spread.
    pub(super) fn first_ping_at(&mut self) -> u64 {
        let now_ms = self.now.ms();
        let earlier_ms = self.random.u64(0..=self.rules.ping_ms / 2);
        let grid_ms = self.ping_grid_ms();
        (self.ping_after(now_ms).saturating_sub(earlier_ms) / grid_ms * grid_ms).max(now_ms + 1)
    }
}
