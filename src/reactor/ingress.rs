//! The phases that take in: readiness becomes reads, reads become calls of the shard, listeners become connections.

use mio::{Events, Token};

use super::listener;
use super::socket::{Stream, Transfer};
use super::{ACCEPTS_A_TURN, READ_BYTES_A_TURN, Reactor, Slot, WAKER, slot_of};
use crate::links::Wake;
use crate::metrics::RefusalReason;
use crate::shard::{Application, Key, Urgency};

impl<A: Application, InWake: Wake, OutWake: Wake> Reactor<A, InWake, OutWake> {
    pub(super) fn dispatch_ready(&mut self) {
        // Whoever was left over comes first, in order.
        for _ in 0..self.unread.len() {
            if let Some(key) = self.unread.pop_front() {
                self.read(key);
            }
        }
        while let Some(key) = self.shard.engine.next_readable_again() {
            if self.slot(key).is_some_and(|slot| slot.readable) {
                self.read(key);
            }
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            let number = WAKER.0 - 1 - token.0;
            if let Some(listener) = self.listeners.get_mut(number) {
                listener.set_ready();
                continue;
            }
            let key = Key::unpack(token.0);
            let Some(slot) = self.slot_mut(key) else { continue };
            if event.is_writable() || event.is_write_closed() {
                slot.writable = true;
                self.shard.engine.write_again(key, Urgency::Urgent);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                if let Some(slot) = self.slot_mut(key) {
                    slot.readable = true;
                    slot.read_closed |= event.is_read_closed() || event.is_error();
                }
                self.read(key);
            }
        }
        self.events = events;
        if self.may_accept() && self.node.accept_begin() {
            self.accept();
            self.node.accept_end();
        }
    }

    fn accept(&mut self) {
        let now_us = self.shard.engine.now().us;
        self.first_listener = (self.first_listener + 1) % self.listeners.len().max(1);
        for place in 0..self.listeners.len() {
            let number = (self.first_listener + place) % self.listeners.len();
            // While the node drains they are only told so.
            let budget = match self.node.draining() {
                true => ACCEPTS_A_TURN,
                false => self.admission.allowed(now_us, ACCEPTS_A_TURN),
            };
            for _ in 0..budget {
                if !self.listeners[number].is_ready() {
                    break;
                }
                match self.listeners[number].accept() {
                    Ok(Some((stream, peer))) => {
                        self.admission.took();
                        self.open(stream, peer);
                    }
                    Ok(None) => break,
                    Err(error) if listener::is_exhaustion(&error) => {
                        let now_ms = self.shard.engine.now().ms();
                        if let Some(not_logged) = self.gate.says(now_ms) {
                            tracing::warn!(
                                %error,
                                not_logged,
                                "no descriptor left for new connections: refused until some are free; raise LimitNOFILE"
                            );
                        }
                        if !self.node.accept_alone() {
                            self.gate.close_for_now(now_ms);
                            return;
                        }
                        if self.gate.close(&mut self.listeners[number], now_ms) {
                            self.counters().refused[RefusalReason::NoDescriptors as usize].add(1);
                        }
                        self.node.accept_alone_end();
                        return;
                    }
                    // The peer gave up between the two ends of its handshake (accept(2) lists a dozen such errors).
                    Err(_) => {}
                }
            }
        }
    }

    fn open(&mut self, mut stream: Stream, peer: Option<std::net::IpAddr>) {
        let key = self.shard.open(peer);
        self.node.connection_opened();
        if stream.register(self.poll.registry(), Token(key.pack())).is_err() {
            // Out of epoll watches (fs.epoll.max_user_watches): this connection cannot be served.
            self.shard.lost(key);
        }
        let index = key.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Slot {
            stream,
            generation: key.generation,
            readable: false,
            writable: true,
            read_closed: false,
        });
    }

    /// Reads until there is nothing, the budget is spent, or the shard wants no more.
    fn read(&mut self, key: Key) {
        let mut budget = READ_BYTES_A_TURN;
        loop {
            if !self.shard.wants_read(key) {
                // It says so when it does (`next_readable_again`), and `readable` is still set then.
                return;
            }
            let Some(slot) = slot_of(&mut self.slots, key) else {
                return;
            };
            match slot.stream.read(&mut self.scratch) {
                Transfer::Bytes(n) => {
                    // A short read emptied the socket; what comes later makes an edge. That saves every message a call.
                    let more = n == self.scratch.len() || slot.read_closed;
                    slot.readable = more;
                    self.shard.receive(key, &mut self.scratch[..n]);
                    if !more {
                        return;
                    }
                    budget = budget.saturating_sub(n);
                    if budget == 0 {
                        self.unread.push_back(key);
                        return;
                    }
                }
                Transfer::Blocked => {
                    slot.readable = false;
                    return;
                }
                Transfer::EndOfFile => {
                    slot.readable = false;
                    return self.shard.end_of_file(key);
                }
                Transfer::Failed => {
                    slot.readable = false;
                    return self.shard.lost(key);
                }
            }
        }
    }
}
