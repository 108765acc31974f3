//! A turn, as `longwire::reactor` makes it: the same calls in the same order, with budgets drawn at random, on
//! simulated sockets.

use std::io::IoSlice;

use longwire::links::Notice;
use longwire::metrics::CloseReason;
use longwire::shard::{Key, Next, Stage, Urgency};

use crate::ledger::Phase;
use crate::model;
use crate::wire::Transfer;
use crate::world::World;

impl World {
    pub fn reactor_turn(&mut self, r: usize) {
        let now = self.now;
        self.reactors[r].shard.tick(now);
        self.dispatch_ready(r);
        self.drain_inbox(r);
        let all_fired = self.expire_timers(r);
        self.apply_effects(r);
        self.flush_dirty(r);
        self.reap_closed(r);
        let queued = self.reactors[r].shard.engine.outbound_bytes();
        self.reactors[r].published_bytes = queued;
        self.node.outbound_set(r, queued);
        self.check_turn(r, all_fired);
    }

    fn client_of(&self, r: usize, key: Key) -> Option<usize> {
        self.by_key.get(&(r, key)).copied().filter(|&c| !self.clients[c].reaped)
    }

    fn dispatch_ready(&mut self, r: usize) {
        let scratch = if self.is_crowd() || self.chance(60) {
            65_536
        } else {
            1 << self.random.u32(..12)
        };
        for _ in 0..self.reactors[r].unread.len() {
            if let Some(key) = self.reactors[r].unread.pop_front() {
                self.read(r, key, scratch);
            }
        }
        while let Some(key) = self.reactors[r].shard.engine.next_readable_again() {
            if self.client_of(r, key).is_some_and(|c| self.clients[c].wire.readable) {
                self.read(r, key, scratch);
            }
        }
        let mut events = self.reactors[r].open.clone();
        events.retain(|&c| self.clients[c].wire.edge_in || self.clients[c].wire.edge_out);
        self.random.shuffle(&mut events);
        for c in events {
            if self.chance(10) {
                // There is room for so many events in one wait.
                continue;
            }
            let (key, wire) = (self.clients[c].key, &mut self.clients[c].wire);
            if std::mem::take(&mut wire.edge_out) {
                wire.writable = true;
                self.reactors[r].shard.engine.write_again(key, Urgency::Urgent);
            }
            if std::mem::take(&mut wire.edge_in) {
                wire.readable = true;
                wire.read_closed |= wire.announces_end();
                self.read(r, key, scratch);
            }
        }
        if !self.closing_down {
            self.clients_come(r);
        }
    }

    fn read(&mut self, r: usize, key: Key, scratch: usize) {
        let mut budget: usize = if self.chance(80) { 256 * 1024 } else { scratch };
        let Some(c) = self.client_of(r, key) else { return };
        while self.reactors[r].shard.wants_read(key) {
            let wire = &mut self.clients[c].wire;
            match wire.read(scratch) {
                Transfer::Bytes(mut bytes) => {
                    let more = bytes.len() == scratch || wire.read_closed;
                    wire.readable = more;
                    budget = budget.saturating_sub(bytes.len());
                    self.say(|| format!("client {c}: {} bytes in", bytes.len()));
                    self.clients[c].sign_ms = self.now.ms();
                    self.clients[c].quiet_ms = 0;
                    self.reactors[r].tally.bytes_in += bytes.len() as u64;
                    self.reactors[r].shard.receive(key, &mut bytes);
                    self.after(r, Phase::Receive, Some(c));
                    if !more {
                        return;
                    }
                    if budget == 0 {
                        return self.reactors[r].unread.push_back(key);
                    }
                }
                Transfer::Blocked => return wire.readable = false,
                Transfer::EndOfFile => {
                    wire.readable = false;
                    self.say(|| format!("client {c}: end of file"));
                    self.clients[c].model.end(CloseReason::ConnectionLost);
                    self.reactors[r].shard.end_of_file(key);
                    return self.after(r, Phase::Receive, Some(c));
                }
                Transfer::Failed => {
                    wire.readable = false;
                    return self.lose(r, c);
                }
            }
        }
    }

    /// The socket failed.
    fn lose(&mut self, r: usize, c: usize) {
        self.say(|| format!("client {c}: lost"));
        self.clients[c].model.end(CloseReason::ConnectionLost);
        self.reactors[r].shard.lost(self.clients[c].key);
        self.after(r, Phase::Receive, Some(c));
    }

    fn drain_inbox(&mut self, r: usize) {
        let budget = if self.chance(80) { 1_024 } else { self.random.usize(..5) };
        for _ in 0..budget {
            if !self.reactors[r].shard.takes_commands() {
                return;
            }
            let Some((order, ticket)) = self.reactors[r].inbox.pop_front() else {
                return;
            };
            self.carry_out(r, order, ticket);
        }
    }

    /// True if every deadline that is due was fired.
    fn expire_timers(&mut self, r: usize) -> bool {
        let budget = if self.chance(90) {
            usize::MAX
        } else {
            self.random.usize(..4)
        };
        // Each connection has some three deadlines, and a jump may make all of them due. More is a wheel that spins.
        let most = 4 * self.reactors[r].open.len() + 16;
        for fired in 0..budget {
            assert!(fired < most, "deadlines fire again and again");
            if !self.reactors[r].shard.expire(1) {
                return true;
            }
            self.after(r, Phase::Expire, None);
        }
        false
    }

    fn apply_effects(&mut self, r: usize) {
        if let Some(drain) = &mut self.reactors[r].drain {
            drain.turns_over += u32::from(self.now.ms() >= drain.started_ms + drain.window_ms);
        }
        self.reactors[r].work_left = self.reactors[r].shard.run();
        if self.reactors[r].work_left == Next::Now {
            self.note("work left over");
        }
        self.after(r, Phase::Run, None);
        self.check_outbound(r);
        let mut room = if self.chance(85) { 1_024 } else { self.random.usize(..3) };
        while let Some(notice) = self.reactors[r].shard.next_notice() {
            if room == 0 {
                self.say(|| format!("refused notice {notice:?}"));
                self.note("outbox full");
                let is_call = matches!(notice, Notice::Call(_));
                self.reactors[r].shard.notice_refused(notice);
                if is_call {
                    self.calls_refused(r);
                }
                return self.after(r, Phase::Notice, None);
            }
            room -= 1;
            self.take_notice(r, notice);
        }
    }

    fn flush_dirty(&mut self, r: usize) {
        for (urgency, budget) in [(Urgency::Urgent, 512), (Urgency::Bulk, 64)] {
            let budget = if self.is_crowd() || self.chance(80) {
                budget
            } else {
                self.random.usize(..4)
            };
            for _ in 0..budget {
                let Some(key) = self.reactors[r].shard.engine.next_dirty(urgency) else {
                    break;
                };
                self.flush(r, key, urgency);
            }
        }
        while let Some(key) = self.reactors[r].shard.engine.next_half_close() {
            if let Some(c) = self.client_of(r, key) {
                self.say(|| format!("client {c}: half closed"));
                assert!(
                    self.clients[c].ended.is_some(),
                    "half closed a connection that had not ended"
                );
                self.clients[c].wire.server_ended = true;
            }
        }
    }

    fn flush(&mut self, r: usize, key: Key, urgency: Urgency) {
        let Some(c) = self.client_of(r, key) else { return };
        let mut budget: usize = if self.chance(80) { 256 * 1024 } else { 1_000 };
        let most = if self.chance(80) { 64 } else { self.random.usize(1..4) };
        while self.clients[c].wire.writable {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = self.reactors[r].shard.pending(key, &mut slices[..most]);
            if filled == 0 {
                return;
            }
            let bytes = slices[..filled]
                .iter()
                .map(|slice| &**slice)
                .collect::<Vec<&[u8]>>()
                .concat();
            let Some(written) = self.clients[c].wire.write(&bytes) else {
                return self.lose(r, c);
            };
            self.say(|| format!("client {c}: {written} of {} bytes out", bytes.len()));
            self.reactors[r].tally.bytes_out += written as u64;
            if std::mem::take(&mut self.clients[c].wire.blocked) && written > 0 {
                self.clients[c].sign_ms = self.now.ms();
                self.clients[c].quiet_ms = 0;
            }
            let more = self.reactors[r].shard.wrote(key, written, self.now.us);
            self.clients[c].queued = self.queued(r, c);
            if written < bytes.len() {
                let wire = &mut self.clients[c].wire;
                (wire.writable, wire.blocked) = (false, true);
                self.note("short write");
                return self.reactors[r].shard.engine.write_blocked(key);
            }
            assert_eq!(more, self.clients[c].queued > 0);
            if !more {
                return;
            }
            budget = budget.saturating_sub(written);
            if budget == 0 {
                return self.reactors[r].shard.engine.write_again(key, urgency);
            }
        }
    }

    fn reap_closed(&mut self, r: usize) {
        let budget = if self.chance(80) { 512 } else { self.random.usize(..3) };
        for _ in 0..budget {
            let engine = &self.reactors[r].shard.engine;
            if !engine.has_dead() {
                return;
            }
            let queued = |key| engine.get(key).map_or(0, |connection| connection.queued_bytes());
            // The slot is free once it is named, so this is looked at first.
            let before: Vec<(usize, usize)> = self.reactors[r]
                .open
                .iter()
                .filter(|&&c| self.clients[c].model.stage == model::Stage::Ended)
                .map(|&c| (c, queued(self.clients[c].key)))
                .collect();
            let Some(key) = self.reactors[r].shard.engine.next_dead() else {
                break;
            };
            let c = self.client_of(r, key).expect("reaped twice");
            let left = before.iter().find(|&&(other, _)| other == c).expect("reaped alive").1;
            self.node.connection_closed();
            self.reactors[r].open.retain(|&other| other != c);
            self.reaped(r, c, left);
        }
    }

    fn reaped(&mut self, r: usize, c: usize, left_bytes: usize) {
        self.say(|| format!("client {c}: reaped"));
        assert!(self.reactors[r].shard.engine.get(self.clients[c].key).is_none());
        let now_ms = self.now.ms();
        let client = &mut self.clients[c];
        client.reaped = true;
        client.wire.server_ended = true;
        let ended = client.ended.as_ref().unwrap();
        // Only the peer's own doing, or two seconds, cut an end short that it was owed.
        let excused = now_ms >= ended.at_ms + 2_000 || client.wire.is_reset();
        assert!(
            left_bytes == 0 || !client.owes_goodbye() || excused,
            "client {c}: {left_bytes} bytes were not sent"
        );
        client.cut_off = left_bytes > 0;
    }

    pub fn queued(&self, r: usize, c: usize) -> usize {
        self.reactors[r]
            .shard
            .engine
            .get(self.clients[c].key)
            .map_or(0, |connection| connection.queued_bytes())
    }

    pub fn stage(&self, r: usize, c: usize) -> Stage {
        self.reactors[r]
            .shard
            .engine
            .get(self.clients[c].key)
            .map_or(Stage::Dead, |connection| connection.stage())
    }

    /// Whether nothing is left to do in this reactor but to wait.
    pub fn is_idle(&self, r: usize) -> bool {
        let reactor = &self.reactors[r];
        let engine = &reactor.shard.engine;
        reactor.work_left != Next::Now
            && reactor.inbox.is_empty()
            && reactor.unread.is_empty()
            && !engine.has_dirty()
            && !engine.has_dead()
            && !engine.has_readable_again()
    }
}
