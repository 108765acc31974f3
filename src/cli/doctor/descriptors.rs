//! Rows about file descriptors: of the service, of the process that runs now, and what the kernel allows a process and all
//! of them together.

use super::report::{Row, thousands};
use super::{Looked, sysctl};
use crate::reactor::descriptors::for_clients;

/// What a default `LimitNOFILE` is given where it is too small: enough for a million, and the kernel's own default for the
/// most that a process may have.
const USUAL_LIMIT: u64 = 1 << 20;
/// What everything else on a host has open: far more than a server without other work, which has some thousands.
const REST_OF_HOST: u64 = 10_000;

pub(super) fn rows(looked: &Looked<'_>) -> Vec<Row> {
    let mut rows = vec![limit(looked)];
    rows.extend(running(looked));
    rows.push(nr_open(looked));
    rows.push(file_max(looked));
    rows
}

/// Descriptor tables of a node: one, or one a reactor.
fn tables(looked: &Looked<'_>) -> u64 {
    match looked.settings.server.descriptor_table_per_reactor {
        true => looked.settings.server.reactors as u64,
        false => 1,
    }
}

/// Connections that a limit allows.
fn holds(looked: &Looked<'_>, limit: u64) -> u64 {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (for_clients(limit) as u64).saturating_mul(tables(looked))
}

/// The smallest limit that allows as many: what `for_clients` keeps back is a quarter, or 384.
fn needed(looked: &Looked<'_>) -> u64 {
    let clients = looked.connections.div_ceil(tables(looked));
    let reserve = usize::MAX - for_clients(usize::MAX);
    (clients + reserve as u64).min(clients.saturating_mul(4).div_ceil(3))
}

/// A limit that is enough, with room.
fn wanted(need: u64) -> u64 {
    need.next_power_of_two().max(USUAL_LIMIT)
}

fn limit(looked: &Looked<'_>) -> Row {
    let need = needed(looked);
    let Some((limit, from)) = looked.service.descriptors(looked.root) else {
        let why = "the limits of the process cannot be read";
        return Row::unknown("descriptors", super::Amount::Count(need), why);
    };
    // No limit of a process is above the kernel's own.
    let nr_open = looked.root.number("/proc/sys/fs/nr_open");
    let limit = limit.min(nr_open.unwrap_or(limit));
    let each = match tables(looked) {
        1 => String::new(),
        tables => format!("; each of {tables} reactors has a table of its own"),
    };
    let unit = looked.service.unit.is_some();
    Row::count("descriptors", limit, need)
        .note(format!("{from}{each}"))
        .holds(holds(looked, limit))
        .mend(|| mend_limit(unit, need))
}

fn mend_limit(unit: bool, need: u64) -> String {
    let limit = wanted(need);
    if unit {
        let directory = "/etc/systemd/system/longwire.service.d";
        return format!(
            "sudo mkdir -p {directory} && printf '[Service]\\nLimitNOFILE={limit}\\n' | \
             sudo tee {directory}/zz-descriptors.conf && sudo systemctl daemon-reload && sudo systemctl restart longwire"
        );
    }
    format!(
        "echo \"$USER - nofile {limit}\" | sudo tee /etc/security/limits.d/60-longwire.conf\n\
         # then log in again and start longwire from there; or give it a unit of systemd"
    )
}

/// The process that runs was started under other limits than it would be now.
fn running(looked: &Looked<'_>) -> Option<Row> {
    looked.service.unit.as_ref()?;
    let process = looked.service.running.as_ref()?;
    let limit = process.descriptors?;
    let row = Row::count("descriptors_now", limit, needed(looked))
        .holds(holds(looked, limit))
        .note(process.shown());
    Some(row.mend(|| "sudo systemctl daemon-reload && sudo systemctl restart longwire".into()))
}

fn nr_open(looked: &Looked<'_>) -> Row {
    let need = needed(looked);
    let Some(value) = looked.root.number("/proc/sys/fs/nr_open") else {
        return sysctl::unreadable("nr_open", "fs.nr_open", need);
    };
    Row::count("nr_open", value, need)
        .note("fs.nr_open: the most that any LimitNOFILE can give")
        .holds(holds(looked, value))
        .mend(|| sysctl::set("fs.nr_open", &wanted(need).to_string()))
}

fn file_max(looked: &Looked<'_>) -> Row {
    // A proxy on this host has two open for each connection.
    let each = if looked.proxy.is_some() { 3 } else { 1 };
    let need = looked.connections.saturating_mul(each).saturating_add(REST_OF_HOST);
    let Some(value) = looked.root.number("/proc/sys/fs/file-max") else {
        return sysctl::unreadable("file_max", "fs.file-max", need);
    };
    Row::count("file_max", value, need)
        .note(format!(
            "fs.file-max, for all processes: {each} a connection, and {} for the rest of the host",
            thousands(REST_OF_HOST)
        ))
        .holds(value.saturating_sub(REST_OF_HOST) / each)
        .mend(|| sysctl::set("fs.file-max", &need.next_power_of_two().to_string()))
}
