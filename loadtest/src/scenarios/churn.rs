//! `churn`: clients come at a rate, stay a while, and leave with a close frame, while pushes go to all of them: who is away
//! is owed nothing, who is there is owed everything. Leaves the delay of a login and what one costs the server.

use std::time::Duration;

use super::{published, server_s, users};
use crate::cli::{Kind, Options};
use crate::coordinator::{Load, Needs};
use crate::plan::Command;
use crate::publisher::To;
use crate::result::Run;

/// Pushes a second meanwhile.
const PUSHES_PER_S: f64 = 200.0;

pub fn run(options: Options) -> Result<Run, String> {
    let (lasts, stay, bytes) = (options.duration_or(20), options.stay, options.bytes);
    let raw = options.target_kind == Kind::Raw;
    // Half of the clients are there at a time.
    let usual = f64::from(options.connections) / 2.0 / stay.as_secs_f64().max(0.001);
    let rate = options.rate.unwrap_or(usual);
    let everybody = users(0..options.connections);
    let mut load = Load::new("churn", options, Needs::default())?;
    // Nearly every push is the first one after a login: without the times nothing that is missing would be a proven loss.
    load.ledger.taken = Some(Vec::new());
    load.measure()?;
    let before = load.usage();
    let when = load.soon(rate, lasts);
    let stay_ms = stay.as_millis() as u64;
    load.tell_shares(when, |when| Command::Churn { when, stay_ms })?;
    if raw {
        load.pass("coming and going", lasts)?;
    } else {
        let pushes = load.soon(PUSHES_PER_S, lasts);
        let done = load.publish("coming and going", pushes, To::Users(everybody), bytes)?;
        published(&mut load, &done);
    }
    let gone = stay.as_secs_f64() * 1.5 + 30.0;
    load.wait("leaving", gone, |load| {
        load.connected() == 0 && load.count(|tick| tick.logins) > 0
    })?;
    let after = load.usage();
    let not_made = load.errors().get("churn_without_free_client").copied().unwrap_or(0);
    if not_made as f64 > rate * lasts.as_secs_f64() / 100.0 {
        load.void(format!(
            "{not_made} visits had nobody to make them: all clients were there (more --connections, a shorter --stay, or less --rate)"
        ));
    }
    let logins = load.count(|tick| tick.logins) as f64;
    load.figure("logins", logins);
    load.figure("logins_per_s", logins / lasts.as_secs_f64().max(1e-6));
    if let Some(cpu_s) = server_s(&before, &after) {
        load.figure("visits_per_server_cpu_s", logins / cpu_s);
    }
    load.pass("leaving", Duration::from_millis(300))?;
    load.settle()?;
    Ok(load.finish())
}
