//! Takes the reactors' notices and sees to each: answers go to their gathers, calls to the bus, claims to the session
//! policy, history to the recorder. While a reactor has no room for what it is owed nothing more is taken, so the
//! outbox fills and reactors refuse their clients: that is the bound. Runs as one task of the control thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::state::State;
use crate::links::{self, Notice, Receiver, Sender, Wake};

/// Notices that may wait, over all reactors.
const CAPACITY: usize = 65_536;
/// Notices taken before other tasks of control get a turn.
const TAKEN_A_TURN: usize = 256;
/// Owed commands that may wait for room before nothing more is taken, while the outbox is at most half full. Past that it
/// is emptied all the same: a reactor that cannot report takes no commands either, and both would wait for ever. What is
/// owed stays bounded, as a reactor that gets rid of its reports takes commands again.
const OWED_MAX: usize = 4_096;
/// How often a full inbox is tried again.
const OWED_RETRY: Duration = Duration::from_millis(1);

/// Wakes control's runtime from a reactor thread.
#[derive(Clone, Debug)]
pub struct NotifyWake(Arc<Notify>);

impl Wake for NotifyWake {
    fn wake(&self) {
        // Leaves a permit behind if nobody waits yet, so no wake is lost.
        self.0.notify_one();
    }
}

/// Makes the outbox that all reactors share: their end, control's, and what control sleeps on until there is something.
pub(super) fn channel() -> (Sender<Notice, NotifyWake>, Receiver<Notice, NotifyWake>, Arc<Notify>) {
    let bell = Arc::new(Notify::new());
    let (sender, notices) = links::channel(CAPACITY, NotifyWake(Arc::clone(&bell)));
    (sender, notices, bell)
}

/// Sees to notices for ever.
pub(super) async fn run(state: Arc<State>, notices: Receiver<Notice, NotifyWake>, bell: Arc<Notify>) {
    loop {
        state.router.send_waiting();
        let mut taken = 0;
        while taken < TAKEN_A_TURN && (state.router.owed() < OWED_MAX || notices.len() > CAPACITY / 2) {
            let Some(notice) = notices.take() else { break };
            carry_out(&state, notice);
            taken += 1;
        }
        if taken == TAKEN_A_TURN {
            tokio::task::yield_now().await;
        } else if state.router.owed() > 0 || state.router.has_backlog() {
            tokio::time::sleep(OWED_RETRY).await;
        } else if notices.prepare_sleep() {
            bell.notified().await;
            notices.awake();
        }
    }
}

fn carry_out(state: &State, notice: Notice) {
    match notice {
        Notice::Pushed { .. } | Notice::Kicked { .. } | Notice::Found { .. } | Notice::Slowest { .. } => {
            state.router.answered(notice);
        }
        Notice::Call(call) => state.bus.call(*call),
        Notice::Connected { .. } | Notice::Disconnected { .. } => state.bus.event(&notice),
        Notice::History(happenings) => state.history.note(&happenings),
        Notice::Claim {
            connection,
            user,
            device,
        } => state.places.login(connection, user, device),
        Notice::Release { connection, user } => state.places.release(connection, &user),
        Notice::Drained => state.reactor_drained(),
    }
}
