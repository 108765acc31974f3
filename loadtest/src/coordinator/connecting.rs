//! When connecting is hopeless, and what to do about it. Only looks and words.

use std::collections::BTreeMap;

use super::{Load, finish};
use crate::interrupt;

/// Nobody got in for so long while attempts failed: nobody will, microseconds.
const HOPELESS_US: u64 = 20_000_000;

/// Whether it is still worth waiting.
pub struct Hope {
    logins: u64,
    since_us: u64,
    failed: u64,
    patience_us: u64,
}

impl Hope {
    /// Begins now. What failed before says nothing; and where so few are to come in a second that 20 s bring nobody, that
    /// says nothing either.
    pub fn new(load: &Load, now_us: u64, per_second: f64) -> Self {
        let pause_us = if per_second > 0.0 { (1e7 / per_second) as u64 } else { 0 };
        Self {
            logins: load.count(|tick| tick.logins),
            since_us: now_us,
            failed: load.errors().values().sum(),
            patience_us: HOPELESS_US.max(pause_us),
        }
    }

    /// Nobody got in for a while, though they tried.
    pub fn is_lost(&mut self, load: &Load, now_us: u64) -> bool {
        let logins = load.count(|tick| tick.logins);
        let failed = load.errors().values().sum();
        if logins != self.logins {
            (self.logins, self.since_us, self.failed) = (logins, now_us, failed);
        }
        now_us > self.since_us + self.patience_us && failed > self.failed
    }
}

impl Load {
    /// Errors of the workers so far, by kind.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        finish::errors(&self.workers)
    }
}

/// Why not all of them got in.
pub fn why_not(load: &Load, below: u32) -> String {
    let errors = load.errors();
    let why = if interrupt::asked() {
        "interrupted: ".to_owned()
    } else {
        String::new()
    };
    let connected = load.connected();
    format!(
        "{why}only {connected} of {below} got in; errors: {errors:?}{}",
        hint(&errors)
    )
}

/// What to do about the error that there is most of.
fn hint(errors: &BTreeMap<String, u64>) -> String {
    let most = errors.iter().max_by_key(|(_, count)| **count);
    let what = match most.map(|(kind, _)| kind.as_str()) {
        Some("login_refused") => "is --secret or --config that of this gateway?",
        Some("refused_429") => {
            "the gateway limits connections of one address (limits.connections_per_ip): say several with --source"
        }
        Some("refused_503") => "the gateway is full or draining (server.connections_max, its descriptor limit)",
        Some("refused_404") => "is the path of --target the gateway's? (longwire's is /ws)",
        Some("refused_0") => "does a WebSocket server listen on --target?",
        Some("no_port_left") => {
            "each pair of --source and --target has some 28,000 ports: say several, and only addresses of this host"
        }
        Some("no_descriptor_left") => {
            "the descriptor limit of this shell is too low (ulimit -n), or say more --workers"
        }
        _ => return String::new(),
    };
    format!(" ({what})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_error_comes_with_what_to_do() {
        let errors = BTreeMap::from([("login_refused".to_owned(), 90), ("connection_lost".to_owned(), 1)]);
        assert!(hint(&errors).contains("--secret"));
        assert_eq!(hint(&BTreeMap::new()), "");
    }
}
