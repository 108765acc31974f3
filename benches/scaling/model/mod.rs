//! A model of a cluster that finds its users by broadcast or by the directed mode: `directory` is one node's side of the
//! directed mode, `world` is the nodes, the bus between them, the clients and what goes wrong, `cost` turns what
//! happened into cores. One seed decides everything; no thread, socket or clock. Used by `cargo bench --bench scaling`
//! and by the tests in `tests/scaling`.

pub mod cost;
pub mod directory;
mod users;
pub mod world;

use cost::Counts;

/// Microseconds of some clock.
pub type Micros = u64;

/// How long things take by design, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two looks at whether there is something to announce.
    pub batch_us: Micros,
    /// Between two announcements of a node that has nothing to say.
    pub beat_us: Micros,
    /// How long a table may be believed after the stamp that its holder echoed.
    pub lease_us: Micros,
    /// How long a node listens before it knows who there is.
    pub listen_us: Micros,
    /// How long a node that says nothing counts as alive.
    pub silent_us: Micros,
    /// How long a node that says nothing still gets every push.
    pub forget_us: Micros,
    /// How far apart two nodes' clocks may run, in millionths.
    pub drift_ppm: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            batch_us: 20_000,
            beat_us: 250_000,
            lease_us: 1_000_000,
            listen_us: 3_000_000,
            silent_us: 4_000_000,
            forget_us: 60_000_000,
            drift_ppm: 1_000,
        }
    }
}

impl Timing {
    /// How long the holder waits until a lease that it has given is over on every clock.
    pub fn lease_wait_us(&self) -> Micros {
        self.lease_us + self.lease_us * 2 * self.drift_ppm / 1_000_000 + 1
    }

    pub fn is_silent(&self, heard_us: Micros, now_us: Micros) -> bool {
        now_us >= heard_us + self.silent_us
    }
}

/// Parts of the design that can be left out, to see what each is for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A hole in the announcements makes a table invalid.
    pub sequence: bool,
    /// So does another process under the same name.
    pub epochs: bool,
    /// A table is believed only for a while after its holder was heard to answer.
    pub leases: bool,
    /// A login is answered after the others have confirmed it, or their leases are over.
    pub wait_for_confirmation: bool,
}

impl Rules {
    pub const ALL: Self = Self {
        sequence: true,
        epochs: true,
        leases: true,
        wait_for_confirmation: true,
    };
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Chance that one receiver misses one message between nodes.
    pub loss: f64,
    /// Each of these befalls a random node so often in the whole cluster, for so long.
    pub crashes_per_s: f64,
    pub crash_ms: u64,
    /// The node's connection to the bus is gone: nothing in, nothing out.
    pub cuts_per_s: f64,
    pub cut_ms: u64,
    /// What is for the node is late, and in order.
    pub stalls_per_s: f64,
    pub stall_ms: u64,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub seed: u64,
    pub nodes: usize,
    pub users: u32,
    pub devices_a_user: u32,
    /// Share of the devices that is logged in, on average.
    pub online: f64,
    /// Logins and logouts together.
    pub churn_per_s: f64,
    /// By the API, over all nodes.
    pub pushes_per_s: f64,
    /// Share of them for users who have no connection anywhere.
    pub absent: f64,
    /// Share of the logins that are followed at once by a push to that user from another node: the hardest moment.
    pub greeted: f64,
    /// From one node to another: at least, and on average on top.
    pub latency_us: Micros,
    pub jitter_us: Micros,
    pub timing: Timing,
    pub rules: Rules,
    pub faults: Faults,
    /// Measured after this, for so long.
    pub warm_s: f64,
    pub seconds: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 3,
            users: 20_000,
            devices_a_user: 2,
            online: 0.4,
            churn_per_s: 1_000.0,
            pushes_per_s: 10_000.0,
            absent: 0.3,
            greeted: 0.1,
            latency_us: 200,
            jitter_us: 200,
            timing: Timing::default(),
            rules: Rules::ALL,
            faults: Faults::default(),
            warm_s: 6.0,
            seconds: 2.0,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub pushes: u64,
    /// Devices that a push had to reach: logged in, on a node that the bus reaches.
    pub expected: u64,
    /// Of these, those on a node that the push did not go to.
    pub missed: u64,
    /// Pushes that every node got, and those that some node got because its table was not believed.
    pub to_everyone: u64,
    pub to_disbelieved: u64,
    /// Directed messages to a node that had nobody of that name.
    pub in_vain: u64,
    pub broadcast: Counts,
    pub directed: Counts,
    pub logins: u64,
    pub login_waits: Waits,
    pub crashes: u64,
    pub cuts: u64,
    pub stalls: u64,
    pub snapshots: u64,
}

/// How long each login waited until the others had confirmed it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Waits {
    pub sorted_us: Vec<Micros>,
}

impl Waits {
    /// What so many of a hundred did not exceed.
    pub fn percentile_us(&self, percent: usize) -> Micros {
        let last = self.sorted_us.len().saturating_sub(1);
        self.sorted_us.get(last * percent / 100).copied().unwrap_or(0)
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, most] = [50, 99, 100].map(|percent| self.percentile_us(percent));
        write!(
            f,
            "{} (p50 {p50} us, p99 {p99} us, most {most} us)",
            self.sorted_us.len()
        )
    }
}
