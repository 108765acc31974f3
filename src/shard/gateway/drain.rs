//! Emptying the reactor before it stops: every connection is closed with 1012, spread over the drain window, and each
//! is told its own moment to reconnect, so that the other nodes see a stream and not a wave.
//!
//! The stream is as fast as the others take it (`node::Shared::drain_pace_per_s`, which control leaves as it is from the
//! beginning of the drain on). Closes are spread
//! evenly over the window, and the waits that clients are told evenly over the time that the pace needs for all of them.
//! The sum of the two is spread over the longer one at the least, so that no more come back in a second than the pace, or
//! than are closed in one.
//!
//! Only clients are waited for. Whoever has not asked yet, or not to the end, holds nothing up: a request gets its 503
//! whenever it is complete, or, the half of one, when the door closes (`node::Shared::close`); who says nothing is owed
//! nothing.

use super::{Gateway, Session};
use crate::links::Notice;
use crate::metrics::{CloseReason, RefusalReason};
use crate::shard::connection::Stage;
use crate::shard::engine::Engine;
use crate::shard::{Next, Refusal};

/// Closes a turn, however late the drain is.
const CLOSES_A_TURN: u32 = 256;
/// How often the drain looks at the clock.
const STEP_MS: u64 = 10;
/// Moments to come back are given out over this time at least, so that even a small node's clients do not come at once.
const SPREAD_MIN_US: u64 = 1_000_000;
/// Nobody is kept away for longer, whatever the pace: then they come faster.
const SPREAD_MAX_US: u64 = 600_000_000;
/// Up to so many clients a moment is a millisecond at the least, so that no two are told the same. With more of them that
/// would keep the last away for longer than the others need.
const CLIENTS_TOLD_APART: u64 = 10_000;
/// Nobody is told to come back sooner: the balancer must have seen that this node is gone.
const RETRY_MIN_MS: u64 = 100;

/// A drain under way.
pub(super) struct Drain {
    started_ms: u64,
    window_ms: u64,
    /// Clients when it began: with others among them it would be through before its time.
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
    fn retry_ms(&self, reactor: u64, reactors: u64, pace_per_s: u64) -> u64 {
        let apart = self.total * reactors <= CLIENTS_TOLD_APART;
        let slot_us = (1_000_000 / pace_per_s.max(1)).max(if apart { 1_000 } else { 1 });
        let slot_us = slot_us.min(SPREAD_MAX_US / (self.total * reactors).max(1)).max(1);
        let slots = self.total.max(SPREAD_MIN_US / slot_us / reactors).max(1);
        let slot = self.closed * stride(slots) % slots * reactors + reactor;
        RETRY_MIN_MS + slot * slot_us / 1_000
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

/// How far the moment of one close is from that of the next. Multiples of the golden ratio's inverse lie as evenly as can be
/// wherever one stops (Knuth, volume 3, 6.4, theorem S), so that the moments do not pile up with the closes; and as it has
/// no factor in common with the number of slots, each has another.
fn stride(slots: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (slots * 618 / 1_000).max(1);
    (golden..golden + slots)
        .find(|&stride| gcd(stride, slots) == 1)
        .unwrap_or(1)
}

impl Gateway {
    pub(super) fn start_drain(&mut self, engine: &mut Engine<Session>, window_ms: u64) {
        if self.drain.is_none() {
            self.drain = Some(Drain {
                started_ms: engine.now().ms(),
                window_ms,
                total: engine.websockets() as u64,
                closed: 0,
                cursor: 0,
                told: false,
            });
        }
    }

    /// The answer to whoever asks to be let in meanwhile.
    pub(super) fn drains(&self, now_ms: u64) -> Refusal {
        let left_ms = self.drain.as_ref().map_or(0, |drain| drain.left_ms(now_ms));
        Refusal {
            status: 503,
            reason: RefusalReason::Draining,
            retry_after_s: Some(left_ms.div_ceil(1_000).max(1) as u32),
            text: "this node is draining: another one takes you",
        }
    }

    /// Nobody is accepted any more, and the process ends within a moment: who is in the middle of a request is answered
    /// now, as the rest of it may come too late. Looked for again and again: a request may begin to come in after a look.
    fn answer_the_last(&mut self, engine: &mut Engine<Session>) {
        let refusal = self.drains(engine.now().ms());
        for slot in 0..engine.slots() {
            let Some((key, connection)) = engine.at(slot) else {
                continue;
            };
            if connection.stage() == Stage::Handshake {
                engine.refuse_unfinished(key, refusal);
            }
        }
    }

    pub(super) fn advance_drain(&mut self, engine: &mut Engine<Session>) -> Next {
        let reactors = self.node.reactors() as u64;
        let Some(drain) = &mut self.drain else {
            return Next::Idle;
        };
        let now_ms = engine.now().ms();
        let pace_per_s = u64::from(self.node.drain_pace_per_s());
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
                    let retry_ms = drain.retry_ms(engine.reactor() as u64, reactors, pace_per_s);
                    let reason = CloseReason::Drain;
                    engine.close_with(key, reason, reason.code(), &format!("retry_ms={retry_ms}"));
                    drain.closed += 1;
                    budget -= 1;
                }
                Stage::Handshake | Stage::Closing | Stage::Dead => {}
            }
        }
        if engine.websockets() == 0 && !drain.told {
            drain.told = true;
            self.notices.push(Notice::Drained);
        }
        if self.node.closed() && !engine.is_empty() {
            self.answer_the_last(engine);
        }
        if budget == 0 {
            Next::Now
        } else {
            Next::At(now_ms + STEP_MS)
        }
    }
}
