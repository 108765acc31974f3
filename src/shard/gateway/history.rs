//! What the flight recorder is told: happenings are gathered over some turns and handed to control together, behind
//! everything else that control is told, so that a storm of logins does not wake it for each. What control has no room
//! for is counted and forgotten: nobody waits for the recorder, no login and no push. An idle connection costs nothing
//! here. Used by the gateway alone.

use super::{Gateway, Session};
use crate::links::{Happening, Kicker, What};
use crate::metrics::AuthResult;
use crate::shard::Next;
use crate::shard::connection::{Connection, Key};
use crate::shard::engine::Engine;

/// Happenings that may wait for the outbox, some 200 bytes each; what comes on top is lost to the recorder. A turn brings
/// a few hundred at the most, so these are ten turns in which control took nothing.
pub(super) const WAITING_MAX: usize = 4_096;
/// Happenings that are handed over without waiting for more.
const BATCH: usize = 256;
/// How long the first of a batch waits for others.
pub(super) const GATHERED_MS: u64 = 50;

/// See the top of the file.
#[derive(Default)]
pub(super) struct History {
    /// Whether anybody keeps what is told.
    pub on: bool,
    /// Who asked for the kick that is being carried out.
    pub kicker: Option<Kicker>,
    waiting: Vec<Happening>,
    /// When those that wait are to go, if they have not by then, milliseconds since the node's start.
    due_ms: u64,
    /// Whether they may go.
    is_due: bool,
}

impl History {
    pub fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// True if there was no room.
    fn push(&mut self, happening: Happening, now_ms: u64) -> bool {
        if self.waiting.is_empty() {
            self.due_ms = now_ms + GATHERED_MS;
        }
        let is_full = self.waiting.len() >= WAITING_MAX;
        if !is_full {
            self.waiting.push(happening);
        }
        is_full
    }

    /// Once a turn: looks whether what waits is to go now. When to look again.
    pub fn ripen(&mut self, now_ms: u64) -> Next {
        self.is_due = self.waiting.len() >= BATCH || now_ms >= self.due_ms;
        if self.waiting.is_empty() || self.is_due {
            Next::Idle
        } else {
            Next::At(self.due_ms)
        }
    }

    /// Everything that waits, if it is to go.
    pub fn take(&mut self) -> Option<Vec<Happening>> {
        (self.is_due && !self.waiting.is_empty()).then(|| std::mem::take(&mut self.waiting))
    }

    /// It was taken, and there was no room for it: it comes first again.
    pub fn put_back(&mut self, mut happenings: Vec<Happening>) {
        happenings.append(&mut self.waiting);
        self.waiting = happenings;
    }
}

impl Gateway {
    /// Tells the recorder, if there is one, what happened to a connection whose user is `user`.
    pub(super) fn record(&mut self, engine: &Engine<Session>, key: Key, user: &str, device: Option<&str>, what: What) {
        if !self.history.on {
            return;
        }
        let happening = Happening {
            connection: self.connection_id(engine, key),
            user: user.into(),
            device: device.map(Box::from),
            remote: engine.get(key).and_then(Connection::client),
            at_unix_ms: engine.now().unix_ms,
            what,
        };
        if self.history.push(happening, engine.now().ms()) {
            engine.counters().history_dropped.add(1);
        }
    }

    /// A token was refused: tells the recorder, if it is known whose it was (user and device). On a connection that is
    /// logged in it is this user's, whatever the token says.
    pub(super) fn record_refusal(
        &mut self,
        engine: &Engine<Session>,
        key: Key,
        whose: Option<(&str, Option<&str>)>,
        why: AuthResult,
    ) {
        let session = engine.session(key.index);
        let what = What::Refused { why };
        if session.user != super::users::NONE {
            let user: Box<str> = self.users.name(session.user).into();
            let device = session.device.clone();
            self.record(engine, key, &user, device.as_deref(), what);
        } else if let Some((user, device)) = whose {
            self.record(engine, key, user, device, what);
        }
    }
}
