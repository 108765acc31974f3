//! A seeded simulation of the shard: a node without sockets, threads or a clock, with clients that do all that clients
//! do, and a model beside it that knows the contract and nothing of the code. Every decision comes from one seed, so a
//! failure is replayed with the line that the run printed; `LONGWIRE_TRACE=1` tells everything that happens in it, and
//! `LONGWIRE_SEEDS=n` tries more seeds than the usual ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod checks;
mod client;
mod control;
mod expect;
mod frames;
mod habits;
mod ledger;
mod messages;
mod model;
mod notices;
mod operators;
mod reactor;
mod settings;
mod tokens;
mod wire;
mod world;

use std::collections::BTreeMap;

use settings::Flavour;
use world::World;

/// What runs must come to, or they say nothing.
const ENDS: &[&str] = &[
    "bad_messages",
    "bad_utf8",
    "client",
    "connect_timeout",
    "connection_lost",
    "drain",
    "handshake_timeout",
    "kicked",
    "message_too_big",
    "ping_timeout",
    "protocol_error",
    "auth_failed",
    "token_expired",
    "unsupported_data",
];
const SMALL_LIMITS: &[&str] = &["overload", "rate_limited", "slow_consumer", "short write", "reload"];
const REFUSALS: &[&str] = &[
    "bad_request",
    "draining",
    "full",
    "head_too_large",
    "not_found",
    "origin",
    "per_ip",
];
const ALWAYS: &[&str] = &["held", "outbox full", "drained"];

/// Runs a world for each seed: those that the environment names, or `count` of them. All together must come to
/// everything in `musts`.
fn run(flavour: Flavour, test: &str, count: u64, musts: &[&[&str]]) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("it is a number"))
    };
    let (count, seed) = (number("LONGWIRE_SEEDS").unwrap_or(count), number("LONGWIRE_SEED"));
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seed.map_or(0..count, |seed| seed..seed + 1) {
        eprintln!("LONGWIRE_SEED={seed} cargo test --test simulation {test}");
        for (what, times) in World::new(flavour, seed).live() {
            *reached.entry(what).or_default() += times;
        }
    }
    eprintln!("{reached:?}");
    let missed: Vec<_> = musts
        .concat()
        .into_iter()
        .filter(|must| !reached.contains_key(must))
        .collect();
    assert!(
        seed.is_some() || missed.is_empty(),
        "none of these happened: {missed:?}"
    );
}

#[test]
fn one_reactor() {
    run(
        Flavour::One,
        "one_reactor",
        100,
        &[ALWAYS, ENDS, SMALL_LIMITS, REFUSALS],
    );
}

#[test]
fn two_reactors() {
    run(
        Flavour::Two,
        "two_reactors",
        40,
        &[ALWAYS, ENDS, SMALL_LIMITS, REFUSALS, &["event"]],
    );
}

#[test]
fn session_policy() {
    run(
        Flavour::Policy,
        "session_policy",
        40,
        &[ALWAYS, ENDS, &["session_policy", "event"]],
    );
}

#[test]
fn paced_fan_outs() {
    run(
        Flavour::Crowd,
        "paced_fan_outs",
        3,
        &[&["work left over", "held", "kicked"]],
    );
}
