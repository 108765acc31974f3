//! What the service manager is told: ready, reloading, stopping, how many connections there are, and that the node is
//! alive. Alive means that every reactor turns: the watchdog is fed only then. Without a service manager nothing of this
//! does anything.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::state::State;
use crate::metrics::Seldom;

/// How often the status line is brought up to date where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// A reactor that has not finished a turn for this long is stuck. An idle one wakes every second.
const STUCK_AFTER_US: u64 = 5_000_000;
/// How often the log says that the service manager cannot be told.
const SAY_EVERY_MS: u64 = 60_000;

/// Accepting clients (again, after a reload).
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload begins.
pub fn reloading() {
    // The time stamp is what Type=notify-reload tells one reload from another by.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The drain begins.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog and keeps the status line true, for ever. While the node drains it also asks for more time, as
/// long as it needs some: however long `timeouts.drain` is, the service manager cuts no drain short that goes on.
pub async fn watch(state: Arc<State>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // Three chances a period: one late turn of this thread is no reason to be killed.
    let every = watchdog.map_or(STATUS_EVERY, |period| period / 3);
    let mut ticks = tokio::time::interval(every);
    // Three chances here as well; a fast watchdog is no reason to promise the end of the drain in a second.
    let more_time = (every * 3).max(STATUS_EVERY).as_micros();
    let more_time = NotifyState::ExtendTimeoutUsec(u32::try_from(more_time).unwrap_or(u32::MAX));
    let mut was_stuck = false;
    let mut seldom = Seldom::new(SAY_EVERY_MS);
    loop {
        ticks.tick().await;
        let stuck = stuck_reactor(&state);
        if let Some(reactor) = stuck
            && !was_stuck
        {
            tracing::error!(reactor, "a reactor does not turn: the watchdog is not fed");
        }
        was_stuck = stuck.is_some();
        let draining = state.shared.draining();
        let word = if draining { "draining" } else { "serving" };
        let status = format!("{word}, {} connections", state.shared.connections());
        let alive = (watchdog.is_some() && stuck.is_none()).then_some(NotifyState::Watchdog);
        let mut what = vec![NotifyState::Status(&status)];
        what.extend(alive);
        what.extend(draining.then(|| more_time.clone()));
        if let Err(error) = sd_notify::notify(&what)
            && let Some(not_logged) = seldom.says(state.shared.now_us() / 1_000)
        {
            tracing::warn!(%error, not_logged, "cannot tell the service manager");
        }
    }
}

fn stuck_reactor(state: &State) -> Option<usize> {
    let now_us = state.shared.now_us();
    (0..state.router.reactors())
        .find(|&reactor| now_us.saturating_sub(state.shared.last_beat_us(reactor)) > STUCK_AFTER_US)
}

fn notify(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
