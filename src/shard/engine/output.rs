//! The way out: a frame goes into its connection's queue and marks it dirty; `flush_dirty` asks for the next dirty
//! connection, writes its slices, and says how far it came.

use std::io::IoSlice;
use std::rc::Rc;

use super::{Engine, Sent, Urgency};
use crate::metrics::CloseReason;
use crate::shard::NEVER;
use crate::shard::connection::{Dirty, Key, Stage};
use crate::shard::outbound::{Frame, QueueId};

impl<S> Engine<S> {
    /// Queues a frame. A queue past its limit closes the connection: it is dropped, the close frame takes its place.
    pub fn send(&mut self, key: Key, frame: Rc<Frame>, urgency: Urgency) -> Sent {
        let limit = self.rules.outbound_bytes_max;
        let Some(connection) = self.get(key).filter(|connection| connection.is_live()) else {
            return Sent::Gone;
        };
        if connection.queued_bytes() + frame.bytes.len() <= limit {
            self.enqueue(key.index, frame, urgency);
            return Sent::Queued;
        }
        if frame.pushed_at_us.is_some() {
            self.counters().deliveries_dropped.add(1);
        }
        let reason = CloseReason::SlowConsumer;
        self.close_and_drop_queue(key, reason, reason.label());
        Sent::Overflow
    }

    pub(super) fn enqueue(&mut self, index: u32, frame: Rc<Frame>, urgency: Urgency) {
        let bytes = frame.bytes.len();
        let connection = &mut self.connections[index as usize];
        self.queues.push(&mut connection.queue, index, frame);
        connection.queued_bytes += bytes as u32;
        self.outbound_bytes += bytes;
        self.mark_dirty(index, urgency);
    }

    fn mark_dirty(&mut self, index: u32, urgency: Urgency) {
        let connection = &mut self.connections[index as usize];
        match (urgency, connection.dirty) {
            (Urgency::Urgent, Dirty::Clean | Dirty::Bulk) => {
                // Its place in the bulk list, if it has one, is skipped when it comes up.
                connection.dirty = Dirty::Urgent;
                self.urgent.push_back(index);
            }
            (Urgency::Bulk, Dirty::Clean) => {
                connection.dirty = Dirty::Bulk;
                self.bulk.push_back(index);
            }
            _ => {}
        }
    }

    /// The next connection to write to in this list. Each is named once, until something new is queued for it.
    pub fn next_dirty(&mut self, urgency: Urgency) -> Option<Key> {
        let (list, wanted) = match urgency {
            Urgency::Urgent => (&mut self.urgent, Dirty::Urgent),
            Urgency::Bulk => (&mut self.bulk, Dirty::Bulk),
        };
        while let Some(index) = list.pop_front() {
            if let Some(connection) = self.connections.get_mut(index as usize)
                && connection.dirty == wanted
            {
                connection.dirty = Dirty::Clean;
                return Some(Key {
                    index,
                    generation: connection.generation,
                });
            }
        }
        None
    }

    /// Connections waiting for their first write of a fan-out: what paces the fan-out.
    pub fn bulk_len(&self) -> usize {
        self.bulk.len()
    }

    /// Whether anybody waits to be written to.
    pub fn has_dirty(&self) -> bool {
        !self.urgent.is_empty() || !self.bulk.is_empty()
    }

    /// Whether anybody waits to be written to who is not part of a fan-out.
    pub fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// The socket took less than it was given: no write until it says that it can.
    pub fn write_blocked(&mut self, key: Key) {
        if let Some(connection) = self.get_mut(key) {
            connection.write_blocked = true;
        }
    }

    /// The socket can be written again, or the turn's budget for this connection was spent: come back to it.
    pub fn write_again(&mut self, key: Key, urgency: Urgency) {
        if self
            .get(key)
            .is_some_and(|connection| connection.queue != QueueId::NONE)
            && !self.is_dirty(key.index)
        {
            self.mark_dirty(key.index, urgency);
        }
    }

    /// Frames queued for this connection.
    pub fn queued_frames(&self, key: Key) -> usize {
        self.get(key).map_or(0, |connection| self.queues.len(connection.queue))
    }

    pub(in crate::shard) fn pending<'a>(&'a self, key: Key, slices: &mut [IoSlice<'a>]) -> usize {
        self.get(key)
            .map_or(0, |connection| self.queues.slices(connection.queue, slices))
    }

    pub(in crate::shard) fn wrote(&mut self, key: Key, n: usize, now_us: u64) -> bool {
        let Some(connection) = self.connections.get_mut(key.index as usize) else {
            return false;
        };
        if connection.generation != key.generation {
            return false;
        }
        if connection.write_blocked && n > 0 {
            // The peer's kernel made room: somebody is reading. That is a sign of life, and the only one that a peer deep in
            // a long queue can give.
            connection.write_blocked = false;
            connection.pong_by_ms = NEVER;
        }
        let was_paused = connection.queued_bytes() > self.rules.read_pause_bytes;
        connection.queued_bytes -= n as u32;
        self.outbound_bytes -= n;
        let counters = &self.counters.reactors[self.reactor];
        counters.bytes_out.add(n as u64);
        self.queues.wrote(&mut connection.queue, n, |frame| {
            if let Some(pushed_at_us) = frame.pushed_at_us {
                counters.deliveries_written.add(1);
                counters.push_delay.record(now_us.saturating_sub(pushed_at_us.get()));
            }
        });
        if was_paused && connection.queued_bytes() <= self.rules.read_pause_bytes {
            self.readable_again.push_back(key);
        }
        if connection.queue != QueueId::NONE {
            return true;
        }
        if connection.stage == Stage::Closing {
            if connection.peer_closed {
                self.bury(key.index);
            } else if connection.deaf {
                self.half_close.push_back(key);
            }
        }
        false
    }

    /// The next socket whose write side is to be shut.
    pub fn next_half_close(&mut self) -> Option<Key> {
        self.half_close.pop_front()
    }

    /// The next connection to read although no event says so.
    pub fn next_readable_again(&mut self) -> Option<Key> {
        self.readable_again.pop_front()
    }

    /// Whether connections wait to be read although no event says so.
    pub fn has_readable_again(&self) -> bool {
        !self.readable_again.is_empty()
    }

    /// Bytes queued for all connections.
    pub fn outbound_bytes(&self) -> usize {
        self.outbound_bytes
    }

    /// Who has something queued and is not closing, with how many bytes. Looks at every queue that was ever needed at
    /// once (`Queues::owners`).
    pub fn queued(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        self.queues
            .owners()
            .filter_map(|index| self.at(index))
            .filter(|(_, connection)| connection.is_live())
            .map(|(key, connection)| (connection.queued_bytes, key))
    }

    /// The connection with the longest queue of those that are not closing.
    pub fn heaviest(&self) -> Option<Key> {
        self.queued()
            .max_by_key(|&(queued_bytes, _)| queued_bytes)
            .map(|(_, key)| key)
    }

    pub(super) fn drop_unwritten(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let mut dropped_pushes = 0;
        let left = self.queues.drop_unwritten(&mut connection.queue, |frame| {
            dropped_pushes += u64::from(frame.pushed_at_us.is_some())
        });
        self.outbound_bytes -= connection.queued_bytes() - left;
        connection.queued_bytes = left as u32;
        self.counters().deliveries_dropped.add(dropped_pushes);
    }

    pub(super) fn discard_queue(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let pushes = self
            .queues
            .frames(connection.queue)
            .filter(|frame| frame.pushed_at_us.is_some())
            .count();
        self.queues.release(&mut connection.queue);
        self.outbound_bytes -= connection.queued_bytes();
        connection.queued_bytes = 0;
        self.counters().deliveries_dropped.add(pushes as u64);
    }
}
