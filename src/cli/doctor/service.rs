//! The longwire of this host: its unit, the process that runs, and what they may use. Says which of them is shown, since
//! a shell's limits are not the service's. Called by `run` first; the other readers ask it.

use std::path::PathBuf;

use super::cgroup::{self, Group};
use super::root::Root;
use super::unit::{self, Unit};

/// The unit that the package installs.
const UNIT: &str = "longwire.service";

/// What is known of the service.
pub(super) struct Service {
    /// As systemd would start it.
    pub unit: Option<Unit>,
    /// The process that serves now: the one that was asked for, else the unit's where there is one, and no other, which is
    /// somebody else's business.
    pub running: Option<Process>,
}

/// A process that serves.
pub(super) struct Process {
    pub pid: u64,
    /// Its hard limit, to which a longwire raises the soft one.
    pub descriptors: Option<u64>,
    pub resident_bytes: u64,
    of_unit: bool,
    /// How many more there are that could have been meant.
    others: usize,
}

impl Process {
    /// Which one it is, for the note of a row.
    pub fn shown(&self) -> String {
        match self.others {
            0 => format!("pid {}, which runs now", self.pid),
            others => format!(
                "pid {}, the first of {} that run now (--pid says which)",
                self.pid,
                others + 1
            ),
        }
    }
}

impl Service {
    /// `pid`: the process to look at; it is an error if that is no longwire that serves.
    pub fn find(root: &Root, pid: Option<u64>) -> Result<Self, String> {
        let unit = unit::service(root, UNIT);
        let Some(pid) = pid else {
            let running = running(root, unit.is_some());
            return Ok(Self { unit, running });
        };
        let advice = "pgrep -a longwire lists them";
        let process = process(root, pid).ok_or_else(|| format!("--pid {pid}: no longwire serves there; {advice}"))?;
        Ok(Self {
            // What systemd would give says nothing of a process that it has not started.
            unit: unit.filter(|_| process.of_unit),
            running: Some(process),
        })
    }

    /// The limit of open descriptors, and where it is from.
    pub fn descriptors(&self, root: &Root) -> Option<(u64, String)> {
        if let Some(unit) = &self.unit {
            let (limit, from) = unit.descriptors(root);
            return Some((limit.hard, format!("{from}, as systemd would start {UNIT}")));
        }
        if let Some(process) = &self.running {
            return Some((process.descriptors?, process.shown()));
        }
        let limit = descriptors_of(root, "self")?;
        Some((limit, format!("this shell; there is no {UNIT} on this host")))
    }

    /// The control group that the service is in or would be in.
    pub fn group(&self, root: &Root) -> Group {
        match &self.running {
            Some(process) => cgroup::of_process(root, &process.pid.to_string()),
            // It would be one of the system's own.
            None if self.unit.is_some() => Group::default(),
            None => cgroup::of_process(root, "self"),
        }
    }

    /// The configuration file that the unit names.
    pub fn config_file(&self) -> Option<PathBuf> {
        let (command, _) = self.unit.as_ref()?.get("ExecStart")?;
        let mut words = command.split_whitespace();
        while let Some(word) = words.next() {
            if word == "--config" {
                return words.next().map(PathBuf::from);
            }
            if let Some(file) = word.strip_prefix("--config=") {
                return Some(PathBuf::from(file));
            }
        }
        None
    }
}

/// The longwire that serves on this host, the first by number; with `of_unit` only a process of the unit.
fn running(root: &Root, of_unit: bool) -> Option<Process> {
    let names = root.names("/proc").into_iter();
    let mut pids: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    let processes = pids.into_iter().filter_map(|pid| process(root, pid));
    let mut candidates = processes.filter(|process| process.of_unit || !of_unit);
    let first = candidates.next()?;
    Some(Process {
        others: candidates.count(),
        ..first
    })
}

fn process(root: &Root, pid: u64) -> Option<Process> {
    if root.text(format!("/proc/{pid}/comm"))?.trim() != "longwire" {
        return None;
    }
    // Other commands of the same program (this one too) serve nobody.
    const OTHER_COMMANDS: [&str; 8] = ["doctor", "check", "token", "push", "users", "kick", "drain", "why"];
    let command_line = root.text(format!("/proc/{pid}/cmdline"))?;
    if command_line.split('\0').any(|word| OTHER_COMMANDS.contains(&word)) {
        return None;
    }
    let groups = root.text(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let end = format!("/{UNIT}");
    let status = root.text(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident_kib = status.lines().find_map(|line| {
        let value = line.strip_prefix("VmRSS:")?;
        value.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(Process {
        pid,
        descriptors: descriptors_of(root, &pid.to_string()),
        resident_bytes: resident_kib.unwrap_or_default().saturating_mul(1_024),
        of_unit: groups.lines().any(|line| line.ends_with(&end)),
        others: 0,
    })
}

/// The hard limit of open descriptors of a process; `self` is the doctor's own, and so its shell's.
fn descriptors_of(root: &Root, pid: &str) -> Option<u64> {
    let limits = root.text(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
