//! Listening sockets from a service manager (`sd_listen_fds(3)`): here the test opens them, and a shell passes them on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::client::stream_to;
use crate::support::gateway::{command_to_end, config, longwire, longwire_under};
use crate::support::raw::upgrade_request;
use crate::support::{Client, Gateway, Raw, TempDir, Value, token, wait_until};

/// The same command with this socket as its descriptor 3, as a service manager starts it.
fn pass(command: &mut Command, socket: impl Into<OwnedFd>) {
    let mut shell = longwire_under("exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"");
    shell.arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell.stdin(socket.into());
    *command = shell;
}

#[test]
fn who_connects_while_nobody_runs_is_served_by_the_next_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = || {
        let listen = format!("server.listen = [\"{address}\"]\ntimeouts.drain = \"100ms\"");
        let socket = listener.try_clone().unwrap();
        Gateway::start_in(TempDir::new(), &listen, |command| pass(command, socket))
    };
    let mut first = start();
    assert_eq!(first.ws(), address);
    let mut client = Client::login(&first, "u");
    first.run.signal("TERM");
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(first.run.exit_code(), 0);

    let waiting: Vec<_> = (0..50).map(|_| stream_to(address)).collect();
    let second = start();
    for stream in waiting {
        let mut client = Raw::over(stream).upgrade().log_in("u");
        client.send_json(&json!({"path": "ping", "id": 1}));
        assert_eq!(client.json()["id"], 1);
    }
    Client::login(&second, "u").fence();
}

/// Asks for an upgrade: the status of the answer; `None`: the process was gone, or the drain over, before there was one.
fn knock(address: SocketAddr) -> Option<u16> {
    // Panics if the connect is refused, which is what must never happen.
    let mut stream = stream_to(address);
    stream.write_all(upgrade_request(&[]).as_bytes()).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start)
        .ok()?
        .strip_prefix("HTTP/1.1 ")?
        .parse()
        .ok()
}

#[test]
fn no_connect_is_refused_while_one_process_goes_and_the_next_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = || {
        let listen = format!("server.listen = [\"{address}\"]\ntimeouts.drain = \"300ms\"");
        let socket = listener.try_clone().unwrap();
        Gateway::start_in(TempDir::new(), &listen, |command| pass(command, socket))
    };
    let mut first = start();
    let mut clients: Vec<Client> = (0..10).map(|n| Client::login(&first, &format!("u{n}"))).collect();
    let over = AtomicBool::new(false);
    let knock_until_over = || {
        let mut last = None;
        while !over.load(Ordering::Relaxed) {
            last = knock(address);
            assert!(matches!(last, None | Some(101 | 503)), "{last:?}");
        }
        last
    };
    std::thread::scope(|scope| {
        let knockers: Vec<_> = (0..4).map(|_| scope.spawn(knock_until_over)).collect();
        first.run.signal("TERM");
        for client in &mut clients {
            assert_eq!(client.closed().0, 1012);
        }
        clients.clear();
        assert_eq!(first.run.exit_code(), 0);
        let second = start();
        Client::login(&second, "u").fence();
        wait_until("somebody to be served", || knock(address) == Some(101));
        over.store(true, Ordering::Relaxed);
        for knocker in knockers {
            assert_eq!(knocker.join().unwrap(), Some(101), "the last of each was served");
        }
    });
}

#[test]
fn every_reactor_takes_from_the_one_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!(
        "server = {{ listen = [\"{}\"], reactors = 3 }}",
        listener.local_addr().unwrap()
    );
    let gateway = Gateway::start_in(TempDir::new(), &listen, |command| pass(command, listener));
    let mut clients: Vec<Client> = (0..100).map(|n| Client::login(&gateway, &format!("u{n}"))).collect();
    assert_eq!(gateway.push(json!({"all": true}), "p", json!(1))["queued"], 100);
    for client in &mut clients {
        assert_eq!(client.json()["path"], "p");
    }
}

#[test]
fn addresses_that_were_not_passed_are_opened_as_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = listener.local_addr().unwrap();
    let listen = format!("server.listen = [\"127.0.0.2:0\", \"{passed}\"]");
    let gateway = Gateway::start_in(TempDir::new(), &listen, |command| pass(command, listener));
    assert_eq!(gateway.listens[1], passed);
    for listen in &gateway.listens {
        Raw::over(stream_to(*listen)).upgrade().log_in("u");
    }
}

#[test]
fn a_unix_socket_is_passed_by_its_path_and_stays_there() {
    let dir = TempDir::new();
    let path = dir.path().join("ws.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let kept = listener.try_clone().unwrap();
    let listen = format!(
        "server.listen = [\"127.0.0.1:0\", \"unix:{}\"]\ntimeouts.drain = \"0s\"",
        path.display()
    );
    let mut gateway = Gateway::start_in(dir, &listen, |command| pass(command, listener));
    let mut client = Client::open_unix(&path, &[]);
    client.connect(&token("u"), Value::Null);
    gateway.run.signal("TERM");
    assert_eq!(client.closed().0, 1012);
    drop(client);
    assert_eq!(gateway.run.exit_code(), 0);
    kept.set_nonblocking(true).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&path).expect("it listens still");
    kept.accept().unwrap();
}

#[test]
fn the_api_takes_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listen = format!("api.listen = \"{address}\"");
    let gateway = Gateway::start_in(TempDir::new(), &listen, |command| pass(command, listener));
    assert_eq!(gateway.api, address);
    assert_eq!(gateway.get("/healthz").status, 200);
}

/// Starts with this socket and must not serve; what it says.
fn refusal(socket: impl Into<OwnedFd>) -> String {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config(""));
    let mut command = longwire();
    command.arg("serve").arg("--config").arg(&file).current_dir(dir.path());
    pass(&mut command, socket);
    let (code, _, stderr) = command_to_end(&mut command);
    assert_eq!(code, 1, "{stderr}");
    stderr
}

#[test]
fn a_socket_that_the_configuration_does_not_name_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let said = refusal(listener);
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = stream_to(listener.local_addr().unwrap());
    let said = refusal(connected);
    assert!(said.contains("Accept=no"), "{said}");
    let said = refusal(std::fs::File::open("/dev/null").unwrap());
    assert!(said.contains("ListenStream="), "{said}");
}
