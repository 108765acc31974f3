//! `push`: pushes to random users on an open-loop schedule. `fanout`: pushes to everybody or to topics at a rate. Both
//! leave the delay from the intended time to the client, and what a delivery costs the server.

use super::{enter, published, server_s, users};
use crate::cli::{Kind, Options};
use crate::coordinator::{Load, Needs};
use crate::plan::Command;
use crate::publisher::To;
use crate::result::Run;

pub fn run(options: Options) -> Result<Run, String> {
    let (rate, lasts, bytes) = (options.rate.unwrap_or(1_000.0), options.duration_or(20), options.bytes);
    let needs = Needs {
        bus: options.bus,
        ..Needs::default()
    };
    let everybody = users(0..options.connections);
    let mut load = Load::new("push", options, needs)?;
    enter(&mut load)?;
    load.measure()?;
    let before = load.usage();
    let when = load.soon(rate, lasts);
    let done = load.publish("pushing", when, To::Users(everybody), bytes)?;
    let after = load.usage();
    published(&mut load, &done);
    let accounts = load.settle()?;
    load.figure("pushes_per_s", done.sent as f64 / lasts.as_secs_f64().max(1e-6));
    if let Some(cpu_s) = server_s(&before, &after) {
        load.figure("deliveries_per_server_cpu_s", accounts.received as f64 / cpu_s);
    }
    Ok(load.finish())
}

pub fn fanout(options: Options) -> Result<Run, String> {
    let (rate, lasts, bytes) = (options.rate.unwrap_or(2.0), options.duration_or(20), options.bytes);
    let (kind, broadcast, topics) = (options.target_kind, options.broadcast, options.topics);
    if kind == Kind::Raw && !broadcast {
        return Err(
            "fanout of a raw target needs --broadcast: a server that sends every message on to everybody".to_owned(),
        );
    }
    let needs = Needs {
        bus: options.bus,
        // Who sends the broadcasts of a raw server has a worker of its own.
        first_alone: u32::from(kind == Kind::Raw),
        ..Needs::default()
    };
    let mut load = Load::new("fanout", options, needs)?;
    enter(&mut load)?;
    load.measure()?;
    let before = load.usage();
    let when = load.soon(rate, lasts);
    if kind == Kind::Raw {
        load.tell_worker(0, &Command::Broadcast { when, bytes })?;
        load.pass("broadcasting", lasts + std::time::Duration::from_millis(700))?;
    } else {
        let to = if topics > 0 { To::Topics(topics) } else { To::All };
        let done = load.publish("fanning out", when, to, bytes)?;
        published(&mut load, &done);
    }
    // What is still being written belongs to it.
    let mut received = 0;
    loop {
        load.pass("fanning out", std::time::Duration::from_millis(600))?;
        let now = load.count(|tick| tick.received);
        if now == received {
            break;
        }
        received = now;
    }
    let after = load.usage();
    let accounts = load.settle()?;
    let seconds = load.last_received_us().saturating_sub(when.at_us) as f64 / 1e6;
    load.figure("deliveries_per_s", accounts.received as f64 / seconds.max(1e-6));
    if let Some(cpu_s) = server_s(&before, &after) {
        load.figure("deliveries_per_server_cpu_s", accounts.received as f64 / cpu_s);
    }
    Ok(load.finish())
}
