//! The second-by-second view: rates, delays, the server's and the load generator's own CPU. Makes samples; judges nothing.

use crate::clock;
use crate::histogram::Delays;
use crate::plan::Tick;
use crate::result::Sample;
use crate::sampler;

/// A look at the CPU of everybody, seconds.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// When, microseconds.
    pub at_us: u64,
    /// The server's.
    pub server_s: Option<f64>,
    /// The coordinator's, then each worker's.
    pub load_s: Vec<f64>,
}

impl Usage {
    fn now(server: Option<u32>, workers: &[u32]) -> Self {
        let own = std::process::id();
        Self {
            at_us: clock::now_us(),
            server_s: server.and_then(sampler::cpu_s),
            load_s: [own]
                .iter()
                .chain(workers)
                .map(|pid| sampler::cpu_s(*pid).unwrap_or(0.0))
                .collect(),
        }
    }

    /// Cores of the server, and of the busiest process of the load generator (0: the coordinator), from then to now.
    pub fn cores_since(&self, before: &Self) -> (Option<f64>, usize, f64) {
        let seconds = (self.at_us.saturating_sub(before.at_us) as f64 / 1e6).max(1e-6);
        let server = self
            .server_s
            .zip(before.server_s)
            .map(|(now, then)| (now - then) / seconds);
        let load = self
            .load_s
            .iter()
            .zip(&before.load_s)
            .map(|(now, then)| (now - then) / seconds);
        let (place, busiest) = load
            .enumerate()
            .fold((0, 0.0), |most, each| if each.1 > most.1 { each } else { most });
        (server, place, busiest)
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    logins: u64,
    received: u64,
    sent: u64,
    errors: u64,
}

/// See the head of this file.
pub struct Watch {
    /// The server's process.
    pub server: Option<u32>,
    /// When the measuring began, and when it ended.
    pub measured: (Option<Usage>, Option<Usage>),
    began_us: u64,
    next_us: u64,
    before: Usage,
    counts: Counts,
    logins: Delays,
    messages: Delays,
    lag_us: u64,
    workers: Vec<u32>,
}

impl Watch {
    /// Of this server.
    pub fn new(server: Option<u32>, began_us: u64) -> Self {
        Self {
            server,
            measured: (None, None),
            began_us,
            next_us: began_us + 1_000_000,
            before: Usage::default(),
            counts: Counts::default(),
            logins: Delays::default(),
            messages: Delays::default(),
            lag_us: 0,
            workers: Vec::new(),
        }
    }

    /// Whether everything counts now.
    pub fn measuring(&self) -> bool {
        self.measured.0.is_some() && self.measured.1.is_none()
    }

    /// From now on.
    pub fn measure(&mut self, workers: &[u32]) {
        self.workers = workers.to_vec();
        self.measured = (Some(self.usage()), None);
    }

    /// Until now; the first time counts.
    pub fn end_measure(&mut self) {
        if self.measuring() {
            self.measured.1 = Some(self.usage());
        }
    }

    /// A look now.
    pub fn usage(&self) -> Usage {
        Usage::now(self.server, &self.workers)
    }

    /// What a worker told of its lag.
    pub fn lag(&mut self, lag: &Delays) {
        self.lag_us = self.lag_us.max(lag.longest());
    }

    /// What a worker told of delays.
    pub fn delays(&mut self, kind: &str, delays: &Delays) {
        if kind == "login" {
            &mut self.logins
        } else {
            &mut self.messages
        }
        .add(delays);
    }

    /// A sample, when a second is over.
    pub fn second<'a>(
        &mut self,
        workers: &[u32],
        ticks: impl Iterator<Item = &'a Tick>,
        pushed: u64,
    ) -> Option<Sample> {
        let now_us = clock::now_us();
        if now_us < self.next_us {
            return None;
        }
        self.next_us = (self.next_us + 1_000_000).max(now_us);
        self.workers = workers.to_vec();
        let usage = self.usage();
        if self.before.load_s.is_empty() {
            self.before = usage.clone();
        }
        let (server, _, load) = usage.cores_since(&self.before);
        self.before = usage;
        let mut connections = 0;
        let mut counts = Counts {
            sent: pushed,
            ..Counts::default()
        };
        for tick in ticks {
            connections += u64::from(tick.connected);
            counts.logins += tick.logins;
            counts.received += tick.received;
            counts.sent += tick.sent;
            counts.errors += tick.errors.values().sum::<u64>();
        }
        let before = std::mem::replace(&mut self.counts, counts);
        let delays = if self.messages.count() > 0 {
            &self.messages
        } else {
            &self.logins
        };
        let sample = Sample {
            at_ms: (now_us - self.began_us) / 1_000,
            connections,
            logins: counts.logins.saturating_sub(before.logins),
            received: counts.received.saturating_sub(before.received),
            sent: counts.sent.saturating_sub(before.sent),
            errors: counts.errors.saturating_sub(before.errors),
            p50_us: delays.at(0.5),
            p99_us: delays.at(0.99),
            server_cpu_cores: server,
            server_resident_bytes: self.server.and_then(sampler::resident),
            server_descriptors: self.server.and_then(sampler::descriptors),
            kernel_tcp_bytes: sampler::kernel_tcp_bytes(),
            load_cpu_cores: load,
            load_lag_ms: self.lag_us / 1_000,
        };
        self.logins.clear();
        self.messages.clear();
        self.lag_us = 0;
        Some(sample)
    }
}
