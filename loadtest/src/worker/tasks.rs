//! Who does what when: connects at a rate or as fast as admitted, storms, churn, calls, broadcasts, and the timers of
//! single clients. Every planned moment that comes late counts into the lag.

use std::cmp::Reverse;

use super::client_frames as frames;
use super::connection::Stage;
use super::engine::LEAVE_PATIENCE_US;
use super::schedule::OpenLoop;
use super::{CallTask, Churn, Task, Worker};
use crate::clock;
use crate::payload::{self, Mark, Stream};
use crate::plan::{Command, Sent, When};
use crate::result::Accounts;

/// Connections dropped in one turn of a storm.
const DROPS_A_TURN: usize = 128;
/// Connections begun in one turn: more would make those who wait for their answers wait longer.
const CONNECTS_A_TURN: usize = 64;

impl Worker {
    /// Does what the coordinator says; accounts, where that was asked.
    pub fn command(&mut self, command: Command) -> Option<Accounts> {
        match command {
            Command::Connect {
                at_us,
                per_second,
                below,
            } => {
                self.holding = true;
                let away = self.away(below);
                if per_second > 0.0 {
                    self.absent = away.into();
                    self.connecting = Some(OpenLoop::new(When {
                        at_us,
                        per_second,
                        until_us: u64::MAX,
                    }));
                } else {
                    self.queue.extend(away.into_iter().map(|at| (at, None)));
                }
            }
            Command::Measure => {
                self.measuring = true;
                self.tally.accounts = Accounts::default();
                for client in &mut self.clients {
                    client.user = Default::default();
                    client.topic = Default::default();
                    client.all = Default::default();
                    client.calls = Default::default();
                }
            }
            Command::Storm { from, at_us } => {
                if self.clients.first().is_none_or(|client| client.number < from) {
                    // The stayers have a worker of their own.
                    return None;
                }
                self.queue.clear();
                self.timers.clear();
                for at in 0..self.clients.len() {
                    if self.clients[at].stage != Stage::Away || self.wanted(at) {
                        self.dropping.push(at);
                        self.queue.push_back((at, Some(at_us)));
                    }
                }
            }
            Command::Churn { when, stay_ms } => {
                self.holding = false;
                self.absent = self.away(u32::MAX).into();
                self.churn = Some(Churn {
                    schedule: OpenLoop::new(when),
                    stay_us: stay_ms * 1_000,
                });
                // Those who are here already are visitors from now on, however late the first of the others comes.
                let now_us = clock::now_us();
                for at in 0..self.clients.len() {
                    if self.clients[at].stage == Stage::In {
                        self.stays(at, now_us);
                    }
                }
            }
            Command::Calls { when, bytes, path } => {
                self.echoes = path.as_deref() != Some("ping");
                self.calls = Some(CallTask {
                    schedule: OpenLoop::new(when),
                    bytes: bytes as usize,
                    path,
                });
            }
            Command::Broadcast { when, bytes } => self.broadcast = Some((OpenLoop::new(when), bytes as usize)),
            Command::Slow { stop } => {
                for at in 0..self.clients.len() {
                    let client = &mut self.clients[at];
                    if client.slow && client.stage == Stage::In && client.stopped != stop {
                        client.stopped = stop;
                        if !stop {
                            // The edge that told of what waits has been passed over.
                            self.read(at);
                        }
                    }
                }
            }
            Command::Stop => {
                (self.calls, self.broadcast, self.connecting) = (None, None, None);
                if let Some(churn) = &mut self.churn {
                    churn.schedule.end();
                }
            }
            Command::Settle { sent } => return Some(self.settle(&sent)),
        }
        None
    }

    fn away(&self, below: u32) -> Vec<usize> {
        let clients = self.clients.iter().enumerate();
        let away = clients.filter(|(_, client)| client.stage == Stage::Away && client.number < below);
        away.map(|(at, _)| at).collect()
    }

    fn wanted(&self, at: usize) -> bool {
        self.holding && self.clients[at].generation > 0
    }

    /// When there is something planned next.
    pub fn next_us(&self) -> Option<u64> {
        let schedules = [
            self.connecting.as_ref().filter(|_| !self.absent.is_empty()),
            self.churn.as_ref().map(|churn| &churn.schedule),
            self.calls.as_ref().map(|calls| &calls.schedule),
            self.broadcast.as_ref().map(|(schedule, _)| schedule),
        ];
        let schedules = schedules.into_iter().flatten().filter_map(OpenLoop::next_us);
        let timer = self.timers.peek().map(|Reverse((at_us, ..))| *at_us);
        schedules.chain(timer).min()
    }

    /// Whether connections could be begun at once.
    pub fn has_work(&self) -> bool {
        !self.dropping.is_empty()
            || !self.queue.is_empty() && (self.plan.window == 0 || self.under_way < self.plan.window)
    }

    /// Does all whose moment has come.
    pub fn due(&mut self) {
        let now_us = clock::now_us();
        self.run_timers(now_us);
        while let Some(at_us) = self
            .connecting
            .as_mut()
            .filter(|_| !self.absent.is_empty())
            .and_then(|schedule| schedule.take(now_us))
        {
            let at = self.absent.pop_front().unwrap_or_default();
            self.late(at_us, now_us);
            self.queue.push_back((at, Some(at_us)));
        }
        while let Some(at_us) = self.churn.as_mut().and_then(|churn| churn.schedule.take(now_us)) {
            self.late(at_us, now_us);
            match self.absent.pop_front() {
                Some(at) => self.queue.push_back((at, Some(at_us))),
                None => self.tally.error("churn_without_free_client"),
            }
        }
        for _ in 0..DROPS_A_TURN.min(self.dropping.len()) {
            if let Some(at) = self.dropping.pop() {
                self.drop_connection(at, true);
            }
        }
        for _ in 0..CONNECTS_A_TURN {
            if !self.has_work() || !self.dropping.is_empty() {
                break;
            }
            if let Some((at, intended_us)) = self.queue.pop_front() {
                self.connect(at, intended_us.unwrap_or_else(clock::now_us));
            }
        }
        while let Some(at_us) = self.calls.as_mut().and_then(|calls| calls.schedule.take(now_us)) {
            self.late(at_us, now_us);
            self.call(at_us);
        }
        while let Some(at_us) = self.broadcast.as_mut().and_then(|(schedule, _)| schedule.take(now_us)) {
            self.late(at_us, now_us);
            self.send_broadcast(at_us);
        }
    }

    fn late(&mut self, at_us: u64, now_us: u64) {
        self.tally.lag.record(now_us.saturating_sub(at_us));
    }

    fn run_timers(&mut self, now_us: u64) {
        while let Some(Reverse((at_us, at, generation, task))) = self.timers.peek().copied() {
            if at_us > now_us {
                return;
            }
            self.timers.pop();
            let client = &mut self.clients[at];
            if client.generation != generation {
                continue;
            }
            match (task, client.stage) {
                (Task::Connect, Stage::Away) => {
                    let intended_us = client.retry_of_us.unwrap_or(at_us);
                    self.queue.push_back((at, Some(intended_us)));
                }
                (Task::GiveUp, Stage::Connecting | Stage::Upgrading | Stage::LoggingIn) => {
                    self.lost(at, "login_timeout", None);
                }
                (Task::Leave, Stage::In) => {
                    self.tally.connected -= 1;
                    client.stage = Stage::Leaving;
                    client.stays.end(now_us);
                    let sent = client.send_frame(frames::CLOSE, &1000u16.to_be_bytes(), &mut self.scratch);
                    match sent {
                        Ok(()) => self.later(now_us + LEAVE_PATIENCE_US, at, generation, Task::Forget),
                        Err(_) => self.left(at),
                    }
                }
                (Task::Forget, Stage::Leaving) => {
                    self.tally.error("close_unanswered");
                    self.left(at);
                }
                _ => {}
            }
        }
    }

    /// Files a timer.
    pub(super) fn later(&mut self, at_us: u64, at: usize, generation: u32, task: Task) {
        self.timers.push(Reverse((at_us, at, generation, task)));
    }

    /// A client has logged in: in a churn it will leave.
    pub fn stays(&mut self, at: usize, now_us: u64) {
        if let Some(churn) = &self.churn
            && !self.holding
        {
            let stay_us = fastrand::u64(churn.stay_us / 2..=churn.stay_us + churn.stay_us / 2);
            let generation = self.clients[at].generation;
            self.later(now_us + stay_us, at, generation, Task::Leave);
        }
    }

    /// A client lost its connection: it comes back at this moment, or is free for the churn.
    pub fn comes_back(&mut self, at: usize, at_us: u64) {
        if self.holding {
            let generation = self.clients[at].generation;
            self.later(at_us, at, generation, Task::Connect);
        } else {
            self.absent.push_back(at);
        }
    }

    fn call(&mut self, intended_us: u64) {
        let count = self.clients.len();
        let found = (0..count).map(|step| (self.turn + step) % count).find(|at| {
            let client = &self.clients[*at];
            client.stage == Stage::In && !client.slow
        });
        let Some(at) = found else {
            return self.tally.error("call_without_client");
        };
        self.turn = at + 1;
        let Some(task) = &self.calls else { return };
        let client = &mut self.clients[at];
        let mark = Mark {
            run: self.plan.run,
            stream: Stream::Call(client.number),
            number: client.calls.begin(&mut self.tally.accounts),
            intended_us,
        };
        let text = &mut self.text;
        text.clear();
        match &task.path {
            Some(path) => {
                text.extend_from_slice(br#"{"path":""#);
                text.extend_from_slice(path.as_bytes());
                text.extend_from_slice(br#"","id":""#);
                payload::write(&mark, 0, text);
                text.extend_from_slice(br#"","body":""#);
                payload::write(&mark, task.bytes.saturating_sub(payload::HEAD + 2), text);
            }
            None => {
                text.extend_from_slice(payload::OPENING.as_bytes());
                payload::write(&mark, payload::pads_for(task.bytes), text);
            }
        }
        text.extend_from_slice(payload::CLOSING.as_bytes());
        self.tally.sent += 1;
        if client.send_frame(frames::TEXT, text, &mut self.scratch).is_err() {
            self.lost(at, "connection_lost", None);
        }
    }

    fn send_broadcast(&mut self, intended_us: u64) {
        let Some((_, bytes)) = &self.broadcast else { return };
        if self.clients.first().is_none_or(|client| client.stage != Stage::In) {
            return self.tally.error("broadcast_without_client");
        }
        let mark = Mark {
            run: self.plan.run,
            stream: Stream::All,
            number: self.tally.broadcasts,
            intended_us,
        };
        self.text.clear();
        self.text.extend_from_slice(payload::OPENING.as_bytes());
        payload::write(&mark, payload::pads_for(*bytes), &mut self.text);
        self.text.extend_from_slice(payload::CLOSING.as_bytes());
        self.tally.sent += 1;
        self.tally.broadcasts += 1;
        let sent = self.clients[0].send_frame(frames::TEXT, &self.text, &mut self.scratch);
        if sent.is_err() {
            self.lost(0, "connection_lost", None);
        }
    }

    /// The accounts of all clients, now that it is known what was sent.
    fn settle(&self, sent: &Sent) -> Accounts {
        let mut accounts = self.tally.accounts;
        let mut failed: std::collections::BTreeMap<u32, Vec<u32>> = Default::default();
        for (stream, number) in &sent.failed {
            failed.entry(*stream).or_default().push(*number);
        }
        let failed = |stream: Stream| failed.get(&stream.number()).map_or(&[][..], Vec::as_slice);
        let now_us = clock::now_us();
        let mut owed: std::collections::BTreeMap<u32, Vec<u32>> = Default::default();
        for taken in &sent.taken {
            let client = self.clients.get(taken.client.wrapping_sub(self.plan.first) as usize);
            if client.is_some_and(|client| client.stays.hold(taken.sent_us, taken.taken_us, now_us)) {
                owed.entry(taken.client).or_default().push(taken.number);
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            let here = client.stage == Stage::In && !client.slow;
            let users = sent.users.get(at).copied().unwrap_or(0);
            let owed = owed.get(&client.number).map_or(&[][..], Vec::as_slice);
            let failed_ones = failed(Stream::User(client.number));
            client.user.settle(users, here, failed_ones, owed, &mut accounts);
            client
                .all
                .settle(sent.all, here, failed(Stream::All), &[], &mut accounts);
            if let Some(topic) = self.plan.topic(client.number) {
                let count = sent.topics.get(topic as usize).copied().unwrap_or(0);
                let failed = failed(Stream::Topic(topic));
                client.topic.settle(count, here, failed, &[], &mut accounts);
            }
            accounts.lost += client.calls.open() as u64;
        }
        accounts
    }

    /// Clients that should be connected and are not.
    pub fn missing(&self) -> u32 {
        if self.churn.is_some() && !self.holding {
            return 0;
        }
        let waiting = self.queue.len() + self.timers_to_connect() + self.under_way as usize;
        let planned = if self.connecting.is_some() {
            self.absent.len()
        } else {
            0
        };
        (waiting + planned) as u32
    }

    fn timers_to_connect(&self) -> usize {
        let waiting = self.timers.iter().filter(|Reverse((_, at, generation, task))| {
            let client = &self.clients[*at];
            *task == Task::Connect && client.generation == *generation && client.stage == Stage::Away
        });
        waiting.count()
    }
}
