#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;

/// Hashes as good as those of names (splitmix64).
fn hash_of(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a shard does when somebody logs in.
fn add_and_grow(filter: &NameFilter, held: &mut HashSet<u64>, hash: u64) {
    if held.insert(hash) {
        filter.add(hash);
        if filter.needs_growth() {
            filter.grow(held.iter().copied());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    AddMany(u64, u64),
    Remove(u64),
    RemoveAll,
    /// Though it is not needed.
    Grow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..2000_u64).prop_map(Step::Add),
        2 => (0..2000_u64, 0..300_u64).prop_map(|(from, count)| Step::AddMany(from, count)),
        10 => (0..2000_u64).prop_map(Step::Remove),
        1 => Just(Step::RemoveAll),
        1 => Just(Step::Grow),
    ]
}

proptest! {
    #[test]
    fn never_says_no_for_a_user_who_is_held(
        // Few bits make many users share their counters, up to all of them.
        hash_mask in prop_oneof![Just(u64::MAX), Just(0x3f_0000_003f), Just(0x3_0000_0003), Just(0)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let filter = NameFilter::new();
        // By number, as several users may have the same hash.
        let mut held = HashSet::new();
        for step in steps {
            let (add, remove) = match step {
                Step::Add(number) => (vec![number], vec![]),
                Step::AddMany(from, count) => ((from..from + count).collect(), vec![]),
                Step::Remove(number) => (vec![], vec![number]),
                Step::RemoveAll => (vec![], held.iter().copied().collect()),
                Step::Grow => {
                    if filter.current() < 10 {
                        filter.grow(held.iter().map(|&number| hash_of(number) & hash_mask));
                    }
                    (vec![], vec![])
                }
            };
            for number in add {
                if held.insert(number) {
                    filter.add(hash_of(number) & hash_mask);
                    if filter.needs_growth() {
                        filter.grow(held.iter().map(|&number| hash_of(number) & hash_mask));
                    }
                }
            }
            for number in remove {
                if held.remove(&number) {
                    filter.remove(hash_of(number) & hash_mask);
                }
            }
            prop_assert!(held.iter().all(|&number| filter.may_hold(hash_of(number) & hash_mask)));
            prop_assert_eq!(filter.names(), held.len());
            prop_assert!(!filter.needs_growth());
        }
    }
}

/// The share of users not held for whom it says yes.
fn false_yes(filter: &NameFilter, salt: u64) -> f64 {
    let asked = 20_000;
    let yes = (0..asked)
        .filter(|&n| filter.may_hold(hash_of(1_000_000_000 + salt * asked + n)))
        .count();
    yes as f64 / asked as f64
}

#[test]
fn it_is_wrong_less_than_one_time_in_five_at_any_size() {
    // Small tables vary, so the mean of several.
    const FILTERS: u64 = 20;
    for users in [1, 8, 15, 16, 17, 31, 32, 33, 100, 1000, 1024, 5000] {
        let mean = (0..FILTERS)
            .map(|salt| {
                let (filter, mut held) = (NameFilter::new(), HashSet::new());
                (0..users).for_each(|n| add_and_grow(&filter, &mut held, hash_of(salt * 1_000_000 + n)));
                false_yes(&filter, salt)
            })
            .sum::<f64>()
            / FILTERS as f64;
        assert!(mean < 0.2, "{users} users: {mean}");
    }
}

#[test]
fn it_stays_sharp_while_users_come_and_go() {
    let (filter, mut held) = (NameFilter::new(), HashSet::new());
    for number in 0..100_000 {
        add_and_grow(&filter, &mut held, hash_of(number));
        if number >= 1000 {
            held.remove(&hash_of(number - 1000));
            filter.remove(hash_of(number - 1000));
        }
    }
    assert!(false_yes(&filter, 0) < 0.2);
    assert_eq!(filter.table().len(), 4096, "a thousand users at a time need no more");
    for hash in held.drain() {
        filter.remove(hash);
    }
    assert_eq!(false_yes(&filter, 0), 0.0, "every counter is back at zero");
}

#[test]
fn a_counter_that_lost_count_never_says_no() {
    let filter = NameFilter::new();
    for _ in 0..300 {
        filter.add(7);
    }
    for _ in 0..299 {
        filter.remove(7);
    }
    assert!(filter.may_hold(7));
    // A new table counts anew.
    filter.grow(std::iter::once(7));
    assert!(filter.may_hold(7));
    filter.remove(7);
    assert!(!filter.may_hold(7));
}

#[test]
fn a_reader_never_misses_a_user_while_the_filter_grows() {
    const USERS: u64 = 30_000;
    let filter = NameFilter::new();
    let added = AtomicUsize::new(0);
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                let mut turn = 0;
                while added.load(Ordering::Relaxed) < USERS as usize {
                    // The newest, a few at random, and in the end all of them.
                    let known = added.load(Ordering::Acquire) as u64;
                    turn += 1;
                    let newest = known.saturating_sub(10)..known;
                    let random = (0..10).map(|n| hash_of(turn * 10 + n) % known.max(1));
                    for number in newest.chain(random) {
                        assert!(
                            number >= known || filter.may_hold(hash_of(number)),
                            "{number} of {known}"
                        );
                    }
                }
                assert!((0..USERS).all(|number| filter.may_hold(hash_of(number))));
            });
        }
        start.wait();
        for number in 0..USERS {
            filter.add(hash_of(number));
            if filter.needs_growth() {
                filter.grow((0..=number).map(hash_of));
            }
            added.store(number as usize + 1, Ordering::Release);
        }
    });
}
