//! The way from control to the reactors: which of them a command is for, what happens when an inbox is full, and the
//! gathered answers. Commands that somebody waits for are refused after a moment of a full inbox; commands that are
//! owed (replies, admissions, reloads) are kept and sent as soon as there is room. Knows nothing of HTTP or NATS; called
//! by the buses, `outbox` and `lifecycle`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Inbox;
use super::gather::{Gather, Gathered, Gathers};
use crate::links::{Command, ConnectionId, ConnectionInfo, Kicker, Notice, SlowConnection, Target, UserName};
use crate::node::Shared;

/// How long a full inbox is waited for before whoever asks is refused.
const INBOX_WAIT: Duration = Duration::from_secs(1);
/// How often a full inbox is tried again.
const INBOX_RETRY: Duration = Duration::from_millis(1);
/// What may wait for a full inbox of one reactor, of what came from the bus, in bytes of memory. Past it what comes is
/// dropped, and whoever offered it is told: a reactor that is this far behind has some 500,000 small pushes to do.
const BACKLOG_BYTES_MAX: usize = 128 << 20;
/// What a waiting command takes beside its frame.
const COMMAND_BYTES: usize = 128;
/// How long the reactors may take to answer. A healthy one answers within a turn.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Commands sent in a row before other tasks of control get a turn.
const SENDS_A_TURN: usize = 256;

/// Who gets a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every connection of these users, each named once.
    Users(Vec<Arc<str>>),
    /// Every subscriber of exactly this topic.
    Topic(Arc<str>),
    /// Every authenticated connection.
    All,
}

/// Who gets a push from the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee<'a> {
    /// Every connection of this user.
    User(&'a str),
    /// Every subscriber of exactly this topic.
    Topic(&'a str),
    /// Every authenticated connection.
    All,
}

/// A reactor is so far behind that what came from the bus had to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Why there is no full answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The bus does not carry a message of this size.
    TooLarge,
    /// Another node would have to answer, and the bus is away.
    NoBus,
    /// A bound is reached: a reactor's inbox stayed full, or too many requests are open.
    Overloaded,
    /// Everything was handed over, but not every reactor reported in time.
    Late,
}

/// What came from the bus for a reactor without room, in its order.
#[derive(Default)]
struct Backlog {
    commands: VecDeque<Command>,
    bytes: usize,
}

/// The reactors of this node, seen from control.
pub struct Router {
    shared: Arc<Shared>,
    inboxes: Vec<Inbox>,
    gathers: Arc<Gathers>,
    owed: Vec<Mutex<VecDeque<Command>>>,
    backlogs: Vec<Mutex<Backlog>>,
    /// Wakes `outbox`, which sends what is owed.
    bell: Arc<Notify>,
}

impl Router {
    /// A router over these inboxes, one a reactor; `bell` is what `outbox` sleeps on.
    pub fn new(shared: Arc<Shared>, inboxes: Vec<Inbox>, bell: Arc<Notify>) -> Self {
        let owed = inboxes.iter().map(|_| Mutex::default()).collect();
        let backlogs = inboxes.iter().map(|_| Mutex::default()).collect();
        Self {
            shared,
            inboxes,
            gathers: Arc::default(),
            owed,
            backlogs,
            bell,
        }
    }

    /// How many reactors there are.
    pub fn reactors(&self) -> usize {
        self.inboxes.len()
    }

    /// Queues an encoded frame for its audience, one gathered answer for each push, in their order.
    ///
    /// # Errors
    /// `Overloaded` may come after a part was sent: the inboxes are filled in order.
    pub async fn push(&self, pushes: &[(Audience, Bytes)]) -> Result<Vec<Gathered>, Unanswered> {
        let arrived_us = self.shared.now_us();
        let mut gathers = Vec::with_capacity(pushes.len());
        let mut sent = 0;
        for (audience, frame) in pushes {
            let gather = self.gathers.open().ok_or(Unanswered::Overloaded)?;
            for (reactor, target) in self.targets(audience) {
                let ticket = Some(gather.ticket());
                self.send(
                    reactor,
                    Command::Push {
                        target,
                        frame: frame.clone(),
                        arrived_us,
                        ticket,
                    },
                )
                .await?;
                sent += 1;
                if sent % SENDS_A_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
            gathers.push(gather);
        }
        let deadline = Instant::now() + ANSWER_WAIT;
        let mut answers = Vec::with_capacity(gathers.len());
        for gather in gathers {
            answers.push(gather.finish(deadline).await.ok_or(Unanswered::Late)?);
        }
        Ok(answers)
    }

    /// Closes a user's connections; how many there were.
    pub async fn kick_user(&self, user: &str, code: u16, text: &Arc<str>, by: Kicker) -> Result<u64, Unanswered> {
        let user = self.user_name(user.into());
        let gather = self.gathers.open().ok_or(Unanswered::Overloaded)?;
        for reactor in self.holders(user.hash) {
            let ticket = Some(gather.ticket());
            let command = Command::KickUser {
                user: user.clone(),
                code,
                text: Arc::clone(text),
                by,
                ticket,
            };
            self.send(reactor, command).await?;
        }
        Ok(finish(gather).await?.closed)
    }

    /// Closes one connection, asked by the API; 0 if there is none of that name.
    pub async fn kick_connection(
        &self,
        connection: ConnectionId,
        code: u16,
        text: &Arc<str>,
    ) -> Result<u64, Unanswered> {
        let reactor = usize::from(connection.reactor);
        if connection.epoch != self.shared.epoch() || reactor >= self.inboxes.len() {
            return Ok(0);
        }
        let gather = self.gathers.open().ok_or(Unanswered::Overloaded)?;
        let ticket = Some(gather.ticket());
        self.send(
            reactor,
            Command::KickConnection {
                connection,
                code,
                text: Arc::clone(text),
                by: Kicker::Api,
                ticket,
            },
        )
        .await?;
        Ok(finish(gather).await?.closed)
    }

    /// A user's connections on this node.
    pub async fn find_user(&self, user: &str) -> Result<Vec<ConnectionInfo>, Unanswered> {
        let user = self.user_name(user.into());
        let gather = self.gathers.open().ok_or(Unanswered::Overloaded)?;
        for reactor in self.holders(user.hash) {
            let ticket = gather.ticket();
            self.send(
                reactor,
                Command::FindUser {
                    user: user.clone(),
                    ticket,
                },
            )
            .await?;
        }
        Ok(finish(gather).await?.connections)
    }

    /// The connections of this node with the most bytes queued, the worst first; `limit` at most.
    pub async fn slowest(&self, limit: usize) -> Result<Vec<SlowConnection>, Unanswered> {
        let gather = self.gathers.open().ok_or(Unanswered::Overloaded)?;
        for reactor in 0..self.inboxes.len() {
            let ticket = gather.ticket();
            self.send(reactor, Command::FindSlowest { limit, ticket }).await?;
        }
        let mut slowest = finish(gather).await?.slowest;
        slowest.sort_by_key(|connection| std::cmp::Reverse(connection.queued_bytes));
        slowest.truncate(limit);
        Ok(slowest)
    }

    /// Sends a command that must not be lost to a connection's reactor: now if there is room, else as soon as there is.
    pub fn owe(&self, connection: ConnectionId, command: Command) {
        // A connection of an earlier process, or of another node: nobody is there to get it.
        if connection.epoch == self.shared.epoch() {
            self.owe_reactor(usize::from(connection.reactor), command);
        }
    }

    /// Sends a command that must not be lost to every reactor.
    pub fn owe_all(&self, command: impl Fn() -> Command) {
        for reactor in 0..self.inboxes.len() {
            self.owe_reactor(reactor, command());
        }
    }

    fn owe_reactor(&self, reactor: usize, command: Command) {
        let Some(mut owed) = self.owed.get(reactor).map(lock) else {
            return;
        };
        if owed.is_empty() {
            let Err(back) = (self.inboxes[reactor])(command) else {
                return;
            };
            owed.push_back(back);
            self.bell.notify_one();
        } else {
            owed.push_back(command);
        }
    }

    /// Hands over a push from the bus, without waiting: `frame` makes the encoded frame, once and only if somebody here may
    /// get it. What is offered is carried out in this order, on every connection. With `gather` its answer is told there.
    ///
    /// # Errors
    /// Some reactor has no room and a full backlog: it does not get this push.
    pub fn offer(
        &self,
        to: Addressee<'_>,
        frame: impl FnOnce() -> Bytes,
        gather: Option<&Gather>,
    ) -> Result<(), NoRoom> {
        let mut frame = Some(frame);
        let mut made: Option<(Target, Bytes, u64)> = None;
        let mut result = Ok(());
        let hash = match to {
            Addressee::User(name) => self.shared.hash_user(name),
            Addressee::Topic(name) => self.shared.hash_topic(name),
            Addressee::All => 0,
        };
        for reactor in 0..self.inboxes.len() {
            let may_hold = match to {
                Addressee::User(_) => self.shared.filter(reactor).may_hold(hash),
                Addressee::Topic(_) => self.shared.topic_filter(reactor).may_hold(hash),
                Addressee::All => true,
            };
            if !may_hold {
                continue;
            }
            if let Some(frame) = frame.take() {
                let target = match to {
                    Addressee::User(name) => Target::User(UserName {
                        name: name.into(),
                        hash,
                    }),
                    Addressee::Topic(name) => Target::Topic(name.into()),
                    Addressee::All => Target::All,
                };
                made = Some((target, frame(), self.shared.now_us()));
            }
            let Some((target, frame, arrived_us)) = made.clone() else {
                break;
            };
            let bytes = frame.len();
            let command = Command::Push {
                target,
                frame,
                arrived_us,
                ticket: gather.map(Gather::ticket),
            };
            result = result.and(self.line_up(reactor, command, bytes, gather));
        }
        result
    }

    /// Hands over a kick from the bus, behind the pushes offered before.
    ///
    /// # Errors
    /// As `offer`.
    pub fn offer_kick(
        &self,
        user: &str,
        code: u16,
        text: &Arc<str>,
        by: Kicker,
        gather: Option<&Gather>,
    ) -> Result<(), NoRoom> {
        let user = self.user_name(user.into());
        let mut result = Ok(());
        for reactor in self.holders(user.hash) {
            let command = Command::KickUser {
                user: user.clone(),
                code,
                text: Arc::clone(text),
                by,
                ticket: gather.map(Gather::ticket),
            };
            result = result.and(self.line_up(reactor, command, 0, gather));
        }
        result
    }

    /// A gather for `offer`; `None` if too many are open.
    pub fn gather(&self) -> Option<Gather> {
        self.gathers.open()
    }

    fn line_up(
        &self,
        reactor: usize,
        command: Command,
        frame_bytes: usize,
        gather: Option<&Gather>,
    ) -> Result<(), NoRoom> {
        let mut backlog = lock(&self.backlogs[reactor]);
        let command = if backlog.commands.is_empty() {
            match (self.inboxes[reactor])(command) {
                Ok(()) => return Ok(()),
                Err(back) => back,
            }
        } else {
            command
        };
        let bytes = COMMAND_BYTES + frame_bytes;
        if backlog.bytes + bytes > BACKLOG_BYTES_MAX {
            if let Some(gather) = gather {
                gather.forgo();
            }
            return Err(NoRoom);
        }
        if backlog.commands.is_empty() {
            self.bell.notify_one();
        }
        backlog.bytes += bytes;
        backlog.commands.push_back(command);
        Ok(())
    }

    /// Whether something from the bus waits for room.
    pub fn has_backlog(&self) -> bool {
        self.backlogs.iter().any(|backlog| !lock(backlog).commands.is_empty())
    }

    /// How many owed commands wait for room. Whoever makes new ones stops while there are many.
    pub fn owed(&self) -> usize {
        self.owed.iter().map(|owed| lock(owed).len()).sum()
    }

    /// Sends what is owed, and what came from the bus, as far as there is room.
    pub fn send_waiting(&self) {
        for (inbox, owed) in self.inboxes.iter().zip(&self.owed) {
            let mut owed = lock(owed);
            while let Some(command) = owed.pop_front() {
                if let Err(back) = inbox(command) {
                    owed.push_front(back);
                    break;
                }
            }
        }
        for (inbox, backlog) in self.inboxes.iter().zip(&self.backlogs) {
            let mut backlog = lock(backlog);
            while let Some(command) = backlog.commands.pop_front() {
                let bytes = COMMAND_BYTES + frame_bytes(&command);
                if let Err(back) = inbox(command) {
                    backlog.commands.push_front(back);
                    break;
                }
                backlog.bytes -= bytes;
            }
            if backlog.commands.is_empty() {
                // A burst's table is not kept for the next one.
                backlog.commands = VecDeque::new();
            }
        }
    }

    /// Adds a reactor's answer to its gather.
    pub fn answered(&self, notice: Notice) {
        self.gathers.answered(notice);
    }

    /// Which reactors get a push, and what each looks for.
    fn targets(&self, audience: &Audience) -> Vec<(usize, Target)> {
        let everywhere = |target: Target| {
            (0..self.inboxes.len())
                .map(|reactor| (reactor, target.clone()))
                .collect()
        };
        match audience {
            Audience::All => everywhere(Target::All),
            Audience::Topic(topic) => {
                let hash = self.shared.hash_topic(topic);
                (0..self.inboxes.len())
                    .filter(|&reactor| self.shared.topic_filter(reactor).may_hold(hash))
                    .map(|reactor| (reactor, Target::Topic(Arc::clone(topic))))
                    .collect()
            }
            Audience::Users(users) => users
                .iter()
                .map(|user| self.user_name(Arc::clone(user)))
                .flat_map(|user| {
                    self.holders(user.hash)
                        .map(move |reactor| (reactor, Target::User(user.clone())))
                })
                .collect(),
        }
    }

    /// The reactors that may hold a user.
    fn holders(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        (0..self.inboxes.len()).filter(move |&reactor| self.shared.filter(reactor).may_hold(hash))
    }

    fn user_name(&self, name: Arc<str>) -> UserName {
        let hash = self.shared.hash_user(&name);
        UserName { name, hash }
    }

    async fn send(&self, reactor: usize, mut command: Command) -> Result<(), Unanswered> {
        let mut give_up = None;
        loop {
            match (self.inboxes[reactor])(command) {
                Ok(()) => return Ok(()),
                Err(back) => command = back,
            }
            let now = Instant::now();
            if now >= *give_up.get_or_insert(now + INBOX_WAIT) {
                return Err(Unanswered::Overloaded);
            }
            sleep(INBOX_RETRY).await;
        }
    }
}

fn frame_bytes(command: &Command) -> usize {
    match command {
        Command::Push { frame, .. } => frame.len(),
        _ => 0,
    }
}

async fn finish(gather: Gather) -> Result<Gathered, Unanswered> {
    gather
        .finish(Instant::now() + ANSWER_WAIT)
        .await
        .ok_or(Unanswered::Late)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
