//! Every metric of the contract is there under its exact name, and both texts are well formed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use super::*;

fn rendered(exposition: Exposition) -> String {
    let counters = Arc::new(NodeCounters::new(2));
    for reactor in &counters.reactors {
        reactor.connections_open.add(3);
        reactor.closed[0].add(2);
        reactor.push_delay.record(300);
        reactor.turn.record(20_000_000);
        reactor.calls_refused.add(4);
    }
    counters.calls.lock().unwrap().extend([(404, 5), (503, 1)]);
    render(&counters, &Arc::new(Shared::new(2, 1)), false, exposition).unwrap()
}

#[test]
fn samples_have_the_names_and_values_that_dashboards_rely_on() {
    let text = rendered(Exposition::Text);
    for sample in [
        "longwire_connections{state=\"handshake\"} 0",
        "longwire_connections{state=\"unauthenticated\"} 0",
        "longwire_connections{state=\"open\"} 6",
        "longwire_connections{state=\"closing\"} 0",
        "longwire_users 0",
        "longwire_accepted_total 0",
        "longwire_refused_total{reason=\"full\"} 0",
        "longwire_closed_total{reason=\"client\"} 4",
        "longwire_closed_total{reason=\"rate_limited\"} 0",
        "longwire_auth_total{result=\"ok\"} 0",
        "longwire_messages_received_total 0",
        "longwire_pushes_total{source=\"api\"} 0",
        "longwire_pushes_total{source=\"bus\"} 0",
        "longwire_deliveries_total{outcome=\"written\"} 0",
        "longwire_deliveries_total{outcome=\"dropped\"} 0",
        "longwire_outbound_bytes 0",
        "longwire_bytes_total{direction=\"in\"} 0",
        "longwire_bytes_total{direction=\"out\"} 0",
        "longwire_calls_total{status=\"404\"} 5",
        "longwire_calls_total{status=\"503\"} 9",
        "longwire_push_delay_seconds_bucket{le=\"0.00025\"} 0",
        "longwire_push_delay_seconds_bucket{le=\"0.0005\"} 2",
        "longwire_push_delay_seconds_bucket{le=\"+Inf\"} 2",
        "longwire_push_delay_seconds_count 2",
        "longwire_push_delay_seconds_sum 0.0006",
        "longwire_turn_seconds_bucket{le=\"10.0\",reactor=\"1\"} 0",
        "longwire_turn_seconds_bucket{le=\"+Inf\",reactor=\"1\"} 1",
        "longwire_turn_seconds_count{reactor=\"0\"} 1",
        "longwire_turn_seconds_sum{reactor=\"0\"} 20.0",
        "longwire_bus_connected 0",
        "longwire_bus_dropped_total 0",
        "longwire_events_dropped_total 0",
        "longwire_history_events 0",
        "longwire_history_bytes 0",
        "longwire_history_dropped_total 0",
        concat!("longwire_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|line| line == sample), "no {sample} in\n{text}");
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name} "))),
            "no {name} in\n{text}"
        );
    }
}

#[test]
fn the_classic_text_types_every_sample_by_its_own_name() {
    let text = rendered(Exposition::Text);
    let mut types = HashSet::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned()), "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end));
            assert!(
                types.contains(name) || of_histogram.into_iter().any(|name| types.contains(name)),
                "{line}"
            );
        }
    }
    assert!(!text.contains("# EOF"));
}

#[test]
fn open_metrics_ends_in_eof() {
    let text = rendered(Exposition::OpenMetrics);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE longwire_accepted counter\n") && text.contains("\nlongwire_accepted_total 0\n"));
}
