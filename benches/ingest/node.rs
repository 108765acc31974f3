//! The node under measurement: the real binary on a NATS server, its metrics, and the CPU time of its threads.

use std::io::BufRead;
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::binary::{self, SECRET, Started};
use crate::support::client;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Node {
    child: Child,
    pub address: SocketAddr,
    api: SocketAddr,
}

/// CPU seconds of the threads so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub control_s: f64,
    pub reactors_s: f64,
    pub other_s: f64,
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self {
            control_s: self.control_s - before.control_s,
            reactors_s: self.reactors_s - before.reactors_s,
            other_s: self.other_s - before.other_s,
        }
    }

    pub fn process_s(self) -> f64 {
        self.control_s + self.reactors_s + self.other_s
    }
}

impl Node {
    /// Ready when this returns.
    pub fn start(name: &str, nats: SocketAddr, reactors: usize, sets: &[String]) -> Self {
        let own = [
            format!("nats.url=nats://{nats}"),
            format!("server.node={name}"),
            "timeouts.call=12s".to_owned(),
        ];
        let Started {
            child,
            address,
            api,
            log,
        } = binary::start(reactors, &[&own, sets].concat());
        // What it warns of is worth seeing.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("dropped") || line.contains("ERROR") {
                    eprintln!("node: {line}");
                }
            }
        });
        let node = Self { child, address, api };
        let until = Instant::now() + PATIENCE;
        while ureq::get(format!("http://{}/readyz", node.api)).call().is_err() {
            assert!(Instant::now() < until, "the node is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        node
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Pushes to so many users who are nowhere, in one request; how many nodes answered for the last.
    pub fn push_batch(&self, agent: &ureq::Agent, pushes: usize) -> u64 {
        let body = "x".repeat(100);
        let pushes: Vec<String> = (0..pushes)
            .map(|number| format!(r#"{{"to":{{"user":"absent{number}"}},"path":"bench","body":"{body}"}}"#))
            .collect();
        let text = format!(r#"{{"pushes":[{}]}}"#, pushes.join(","));
        let mut answer = agent
            .post(format!("http://{}/v1/push/batch", self.api))
            .send(text)
            .unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        let results = answer["results"].as_array().unwrap();
        results.last().unwrap()["nodes"]["answered"].as_u64().unwrap()
    }

    pub fn metrics(&self) -> Metrics {
        let url = format!("http://{}/metrics", self.api);
        let mut answer = ureq::get(url).call().unwrap();
        Metrics(answer.body_mut().read_to_string().unwrap())
    }

    pub fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        let pid = self.pid();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let path = task.unwrap().path();
            let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
            let ns: f64 = read("schedstat")
                .split_whitespace()
                .next()
                .and_then(|ns| ns.parse().ok())
                .unwrap_or(0.0);
            let is_main = path
                .file_name()
                .is_some_and(|tid| tid.to_str() == Some(&pid.to_string()));
            let part = if is_main {
                &mut cpu.control_s
            } else if read("comm").starts_with("reactor-") {
                &mut cpu.reactors_s
            } else {
                &mut cpu.other_s
            };
            *part += ns / 1e9;
        }
        cpu
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of `/metrics`.
pub struct Metrics(String);

impl Metrics {
    /// The value of the line that begins with this, labels included; 0 where there is none.
    pub fn value(&self, line: &str) -> f64 {
        let mut values = self
            .0
            .lines()
            .filter_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        values.next().and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Upper bounds, in seconds, of the buckets of `longwire_push_delay_seconds` in which these shares of what was
    /// counted since `before` lie.
    pub fn push_delay_s(&self, before: &Self, shares: [f64; 2]) -> [f64; 2] {
        let buckets = |metrics: &Self| -> Vec<(f64, f64)> {
            let lines = metrics.0.lines();
            lines
                .filter_map(|line| line.strip_prefix("longwire_push_delay_seconds_bucket{le=\""))
                .filter_map(|rest| {
                    let (le, count) = rest.split_once("\"} ")?;
                    let le = le.replace("+Inf", "inf").parse().ok()?;
                    Some((le, count.parse().ok()?))
                })
                .collect()
        };
        let counted: Vec<(f64, f64)> = buckets(self)
            .into_iter()
            .zip(buckets(before))
            .map(|((le, now), (_, then))| (le, now - then))
            .collect();
        let all = counted.last().map_or(0.0, |&(_, count)| count);
        shares.map(|share| {
            let mut reached = counted.iter().filter(|&&(_, count)| all > 0.0 && count >= all * share);
            reached.next().map_or(f64::NAN, |&(le, _)| le)
        })
    }
}

/// A token of this user for all topics.
pub fn token(user: &str) -> String {
    let auth = longwire::config::development(SECRET.to_owned()).auth;
    client::token(&auth, user, Some(vec!["*".to_owned()]))
}
