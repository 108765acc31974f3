//! Publishing from the coordinator: publishers on threads of their own, what they leave, and at the end the accounts: the
//! workers are told what was sent, and say what came of it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{Load, finish};
use crate::cli::Kind;
use crate::clock;
use crate::interrupt;
use crate::plan::{Command, Sent, When};
use crate::publisher::{self, Ledger, Link, Publish, Published, To};
use crate::result::Accounts;

/// How long messages that are under way are waited for, microseconds: longer than a call may take.
const QUIET_US: u64 = 6_000_000;

/// What a publisher leaves.
type Done = (Result<Published, String>, Ledger);

/// A publisher under way.
pub struct Publishing {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Option<Done>>>,
}

impl Publishing {
    /// Begins no more pushes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// How pushes go out.
    ///
    /// # Errors
    /// No address in `--api`.
    fn link(&self) -> Result<Link, String> {
        if let Some(address) = &self.options.nats {
            return Ok(Link::Nats {
                address: address.clone(),
                prefix: self.options.prefix.clone(),
            });
        }
        Ok(Link::Http {
            api: self.api()?,
            key: self.options.key.clone(),
            connections: self.options.publishers,
        })
    }

    /// The API's address.
    ///
    /// # Errors
    /// There is none in `--api`.
    pub fn api(&self) -> Result<SocketAddr, String> {
        let text = self.options.api.trim_start_matches("http://").trim_end_matches('/');
        let address = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        address.ok_or_else(|| format!("--api {}: http://HOST:PORT is wanted", self.options.api))
    }

    /// Pushes on a schedule, and waits until they are sent and answered.
    ///
    /// # Errors
    /// The bus cannot be reached, a worker is gone.
    pub fn publish(&mut self, doing: &str, when: When, to: To, bytes: u32) -> Result<Published, String> {
        let publishing = self.begin_publish(when, to, bytes)?;
        self.end_publish(doing, publishing)
    }

    /// Begins to push on a schedule.
    ///
    /// # Errors
    /// No address in `--api`.
    pub fn begin_publish(&mut self, when: When, to: To, bytes: u32) -> Result<Publishing, String> {
        let what = Publish {
            run: self.mark,
            when,
            to,
            bytes: bytes as usize,
            link: self.link()?,
        };
        let mut ledger = self.ledger.part();
        let (sent, stop) = (Arc::clone(&self.sent), Arc::<AtomicBool>::default());
        let publishing = Publishing {
            stop: Arc::clone(&stop),
            done: Arc::default(),
        };
        let done = Arc::clone(&publishing.done);
        std::thread::spawn(move || {
            let published = publisher::publish(&what, &mut ledger, &sent, &stop);
            if let Ok(mut place) = done.lock() {
                *place = Some((published, ledger));
            }
        });
        Ok(publishing)
    }

    /// Waits until the pushes are sent and answered. Publishers may be under way at once where their streams differ.
    ///
    /// # Errors
    /// The bus cannot be reached, a worker is gone.
    pub fn end_publish(&mut self, doing: &str, publishing: Publishing) -> Result<Published, String> {
        let over = |_: &Self| publishing.done.lock().is_ok_and(|place| place.is_some());
        self.wait_through(doing, 1e7, over)?;
        let taken = publishing.done.lock().ok().and_then(|mut place| place.take());
        let (published, ledger) = taken.ok_or("the publisher ended without a word")?;
        self.ledger.merge(ledger);
        let published = published?;
        for (kind, count) in &published.errors {
            *self.run.errors.entry(kind.clone()).or_default() += count;
        }
        self.publisher_lag.add(&published.lag);
        Ok(published)
    }

    /// Waits for what is under way, tells the workers what was sent, and adds up the accounts.
    ///
    /// # Errors
    /// A worker is gone or does not answer.
    pub fn settle(&mut self) -> Result<Accounts, String> {
        self.watch.end_measure();
        if interrupt::asked() {
            self.void("it was interrupted: its figures are of a part of it".to_owned());
            self.tell(&Command::Stop)?;
            // Then what was sent is known: a worker tells it four times a second.
            self.wait_through("ending", 0.6, |_| false)?;
        }
        let broadcasts = self.count(|tick| u64::from(tick.broadcasts)) as u32;
        self.ledger.all += if self.options.target_kind == Kind::Raw {
            broadcasts
        } else {
            0
        };
        let mut last = (u64::MAX, clock::now_us());
        self.wait_through("waiting for what is under way", 30.0, |load| {
            let received = load.count(|tick| tick.received);
            if received != last.0 {
                last = (received, clock::now_us());
            }
            let quiet_us = clock::now_us() - last.1;
            quiet_us > QUIET_US || (quiet_us > 600_000 && received >= load.expected())
        })?;
        let mut ledger = self.ledger.clone();
        ledger.failed.sort_unstable();
        for worker in &mut self.workers {
            let clients = worker.plan.first..worker.plan.first + worker.plan.count;
            let range = clients.start as usize..clients.end as usize;
            let taken = ledger.taken.iter().flatten();
            worker.settled = None;
            worker.tell(&Command::Settle {
                sent: Sent {
                    users: ledger.users.get(range).unwrap_or_default().to_vec(),
                    topics: ledger.topics.clone(),
                    all: ledger.all,
                    failed: ledger.failed.clone(),
                    taken: taken.filter(|taken| clients.contains(&taken.client)).copied().collect(),
                },
            })?;
        }
        let all_in = self.wait_through("settling", 60.0, |load| {
            load.workers.iter().all(|worker| worker.settled.is_some())
        })?;
        if !all_in {
            return Err("a worker does not settle its accounts".to_owned());
        }
        let accounts = self.workers.iter().filter_map(|worker| worker.settled);
        self.run.accounts = accounts.fold(Accounts::default(), finish::add);
        Ok(self.run.accounts)
    }

    /// Messages that clients should have got, roughly: only how long to wait depends on it.
    fn expected(&self) -> u64 {
        let users: u64 = self.ledger.users.iter().map(|count| u64::from(*count)).sum();
        let topics: u64 = self.ledger.topics.iter().map(|count| u64::from(*count)).sum();
        let subscribers = match self.options.subscribers {
            0 => self.options.connections,
            some => some.min(self.options.connections),
        };
        let each = u64::from(subscribers / self.options.topics.max(1));
        let calls = self.count(|tick| tick.sent - u64::from(tick.broadcasts));
        users + topics * each + u64::from(self.ledger.all) * u64::from(self.connected()) + calls
    }
}
