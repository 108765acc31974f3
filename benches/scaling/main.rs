//! What it costs a node's control that every node gets every push (broadcast), and what it would cost if nodes told each
//! other whom they hold and sent pushes there alone (directed): a simulation from one seed, without I/O. `docs/scaling.md`
//! explains the design and the figures.
//!
//! ```sh
//! cargo bench --bench scaling
//! cargo bench --bench scaling -- --absent-us 1.2 --report-us 3 --seconds 5 --seed 7
//! ```
//!
//! What a step costs is measured elsewhere and passed in; the simulation counts the steps.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

mod model;

use model::cost::Costs;
use model::world::run;
use model::{Faults, Outcome, Parameters, Rules};

const NODES: [usize; 6] = [2, 3, 5, 10, 20, 50];
const PUSHES_PER_S: [f64; 4] = [10_000.0, 50_000.0, 200_000.0, 500_000.0];
const CHURN_PER_S: [f64; 3] = [100.0, 1_000.0, 10_000.0];

/// Microseconds of a core for one step, as `docs/scaling.md` has them. The first five are measured by `cargo bench --bench
/// ingest`; `announcement_us` and `heard_us` are assumed, as nothing sends such messages; `entry_us` is measured here.
const MEASURED: Costs = Costs {
    push_absent_us: 0.6,
    push_here_us: 1.0,
    report_us: 1.4,
    answer_us: 1.0,
    // At most: a report is counted, made and published for this.
    publish_us: 1.4,
    announcement_us: 2.0,
    entry_us: f64::NAN,
    heard_us: 0.02,
};

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
    let costs = Costs {
        push_absent_us: number("--absent-us", MEASURED.push_absent_us),
        push_here_us: number("--here-us", MEASURED.push_here_us),
        publish_us: number("--publish-us", MEASURED.publish_us),
        report_us: number("--report-us", MEASURED.report_us),
        answer_us: number("--answer-us", MEASURED.answer_us),
        announcement_us: number("--announcement-us", MEASURED.announcement_us),
        entry_us: number("--entry-us", measure_entry_us()),
        heard_us: number("--heard-us", MEASURED.heard_us),
    };
    let base = Parameters {
        seed: number("--seed", 1.0) as u64,
        absent: number("--absent", 0.3),
        seconds: number("--seconds", 2.0),
        greeted: 0.0,
        ..Parameters::default()
    };
    println!("costs of a step, microseconds of one core: {costs:?}");
    println!("{base:?}\n");
    costs_by_size(&base, &costs);
    crossover_by_habit(&base, &costs);
    correctness(&base);
}

/// What a join or a leave costs in a table of a million users, by hash, each with the nodes that hold it.
fn measure_entry_us() -> f64 {
    const USERS: u64 = 1_000_000;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut table: hashbrown::HashMap<u64, u64> = (0..2 * USERS).step_by(2).map(|user| (user, 1)).collect();
    let from = std::time::Instant::now();
    for _ in 0..USERS {
        let user = rng.u64(0..2 * USERS);
        if table.remove(&user).is_none() {
            table.insert(user, 1);
        }
    }
    assert!(!std::hint::black_box(&table).is_empty());
    from.elapsed().as_micros() as f64 / USERS as f64
}

/// The parts that the cores of one node's control are made of, for each push a second and standing.
struct Line {
    broadcast_a_push: f64,
    directed_a_push: f64,
    directed_standing: f64,
}

impl Line {
    fn of(outcome: &Outcome, parameters: &Parameters, costs: &Costs) -> Self {
        let pushes_per_s = outcome.pushes as f64 / parameters.seconds;
        let cores = |counts: model::cost::Counts| counts.cores_a_node(costs, parameters.nodes, parameters.seconds);
        let pushing = model::cost::Counts {
            told: 0,
            heard_told: 0,
            entries: 0,
            heard: 0,
            ..outcome.directed
        };
        Self {
            broadcast_a_push: cores(outcome.broadcast) / pushes_per_s,
            directed_a_push: cores(pushing) / pushes_per_s,
            directed_standing: cores(outcome.directed) - cores(pushing),
        }
    }

    /// From so many pushes a second on, in the whole cluster, directed is cheaper.
    fn crossover_per_s(&self) -> Option<f64> {
        let saved = self.broadcast_a_push - self.directed_a_push;
        (saved > 0.0).then(|| self.directed_standing / saved)
    }
}

fn costs_by_size(base: &Parameters, costs: &Costs) {
    for churn_per_s in CHURN_PER_S {
        println!(
            "Cores of one node's control, broadcast / directed, at {churn_per_s} logins and logouts a second and so many pushes \
             a second by the API, all in the whole cluster; and the pushes a second from which directed is cheaper. (What the \
             API itself costs, and a node's pushes to its own clients, is the same in both and not in here.)\n"
        );
        let rates: Vec<String> = PUSHES_PER_S.iter().map(|rate| format!("{rate:.0}/s")).collect();
        println!(
            "| nodes | {} | one core holds | cheaper from | login waits p50, p99 |",
            rates.join(" | ")
        );
        println!("| ---{} |", " | ---".repeat(PUSHES_PER_S.len() + 3));
        for nodes in NODES {
            let parameters = Parameters {
                nodes,
                churn_per_s,
                ..*base
            };
            let outcome = run(&parameters);
            assert_eq!(outcome.missed, 0, "{outcome:?}");
            let line = Line::of(&outcome, &parameters, costs);
            let cells: Vec<String> = PUSHES_PER_S
                .iter()
                .map(|rate| {
                    let directed = line.directed_standing + rate * line.directed_a_push;
                    format!("{:.3} / {directed:.3}", rate * line.broadcast_a_push)
                })
                .collect();
            println!(
                "| {nodes} | {} | {:.0} / {:.0} a second | {} | {:.0} ms, {:.0} ms |",
                cells.join(" | "),
                1.0 / line.broadcast_a_push,
                ((1.0 - line.directed_standing) / line.directed_a_push).max(0.0),
                per_s(line.crossover_per_s()),
                outcome.login_waits.percentile_us(50) as f64 / 1e3,
                outcome.login_waits.percentile_us(99) as f64 / 1e3,
            );
        }
        println!();
    }
}

fn per_s(rate: Option<f64>) -> String {
    rate.map_or("never".into(), |rate| format!("{rate:.0}/s"))
}

fn crossover_by_habit(base: &Parameters, costs: &Costs) {
    println!("Pushes a second from which directed is cheaper, 1000 logins and logouts a second.\n");
    println!(
        "| nodes | nobody absent, 1 device | nobody absent, 5 devices | 30 % absent, 2 devices | 90 % absent, 2 devices |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for nodes in NODES {
        let cells: Vec<String> = [(0.0, 1), (0.0, 5), (0.3, 2), (0.9, 2)]
            .into_iter()
            .map(|(absent, devices_a_user)| {
                let parameters = Parameters {
                    nodes,
                    absent,
                    devices_a_user,
                    ..*base
                };
                per_s(Line::of(&run(&parameters), &parameters, costs).crossover_per_s())
            })
            .collect();
        println!("| {nodes} | {} |", cells.join(" | "));
    }
    println!();
}

fn correctness(base: &Parameters) {
    let quiet = Faults::default();
    let all = Faults {
        loss: 0.02,
        crashes_per_s: 0.05,
        crash_ms: 2_000,
        cuts_per_s: 0.1,
        cut_ms: 1_500,
        stalls_per_s: 0.2,
        stall_ms: 800,
    };
    let loss = Faults { loss: 0.02, ..quiet };
    let crashes = Faults {
        crashes_per_s: all.crashes_per_s,
        crash_ms: all.crash_ms,
        ..quiet
    };
    let runs = [
        ("nothing goes wrong", quiet, Rules::ALL),
        ("2 % of the messages between nodes lost", loss, Rules::ALL),
        ("a node crashes every 20 s", crashes, Rules::ALL),
        ("both, cuts from the bus and stalls", all, Rules::ALL),
        (
            "the same, holes in the sequence ignored",
            all,
            Rules {
                sequence: false,
                ..Rules::ALL
            },
        ),
        (
            "the same, epochs ignored",
            all,
            Rules {
                epochs: false,
                ..Rules::ALL
            },
        ),
        (
            "the same, no leases",
            all,
            Rules {
                leases: false,
                ..Rules::ALL
            },
        ),
        (
            "the same, logins not held until confirmed",
            all,
            Rules {
                wait_for_confirmation: false,
                ..Rules::ALL
            },
        ),
    ];
    println!(
        "Directed, 5 nodes, 2,000 pushes and 500 logins and logouts a second for 200 s; half of the logins are pushed to at once.\n"
    );
    println!(
        "| what goes wrong | devices to reach | missed | pushes to a node that is not believed | to everybody | snapshots | login waits p50, p99, most |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, faults, rules) in runs {
        let outcome = run(&Parameters {
            nodes: 5,
            users: 2_000,
            churn_per_s: 500.0,
            pushes_per_s: 2_000.0,
            greeted: 0.5,
            seconds: 200.0,
            faults,
            rules,
            ..*base
        });
        let percent = |part: u64| 100.0 * part as f64 / outcome.pushes as f64;
        let waits = [50, 99, 100].map(|share| outcome.login_waits.percentile_us(share) / 1_000);
        println!(
            "| {name} | {} | {} | {:.1} % | {:.1} % | {} | {}, {}, {} ms |",
            outcome.expected,
            outcome.missed,
            percent(outcome.to_disbelieved),
            percent(outcome.to_everyone),
            outcome.snapshots,
            waits[0],
            waits[1],
            waits[2],
        );
    }
}
