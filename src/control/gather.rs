//! Gathers the answers of several reactors into one: a ticket is opened, commands that carry it are sent, and each
//! reactor's notice is added until none is outstanding. Bounded; a gather whose asker is gone is forgotten. Never sends
//! anything. Used by `router`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::links::{ConnectionInfo, Notice, SlowConnection, Ticket};

/// Gathers that may be open at once; past it whoever asks is refused.
const OPEN_MAX: usize = 65_536;

/// The sum of what the reactors answered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Connections a push was for.
    pub matched: u64,
    /// Of these, how many queued it.
    pub queued: u64,
    /// Of these, how many could not.
    pub dropped: u64,
    /// Connections that were closed.
    pub closed: u64,
    /// Connections that were found.
    pub connections: Vec<ConnectionInfo>,
    /// The longest queues, in no particular order.
    pub slowest: Vec<SlowConnection>,
}

struct Open {
    /// Answers still to come, and one more until the asker has sent its last command.
    outstanding: usize,
    gathered: Gathered,
    done: oneshot::Sender<Gathered>,
}

/// All open gathers.
#[derive(Default)]
pub struct Gathers {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last_ticket: Ticket,
    open: HashMap<Ticket, Open>,
}

impl Gathers {
    /// Opens one; `None` if too many are open.
    pub fn open(self: &Arc<Self>) -> Option<Gather> {
        let (done, result) = oneshot::channel();
        let mut table = self.lock();
        if table.open.len() >= OPEN_MAX {
            return None;
        }
        table.last_ticket += 1;
        let ticket = table.last_ticket;
        table.open.insert(
            ticket,
            Open {
                outstanding: 1,
                gathered: Gathered::default(),
                done,
            },
        );
        Some(Gather {
            ticket,
            gathers: Arc::clone(self),
            result,
        })
    }

    /// Adds a reactor's answer. Notices that are none, and tickets that nobody waits for any more, are passed over.
    pub fn answered(&self, notice: Notice) {
        match notice {
            Notice::Pushed {
                ticket,
                matched,
                queued,
                dropped,
            } => self.add(ticket, |sum| {
                sum.matched += matched;
                sum.queued += queued;
                sum.dropped += dropped;
            }),
            Notice::Kicked { ticket, closed } => self.add(ticket, |sum| sum.closed += closed),
            Notice::Found { ticket, connections } => self.add(ticket, |sum| sum.connections.extend(connections)),
            Notice::Slowest { ticket, connections } => self.add(ticket, |sum| sum.slowest.extend(connections)),
            Notice::Call(_)
            | Notice::Claim { .. }
            | Notice::Release { .. }
            | Notice::Connected { .. }
            | Notice::Disconnected { .. }
            | Notice::History(_)
            | Notice::Drained => {}
        }
    }

    fn add(&self, ticket: Ticket, add: impl FnOnce(&mut Gathered)) {
        let mut table = self.lock();
        let Some(open) = table.open.get_mut(&ticket) else {
            return;
        };
        add(&mut open.gathered);
        open.outstanding -= 1;
        if open.outstanding == 0
            && let Some(open) = table.open.remove(&ticket)
        {
            // The asker may have given up just now; then nobody wants the sum.
            let _ = open.done.send(open.gathered);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One asker's side of a gather. Dropping it forgets the gather.
pub struct Gather {
    ticket: Ticket,
    gathers: Arc<Gathers>,
    result: oneshot::Receiver<Gathered>,
}

impl Gather {
    /// The ticket for one more command. Call once for each command, before it is sent.
    pub fn ticket(&self) -> Ticket {
        if let Some(open) = self.gathers.lock().open.get_mut(&self.ticket) {
            open.outstanding += 1;
        }
        self.ticket
    }

    /// The command of the last ticket was not sent after all.
    pub fn forgo(&self) {
        self.gathers.add(self.ticket, |_| {});
    }

    /// Waits for all answers; `None` if they are not all there at `deadline`.
    pub async fn finish(mut self, deadline: Instant) -> Option<Gathered> {
        self.gathers.add(self.ticket, |_| {});
        timeout_at(deadline, &mut self.result).await.ok()?.ok()
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.gathers.lock().open.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn pushed(ticket: Ticket, matched: u64) -> Notice {
        Notice::Pushed {
            ticket,
            matched,
            queued: matched,
            dropped: 0,
        }
    }

    #[tokio::test]
    async fn sums_all_answers_and_closes() {
        let gathers = Arc::new(Gathers::default());
        let gather = gathers.open().unwrap();
        let first = gather.ticket();
        gathers.answered(pushed(first, 2));
        let second = gather.ticket();
        gathers.answered(pushed(second, 3));
        let sum = gather.finish(Instant::now() + Duration::from_secs(60)).await.unwrap();
        assert_eq!((sum.matched, sum.queued), (5, 5));
        assert!(gathers.lock().open.is_empty());
    }

    #[tokio::test]
    async fn nothing_asked_is_nothing_gathered() {
        let gathers = Arc::new(Gathers::default());
        let sum = gathers
            .open()
            .unwrap()
            .finish(Instant::now() + Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(sum.matched, 0);
    }

    #[tokio::test]
    async fn a_missing_answer_is_none_and_its_late_arrival_harmless() {
        let gathers = Arc::new(Gathers::default());
        let gather = gathers.open().unwrap();
        let ticket = gather.ticket();
        assert!(gather.finish(Instant::now()).await.is_none());
        gathers.answered(pushed(ticket, 1));
        assert!(gathers.lock().open.is_empty());
    }

    #[test]
    fn is_bounded_and_forgets_the_dropped() {
        let gathers = Arc::new(Gathers::default());
        let all: Vec<_> = (0..OPEN_MAX).map(|_| gathers.open().unwrap()).collect();
        assert!(gathers.open().is_none());
        drop(all);
        assert!(gathers.open().is_some());
    }
}
