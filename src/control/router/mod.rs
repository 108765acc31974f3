//! The way from control to the reactors: which of them a command is for, and how it gets there. Somebody waits for the
//! answer (`asks`), or nobody does and it is handed over at once (`waiting`). Knows nothing of HTTP or NATS; called by the
//! buses, the API, `places`, `outbox` and `lifecycle`.

mod asks;
mod waiting;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::Inbox;
use super::gather::{Gather, Gathers};
use crate::links::{Command, Notice, UserName};
use crate::node::Shared;

pub use asks::{Audience, Unanswered};
use waiting::Backlog;
pub use waiting::{Addressee, NoRoom};

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

    /// A gather for `offer`; `None` if too many are open.
    pub fn gather(&self) -> Option<Gather> {
        self.gathers.open()
    }

    /// Adds a reactor's answer to its gather.
    pub fn answered(&self, notice: Notice) {
        self.gathers.answered(notice);
    }

    /// The reactors that may hold a user.
    fn holders(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        (0..self.inboxes.len()).filter(move |&reactor| self.shared.filter(reactor).may_hold(hash))
    }

    fn user_name(&self, name: Arc<str>) -> UserName {
        let hash = self.shared.hash_user(&name);
        UserName { name, hash }
    }
}
