//! What is measured, one after the other on one node.

use std::time::{Duration, Instant};

use crate::Options;
use crate::clients::{Clients, PUSH_BYTES, TO_TOPIC, TO_USER, payload};
use crate::node::Node;
use crate::server::Server;
use crate::wire::{CHUNK_BYTES, Wire, publication};

/// The topic of all clients.
pub const TOPIC: &str = "bench.all";
/// Names of users who are not here.
const ABSENT: u64 = 10_000;
/// Pushes to a topic of all clients: each is a delivery for each of them.
const FAN_OUTS: u64 = 200;
/// Reports that may be under way: a service waits for its reports.
const REPORTS_UNDER_WAY: u64 = 2_000;
/// Requests of the API, a thousand pushes each.
const BATCHES: u32 = 50;
/// The publisher of a fixed rate writes this often.
const BEAT: Duration = Duration::from_millis(1);

/// One round.
pub struct Cost {
    pub per_s: f64,
    pub control_us: f64,
    pub all_us: f64,
    /// Of the NATS server.
    pub server_us: f64,
    pub dropped: u64,
}

/// One run at a fixed rate; p50 and p99 of the delays, in the node as upper bounds of its histogram's buckets.
pub struct Paced {
    pub per_s: f64,
    pub control_percent: f64,
    pub reactors_percent: f64,
    pub in_node_ms: [f64; 2],
    pub to_client_ms: [f64; 2],
}

pub struct Bench {
    options: Options,
    base: Instant,
    // Dropped in this order: clients first, then the node that they are on.
    clients: Clients,
    node: Node,
    server: Server,
    publisher: Wire,
    /// The last number of each user's pushes, and of the topic's.
    to_user: Vec<u64>,
    to_topic: u64,
    /// Deliveries to clients so far.
    delivered: u64,
    /// Who gets every push as a node does, but only counts: the other nodes, as the NATS server sees them.
    listeners: Vec<Wire>,
    /// A service that never answers.
    service: Option<Wire>,
    /// Calls sent so far, and replies before the last of them.
    called: u64,
    answered_before: u64,
}

impl Bench {
    pub fn new(options: Options, base: Instant, server: Server, node: Node, clients: Clients) -> Self {
        let mut publisher = Wire::connect(server.address);
        publisher.subscribe("bench.reports");
        Self {
            to_user: vec![0; options.clients],
            options,
            base,
            clients,
            node,
            server,
            publisher,
            to_topic: 0,
            delivered: 0,
            listeners: Vec::new(),
            service: None,
            called: 0,
            answered_before: 0,
        }
    }

    pub fn clients_count(&self) -> u64 {
        self.options.clients as u64
    }

    fn dropped(&self) -> u64 {
        self.node.metrics().value("longwire_bus_dropped_total") as u64
    }

    fn pushes_seen(&self) -> u64 {
        self.node.metrics().value("longwire_pushes_total{source=\"bus\"}") as u64
    }

    fn next_to_user(&mut self, user: usize) -> [u8; PUSH_BYTES] {
        self.to_user[user] += 1;
        payload(TO_USER, self.to_user[user], self.base.elapsed())
    }

    /// Publishes what is prepared, and a last push with a report: when that is there, all is in the reactors' hands.
    /// `deliveries` then still have to reach the clients.
    fn round(&mut self, chunks: &[Vec<u8>], pushes: u64, deliveries: u64) -> Cost {
        let seen = self.pushes_seen();
        let dropped = self.dropped();
        let reports = self.publisher.messages();
        let heard = self.listeners.first().map_or(0, Wire::messages);
        let (cpu, server_cpu_s) = (self.node.cpu(), process_cpu_s(self.server.pid()));
        let from = Instant::now();
        for chunk in chunks {
            self.publisher.write(chunk);
        }
        let mut last = Vec::new();
        let text = payload(TO_USER, 0, Duration::ZERO);
        publication(&mut last, "longwire.push.user.nobody", Some("bench.reports"), &text);
        self.publisher.write(&last);
        self.publisher.wait_for_messages(reports + 1);
        let took = from.elapsed();
        self.delivered += deliveries;
        self.clients.wait_for_pushes(self.delivered);
        for other in &self.listeners {
            // And the last one, with the report.
            other.wait_for_messages(heard + pushes + 1);
        }
        let cpu = self.node.cpu().since(cpu);
        let server_cpu_s = process_cpu_s(self.server.pid()) - server_cpu_s;
        assert_eq!(self.pushes_seen() - seen, pushes + 1, "every push was taken in");
        assert_eq!(self.dropped(), dropped, "nothing was dropped");
        assert_eq!(self.clients.pushes(), self.delivered, "and reached its clients once");
        assert_eq!(self.clients.out_of_order(), 0, "in order");
        Cost {
            per_s: pushes as f64 / took.as_secs_f64(),
            control_us: 1e6 * cpu.control_s / pushes as f64,
            all_us: 1e6 * cpu.process_s() / pushes as f64,
            server_us: 1e6 * server_cpu_s / pushes as f64,
            dropped: self.dropped() - dropped,
        }
    }

    /// For users who are not here; the NATS server sends each to so many others, too.
    pub fn absent(&mut self, others: usize) -> Vec<Cost> {
        self.listeners = (0..others).map(|_| Wire::connect(self.server.address)).collect();
        self.listeners
            .iter_mut()
            .for_each(|other| other.subscribe("longwire.push.>"));
        let pushes = self.options.pushes / (1 + others as u64 / 2);
        let text = payload(TO_USER, 1, Duration::ZERO);
        let chunks = prepare(pushes, |bytes, number| {
            publication(
                bytes,
                &format!("longwire.push.user.absent{}", number % ABSENT),
                None,
                &text,
            );
        });
        let costs = (0..self.options.rounds)
            .map(|_| self.round(&chunks, pushes, 0))
            .collect();
        self.listeners.clear();
        costs
    }

    pub fn here(&mut self) -> Vec<Cost> {
        let pushes = self.options.pushes;
        (0..self.options.rounds)
            .map(|_| {
                let chunks = prepare(pushes, |bytes, number| {
                    let user = number as usize % self.to_user.len();
                    let text = self.next_to_user(user);
                    publication(bytes, &format!("longwire.push.user.user{user}"), None, &text);
                });
                self.round(&chunks, pushes, pushes)
            })
            .collect()
    }

    pub fn topic(&mut self, topic: &str, subscribers: u64) -> Vec<Cost> {
        let pushes = if subscribers == 0 {
            self.options.pushes
        } else {
            FAN_OUTS
        };
        (0..self.options.rounds)
            .map(|_| {
                let chunks = prepare(pushes, |bytes, _| {
                    self.to_topic += u64::from(subscribers > 0);
                    let text = payload(TO_TOPIC, self.to_topic, self.base.elapsed());
                    publication(bytes, &format!("longwire.push.topic.{topic}"), None, &text);
                });
                self.round(&chunks, pushes, pushes * subscribers)
            })
            .collect()
    }

    /// Pushes with a reply subject, with a bounded number of reports outstanding.
    pub fn reported(&mut self, is_here: bool) -> Vec<Cost> {
        let pushes = self.options.pushes / 5;
        (0..self.options.rounds)
            .map(|_| {
                let dropped = self.dropped();
                let reports = self.publisher.messages();
                let cpu = self.node.cpu();
                let from = Instant::now();
                let mut bytes = Vec::new();
                for number in 0..pushes {
                    let user = number as usize % self.to_user.len();
                    let (name, text) = if is_here {
                        (format!("user{user}"), self.next_to_user(user))
                    } else {
                        (format!("absent{user}"), payload(TO_USER, 1, Duration::ZERO))
                    };
                    let subject = format!("longwire.push.user.{name}");
                    publication(&mut bytes, &subject, Some("bench.reports"), &text);
                    if number % 200 == 199 {
                        self.publisher.write(&bytes);
                        bytes.clear();
                        let enough = (reports + number).saturating_sub(REPORTS_UNDER_WAY);
                        self.publisher.wait_for_messages(enough);
                    }
                }
                self.publisher.write(&bytes);
                self.publisher.wait_for_messages(reports + pushes);
                let took = from.elapsed();
                self.delivered += if is_here { pushes } else { 0 };
                self.clients.wait_for_pushes(self.delivered);
                let cpu = self.node.cpu().since(cpu);
                assert_eq!(self.clients.out_of_order(), 0, "in order");
                Cost {
                    per_s: pushes as f64 / took.as_secs_f64(),
                    control_us: 1e6 * cpu.control_s / pushes as f64,
                    all_us: 1e6 * cpu.process_s() / pushes as f64,
                    server_us: f64::NAN,
                    dropped: self.dropped() - dropped,
                }
            })
            .collect()
    }

    /// Pushes by the API to users who are nowhere, a thousand a request; with other nodes, which all answer.
    pub fn api(&mut self, others: usize) -> (Vec<Cost>, f64) {
        let others: Vec<Node> = (0..others)
            .map(|number| Node::start(&format!("other{number}"), self.server.address, 1, &[]))
            .collect();
        let agent = ureq::Agent::new_with_defaults();
        let until = Instant::now() + Duration::from_secs(20);
        while self.node.push_batch(&agent, 1) != 1 + others.len() as u64 {
            assert!(Instant::now() < until, "the nodes do not answer each other");
        }
        let mut of_others_us = f64::NAN;
        let costs = (0..self.options.rounds)
            .map(|_| {
                let dropped = self.dropped();
                let (cpu, other) = (self.node.cpu(), others.first().map(Node::cpu));
                let from = Instant::now();
                for _ in 0..BATCHES {
                    assert_eq!(self.node.push_batch(&agent, 1_000), 1 + others.len() as u64);
                }
                let took = from.elapsed();
                let pushes = f64::from(BATCHES) * 1e3;
                if let (Some(node), Some(before)) = (others.first(), other) {
                    of_others_us = 1e6 * node.cpu().since(before).control_s / pushes;
                }
                let cpu = self.node.cpu().since(cpu);
                Cost {
                    per_s: pushes / took.as_secs_f64(),
                    control_us: 1e6 * cpu.control_s / pushes,
                    all_us: 1e6 * cpu.process_s() / pushes,
                    server_us: f64::NAN,
                    dropped: self.dropped() - dropped,
                }
            })
            .collect();
        (costs, of_others_us)
    }

    /// Publishes by the clock, not by what comes back; one push in `one_in` is for a client.
    pub fn paced(&mut self, per_s: f64, one_in: u64) -> Paced {
        let seconds = self.options.seconds;
        let nobody = payload(TO_USER, 1, Duration::ZERO);
        let absent: Vec<Vec<u8>> = (0..ABSENT)
            .map(|number| {
                let mut bytes = Vec::new();
                publication(&mut bytes, &format!("longwire.push.user.absent{number}"), None, &nobody);
                bytes
            })
            .collect();
        let metrics = self.node.metrics();
        let cpu = self.node.cpu();
        self.clients.record_delays();
        let from = Instant::now();
        let (mut published, mut for_clients) = (0_u64, 0_u64);
        let mut bytes = Vec::new();
        while from.elapsed().as_secs_f64() < seconds {
            let due = (from.elapsed().as_secs_f64() * per_s) as u64;
            while published < due {
                if published.is_multiple_of(one_in) {
                    let user = for_clients as usize % self.to_user.len();
                    for_clients += 1;
                    let text = self.next_to_user(user);
                    publication(&mut bytes, &format!("longwire.push.user.user{user}"), None, &text);
                } else {
                    bytes.extend_from_slice(&absent[(published % ABSENT) as usize]);
                }
                published += 1;
                // A time that waits in here for the rest would not be the node's delay.
                if bytes.len() > CHUNK_BYTES / 4 {
                    self.publisher.write(&bytes);
                    bytes.clear();
                }
            }
            self.publisher.write(&bytes);
            bytes.clear();
            std::thread::sleep(BEAT);
        }
        let took = from.elapsed();
        self.delivered += for_clients;
        self.clients.wait_for_pushes(self.delivered);
        let delays = self.clients.take_delays();
        let cpu = self.node.cpu().since(cpu);
        let [in_p50, in_p99] = self.node.metrics().push_delay_s(&metrics, [0.5, 0.99]);
        let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
        assert_eq!(self.clients.out_of_order(), 0, "in order");
        let seconds = took.as_secs_f64();
        Paced {
            per_s: published as f64 / seconds,
            control_percent: 100.0 * cpu.control_s / seconds,
            reactors_percent: 100.0 * cpu.reactors_s / seconds,
            in_node_ms: [in_p50 * 1e3, in_p99 * 1e3],
            to_client_ms: [50, 99].map(|percent| at(percent).as_secs_f64() * 1e3),
        }
    }

    /// Clients' calls to a service that takes them and never answers.
    pub fn call(&mut self, calls: usize) {
        let each = calls / self.options.clients;
        let service = self.service.get_or_insert_with(|| {
            let mut service = Wire::connect(self.server.address);
            service.subscribe("longwire.call.>");
            service
        });
        let taken = service.messages();
        self.answered_before = self.clients.replies();
        self.clients.call(each);
        self.called += (each * self.options.clients) as u64;
        service.wait_for_messages(taken + (each * self.options.clients) as u64);
        assert!(
            self.calls_are_under_way(),
            "none has timed out before the last one was sent"
        );
    }

    /// Whether none of the calls sent last has been answered.
    pub fn calls_are_under_way(&self) -> bool {
        self.clients.replies() <= self.answered_before
    }

    /// Until all have timed out.
    pub fn wait_for_replies(&self) {
        self.clients.wait_for_replies(self.called);
    }

    pub fn print_losses(&self) {
        println!(
            "\n{} pushes came by NATS, longwire_bus_dropped_total is {}, {} pushes reached clients, {} out of order",
            self.pushes_seen(),
            self.dropped(),
            self.clients.pushes(),
            self.clients.out_of_order()
        );
    }
}

fn prepare(count: u64, mut publish: impl FnMut(&mut Vec<u8>, u64)) -> Vec<Vec<u8>> {
    let mut chunks = vec![Vec::with_capacity(CHUNK_BYTES + 1024)];
    for number in 0..count {
        if chunks.last().is_none_or(|chunk| chunk.len() > CHUNK_BYTES) {
            chunks.push(Vec::with_capacity(CHUNK_BYTES + 1024));
        }
        if let Some(chunk) = chunks.last_mut() {
            publish(chunk, number);
        }
    }
    chunks
}

/// CPU seconds of all threads of a process so far.
fn process_cpu_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ns: u64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    ns as f64 / 1e9
}
