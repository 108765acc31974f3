//! Emptying the reactor before it stops: every connection is closed with 1012, spread over the drain window, and each
//! is told its own moment to reconnect, so that the other nodes see a stream and not a wave.

use super::{Gateway, Session};
use crate::links::Notice;
use crate::metrics::CloseReason;
use crate::shard::Next;
use crate::shard::connection::Stage;
use crate::shard::engine::Engine;

/// Closes a turn, however late the drain is.
const CLOSES_A_TURN: u32 = 256;
/// How often the drain looks at the clock.
const STEP_MS: u64 = 10;
/// Moments to come back that are given out at least: a second of them, one a millisecond. A larger crowd gets one each,
/// so that even if a node closes all at once no more than 1,000 a second come back.
const SLOTS_MIN: u64 = 1_000;
/// Nobody is told to come back sooner: the balancer must have seen that this node is gone.
const RETRY_MIN_MS: u64 = 100;
/// A prime: consecutive closes get slots far apart, and as long as it does not divide their number, each another.
const SLOT_STRIDE: u64 = 7_919;

/// A drain under way.
pub(super) struct Drain {
    started_ms: u64,
    window_ms: u64,
    /// Connections when it began.
    total: u64,
    closed: u64,
    /// The next slot to look at.
    cursor: u32,
    /// Control was told that nobody is left.
    told: bool,
}

impl Drain {
    /// Until the last connection should be closed.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        (self.started_ms + self.window_ms).saturating_sub(now_ms)
    }

    /// When the next client that is closed shall come back. Every client of the node has a moment of its own: each
    /// reactor gives out those that leave its own number as the rest.
    fn retry_ms(&self, reactor: u64, reactors: u64) -> u64 {
        let mut slots = self.total.max(SLOTS_MIN / reactors);
        slots += u64::from(slots.is_multiple_of(SLOT_STRIDE));
        RETRY_MIN_MS + self.closed * SLOT_STRIDE % slots * reactors + reactor
    }

    /// How many connections should be closed by now. The reactors take turns: each begins its share of a step later than
    /// the one before it, or all would close one at the same moments. The very first goes at once: a node with one client
    /// need not keep it, or its operator, waiting.
    fn due(&self, now_ms: u64, reactor: u64, reactors: u64) -> u64 {
        let elapsed_ms = now_ms - self.started_ms;
        if elapsed_ms >= self.window_ms {
            u64::MAX
        } else {
            let begun = (reactors - reactor) * self.window_ms;
            (self.total * elapsed_ms * reactors + begun) / (self.window_ms * reactors)
        }
    }
}

impl Gateway {
    pub(super) fn start_drain(&mut self, engine: &mut Engine<Session>, window_ms: u64) {
        if self.drain.is_none() {
            self.drain = Some(Drain {
                started_ms: engine.now().ms(),
                window_ms,
                total: engine.len() as u64,
                closed: 0,
                cursor: 0,
                told: false,
            });
        }
    }

    pub(super) fn advance_drain(&mut self, engine: &mut Engine<Session>) -> Next {
        let reactors = self.node.reactors() as u64;
        let Some(drain) = &mut self.drain else {
            return Next::Idle;
        };
        let now_ms = engine.now().ms();
        let due = drain.due(now_ms, engine.reactor() as u64, reactors);
        let mut budget = CLOSES_A_TURN;
        while drain.closed < due && budget > 0 && drain.cursor < engine.slots() {
            let slot = drain.cursor;
            drain.cursor += 1;
            let Some((key, connection)) = engine.at(slot) else {
                continue;
            };
            match connection.stage() {
                Stage::Unauthenticated | Stage::Open => {
                    let retry_ms = drain.retry_ms(engine.reactor() as u64, reactors);
                    let reason = CloseReason::Drain;
                    engine.close_with(key, reason, reason.code(), &format!("retry_ms={retry_ms}"));
                    drain.closed += 1;
                    budget -= 1;
                }
                // A request that is not complete when the window ends gets no answer any more.
                Stage::Handshake if due == u64::MAX => engine.close(key, CloseReason::Drain),
                Stage::Handshake | Stage::Closing | Stage::Dead => {}
            }
        }
        if engine.is_empty() && !drain.told {
            drain.told = true;
            self.notices.push(Notice::Drained);
        }
        if drain.cursor >= engine.slots() && due == u64::MAX {
            // Requests that came after the cursor had passed.
            drain.cursor = 0;
        }
        if budget == 0 {
            Next::Now
        } else {
            Next::At(now_ms + STEP_MS)
        }
    }
}
