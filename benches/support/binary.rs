//! Starts the real binary on free ports of loopback, and learns from its log where it listens. Who started it ends it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// What its tokens are signed with.
pub const SECRET: &str = "a secret for a measurement on loopback";

pub struct Started {
    pub child: Child,
    pub address: SocketAddr,
    pub api: SocketAddr,
    /// The rest of its log. Somebody must go on reading it, or the node blocks when it logs.
    pub log: BufReader<ChildStderr>,
}

/// Listens when this returns. `sets` are further settings, as `--set` takes them.
pub fn start(reactors: usize, sets: &[String]) -> Started {
    let mut child = Command::new(env!("CARGO_BIN_EXE_longwire"))
        .args(["--set", "server.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"])
        .args(["--set", &format!("server.reactors={reactors}")])
        .args([
            "--set",
            &format!("auth.keys=[{{algorithm=\"HS256\",secret=\"{SECRET}\"}}]"),
        ])
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (address, api) = addresses(&mut log);
    Started {
        child,
        address,
        api,
        log,
    }
}

/// Where clients and backends reach it, once it has said both.
fn addresses(log: &mut impl BufRead) -> (SocketAddr, SocketAddr) {
    let (mut address, mut api) = (None, None);
    let mut line = String::new();
    loop {
        if let (Some(address), Some(api)) = (address, api) {
            return (address, api);
        }
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "the node ended before it listened"
        );
        let found = line
            .split("address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        if line.contains("websocket listening") {
            address = found;
        } else if line.contains("api listening") {
            api = found;
        }
    }
}
