//! What the timer wheel costs: filing, moving and cancelling among a million entries, and a million entries that expire
//! spread over a minute.
//!
//!     cargo bench --bench wheel
#![allow(missing_docs, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use longwire::shard::wheel::Wheel;

const ENTRIES: u32 = 1_000_000;
const SPREAD_MS: u64 = 60_000;
/// Operations measured together: enough to hide the clock, few enough to leave the wheel as it is.
const BATCH: usize = 10_000;
/// No multiple of a slot, so that a minute crosses borders of every level but the upper ones.
const START_MS: u64 = 1_000_000_007;

fn deadline_ms(random: &mut fastrand::Rng, now_ms: u64) -> u64 {
    now_ms + random.u64(1..=SPREAD_MS)
}

/// Deadlines at random, so that neighbours in a slot are far apart in memory, as they are in a server that has run
/// for a while.
fn full_wheel(random: &mut fastrand::Rng) -> Wheel {
    let mut wheel = Wheel::new(START_MS);
    for index in 0..ENTRIES {
        wheel.file(index, deadline_ms(random, START_MS));
    }
    wheel
}

fn some_deadlines(random: &mut fastrand::Rng) -> Vec<(u32, u64)> {
    (0..BATCH)
        .map(|_| (random.u32(0..ENTRIES), deadline_ms(random, START_MS)))
        .collect()
}

/// Each of these takes BATCH operations for one iteration: divide by it (criterion's throughput line does).
fn operations(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut wheel = full_wheel(&mut random);
    let mut group = criterion.benchmark_group("wheel of 1M");
    group.throughput(criterion::Throughput::Elements(BATCH as u64));

    group.bench_function("move", |bencher| {
        bencher.iter_custom(|iterations| {
            fastest_of_each_five(iterations, || {
                let moves = some_deadlines(&mut random);
                timed(|| moves.iter().for_each(|&(index, at_ms)| wheel.file(index, at_ms)))
            })
        });
    });
    // Cancelled entries are filed again outside the measurement, and the other way round.
    group.bench_function("cancel", |bencher| {
        bencher.iter_custom(|iterations| {
            fastest_of_each_five(iterations, || {
                let again = some_deadlines(&mut random);
                let took = timed(|| again.iter().for_each(|&(index, _)| wheel.cancel(index)));
                again.iter().for_each(|&(index, at_ms)| wheel.file(index, at_ms));
                took
            })
        });
    });
    group.bench_function("file", |bencher| {
        bencher.iter_custom(|iterations| {
            fastest_of_each_five(iterations, || {
                let again = some_deadlines(&mut random);
                again.iter().for_each(|&(index, _)| wheel.cancel(index));
                // Enough others that the ones to be filed are no longer in the nearest cache.
                for _ in 0..5 {
                    let others = some_deadlines(&mut random);
                    others
                        .iter()
                        .for_each(|&(index, _)| _ = black_box(wheel.deadline_ms(index)));
                }
                timed(|| again.iter().for_each(|&(index, at_ms)| wheel.file(index, at_ms)))
            })
        });
    });
    group.finish();
}

/// A batch is shorter than a turn on a processor that others want too, so one of five is not interrupted.
fn fastest_of_each_five(iterations: u64, mut batch: impl FnMut() -> Duration) -> Duration {
    (0..iterations)
        .map(|_| (0..5).map(|_| batch()).min().unwrap_or_default())
        .sum()
}

/// Calls the wheel as a reactor does that has nothing else to do: whenever something is due. Prints its share of one
/// core's minute, in the thread's processor time where the system tells it, so that a busy machine does not count.
fn expiry(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(2);
    let mut group = criterion.benchmark_group("wheel of 1M");
    group.throughput(criterion::Throughput::Elements(u64::from(ENTRIES)));
    group.sample_size(10);
    group.bench_function("expire over a minute", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let mut wheel = full_wheel(&mut random);
                    let before = processor_time();
                    let took = timed(|| run_dry(&mut wheel));
                    let took = processor_time()
                        .zip(before)
                        .map_or(took, |(after, before)| after - before);
                    println!(
                        "{:.0} ns an entry, {:.3} % of a core",
                        took.as_nanos() as f64 / f64::from(ENTRIES),
                        took.as_secs_f64() / 0.6,
                    );
                    took
                })
                .sum()
        });
    });
    group.finish();
}

/// What this thread has used so far. Exact to a few milliseconds.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn run_dry(wheel: &mut Wheel) {
    while let Some(now_ms) = wheel.next_due_ms() {
        while let Some(index) = wheel.pop_due(now_ms) {
            black_box(index);
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

criterion_group!(benches, operations, expiry);
criterion_main!(benches);
