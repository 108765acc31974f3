//! What systemd is told (`sd_notify(3)`), by a socket that stands for systemd's.

use std::os::unix::net::UnixDatagram;

use crate::support::{Client, Gateway, PATIENCE, TempDir, wait_until};

/// A gateway whose notifications arrive at the socket.
fn start(changes: &str, watchdog_us: Option<u32>) -> (Gateway, UnixDatagram) {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let gateway = Gateway::start_in(dir, changes, |command| {
        command.env("NOTIFY_SOCKET", &path);
        if let Some(us) = watchdog_us {
            command.env("WATCHDOG_USEC", us.to_string());
        }
    });
    (gateway, socket)
}

/// Reads notifications until one has this line.
fn expect(socket: &UnixDatagram, line: &str) {
    let mut buffer = [0; 4096];
    wait_until(line, || {
        let read = socket.recv(&mut buffer).unwrap_or_default();
        String::from_utf8_lossy(&buffer[..read]).lines().any(|l| l == line)
    });
}

#[test]
fn readiness_reload_and_stop_are_said() {
    let (mut gateway, socket) = start("timeouts.drain = \"100ms\"", None);
    expect(&socket, "READY=1");
    Client::login(&gateway, "u").close();
    gateway.run.signal("HUP");
    expect(&socket, "READY=1");
    gateway.run.signal("TERM");
    expect(&socket, "STOPPING=1");
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn the_watchdog_is_fed_again_and_again_while_every_reactor_turns() {
    let (_gateway, socket) = start("", Some(400_000));
    for _ in 0..5 {
        expect(&socket, "WATCHDOG=1");
    }
}

#[test]
fn a_drain_asks_for_its_time_again_and_again() {
    let (mut gateway, socket) = start("timeouts.drain = \"10m\"", Some(400_000));
    let client = Client::login(&gateway, "u");
    gateway.run.signal("TERM");
    for _ in 0..3 {
        expect(&socket, "EXTEND_TIMEOUT_USEC=10000000");
    }
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
}
