//! Publishes pushes on an open-loop schedule, over the API or over NATS, and keeps the ledger: how many went to which
//! stream. Runs on a thread of the coordinator, which owns the ledger in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};

use crate::clock::{self, Alarm};
use crate::histogram::Delays;
use crate::http::{Connection, Outcome};
use crate::interrupt;
use crate::nats;
use crate::payload::{self, Mark, Stream};
use crate::plan::{Taken, When};
use crate::tokens;
use crate::worker::schedule::OpenLoop;

const ALARM: Token = Token(usize::MAX);
/// Pushes that wait for their connection; past it they are not sent, and counted.
const WAITING_MAX: usize = 200_000;
/// How long answers may take after the last push, microseconds.
const PATIENCE_US: u64 = 10_000_000;

/// How often it looks whether it is to stop, however far the next push is, microseconds.
const LOOK_UP_US: u64 = 100_000;

/// Over what.
#[derive(Clone, Debug)]
pub enum Link {
    /// `POST /v1/push`.
    Http {
        /// The API's address.
        api: SocketAddr,
        /// Its key.
        key: Option<String>,
        /// Connections at once.
        connections: usize,
    },
    /// The bus.
    Nats {
        /// Its `host:port`.
        address: String,
        /// The subjects' prefix.
        prefix: String,
    },
}

/// To whom.
#[derive(Clone, Debug)]
pub enum To {
    /// One of these clients, at random.
    Users(Arc<[u32]>),
    /// One topic after the other.
    Topics(u32),
    /// Everybody.
    All,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Marks the run's messages.
    pub run: u32,
    /// The schedule.
    pub when: When,
    /// To whom.
    pub to: To,
    /// Bytes of a push as the client gets it.
    pub bytes: usize,
    /// Over what.
    pub link: Link,
}

/// How many pushes went to each stream.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// To each client's user.
    pub users: Vec<u32>,
    /// To each topic.
    pub topics: Vec<u32>,
    /// To everybody.
    pub all: u32,
    /// Stream and number of those that may not have been taken.
    pub failed: Vec<(u32, u32)>,
    /// When pushes to users were taken, where that is wanted (it grows with every push).
    pub taken: Option<Vec<Taken>>,
}

impl Ledger {
    /// Nothing is sent yet.
    pub fn new(clients: u32, topics: u32) -> Self {
        Self {
            users: vec![0; clients as usize],
            topics: vec![0; topics as usize],
            ..Self::default()
        }
    }

    /// Takes in what another publisher, to other streams, has added to a copy of this.
    pub fn merge(&mut self, other: Self) {
        let most = |own: &mut Vec<u32>, others: Vec<u32>| {
            for (own, other) in own.iter_mut().zip(others) {
                *own = (*own).max(other);
            }
        };
        most(&mut self.users, other.users);
        most(&mut self.topics, other.topics);
        self.all = self.all.max(other.all);
        self.failed.extend(other.failed);
        if let Some(taken) = &mut self.taken {
            taken.extend(other.taken.unwrap_or_default());
        }
    }

    /// What another publisher begins with: the same numbers, and nothing of what becomes of them.
    pub fn part(&self) -> Self {
        Self {
            failed: Vec::new(),
            taken: self.taken.is_some().then(Vec::new),
            ..self.clone()
        }
    }

    fn taken(&mut self, mark: &Mark, taken_us: u64) {
        if let (Some(taken), Stream::User(client)) = (&mut self.taken, mark.stream) {
            taken.push(Taken {
                client,
                number: mark.number,
                sent_us: mark.intended_us,
                taken_us,
            });
        }
    }

    fn next(&mut self, stream: Stream) -> u32 {
        let count = match stream {
            Stream::User(number) | Stream::Call(number) => &mut self.users[number as usize],
            Stream::Topic(topic) => &mut self.topics[topic as usize],
            Stream::All => &mut self.all,
        };
        *count += 1;
        *count - 1
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Pushes that were sent.
    pub sent: u64,
    /// Connections that the API said had matched.
    pub matched: u64,
    /// Deliveries that it said were dropped.
    pub dropped: u64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// How late the publisher was.
    pub lag: Delays,
    /// From the intended time to the API's answer.
    pub answers: Delays,
}

/// Publishes until the schedule is over (or `stop`ped) and everything is answered. `sent` counts along for the display.
///
/// # Errors
/// No connection to the bus, no poll. A connection that breaks later is counted, not an error.
pub fn publish(what: &Publish, ledger: &mut Ledger, sent: &AtomicU64, stop: &AtomicBool) -> Result<Published, String> {
    let mut schedule = Schedule {
        moments: OpenLoop::new(what.when),
        stop,
    };
    match &what.link {
        Link::Http { api, key, connections } => {
            let links = (0..(*connections).max(1)).map(|at| Connection::new(*api, key.clone(), what.bytes, Token(at)));
            over_http(what, links.collect(), &mut schedule, ledger, sent).map_err(|error| error.to_string())
        }
        Link::Nats { address, prefix } => over_nats(what, address, prefix, &mut schedule, ledger, sent)
            .map_err(|error| format!("NATS at {address}: {error}")),
    }
}

/// The moments, until somebody says stop.
struct Schedule<'a> {
    moments: OpenLoop,
    stop: &'a AtomicBool,
}

impl Schedule<'_> {
    fn next_us(&self) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) || interrupt::asked() {
            None
        } else {
            self.moments.next_us()
        }
    }

    fn take(&mut self, now_us: u64) -> Option<u64> {
        self.next_us()?;
        self.moments.take(now_us)
    }
}

fn choose(to: &To, turn: u64) -> Stream {
    match to {
        To::Users(users) => Stream::User(users[fastrand::usize(..users.len())]),
        To::Topics(topics) => Stream::Topic((turn % u64::from((*topics).max(1))) as u32),
        To::All => Stream::All,
    }
}

fn over_http(
    what: &Publish,
    mut links: Vec<Connection>,
    schedule: &mut Schedule<'_>,
    ledger: &mut Ledger,
    sent: &AtomicU64,
) -> std::io::Result<Published> {
    let mut poll = Poll::new()?;
    let mut alarm = Alarm::new(poll.registry(), ALARM)?;
    let mut events = Events::with_capacity(256);
    let mut published = Published::default();
    let (mut failed, mut taken) = (Vec::new(), Vec::new());
    let mut over_us = None;
    loop {
        let now_us = clock::now_us();
        let mut done = |mark: Mark, outcome: Outcome| {
            let answered_us = clock::now_us();
            published.answers.record(answered_us.saturating_sub(mark.intended_us));
            match outcome {
                Outcome::Pushed(pushed) => {
                    taken.push((mark, answered_us));
                    published.matched += pushed.matched;
                    published.dropped += pushed.dropped;
                }
                Outcome::Failed(status) => {
                    failed.push((mark.stream.number(), mark.number));
                    *published.errors.entry(format!("push_status_{status}")).or_default() += 1;
                }
            }
        };
        let waiting: usize = links.iter().map(Connection::open).sum();
        let mut begun = 0;
        let mut refused = 0;
        while let Some(intended_us) = schedule.take(now_us) {
            published.lag.record(now_us - intended_us);
            if waiting + begun >= WAITING_MAX {
                refused += 1;
                continue;
            }
            begun += 1;
            let stream = choose(&what.to, published.sent);
            let mark = Mark {
                run: what.run,
                stream,
                number: ledger.next(stream),
                intended_us,
            };
            published.sent += 1;
            let link = stream.number() as usize % links.len();
            links[link].push(mark, poll.registry(), &mut done);
        }
        sent.fetch_add(begun as u64, Ordering::Relaxed);
        let open: usize = links.iter().map(Connection::open).sum();
        let next_us = schedule.next_us();
        over_us = over_us.or(next_us.is_none().then_some(now_us));
        if over_us.is_some_and(|over_us| open == 0 || now_us > over_us + PATIENCE_US) {
            links.iter_mut().for_each(|link| link.give_up(&mut done));
            add(&mut published.errors, "push_not_sent", refused);
            break;
        }
        let before_us = clock::now_us();
        let alarm_us = next_us.unwrap_or(u64::MAX).min(before_us + LOOK_UP_US);
        let timeout = (alarm_us <= before_us).then_some(Duration::ZERO);
        alarm.set(alarm_us)?;
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if let Some(link) = links.get_mut(event.token().0) {
                link.event(poll.registry(), &mut done);
            }
        }
        add(&mut published.errors, "push_not_sent", refused);
        taken.drain(..).for_each(|(mark, at_us)| ledger.taken(&mark, at_us));
    }
    taken.drain(..).for_each(|(mark, at_us)| ledger.taken(&mark, at_us));
    ledger.failed.append(&mut failed);
    Ok(published)
}

fn over_nats(
    what: &Publish,
    address: &str,
    prefix: &str,
    schedule: &mut Schedule<'_>,
    ledger: &mut Ledger,
    sent: &AtomicU64,
) -> std::io::Result<Published> {
    let mut bus = nats::Publisher::connect(address)?;
    let mut poll = Poll::new()?;
    let mut alarm = Alarm::new(poll.registry(), ALARM)?;
    let mut events = Events::with_capacity(16);
    let mut published = Published::default();
    let mut text = Vec::new();
    let mut broken = false;
    while let Some(next_us) = schedule.next_us() {
        let now_us = clock::now_us();
        if next_us > now_us {
            alarm.set(next_us.min(now_us + LOOK_UP_US))?;
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
                _ => continue,
            }
        }
        let (mut filed, mut marks) = (Vec::new(), Vec::new());
        while let Some(intended_us) = schedule.take(now_us) {
            published.lag.record(now_us - intended_us);
            if broken {
                add(&mut published.errors, "bus_lost", 1);
                continue;
            }
            let stream = choose(&what.to, published.sent);
            let number = ledger.next(stream);
            published.sent += 1;
            sent.fetch_add(1, Ordering::Relaxed);
            let (run, subject) = (what.run, subject(prefix, stream));
            text.clear();
            text.extend_from_slice(payload::OPENING.as_bytes());
            let mark = Mark {
                run,
                stream,
                number,
                intended_us,
            };
            payload::write(&mark, payload::pads_for(what.bytes), &mut text);
            text.extend_from_slice(payload::CLOSING.as_bytes());
            bus.publish(&subject, &text);
            filed.push((stream.number(), number));
            marks.push(mark);
        }
        if bus.flush().is_err() {
            broken = true;
            add(&mut published.errors, "bus_lost", filed.len() as u64);
            ledger.failed.append(&mut filed);
        } else {
            let written_us = clock::now_us();
            marks.iter().for_each(|mark| ledger.taken(mark, written_us));
        }
    }
    if !broken && bus.confirm().is_err() {
        add(&mut published.errors, "bus_did_not_confirm", 1);
    }
    Ok(published)
}

fn subject(prefix: &str, stream: Stream) -> String {
    match stream {
        Stream::User(number) | Stream::Call(number) => format!("{prefix}.push.user.{}", tokens::user(number)),
        Stream::Topic(topic) => format!("{prefix}.push.topic.load.{topic}"),
        Stream::All => format!("{prefix}.push.all"),
    }
}

fn add(errors: &mut BTreeMap<String, u64>, kind: &str, count: u64) {
    if count > 0 {
        *errors.entry(kind.to_owned()).or_default() += count;
    }
}
