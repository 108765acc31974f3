//! The reactor: one thread, one mio `Poll`, the sockets of its connections. It turns readiness into calls of a `Shard` and
//! the shard's answers into system calls, in turns of seven phases, each within a budget. It knows nothing of messages,
//! users or tokens.
//!
//! Everything is edge-triggered: a socket is registered once for both directions, and what it can do is remembered in
//! two bits until a call says that it cannot.

mod admission;
mod cores;
pub mod descriptors;
mod egress;
mod ingress;
pub mod inherited;
pub mod listener;
mod socket;
pub mod threads;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mio::{Events, Poll, Token};

use crate::links::{Receiver, Sender, Wake};
use crate::metrics::Seldom;
use crate::metrics::counters::ReactorCounters;
use crate::node::Shared;
use crate::shard::{Application, Key, Next, Now, Shard};
use admission::Admission;
use listener::{Gate, Listener};
use socket::Stream;

/// The waker's token; listeners count down from the one below. No key packs to these: a slot index is never so high.
const WAKER: Token = Token(usize::MAX);

/// Read at once, and the most that one frame header may announce in one piece without a copy.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Events taken from one wait. This and the budgets below keep a turn under some 3 ms however much is waiting: nobody
/// waits longer than that for the reactor to look up. (Each read, accept, write or close is 5 to 15 µs.)
const EVENTS_A_TURN: usize = 128;
/// Accepts a turn of each listener: a storm of newcomers must not starve those who are here.
const ACCEPTS_A_TURN: usize = 16;
/// Bytes read from one connection in a turn.
const READ_BYTES_A_TURN: usize = 256 * 1024;
/// Commands taken from the inbox in a turn.
const COMMANDS_A_TURN: usize = 1_024;
/// Deadlines fired in a turn.
const EXPIRIES_A_TURN: usize = 1_024;
/// Notices given to the outbox in a turn.
const NOTICES_A_TURN: usize = 1_024;
/// Connections written to in a turn, of those with something urgent and of those that are part of a fan-out: fewer of these
/// while others have something urgent every now and then, which then waits for 0.15 ms of a fan-out and not for 0.6.
const URGENT_WRITES_A_TURN: usize = 128;
const BULK_WRITES_A_TURN: usize = 64;
const BULK_WRITES_A_MIXED_TURN: usize = 16;
/// How long something urgent is taken for a sign that more will come.
const MIXED_FOR_US: u64 = 20_000;
/// Bytes written to one connection in a turn.
const WRITE_BYTES_A_TURN: usize = 256 * 1024;
/// Frames that one write takes together (the kernel takes up to 1,024 slices; past some dozens there is nothing to gain).
const SLICES: usize = 64;
const SLICES_FEW: usize = 2;
/// Sockets closed in a turn.
const REAPS_A_TURN: usize = 64;
/// A reactor wakes at least this often, so that a watchdog can tell an idle one from a hung one.
const IDLE_WAIT_MS: u64 = 1_000;

/// How often the log says that newcomers are held back.
const SAY_BEHIND_EVERY_MS: u64 = 10_000;

/// A connection's socket, and what is known of it.
#[derive(Debug)]
struct Slot {
    stream: Stream,
    generation: u32,
    readable: bool,
    writable: bool,
    /// The peer's end of file was announced: a short read is not the last one.
    read_closed: bool,
}

/// A reactor with its application. Built by `threads`, or by a program of its own (`examples/echo.rs`).
pub struct Reactor<A: Application, InWake, OutWake> {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    gate: Gate,
    admission: Admission,
    /// Which listener is asked first; each in turn, or the first would take all that may come in.
    first_listener: usize,
    says_behind: Seldom,
    /// By slab index, beside the shard's slots: a socket costs 16 bytes here.
    slots: Vec<Option<Slot>>,
    shard: Shard<A>,
    inbox: Receiver<A::Command, InWake>,
    outbox: Sender<A::Notice, OutWake>,
    scratch: Box<[u8]>,
    /// Connections with bytes left to read when their budget was spent.
    unread: VecDeque<Key>,
    node: Arc<Shared>,
    work_left: Next,
    /// The last wait brought as many events as it may: more are waiting.
    events_full: bool,
    /// The inbox was not emptied.
    commands_left: bool,
    /// Until then, clients beside those of fan-outs are taken to have something urgent every now and then.
    mixed_until_us: u64,
}

impl<A: Application, InWake: Wake, OutWake: Wake> Reactor<A, InWake, OutWake> {
    /// Puts a reactor together. `poll` already has the inbox's waker registered with `waker_token()`.
    ///
    /// # Errors
    /// If a listener cannot be bound or registered.
    pub fn new(
        poll: Poll,
        listeners: &[listener::Prepared],
        shard: Shard<A>,
        inbox: Receiver<A::Command, InWake>,
        outbox: Sender<A::Notice, OutWake>,
        node: Arc<Shared>,
    ) -> io::Result<Self> {
        let mut listeners: Vec<Listener> = listeners.iter().map(Listener::new).collect::<io::Result<_>>()?;
        for (number, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(WAKER.0 - 1 - number))?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_A_TURN),
            listeners,
            gate: Gate::new(),
            admission: Admission::new(),
            first_listener: 0,
            says_behind: Seldom::new(SAY_BEHIND_EVERY_MS),
            slots: Vec::new(),
            shard,
            inbox,
            outbox,
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            unread: VecDeque::new(),
            node,
            work_left: Next::Idle,
            events_full: false,
            commands_left: false,
            mixed_until_us: 0,
        })
    }

    /// Turns for ever.
    ///
    /// # Errors
    /// Only if the poll itself fails, after which nothing can be served.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.turn()?;
        }
    }

    /// One turn: seven phases, in this order.
    ///
    /// # Errors
    /// If the poll fails.
    pub fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        let started_us = self.shard.engine.now().us;
        self.dispatch_ready();
        self.drain_inbox();
        self.expire_timers();
        self.apply_effects();
        self.flush_dirty();
        self.reap_closed();
        let reactor = self.shard.engine.reactor();
        self.node.beat(reactor);
        let ended_us = self.node.now_us();
        self.see_to_admission(reactor, started_us, ended_us);
        let counters = self.counters();
        counters.turn.record(ended_us.saturating_sub(started_us));
        let outbound_bytes = self.shard.engine.outbound_bytes();
        counters.outbound_bytes.set(outbound_bytes as u64);
        self.node.outbound_set(reactor, outbound_bytes);
        Ok(())
    }

    /// Lets newcomers in more slowly while the reactor is behind with those who are here. Fan-outs, closed sockets and
    /// newcomers that wait are no sign of that: nobody waits for them.
    fn see_to_admission(&mut self, reactor: usize, began_us: u64, ended_us: u64) {
        let left_over =
            self.events_full || !self.unread.is_empty() || self.shard.engine.has_urgent() || self.commands_left;
        if self.admission.turned(began_us, ended_us, left_over)
            && let Some(not_logged) = self.says_behind.says(ended_us / 1_000)
            && let Some(per_s) = self.admission.held_back_to()
        {
            tracing::info!(
                reactor,
                per_s,
                not_logged,
                "behind with those who are connected: newcomers are let in more slowly"
            );
        }
    }

    fn counters(&self) -> &ReactorCounters {
        self.shard.engine.counters()
    }

    /// Whether there is something to do that no event will announce.
    fn is_busy(&self) -> bool {
        let engine = &self.shard.engine;
        self.work_left == Next::Now
            || engine.has_dirty()
            || engine.has_dead()
            || engine.has_readable_again()
            || !self.unread.is_empty()
    }

    /// Whether somebody waits to be accepted, and there may be a descriptor for them.
    fn may_accept(&self) -> bool {
        self.gate.is_open() && self.listeners.iter().any(Listener::is_ready)
    }

    fn wait(&mut self) -> io::Result<()> {
        let now_us = self.node.now_us();
        let now_ms = now_us / 1_000;
        // Whom the rate of admission keeps out is looked at again when it lets them in. Who is only to be refused need not wait.
        let admits_us = (self.may_accept() && !self.node.closed()).then(|| {
            if self.node.draining() {
                0
            } else {
                self.admission.next_us(now_us).unwrap_or(0)
            }
        });
        let wait_ms =
            if self.is_busy() || admits_us == Some(0) || (self.shard.takes_commands() && !self.inbox.prepare_sleep()) {
                0
            } else {
                let work_at_ms = if let Next::At(at_ms) = self.work_left {
                    Some(at_ms)
                } else {
                    None
                };
                let admits_ms = admits_us.map(|at_us| at_us.div_ceil(1_000));
                [self.shard.next_due_ms(), work_at_ms, self.gate.reopens_ms(), admits_ms]
                    .into_iter()
                    .flatten()
                    .map(|at_ms| at_ms.saturating_sub(now_ms))
                    .fold(IDLE_WAIT_MS, u64::min)
            };
        let polled = self.poll.poll(&mut self.events, Some(Duration::from_millis(wait_ms)));
        self.inbox.awake();
        self.events_full = self.events.iter().count() >= EVENTS_A_TURN;
        let unix_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        self.shard.tick(Now {
            us: self.node.now_us(),
            unix_ms: unix_ms as u64,
        });
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    fn drain_inbox(&mut self) {
        self.commands_left = false;
        for _ in 0..COMMANDS_A_TURN {
            if !self.shard.takes_commands() {
                return;
            }
            let Some(command) = self.inbox.take() else { return };
            self.shard.command(command);
        }
        self.commands_left = true;
        // What is over keeps the next wait from sleeping: `prepare_sleep` sees it.
    }

    fn expire_timers(&mut self) {
        // What is over is due again at once: `next_due_ms` then lies in the past and the wait is none.
        self.shard.expire(EXPIRIES_A_TURN);
    }

    fn apply_effects(&mut self) {
        self.work_left = self.shard.run();
        for _ in 0..NOTICES_A_TURN {
            let Some(notice) = self.shard.next_notice() else { return };
            if let Err(notice) = self.outbox.send(notice) {
                self.shard.notice_refused(notice);
                // Control is behind. It is looked at again soon; a reactor never waits for it.
                let again_ms = self.shard.engine.now().ms() + 1;
                if self.work_left != Next::Now {
                    self.work_left = Next::At(again_ms);
                }
                return;
            }
        }
        self.work_left = Next::Now;
    }

    fn slot(&self, key: Key) -> Option<&Slot> {
        self.slots
            .get(key.index as usize)?
            .as_ref()
            .filter(|slot| slot.generation == key.generation)
    }

    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        slot_of(&mut self.slots, key)
    }
}

/// The slot of this connection, if it is still its own. Apart from the reactor, for those who need the shard meanwhile.
#[inline]
fn slot_of(slots: &mut [Option<Slot>], key: Key) -> Option<&mut Slot> {
    slots
        .get_mut(key.index as usize)?
        .as_mut()
        .filter(|slot| slot.generation == key.generation)
}

/// The token under which the inbox's waker must be registered with a reactor's poll.
pub fn waker_token() -> Token {
    WAKER
}
