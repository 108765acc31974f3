//! Rows about the kernel's networking: connections that wait to be accepted, memory for what is on its way, and
//! connection tracking.

use super::report::{Amount, Row, Verdict, size, thousands};
use super::{Looked, sysctl};
use crate::config::ListenAddress;

/// What longwire asks the kernel for; `somaxconn` cuts it down.
const BACKLOG: u64 = 65_535;
/// Pages of `tcp_mem` that a connection holds while a push is on its way to it: a small segment is charged one.
const PAGES_EACH: u64 = 1;
/// Entries that a connection has in the tracking table after it came back: its own, and the old one's, which stays for
/// two minutes (nf_conntrack_tcp_timeout_time_wait).
const TRACKED_EACH: u64 = 2;
/// Bytes of an entry of the tracking table, its share of the hash table included.
const ENTRY_BYTES: u64 = 320;
/// Where systemd notes that a socket unit is started with the host.
const SOCKET_UNIT: &str = "/etc/systemd/system/sockets.target.wants/longwire.socket";

pub(super) fn rows(looked: &Looked<'_>) -> Vec<Row> {
    let mut rows = vec![somaxconn(looked), syn_backlog(looked), tcp_mem(looked)];
    rows.extend(conntrack(looked));
    rows
}

/// How many may come at once to one queue: each reactor has one for each TCP address, and all share a Unix socket's, and
/// one that a socket unit opened.
fn at_once(looked: &Looked<'_>) -> u64 {
    let server = &looked.settings.server;
    let unix = server
        .listen
        .iter()
        .any(|listen| matches!(listen, ListenAddress::Unix(_)));
    let socket_unit = std::fs::symlink_metadata(looked.root.path(SOCKET_UNIT)).is_ok();
    let queues = if unix || socket_unit {
        1
    } else {
        server.reactors.max(1) as u64
    };
    looked.connections.div_ceil(queues).min(BACKLOG)
}

fn somaxconn(looked: &Looked<'_>) -> Row {
    let need = at_once(looked);
    let Some(value) = looked.root.number("/proc/sys/net/core/somaxconn") else {
        return sysctl::unreadable("somaxconn", "net.core.somaxconn", need);
    };
    // No `holds`: past it newcomers wait a second or are sent away by the proxy, and then they are held all the same.
    Row::count("somaxconn", value, need)
        .note("net.core.somaxconn: clients that may wait to be accepted if all come back at once")
        .mend(|| sysctl::set("net.core.somaxconn", &need.next_power_of_two().min(BACKLOG).to_string()))
}

fn syn_backlog(looked: &Looked<'_>) -> Row {
    const NAME: &str = "tcp_max_syn_backlog";
    const KEY: &str = "net.ipv4.tcp_max_syn_backlog";
    // The kernel takes three quarters of it from peers that it does not know yet.
    let need = at_once(looked).saturating_mul(4).div_ceil(3);
    let Some(value) = looked.root.number("/proc/sys/net/ipv4/tcp_max_syn_backlog") else {
        return sysctl::unreadable(NAME, KEY, need);
    };
    if looked
        .root
        .number("/proc/sys/net/ipv4/tcp_syncookies")
        .is_some_and(|on| on > 0)
    {
        let note = format!("{KEY}: the kernel does not look at it, for net.ipv4.tcp_syncookies is on");
        return Row::new(NAME, Amount::Count(value), Amount::None, Verdict::Ok).note(note);
    }
    Row::count(NAME, value, need)
        .note(format!(
            "{KEY}: half-open connections, of which more are refused while net.ipv4.tcp_syncookies is off"
        ))
        .mend(|| sysctl::set("net.ipv4.tcp_syncookies", "1"))
}

fn tcp_mem(looked: &Looked<'_>) -> Row {
    let need = looked.connections.saturating_mul(PAGES_EACH);
    let Some([low, pressure, high]) = looked.root.numbers("/proc/sys/net/ipv4/tcp_mem") else {
        return sysctl::unreadable("tcp_mem", "net.ipv4.tcp_mem", need);
    };
    Row::count("tcp_mem", pressure, need)
        .note("net.ipv4.tcp_mem, the second: pages that TCP holds before it shrinks buffers; one push to all takes one each")
        .holds(pressure / PAGES_EACH)
        .mend(|| {
            let (low, high) = (low.max(need / 4 * 3).min(need), high.max(need.saturating_mul(2)));
            sysctl::set("net.ipv4.tcp_mem", &format!("{low} {need} {high}"))
        })
}

/// None where the kernel does not track connections.
fn conntrack(looked: &Looked<'_>) -> Option<Row> {
    let most = looked.root.number("/proc/sys/net/netfilter/nf_conntrack_max")?;
    let now = looked.root.number("/proc/sys/net/netfilter/nf_conntrack_count");
    // With a proxy on this host each client is two connections, where that is not over a Unix socket.
    let legs = if looked.proxy.as_ref().is_some_and(|proxy| !proxy.over_unix()) {
        2
    } else {
        1
    };
    let each = legs * TRACKED_EACH;
    let need = looked.connections.saturating_mul(each);
    if now == Some(0) {
        let note = format!(
            "nf_conntrack is there, but no rule of a firewall uses it (a table of {})",
            thousands(most)
        );
        return Some(Row::new("conntrack", Amount::Count(0), Amount::None, Verdict::Ok).note(note));
    }
    let wanted = need.next_power_of_two();
    // An entry is measured in docs/tuning.md.
    let cost = size(wanted.saturating_mul(ENTRY_BYTES));
    let row = Row::count("conntrack", most, need)
        .note(format!(
            "nf_conntrack_max, {} in use; {each} a connection, for those that ended stay for two minutes; {cost} when full",
            now.map_or("unknown".into(), thousands)
        ))
        .holds(most / each)
        .mend(|| sysctl::set("net.netfilter.nf_conntrack_max", &wanted.to_string()));
    Some(row)
}
