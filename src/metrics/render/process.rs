//! What Prometheus expects of any process: CPU, memory, threads, descriptors, start. Read from `/proc` at each scrape; a
//! figure that cannot be read is left out. Called by `render`.

use std::fmt;
use std::fs;
use std::path::Path;

use super::Page;

/// Clock ticks a second in `/proc/*/stat`: USER_HZ, the same on every Linux that longwire runs on (`man 5 proc_pid_stat`).
const TICKS_PER_SECOND: f64 = 100.0;
/// How the names of reactor threads begin.
const REACTOR_THREAD: &str = "reactor";

/// Writes them. `table_per_reactor`: each reactor thread has a descriptor table of its own.
pub(super) fn encode(page: &mut Page<'_>, table_per_reactor: bool) -> Result<(), fmt::Error> {
    if let Some(times) = read("/proc/self/stat").and_then(|stat| Times::parse(&stat)) {
        page.counter(
            "process_cpu_seconds",
            "User and system CPU time spent.",
            times.cpu_seconds,
        )?;
        if let Some(boot) = read("/proc/stat").and_then(|stat| number(&stat, "btime ")) {
            let started = boot as f64 + times.started_seconds;
            page.gauge(
                "process_start_time_seconds",
                "When the process started, Unix seconds.",
                &[],
                started,
            )?;
        }
    }
    if let Some(status) = read("/proc/self/status") {
        if let Some(kib) = number(&status, "VmRSS:") {
            page.gauge("process_resident_memory_bytes", "Resident memory.", &[], kib * 1024)?;
        }
        if let Some(kib) = number(&status, "VmSize:") {
            page.gauge("process_virtual_memory_bytes", "Virtual memory.", &[], kib * 1024)?;
        }
        if let Some(threads) = number(&status, "Threads:") {
            page.gauge("process_threads", "Threads.", &[], threads)?;
        }
    }
    let open = open_descriptors(table_per_reactor);
    page.gauge(
        "process_open_fds",
        "Open descriptors, over all descriptor tables.",
        &[],
        open,
    )?;
    if let Some(max) = read("/proc/self/limits").and_then(|limits| number(&limits, "Max open files")) {
        page.gauge("process_max_fds", "Descriptors that one table may hold.", &[], max)?;
    }
    Ok(())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number behind the first line's `prefix`.
fn number(text: &str, prefix: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(prefix))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

struct Times {
    cpu_seconds: f64,
    /// Since boot.
    started_seconds: f64,
}

impl Times {
    /// The name in parentheses may hold anything, so fields are counted from its end: field 3 follows it.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<u64>().ok()? as f64 / TICKS_PER_SECOND);
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            started_seconds: seconds(22)?,
        })
    }
}

fn open_descriptors(table_per_reactor: bool) -> u64 {
    let mut open = entries(Path::new("/proc/self/fd"));
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return open;
    };
    for task in tasks.flatten().filter(|_| table_per_reactor) {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with(REACTOR_THREAD) {
            open += entries(&task.path().join("fd"));
        }
    }
    open
}

/// How many descriptors a `/proc` directory lists. Linux 6.2 and newer say it in the directory's size.
fn entries(directory: &Path) -> u64 {
    match fs::metadata(directory).map(|metadata| metadata.len()) {
        Ok(0) => fs::read_dir(directory).map_or(0, |entries| entries.count() as u64),
        Ok(count) => count,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 1200 9000 80 1 1";
        let times = Times::parse(stat).unwrap();
        assert_eq!((times.cpu_seconds, times.started_seconds), (2.0, 12.0));
    }

    #[test]
    fn this_process_has_descriptors_and_memory() {
        let before = open_descriptors(false);
        let file = fs::File::open("/proc/self/status").unwrap();
        assert!(open_descriptors(false) > 0 && before > 0);
        drop(file);
        assert!(number(&read("/proc/self/status").unwrap(), "VmRSS:").unwrap() > 0);
        assert!(number(&read("/proc/self/limits").unwrap(), "Max open files").unwrap() > 0);
    }
}
