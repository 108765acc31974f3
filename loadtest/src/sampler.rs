//! What `/proc` tells of processes and of the machine: CPU, memory, descriptors, the kernel's socket memory. Reads only.

use std::collections::BTreeMap;
use std::fs;

/// CPU that a process has used so far, seconds, its ended threads included. `schedstat` counts nanoseconds, but of live
/// threads only; `stat` counts all of them in ticks of 10 ms. The larger is the truth. None: there is no such process,
/// or it has ended and waits for its parent.
pub fn cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    if fields.starts_with(['Z', 'X']) {
        return None;
    }
    let mut fields = fields.split(' ').skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let ns: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Some((ns as f64 / 1e9).max(ticks / 100.0))
}

/// Resident memory to the page, bytes (`smaps_rollup`: it takes a walk over the page tables).
pub fn resident_exactly(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    kib(&rollup, "Rss:").map(|kib| kib * 1024).or_else(|| resident(pid))
}

/// Resident memory, bytes; may lag by some pages a thread.
pub fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib(&status, "VmRSS:").map(|kib| kib * 1024)
}

/// Open descriptors (of the main thread's table).
pub fn descriptors(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    // Newer kernels tell the count as the directory's size.
    match fs::metadata(&path).ok()?.len() {
        0 => Some(fs::read_dir(path).ok()?.count() as u64),
        count => Some(count),
    }
}

/// What the kernel has for TCP sockets on the whole machine, bytes.
pub fn kernel_tcp_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find(|line| line.starts_with("TCP:"))?;
    let pages: u64 = line.split(" mem ").nth(1)?.trim().parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The machine in general terms.
pub fn machine() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut machine = BTreeMap::from([("cores".to_owned(), cores.to_string())]);
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        machine.insert("kernel".to_owned(), format!("Linux {}", release.trim()));
    }
    if let Some(kib) = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kib(&text, "MemTotal:"))
    {
        machine.insert("memory".to_owned(), format!("{} GiB", kib.div_ceil(1024 * 1024)));
    }
    let cpu = fs::read_to_string("/proc/cpuinfo").ok();
    let model = cpu
        .as_deref()
        .and_then(|text| text.lines().find(|line| line.starts_with("model name")));
    if let Some((_, model)) = model.and_then(|line| line.split_once(": ")) {
        machine.insert("processor".to_owned(), model.to_owned());
    }
    machine
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        assert!(cpu_s(pid).is_some() && descriptors(pid) > Some(2));
        assert!(resident(pid) > Some(100_000) && resident_exactly(pid) > Some(100_000));
        assert_eq!(cpu_s(u32::MAX), None);
    }

    #[test]
    fn a_process_that_has_ended_has_no_figures() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        assert!(cpu_s(pid).is_some());
        child.kill().unwrap();
        // It stays listed until its parent asks for it.
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
        assert_eq!(cpu_s(pid), None);
        child.wait().unwrap();
    }
}
