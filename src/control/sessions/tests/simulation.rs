//! Seeded simulation: several registries that exchange messages over a bus that delays, loses, repeats and reorders them,
//! with partitions, crashes and clocks that disagree. After quiet all must agree, and the policy must hold.

mod checks;
mod world;

use world::{DELAY_US, Weather, World};

use super::super::HOLD_US;
use super::*;

/// A few hundred runs of each kind; `LONGWIRE_SEEDS=n` tries more, `LONGWIRE_SEED=n` that one.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("LONGWIRE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LONGWIRE_SEEDS").unwrap_or(400),
    }
}

fn policies(rng: &mut fastrand::Rng) -> Policy {
    loop {
        let when_full = if rng.bool() {
            WhenFull::Reject
        } else {
            WhenFull::ReplaceOldest
        };
        let policy = policy(rng.usize(0..4), when_full, rng.bool());
        if policy.per_user_max > 0 || policy.one_per_device {
            return policy;
        }
    }
}

fn world(seed: u64) -> World {
    let policy = policies(&mut fastrand::Rng::with_seed(seed ^ 0x5e55_1045));
    World::new(seed, policy)
}

/// Whether a device's new connection takes over the age of its seat. Which of several logins that cross within one
/// round trip gets in may then hang on who hears of whom first; how many do does not.
fn ages(policy: &Policy) -> bool {
    policy.when_full == WhenFull::Reject && policy.one_per_device && policy.per_user_max > 0
}

/// With nothing lost the outcome is exactly the rule's over all logins, however they crossed.
#[test]
fn steady_logins_end_as_the_rule_says() {
    for seed in seeds() {
        let mut world = world(seed);
        let mean_us = world.rng.choice([1_000, 30_000, 300_000]).unwrap();
        for _ in 0..world.rng.usize(2..25) {
            let index = world.rng.usize(0..world.nodes.len());
            world.login(index);
            let until_us = world.now_us + world.rng.u64(0..2 * mean_us);
            world.pass(until_us);
        }
        world.quieten();
        world.check();
        world.check_reasons();
        let (policy, expected, admitted) = (&world.policy, world.expected(|_| true), world.admitted());
        if ages(policy) {
            assert_eq!(admitted.len(), expected.len(), "seed {seed}: {policy:?}");
        } else {
            assert_eq!(admitted, expected, "seed {seed}: {policy:?}");
        }
        if policy.when_full == WhenFull::Reject && !policy.one_per_device {
            assert_eq!(world.closed_admitted, 0, "seed {seed}: a newcomer pushed somebody out");
        }
    }
}

/// The same with departures: nobody is closed without a reason, and nothing is remembered of those who left.
#[test]
fn steady_membership_closes_nobody_for_nothing() {
    for seed in seeds() {
        let mut world = world(seed);
        for _ in 0..world.rng.usize(10..120) {
            if world.rng.u8(0..3) > 0 {
                let index = world.rng.usize(0..world.nodes.len());
                world.login(index);
            } else {
                world.leave();
            }
            let until_us = world.now_us + world.rng.u64(0..100_000);
            world.pass(until_us);
        }
        world.quieten();
        world.check();
        world.check_reasons();
    }
}

/// Everything goes wrong; once it is over and all is told anew the nodes agree, and nobody went who could have stayed.
#[test]
fn heals_after_loss_partitions_and_crashes() {
    for seed in seeds() {
        let mut world = world(seed);
        world.weather = Weather {
            lost: world.rng.u32(0..40),
            twice: world.rng.u32(0..30),
            slowest_us: world.rng.choice([DELAY_US, 2 * HOLD_US]).unwrap(),
            in_order: world.rng.bool(),
        };
        for _ in 0..world.rng.usize(20..150) {
            let index = world.rng.usize(0..world.nodes.len());
            match world.rng.u8(0..20) {
                0 => world.crash(index),
                1 => world.go_away_or_come_back(index),
                2 => world.apart = Some((0..world.nodes.len()).filter(|_| world.rng.bool()).collect()),
                3 | 4 => world.apart = None,
                5..=8 => world.leave(),
                _ => world.login(index),
            }
            let until_us = world.now_us + world.rng.u64(0..200_000);
            world.pass(until_us);
        }
        world.quieten();
        let before = world.admitted();
        let expected = world.expected(|client| before.contains(&client.connection.index));
        world.heal();
        world.check();
        let after = world.admitted();
        assert!(after.is_subset(&before), "seed {seed}");
        if ages(&world.policy) {
            assert_eq!(after.len(), expected.len(), "seed {seed}: {:?}", world.policy);
        } else {
            assert_eq!(after, expected, "seed {seed}: {:?}", world.policy);
        }
    }
}
