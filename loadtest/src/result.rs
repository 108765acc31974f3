//! What a run came to: the one shape that scenarios fill, the JSON file holds, and reports, tables and `compare` read.
//! Data alone. Every time is in the unit that its name says; a histogram is in microseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The version of this shape.
    pub format: u32,
    /// Which scenario.
    pub scenario: String,
    /// What was loaded: `longwire`, `raw`, or the name of a peer.
    pub target: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it began, Unix milliseconds.
    pub began_unix_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// The machine in general terms: cores, kernel, memory.
    pub machine: BTreeMap<String, String>,
    /// What was asked for, name by name.
    pub settings: BTreeMap<String, String>,
    /// Every message accounted for.
    pub accounts: Accounts,
    /// Figures of the scenario, e.g. `resident_bytes_per_connection`; the name ends in the unit.
    pub figures: BTreeMap<String, f64>,
    /// Delays from the intended time, by what was measured: `login`, `push`, `call`, `broadcast`, `echo`.
    pub delays: BTreeMap<String, Delay>,
    /// What was seen second by second.
    pub samples: Vec<Sample>,
    /// Errors by kind, with counts.
    pub errors: BTreeMap<String, u64>,
    /// Why this run counts for nothing, e.g. that the load generator itself was the bottleneck. Empty: it counts.
    pub void: Vec<String>,
}

impl Run {
    /// Messages that went wrong, or a server that did: refused what it was sent, ended, or lost clients for good.
    pub fn has_faults(&self) -> bool {
        let accounts = &self.accounts;
        accounts.lost + accounts.duplicated + accounts.out_of_order + accounts.garbled > 0
            || !self.failures().is_empty()
    }

    /// How the server failed beside what the accounts say, in words.
    pub fn failures(&self) -> Vec<String> {
        let count = |kinds: &[&str]| -> u64 {
            let errors = self.errors.iter();
            errors
                .filter(|(kind, _)| kinds.iter().any(|prefix| kind.starts_with(prefix)))
                .map(|(_, count)| count)
                .sum()
        };
        let figure = |name: &str| self.figures.get(name).map_or(0, |value| *value as u64);
        [
            (count(&["push_", "bus_"]), "pushes were not taken, or not answered for"),
            (count(&["call_status_"]), "calls were refused"),
            (
                count(&["call_without_client", "broadcast_without_client"]),
                "messages had no client to send them",
            ),
            (
                figure("connections_missing_at_end"),
                "connections were missing at the end",
            ),
            (figure("storm_missing"), "clients did not come back from a storm"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .chain(
            self.errors
                .contains_key("server_ended")
                .then(|| "the server ended".to_owned()),
        )
        .collect()
    }
}

/// What became of the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Deliveries that were due: a push to a user with two devices is two.
    pub due: u64,
    /// Of these, how many came.
    pub received: u64,
    /// Came more than once.
    pub duplicated: u64,
    /// Came behind a later one of the same publisher and receiver.
    pub out_of_order: u64,
    /// Never came, though the receiver stayed connected.
    pub lost: u64,
    /// Came, and were not what was sent.
    pub garbled: u64,
    /// Were due to connections that were lost before, or were not taken by the API: nobody's fault is proved.
    pub unaccountable: u64,
}

/// A distribution of delays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delay {
    /// How many.
    pub count: u64,
    /// Microseconds at these percentiles.
    pub p50_us: u64,
    /// As above.
    pub p90_us: u64,
    /// As above.
    pub p99_us: u64,
    /// As above.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// The whole histogram (HDR, V2, base64), for percentile plots and for `compare`.
    pub histogram: String,
}

/// One second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Since the beginning, milliseconds.
    pub at_ms: u64,
    /// Connections that are logged in (or open, for a raw target).
    pub connections: u64,
    /// Logins, messages received, messages sent and errors of this second.
    pub logins: u64,
    /// As above.
    pub received: u64,
    /// As above.
    pub sent: u64,
    /// As above.
    pub errors: u64,
    /// Delays of this second, microseconds; 0 where nothing was measured.
    pub p50_us: u64,
    /// As above.
    pub p99_us: u64,
    /// The server's CPU in this second, in cores (1.0: one core busy); none where its process is not known.
    pub server_cpu_cores: Option<f64>,
    /// Its resident memory.
    pub server_resident_bytes: Option<u64>,
    /// Its open descriptors.
    pub server_descriptors: Option<u64>,
    /// What the kernel has for TCP sockets, whole machine.
    pub kernel_tcp_bytes: Option<u64>,
    /// CPU of the busiest process of the load generator, in cores.
    pub load_cpu_cores: f64,
    /// How late the load generator was with what it had planned, at worst, milliseconds.
    pub load_lag_ms: u64,
}
