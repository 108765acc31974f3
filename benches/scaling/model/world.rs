//! The nodes, the bus between them (`bus`), the clients (`clients`), and what goes wrong: events in the order of one true
//! time that no node knows. Beside the nodes it keeps the truth (which device is logged in where), and holds every push
//! against it. Called by the bench and by the tests through `run`.

mod bus;
mod clients;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::directory::{Directory, Node, Route, User};
use super::{Micros, Outcome, Parameters};
use bus::Message;

const SECOND_US: f64 = 1_000_000.0;
/// Devices of a node that crashed come back within this.
const RECONNECT_US: u64 = 2_000_000;

#[derive(Debug)]
enum Event {
    /// A node looks at whether it has something to say; of that process alone.
    Tick(Node, u32),
    Arrive {
        from: Node,
        to: Node,
        message: Message,
    },
    Churn,
    Push,
    /// A push to this user from a node that the user is not on.
    Greet(User, Node),
    LogIn(u32),
    Crash,
    Start(Node),
    Cut,
    Mend(Node),
    Stall,
}

/// One event in the queue: by time, then in the order of filing.
struct Filed(Micros, u64, Event);

impl PartialEq for Filed {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Filed {}
impl PartialOrd for Filed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Filed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Off,
    /// Its token is good, but it has not been told yet.
    Waiting(Node),
    In(Node),
}

struct Member {
    /// None while it is down.
    directory: Option<Directory>,
    process: u32,
    is_cut: bool,
    stalled_until_us: Micros,
    /// Its clock: an offset, and how many millionths it runs fast.
    clock_offset_us: Micros,
    clock_ppm: i64,
}

impl Member {
    fn clock_us(&self, true_us: Micros) -> Micros {
        self.clock_offset_us + true_us.saturating_add_signed(true_us as i64 / 1_000_000 * self.clock_ppm)
    }
}

struct World {
    p: Parameters,
    rng: fastrand::Rng,
    now_us: Micros,
    filed: u64,
    queue: BinaryHeap<Reverse<Filed>>,
    members: Vec<Member>,
    /// When the last message on each way arrives: what follows it comes later.
    last_arrival_us: Vec<Micros>,
    devices: Vec<Device>,
    /// A login is named by its device and by how often that had logged in.
    logins: Vec<(u32, Micros)>,
    /// Devices that are not `Off`, and the others: for a random choice.
    some: [Vec<u32>; 2],
    place: Vec<u32>,
    scratch: Vec<Node>,
    outcome: Outcome,
}

/// Runs it once.
pub fn run(parameters: &Parameters) -> Outcome {
    let mut world = World::new(*parameters);
    let measure_from_us = (parameters.warm_s * SECOND_US) as Micros;
    let end_us = measure_from_us + (parameters.seconds * SECOND_US) as Micros;
    let mut is_warm = false;
    while let Some(Reverse(Filed(at_us, _, event))) = world.queue.pop() {
        if at_us >= measure_from_us && !is_warm {
            is_warm = true;
            world.outcome = Outcome::default();
        }
        if at_us >= end_us {
            break;
        }
        world.now_us = at_us;
        world.on_event(event);
    }
    world.outcome.login_waits.sorted_us.sort_unstable();
    world.outcome
}

impl World {
    fn new(p: Parameters) -> Self {
        let mut rng = fastrand::Rng::with_seed(p.seed);
        let devices = p.users * p.devices_a_user;
        let drift = p.timing.drift_ppm as i64;
        let members = (0..p.nodes)
            .map(|_| Member {
                directory: None,
                process: 0,
                is_cut: false,
                stalled_until_us: 0,
                clock_offset_us: rng.u64(1..1_000_000_000),
                clock_ppm: rng.i64(-drift..=drift) / 2,
            })
            .collect();
        let mut world = Self {
            p,
            rng,
            now_us: 0,
            filed: 0,
            queue: BinaryHeap::new(),
            members,
            last_arrival_us: vec![0; p.nodes * p.nodes],
            devices: vec![Device::Off; devices as usize],
            logins: vec![(0, 0); devices as usize],
            some: [Vec::new(), (0..devices).collect()],
            place: (0..devices).collect(),
            scratch: Vec::new(),
            outcome: Outcome::default(),
        };
        for node in 0..p.nodes {
            world.file(0, Event::Start(node));
        }
        let ready_us = p.timing.listen_us + 500_000;
        for device in 0..devices {
            if world.rng.f64() < p.online {
                let after_us = ready_us + world.rng.u64(0..1_000_000);
                world.file(after_us, Event::LogIn(device));
            }
        }
        for (rate, event) in [
            (p.churn_per_s, Event::Churn),
            (p.pushes_per_s, Event::Push),
            (p.faults.crashes_per_s, Event::Crash),
            (p.faults.cuts_per_s, Event::Cut),
            (p.faults.stalls_per_s, Event::Stall),
        ] {
            world.file_next(ready_us, rate, event);
        }
        world
    }

    fn file(&mut self, after_us: Micros, event: Event) {
        self.filed += 1;
        self.queue
            .push(Reverse(Filed(self.now_us + after_us, self.filed, event)));
    }

    /// Files what happens at random moments, so often on average.
    fn file_next(&mut self, after_us: Micros, rate: f64, event: Event) {
        if rate > 0.0 {
            let wait_us = -self.rng.f64().max(1e-9).ln() / rate * SECOND_US;
            self.file(after_us + wait_us as Micros, event);
        }
    }

    fn on_event(&mut self, event: Event) {
        let faults = self.p.faults;
        match event {
            Event::Tick(node, process) => self.tick(node, process),
            Event::Arrive { from, to, message } => self.arrive(from, to, &message),
            Event::Churn => {
                self.file_next(0, self.p.churn_per_s, Event::Churn);
                self.churn();
            }
            Event::Push => {
                self.file_next(0, self.p.pushes_per_s, Event::Push);
                let absent = self.rng.f64() < self.p.absent;
                let user = absent.then_some(self.p.users).or_else(|| self.random_user());
                if let (Some(user), Some(node)) = (user, self.random_up()) {
                    self.push(user, node);
                }
            }
            Event::Greet(user, not) => {
                if let Some(node) = self.random_up().filter(|&node| node != not) {
                    self.push(user, node);
                }
            }
            Event::LogIn(device) => self.log_in(device),
            Event::Crash => {
                self.file_next(0, faults.crashes_per_s, Event::Crash);
                if let Some(node) = self.random_up() {
                    self.crash(node);
                }
            }
            Event::Start(node) => self.start(node),
            Event::Cut => {
                self.file_next(0, faults.cuts_per_s, Event::Cut);
                if let Some(node) = self.random_up() {
                    self.outcome.cuts += 1;
                    self.members[node].is_cut = true;
                    let after_us = self.rng.u64(0..faults.cut_ms * 2_000);
                    self.file(after_us, Event::Mend(node));
                }
            }
            Event::Mend(node) => {
                let clock_us = self.members[node].clock_us(self.now_us);
                self.members[node].is_cut = false;
                if let Some(directory) = &mut self.members[node].directory {
                    directory.reconnected(clock_us);
                }
            }
            Event::Stall => {
                self.file_next(0, faults.stalls_per_s, Event::Stall);
                if let Some(node) = self.random_up() {
                    self.outcome.stalls += 1;
                    let for_us = self.rng.u64(0..faults.stall_ms * 2_000);
                    let until_us = &mut self.members[node].stalled_until_us;
                    *until_us = (*until_us).max(self.now_us + for_us);
                }
            }
        }
    }

    /// A random node that runs and that the bus reaches.
    fn random_up(&mut self) -> Option<Node> {
        let node = self.rng.usize(0..self.members.len());
        self.is_reachable(node).then_some(node)
    }

    fn is_reachable(&self, node: Node) -> bool {
        self.members[node].directory.is_some() && !self.members[node].is_cut
    }

    fn random_user(&mut self) -> Option<User> {
        let online = &self.some[0];
        (!online.is_empty()).then(|| online[self.rng.usize(0..online.len())] / self.p.devices_a_user)
    }

    fn start(&mut self, node: Node) {
        let clock_us = self.members[node].clock_us(self.now_us);
        let epoch = self.rng.u64(..);
        let member = &mut self.members[node];
        member.process += 1;
        member.directory = Some(Directory::new(node, epoch, self.p.timing, self.p.rules, clock_us));
        let (process, after_us) = (member.process, self.rng.u64(0..self.p.timing.batch_us));
        self.file(after_us, Event::Tick(node, process));
    }

    fn crash(&mut self, node: Node) {
        self.outcome.crashes += 1;
        self.members[node].directory = None;
        for device in 0..self.devices.len() as u32 {
            if matches!(self.devices[device as usize], Device::In(on) | Device::Waiting(on) if on == node) {
                self.set_off(device);
                let after_us = self.rng.u64(0..RECONNECT_US);
                self.file(after_us, Event::LogIn(device));
            }
        }
        let after_us = self.rng.u64(0..self.p.faults.crash_ms * 2_000);
        self.file(after_us, Event::Start(node));
    }

    /// A push by the API of this node, in both modes: what it costs, and in the directed mode whom it misses.
    fn push(&mut self, user: User, node: Node) {
        let clock_us = self.members[node].clock_us(self.now_us);
        let mut targets = std::mem::take(&mut self.scratch);
        let Some(directory) = &mut self.members[node].directory else {
            return;
        };
        let route = directory.route(clock_us, user, &mut targets);
        if route == Route::Everyone {
            targets.extend((0..self.members.len()).filter(|&to| to != node));
        }
        let outcome = &mut self.outcome;
        outcome.pushes += 1;
        outcome.broadcast.published += 1;
        outcome.directed.published += match route {
            Route::Everyone => 1,
            Route::Listed { .. } => targets.len() as u64,
        };
        outcome.to_everyone += u64::from(route == Route::Everyone);
        outcome.to_disbelieved += u64::from(matches!(route, Route::Listed { disbelieved } if disbelieved > 0));
        for (to, member) in self.members.iter().enumerate() {
            let Some(directory) = &member.directory else { continue };
            if to == node || member.is_cut {
                continue;
            }
            let is_here = directory.holds(user);
            let count = |counts: &mut super::Counts| match is_here {
                true => counts.received_here += 1,
                false => counts.received_absent += 1,
            };
            count(&mut outcome.broadcast);
            if targets.contains(&to) {
                count(&mut outcome.directed);
                outcome.in_vain += u64::from(!is_here);
            }
        }
        let first = (user * self.p.devices_a_user) as usize;
        let last = (first + self.p.devices_a_user as usize).min(self.devices.len());
        for device in first.min(last)..last {
            if let Device::In(on) = self.devices[device]
                && !self.members[on].is_cut
            {
                self.outcome.expected += 1;
                self.outcome.missed += u64::from(on != node && !targets.contains(&on));
            }
        }
        self.scratch = targets;
    }
}
