//! What the defaults take from the machine: its name, its memory, its cores. Reads `/proc` and `/sys` only.
//! Called by `resolve`.

use std::fs;
use std::path::Path;

/// What is assumed where the kernel does not tell.
const MEMORY_UNKNOWN_BYTES: u64 = 1 << 30;

/// The host's name as a node name: at most 64 of `[A-Za-z0-9_.-]`.
pub(super) fn node_name() -> String {
    node_name_from(&fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default())
}

fn node_name_from(host_name: &str) -> String {
    let host_name = host_name.trim();
    if host_name.is_empty() || host_name == "(none)" {
        return "localhost".into();
    }
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    host_name
        .chars()
        .take(64)
        .map(|letter| if allowed(letter) { letter } else { '-' })
        .collect()
}

/// Cores that this process may use, its CPU quota included.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of memory that this process may use: the machine's, or the tightest limit of the control groups it is in.
pub(super) fn memory_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory_bytes(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limit_files(&groups).into_iter().filter_map(|file| {
        // `max` (version 2) is no number and no limit; version 1 writes a huge number, which the minimum drops.
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(file))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    limits
        .chain(total)
        .filter(|bytes| *bytes > 0)
        .min()
        .unwrap_or(MEMORY_UNKNOWN_BYTES)
}

fn total_memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The limit files, below `/sys/fs/cgroup`, of the groups that `/proc/self/cgroup` names and of all their parents
/// (a limit holds for what is below it). Version 2 is the line `0::PATH`, version 1 `N:…,memory,…:PATH`.
fn group_limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if number == "0" && controllers.is_empty() {
            ("", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("memory/", "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A container may see the path of its group on the host, which is not there: then the root is its own group.
        let mut path = path.trim_matches('/');
        loop {
            files.push(if path.is_empty() {
                format!("{root}{file}")
            } else {
                format!("{root}{path}/{file}")
            });
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_host_name_becomes_a_node_name() {
        assert_eq!(node_name_from("web-1.example.com\n"), "web-1.example.com");
        assert_eq!(node_name_from("büro 7\n"), "b-ro-7");
        assert_eq!(node_name_from(&"x".repeat(200)).len(), 64);
        assert_eq!(node_name_from("(none)\n"), "localhost");
        assert_eq!(node_name_from(""), "localhost");
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(
            total_memory_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_memory_bytes("MemFree: 1 kB\n"), None);
        assert_eq!(total_memory_bytes("MemTotal: lots\n"), None);
        assert_eq!(total_memory_bytes(&format!("MemTotal: {} kB", u64::MAX)), None);
    }

    #[test]
    fn limits_of_parent_groups_hold_too() {
        let v2 = group_limit_files("0::/system.slice/longwire.service\n");
        assert_eq!(
            v2,
            [
                "system.slice/longwire.service/memory.max",
                "system.slice/memory.max",
                "memory.max"
            ]
        );
        let v1 = group_limit_files("12:cpu,cpuacct:/a\n3:memory:/docker/x\nnonsense\n");
        assert_eq!(
            v1,
            [
                "memory/docker/x/memory.limit_in_bytes",
                "memory/docker/memory.limit_in_bytes",
                "memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(group_limit_files("0::/\n"), ["memory.max"]);
    }

    #[test]
    fn this_machine_has_some_of_each() {
        assert!(!node_name().is_empty());
        assert!(cores() >= 1);
        assert!(memory_bytes() >= 1 << 20);
    }
}
