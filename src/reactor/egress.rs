//! The phases that give out: queued frames become writes, ended connections become closed sockets.

use std::io::IoSlice;

use super::socket::{Stream, Transfer};
use super::{
    BULK_WRITES_A_MIXED_TURN, BULK_WRITES_A_TURN, MIXED_FOR_US, REAPS_A_TURN, Reactor, SLICES, SLICES_FEW,
    URGENT_WRITES_A_TURN, WRITE_BYTES_A_TURN, slot_of,
};
use crate::links::Wake;
use crate::shard::{Application, Key, Shard, Urgency};

/// Writes for which the clock is read once. It only serves the histogram of delays, whose finest step is 50 µs.
const WRITES_A_CLOCK: usize = 8;

impl<A: Application, InWake: Wake, OutWake: Wake> Reactor<A, InWake, OutWake> {
    pub(super) fn flush_dirty(&mut self) {
        let turn_us = self.shard.engine.now().us;
        if self.shard.engine.has_urgent() {
            self.mixed_until_us = turn_us + MIXED_FOR_US;
        }
        let bulk = if turn_us < self.mixed_until_us {
            BULK_WRITES_A_MIXED_TURN
        } else {
            BULK_WRITES_A_TURN
        };
        for (urgency, budget) in [(Urgency::Urgent, URGENT_WRITES_A_TURN), (Urgency::Bulk, bulk)] {
            let mut now_us = 0;
            for number in 0..budget {
                let Some(key) = self.shard.engine.next_dirty(urgency) else {
                    break;
                };
                if number % WRITES_A_CLOCK == 0 {
                    now_us = self.node.now_us();
                }
                self.flush(key, urgency, now_us);
            }
        }
        while let Some(key) = self.shard.engine.next_half_close() {
            if let Some(slot) = self.slot_mut(key) {
                slot.stream.shut_write();
            }
        }
    }

    /// Writes what is queued for one connection, as far as its socket and its budget take it.
    fn flush(&mut self, key: Key, urgency: Urgency, now_us: u64) {
        let mut budget = WRITE_BYTES_A_TURN;
        let Some(slot) = slot_of(&mut self.slots, key) else {
            return;
        };
        while slot.writable {
            // The list of slices is cleared before each use: most connections have one frame, and need no long one.
            let (offered, transfer) = match self.shard.engine.queued_frames(key) {
                0 => return,
                1..=SLICES_FEW => write_queued::<A, SLICES_FEW>(&self.shard, key, &mut slot.stream),
                _ => write_queued::<A, SLICES>(&self.shard, key, &mut slot.stream),
            };
            let written = match transfer {
                Transfer::Bytes(written) => written,
                Transfer::Blocked | Transfer::EndOfFile => 0,
                Transfer::Failed => return self.shard.lost(key),
            };
            let more = self.shard.wrote(key, written, now_us);
            if written < offered {
                slot.writable = false;
                return self.shard.engine.write_blocked(key);
            }
            if !more {
                return;
            }
            budget = budget.saturating_sub(written);
            if budget == 0 {
                return self.shard.engine.write_again(key, urgency);
            }
        }
    }

    pub(super) fn reap_closed(&mut self) {
        let mut freed = false;
        for _ in 0..REAPS_A_TURN {
            let Some(key) = self.shard.engine.next_dead() else {
                break;
            };
            if let Some(slot) = self.slots.get_mut(key.index as usize) {
                *slot = None;
            }
            self.node.connection_closed();
            freed = true;
        }
        let now_ms = self.shard.engine.now().ms();
        self.gate.consider_reopening(now_ms, freed);
    }
}

/// One write of what is queued, up to `N` frames of it: the bytes offered, and what became of them.
fn write_queued<A: Application, const N: usize>(shard: &Shard<A>, key: Key, stream: &mut Stream) -> (usize, Transfer) {
    let mut slices = [IoSlice::new(&[]); N];
    let filled = shard.pending(key, &mut slices);
    let offered = slices[..filled].iter().map(|slice| slice.len()).sum();
    (offered, stream.write(&slices[..filled]))
}
