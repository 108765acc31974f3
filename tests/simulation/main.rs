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
mod reactor;
mod settings;
mod tokens;
mod wire;
mod world;

use settings::Flavour;
use world::World;

/// Runs a world for each seed: those that the environment names, or `count` of them.
fn run(flavour: Flavour, test: &str, count: u64) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("it is a number"))
    };
    let count = number("LONGWIRE_SEEDS").unwrap_or(count);
    let seeds = number("LONGWIRE_SEED").map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        eprintln!("LONGWIRE_SEED={seed} cargo test --test simulation {test}");
        World::new(flavour, seed).live();
    }
}

#[test]
fn one_reactor() {
    run(Flavour::One, "one_reactor", 150);
}

#[test]
fn two_reactors() {
    run(Flavour::Two, "two_reactors", 60);
}

#[test]
fn session_policy() {
    run(Flavour::Policy, "session_policy", 60);
}

#[test]
fn paced_fan_outs() {
    run(Flavour::Crowd, "paced_fan_outs", 6);
}
