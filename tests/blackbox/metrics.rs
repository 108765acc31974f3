//! `/metrics`: every name and label of the contract is there from the start, and counts what it says.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Client, Gateway, Raw, Value, token, wait_until};

const CLOSE_REASONS: [&str; 19] = [
    "client",
    "connection_lost",
    "ping_timeout",
    "protocol_error",
    "unsupported_data",
    "bad_utf8",
    "message_too_big",
    "bad_messages",
    "internal",
    "drain",
    "overload",
    "auth_failed",
    "kicked",
    "connect_timeout",
    "handshake_timeout",
    "session_policy",
    "token_expired",
    "slow_consumer",
    "rate_limited",
];
const REFUSALS: [&str; 8] = [
    "full",
    "draining",
    "origin",
    "per_ip",
    "bad_request",
    "not_found",
    "head_too_large",
    "no_descriptors",
];

/// Metric family by name: its type.
fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect()
}

#[test]
fn every_name_of_the_contract_is_there_with_its_type() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    client.refused(json!({"path": "a", "id": 1}), 404, "no_handler");
    gateway.push(json!({"user": "u"}), "p", json!(1));
    client.json();
    let reply = gateway.get("/metrics");
    assert_eq!(reply.status, 200);
    assert!(
        reply.content_type.starts_with("text/plain") || reply.content_type.starts_with("application/openmetrics-text"),
        "{reply:?}"
    );
    let types = types(&reply.body);
    for (name, kind) in [
        ("longwire_connections", "gauge"),
        ("longwire_users", "gauge"),
        ("longwire_accepted", "counter"),
        ("longwire_refused", "counter"),
        ("longwire_closed", "counter"),
        ("longwire_auth", "counter"),
        ("longwire_messages_received", "counter"),
        ("longwire_pushes", "counter"),
        ("longwire_deliveries", "counter"),
        ("longwire_outbound_bytes", "gauge"),
        ("longwire_bytes", "counter"),
        ("longwire_calls", "counter"),
        ("longwire_push_delay_seconds", "histogram"),
        ("longwire_turn_seconds", "histogram"),
        ("longwire_bus_connected", "gauge"),
        ("longwire_bus_dropped", "counter"),
        ("longwire_events_dropped", "counter"),
    ] {
        // The classic text format names a counter's family with `_total`, OpenMetrics without.
        let found = types.get(name).or_else(|| types.get(format!("{name}_total").as_str()));
        assert_eq!(found, Some(&kind), "{name}");
    }
    let labels = |name: &str, label: &str, values: &[&str]| {
        for value in values {
            let sample = format!("{name}{{{label}=\"{value}\"}}");
            assert!(gateway.metric(&sample).is_some(), "{sample} is missing");
        }
    };
    labels(
        "longwire_connections",
        "state",
        &["handshake", "unauthenticated", "open", "closing"],
    );
    labels("longwire_refused_total", "reason", &REFUSALS);
    labels("longwire_closed_total", "reason", &CLOSE_REASONS);
    labels("longwire_deliveries_total", "outcome", &["written", "dropped"]);
    for sample in [
        "longwire_users",
        "longwire_accepted_total",
        "longwire_messages_received_total",
        "longwire_outbound_bytes",
        "longwire_bus_connected",
        "longwire_bus_dropped_total",
        "longwire_push_delay_seconds_count",
        "longwire_push_delay_seconds_sum",
        "longwire_push_delay_seconds_bucket{le=\"+Inf\"}",
        "longwire_turn_seconds_count{reactor=\"0\"}",
        "longwire_turn_seconds_count{reactor=\"1\"}",
        "longwire_auth_total{result=\"ok\"}",
        "longwire_calls_total{status=\"404\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(gateway.metric(sample).is_some(), "{sample} is missing:\n{}", reply.body);
    }
    for name in [
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_max_fds",
    ] {
        assert!(gateway.metric(name).is_some(), "{name} is missing");
    }
}

#[test]
fn each_line_is_a_comment_or_a_sample() {
    let gateway = Gateway::start("");
    let body = gateway.get("/metrics").body;
    assert!(body.ends_with('\n'));
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = sample.split('{').next().unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        assert!(name.starts_with("longwire_") || name.starts_with("process_"), "{line}");
    }
}

#[test]
fn connections_are_counted_by_state_and_users_once() {
    let gateway = Gateway::start("");
    let state = |state: &str| {
        gateway
            .metric(&format!("longwire_connections{{state=\"{state}\"}}"))
            .unwrap()
    };
    let shaking = Raw::open(&gateway);
    let stranger = Client::open(&gateway);
    let mut known = vec![
        Client::login(&gateway, "a"),
        Client::login(&gateway, "b"),
        Client::login(&gateway, "c"),
    ];
    wait_until("the states", || {
        (
            state("handshake"),
            state("unauthenticated"),
            state("open"),
            state("closing"),
        ) == (1.0, 1.0, 3.0, 0.0)
    });
    assert_eq!(gateway.metric("longwire_users"), Some(3.0));
    assert_eq!(gateway.metric("longwire_accepted_total"), Some(5.0));
    known.pop().unwrap().close();
    wait_until("one to be gone", || state("open") == 2.0);
    drop((shaking, stranger, known));
    wait_until("all to be gone", || {
        ["handshake", "unauthenticated", "open", "closing"]
            .iter()
            .all(|name| state(name) == 0.0)
            && gateway.metric("longwire_users") == Some(0.0)
    });
    assert_eq!(
        (gateway.closed_for("client"), gateway.metric("longwire_accepted_total")),
        (1.0, Some(5.0))
    );
}

#[test]
fn messages_pushes_deliveries_and_bytes_are_counted() {
    let gateway = Gateway::start("");
    let mut clients = [Client::login(&gateway, "u"), Client::login(&gateway, "u")];
    for n in 0..5 {
        gateway.push(json!({"user": "u"}), "p", json!(n));
    }
    gateway.push(json!({"user": "nobody"}), "p", Value::Null);
    for client in &mut clients {
        (0..5).for_each(|_| drop(client.json()));
        client.fence();
    }
    let expect = [
        ("longwire_messages_received_total", 4.0),
        ("longwire_pushes_total{source=\"api\"}", 6.0),
        ("longwire_deliveries_total{outcome=\"written\"}", 10.0),
        ("longwire_deliveries_total{outcome=\"dropped\"}", 0.0),
        ("longwire_push_delay_seconds_count", 10.0),
        ("longwire_auth_total{result=\"ok\"}", 2.0),
        ("longwire_outbound_bytes", 0.0),
    ];
    for (sample, value) in expect {
        wait_until(&format!("{sample} to be {value}"), || {
            gateway.metric(sample) == Some(value)
        });
    }
    let text = gateway.get("/metrics").body;
    let directions = text
        .lines()
        .filter(|line| line.starts_with("longwire_bytes_total{direction="))
        .count();
    assert_eq!(directions, 2, "{text}");
}

#[test]
fn a_connection_that_is_lost_is_counted_and_forgotten() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let clients: Vec<Client> = (0..50)
        .map(|_| Client::login_with(&gateway, &token("u"), json!({"topics": ["t"]})))
        .collect();
    drop(clients);
    wait_until("all to be counted", || gateway.closed_for("connection_lost") == 50.0);
    assert_eq!(gateway.user("u")["online"], false);
    assert_eq!(gateway.push(json!({"topic": "t"}), "p", Value::Null)["matched"], 0);
}
