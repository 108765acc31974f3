//! How fast a node takes pushes in from NATS, and what each costs: a real nats-server, the real binary, a publisher that
//! is one socket and prepared bytes, and clients that check what arrives.
//!
//! ```sh
//! cargo bench --bench ingest
//! cargo bench --bench ingest -- --pushes 500000 --clients 1000 --reactors 2 --rounds 3 --seconds 5
//! ```
//!
//! Server, node, publisher and clients share the machine's cores, so a rate is what is left for the node; CPU time a
//! push (`schedstat` of the node's threads) is what it costs.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

mod clients;
mod node;
mod scenes;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::time::Instant;

use clients::Clients;
use node::Node;
use scenes::{Bench, Cost, Paced};
use server::Server;

pub struct Options {
    pub pushes: u64,
    pub clients: usize,
    pub reactors: usize,
    pub rounds: usize,
    /// Of each run at a fixed rate.
    pub seconds: f64,
    /// Further settings of the node, as `--set` takes them.
    pub sets: Vec<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    // `cargo test --benches` runs this with its own flags: there is nothing to test here.
    if arguments.first().is_some_and(|first| first == "--test") {
        return;
    }
    let number = |name: &str, default: f64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(default, |place| arguments[place + 1].parse().expect("a number"))
    };
    let options = Options {
        pushes: number("--pushes", 500_000.0) as u64,
        clients: number("--clients", 1_000.0) as usize,
        reactors: number("--reactors", 2.0) as usize,
        rounds: number("--rounds", 3.0) as usize,
        seconds: number("--seconds", 5.0),
        sets: arguments
            .windows(2)
            .filter(|pair| pair[0] == "--set")
            .map(|pair| pair[1].clone())
            .collect(),
    };
    let only = arguments
        .windows(2)
        .find(|pair| pair[0] == "--only")
        .map(|pair| pair[1].clone());
    let wanted = |name: &str| {
        only.as_deref()
            .is_none_or(|only| only.split(',').any(|part| part == name))
    };

    let base = Instant::now();
    let server = Server::start();
    let node = Node::start("bench", server.address, options.reactors, &options.sets);
    let clients = Clients::start(node.address, options.clients, scenes::TOPIC, base);
    println!(
        "nats-server pid {}, node pid {}, {} clients, {} reactors, {} pushes of {} bytes a round",
        server.pid(),
        node.pid(),
        options.clients,
        options.reactors,
        options.pushes,
        clients::PUSH_BYTES
    );
    let rounds = options.rounds;
    let mut bench = Bench::new(options, base, server, node, clients);

    println!(
        "\n| pushed as fast as one connection can | a second | us of control a push | us of all threads a push | us of the NATS server a push | dropped |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut absent_per_s = 200_000.0;
    if wanted("absent") {
        let absent = bench.absent(0);
        absent_per_s = print("for users who are not here", &absent);
        print(
            "the same, the NATS server sends each to nine others, too",
            &bench.absent(9),
        );
    }
    if wanted("here") {
        print("for users who are here", &bench.here());
    }
    if wanted("topics") {
        print("to a topic without subscribers here", &bench.topic("nobody.listens", 0));
        print(
            "to a topic with all clients",
            &bench.topic(scenes::TOPIC, bench.clients_count()),
        );
    }
    if wanted("reports") {
        print("for users who are not here, with reports", &bench.reported(false));
        print("for users who are here, with reports", &bench.reported(true));
    }
    if wanted("api") {
        print("by the API, users nowhere, no other node", &bench.api(0).0);
        for others in [1, 2, 9] {
            let (costs, of_others_us) = bench.api(others);
            print(&format!("the same, {others} other node(s) that answer"), &costs);
            println!("| ... of which each other node's control | - | {of_others_us:.2} | - | - | - |");
        }
    }
    if wanted("delays") {
        println!(
            "\n| at a fixed rate, the middle of the rounds | pushes a second | control, reactors | in the node p50, p99 under | to \
             the client p50, p99 (least, most of the rounds) |"
        );
        println!("| --- | --- | --- | --- | --- |");
        let rates = [
            (
                "half of the rate; one push in ten is for a client",
                (absent_per_s / 2.0).round(),
                10,
            ),
            ("100,000 a second; one in ten", 100_000.0, 10),
            ("20,000 a second, all for clients", 20_000.0, 1),
        ];
        for (name, per_s, one_in) in rates {
            // By turns, so that whatever else the machine does meets both.
            let (mut quiet, mut calling) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                quiet.push(bench.paced(per_s, one_in));
                bench.call(10_000);
                calling.push(bench.paced(per_s, one_in));
                assert!(
                    bench.calls_are_under_way(),
                    "calls timed out during the run: --seconds is too long"
                );
                bench.wait_for_replies();
            }
            print_paced(name, &quiet);
            print_paced("the same with 10,000 calls under way", &calling);
        }
    }
    bench.print_losses();
}

/// The middle round; its rate.
fn print(name: &str, rounds: &[Cost]) -> f64 {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
    };
    let (rate, slowest, fastest) = middle(|cost| cost.per_s);
    let (control, least, most) = middle(|cost| cost.control_us);
    let (all, ..) = middle(|cost| cost.all_us);
    let (server, ..) = middle(|cost| cost.server_us);
    let server = if server.is_nan() {
        "-".to_owned()
    } else {
        format!("{server:.2}")
    };
    let dropped: u64 = rounds.iter().map(|cost| cost.dropped).sum();
    println!(
        "| {name} | {rate:.0} ({slowest:.0} to {fastest:.0}) | {control:.2} ({least:.2} to {most:.2}) | {all:.2} | {server} | {dropped} |"
    );
    rate
}

fn print_paced(name: &str, rounds: &[Paced]) {
    let middle = |figure: &dyn Fn(&Paced) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
    };
    let (p99, least, most) = middle(&|run| run.to_client_ms[1]);
    println!(
        "| {name} | {:.0} | {:.0} %, {:.0} % of a core | {} ms, {} ms | {:.2} ms, {p99:.1} ms ({least:.1}, {most:.1}) |",
        middle(&|run| run.per_s).0,
        middle(&|run| run.control_percent).0,
        middle(&|run| run.reactors_percent).0,
        middle(&|run| run.in_node_ms[0]).0,
        middle(&|run| run.in_node_ms[1]).0,
        middle(&|run| run.to_client_ms[0]).0,
    );
}
