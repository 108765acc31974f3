//! The head and the end of a result: settings, sums, and whether the run counts.

use std::collections::BTreeMap;

use super::Load;
use super::workers::Worker;
use crate::cli::{Kind, Options};
use crate::result::{Accounts, Run};
use crate::sources::Sources;
use crate::{clock, report, sampler};

/// A process of the load generator that is busier than this share of a core was the bottleneck.
const BUSY_CORES: f64 = 0.85;
/// A load generator whose plans are later than this at p99 was the bottleneck, microseconds.
const LATE_US: u64 = 20_000;

/// What is known before it begins.
pub fn head(scenario: &str, options: &Options) -> Run {
    let kind = if options.target_kind == Kind::Raw {
        "raw"
    } else {
        "longwire"
    };
    let mut settings = BTreeMap::from([
        ("connections".to_owned(), options.connections.to_string()),
        ("bytes".to_owned(), options.bytes.to_string()),
        ("connect_rate".to_owned(), options.connect_rate.to_string()),
    ]);
    let mut set = |name: &str, value: Option<String>| {
        settings.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("rate", options.rate.map(|rate| rate.to_string()));
    set(
        "duration_s",
        options.duration.map(|time| time.as_secs_f64().to_string()),
    );
    set("storms", (scenario == "storm").then(|| options.storms.to_string()));
    let source = options.source.iter().flat_map(Sources::addresses).count();
    set("sources", (source > 0).then(|| source.to_string()));
    set("share", options.share.map(|share| share.to_string()));
    set("window", options.window.map(|window| window.to_string()));
    let over = |bus| if bus { "NATS" } else { "HTTP" }.to_owned();
    let pushes = matches!(
        scenario,
        "fanout" | "push" | "slow" | "soak" | "search" | "storm" | "churn"
    );
    set(
        "pushed_over",
        (pushes && kind == "longwire").then(|| over(options.nats.is_some())),
    );
    set(
        "publishers",
        (pushes && options.nats.is_none()).then(|| options.publishers.to_string()),
    );
    let stays = matches!(scenario, "churn" | "soak");
    set("stay_s", stays.then(|| options.stay.as_secs_f64().to_string()));
    set(
        "subscribers",
        (options.subscribers > 0).then(|| options.subscribers.to_string()),
    );
    set(
        "bound_ms",
        (scenario == "search").then(|| (options.bound.as_secs_f64() * 1e3).to_string()),
    );
    set("workers", options.workers.map(|workers| workers.to_string()));
    set("started", options.start.then(|| options.set.join(" ")));
    set("topics", (options.topics > 0).then(|| options.topics.to_string()));
    Run {
        format: report::FORMAT,
        scenario: scenario.to_owned(),
        target: options.name.clone().unwrap_or_else(|| kind.to_owned()),
        command: command_line(),
        began_unix_ms: clock::unix_ms(),
        machine: sampler::machine(),
        settings,
        ..Run::default()
    }
}

/// The command line, with secrets left out.
fn command_line() -> Vec<String> {
    let mut secret = false;
    let words = std::env::args().map(|word| {
        if std::mem::replace(&mut secret, word == "--secret" || word == "--key") {
            return "***".to_owned();
        }
        match word.split_once('=') {
            Some((name @ ("--secret" | "--key"), _)) => format!("{name}=***"),
            _ => word,
        }
    });
    words.collect()
}

/// Errors of all workers, by kind.
pub fn errors(workers: &[Worker]) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in workers.iter().flat_map(|worker| &worker.tick.errors) {
        *errors.entry(kind.clone()).or_default() += count;
    }
    errors
}

/// The sum of two accounts.
pub fn add(one: Accounts, other: Accounts) -> Accounts {
    Accounts {
        due: one.due + other.due,
        received: one.received + other.received,
        duplicated: one.duplicated + other.duplicated,
        out_of_order: one.out_of_order + other.out_of_order,
        lost: one.lost + other.lost,
        garbled: one.garbled + other.garbled,
        unaccountable: one.unaccountable + other.unaccountable,
    }
}

/// The whole result.
pub fn finish(load: Load) -> Run {
    let mut run = load.run;
    for (kind, count) in errors(&load.workers) {
        *run.errors.entry(kind).or_default() += count;
    }
    if load.watch.server.is_some_and(|pid| sampler::cpu_s(pid).is_none()) {
        run.errors.insert("server_ended".to_owned(), 1);
    }
    let figures = &mut run.figures;
    if let (Some(from), Some(to)) = &load.watch.measured {
        let (server, place, busiest) = to.cores_since(from);
        figures.extend(server.map(|cores| ("server_cpu_cores".to_owned(), cores)));
        figures.insert("load_cpu_cores".to_owned(), busiest);
        if busiest > BUSY_CORES {
            let who = match place {
                0 => "the coordinator (it publishes)".to_owned(),
                place => format!("worker {}", place - 1),
            };
            run.void.push(format!(
                "{who} used {busiest:.2} of a core: the load generator was the bottleneck (more --workers, or less load)"
            ));
        }
    }
    let mut lag = load.publisher_lag;
    let late = lag.at(0.99);
    if late > LATE_US {
        run.void.push(format!(
            "the publisher was {} ms late at p99 with what it had planned",
            late / 1_000
        ));
    }
    for (place, worker) in load.workers.iter().enumerate() {
        let late = worker.lag.at(0.99);
        lag.add(&worker.lag);
        let storming = load.storms && (worker.plan.first > 0 || load.options.target_kind == Kind::Raw);
        if late > LATE_US && !storming {
            run.void.push(format!(
                "worker {place} was {} ms late at p99 with what it had planned",
                late / 1_000
            ));
        }
    }
    figures.insert("load_lag_p99_us".to_owned(), lag.at(0.99) as f64);
    run.delays = load
        .delays
        .iter()
        .map(|(kind, delays)| (kind.clone(), delays.summary()))
        .collect();
    run.took_ms = (clock::now_us() - load.began_us) / 1_000;
    run
}
