//! What the gateway says of itself: its histograms at `/metrics`, so that a delay can be taken apart into the node's part
//! and the rest. Used by scenarios that hold two moments against each other.

use std::collections::BTreeMap;

use crate::cli::Kind;
use crate::coordinator::Load;
use crate::http;

/// From a push's arrival at the node to its write.
const PUSH_DELAY: &str = "longwire_push_delay_seconds";
/// One turn of a reactor; all reactors together.
const TURN: &str = "longwire_turn_seconds";

/// Both, at some moment, or between two.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    pushes: Buckets,
    turns: Buckets,
}

impl Inside {
    /// Up to now. A gateway that does not answer, and a raw target, has counted nothing.
    pub fn of(load: &Load) -> Self {
        if load.options.target_kind == Kind::Raw {
            return Self::default();
        }
        let text = load
            .api()
            .ok()
            .and_then(|api| http::get(api, load.options.key.as_deref(), "/metrics").ok());
        text.map_or_else(Self::default, |text| Self {
            pushes: Buckets::read(&text, PUSH_DELAY),
            turns: Buckets::read(&text, TURN),
        })
    }

    /// What was counted since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            pushes: self.pushes.since(&before.pushes),
            turns: self.turns.since(&before.turns),
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.pushes.add(&other.pushes);
        self.turns.add(&other.turns);
    }

    /// As figures: `node_push_p99_<when>_us` and `node_turn_p99_<when>_us`.
    pub fn leave(&self, load: &mut Load, when: &str) {
        for (what, buckets) in [("push", &self.pushes), ("turn", &self.turns)] {
            if let Some(p99_us) = buckets.at(0.99) {
                load.figure(&format!("node_{what}_p99_{when}_us"), p99_us);
            }
        }
    }
}

/// The counts of a histogram, not cumulated, by upper bound in microseconds (`u64::MAX`: beyond the last).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    /// From Prometheus text, summed over all labels but `le`.
    fn read(text: &str, name: &str) -> Self {
        let mut cumulated: BTreeMap<u64, u64> = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_bucket{")) else {
                continue;
            };
            let bound = rest.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
            let (Some((bound, _)), Some(count)) = (bound, count) else {
                continue;
            };
            let bound_us = match bound {
                "+Inf" => u64::MAX,
                seconds => (seconds.parse::<f64>().unwrap_or(0.0) * 1e6).round() as u64,
            };
            *cumulated.entry(bound_us).or_default() += count as u64;
        }
        let mut below = 0;
        Self(
            cumulated
                .into_iter()
                .map(|(bound, count)| (bound, count.saturating_sub(std::mem::replace(&mut below, count))))
                .collect(),
        )
    }

    /// What was counted since.
    fn since(&self, before: &Self) -> Self {
        let count = |(bound, count): (&u64, &u64)| (*bound, count - before.0.get(bound).unwrap_or(&0).min(count));
        Self(self.0.iter().map(count).collect())
    }

    fn add(&mut self, other: &Self) {
        for (bound, count) in &other.0 {
            *self.0.entry(*bound).or_default() += count;
        }
    }

    /// The quantile in microseconds, evenly spread within its bucket, as Prometheus's `histogram_quantile` does it; `None`
    /// if nothing was counted. What lies beyond the last bound counts as that.
    fn at(&self, quantile: f64) -> Option<f64> {
        let all: u64 = self.0.values().sum();
        if all == 0 {
            return None;
        }
        let (mut seen, mut from_us) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let count = *count as f64;
            if seen + count >= quantile * all as f64 {
                if *bound == u64::MAX {
                    break;
                }
                let part = (quantile * all as f64 - seen) / count.max(1.0);
                return Some(from_us + (*bound as f64 - from_us) * part);
            }
            seen += count;
            if *bound != u64::MAX {
                from_us = *bound as f64;
            }
        }
        Some(from_us)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE longwire_turn_seconds histogram\n\
        longwire_turn_seconds_bucket{le=\"0.0001\",reactor=\"0\"} 90\n\
        longwire_turn_seconds_bucket{le=\"0.001\",reactor=\"0\"} 98\n\
        longwire_turn_seconds_bucket{le=\"+Inf\",reactor=\"0\"} 99\n\
        longwire_turn_seconds_bucket{le=\"0.0001\",reactor=\"1\"} 0\n\
        longwire_turn_seconds_bucket{le=\"0.001\",reactor=\"1\"} 1\n\
        longwire_turn_seconds_bucket{le=\"+Inf\",reactor=\"1\"} 1\n\
        longwire_turn_seconds_count{reactor=\"0\"} 99\n";

    #[test]
    fn reactors_are_summed_and_quantiles_lie_within_their_bucket() {
        let turns = Buckets::read(TEXT, TURN);
        assert_eq!(turns, Buckets([(100, 90), (1_000, 9), (u64::MAX, 1)].into()));
        assert_eq!(turns.at(0.45), Some(50.0));
        assert_eq!(turns.at(0.99), Some(1_000.0));
        assert_eq!(turns.at(1.0), Some(1_000.0));
        assert_eq!(Buckets::read(TEXT, PUSH_DELAY).at(0.5), None);
    }

    #[test]
    fn what_was_counted_before_does_not_count() {
        let turns = Buckets::read(TEXT, TURN);
        assert_eq!(turns.since(&turns).at(0.5), None);
        let mut twice = turns.clone();
        twice.add(&turns);
        assert_eq!(twice.since(&turns), turns);
    }
}
