//! Unix-socket listeners: where a proxy on the same host has no port range to run out of.

use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::json;

use crate::support::gateway::{config, run_to_end};
use crate::support::{Client, Gateway, TempDir, Value, token};

/// A gateway with a TCP and a Unix listener, and the latter's path.
fn start(changes: &str) -> (Gateway, std::path::PathBuf) {
    let dir = TempDir::new();
    let path = dir.path().join("ws.sock");
    let listen = format!(
        "server.listen = [\"127.0.0.1:0\", \"unix:{}\"]\n{changes}",
        path.display()
    );
    (Gateway::start_in(dir, &listen, |_| {}), path)
}

#[test]
fn clients_come_in_over_a_unix_socket() {
    let (gateway, path) = start("");
    let mut unix = Client::open_unix(&path, &[]);
    unix.connect(&token("u"), Value::Null);
    let mut tcp = Client::login(&gateway, "u");
    assert_eq!(gateway.push(json!({"user": "u"}), "p", json!(1))["queued"], 2);
    assert_eq!(unix.json(), json!({"path": "p", "body": 1}));
    assert_eq!(tcp.json(), json!({"path": "p", "body": 1}));
    unix.fence();
    let many: Vec<Client> = (0..50).map(|_| Client::open_unix(&path, &[])).collect();
    for mut client in many {
        client.connect(&token("many"), Value::Null);
        client.close();
    }
    unix.fence();
}

#[test]
fn a_proxy_on_the_unix_socket_names_the_client() {
    let (gateway, path) = start("");
    let remote = |user: &str| gateway.user(user)["connections"][0]["remote"].clone();
    let mut named = Client::open_unix(&path, &[("x-forwarded-for", "203.0.113.7")]);
    named.connect(&token("named"), Value::Null);
    assert_eq!(remote("named"), "203.0.113.7");
    let mut nameless = Client::open_unix(&path, &[]);
    nameless.connect(&token("nameless"), Value::Null);
    assert_eq!(remote("nameless"), Value::Null);
}

#[test]
fn without_trust_the_unix_socket_names_nobody() {
    let (gateway, path) = start("server.trusted_proxies = []");
    let mut client = Client::open_unix(&path, &[("x-forwarded-for", "203.0.113.7")]);
    client.connect(&token("u"), Value::Null);
    assert_eq!(gateway.user("u")["connections"][0]["remote"], Value::Null);
}

#[test]
fn a_socket_left_behind_by_a_dead_process_is_replaced() {
    let dir = TempDir::new();
    let path = dir.path().join("ws.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(
        path.exists() && UnixStream::connect(&path).is_err(),
        "the file is there, nobody behind it"
    );
    let listen = format!("server.listen = [\"unix:{}\"]", path.display());
    let gateway = Gateway::start_in(dir, &listen, |_| {});
    let mut client = Client::open_unix(&path, &[]);
    client.connect(&token("u"), Value::Null);
    assert_eq!(gateway.user("u")["online"], true);
}

#[test]
fn a_socket_that_somebody_listens_on_is_refused_and_left_alone() {
    let (gateway, path) = start("");
    let dir = TempDir::new();
    let file = dir.write(
        "longwire.toml",
        config(&format!("server.listen = [\"unix:{}\"]", path.display())),
    );
    let (code, _, stderr) = run_to_end(&["serve", "--config", file.to_str().unwrap()], dir.path());
    assert_ne!(code, 0);
    assert!(stderr.contains("ws.sock"), "{stderr}");
    Client::open_unix(&path, &[]).connect(&token("u"), Value::Null);
    assert_eq!(gateway.user("u")["user"], "u");
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_left_alone() {
    let dir = TempDir::new();
    let precious = dir.write("ws.sock", "precious");
    let file = dir.write(
        "longwire.toml",
        config(&format!("server.listen = [\"unix:{}\"]", precious.display())),
    );
    let (code, _, stderr) = run_to_end(&["serve", "--config", file.to_str().unwrap()], dir.path());
    assert_ne!(code, 0, "{stderr}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
}
