//! `hold`: clients connect and log in, at a rate or as fast as admitted, stay, and answer pings. Leaves the cost of a held
//! connection in memory, of a login in CPU, and the CPU of holding.

use std::time::Duration;

use super::server_s;
use crate::cli::Options;
use crate::coordinator::{Load, Needs};
use crate::result::Run;
use crate::sampler;

pub fn run(options: Options) -> Result<Run, String> {
    let idle = options.duration_or(30);
    let (connections, rate) = (options.connections, options.rate.unwrap_or(options.connect_rate));
    let mut load = Load::new("hold", options, Needs::default())?;
    // What the first few cost (pools, arenas, code pages) is not what each costs.
    let warm = (connections / 10).min(100);
    load.connect(warm, 0.0)?;
    load.pass("warming up", Duration::from_secs(1))?;
    let resident_before = load.server().and_then(sampler::resident_exactly);
    let kernel_before = sampler::kernel_tcp_bytes();
    let before = load.usage();
    let seconds = load.connect(connections, rate)?;
    let connected = load.usage();
    load.figure("connect_s", seconds);
    let newcomers = f64::from(connections - warm);
    load.figure("logins_per_s", newcomers / seconds.max(1e-6));
    if let Some(cpu_s) = server_s(&before, &connected) {
        load.figure("logins_per_server_cpu_s", newcomers / cpu_s);
    }
    load.measure()?;
    let before = load.usage();
    load.pass("holding", idle)?;
    let after = load.usage();
    if let Some(cores) = after.cores_since(&before).0 {
        load.figure("idle_server_cpu_percent", cores * 100.0);
    }
    let resident = load.server().and_then(sampler::resident_exactly);
    if let (Some(before), Some(after)) = (resident_before, resident) {
        load.figure(
            "resident_bytes_per_connection",
            (after as f64 - before as f64) / newcomers.max(1.0),
        );
    }
    if let (Some(before), Some(after)) = (kernel_before, sampler::kernel_tcp_bytes()) {
        load.figure(
            "kernel_tcp_bytes_per_connection",
            (after as f64 - before as f64) / newcomers.max(1.0),
        );
    }
    load.settle()?;
    let lost = connections - load.connected().min(connections);
    load.figure("connections_missing_at_end", f64::from(lost));
    Ok(load.finish())
}
