//! The directed mode in simulation (`benches/scaling/model`): with all its rules no push misses a device, whatever is
//! lost, cut, late or restarted; and each rule is needed for that. A failure is replayed with the seed in its message;
//! `LONGWIRE_SEEDS=n` tries more.
#![allow(dead_code)]

#[path = "../../benches/scaling/model/mod.rs"]
mod model;

use model::world::run;
use model::{Faults, Outcome, Parameters, Rules};

/// Small, and nearly everything in it at the wrong moment.
fn rough(seed: u64) -> Parameters {
    Parameters {
        seed,
        nodes: 4,
        users: 300,
        churn_per_s: 400.0,
        pushes_per_s: 2_000.0,
        greeted: 0.5,
        seconds: 30.0,
        faults: Faults {
            loss: 0.05,
            crashes_per_s: 0.1,
            crash_ms: 1_000,
            cuts_per_s: 0.2,
            cut_ms: 1_500,
            stalls_per_s: 0.3,
            stall_ms: 800,
        },
        ..Parameters::default()
    }
}

fn seeds() -> u64 {
    std::env::var("LONGWIRE_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6)
}

fn sum_over_seeds(change: impl Fn(&mut Parameters)) -> Vec<(u64, Outcome)> {
    (1..=seeds())
        .map(|seed| {
            let mut parameters = rough(seed);
            change(&mut parameters);
            (seed, run(&parameters))
        })
        .collect()
}

#[test]
fn no_push_misses_a_device_whatever_goes_wrong() {
    let mut total = Outcome::default();
    for (seed, outcome) in sum_over_seeds(|_| {}) {
        assert_eq!(outcome.missed, 0, "seed {seed}: {outcome:?}");
        total.expected += outcome.expected;
        total.to_disbelieved += outcome.to_disbelieved;
        total.to_everyone += outcome.to_everyone;
        total.crashes += outcome.crashes;
        total.cuts += outcome.cuts;
        total.stalls += outcome.stalls;
        total.snapshots += outcome.snapshots;
    }
    // Or the run said nothing.
    assert!(total.expected > 10_000, "{total:?}");
    assert!(total.to_disbelieved > 1_000 && total.to_everyone > 100, "{total:?}");
    assert!(
        total.crashes > 3 && total.cuts > 10 && total.stalls > 10 && total.snapshots > 100,
        "{total:?}"
    );
}

#[test]
fn every_rule_is_needed() {
    let without = [
        (
            "sequence",
            Rules {
                sequence: false,
                ..Rules::ALL
            },
        ),
        (
            "epochs",
            Rules {
                epochs: false,
                ..Rules::ALL
            },
        ),
        (
            "leases",
            Rules {
                leases: false,
                ..Rules::ALL
            },
        ),
        (
            "wait_for_confirmation",
            Rules {
                wait_for_confirmation: false,
                ..Rules::ALL
            },
        ),
    ];
    for (name, rules) in without {
        let missed: u64 = sum_over_seeds(|parameters| parameters.rules = rules)
            .iter()
            .map(|(_, outcome)| outcome.missed)
            .sum();
        assert!(
            missed > 0,
            "without {name} nothing was missed: the run is too tame to show what it is for"
        );
    }
}

#[test]
fn a_quiet_cluster_sends_each_push_to_those_who_hold_its_user_and_to_nobody_else() {
    let outcome = run(&Parameters {
        faults: Faults::default(),
        ..rough(1)
    });
    assert_eq!((outcome.missed, outcome.to_everyone, outcome.to_disbelieved), (0, 0, 0));
    // What is left out are clients who have not been told yet that they are logged in.
    let left_out = outcome.broadcast.received_here - outcome.directed.received_here;
    assert!(left_out * 50 < outcome.broadcast.received_here, "{outcome:?}");
    // Only a user who has just left is still sent for.
    assert!(outcome.in_vain * 50 < outcome.directed.published, "{outcome:?}");
    let timing = Parameters::default().timing;
    assert!(
        outcome.login_waits.percentile_us(99) < 3 * timing.batch_us,
        "{outcome:?}"
    );
}

#[test]
fn a_seed_replays() {
    let parameters = Parameters {
        seconds: 3.0,
        ..rough(7)
    };
    assert_eq!(run(&parameters), run(&parameters));
}

#[test]
fn a_login_never_waits_much_longer_than_the_lease() {
    for (seed, outcome) in sum_over_seeds(|_| {}) {
        let timing = Parameters::default().timing;
        // A batch until it is announced, the lease, and a batch until somebody looks; clocks differ a little.
        let bound_us = timing.lease_wait_us() + 3 * timing.batch_us;
        assert!(
            outcome.login_waits.percentile_us(100) < bound_us,
            "seed {seed}: {}",
            outcome.login_waits.percentile_us(100)
        );
    }
}
