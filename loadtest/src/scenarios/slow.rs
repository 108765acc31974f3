//! `slow`: a share of the clients stops reading while large pushes go to them; pushes to the others are measured when all
//! is quiet, while the same large pushes go to the same clients who still read, and when these do not. Leaves the p99 of
//! all three and how many slow clients the gateway closed.

use std::time::Duration;

use super::enter;
use crate::cli::Options;
use crate::coordinator::{Load, Needs};
use crate::http;
use crate::node::Inside;
use crate::plan::Command;
use crate::publisher::To;
use crate::result::Run;

/// Bytes of a push to a slow client.
const LARGE: u32 = 60_000;
/// So many of them go to each slow client: more than the usual bound of its queue (1 MiB) and the most that the kernel
/// usually keeps for a socket (4 MiB).
const EACH: f64 = 120.0;

pub fn run(options: Options) -> Result<Run, String> {
    let (rate, lasts, bytes) = (options.rate.unwrap_or(500.0), options.duration_or(20), options.bytes);
    let slow_per_mille = ((options.share.unwrap_or(0.01) * 1_000.0).round() as u32).clamp(1, 999);
    let needs = Needs {
        slow_per_mille,
        bus: options.bus,
        ..Needs::default()
    };
    let slow = |number: &u32| number % 1_000 < slow_per_mille;
    let (slowly, quickly): (Vec<u32>, Vec<u32>) = (0..options.connections).partition(slow);
    if quickly.is_empty() || slowly.is_empty() {
        return Err("too few connections: some have to be slow and some not".to_owned());
    }
    let count = slowly.len() as f64;
    let (slowly, quickly) = (To::Users(slowly.into()), To::Users(quickly.into()));
    let mut load = Load::new("slow", options, needs)?;
    enter(&mut load)?;
    load.measure()?;
    let closed_before = closed(&load)?;
    let before = Inside::of(&load);
    let when = load.soon(rate, lasts / 2);
    load.publish("pushing, all read", when, quickly.clone(), bytes)?;
    let quiet = load.phase_delays("pushing, all read", "push")?;
    Inside::of(&load).since(&before).leave(&mut load, "quiet");
    // What large pushes do is not what slow readers do: first the same ones, to clients who read them.
    let beside_large = |load: &mut Load, doing: &str, when: &str| {
        load.phase.clear();
        let before = Inside::of(load);
        let healthy = load.begin_publish(load.soon(rate, lasts / 2), quickly.clone(), bytes)?;
        let large = load.soon(count * EACH / (lasts.as_secs_f64() / 2.0).max(0.1), lasts / 2);
        let filling = load.begin_publish(large, slowly.clone(), LARGE)?;
        load.end_publish(doing, healthy)?;
        load.end_publish(doing, filling)?;
        let delays = load.phase_delays(doing, "push")?;
        Inside::of(load).since(&before).leave(load, when);
        Ok::<_, String>(delays)
    };
    let large = beside_large(&mut load, "pushing, all read large ones too", "large")?;
    load.tell(&Command::Slow { stop: true })?;
    load.pass("some stop reading", Duration::from_millis(300))?;
    let during = beside_large(&mut load, "pushing, some do not read", "slow")?;
    // A close is counted when it is over, at the latest two seconds after its frame.
    load.pass("the gateway closes", Duration::from_secs(3))?;
    // The gateway says how many it closed: they themselves will hear of it only when they have read all that came before.
    let gone = closed(&load)? - closed_before;
    load.tell(&Command::Slow { stop: false })?;
    load.pass("all read again", Duration::from_secs(1))?;
    load.figure("slow_clients", count);
    load.figure("slow_clients_closed", gone);
    load.figure("push_p50_quiet_us", quiet.at(0.5) as f64);
    load.figure("push_p99_quiet_us", quiet.at(0.99) as f64);
    load.figure("push_p99_large_us", large.at(0.99) as f64);
    load.figure("push_p50_slow_us", during.at(0.5) as f64);
    load.figure("push_p99_slow_us", during.at(0.99) as f64);
    load.figure(
        "push_p99_slow_over_quiet",
        during.at(0.99) as f64 / quiet.at(0.99).max(1) as f64,
    );
    load.figure(
        "push_p99_slow_over_large",
        during.at(0.99) as f64 / large.at(0.99).max(1) as f64,
    );
    load.settle()?;
    Ok(load.finish())
}

/// How many connections the gateway has closed because they were too slow.
fn closed(load: &Load) -> Result<f64, String> {
    let key = load.options.key.as_deref();
    let metrics = http::get(load.api()?, key, "/metrics").map_err(|error| format!("/metrics: {error}"))?;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("longwire_closed_total") && line.contains("\"slow_consumer\""));
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(count.unwrap_or(0.0))
}
