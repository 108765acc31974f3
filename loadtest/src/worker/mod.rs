//! A worker: one process, one thread, one poll, up to 15,000 clients. Reads its plan and commands as JSON lines from
//! standard input, says what happened on standard output. Started by the coordinator, or by tests as a thread.

pub mod accounts;
pub mod client_frames;
pub mod connection;
mod engine;
pub mod schedule;
mod tally;
mod tasks;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use mio::{Events, Poll, Token, Waker};

use crate::clock::{self, Alarm};
use crate::plan::{Answer, Command, Plan};
use crate::tokens::{self, Mint};

use connection::Client;
use schedule::OpenLoop;
use tally::{Tally, Turn};

const ALARM: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// How often the coordinator is told, microseconds.
const TICK_US: u64 = 250_000;
/// How often the worker looks whether it wakes when it wants to, microseconds.
const PROBE_US: u64 = 20_000;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Connect,
    GiveUp,
    Leave,
    Forget,
}

struct Churn {
    schedule: OpenLoop,
    stay_us: u64,
}

struct CallTask {
    schedule: OpenLoop,
    bytes: usize,
    path: Option<String>,
}

/// See the head of this file.
pub struct Worker {
    plan: Plan,
    poll: Poll,
    clients: Vec<Client>,
    tally: Tally,
    /// Who connects next, and when that was intended (none: when it happens).
    queue: VecDeque<(usize, Option<u64>)>,
    /// Who is free to come: for connects at a rate, and for the churn.
    absent: VecDeque<usize>,
    /// Who has to drop its connection in a storm, before anybody connects again.
    dropping: Vec<usize>,
    timers: BinaryHeap<Reverse<(u64, usize, u32, Task)>>,
    connecting: Option<OpenLoop>,
    churn: Option<Churn>,
    calls: Option<CallTask>,
    broadcast: Option<(OpenLoop, usize)>,
    /// Whether who is lost comes back.
    holding: bool,
    measuring: bool,
    /// Whether replies to calls carry what was asked.
    echoes: bool,
    /// Whose turn it is to call.
    turn: usize,
    /// Upgrades and logins under way.
    under_way: u32,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    text: Vec<u8>,
}

/// The process: plan and commands from standard input, answers to standard output; ends with its input.
///
/// # Errors
/// No plan, or no poll.
pub fn run() -> Result<(), String> {
    let mut lines = io::stdin().lines();
    let plan = lines.next().and_then(Result::ok).ok_or("no plan on standard input")?;
    let plan: Plan = serde_json::from_str(&plan).map_err(|error| format!("the plan: {error}"))?;
    crate::server::nice(plan.nice);
    drop(lines); // it holds the lock that the reading thread needs
    let mut worker = Worker::new(plan)?;
    let waker = worker.waker()?;
    let (commands, given) = channel();
    std::thread::spawn(move || read_commands(io::stdin().lock(), &commands, &waker));
    let mut out = io::stdout().lock();
    worker.run(&given, &mut |answer| {
        let Ok(mut line) = serde_json::to_vec(&answer) else {
            return;
        };
        line.push(b'\n');
        // A coordinator that is gone closes standard input too, which ends this process.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    })
}

fn read_commands(lines: impl BufRead, commands: &Sender<Command>, waker: &Waker) {
    for line in lines.lines().map_while(Result::ok) {
        if let Ok(command) = serde_json::from_str(&line) {
            if commands.send(command).is_err() {
                return;
            }
            let _ = waker.wake();
        }
    }
    std::process::exit(0);
}

impl Worker {
    /// With all its clients away, their tokens made.
    ///
    /// # Errors
    /// No poll, no key.
    pub fn new(plan: Plan) -> Result<Self, String> {
        let mint = Mint::new(&plan.login)?;
        let clients = (plan.first..plan.first + plan.count).map(|number| {
            let token = mint.as_ref().map(|mint| mint.token(&tokens::user(number)));
            let slow = number % 1_000 < plan.slow_per_mille;
            Ok(Client::new(number, token.transpose()?.unwrap_or_default(), slow))
        });
        let clients = clients.collect::<Result<Vec<_>, String>>()?;
        Ok(Self {
            plan,
            poll: Poll::new().map_err(|error| error.to_string())?,
            clients,
            tally: Tally::default(),
            queue: VecDeque::new(),
            absent: VecDeque::new(),
            dropping: Vec::new(),
            timers: BinaryHeap::new(),
            connecting: None,
            churn: None,
            calls: None,
            broadcast: None,
            holding: false,
            measuring: false,
            echoes: false,
            turn: 0,
            under_way: 0,
            buffer: vec![0; 64 * 1024],
            scratch: Vec::new(),
            text: Vec::new(),
        })
    }

    /// Wakes it when a command was sent.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn waker(&self) -> Result<Arc<Waker>, String> {
        let waker = Waker::new(self.poll.registry(), WAKER).map_err(|error| error.to_string())?;
        Ok(Arc::new(waker))
    }

    /// Works until nobody can give commands any more.
    ///
    /// # Errors
    /// The poll's.
    pub fn run(&mut self, given: &Receiver<Command>, answer: &mut dyn FnMut(Answer)) -> Result<(), String> {
        self.turns(given, answer).map_err(|error| error.to_string())
    }

    fn turns(&mut self, given: &Receiver<Command>, answer: &mut dyn FnMut(Answer)) -> io::Result<()> {
        let mut alarm = Alarm::new(self.poll.registry(), ALARM)?;
        let mut events = Events::with_capacity(1024);
        let mut tick_us = clock::now_us() + TICK_US;
        answer(Answer::Ready);
        loop {
            let before_us = clock::now_us();
            let probe_us = before_us + PROBE_US;
            let next_us = self.next_us().unwrap_or(u64::MAX).min(tick_us).min(probe_us);
            let at_once = self.has_work() || next_us <= before_us;
            if at_once {
                self.poll
                    .poll(&mut events, Some(std::time::Duration::ZERO))
                    .or_else(interrupted)?;
            } else {
                alarm.set(next_us)?;
                self.poll.poll(&mut events, None).or_else(interrupted)?;
            }
            let began_us = clock::now_us();
            for event in &events {
                let Token(at) = event.token();
                if at < self.clients.len() {
                    let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                    self.event(at, readable, event.is_writable());
                }
            }
            loop {
                match given.try_recv() {
                    Ok(command) => {
                        if let Some(accounts) = self.command(command) {
                            answer(Answer::Tick(self.tick()));
                            answer(Answer::Settled(accounts));
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.due();
            let ended_us = clock::now_us();
            self.tally.turn(&Turn {
                before_us,
                wanted_us: if at_once { before_us } else { next_us },
                began_us,
                ended_us,
                events: events.iter().count() as u64,
            });
            if ended_us >= tick_us {
                tick_us = ended_us + TICK_US;
                answer(Answer::Tick(self.tick()));
            }
        }
    }

    fn tick(&mut self) -> crate::plan::Tick {
        let missing = self.missing();
        self.tally.tick(missing)
    }
}

fn interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}
