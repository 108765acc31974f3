//! `call`: clients call at a rate, and a service that runs in the coordinator answers over NATS; without a NATS the
//! gateway's own `ping` is called. With a raw target and `--echo`: messages that come back. Leaves the delay of a reply.

use std::time::Duration;

use super::{enter, server_s};
use crate::cli::{Kind, Options};
use crate::coordinator::{Load, Needs};
use crate::nats;
use crate::plan::Command;
use crate::result::Run;

pub fn run(options: Options) -> Result<Run, String> {
    let (rate, lasts, bytes) = (options.rate.unwrap_or(1_000.0), options.duration_or(20), options.bytes);
    let raw = options.target_kind == Kind::Raw;
    if raw && !options.echo {
        return Err("call of a raw target needs --echo: a server that sends every message back".to_owned());
    }
    let needs = Needs {
        bus: options.path.as_deref() != Some("ping"),
        ..Needs::default()
    };
    let mut load = Load::new("call", options, needs)?;
    let path = path(&load);
    if let (Some(address), Some(path)) = (&load.options.nats, &path)
        && path != "ping"
    {
        let started = nats::start_responder(address, &load.options.prefix);
        started.map_err(|error| format!("NATS at {address}: {error}"))?;
    }
    load.run
        .settings
        .insert("path".to_owned(), path.clone().unwrap_or_else(|| "echo".to_owned()));
    enter(&mut load)?;
    load.measure()?;
    let before = load.usage();
    let when = load.soon(rate, lasts);
    load.tell_shares(when, |when| Command::Calls {
        when,
        bytes,
        path: path.clone(),
    })?;
    load.pass("calling", lasts + Duration::from_millis(700))?;
    let after = load.usage();
    let accounts = load.settle()?;
    load.figure("calls_per_s", accounts.due as f64 / lasts.as_secs_f64().max(1e-6));
    if let Some(cpu_s) = server_s(&before, &after) {
        load.figure("calls_per_server_cpu_s", accounts.received as f64 / cpu_s);
    }
    Ok(load.finish())
}

/// What is called; none: a raw server.
pub fn path(load: &Load) -> Option<String> {
    if load.options.target_kind == Kind::Raw {
        return None;
    }
    let usual = if load.options.nats.is_some() {
        "load/echo"
    } else {
        "ping"
    };
    Some(load.options.path.clone().unwrap_or_else(|| usual.to_owned()))
}
