//! The session policy at work: hands logins and departures to `sessions::Registry`, and carries out what it says. Says
//! nothing to other nodes itself: the bus takes from here what they must hear, and brings what they say. Shared by
//! `outbox` and the bus of a cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::router::Router;
use super::sessions::{Answer, Batch, Login, Now, Registry, Verdict};
use super::state::unix_us;
use crate::config::Sessions as Policy;
use crate::links::{Command, ConnectionId};
use crate::node::Shared;

/// See the module.
pub struct Places {
    policy: Policy,
    registry: Mutex<Registry>,
    router: Arc<Router>,
    shared: Arc<Shared>,
    /// Whether there are other nodes to ask.
    in_cluster: AtomicBool,
    /// Rung when there may be something that other nodes must hear.
    pub changed: Notify,
}

impl Places {
    /// Nobody has a place yet. The policy cannot change while the node runs.
    pub fn new(policy: Policy, router: Arc<Router>, shared: Arc<Shared>) -> Self {
        Self {
            policy,
            registry: Mutex::new(Registry::new(shared.epoch())),
            router,
            shared,
            in_cluster: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Registry, &Policy) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut registry, &self.policy);
        while let Some(verdict) = registry.verdict() {
            let (connection, command) = match verdict {
                Verdict::Admit(connection) => (
                    connection,
                    Command::Admit {
                        connection,
                        admitted: true,
                    },
                ),
                Verdict::Refuse(connection) => (
                    connection,
                    Command::Admit {
                        connection,
                        admitted: false,
                    },
                ),
                Verdict::Replace(connection) => (connection, Command::Replace { connection }),
            };
            self.router.owe(connection, command);
        }
        result
    }

    /// A login waits for the policy's word.
    pub fn login(&self, connection: ConnectionId, user: Box<str>, device: Option<Box<str>>) {
        let now = Now {
            unix_us: unix_us(),
            steady_us: self.shared.now_us(),
        };
        let ask = self.in_cluster.load(Ordering::Relaxed);
        let login = Login {
            connection,
            user,
            device,
        };
        self.with(|registry, policy| registry.login(policy, login, now, ask));
        self.changed.notify_one();
    }

    /// A connection that asked for a place is gone.
    pub fn release(&self, connection: ConnectionId, user: &str) {
        self.with(|registry, _| registry.release(connection, user));
        self.changed.notify_one();
    }

    /// The next thing for the other nodes to hear, these.
    pub fn batch(&self, members: &[u64]) -> Option<Batch> {
        let steady_us = self.shared.now_us();
        self.with(|registry, policy| registry.batch(policy, members, steady_us))
    }

    /// Another node's batch; what is to be answered.
    pub fn heard(&self, from: u64, batch: Batch) -> Option<Answer> {
        let answer = self.with(|registry, policy| registry.heard(policy, from, batch));
        self.changed.notify_one();
        answer
    }

    /// Another node's answer.
    pub fn answered(&self, from: u64, answer: Answer) {
        self.with(|registry, policy| registry.answer(policy, from, answer));
        self.changed.notify_one();
    }

    /// Another node is gone.
    pub fn node_gone(&self, epoch: u64) {
        self.with(|registry, policy| registry.node_gone(policy, epoch));
    }

    /// The bus is there, anew: everything is told once more.
    pub fn rejoin(&self) {
        self.in_cluster.store(true, Ordering::Relaxed);
        self.with(|registry, _| registry.rejoin());
        self.changed.notify_one();
    }

    /// The bus is gone: this node decides by itself.
    pub fn alone(&self) {
        self.in_cluster.store(false, Ordering::Relaxed);
        self.with(|registry, policy| registry.alone(policy));
    }

    /// Decides what has waited long enough. To be called every few milliseconds.
    pub fn tick(&self) {
        let steady_us = self.shared.now_us();
        self.with(|registry, policy| {
            if registry
                .next_deadline_us()
                .is_some_and(|deadline_us| deadline_us <= steady_us)
            {
                registry.tick(policy, steady_us);
            }
        });
    }
}
