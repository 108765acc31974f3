//! From started to stopped: signals, the drain, and reloads. SIGTERM, SIGINT and `POST /v1/drain` start the drain, a
//! second signal stops at once, SIGHUP rereads the configuration. Called by `control::run`, which exits with the code
//! that comes out of here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::state::State;
use super::{Reload, SetLogLevel, systemd};
use crate::config::Settings;
use crate::links::Command;

/// How much longer than `timeouts.drain` the last connections may take to close.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How long those may take who were accepted at the last moment, to be told that nobody is taken; and who asks for nothing,
/// before the process ends over it.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
const LAST_ANSWERS_LOOK: Duration = Duration::from_millis(5);

/// The signals longwire listens to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// The handlers could not be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Signals {
    /// The next that says to stop.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

enum Event {
    Stop(&'static str),
    DrainWanted,
    NameLost,
    Hangup,
    AllDrained,
    OutOfTime,
}

/// How the process ends.
pub struct Exit {
    /// Its exit code.
    pub code: u8,
    /// Whether there is time to finish what is under way.
    pub in_order: bool,
}

/// Runs until the node is drained or stopped.
pub async fn run(state: &State, signals: &mut Signals, reload: &Reload, set_log_level: &SetLogLevel) -> Exit {
    let mut give_up: Option<Instant> = None;
    let mut signalled = false;
    let mut code: u8 = 0;
    loop {
        let out_of_time = async {
            match give_up {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            _ = signals.terminate.recv() => Event::Stop("SIGTERM"),
            _ = signals.interrupt.recv() => Event::Stop("SIGINT"),
            _ = signals.hangup.recv() => Event::Hangup,
            () = state.drain_wanted.notified() => Event::DrainWanted,
            () = state.name_lost.notified() => Event::NameLost,
            () = state.all_drained.notified() => Event::AllDrained,
            () = out_of_time => Event::OutOfTime,
        };
        match event {
            Event::Stop(name) if signalled => {
                tracing::warn!(
                    connections = state.shared.connections(),
                    "{name}, the second signal: stopping at once"
                );
                return Exit {
                    code: 1,
                    in_order: false,
                };
            }
            Event::Stop(name) => {
                signalled = true;
                // After `POST /v1/drain`, as a service manager does it, the first signal changes nothing.
                give_up.get_or_insert_with(|| drain(state, name));
            }
            Event::DrainWanted if give_up.is_none() => give_up = Some(drain(state, "the API")),
            Event::DrainWanted => {}
            Event::NameLost => {
                code = 1;
                give_up.get_or_insert_with(|| drain(state, "the loss of its name"));
            }
            Event::Hangup => reread(state, reload, set_log_level),
            Event::AllDrained => {
                tracing::info!("drained, stopping");
                close(state).await;
                return Exit { code, in_order: true };
            }
            Event::OutOfTime => {
                let connections = state.shared.connections();
                tracing::warn!(connections, "stopping with connections that did not close in time");
                state.shared.close();
                return Exit { code, in_order: true };
            }
        }
    }
}

/// Starts the drain; when to give it up.
fn drain(state: &State, asked_by: &str) -> Instant {
    let window_ms = state.settings().timeouts.drain_ms;
    tracing::info!(
        connections = state.shared.connections(),
        window_ms,
        "draining, asked by {asked_by}"
    );
    state.shared.set_draining();
    systemd::stopping();
    state.router.owe_all(|| Command::Drain { window_ms });
    Instant::now() + Duration::from_millis(window_ms) + DRAIN_GRACE
}

/// Nobody is accepted any more: on a socket that the service manager holds, whoever connects from now on waits for the
/// next process. Those who were accepted a moment before get their answer, and not a reset.
async fn close(state: &State) {
    state.shared.close();
    let give_up = Instant::now() + LAST_ANSWERS;
    while !state.shared.deserted() && Instant::now() < give_up {
        tokio::time::sleep(LAST_ANSWERS_LOOK).await;
    }
}

fn reread(state: &State, reload: &Reload, set_log_level: &SetLogLevel) {
    systemd::reloading();
    match reload() {
        Err(error) => tracing::error!("reload refused, the settings stay as they are:\n{error}"),
        Ok(wanted) => {
            let running = state.settings();
            let kept = running.restart_only_changes(&wanted);
            let new = Arc::new(wanted.keeping_restart_only(&running));
            let changed = changed_keys(&running, &new);
            if new.log.level != running.log.level
                && let Err(error) = set_log_level(&new.log.level)
            {
                tracing::error!("log.level stays as it is: {error}");
            }
            state.set_settings(Arc::clone(&new));
            state.router.owe_all(|| Command::Reload(Arc::clone(&new)));
            match changed.as_slice() {
                [] => tracing::info!("reloaded, nothing is different"),
                some => tracing::info!(changed = some.join(", "), "reloaded"),
            }
            if !kept.is_empty() {
                tracing::warn!(
                    keys = kept.join(", "),
                    "these changes need a restart and are not in force"
                );
            }
        }
    }
    systemd::ready();
}

/// Which keys differ, as `table.key`.
fn changed_keys(old: &Settings, new: &Settings) -> Vec<String> {
    let (old_keys, new_keys) = (keys(&old.render_masked()), keys(&new.render_masked()));
    let differ = |name: &String| old_keys.get(name) != new_keys.get(name);
    let mut changed: BTreeSet<String> = old_keys
        .keys()
        .chain(new_keys.keys())
        .filter(|name| differ(name))
        .cloned()
        .collect();
    // What is masked, and what stands in a file of its own, looks the same when it is another.
    let hidden = [
        ("auth.keys", old.auth.keys != new.auth.keys),
        ("auth.jwks_file", old.auth.jwks != new.auth.jwks),
        ("api.keys", old.api.keys != new.api.keys),
    ];
    changed.extend(
        hidden
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| (*name).to_owned()),
    );
    changed.into_iter().collect()
}

fn keys(toml: &str) -> BTreeMap<String, String> {
    let tables = toml.parse::<toml::Table>().unwrap_or_default();
    let entries = tables
        .iter()
        .filter_map(|(table, value)| Some((table, value.as_table()?)));
    let keys = entries.flat_map(|(table, entries)| {
        entries
            .iter()
            .map(move |(key, value)| (format!("{table}.{key}"), value))
    });
    keys.map(|(name, value)| (name, value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::config::{KeyMaterial, ListenAddress, development};
    use crate::control::PageFacts;
    use crate::control::bus::Local;
    use crate::control::history::History;
    use crate::control::places::Places;
    use crate::control::router::Router;
    use crate::metrics::NodeCounters;
    use crate::node::Shared;

    fn settings() -> Settings {
        development("0123456789abcdef0123456789abcdef".into())
    }

    /// A node whose one reactor notes the settings that it is given.
    fn node(reloaded: &Arc<Mutex<Vec<Arc<Settings>>>>) -> State {
        let (shared, counters) = (Arc::new(Shared::new(1, 1)), Arc::new(NodeCounters::new(1)));
        let reloaded = Arc::clone(reloaded);
        let inbox: crate::control::Inbox = Box::new(move |command| match command {
            Command::Reload(settings) => {
                reloaded.lock().unwrap().push(settings);
                Ok(())
            }
            other => Err(other),
        });
        let router = Arc::new(Router::new(Arc::clone(&shared), vec![inbox], Arc::default()));
        let history = Arc::new(History::new("n", 1, 0, Arc::clone(&counters)));
        let bus = Local::new(
            Arc::clone(&router),
            Arc::clone(&shared),
            Arc::clone(&counters),
            Arc::clone(&history),
            "n".into(),
            0,
        );
        let places = Places::new(settings().sessions, Arc::clone(&router), Arc::clone(&shared));
        State::new(
            Arc::new(settings()),
            shared,
            counters,
            router,
            Arc::new(bus),
            Arc::new(places),
            history,
            PageFacts::default(),
            Arc::default(),
        )
    }

    #[test]
    fn a_reload_puts_into_force_what_can_change() {
        let reloaded = Arc::default();
        let state = node(&reloaded);
        let reload: Reload = Box::new(|| {
            let mut wanted = settings();
            wanted.api.keys = vec!["k".into()];
            wanted.log.level = "debug".into();
            wanted.server.listen = vec![ListenAddress::Unix("/elsewhere".into())];
            Ok(wanted)
        });
        let level = Arc::new(Mutex::new(String::new()));
        let set_log_level: SetLogLevel = Box::new({
            let level = Arc::clone(&level);
            move |wanted| {
                *level.lock().unwrap() = wanted.into();
                Ok(())
            }
        });
        reread(&state, &reload, &set_log_level);
        assert_eq!(state.settings().api.keys, ["k"]);
        assert_eq!(state.settings().server.listen, settings().server.listen);
        assert_eq!(*level.lock().unwrap(), "debug");
        assert_eq!(*reloaded.lock().unwrap(), [state.settings()]);
    }

    #[test]
    fn a_bad_reload_changes_nothing() {
        let reloaded = Arc::default();
        let state = node(&reloaded);
        let reload: Reload = Box::new(|| Err("longwire.toml:3: what is this".into()));
        let set_log_level: SetLogLevel = Box::new(|_| Err("not wanted".into()));
        reread(&state, &reload, &set_log_level);
        assert_eq!(*state.settings(), settings());
        assert!(reloaded.lock().unwrap().is_empty());
    }

    #[test]
    fn changed_keys_are_named_secrets_too() {
        let old = settings();
        assert!(changed_keys(&old, &old).is_empty());
        let mut new = old.clone();
        new.limits.push_bytes += 1;
        new.log.level = "debug".into();
        new.auth.keys[0].material = KeyMaterial::Secret(b"another secret of the same length".to_vec());
        new.api.keys = vec!["k".into()];
        assert_eq!(
            changed_keys(&old, &new),
            ["api.keys", "auth.keys", "limits.push_bytes", "log.level"]
        );
    }
}
