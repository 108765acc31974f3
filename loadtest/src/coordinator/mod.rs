//! The coordinator: starts workers (`start`), tells them what to do, listens, samples, publishes, and puts the result
//! together. Scenarios are scripts over `Load`. It holds no client connection itself.

mod connecting;
mod finish;
mod publishing;
mod start;
mod watch;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cli::Options;
use crate::clock;
use crate::histogram::Delays;
use crate::interrupt;
use crate::plan::{Answer, Command, When};
use crate::publisher::Ledger;
use crate::report::progress::Progress;
use crate::result::Run;
use crate::server::Started;

pub use publishing::Publishing;
pub use start::{Needs, PER_WORKER};
pub use watch::Usage;
use watch::Watch;
use workers::{Said, Worker};

/// How far ahead of now a schedule begins, microseconds: everybody has heard of it by then.
const AHEAD_US: u64 = 200_000;

/// A run under way.
pub struct Load {
    /// The flags.
    pub options: Options,
    /// What is found.
    pub run: Run,
    /// What was published.
    pub ledger: Ledger,
    /// Delays by kind since the phase began.
    pub phase: BTreeMap<String, Delays>,
    /// The gateway that was started for the run.
    pub started: Option<Started>,
    workers: Vec<Worker>,
    said: Receiver<Said>,
    watch: Watch,
    progress: Option<Progress>,
    /// Delays by kind since the measuring began.
    delays: BTreeMap<String, Delays>,
    /// Pushes that were sent, counted along.
    sent: Arc<AtomicU64>,
    storms: bool,
    began_us: u64,
    publisher_lag: Delays,
    mark: u32,
}

impl Load {
    /// The server's process, where it is known.
    pub fn server(&self) -> Option<u32> {
        self.watch.server
    }

    /// A look at everybody's CPU.
    pub fn usage(&self) -> Usage {
        self.watch.usage()
    }

    /// Sets a figure of the result.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.run.figures.insert(name.to_owned(), value);
    }

    /// The delays of a kind since the phase began; what workers have not told yet is waited for.
    ///
    /// # Errors
    /// A worker is gone.
    pub fn phase_delays(&mut self, doing: &str, kind: &str) -> Result<Delays, String> {
        self.pass(doing, Duration::from_millis(600))?;
        Ok(self.phase.get(kind).cloned().unwrap_or_default())
    }

    /// Tells one worker.
    ///
    /// # Errors
    /// It is gone.
    pub fn tell_worker(&mut self, place: usize, command: &Command) -> Result<(), String> {
        self.workers[place].tell(command)
    }

    /// Says why the run counts for nothing.
    pub fn void(&mut self, reason: String) {
        self.run.void.push(reason);
    }

    /// A remark on the terminal.
    pub fn note(&self, remark: &str) {
        if let Some(progress) = &self.progress {
            progress.note(remark);
        }
    }

    /// Tells every worker.
    ///
    /// # Errors
    /// One is gone.
    pub fn tell(&mut self, command: &Command) -> Result<(), String> {
        self.workers.iter_mut().try_for_each(|worker| worker.tell(command))
    }

    /// Tells every worker its share of a rate: in turn they make up the whole.
    ///
    /// # Errors
    /// One is gone.
    pub fn tell_shares(&mut self, when: When, command: impl Fn(When) -> Command) -> Result<(), String> {
        let count = self.workers.len() as f64;
        for (place, worker) in self.workers.iter_mut().enumerate() {
            let share = When {
                at_us: when.at_us + (place as f64 * 1e6 / when.per_second.max(1e-9)) as u64,
                per_second: when.per_second / count,
                until_us: when.until_us,
            };
            worker.tell(&command(share))?;
        }
        Ok(())
    }

    /// The same for all workers but the first.
    ///
    /// # Errors
    /// One is gone.
    pub fn tell_others(&mut self, command: &dyn Fn(When) -> Command, when: When) -> Result<(), String> {
        let count = (self.workers.len() - 1).max(1) as f64;
        let share = When {
            per_second: when.per_second / count,
            ..when
        };
        self.workers
            .iter_mut()
            .skip(1)
            .try_for_each(|worker| worker.tell(&command(share)))
    }

    /// A schedule that begins shortly.
    pub fn soon(&self, per_second: f64, lasts: Duration) -> When {
        let at_us = clock::now_us() + AHEAD_US;
        When {
            at_us,
            per_second,
            until_us: at_us + lasts.as_micros() as u64,
        }
    }

    /// Listens and samples until `done` says so; false: it did not within so many seconds, or somebody wants the run to end.
    ///
    /// # Errors
    /// A worker is gone.
    pub fn wait(&mut self, doing: &str, seconds: f64, mut done: impl FnMut(&Self) -> bool) -> Result<bool, String> {
        let mut is_done = false;
        self.wait_through(doing, seconds, |load| {
            is_done = done(load);
            is_done || interrupt::asked()
        })?;
        Ok(is_done)
    }

    /// The same for what has to be waited for even then.
    fn wait_through(&mut self, doing: &str, seconds: f64, mut done: impl FnMut(&Self) -> bool) -> Result<bool, String> {
        let until_us = clock::now_us() + (seconds * 1e6) as u64;
        loop {
            if done(self) {
                return Ok(true);
            }
            let now_us = clock::now_us();
            if now_us >= until_us {
                return Ok(false);
            }
            self.sample(doing);
            let pause = Duration::from_micros((until_us - now_us).clamp(100, 20_000));
            match self.said.recv_timeout(pause) {
                Ok(said) => self.take(said)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("all workers are gone".to_owned()),
            }
        }
    }

    /// Listens and samples for a while.
    ///
    /// # Errors
    /// A worker is gone.
    pub fn pass(&mut self, doing: &str, time: Duration) -> Result<(), String> {
        self.wait(doing, time.as_secs_f64(), |_| false).map(|_| ())
    }

    fn take(&mut self, (place, answer): Said) -> Result<(), String> {
        let measuring = self.watch.measuring();
        let worker = &mut self.workers[place];
        match answer {
            Some(Answer::Ready) => worker.ready = true,
            Some(Answer::Settled(accounts)) => worker.settled = Some(accounts),
            Some(Answer::Failed(error)) => return Err(format!("worker {place}: {error}")),
            None => return Err(format!("worker {place} ended: {}", worker.end())),
            Some(Answer::Tick(tick)) => {
                if let Some(lag) = Delays::from_text(&tick.lag) {
                    self.watch.lag(&lag);
                    if place == 0 {
                        // How late the one who measures was: what a thread with next to nothing to do waits for a core.
                        self.phase.entry("lag".to_owned()).or_default().add(&lag);
                    }
                    if measuring {
                        worker.lag.add(&lag);
                    }
                }
                for (kind, text) in &tick.delays {
                    let Some(delays) = Delays::from_text(text) else {
                        continue;
                    };
                    self.watch.delays(kind, &delays);
                    self.phase.entry(kind.clone()).or_default().add(&delays);
                    self.delays.entry(kind.clone()).or_default().add(&delays);
                }
                worker.tick = tick;
            }
        }
        Ok(())
    }

    fn sample(&mut self, doing: &str) {
        let pids: Vec<u32> = self.workers.iter().map(Worker::pid).collect();
        let ticks = self.workers.iter().map(|worker| &worker.tick);
        let sent = self.sent.load(Ordering::Relaxed);
        if let Some(sample) = self.watch.second(&pids, ticks, sent) {
            if let Some(progress) = &mut self.progress {
                progress.tick(doing, &sample);
            }
            self.run.samples.push(sample);
        }
    }

    /// How many are logged in.
    pub fn connected(&self) -> u32 {
        self.workers.iter().map(|worker| worker.tick.connected).sum()
    }

    /// How many should be and are not.
    pub fn missing(&self) -> u32 {
        self.workers.iter().map(|worker| worker.tick.missing).sum()
    }

    /// A count over all workers.
    pub fn count(&self, count: impl Fn(&crate::plan::Tick) -> u64) -> u64 {
        self.workers.iter().map(|worker| count(&worker.tick)).sum()
    }

    /// When the last login was.
    pub fn last_login_us(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.tick.last_login_us)
            .max()
            .unwrap_or(0)
    }

    /// When the last message came.
    pub fn last_received_us(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.tick.last_received_us)
            .max()
            .unwrap_or(0)
    }

    /// Connects everybody below this number; returns how long that took, in seconds.
    ///
    /// # Errors
    /// Not all get in within a generous time.
    pub fn connect(&mut self, below: u32, per_second: f64) -> Result<f64, String> {
        let at_us = clock::now_us() + if per_second > 0.0 { AHEAD_US } else { 0 };
        let when = When {
            at_us,
            per_second,
            until_us: u64::MAX,
        };
        self.tell_shares(when, |when| Command::Connect {
            at_us: when.at_us.min(at_us + 1_000_000),
            per_second: when.per_second,
            below,
        })?;
        let patience = 120.0 + f64::from(below) / if per_second > 0.0 { per_second } else { 500.0 };
        let mut hope = connecting::Hope::new(self, clock::now_us(), per_second);
        self.wait("connecting", patience, |load| {
            load.connected() >= below || hope.is_lost(load, clock::now_us())
        })?;
        if self.connected() < below {
            return Err(connecting::why_not(self, below));
        }
        Ok(self.last_login_us().saturating_sub(at_us) as f64 / 1e6)
    }

    /// From here on everything counts.
    ///
    /// # Errors
    /// A worker is gone.
    pub fn measure(&mut self) -> Result<(), String> {
        self.tell(&Command::Measure)?;
        // The ticks of before are on their way.
        self.pass("settling", Duration::from_millis(300))?;
        let pids: Vec<u32> = self.workers.iter().map(Worker::pid).collect();
        self.watch.measure(&pids);
        self.phase.clear();
        Ok(())
    }

    /// The result.
    pub fn finish(mut self) -> Run {
        if let Some(progress) = &mut self.progress {
            progress.finish();
        }
        finish::finish(self)
    }
}
