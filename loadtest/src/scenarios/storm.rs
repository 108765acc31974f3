//! `storm`: a share of the clients (all but a twentieth) drops the connection at once and comes back, again and again.
//! Leaves how long it takes until all are back, what it does to pushes to those who stayed (they have a worker of their
//! own), and how much of that is the node's: its own histograms of push delays and turns.

use std::time::Duration;

use super::{enter, users};
use crate::cli::{Kind, Options};
use crate::clock;
use crate::coordinator::{Load, Needs, PER_WORKER};
use crate::interrupt;
use crate::node::Inside;
use crate::plan::Command;
use crate::publisher::To;
use crate::result::Run;

/// A worker this busy while all come back, with a server that is not, was the bottleneck itself.
const BUSY_CORES: f64 = 0.85;
/// Longer than any storm.
const LONG: Duration = Duration::from_secs(600);

pub fn run(options: Options) -> Result<Run, String> {
    let raw = options.target_kind == Kind::Raw;
    let quiet = options.duration_or(5);
    let (connections, rate, storms) = (options.connections, options.rate.unwrap_or(1_000.0), options.storms);
    let share = options.share.unwrap_or(0.95);
    let stayers = match raw {
        true => 0,
        false => (f64::from(connections) * (1.0 - share))
            .round()
            .clamp(1.0, f64::from(PER_WORKER)) as u32,
    };
    let needs = Needs {
        storms: true,
        first_alone: stayers,
        ..Needs::default()
    };
    let bytes = options.bytes;
    let mut options = options;
    // One process cannot reconnect as fast as a node takes them.
    options
        .workers
        .get_or_insert(options.connections.div_ceil(PER_WORKER).max(2));
    // The storm has no window; the first connects need one, or they are a storm themselves.
    if options.connect_rate == 0.0 {
        options.connect_rate = 5_000.0;
    }
    let mut load = Load::new("storm", options, needs)?;
    enter(&mut load)?;
    load.measure()?;
    let to = To::Users(users(0..stayers));
    if raw {
        load.pass("quiet", quiet)?;
    } else {
        let before = Inside::of(&load);
        let when = load.soon(rate, quiet);
        load.publish("pushing, all quiet", when, to.clone(), bytes)?;
        Inside::of(&load).since(&before).leave(&mut load, "quiet");
        let delays = load.phase_delays("pushing, all quiet", "push")?;
        load.figure("push_p50_quiet_us", delays.at(0.5) as f64);
        load.figure("push_p99_quiet_us", delays.at(0.99) as f64);
    }
    load.phase.clear();
    let mut during = crate::histogram::Delays::default();
    let mut late = crate::histogram::Delays::default();
    let mut inside = Inside::default();
    let mut each_p99_us = Vec::new();
    let (mut longest_s, mut total_s, mut over, mut missing) = (0.0f64, 0.0, 0, 0);
    for number in 1..=storms {
        load.phase.clear();
        let logins = load.count(|tick| tick.logins);
        let when = load.soon(rate, LONG);
        let publishing = if raw {
            None
        } else {
            Some(load.begin_publish(when, to.clone(), bytes)?)
        };
        // The first pushes of the schedule are to be under way when it breaks loose.
        load.pass("quiet", Duration::from_millis(300))?;
        let inside_before = Inside::of(&load);
        let before = load.usage();
        let at_us = clock::now_us();
        load.phase.clear();
        load.tell(&Command::Storm { from: stayers, at_us })?;
        let coming = u64::from(connections - stayers);
        let back = load.wait("reconnecting", 120.0, |load| {
            load.count(|tick| tick.logins) >= logins + coming && load.connected() >= connections
        })?;
        let took_s = load.last_login_us().saturating_sub(at_us) as f64 / 1e6;
        let after = load.usage();
        inside.add(&Inside::of(&load).since(&inside_before));
        if let Some(publishing) = publishing {
            publishing.stop();
            load.end_publish("reconnecting", publishing)?;
        }
        let delays = load.phase_delays("reconnecting", "push")?;
        each_p99_us.push(delays.at(0.99));
        during.add(&delays);
        if let Some(lag) = load.phase.get("lag") {
            late.add(lag);
        }
        let (server, _, busiest) = after.cores_since(&before);
        load.figure("storm_load_cpu_cores", busiest);
        if let Some(cores) = server {
            load.figure("storm_server_cpu_cores", cores);
        }
        if busiest > BUSY_CORES && server.is_some_and(|cores| cores < BUSY_CORES) {
            load.void(format!(
                "in storm {number} a process of the load generator used {busiest:.2} of a core and the server less"
            ));
        }
        if !back {
            // There is no time until all are back, and another storm would not be like this one.
            let connected = load.connected();
            if !interrupt::asked() {
                load.note(&format!("storm {number}: only {connected} of {connections} are back"));
                missing = connections.saturating_sub(connected);
            }
            break;
        }
        over = number;
        load.figure(&format!("storm_{number}_back_s"), took_s);
        longest_s = longest_s.max(took_s);
        total_s += took_s;
        load.pass("quiet", Duration::from_secs(1))?;
    }
    if over == storms {
        load.figure("storm_back_longest_s", longest_s);
        load.figure("storm_back_mean_s", total_s / f64::from(storms.max(1)));
    }
    load.figure("storm_missing", f64::from(missing));
    if !raw && during.count() > 0 {
        load.figure("push_p50_storm_us", during.at(0.5) as f64);
        load.figure("push_p99_storm_us", during.at(0.99) as f64);
        let quiet_us = load.run.figures.get("push_p99_quiet_us").copied().unwrap_or(0.0);
        load.figure("push_p99_storm_over_quiet", during.at(0.99) as f64 / quiet_us.max(1.0));
        // One hiccup of the machine in one storm is the p99 of all of them; it is not that of most.
        each_p99_us.sort_unstable();
        if let Some(median_us) = each_p99_us.get(each_p99_us.len() / 2) {
            load.figure("push_p99_median_storm_us", *median_us as f64);
        }
        inside.leave(&mut load, "storm");
        load.figure("measuring_late_p99_storm_us", late.at(0.99) as f64);
    }
    load.settle()?;
    Ok(load.finish())
}
