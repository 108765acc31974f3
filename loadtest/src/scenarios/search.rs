//! `search`: raises the load step by step until the p99 passes the bound or something is lost, then halves the distance,
//! and names the knee: the most that held. Raises pushes a second, or connections.

use std::time::Duration;

use super::{enter, users};
use crate::cli::{Options, Raise};
use crate::coordinator::{Load, Needs};
use crate::interrupt;
use crate::publisher::To;
use crate::result::Run;

/// Doublings, then halvings, at most.
const STEPS: u32 = 12;
const HALVINGS: u32 = 4;

pub fn run(options: Options) -> Result<Run, String> {
    match options.raise {
        Raise::Push => pushes(options),
        Raise::Connections => connections(options),
    }
}

fn pushes(options: Options) -> Result<Run, String> {
    let (first, step, bytes) = (options.rate.unwrap_or(500.0), options.duration_or(5), options.bytes);
    let bound_us = options.bound.as_micros() as u64;
    let needs = Needs {
        bus: options.bus,
        ..Needs::default()
    };
    let to = To::Users(users(0..options.connections));
    let mut load = Load::new("search", options, needs)?;
    enter(&mut load)?;
    load.measure()?;
    let (mut good, mut bad, mut rate) = (0.0f64, None::<f64>, first);
    let (mut steps, mut halvings, mut why) = (0, 0, "nothing broke the bound".to_owned());
    while steps < STEPS && halvings <= HALVINGS && !interrupt::asked() {
        steps += 1;
        load.phase.clear();
        let received = load.count(|tick| tick.received);
        let busy = load.usage();
        let when = load.soon(rate, step);
        let doing = format!("{rate:.0} pushes a second");
        let done = load.publish(&doing, when, to.clone(), bytes)?;
        let p99_us = load.phase_delays(&doing, "push")?.at(0.99);
        let (_, _, busiest) = load.usage().cores_since(&busy);
        let came = load.count(|tick| tick.received) - received;
        let broken = if p99_us > bound_us {
            Some(format!("p99 {:.1} ms", p99_us as f64 / 1e3))
        } else if came < done.sent || !done.errors.is_empty() {
            Some(format!("{came} of {} came, errors {:?}", done.sent, done.errors))
        } else {
            None
        };
        let verdict = broken.as_deref().unwrap_or("holds");
        load.note(&format!(
            "{rate:.0} pushes a second: p99 {:.1} ms, load generator {busiest:.2} cores: {verdict}",
            p99_us as f64 / 1e3
        ));
        match broken {
            None => good = good.max(rate),
            Some(reason) => {
                if busiest > 0.85 {
                    load.void(format!(
                        "at {rate:.0} pushes a second the load generator was busy itself ({busiest:.2} cores)"
                    ));
                }
                why = reason;
                bad = Some(bad.map_or(rate, |bad| bad.min(rate)));
            }
        }
        rate = match bad {
            None => rate * 2.0,
            Some(bad) => {
                halvings += 1;
                (good + bad) / 2.0
            }
        };
        if rate < 1.0 {
            break;
        }
    }
    load.figure("knee_pushes_per_s", good);
    load.figure("knee_broken_at_pushes_per_s", bad.unwrap_or(0.0));
    load.run.settings.insert("knee_because".to_owned(), why);
    load.settle()?;
    Ok(load.finish())
}

fn connections(options: Options) -> Result<Run, String> {
    let most = options.connections;
    let (step, bound_us) = (
        options.rate.map_or((most / 10).max(1), |rate| rate as u32).max(1),
        options.bound.as_micros() as u64,
    );
    let rest = options.duration_or(2);
    let rate = if options.connect_rate > 0.0 {
        options.connect_rate
    } else {
        1_000.0
    };
    let mut load = Load::new("search", options, Needs::default())?;
    load.measure()?;
    let (mut good, mut why) = (0, "all got in".to_owned());
    let mut wanted = step;
    loop {
        let wanted_now = wanted.min(most);
        load.phase.clear();
        let came = load.connect(wanted_now, rate);
        let p99_us = load.phase_delays("connecting", "login")?.at(0.99);
        load.pass("holding", rest.max(Duration::from_millis(100)))?;
        let here = load.connected();
        if let Err(reason) = came {
            why = reason;
            break;
        }
        if p99_us > bound_us || here < wanted_now {
            why = format!(
                "login p99 {:.1} ms, {here} of {wanted_now} connected",
                p99_us as f64 / 1e3
            );
            break;
        }
        good = wanted_now;
        if good == most {
            break;
        }
        wanted += step;
    }
    load.figure("knee_connections", f64::from(good));
    load.run.settings.insert("knee_because".to_owned(), why);
    load.settle()?;
    Ok(load.finish())
}
