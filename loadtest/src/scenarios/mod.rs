//! The scenarios: scripts over `Load`, one a file or two. Each says what it does, with which defaults, and which figures it
//! leaves; none touches a socket.

mod call;
mod churn;
mod hold;
mod push;
mod search;
mod slow;
mod soak;
mod storm;

use std::sync::Arc;

use crate::cli::{Kind, Options};
use crate::coordinator::{Load, Usage};
use crate::publisher::Published;
use crate::result::Run;

/// Runs a scenario by name.
///
/// # Errors
/// What could not be started, reached or finished. Bad results are results, not errors.
pub fn run(scenario: &str, options: Options) -> Result<Run, String> {
    let raw = options.target_kind == Kind::Raw;
    let pushes = matches!(scenario, "push" | "slow" | "soak" | "search");
    if raw && pushes {
        return Err(format!("{scenario} needs longwire: a raw server has no users"));
    }
    match scenario {
        "hold" => hold::run(options),
        "storm" => storm::run(options),
        "fanout" => push::fanout(options),
        "push" => push::run(options),
        "call" => call::run(options),
        "churn" => churn::run(options),
        "slow" => slow::run(options),
        "soak" => soak::run(options),
        "search" => search::run(options),
        other => Err(format!("{other}: no such scenario")),
    }
}

/// Everybody connects; leaves `connect_s`.
fn enter(load: &mut Load) -> Result<(), String> {
    let (connections, rate) = (load.options.connections, load.options.connect_rate);
    let seconds = load.connect(connections, rate)?;
    load.figure("connect_s", seconds);
    Ok(())
}

/// These clients' numbers.
fn users(range: std::ops::Range<u32>) -> Arc<[u32]> {
    range.collect()
}

/// The server's CPU seconds between two looks, where its process is known.
fn server_s(from: &Usage, to: &Usage) -> Option<f64> {
    Some(to.server_s? - from.server_s?).filter(|seconds| *seconds > 0.0)
}

/// Figures of a published load.
fn published(load: &mut Load, published: &Published) {
    let (sent, matched, dropped) = (published.sent, published.matched, published.dropped);
    load.figure("pushes_sent", sent as f64);
    if published.answers.count() > 0 {
        load.figure("pushes_matched", matched as f64);
        load.figure("pushes_dropped", dropped as f64);
        load.figure("push_answer_p50_us", published.answers.at(0.5) as f64);
        load.figure("push_answer_p99_us", published.answers.at(0.99) as f64);
    }
}
