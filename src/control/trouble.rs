//! What an operator should hear of without looking at a dashboard: connections that end, or are turned away, for reasons
//! that are nobody's wish. The reactors only count; here the counts are looked at now and then, and what has grown is one
//! warning, with the numbers. So a thousand slow readers are one line, and a reactor never writes a line for a client.
//! Runs as one task of the control thread.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::{AuthResult, CloseReason, NodeCounters, ReactorCounters, RefusalReason};

/// How often it is looked, and so how many such lines there are at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A kind of trouble: its word in the line, how many there were ever, and from how many in one look on it is worth a line.
type Kind = (&'static str, fn(&ReactorCounters) -> u64, u64);

/// What comes about by single clients' doing is worth a word only where there are many of it.
const KINDS: [Kind; 9] = [
    (
        "slow_consumer",
        |r| r.closed[CloseReason::SlowConsumer as usize].get(),
        1,
    ),
    ("overload", |r| r.closed[CloseReason::Overload as usize].get(), 1),
    ("internal", |r| r.closed[CloseReason::Internal as usize].get(), 1),
    ("full", |r| r.refused[RefusalReason::Full as usize].get(), 1),
    ("per_ip", |r| r.refused[RefusalReason::PerIp as usize].get(), 1),
    ("token_invalid", |r| r.auth[AuthResult::Invalid as usize].get(), 10),
    (
        "rate_limited",
        |r| r.closed[CloseReason::RateLimited as usize].get(),
        10,
    ),
    (
        "protocol_error",
        |r| r.closed[CloseReason::ProtocolError as usize].get(),
        10,
    ),
    ("history_dropped", |r| r.history_dropped.get(), 1),
];

/// Looks for ever.
pub async fn run(counters: Arc<NodeCounters>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        looks.tick().await;
        if let Some(what) = watch.look(&counters) {
            let seconds = LOOK_EVERY.as_secs();
            tracing::warn!("in the last {seconds} s: {what}; docs/monitoring.md says what to do about each");
        }
    }
}

/// What had been seen at the last look.
#[derive(Default)]
struct Watch {
    seen: [u64; KINDS.len()],
}

impl Watch {
    /// What has grown since the last look, if anything is worth a line.
    fn look(&mut self, counters: &NodeCounters) -> Option<String> {
        let mut text = String::new();
        for ((word, total, least), seen) in KINDS.iter().zip(&mut self.seen) {
            let now: u64 = counters.reactors.iter().map(total).sum();
            let grown = now.saturating_sub(std::mem::replace(seen, now));
            if grown >= *least {
                let comma = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{comma}{word} {grown}");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_one_line_with_its_numbers() {
        let counters = NodeCounters::new(2);
        let mut watch = Watch::default();
        assert_eq!(watch.look(&counters), None);
        let [first, second] = [&counters.reactors[0], &counters.reactors[1]];
        first.closed[CloseReason::SlowConsumer as usize].add(1_000);
        second.closed[CloseReason::SlowConsumer as usize].add(1);
        second.refused[RefusalReason::Full as usize].add(2);
        // One client with an old token is none of the operator's business, and an end that a client wished neither.
        first.auth[AuthResult::Invalid as usize].add(9);
        first.closed[CloseReason::Client as usize].add(500);
        assert_eq!(watch.look(&counters).as_deref(), Some("slow_consumer 1001, full 2"));
        assert_eq!(watch.look(&counters), None);
        first.auth[AuthResult::Invalid as usize].add(10);
        assert_eq!(watch.look(&counters).as_deref(), Some("token_invalid 10"));
    }
}
