//! Commands whose answer somebody waits for. An inbox that is full is tried again for a moment, then whoever asks is
//! refused; what the reactors answer is gathered, and waited for no longer than a healthy one could take. Called by the
//! buses and the API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Router;
use crate::control::gather::{Gather, Gathered};
use crate::links::{Command, ConnectionId, ConnectionInfo, Kicker, SlowConnection, Target};

/// How long a full inbox is waited for before whoever asks is refused.
const INBOX_WAIT: Duration = Duration::from_secs(1);
/// How often a full inbox is tried again.
const INBOX_RETRY: Duration = Duration::from_millis(1);
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

impl Router {
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

async fn finish(gather: Gather) -> Result<Gathered, Unanswered> {
    gather
        .finish(Instant::now() + ANSWER_WAIT)
        .await
        .ok_or(Unanswered::Late)
}
