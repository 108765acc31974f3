//! What noise is: how far a percentile or a figure of one run could lie from what a longer run of the same kind would show.
//!
//! Owns the statistics of `compare`, and no words about them. Pure, without chance: the same runs give the same ranges.
//!
//! **The choice.** Messages of one second share their fate: a stall delays thousands at once, so a test that takes every
//! message for an independent draw (Kolmogorov-Smirnov, Mann-Whitney) finds "changes" between two runs of the same
//! binary. A bootstrap over seconds would respect that, but the file holds no histogram of each second, only its p50 and
//! p99. So ranges are made in *ranks*:
//!
//! 1. A percentile q of n independent messages has a range of ranks around q (Wilson's score interval), and the run's
//!    histogram turns ranks into delays. That needs no assumption about the shape of the distribution.
//! 2. The p50 of a second, looked up in the histogram of the whole run, has a rank too; were messages independent, these
//!    ranks would spread around 0.5 by `sqrt(0.25 / n of the second)`. How much more they spread, neighbouring seconds that
//!    resemble each other included (the long-run variance with Bartlett's weights, as Newey and West do), is how much
//!    wider the range must be. The same for p99.
//!    A run so restless that its ranks tell nothing is judged by how its seconds' own p50 and p99 vary.
//! 3. Two ranges make one of the ratio (the method of Zou and Donner: each side's distance, added in squares, on
//!    logarithms).
//!
//! Ranges are at 99.9 %, because one comparison looks at a dozen numbers. In simulations of runs of 20 to 60 s
//! whose neighbouring seconds resemble each other, at most 3 of 100 pairs that did not differ had any percentile called
//! changed; with 1,000 messages a second a doubled p99 was found in all pairs whose seconds differ by up to 10 %, and in
//! most whose seconds differ by 25 %. Ranges know of nothing but what happened within
//! the runs: that a machine is slower on another day shows only in more runs.

use hdrhistogram::Histogram;

use crate::result::Sample;

/// Standard deviations to each side: 99.9 % of a normal distribution.
const DEVIATIONS: f64 = 3.29;

/// Fewer seconds than this tell nothing about how they differ.
const SECONDS_MIN: usize = 8;

/// A value, and where it could lie as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower end.
    pub low: f64,
    /// What was measured.
    pub value: f64,
    /// The upper end.
    pub high: f64,
}

impl Range {
    /// Whether the range has `value` in it.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// How much wider than for independent messages the ranges of ranks are, at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Widening {
    /// At the median.
    pub p50: f64,
    /// At p99.
    pub p99: f64,
}

/// The seconds that tell of this kind of delay: those in which little else was measured than logins, or than messages.
pub fn seconds_of<'a>(kind: &str, samples: &'a [Sample]) -> Vec<&'a Sample> {
    let login = kind == "login";
    let tells = |sample: &&Sample| {
        let (own, other) = if login {
            (sample.logins, sample.received)
        } else {
            (sample.received, sample.logins)
        };
        sample.p50_us > 0 && own > 0 && own / 10 >= other
    };
    samples.iter().filter(tells).collect()
}

/// How much the seconds (of [`seconds_of`]) differ more than chance would make them. `histogram` holds all that these
/// seconds tell of. None where it is not known: too few seconds (a burst of logins is one event, however many log in), or
/// their medians lie so far from the histogram's that they tell of something else.
pub fn widening(histogram: &Histogram<u64>, samples: &[&Sample]) -> Option<Widening> {
    let seconds = || samples.iter().copied();
    let weights: Vec<f64> = seconds()
        .map(|sample| sample.received.max(sample.logins) as f64)
        .collect();
    let ranks =
        |get: fn(&Sample) -> u64| -> Vec<f64> { seconds().map(|sample| rank(histogram, get(sample))).collect() };
    let (p50, p99) = (ranks(|sample| sample.p50_us), ranks(|sample| sample.p99_us));
    let total: f64 = weights.iter().sum();
    let middle = p50
        .iter()
        .zip(&weights)
        .map(|(rank, weight)| rank * weight)
        .sum::<f64>()
        / total;
    if p50.len() < SECONDS_MIN || !(0.2..=0.8).contains(&middle) {
        return None;
    }
    let wider = |ranks: &[f64], q: f64| {
        let mean = ranks
            .iter()
            .zip(&weights)
            .map(|(rank, weight)| rank * weight)
            .sum::<f64>()
            / total;
        let scale = ranks.len() as f64 / total;
        let apart: Vec<f64> = ranks
            .iter()
            .zip(&weights)
            .map(|(rank, weight)| (rank - mean) * weight * scale)
            .collect();
        let seen = half_range(&apart);
        let chance = DEVIATIONS * (q * (1.0 - q) / histogram.len() as f64).sqrt();
        (seen / chance).max(1.0)
    };
    Some(Widening {
        p50: wider(&p50, 0.5),
        p99: wider(&p99, 0.99),
    })
}

/// The percentile `q` (0 to 1) in microseconds with its range. None where the run has too few messages to tell.
pub fn percentile(histogram: &Histogram<u64>, q: f64, widening: Widening) -> Option<Range> {
    let wider = match q {
        _ if q < 0.75 => widening.p50,
        _ if q < 0.95 => widening.p50.max(widening.p99),
        _ => widening.p99,
    };
    let independent = histogram.len() as f64 / (wider * wider);
    if independent * q.min(1.0 - q) < 5.0 {
        return None;
    }
    let square = DEVIATIONS * DEVIATIONS / independent;
    let middle = q + square / 2.0;
    let side = DEVIATIONS * (q * (1.0 - q) / independent + square / (4.0 * independent)).sqrt();
    let at = |rank: f64| (histogram.value_at_quantile(rank.clamp(0.0, 1.0)) as f64).max(1.0);
    Some(Range {
        low: at((middle - side) / (1.0 + square)),
        value: at(q),
        high: at((middle + side) / (1.0 + square)),
    })
}

/// The range of a percentile by its values in the seconds (microseconds): for a run so restless that its ranks tell
/// nothing. None where there are too few.
pub fn by_seconds(value: f64, seconds: &[f64]) -> Option<Range> {
    let known: Vec<f64> = seconds.iter().filter(|us| **us > 0.0).map(|us| us.ln()).collect();
    if known.len() < SECONDS_MIN || value < 1.0 {
        return None;
    }
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let share = half_range(&known.iter().map(|one| one - mean).collect::<Vec<_>>());
    Some(Range {
        low: value * (-share).exp(),
        value,
        high: value * share.exp(),
    })
}

/// The range of a figure that is a sum over seconds divided by another (`over` is 1 a second for a plain mean): each pair
/// is (above, below) of one second. The figure itself is `value`: the seconds only say how much it could vary. None where
/// there are too few seconds.
pub fn figure(value: f64, seconds: &[(f64, f64)]) -> Option<Range> {
    let (above, below) = seconds
        .iter()
        .fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    if seconds.len() < SECONDS_MIN || above <= 0.0 || below <= 0.0 || value <= 0.0 || !value.is_finite() {
        return None;
    }
    let apart: Vec<f64> = seconds.iter().map(|pair| pair.0 - above / below * pair.1).collect();
    let share = half_range(&apart) / (above / seconds.len() as f64);
    Some(Range {
        low: value * (-share).exp(),
        value,
        high: value * share.exp(),
    })
}

/// The range of `after / before`; both are above 0.
pub fn ratio(before: Range, after: Range) -> Range {
    let (a, b) = (before, after);
    let down = ((b.value / b.low).ln().powi(2) + (a.high / a.value).ln().powi(2)).sqrt();
    let up = ((b.high / b.value).ln().powi(2) + (a.value / a.low).ln().powi(2)).sqrt();
    let value = b.value / a.value;
    Range {
        low: value * (-down).exp(),
        value,
        high: value * up.exp(),
    }
}

/// The rank of a delay in the histogram; of the ranks that all have this delay, the middle.
fn rank(histogram: &Histogram<u64>, us: u64) -> f64 {
    let below = histogram
        .lowest_equivalent(us)
        .checked_sub(1)
        .map_or(0.0, |less| histogram.quantile_below(less));
    f64::midpoint(below, histogram.quantile_below(us))
}

/// Half the range of the mean of a row whose neighbours may resemble each other; `apart` has a mean of 0. The long-run
/// variance by Bartlett's weights is known from about 1.5 values a lag only, which makes the range wider (Student's t).
fn half_range(apart: &[f64]) -> f64 {
    let count = apart.len();
    let alike = |lag: usize| {
        apart
            .iter()
            .zip(&apart[lag..])
            .map(|(one, other)| one * other)
            .sum::<f64>()
            / count as f64
    };
    let alone = alike(0);
    let lags = (count as f64).sqrt() as usize;
    let together = (1..=lags)
        .map(|lag| 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * alike(lag))
        .sum::<f64>();
    let deviation = ((alone + together).max(alone) / count.saturating_sub(1).max(1) as f64).sqrt();
    student(1.5 * count as f64 / (lags + 1) as f64) * deviation
}

/// [`DEVIATIONS`] for a spread that is itself known from few values (Student's t by its first terms).
fn student(free: f64) -> f64 {
    let z = DEVIATIONS;
    z + (z.powi(3) + z) / (4.0 * free) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * free * free)
}
