//! Counter cells. A reactor writes its own `ReactorCounters` and nobody else does, so an increment is a plain add on a
//! cache line that no other core writes; a scrape (`render`) reads and sums them. Control has its own cells.

use std::sync::atomic::{AtomicU64, Ordering};

use super::reasons::{AuthResult, CloseReason, RefusalReason};

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call it: it is a load and a store, not a locked instruction.
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away again (gauges). Only the owning thread may call it.
    pub fn sub(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of durations with fixed upper bounds in microseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; Self::BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Upper bounds of the buckets, in microseconds; one more bucket takes what is longer.
    pub const BOUNDS_US: [u64; 16] = [
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 10_000_000,
    ];

    /// Counts `n` durations of `us` microseconds each.
    pub fn record_n(&self, us: u64, n: u64) {
        let bucket = Self::BOUNDS_US.partition_point(|&bound| bound < us);
        self.buckets[bucket].add(n);
        self.sum_us.add(us * n);
    }

    /// Counts one duration.
    pub fn record(&self, us: u64) {
        self.record_n(us, 1);
    }

    /// Counts of each bucket (not cumulative), the last one for what is above all bounds.
    pub fn buckets(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().map(Counter::get)
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum_us: Counter::default(),
        }
    }
}

/// What one reactor counts. Aligned so that two reactors never write one cache line (128 bytes: the prefetcher of
/// x86-64 takes lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReactorCounters {
    /// Connections whose request head is not complete.
    pub connections_handshake: Counter,
    /// Connections upgraded, without a valid `connect`.
    pub connections_unauthenticated: Counter,
    /// Connections logged in.
    pub connections_open: Counter,
    /// Connections that are being closed.
    pub connections_closing: Counter,
    /// Sockets accepted.
    pub accepted: Counter,
    /// Refusals before the upgrade, by `RefusalReason`.
    pub refused: [Counter; RefusalReason::ALL.len()],
    /// Ends after the upgrade (and heads that timed out), by `CloseReason`.
    pub closed: [Counter; CloseReason::ALL.len()],
    /// Token checks, by `AuthResult`.
    pub auth: [Counter; AuthResult::ALL.len()],
    /// Connections that logged in; a renewal is no login. What the node's own pace goes by, and no metric.
    pub logins: Counter,
    /// Text messages from clients.
    pub messages_received: Counter,
    /// Clients' calls that were answered with 503 here, since control takes no more of them.
    pub calls_refused: Counter,
    /// Pushed frames that were written to a socket whole.
    pub deliveries_written: Counter,
    /// Pushed frames that were matched and never written.
    pub deliveries_dropped: Counter,
    /// Happenings that the flight recorder was not told of, for want of room.
    pub history_dropped: Counter,
    /// Bytes queued for clients.
    pub outbound_bytes: Counter,
    /// Bytes read from sockets.
    pub bytes_in: Counter,
    /// Bytes written to sockets.
    pub bytes_out: Counter,
    /// From a push's arrival at the node to its write.
    pub push_delay: Histogram,
    /// A turn of the reactor, without its wait.
    pub turn: Histogram,
}

/// A counter that several threads may write (control's own).
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything a node counts.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// One a reactor.
    pub reactors: Vec<ReactorCounters>,
    /// Pushes taken from the HTTP API.
    pub pushes_api: SharedCounter,
    /// Pushes taken from the bus.
    pub pushes_bus: SharedCounter,
    /// Messages lost between the bus and the reactors.
    pub bus_dropped: SharedCounter,
    /// 1 while the bus is connected (always, where there is none to connect to).
    pub bus_connected: SharedCounter,
    /// Events of connections that could not be published.
    pub events_dropped: SharedCounter,
    /// Happenings that the flight recorder keeps.
    pub history_events: SharedCounter,
    /// What they take, in bytes.
    pub history_bytes: SharedCounter,
    /// Replies to clients' calls, by status.
    pub calls: std::sync::Mutex<std::collections::BTreeMap<u16, u64>>,
}

impl NodeCounters {
    /// Cells for `reactors` reactors.
    pub fn new(reactors: usize) -> Self {
        Self {
            reactors: (0..reactors).map(|_| ReactorCounters::default()).collect(),
            ..Self::default()
        }
    }
}
