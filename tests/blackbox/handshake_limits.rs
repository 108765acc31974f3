//! Bounds on what may be connected and how long a request head may take.

use crate::support::gateway::longwire_under;
use crate::support::raw::{Response, upgrade_request};
use crate::support::{Client, Gateway, Raw, TempDir, wait_until};

/// The good request with a header that makes its head exactly `bytes` long.
fn head_of(bytes: usize) -> String {
    let bare = upgrade_request(&["X-Filler: "]).len();
    let request = upgrade_request(&[&format!("X-Filler: {}", "a".repeat(bytes - bare))]);
    assert_eq!(request.len(), bytes);
    request
}

#[track_caller]
fn answer(gateway: &Gateway, request: &str) -> Response {
    let mut raw = Raw::open(gateway);
    raw.send(request.as_bytes());
    raw.response()
}

#[test]
fn a_head_of_8_kib_passes_and_one_byte_more_is_431() {
    let gateway = Gateway::start("");
    assert_eq!(answer(&gateway, &head_of(8192)).status, 101);
    assert_eq!(answer(&gateway, &head_of(8193)).status, 431);
    wait_until("the refusal to be counted", || {
        gateway.refused_for("head_too_large") == 1.0
    });
}

#[test]
fn a_head_that_never_ends_is_431_once_it_is_too_long() {
    let gateway = Gateway::start("");
    let mut raw = Raw::open(&gateway);
    raw.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Filler: ");
    let mut sent = 0;
    while sent < 10 * 1024 && raw.try_send(&[b'a'; 512]) {
        sent += 512;
    }
    assert_eq!(raw.response().status, 431);
    raw.ended();
}

#[test]
fn many_headers_pass() {
    let gateway = Gateway::start("");
    let headers: Vec<String> = (0..50).map(|i| format!("X-Header-{i}: {i}")).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    assert_eq!(answer(&gateway, &upgrade_request(&headers)).status, 101);
}

#[test]
fn a_head_that_is_not_complete_in_time_is_closed() {
    let gateway = Gateway::start(r#"timeouts.handshake = "300ms""#);
    let mut silent = Raw::open(&gateway);
    let mut half = Raw::open(&gateway);
    half.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n");
    silent.ended();
    half.ended();
    wait_until("both to be counted", || gateway.closed_for("handshake_timeout") == 2.0);
}

#[test]
fn bytes_that_trickle_in_do_not_move_the_handshake_deadline() {
    let gateway = Gateway::start(r#"timeouts.handshake = "300ms""#);
    let mut raw = Raw::open(&gateway);
    raw.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Filler: ");
    wait_until("the connection to be closed while it trickles", || {
        raw.try_send(b"a");
        gateway.closed_for("handshake_timeout") == 1.0
    });
    let mut upgraded = Client::open(&gateway);
    upgraded.connect(&crate::support::token("u"), serde_json::Value::Null);
    upgraded.fence();
}

/// Checks a refusal that tells the client to come back.
#[track_caller]
fn come_back(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    let seconds = response.header("Retry-After").expect("Retry-After").parse::<u64>();
    assert!(seconds.is_ok_and(|s| s > 0), "{response:?}");
}

#[test]
fn past_connections_per_ip_is_429_with_retry_after_until_one_has_gone() {
    let gateway = Gateway::start("limits.connections_per_ip = 2");
    let first = Client::login(&gateway, "a");
    let _second = Client::login(&gateway, "b");
    come_back(&answer(&gateway, &upgrade_request(&[])), 429);
    come_back(&answer(&gateway, &upgrade_request(&[])), 429);
    assert_eq!(gateway.refused_for("per_ip"), 2.0);
    first.close();
    wait_until("a place to be free again", || Client::try_open(&gateway, &[]).is_ok());
}

#[test]
fn clients_behind_a_trusted_proxy_are_counted_by_their_own_addresses() {
    let gateway = Gateway::start("limits.connections_per_ip = 1");
    let from = |address: &str| Client::try_open(&gateway, &[("x-forwarded-for", address)]);
    let _a = from("203.0.113.1").ok().unwrap();
    let _b = from("203.0.113.2").ok().unwrap();
    let refused = from("203.0.113.1").err().unwrap();
    assert_eq!(refused.status(), 429);
}

#[test]
fn a_refused_handshake_gives_its_place_back() {
    let gateway = Gateway::start("limits.connections_per_ip = 1\nserver.origins = [\"https://a.example\"]");
    for _ in 0..5 {
        assert_eq!(
            answer(&gateway, &upgrade_request(&["Origin: https://evil.example"])).status,
            403
        );
        assert_eq!(answer(&gateway, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
    }
    wait_until("a connection to be let in", || Client::try_open(&gateway, &[]).is_ok());
}

#[test]
fn a_full_node_is_503_with_retry_after_until_one_has_gone() {
    let gateway = Gateway::start("server.connections_max = 3");
    let first = Client::login(&gateway, "a");
    let _others = [Client::login(&gateway, "b"), Client::login(&gateway, "c")];
    come_back(&answer(&gateway, &upgrade_request(&[])), 503);
    wait_until("the refusal to be counted", || gateway.refused_for("full") >= 1.0);
    first.close();
    wait_until("a place to be free again", || Client::try_open(&gateway, &[]).is_ok());
}

#[test]
fn sockets_that_are_no_websockets_yet_take_no_place() {
    let gateway = Gateway::start("server.connections_max = 2");
    let _silent: Vec<Raw> = (0..5).map(|_| Raw::open(&gateway)).collect();
    let _first = Client::login(&gateway, "a");
    let second = Client::login(&gateway, "b");
    // Nor do those that were refused and have not gone yet.
    let _refused: Vec<Raw> = (0..3)
        .map(|_| {
            let mut raw = Raw::open(&gateway);
            raw.send(upgrade_request(&[]).as_bytes());
            assert_eq!(raw.response().status, 503);
            raw
        })
        .collect();
    drop(second);
    wait_until("the one place to be free", || Client::try_open(&gateway, &[]).is_ok());
}

#[test]
fn connections_that_come_and_go_leave_no_trace_in_the_count() {
    let gateway = Gateway::start("server.connections_max = 5");
    for round in 0..20 {
        let clients: Vec<Client> = (0..5)
            .map(|_| {
                let mut opened = None;
                wait_until("a place to be free", || {
                    opened = Client::try_open(&gateway, &[]).ok();
                    opened.is_some()
                });
                opened.unwrap()
            })
            .collect();
        if round % 2 == 0 {
            clients.into_iter().for_each(Client::close);
        }
    }
    wait_until("the gauges to be back at zero", || {
        ["handshake", "unauthenticated", "open", "closing"]
            .iter()
            .all(|state| gateway.metric(&format!("longwire_connections{{state=\"{state}\"}}")) == Some(0.0))
    });
}

#[test]
fn when_descriptors_run_out_newcomers_are_refused_and_the_others_served_until_some_are_free() {
    for reactors in 1..=3 {
        descriptors_run_out(reactors);
    }
}

/// The reactors share a table of descriptors, and each has one put aside to answer with.
fn descriptors_run_out(reactors: usize) {
    let settings = format!("server.connections_max = 1000\nserver.reactors = {reactors}");
    let gateway = Gateway::start_in(TempDir::new(), &settings, |command| {
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut limited = longwire_under("ulimit -n 80 && exec \"$0\" \"$@\"");
        limited.arg(program).args(arguments);
        *command = limited;
    });
    // They take descriptors and no places: without them the node would be full before it is out of descriptors.
    let _silent: Vec<Raw> = (0..20).map(|_| Raw::open(&gateway)).collect();
    let mut there = Vec::new();
    let mut refused = 0;
    while refused < 5 {
        assert!(there.len() < 80, "more connections than descriptors");
        let mut raw = Raw::open(&gateway);
        raw.send(upgrade_request(&[]).as_bytes());
        match raw.response() {
            response if response.status == 101 => there.push(raw),
            response => {
                come_back(&response, 503);
                refused += 1;
            }
        }
    }
    assert!(there.len() >= 20, "only {} of 80 descriptors were of use", there.len());
    // Many at once, so that the reactors turn away at the same moments.
    for _ in 0..2 {
        let mut crowd: Vec<Raw> = (0..6).map(|_| Raw::open(&gateway)).collect();
        for raw in &mut crowd {
            raw.send(upgrade_request(&[]).as_bytes());
        }
        for mut raw in crowd {
            match raw.response().status {
                // Something else of the node gave up a descriptor.
                101 => there.push(raw),
                status => assert_eq!(status, 503),
            }
        }
    }
    let mut served: Vec<Raw> = there.drain(..5).map(|raw| raw.log_in("u")).collect();
    drop(there);
    wait_until("newcomers to be let in again", || {
        Client::try_open(&gateway, &[]).is_ok()
    });
    for raw in &mut served {
        raw.send_json(&serde_json::json!({"path": "ping", "id": 1}));
        assert_eq!(raw.json()["id"], 1);
    }
    assert!(gateway.refused_for("no_descriptors") >= 5.0);
}
