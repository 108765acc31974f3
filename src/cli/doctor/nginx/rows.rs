//! Rows about the way through nginx: its workers' connections and descriptors, its time-outs against the pings, and the
//! ports between it and this node.

use super::super::report::{Amount, Row, Verdict, thousands};
use super::super::{Looked, sysctl};
use super::{Place, Proxy, Route, Setting};

/// What a proxied connection takes of a worker: the client's and the node's.
const EACH: u64 = 2;
/// What a worker has open beside connections: listeners, logs, channels to the others.
const WORKER_REST: u64 = 64;
/// What is safe to leave to the kernel for ports of its own choice; below it are the ports of many servers, ours too.
const WIDE_RANGE: (u64, u64) = (10_240, 65_535);

pub(in super::super) fn rows(looked: &Looked<'_>) -> Vec<Row> {
    let Some(proxy) = &looked.proxy else {
        return vec![ports(looked, None)];
    };
    let mut rows = vec![
        ports(looked, Some(proxy)),
        worker_connections(looked, proxy),
        descriptors(looked, proxy),
    ];
    let shortest = |pick: fn(&Route) -> &Setting| proxy.routes.iter().min_by_key(|route| pick(route).value);
    if let Some(route) = shortest(|route| &route.read_timeout_ms) {
        let directive = if route.is_stream {
            "proxy_timeout"
        } else {
            "proxy_read_timeout"
        };
        let name = "nginx_proxy_read_timeout";
        rows.push(timeout(looked, name, directive, route, &route.read_timeout_ms));
    }
    if let Some(route) = shortest(|route| &route.send_timeout_ms).filter(|route| !route.is_stream) {
        let name = "nginx_proxy_send_timeout";
        rows.push(timeout(
            looked,
            name,
            "proxy_send_timeout",
            route,
            &route.send_timeout_ms,
        ));
    }
    rows
}

/// Ports of this host that connections from a proxy to us can have: as many for each address of ours.
fn ports(looked: &Looked<'_>, proxy: Option<&Proxy>) -> Row {
    let need = looked.connections;
    let Some([first, last]) = looked.root.numbers("/proc/sys/net/ipv4/ip_local_port_range") else {
        return sysctl::unreadable("ports", "net.ipv4.ip_local_port_range", need);
    };
    let each = last
        .saturating_add(1)
        .saturating_sub(first)
        .saturating_sub(reserved(looked, first, last));
    let Some(proxy) = proxy else {
        let note = format!(
            "no nginx on this host leads here, so clients bring their own; a proxy on another host has some {} for each \
             pair of its address and one of ours",
            thousands(each)
        );
        return Row::new("ports", Amount::Count(each), Amount::None, Verdict::Ok).note(note);
    };
    if proxy.over_unix() {
        let note = "nginx reaches this node over a Unix socket, which takes none";
        return Row::new("ports", Amount::Count(each), Amount::None, Verdict::Ok).note(note);
    }
    let addresses = proxy.tcp_addresses();
    let value = each.saturating_mul(addresses);
    Row::count("ports", value, need)
        .note(format!(
            "net.ipv4.ip_local_port_range has {}, for each address of this node that nginx names ({addresses})",
            thousands(each)
        ))
        .holds(value)
        .mend(|| {
            let (from, to) = WIDE_RANGE;
            if (to + 1 - from).saturating_mul(addresses) >= need && first > from {
                return sysctl::set("net.ipv4.ip_local_port_range", &format!("{from} {to}"));
            }
            let place = proxy.routes.first().map_or(proxy.file.clone(), |route| route.place.file.to_string());
            format!(
                "# add a Unix socket, which takes no ports: \"unix:/run/longwire/ws.sock\" to server.listen, and to the\n\
                 # upstream in {place}:  server unix:/run/longwire/ws.sock;\n\
                 sudo systemctl restart longwire && sudo nginx -t && sudo systemctl reload nginx"
            )
        })
}

/// Ports of the range that `ip_local_reserved_ports` (`8080,9000-9100`) takes out of it.
fn reserved(looked: &Looked<'_>, first: u64, last: u64) -> u64 {
    let text = looked
        .root
        .text("/proc/sys/net/ipv4/ip_local_reserved_ports")
        .unwrap_or_default();
    let ranges = text.trim().split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        Some(to.min(last).saturating_add(1).saturating_sub(from.max(first)))
    });
    ranges.fold(0, u64::saturating_add)
}

fn worker_connections(looked: &Looked<'_>, proxy: &Proxy) -> Row {
    let setting = &proxy.worker_connections;
    let value = setting.value.saturating_mul(proxy.workers);
    let need = looked.connections.saturating_mul(EACH);
    Row::count("nginx_worker_connections", value, need)
        .note(format!(
            "{} workers with {} each ({}); {EACH} a connection",
            proxy.workers,
            thousands(setting.value),
            setting.from
        ))
        .holds(value / EACH)
        .mend(|| {
            let wanted = need.div_ceil(proxy.workers).next_power_of_two();
            let command = match &setting.place {
                Some(place) => replace(place, "worker_connections", &wanted.to_string()),
                None => format!(
                    "sudo sed -i 's/^events *{{/&\\n    worker_connections {wanted};/' {}",
                    proxy.file
                ),
            };
            then_reload(&command)
        })
}

fn descriptors(looked: &Looked<'_>, proxy: &Proxy) -> Row {
    let setting = &proxy.descriptors;
    let need = looked.connections.saturating_mul(EACH).div_ceil(proxy.workers) + WORKER_REST;
    Row::count("nginx_descriptors", setting.value, need)
        .note(format!("of each worker: {}", setting.from))
        .holds(setting.value.saturating_sub(WORKER_REST).saturating_mul(proxy.workers) / EACH)
        .mend(|| {
            let wanted = need.next_power_of_two();
            let command = match &setting.place {
                Some(place) => replace(place, "worker_rlimit_nofile", &wanted.to_string()),
                None => format!(
                    "sudo sed -i --follow-symlinks '1i worker_rlimit_nofile {wanted};' {}",
                    proxy.file
                ),
            };
            then_reload(&command)
        })
}

/// nginx must not end a connection before the node's ping has had its answer: the node is the judge of who is alive.
fn timeout(looked: &Looked<'_>, name: &'static str, directive: &str, route: &Route, setting: &Setting) -> Row {
    let timeouts = &looked.settings.timeouts;
    let need_ms = timeouts.ping_ms.saturating_add(timeouts.pong_ms);
    let verdict = Verdict::of(setting.value, need_ms);
    let row = Row::new(
        name,
        Amount::Milliseconds(setting.value),
        Amount::Milliseconds(need_ms),
        verdict,
    );
    row.note(format!("{}; timeouts.ping and timeouts.pong together", setting.from))
        .mend(|| {
            // Half as long again: a busy node may ping late.
            let wanted = format!("{}s", need_ms.saturating_mul(3).div_ceil(2_000));
            let command = match &setting.place {
                Some(place) => replace(place, directive, &wanted),
                None => format!(
                    "sudo sed -i --follow-symlinks '{}a {directive} {wanted};' {}",
                    route.place.line, route.place.file
                ),
            };
            then_reload(&command)
        })
}

fn replace(place: &Place, directive: &str, value: &str) -> String {
    format!(
        "sudo sed -i --follow-symlinks '{}s/{directive} [^;]*/{directive} {value}/' {}",
        place.line, place.file
    )
}

fn then_reload(command: &str) -> String {
    format!("{command} && sudo nginx -t && sudo systemctl reload nginx")
}
