//! Commands that nobody waits for: they are handed over at once, and where an inbox is full they wait here for room. What
//! came from the bus waits in a backlog that has a bound; past it whoever offers is told. What is owed (replies,
//! admissions, reloads) has none: whoever makes it stops while there is much (`owed`). Never blocks; called by the
//! buses, `places`, `lifecycle`, and by `outbox`, which sends what waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Router;
use crate::control::gather::Gather;
use crate::links::{Command, ConnectionId, Kicker, Target, UserName};

/// What may wait for a full inbox of one reactor, of what came from the bus, in bytes of memory. Past it what comes is
/// dropped, and whoever offered it is told: a reactor that is this far behind has some 500,000 small pushes to do.
const BACKLOG_BYTES_MAX: usize = 128 << 20;
/// What a waiting command takes beside its frame.
const COMMAND_BYTES: usize = 128;

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

/// What came from the bus for a reactor without room, in its order.
#[derive(Default)]
pub(super) struct Backlog {
    commands: VecDeque<Command>,
    bytes: usize,
}

impl Router {
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
}

fn frame_bytes(command: &Command) -> usize {
    match command {
        Command::Push { frame, .. } => frame.len(),
        _ => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
