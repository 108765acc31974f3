//! What control groups (version 1 and 2) let a process use of memory and cores, and the cores that there are. Called by
//! `service` and `host`.

use super::root::Root;

/// The tightest limits of the groups that a process is in; `None`: no limit is known.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub memory_bytes: Option<u64>,
    pub cores: Option<f64>,
}

/// Version 1 says "no limit" with a number near 2^63.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// The groups of a process, and all their parents: a limit holds for what is below it.
pub(super) fn of_process(root: &Root, pid: &str) -> Group {
    let mut group = Group::default();
    let lines = root.text(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    for line in lines.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let has = |name: &str| controllers.split(',').any(|controller| controller == name);
        for directory in with_parents(path) {
            if number == "0" && controllers.is_empty() {
                let file = |name: &str| format!("/sys/fs/cgroup{directory}/{name}");
                group.limit_memory(root.number(file("memory.max")));
                group.limit_cores(root.text(file("cpu.max")).and_then(|text| quota(&text)));
            } else if has("memory") {
                let file = format!("/sys/fs/cgroup/memory{directory}/memory.limit_in_bytes");
                group.limit_memory(root.number(file));
            } else if has("cpu") {
                let file = |name: &str| root.text(format!("/sys/fs/cgroup/cpu{directory}/cpu.cfs_{name}_us"));
                let both = file("quota").zip(file("period"));
                group.limit_cores(both.and_then(|(quota_us, period_us)| quota(&format!("{quota_us} {period_us}"))));
            }
        }
    }
    group
}

impl Group {
    pub fn limit_memory(&mut self, bytes: Option<u64>) {
        let limits = bytes.filter(|bytes| *bytes < NO_LIMIT_BYTES).into_iter();
        self.memory_bytes = limits.chain(self.memory_bytes).min();
    }

    pub fn limit_cores(&mut self, cores: Option<f64>) {
        let cores = cores.filter(|cores| cores.is_finite() && *cores > 0.0);
        self.cores = match (self.cores, cores) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// `/a/b` is in `/a/b`, `/a` and the root, which is the empty text.
fn with_parents(path: &str) -> Vec<&str> {
    let mut path = path.trim_end_matches('/');
    let mut directories = vec![path];
    while let Some((parent, _)) = path.rsplit_once('/') {
        directories.push(parent);
        path = parent;
    }
    directories
}

/// `QUOTA PERIOD`, both in microseconds, in cores; `max` and -1 are no quota.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota_us: f64 = words.next()?.parse().ok()?;
    let period_us: f64 = words.next()?.parse().ok()?;
    Some(quota_us / period_us)
}

/// Cores that a process may run on: its own list, else all that are online.
pub(super) fn cores(root: &Root, pid: &str) -> Option<u64> {
    let status = root.text(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    own.and_then(count_of_list)
        .or_else(|| count_of_list(&root.text("/sys/devices/system/cpu/online")?))
}

/// `0-3,6` is five.
fn count_of_list(list: &str) -> Option<u64> {
    let mut count = 0_u64;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_counted() {
        for (list, count) in [
            ("0", Some(1)),
            ("0-3,6\n", Some(5)),
            ("", None),
            ("3-0", None),
            ("a-b", None),
        ] {
            assert_eq!(count_of_list(list), count, "{list}");
        }
        assert_eq!(count_of_list(&format!("0-{}", u64::MAX)), None);
    }

    #[test]
    fn quotas_are_parts_of_a_core() {
        assert_eq!(quota("50000 100000\n"), Some(0.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(quota(""), None);
        // A quota of -1 or a period of 0 limits nothing.
        let mut group = Group::default();
        group.limit_cores(quota("-1 100000"));
        group.limit_cores(quota("1 0"));
        assert_eq!(group.cores, None);
        group.limit_cores(Some(2.0));
        group.limit_cores(Some(1.5));
        assert_eq!(group.cores, Some(1.5));
    }

    #[test]
    fn a_group_s_parents_count() {
        assert_eq!(with_parents("/a/b"), ["/a/b", "/a", ""]);
        assert_eq!(with_parents("/"), [""]);
    }
}
