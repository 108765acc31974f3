//! The node under measurement: the real binary with a config of its own, and its API.

use std::net::SocketAddr;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::binary::{self, SECRET, Started};
use crate::support::client;
use crate::{Delay, PUSH_BYTES};

pub struct Gateway {
    child: Child,
    address: SocketAddr,
    api: SocketAddr,
}

impl Gateway {
    pub fn start(reactors: usize, sets: &[String]) -> Self {
        let Started {
            child,
            address,
            api,
            mut log,
        } = binary::start(reactors, sets);
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address, api }
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
        let auth = longwire::config::development(SECRET.to_owned()).auth;
        let token = client::token(&auth, "probe", None);
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
