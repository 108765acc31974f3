//! One node against the floor, over real sockets: what a held connection costs in memory, what a login and a delivery
//! cost in CPU, beside a bare accept and send loop measured in the same run.
//!
//! ```sh
//! cargo bench --bench node                 # 10,000 connections
//! cargo bench --bench node -- --connections 19000 --rounds 20
//! cargo bench --bench node -- --json /tmp/node.json   # the figures of each run as JSON, too (loadtest/measure reads it)
//! ```
//!
//! The servers and the crowd of clients are processes of their own; CPU and memory are those of the server's process,
//! read from `/proc`. Prints one table; the ratios in it compare what ran minutes apart on one machine.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

mod crowd;
mod floor;
mod gateway;
mod proc;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use crowd::Crowd;
use floor::Floor;
use gateway::Gateway;
use proc::Usage;

/// What a backend would send: with its frame header, 132 bytes on the wire.
pub const PUSH_BYTES: usize = 128;

/// Clients in one process: descriptors are limited by process.
const CROWD: usize = 15_000;

pub struct Options {
    pub connections: usize,
    pub rounds: u64,
    pub idle_s: u64,
    pub reactors: usize,
    /// Further settings of the node, as `--set` takes them.
    pub sets: Vec<String>,
    pub runs: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.first().map(String::as_str) {
        Some("role-floor") => return floor::serve(),
        Some("role-crowd") => return crowd::run(&arguments[1..]),
        // `cargo test --benches` runs this with its own flags: there is nothing to test here.
        Some("--test") => return,
        _ => {}
    }
    let number = |name: &str, default: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(default, |place| arguments[place + 1].parse().expect("a number"))
    };
    let options = Options {
        connections: number("--connections", 10_000) as usize,
        rounds: number("--rounds", 30),
        idle_s: number("--idle", 30),
        reactors: number("--reactors", 1) as usize,
        sets: arguments
            .windows(2)
            .filter(|pair| pair[0] == "--set")
            .map(|pair| pair[1].clone())
            .collect(),
        runs: number("--runs", 2) as usize,
    };
    println!(
        "{} connections, {} rounds, {} reactor(s)",
        options.connections, options.rounds, options.reactors
    );
    let mut floors = Vec::new();
    let mut nodes = Vec::new();
    for _ in 0..options.runs {
        let (floor, node) = measure(&options);
        floors.push(floor);
        nodes.push(node);
    }
    print_table(&floors, &nodes);
    if let Some(place) = arguments.iter().position(|argument| argument == "--json") {
        let text = serde_json::to_string_pretty(&as_json(&options, &floors, &nodes)).unwrap();
        std::fs::write(&arguments[place + 1], text + "\n").expect("the file can be written");
    }
}

struct FloorResult {
    accepts_per_cpu_s: f64,
    sends_per_cpu_s: f64,
}

struct NodeResult {
    bytes_a_connection: f64,
    logins_per_cpu_s: f64,
    deliveries_per_cpu_s: f64,
    idle_percent: f64,
    delay: [Delay; 2],
    drain: Duration,
}

/// Of a push to one user, from the request to the client's socket.
#[derive(Clone, Copy)]
struct Delay {
    p50: Duration,
    p99: Duration,
}

/// The floor and the node side by side, each with its own crowd; their fan-outs take turns, so that whatever else the
/// machine does meets both.
fn measure(options: &Options) -> (FloorResult, NodeResult) {
    let connections = options.connections.min(CROWD);
    let mut floor = Floor::start();
    let before_floor = Usage::of(floor.pid());
    floor.accept(connections);
    let mut raw_crowd = Crowd::start_raw(floor.address(), connections);
    floor.wait_for_connections();
    let accepted = Usage::of(floor.pid());

    let mut gateway = Gateway::start(options.reactors, &options.sets);
    // What the first few cost (the pool, the allocator's arenas, code pages) is not what each costs.
    let mut warm = Crowd::start_clients(gateway.address(), 100, "warm");
    let before = Usage::of(gateway.pid());
    let mut crowds: Vec<Crowd> = (0..options.connections)
        .step_by(CROWD)
        .map(|first| {
            let count = CROWD.min(options.connections - first);
            Crowd::start_clients(gateway.address(), count, &format!("user{first}-"))
        })
        .collect();
    let logged_in = Usage::of(gateway.pid());
    let idle_from = Instant::now();
    std::thread::sleep(Duration::from_secs(options.idle_s));
    let idle = Usage::of(gateway.pid());
    let idle_percent = 100.0 * (idle.cpu_s - logged_in.cpu_s) / idle_from.elapsed().as_secs_f64();
    let bytes_a_connection = (idle.resident_bytes as f64 - before.resident_bytes as f64) / options.connections as f64;

    let quiet = gateway.push_delays(2_000);
    assert_eq!(
        gateway.push_all() as usize,
        options.connections + 100,
        "everybody is here"
    );
    let (mut floor_cpu_s, mut node_cpu_s) = (0.0, 0.0);
    let (mut bytes, mut frames) = (0, crowds.iter_mut().map(Crowd::frames).collect::<Vec<_>>());
    for _ in 0..options.rounds {
        let before = Usage::of(floor.pid());
        floor.fan_out(1);
        bytes += connections as u64 * (PUSH_BYTES as u64 + 4);
        raw_crowd.wait_for_bytes(bytes);
        floor_cpu_s += Usage::of(floor.pid()).cpu_s - before.cpu_s;

        let before = Usage::of(gateway.pid());
        gateway.push_all();
        for (number, (crowd, frames)) in crowds.iter_mut().zip(&mut frames).enumerate() {
            *frames += CROWD.min(options.connections - number * CROWD) as u64;
            crowd.wait_for_frames(*frames);
        }
        node_cpu_s += Usage::of(gateway.pid()).cpu_s - before.cpu_s;
    }
    let loaded = gateway.push_delays_under_fan_out(2_000);

    assert_eq!(gateway.kick("user0-7"), 1);
    let drain_from = Instant::now();
    gateway.drain();
    for (number, crowd) in crowds.iter_mut().enumerate() {
        crowd.wait_for_closed(CROWD.min(options.connections - number * CROWD) as u64);
    }
    warm.wait_for_closed(100);
    assert_eq!(gateway.exit_code(), Some(0));
    let drain = drain_from.elapsed();
    let rounds = options.rounds as f64;
    let floor = FloorResult {
        accepts_per_cpu_s: connections as f64 / (accepted.cpu_s - before_floor.cpu_s),
        sends_per_cpu_s: connections as f64 * rounds / floor_cpu_s,
    };
    let node = NodeResult {
        bytes_a_connection,
        logins_per_cpu_s: options.connections as f64 / (logged_in.cpu_s - before.cpu_s),
        deliveries_per_cpu_s: (options.connections + 100) as f64 * rounds / node_cpu_s,
        idle_percent,
        delay: [quiet, loaded],
        drain,
    };
    (floor, node)
}

fn print_table(floors: &[FloorResult], nodes: &[NodeResult]) {
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let ratios = |figure: fn(&FloorResult, &NodeResult) -> f64| {
        let mut ratios: Vec<String> = floors
            .iter()
            .zip(nodes)
            .map(|(floor, node)| format!("{:.2}", figure(floor, node)))
            .collect();
        ratios.sort_unstable();
        ratios.join(", ")
    };
    let deliveries = ratios(|floor, node| node.deliveries_per_cpu_s / floor.sends_per_cpu_s);
    let logins = ratios(|floor, node| node.logins_per_cpu_s / floor.accepts_per_cpu_s);
    for (number, (floor, node)) in floors.iter().zip(nodes).enumerate() {
        println!(
            "run {number}: floor {:.0} accepts, {:.0} sends; node {:.0} logins, {:.0} deliveries a CPU second",
            floor.accepts_per_cpu_s, floor.sends_per_cpu_s, node.logins_per_cpu_s, node.deliveries_per_cpu_s
        );
    }
    println!("| figure | measured | target |");
    println!("| --- | --- | --- |");
    let bytes = least(&mut nodes.iter().map(|node| node.bytes_a_connection));
    println!("| resident bytes an idle logged-in connection | {bytes:.0} | at most 450 |");
    println!("| deliveries a CPU second, of the floor's sends, each run | {deliveries} | at least 0.95 |");
    println!("| logins a CPU second, of the floor's accepts, each run | {logins} | at least 0.27 |");
    let idle = least(&mut nodes.iter().map(|node| node.idle_percent));
    println!("| CPU of a core while idle | {idle:.2} % | under 1 % |");
    let drain = nodes.iter().map(|node| node.drain).max().unwrap_or_default();
    println!("| one user kicked, then drained to exit code 0 (30 s window) | {drain:.1?} | - |");
    for (name, which) in [("quiet", 0), ("during fan-outs", 1)] {
        let p50 = nodes.iter().map(|node| node.delay[which].p50).min().unwrap_or_default();
        let p99 = nodes.iter().map(|node| node.delay[which].p99).min().unwrap_or_default();
        println!("| delay of a push to one user, {name}: p50, p99 | {p50:.0?}, {p99:.0?} | p99 under 3 times quiet |");
    }
}

/// The figures of each run, with their units in the names.
fn as_json(options: &Options, floors: &[FloorResult], nodes: &[NodeResult]) -> serde_json::Value {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let runs: Vec<serde_json::Value> = floors
        .iter()
        .zip(nodes)
        .map(|(floor, node)| {
            let [quiet, loaded] = node.delay;
            serde_json::json!({
                "floor_accepts_per_cpu_s": floor.accepts_per_cpu_s,
                "floor_sends_per_cpu_s": floor.sends_per_cpu_s,
                "bytes_a_connection": node.bytes_a_connection,
                "logins_per_cpu_s": node.logins_per_cpu_s,
                "deliveries_per_cpu_s": node.deliveries_per_cpu_s,
                "idle_percent": node.idle_percent,
                "push_p50_quiet_us": micros(quiet.p50),
                "push_p99_quiet_us": micros(quiet.p99),
                "push_p50_fanout_us": micros(loaded.p50),
                "push_p99_fanout_us": micros(loaded.p99),
                "drain_s": node.drain.as_secs_f64(),
            })
        })
        .collect();
    serde_json::json!({
        "connections": options.connections,
        "rounds": options.rounds,
        "reactors": options.reactors,
        "runs": runs,
    })
}
