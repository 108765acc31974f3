//! `soak`: for hours, a tenth of the clients comes and goes, the others hold, get pushes to single users and now and then
//! one to everybody, and call. Leaves how the server's memory grew.

use std::time::Duration;

use super::users;
use crate::cli::Options;
use crate::coordinator::{Load, Needs};
use crate::nats;
use crate::plan::{Command, When};
use crate::publisher::To;
use crate::result::{Run, Sample};

/// Pushes to everybody a second.
const FANOUTS_PER_S: f64 = 0.1;

pub fn run(options: Options) -> Result<Run, String> {
    let (rate, lasts, bytes, stay) = (
        options.rate.unwrap_or(200.0),
        options.duration_or(3_600),
        options.bytes,
        options.stay,
    );
    let (connections, connect_rate) = (options.connections, options.connect_rate);
    let visitors = (connections / 10).clamp(1, 10_000);
    let needs = Needs {
        bus: options.bus,
        first_alone: visitors,
        ..Needs::default()
    };
    let holders = users(visitors..connections);
    if holders.is_empty() {
        return Err("a soak needs more connections".to_owned());
    }
    let mut load = Load::new("soak", options, needs)?;
    let path = super::call::path(&load);
    if let (Some(address), true) = (&load.options.nats, path.as_deref() != Some("ping")) {
        let started = nats::start_responder(address, &load.options.prefix);
        started.map_err(|error| format!("NATS at {address}: {error}"))?;
    }
    load.connect(connections, connect_rate)?;
    load.measure()?;
    let when = load.soon(rate, lasts);
    // The first visitors leave before others come.
    let visits = When {
        at_us: when.at_us + stay.as_micros() as u64 * 3 / 2,
        per_second: f64::from(visitors) / 2.0 / stay.as_secs_f64().max(0.001),
        ..when
    };
    // Those who are in stay in until the connection ends; what they leave free comes and goes.
    let churn = Command::Churn {
        when: visits,
        stay_ms: stay.as_millis() as u64,
    };
    load.tell_worker(0, &churn)?;
    let calls = When {
        per_second: rate / 2.0,
        ..when
    };
    load.tell_others(
        &|when| Command::Calls {
            when,
            bytes,
            path: path.clone(),
        },
        calls,
    )?;
    let pushes = load.begin_publish(when, To::Users(holders), bytes)?;
    let everybody = When {
        per_second: FANOUTS_PER_S.max(2.0 / lasts.as_secs_f64()),
        ..when
    };
    let fanouts = load.begin_publish(everybody, To::All, bytes)?;
    let done = load.end_publish("soaking", pushes)?;
    load.end_publish("soaking", fanouts)?;
    super::published(&mut load, &done);
    let gone = stay.as_secs_f64() * 1.5 + 30.0;
    let stayers = connections - visitors;
    load.wait("visitors leave", gone, |load| load.connected() <= stayers)?;
    load.pass("visitors leave", Duration::from_millis(500))?;
    load.settle()?;
    if let Some(growth) = growth(&load.run.samples) {
        load.figure("resident_growth_bytes_per_hour", growth);
    }
    Ok(load.finish())
}

/// Growth of the resident memory over the last half of the run: a line through the samples, bytes an hour.
fn growth(samples: &[Sample]) -> Option<f64> {
    let points: Vec<(f64, f64)> = samples[samples.len() / 2..]
        .iter()
        .filter_map(|sample| Some((sample.at_ms as f64 / 3.6e6, sample.server_resident_bytes? as f64)))
        .collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (hours, bytes) = (mean(|point| point.0), mean(|point| point.1));
    let (mut over, mut under) = (0.0, 0.0);
    for (hour, resident) in &points {
        over += (hour - hours) * (resident - bytes);
        under += (hour - hours) * (hour - hours);
    }
    (under > 0.0).then(|| over / under)
}
