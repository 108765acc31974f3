//! What the reports promise: nothing hostile gets through, nothing empty breaks, a void run shouts, `compare` is right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compare;
mod pages;
mod texts;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use crate::result::{Accounts, Delay, Run, Sample};

/// A delay as the engine writes it.
fn delay(histogram: &Histogram<u64>) -> Delay {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).unwrap();
    let at = |q| {
        if histogram.is_empty() {
            0
        } else {
            histogram.value_at_quantile(q)
        }
    };
    Delay {
        count: histogram.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max(),
        histogram: base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

/// How a made-up run behaves.
#[derive(Clone, Copy)]
struct Making {
    seconds: u64,
    each_second: u64,
    /// What every delay above the 95th of 100 is multiplied by.
    tail: f64,
    /// How much whole seconds differ from each other (standard deviation of the logarithm).
    moods: f64,
}

const QUIET: Making = Making {
    seconds: 60,
    each_second: 1_000,
    tail: 1.0,
    moods: 0.0,
};

/// A normal deviate.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (one, two) = (1.0 - random.f64(), random.f64());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

/// A made-up run whose delays of `push` are log-normal around 300 µs, with samples and figures that fit.
fn made(seed: u64, making: Making) -> Run {
    let mut random = fastrand::Rng::with_seed(seed);
    let new = || Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
    let mut whole = new();
    let mut run = Run {
        scenario: "push".into(),
        target: "longwire".into(),
        ..Run::default()
    };
    let mut mood = 0.0;
    for second in 0..making.seconds {
        let mut own = new();
        // A mood lasts a few seconds, as stalls do.
        mood = 0.6 * mood + 0.8 * making.moods * normal(&mut random);
        for _ in 0..making.each_second {
            let deviate = normal(&mut random);
            let stretch = if deviate > 1.645 { making.tail } else { 1.0 };
            own.record((300.0 * (0.5 * deviate + mood).exp() * stretch).round().max(1.0) as u64)
                .unwrap();
        }
        whole.add(&own).unwrap();
        run.samples.push(Sample {
            at_ms: (second + 1) * 1_000,
            connections: 10_000,
            received: making.each_second,
            sent: making.each_second,
            p50_us: own.value_at_quantile(0.5),
            p99_us: own.value_at_quantile(0.99),
            server_cpu_cores: Some(0.20 + 0.01 * random.f64()),
            server_resident_bytes: Some(48 * 1024 * 1024 + second * 4_096),
            server_descriptors: Some(10_020),
            kernel_tcp_bytes: Some(90 * 1024 * 1024),
            load_cpu_cores: 0.4,
            load_lag_ms: random.u64(0..4),
            ..Sample::default()
        });
    }
    let count = making.seconds * making.each_second;
    let cpu: f64 = run.samples.iter().filter_map(|sample| sample.server_cpu_cores).sum();
    run.format = super::FORMAT;
    run.began_unix_ms = 1_700_000_000_000;
    run.took_ms = making.seconds * 1_000;
    run.command = vec!["longwire-load".into(), "push".into()];
    run.accounts = Accounts {
        due: count,
        received: count,
        ..Accounts::default()
    };
    run.delays.insert("push".into(), delay(&whole));
    run.figures
        .insert("deliveries_per_server_cpu_s".into(), count as f64 / cpu);
    run.figures.insert("resident_bytes_per_connection".into(), 420.0);
    run
}
