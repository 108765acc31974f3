//! How fast a reactor lets newcomers in: as fast as it can, until it falls behind; then slower, so that those who are
//! connected do not wait behind those who are not. Newcomers wait in the kernel's queue meanwhile. Plain state, time is
//! passed in; the reactor says how far it was behind in each turn, and asks before it accepts.
//!
//! The rate is found as TCP finds its own (additive increase, multiplicative decrease; Chiu and Jain 1989): halved while the
//! reactor is behind, raised by a tenth while it is not.

use crate::node::LOGINS_PER_S_A_REACTOR;

/// Behind by more than this, newcomers are let in more slowly. A turn with all of its budgets spent takes some 3 ms.
const LAG_MAX_US: u64 = 20_000;
/// How often the rate is looked at.
const INTERVAL_US: u64 = 100_000;
/// However far the reactor is behind, so many a second get in: a twentieth of what it can do. It may be behind for other
/// reasons and for long, others rely on it (the node announces this rate), and those who wait in the kernel's queue give
/// up in the end: with fewer, the queue would come to hold none but those.
const RATE_MIN_PER_S: u64 = LOGINS_PER_S_A_REACTOR as u64;
/// Past this rate nothing is held back any more: no reactor accepts more.
const RATE_MAX_PER_S: u64 = 50_000;
/// What may be let in at once after a pause.
const BURST_US: u64 = 50_000;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Admission {
    /// Found by lag; `None`: nothing is held back.
    rate_per_s: Option<u64>,
    /// Newcomers that may come now, in millionths.
    credit: u64,
    credited_us: u64,
    interval_began_us: u64,
    lag_longest_us: u64,
    let_in: u64,
    /// Since when work has been left over from one turn to the next.
    behind_since_us: Option<u64>,
}

impl Admission {
    pub fn new() -> Self {
        Self {
            rate_per_s: None,
            credit: 0,
            credited_us: 0,
            interval_began_us: 0,
            lag_longest_us: 0,
            let_in: 0,
            behind_since_us: None,
        }
    }

    /// A turn began at `began_us` and is over; `left_over` says that it could not do all there was to do. True if from now
    /// on newcomers are held back, and were not before.
    pub fn turned(&mut self, began_us: u64, now_us: u64, left_over: bool) -> bool {
        let behind_since_us = self.behind_since_us.unwrap_or(began_us);
        self.behind_since_us = left_over.then_some(behind_since_us);
        self.lag_longest_us = self.lag_longest_us.max(now_us.saturating_sub(behind_since_us));
        let passed_us = now_us.saturating_sub(self.interval_began_us);
        if passed_us < INTERVAL_US {
            return false;
        }
        let came_per_s = self.let_in * 1_000_000 / passed_us;
        let (before, lag_us) = (self.rate_per_s, self.lag_longest_us);
        // Without newcomers it is not they who hold the reactor up.
        if lag_us > LAG_MAX_US && (self.let_in > 0 || before.is_some()) {
            let rate = before.unwrap_or(came_per_s).min(came_per_s.max(RATE_MIN_PER_S));
            self.rate_per_s = Some((rate / 2).max(RATE_MIN_PER_S));
        } else if lag_us <= LAG_MAX_US / 2
            && let Some(rate) = before
        {
            let raised = rate + rate / 10 + 10;
            self.rate_per_s = (raised < RATE_MAX_PER_S).then_some(raised);
        }
        self.interval_began_us = now_us;
        self.lag_longest_us = 0;
        self.let_in = 0;
        before.is_none() && self.rate_per_s.is_some()
    }

    /// How many may be let in now, at most `most`.
    pub fn allowed(&mut self, now_us: u64, most: usize) -> usize {
        let Some(rate) = self.rate_per_s else { return most };
        let passed_us = now_us.saturating_sub(self.credited_us);
        self.credited_us = now_us;
        self.credit = (self.credit + rate * passed_us.min(1_000_000)).min(rate * BURST_US);
        most.min((self.credit / 1_000_000) as usize)
    }

    /// One was let in.
    pub fn took(&mut self) {
        self.let_in += 1;
        if self.rate_per_s.is_some() {
            self.credit = self.credit.saturating_sub(1_000_000);
        }
    }

    /// When the next may be let in, if that is not now.
    pub fn next_us(&self, now_us: u64) -> Option<u64> {
        let rate = self.rate_per_s?;
        let credit = self.credit + rate * now_us.saturating_sub(self.credited_us);
        let missing = 1_000_000_u64.saturating_sub(credit);
        (missing > 0).then(|| now_us + missing.div_ceil(rate))
    }

    /// Newcomers a second while the reactor holds back; `None`: it does not.
    pub fn held_back_to(&self) -> Option<u64> {
        self.rate_per_s
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Turns of `turn_us` for `for_us`, each letting in all that may come of a crowd; how many came.
    fn run(admission: &mut Admission, now_us: &mut u64, for_us: u64, turn_us: u64, left_over: bool) -> u64 {
        let (end_us, mut came) = (*now_us + for_us, 0);
        while *now_us < end_us {
            let began_us = *now_us;
            for _ in 0..admission.allowed(began_us, 16) {
                admission.took();
                came += 1;
            }
            *now_us += turn_us;
            admission.turned(began_us, *now_us, left_over);
        }
        came
    }

    #[test]
    fn a_reactor_that_keeps_up_holds_nobody_back() {
        let (mut admission, mut now_us) = (Admission::new(), 0);
        assert_eq!(run(&mut admission, &mut now_us, 1_000_000, 2_000, false), 500 * 16);
        assert_eq!(admission.held_back_to(), None);
        assert_eq!(admission.next_us(now_us), None);
    }

    #[test]
    fn one_that_falls_behind_lets_in_fewer_and_fewer_but_some() {
        let (mut admission, mut now_us) = (Admission::new(), 0);
        run(&mut admission, &mut now_us, 300_000, 2_000, true);
        let early = admission.held_back_to();
        assert!(early.is_some_and(|rate| rate < 8_000), "{early:?}");
        run(&mut admission, &mut now_us, 3_000_000, 2_000, true);
        assert_eq!(admission.held_back_to(), Some(RATE_MIN_PER_S));
        let came = run(&mut admission, &mut now_us, 1_000_000, 2_000, true);
        assert!((950..=1_050).contains(&came), "{came}");
    }

    #[test]
    fn one_that_has_caught_up_opens_again() {
        let (mut admission, mut now_us) = (Admission::new(), 0);
        run(&mut admission, &mut now_us, 3_000_000, 2_000, true);
        run(&mut admission, &mut now_us, 10_000_000, 2_000, false);
        assert_eq!(admission.held_back_to(), None);
    }

    #[test]
    fn who_is_behind_without_newcomers_keeps_the_door_open() {
        let mut admission = Admission::new();
        for turn in 0..100 {
            admission.turned(turn * 50_000, (turn + 1) * 50_000, true);
        }
        assert_eq!(admission.held_back_to(), None);
    }

    proptest! {
        /// Whatever the turns are like: after the wait that it names somebody may come, and never more than the rate and
        /// one burst.
        #[test]
        fn nobody_is_locked_out_and_the_rate_holds(
            turns in proptest::collection::vec((1_u64..30_000, any::<bool>()), 1..200),
        ) {
            let (mut admission, mut now_us) = (Admission::new(), 0);
            // What came since the rate last changed, and the rate.
            let (mut came, mut since_us, mut rate) = (0_u64, 0, None);
            for (turn_us, left_over) in turns {
                for _ in 0..admission.allowed(now_us, 1_000) {
                    admission.took();
                    came += 1;
                }
                if let Some(next_us) = admission.next_us(now_us) {
                    prop_assert!(next_us > now_us && next_us <= now_us + 1_000_000);
                    let mut later = Admission { ..admission };
                    prop_assert!(later.allowed(next_us, 1) == 1);
                }
                if let Some(rate) = rate {
                    let most = rate * (now_us - since_us + BURST_US) / 1_000_000 + 1;
                    prop_assert!(came <= most, "{} came in {} us at {} a second", came, now_us - since_us, rate);
                }
                admission.turned(now_us, now_us + turn_us, left_over);
                now_us += turn_us;
                if admission.held_back_to() != rate {
                    (came, since_us, rate) = (0, now_us - turn_us, admission.held_back_to());
                }
            }
        }
    }
}
