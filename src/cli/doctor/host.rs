//! Rows about the machine: its kernel, memory, cores and clock.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::report::{Amount, Row, Verdict, size, thousands};
use super::{Looked, cgroup, unit};

/// `SO_REUSEPORT`, with which each reactor has a queue of its own (socket(7)).
const KERNEL_NEEDED: (u64, u64) = (3, 9);
/// Resident bytes of the process a connection, user, device and its events in the flight recorder included:
/// docs/performance.md, `hold`.
const USER_BYTES: u64 = 435;
/// Bytes of the kernel for a TCP connection's end that is idle: docs/performance.md, docs/tuning.md.
const KERNEL_BYTES: u64 = 5_000;
/// What a proxy on this host takes for a connection: its own memory and two ends in the kernel; docs/tuning.md.
const PROXY_BYTES: u64 = 28_200;
/// What the process takes with no connection, and a little for the rest of the host.
const BASE_BYTES: u64 = 64 << 20;
/// Core seconds of a connection that is pinged once: docs/performance.md, 0.75 % of a core for 10,000 each 25 s.
const PING_CORE_SECONDS: f64 = 0.0075 * 25.0 / 10_000.0;
/// Logins a second of a core: docs/performance.md, of the lower of two runs.
const LOGINS_PER_CORE_SECOND: u64 = 31_000;
/// How long `timedatectl` may take; it waits for others.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn rows(looked: &Looked<'_>) -> Vec<Row> {
    vec![kernel(looked), memory(looked), cores(looked), clock(looked)]
}

fn kernel(looked: &Looked<'_>) -> Row {
    let (major, minor) = KERNEL_NEEDED;
    let need = Amount::text(format!("{major}.{minor}"));
    let release = looked.root.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match parse_release(release) {
        Some(version) => {
            let verdict = Verdict::of(u64::from(version >= KERNEL_NEEDED), 1);
            Row::new("kernel", Amount::text(release), need, verdict)
                .note("SO_REUSEPORT, with which reactors share nothing")
                .mend(|| "sudo apt-get install --only-upgrade linux-image-amd64 && sudo reboot".into())
        }
        None => Row::unknown("kernel", need, "/proc/sys/kernel/osrelease names no version"),
    }
}

fn parse_release(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn memory(looked: &Looked<'_>) -> Row {
    let meminfo = looked.root.text("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1_024)
    };
    let resident = looked
        .service
        .running
        .as_ref()
        .map_or(0, |process| process.resident_bytes);
    // What the running one takes is there for the next.
    let available = field("MemAvailable:").map(|available| available.saturating_add(resident));
    let mut group = looked.service.group(looked.root);
    let unit = looked.service.unit.as_ref();
    let in_unit = unit.and_then(|unit| unit.get("MemoryMax").or_else(|| unit.get("MemoryLimit")));
    group.limit_memory(in_unit.and_then(|(value, _)| unit::parse_size(value, field("MemTotal:"))));
    let limit = group
        .memory_bytes
        .filter(|limit| available.is_none_or(|available| *limit < available));
    // A proxy takes the host's memory, and none of what the service is given.
    let proxied = looked.proxy.is_some() && limit.is_none();
    let each = USER_BYTES + KERNEL_BYTES + if proxied { PROXY_BYTES } else { 0 };
    let idle = looked.connections.saturating_mul(each).saturating_add(BASE_BYTES);
    // Queues are bounded by the configuration, or by a quarter of what the node finds at its start: a third of the rest.
    let bound = looked.settings.limits.outbound_total_bytes as u64;
    let need = idle.saturating_add(bound.min(idle / 3 + 1));
    let Some(value) = limit.or(available) else {
        return Row::unknown("memory", Amount::Bytes(need), "/proc/meminfo has no MemAvailable");
    };
    let queued = bound.min(value / 4);
    let from = match (limit, in_unit) {
        (Some(_), Some((_, file))) => format!("MemoryMax in {file}, or a control group's limit"),
        (Some(_), None) => "the control group's limit".into(),
        (None, _) => match &looked.service.running {
            Some(process) => format!("MemAvailable, with what pid {} has now", process.pid),
            None => "MemAvailable".into(),
        },
    };
    let proxy = if proxied {
        ", the proxy on this host included"
    } else {
        ""
    };
    Row::new("memory", Amount::Bytes(value), Amount::Bytes(need), Verdict::of(value, need))
        .note(format!(
            "{from}; {} bytes a connection{proxy}, and {} for queues (limits.outbound_total_bytes)",
            thousands(each),
            size(queued)
        ))
        .holds(value.saturating_sub(BASE_BYTES + queued) / each)
        .mend(|| match limit.and(unit) {
            Some(_) => {
                let directory = "/etc/systemd/system/longwire.service.d";
                let mib = (need >> 20) + 1;
                format!(
                    "sudo mkdir -p {directory} && printf '[Service]\\nMemoryMax={mib}M\\n' | \
                     sudo tee {directory}/zz-memory.conf && sudo systemctl daemon-reload && sudo systemctl restart longwire"
                )
            }
            None => format!("# give this host {}, or take fewer connections: server.connections_max", size(need)),
        })
}

fn cores(looked: &Looked<'_>) -> Row {
    let ping_seconds = (looked.settings.timeouts.ping_ms as f64 / 1_000.0).max(0.001);
    let each = PING_CORE_SECONDS / ping_seconds;
    let need = looked.connections as f64 * each;
    let pid = looked
        .service
        .running
        .as_ref()
        .map_or("self".into(), |process| process.pid.to_string());
    let Some(count) = cgroup::cores(looked.root, &pid) else {
        return Row::unknown(
            "cores",
            Amount::Cores(need),
            "neither /proc nor /sys tells how many there are",
        );
    };
    let mut group = looked.service.group(looked.root);
    let quota = looked.service.unit.as_ref().and_then(|unit| unit.get("CPUQuota"));
    group.limit_cores(quota.and_then(|(value, _)| {
        let percent: f64 = value.strip_suffix('%')?.trim().parse().ok()?;
        Some(percent / 100.0)
    }));
    let value = group.cores.unwrap_or(f64::MAX).min(count as f64);
    let verdict = Verdict::of(u64::from(value >= need), 1);
    let back_ms = looked.connections as f64 / LOGINS_PER_CORE_SECOND as f64 / value * 1_000.0;
    let from = if group.cores.is_some_and(|cores| cores < count as f64) {
        "a CPU quota; "
    } else {
        ""
    };
    Row::new("cores", Amount::Cores(value), Amount::Cores(need), verdict)
        .note(format!(
            "{from}for pings alone; if all come back at once their logins take {} ms of all cores; pushes come on top",
            thousands(back_ms as u64)
        ))
        .holds((value / each) as u64)
        .mend(|| "# give it more cores or a larger CPUQuota, or set timeouts.ping higher".into())
}

fn clock(looked: &Looked<'_>) -> Row {
    let need = Amount::text("synchronised");
    let mend = || "sudo apt-get install -y systemd-timesyncd && sudo timedatectl set-ntp true".to_owned();
    let why = "tokens expire by it";
    // systemd-timesyncd makes it when the clock is set, and chrony's and ntpd's are seen by timedatectl.
    let synchronised = if looked.root.exists("/run/systemd/timesync/synchronized") {
        Some(true)
    } else if looked.root.is_this_host() {
        timedatectl()
    } else {
        None
    };
    match synchronised {
        Some(true) => Row::new("clock", need.clone(), need, Verdict::Ok).note(why),
        Some(false) => Row::new("clock", Amount::text("adrift"), need, Verdict::Short)
            .note(format!("{why}, and the kernel says that nobody sets it"))
            .mend(mend),
        None => {
            let why = format!("{why}; neither systemd-timesyncd nor timedatectl tells whether somebody sets it");
            Row::unknown("clock", need, why).mend(mend)
        }
    }
}

/// What systemd says of the kernel's clock; `None` where it says nothing.
fn timedatectl() -> Option<bool> {
    let mut child = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + ANSWER_WITHIN;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            // Whether or not it ends, it has nothing to say.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().ok()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        for (release, version) in [
            ("6.1.0-28-amd64", Some((6, 1))),
            ("5.15", Some((5, 15))),
            ("3.10.0-1160.el7", Some((3, 10))),
            ("6", None),
            ("six.one", None),
            ("", None),
            ("99999999999999999999.1", None),
        ] {
            assert_eq!(parse_release(release), version, "{release}");
        }
    }
}
