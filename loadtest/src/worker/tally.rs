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
