//! The node under measurement: the real binary with a config of its own, and its API.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{Delay, PUSH_BYTES};

pub struct Gateway {
    child: Child,
    address: SocketAddr,
    api: SocketAddr,
    pub secret: String,
}

impl Gateway {
    pub fn start(reactors: usize, sets: &[String]) -> Self {
        let secret = "a secret for a measurement on loopback".to_owned();
        let mut child = Command::new(env!("CARGO_BIN_EXE_longwire"))
            .args(["--set", "server.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"])
            .args(["--set", &format!("server.reactors={reactors}")])
            .args([
                "--set",
                &format!("auth.keys=[{{algorithm=\"HS256\",secret=\"{secret}\"}}]"),
            ])
            .args(sets.iter().flat_map(|set| ["--set", set]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut address, mut api) = (None, None);
        let mut line = String::new();
        while address.is_none() || api.is_none() {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the gateway ended before it listened"
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
        // Somebody must go on reading, or the gateway blocks when it logs.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            address: address.unwrap(),
            api: api.unwrap(),
            secret,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn push(&self, to: &str, body: &str) -> u64 {
        let text = format!(r#"{{"to":{to},"path":"bench","body":"{body}"}}"#);
        let mut answer = ureq::post(format!("http://{}/v1/push", self.api)).send(text).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["matched"].as_u64().unwrap()
    }

    /// Kicks one user; how many connections that closed.
    pub fn kick(&self, user: &str) -> u64 {
        let mut answer = ureq::delete(format!("http://{}/v1/users/{user}", self.api))
            .call()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["closed"].as_u64().unwrap()
    }

    /// Begins the drain.
    pub fn drain(&self) {
        ureq::post(format!("http://{}/v1/drain", self.api))
            .send_empty()
            .unwrap();
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// One push of `PUSH_BYTES` to everybody; how many that were.
    pub fn push_all(&self) -> u64 {
        let around = r#"{"path":"bench","body":""}"#.len();
        self.push(r#"{"all":true}"#, &"x".repeat(PUSH_BYTES - around))
    }

    /// Pushes to one user who is connected from here, one after the other.
    pub fn push_delays(&self, count: usize) -> Delay {
        let token = crate::crowd::token(&longwire::config::development(self.secret.clone()).auth, "probe");
        let (mut socket, _) = tungstenite::client(
            format!("ws://{}/ws", self.address),
            std::net::TcpStream::connect(self.address).unwrap(),
        )
        .unwrap();
        socket
            .send(format!(r#"{{"path":"connect","id":1,"token":"{token}"}}"#).into())
            .unwrap();
        while !socket
            .read()
            .unwrap()
            .to_text()
            .unwrap_or_default()
            .contains("\"status\":200")
        {}
        let agent = ureq::Agent::new_with_defaults();
        let mut delays: Vec<Duration> = (0..count)
            .map(|number| {
                let body = format!(r#"{{"to":{{"user":"probe"}},"path":"probe","body":{number}}}"#);
                let started = Instant::now();
                let url = format!("http://{}/v1/push", self.api);
                std::thread::scope(|scope| {
                    scope.spawn(|| agent.post(&url).send(body).unwrap());
                    let wanted = format!("\"path\":\"probe\",\"body\":{number}}}");
                    while !socket.read().unwrap().to_text().unwrap_or_default().contains(&wanted) {}
                    started.elapsed()
                })
            })
            .collect();
        delays.sort_unstable();
        Delay {
            p50: delays[count / 2],
            p99: delays[count * 99 / 100],
        }
    }

    /// The same while a fan-out to everybody begins four times a second. (One after the other without a pause, the crowd's
    /// own process would fill a core, and the delay would be that of waiting for it.)
    pub fn push_delays_under_fan_out(&self, count: usize) -> Delay {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.push_all();
                    std::thread::sleep(Duration::from_millis(250));
                }
            });
            let delay = self.push_delays(count);
            over.store(true, Ordering::Relaxed);
            delay
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
