//! What a worker has counted: errors by kind, delays by kind, its own lag, and the accounts. Data and small steps.

use std::collections::BTreeMap;

use crate::histogram::Delays;
use crate::plan::Tick;
use crate::result::Accounts;

/// Counts since the start; delays and lag since the last tick.
#[derive(Default)]
pub struct Tally {
    /// Clients that are logged in.
    pub connected: u32,
    /// Logins.
    pub logins: u64,
    /// Messages that came.
    pub received: u64,
    /// Messages that clients sent.
    pub sent: u64,
    /// Of these, broadcasts.
    pub broadcasts: u32,
    /// When the last login was.
    pub last_login_us: u64,
    /// When the last message came.
    pub last_received_us: u64,
    /// The accounts since `Measure`.
    pub accounts: Accounts,
    errors: BTreeMap<String, u64>,
    delays: BTreeMap<&'static str, Delays>,
    /// How late the worker was, and how long its turns took.
    pub lag: Delays,
    /// Idle time that has not made a millisecond yet.
    idle_us: u64,
}

/// One turn of the worker's loop, in microseconds of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// When it was ready to wait.
    pub before_us: u64,
    /// Until when it wanted to wait at most; `before_us` if not at all.
    pub wanted_us: u64,
    /// When it went on.
    pub began_us: u64,
    /// When everything was done.
    pub ended_us: u64,
    /// What the kernel had told of.
    pub events: u64,
}

impl Tally {
    /// One more error.
    pub fn error(&mut self, kind: &str) {
        match self.errors.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.errors.insert(kind.to_owned(), 1);
            }
        }
    }

    /// One more delay.
    pub fn delay(&mut self, kind: &'static str, us: u64) {
        self.delays.entry(kind).or_default().record(us);
    }

    /// A turn is over. What came while it worked, or while it should have been awake and was not, had to wait so long: the
    /// turn counts once an event, and once a millisecond, or thousands of short turns would hide it. Idle time counts by the
    /// millisecond as well, or one hiccup would be most of what a worker with little to do has seen.
    pub fn turn(&mut self, turn: &Turn) {
        let late_us = turn.began_us.saturating_sub(turn.wanted_us.max(turn.before_us));
        self.idle_us += (turn.began_us - turn.before_us).saturating_sub(late_us);
        self.lag.record_n(1, self.idle_us / 1_000);
        self.idle_us %= 1_000;
        let busy_us = late_us + turn.ended_us.saturating_sub(turn.began_us);
        self.lag.record_n(busy_us, 1 + busy_us / 1_000 + turn.events);
    }

    /// What the coordinator is told; begins the next interval.
    pub fn tick(&mut self, missing: u32) -> Tick {
        let delays = self.delays.iter_mut().filter(|(_, delays)| delays.count() > 0);
        let delays = delays.map(|(kind, delays)| {
            let text = delays.to_text();
            delays.clear();
            ((*kind).to_owned(), text)
        });
        let tick = Tick {
            connected: self.connected,
            missing,
            logins: self.logins,
            received: self.received,
            sent: self.sent,
            broadcasts: self.broadcasts,
            last_login_us: self.last_login_us,
            last_received_us: self.last_received_us,
            errors: self.errors.clone(),
            delays: delays.collect(),
            lag: self.lag.to_text(),
        };
        self.lag.clear();
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty seconds of a worker to which something comes every so many microseconds, handled in 50; at these moments it
    /// is kept from its core for so long.
    fn p99_us(every_us: u64, kept_at_us: &[u64], kept_us: u64) -> u64 {
        let mut tally = Tally::default();
        let (mut now_us, mut waiting) = (0, 0);
        let mut kept_at_us = kept_at_us.iter().copied().peekable();
        while now_us < 20_000_000 {
            let before_us = now_us;
            let wait_us = if waiting > 0 { 0 } else { every_us.min(20_000) };
            let kept = kept_at_us.next_if(|at_us| *at_us <= before_us).map_or(0, |_| kept_us);
            let began_us = before_us + wait_us.max(kept);
            let events = ((began_us - before_us) / every_us).max(u64::from(wait_us == every_us));
            let ended_us = began_us + 50 * events.max(1);
            waiting = (ended_us - began_us) / every_us;
            tally.turn(&Turn {
                before_us,
                wanted_us: before_us + 20_000,
                began_us,
                ended_us,
                events,
            });
            now_us = ended_us;
        }
        tally.lag.at(0.99)
    }

    fn each_second() -> Vec<u64> {
        (1..20).map(|second| second * 1_000_000).collect()
    }

    #[test]
    fn a_worker_that_is_kept_from_its_core_is_late_however_much_comes() {
        for every_us in [100, 1_000, 10_000, 500_000] {
            assert!(
                p99_us(every_us, &each_second(), 150_000) > 20_000,
                "every {every_us} us"
            );
        }
    }

    #[test]
    fn one_hiccup_does_not_make_it_late() {
        for every_us in [100, 1_000, 10_000, 500_000] {
            assert!(p99_us(every_us, &[5_000_000], 45_000) < 20_000, "every {every_us} us");
        }
    }

    #[test]
    fn long_turns_are_late_though_they_are_rare() {
        let mut tally = Tally::default();
        for second in 0..20 {
            // A fan-out that takes it 60 ms to read, every second.
            let before_us = second * 1_000_000;
            tally.turn(&Turn {
                before_us,
                wanted_us: before_us + 940_000,
                began_us: before_us + 940_000,
                ended_us: before_us + 1_000_000,
                events: 1_000,
            });
        }
        assert!(tally.lag.at(0.99) >= 60_000);
    }
}
