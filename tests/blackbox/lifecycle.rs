//! Starting and ending: drains, second signals, ports that are taken.

use std::net::TcpListener;
use std::time::Instant;

use serde_json::json;

use crate::support::gateway::{config, longwire, run_to_end};
use crate::support::{Client, Gateway, Run, TempDir, Value, wait_until};

/// The milliseconds of `retry_ms=<n>`.
#[track_caller]
fn retry_ms(reason: &str) -> u64 {
    reason
        .strip_prefix("retry_ms=")
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{reason}"))
}

#[test]
fn sigterm_closes_every_connection_1012_each_with_its_own_retry_and_exits_0() {
    let mut gateway = Gateway::start("timeouts.drain = \"2s\"");
    let mut clients: Vec<Client> = (0..20).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    clients.push(Client::open(&gateway));
    gateway.run.signal("TERM");
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let (code, reason) = client.closed();
                let at = Instant::now();
                client.wait_ended();
                (code, retry_ms(&reason), at)
            })
        })
        .collect();
    let closes: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(closes.iter().all(|(code, ..)| *code == 1012));
    let mut slots: Vec<u64> = closes.iter().map(|(_, retry_ms, _)| *retry_ms).collect();
    slots.sort_unstable();
    slots.dedup();
    assert!(slots.len() >= 15, "each its own slot, but for chance: {slots:?}");
    let times = closes.iter().map(|(.., at)| *at);
    let spread = times.clone().max().unwrap() - times.min().unwrap();
    assert!(
        spread.as_millis() >= 500,
        "spread over the two seconds of the drain, not {spread:?}"
    );
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn sigint_drains_too() {
    let mut gateway = Gateway::start("timeouts.drain = \"200ms\"");
    let mut client = Client::login(&gateway, "u");
    gateway.run.signal("INT");
    let (code, reason) = client.closed();
    assert_eq!(code, 1012);
    retry_ms(&reason);
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn the_api_drains_too() {
    let mut gateway = Gateway::start("timeouts.drain = \"200ms\"");
    let mut client = Client::login(&gateway, "u");
    assert_eq!(gateway.request("POST", "/v1/drain", None).status, 202);
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn the_first_signal_after_a_drain_by_the_api_does_not_cut_it_short() {
    let mut gateway = Gateway::start("timeouts.drain = \"2s\"\nserver.reactors = 1");
    let mut clients: Vec<Client> = (0..3).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    assert_eq!(gateway.request("POST", "/v1/drain", None).status, 202);
    gateway.run.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.closed().0, 1012);
    }
    drop(clients);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn without_connections_a_drain_is_over_at_once() {
    let mut gateway = Gateway::start("timeouts.drain = \"10m\"");
    gateway.run.signal("TERM");
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn a_drain_ends_when_the_last_connection_has_gone_by_itself() {
    let mut gateway = Gateway::start("timeouts.drain = \"10m\"");
    let client = Client::login(&gateway, "u");
    gateway.run.signal("TERM");
    wait_until("the drain to begin", || !gateway.ready());
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn while_draining_new_clients_are_503_and_a_second_signal_exits_1_at_once() {
    let mut gateway = Gateway::start("timeouts.drain = \"10m\"");
    let mut clients: Vec<Client> = (0..3).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    gateway.run.signal("TERM");
    wait_until("/readyz to say that it drains", || gateway.get("/readyz").status == 503);
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/v1/cluster").ok()["nodes"][0]["state"], "draining");
    for _ in 0..5 {
        let response = Client::try_open(&gateway, &[]).err().expect("refused");
        assert_eq!(response.status(), 503);
        assert!(
            response.headers()["Retry-After"]
                .to_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 0
        );
    }
    assert!(gateway.refused_for("draining") >= 5.0);
    // Whoever has not had its turn yet is still served.
    let served = clients.iter_mut().map(gateway_serves).filter(|served| *served).count();
    assert!(
        served >= 1,
        "ten minutes' worth of slots, and nobody is left after a moment"
    );
    gateway.run.signal("TERM");
    assert_eq!(gateway.run.exit_code(), 1);
}

/// Whether a `ping` is answered; a close is no answer.
fn gateway_serves(client: &mut Client) -> bool {
    client.send(json!({"path": "ping", "id": "still"}));
    match client.message() {
        tungstenite::Message::Text(text) => serde_json::from_str::<Value>(&text).unwrap()["id"] == "still",
        _ => false,
    }
}

#[test]
fn what_was_queued_before_the_drain_arrives_before_the_close() {
    let mut gateway = Gateway::start("timeouts.drain = \"100ms\"");
    let mut client = Client::login(&gateway, "u");
    for n in 0..100 {
        gateway.push(json!({"user": "u"}), "p", json!({"n": n, "filler": "x".repeat(1000)}));
    }
    gateway.run.signal("TERM");
    let (messages, (code, _)) = client.until_closed();
    assert_eq!((messages.len(), code), (100, 1012));
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn a_client_that_never_answers_the_close_does_not_hold_the_exit_up() {
    let mut gateway = Gateway::start("timeouts.drain = \"100ms\"");
    let mut silent = crate::support::Raw::login(&gateway, "u");
    let _half_a_handshake = crate::support::Raw::open(&gateway);
    gateway.run.signal("TERM");
    assert_eq!(silent.closed().0, 1012);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn who_connects_and_asks_for_nothing_does_not_hold_a_drain_up() {
    let long = ["drain", "handshake", "connect"].map(|key| format!("timeouts.{key} = \"10m\"\n"));
    let mut gateway = Gateway::start(&format!("{}server.reactors = 2", long.concat()));
    let _mute: Vec<_> = (0..4).map(|_| crate::support::Raw::open(&gateway)).collect();
    let mut half = crate::support::Raw::open(&gateway);
    half.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n");
    let client = Client::login(&gateway, "u");
    wait_until("all of them to be accepted", || {
        gateway.metric("longwire_accepted_total") >= Some(6.0)
    });
    gateway.run.signal("TERM");
    wait_until("the drain to begin", || !gateway.ready());
    drop(client);
    let answer = half.response();
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    assert_eq!(gateway.run.exit_code(), 0);
}

/// Starts a second program with this config and checks that it refuses, naming the address.
#[track_caller]
fn refuses_to_start(changes: &str, address: &str) {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config(changes));
    let (code, _, stderr) = run_to_end(&["serve", "--config", file.to_str().unwrap()], dir.path());
    assert_ne!(code, 0, "{stderr}");
    assert!(stderr.contains(address), "the message names the address: {stderr}");
}

#[test]
fn a_port_that_is_taken_is_refused_at_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses_to_start(&format!("server.listen = [\"{address}\"]"), &address);
    refuses_to_start(&format!("server.listen = [\"127.0.0.1:0\", \"{address}\"]"), &address);
    refuses_to_start(&format!("api.listen = \"{address}\""), &address);
}

#[test]
fn a_port_that_another_longwire_has_is_refused_at_start() {
    let gateway = Gateway::start("");
    let (ws, api) = (gateway.ws().to_string(), gateway.api.to_string());
    refuses_to_start(&format!("server.listen = [\"{ws}\"]"), &ws);
    refuses_to_start(&format!("api.listen = \"{api}\""), &api);
    Client::login(&gateway, "u").fence();
}

#[test]
fn a_port_is_free_again_right_after_the_end() {
    let mut gateway = Gateway::start("timeouts.drain = \"100ms\"");
    let address = gateway.ws();
    let mut client = Client::login(&gateway, "u");
    gateway.run.signal("TERM");
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
    let next = Gateway::start(&format!("server.listen = [\"{address}\"]"));
    Client::login(&next, "u").fence();
}

#[test]
fn several_listeners_serve_side_by_side() {
    let gateway = Gateway::start("server.listen = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"[::1]:0\"]");
    assert_eq!(gateway.listens.len(), 3);
    for listen in &gateway.listens {
        let mut raw = crate::support::Raw::over(crate::support::client::stream_to(*listen))
            .upgrade()
            .log_in("u");
        raw.send_json(&json!({"path": "ping", "id": 1}));
        assert_eq!(raw.json()["id"], 1);
    }
}

#[test]
fn serve_is_what_runs_without_a_subcommand() {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config(""));
    let mut run = Run::start(longwire().arg("--config").arg(&file).current_dir(dir.path()));
    let (listens, _) = crate::support::gateway::wait_listening(&mut run, 1);
    assert_eq!(listens.len(), 1);
    run.signal("TERM");
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn the_log_of_a_process_without_a_terminal_has_no_colours() {
    let gateway = Gateway::start("");
    assert!(!gateway.run.output().contains('\u{1b}'));
}

#[test]
fn the_json_log_is_json_a_line() {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config("log.format = \"json\""));
    let mut run = Run::start(
        longwire()
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(dir.path()),
    );
    wait_until("it to say where it listens", || run.output().contains("api listening"));
    run.signal("TERM");
    assert_eq!(run.exit_code(), 0);
    for line in run.stderr().lines() {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()),
            "{line}"
        );
    }
}

#[test]
fn an_idle_connection_to_the_api_does_not_hold_the_exit_up() {
    use std::io::{Read, Write};
    let mut gateway = Gateway::start("timeouts.drain = \"100ms\"");
    let _silent = crate::support::client::stream_to(gateway.api);
    let mut idle = crate::support::client::stream_to(gateway.api);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    let mut half = crate::support::client::stream_to(gateway.api);
    half.write_all(b"POST /v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        .unwrap();
    gateway.run.signal("TERM");
    assert_eq!(gateway.run.exit_code(), 0);
}
