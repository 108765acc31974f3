//! CPU and memory of a process, from `/proc`.

use std::fs;

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all threads, live ones, in seconds (`schedstat` counts nanoseconds, `stat` only ticks).
    pub cpu_s: f64,
    /// `VmRSS`, exact: `smaps_rollup` counts pages, `statm` may lag by a batch a thread.
    pub resident_bytes: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        let cpu_ns: u64 = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("own process");
        let line = rollup
            .lines()
            .find(|line| line.starts_with("Rss:"))
            .expect("a line Rss");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number");
        Self {
            cpu_s: cpu_ns as f64 / 1e9,
            resident_bytes: kib * 1024,
        }
    }
}
