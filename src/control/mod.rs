//! The control plane: one thread, one current_thread runtime, on which the HTTP API, the bus, the session policy, signals
//! and systemd live. It talks to the reactors by commands and notices alone and never touches a client's socket. Started
//! by `cli::serve`, which hands it everything it needs and exits with what it returns.

mod api;
mod bus;
mod gather;
mod history;
mod lifecycle;
mod outbox;
mod pace;
mod places;
mod router;
mod sessions;
mod state;
mod systemd;
mod trouble;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::config::Settings;
use crate::links::{Command, Notice, Receiver, Sender};
use crate::metrics::NodeCounters;
use crate::node::Shared;

pub use outbox::NotifyWake;
pub use state::unix_ms;

/// Puts a command into one reactor's inbox; gives it back if there is no room.
pub type Inbox = Box<dyn Fn(Command) -> Result<(), Command> + Send + Sync>;

/// Reads the configuration anew and checks it, keys included; the error says what is wrong.
pub type Reload = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Puts a `log.level` into force.
pub type SetLogLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What the live page is told about this node.
#[derive(Clone, Debug, Default)]
pub struct PageFacts {
    /// Where a browser on this host reaches the WebSocket endpoint; `None` if only over Unix sockets.
    pub websocket: Option<String>,
    /// In the no-config mode: a token to try with.
    pub token: Option<String>,
}

/// Everything control is started with.
pub struct Parts {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What the node's threads share.
    pub shared: Arc<Shared>,
    /// What they count.
    pub counters: Arc<NodeCounters>,
    /// One a reactor.
    pub inboxes: Vec<Inbox>,
    /// The API's listener, bound already.
    pub api: TcpListener,
    /// For SIGHUP.
    pub reload: Reload,
    /// For SIGHUP.
    pub set_log_level: SetLogLevel,
    /// For the live page.
    pub page: PageFacts,
    /// Called once, when everything is served.
    pub started: Box<dyn FnOnce() + Send>,
}

/// What of control must be there before the reactors are. A reactor may have a descriptor table of its own, copied when
/// it starts: whatever it writes to, to wake this thread or because a signal happens to arrive on it, must be open by
/// then. A descriptor made later would in its table be nothing, or a client.
pub struct Prepared {
    runtime: Runtime,
    signals: lifecycle::Signals,
    notices: Receiver<Notice, NotifyWake>,
    bell: Arc<Notify>,
    joined: Option<Box<bus::Joined>>,
}

impl Prepared {
    /// Joins the cluster, where NATS is configured: before the reactors listen, so that a node whose name is taken never
    /// takes a client. NATS that is out of reach keeps nobody from starting.
    ///
    /// False: a signal says that the process is to stop before it has begun.
    ///
    /// # Errors
    /// What keeps this node out of the cluster, for the operator.
    pub fn join(&mut self, settings: &Settings, shared: &Arc<Shared>) -> Result<bool, String> {
        if settings.nats.url.is_empty() {
            return Ok(true);
        }
        let signals = &mut self.signals;
        let joined = self.runtime.block_on(async {
            tokio::select! {
                joined = bus::join(settings, shared, unix_ms()) => joined.map(Some),
                () = signals.stop() => Ok(None),
            }
        })?;
        self.joined = joined.map(Box::new);
        Ok(self.joined.is_some())
    }
}

/// Sets up what the reactors need of control: their end of the outbox that they all share. From now on signals wait to
/// be seen to by `run`.
///
/// # Errors
/// The runtime or a signal handler could not be set up.
pub fn prepare() -> io::Result<(Sender<Notice, NotifyWake>, Prepared)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _context = runtime.enter();
        lifecycle::Signals::install()?
    };
    let (sender, notices, bell) = outbox::channel();
    Ok((
        sender,
        Prepared {
            runtime,
            signals,
            notices,
            bell,
            joined: None,
        },
    ))
}

/// Runs until the node is drained or told to stop at once; the process's exit code.
///
/// # Errors
/// The API's listener cannot be used.
pub fn run(prepared: Prepared, parts: Parts) -> io::Result<u8> {
    let Prepared {
        runtime,
        signals,
        notices,
        bell,
        joined,
    } = prepared;
    let code = runtime.block_on(serve(parts, signals, notices, bell, joined));
    // A scrape may still read /proc on a blocking thread; the process does not wait for it.
    runtime.shutdown_background();
    code
}

async fn serve(
    parts: Parts,
    mut signals: lifecycle::Signals,
    notices: Receiver<Notice, NotifyWake>,
    bell: Arc<Notify>,
    joined: Option<Box<bus::Joined>>,
) -> io::Result<u8> {
    let Parts {
        settings,
        shared,
        counters,
        inboxes,
        api,
        reload,
        set_log_level,
        page,
        started,
    } = parts;
    api.set_nonblocking(true)?;
    let api = tokio::net::TcpListener::from_std(api)?;
    let router = Arc::new(router::Router::new(Arc::clone(&shared), inboxes, Arc::clone(&bell)));
    let name_lost = Arc::<Notify>::default();
    let (node, epoch) = (&settings.server.node, shared.epoch());
    let history = history::History::new(node, epoch, settings.limits.history_bytes, Arc::clone(&counters));
    let history = Arc::new(history);
    let places = places::Places::new(settings.sessions.clone(), Arc::clone(&router), Arc::clone(&shared));
    let places = Arc::new(places);
    let bus: Arc<dyn bus::Bus> = match joined {
        Some(joined) => Arc::new(bus::Nats::start(
            *joined,
            &settings,
            Arc::clone(&router),
            Arc::clone(&counters),
            Arc::clone(&places),
            Arc::clone(&history),
            Arc::clone(&name_lost),
        )),
        None => Arc::new(bus::Local::new(
            Arc::clone(&router),
            Arc::clone(&shared),
            Arc::clone(&counters),
            Arc::clone(&history),
            settings.server.node.clone(),
            unix_ms(),
        )),
    };
    let state = Arc::new(state::State::new(
        settings, shared, counters, router, bus, places, history, page, name_lost,
    ));

    tokio::spawn(outbox::run(Arc::clone(&state), notices, bell));
    let (stop_api, api_stopped) = api::start(Arc::clone(&state), api);
    tokio::spawn(systemd::watch(Arc::clone(&state)));
    tokio::spawn(pace::run(Arc::clone(&state)));
    tokio::spawn(trouble::run(Arc::clone(&state.counters)));
    state.set_started();
    systemd::ready();
    started();

    let exit = lifecycle::run(&state, &mut signals, &reload, &set_log_level).await;
    if !exit.in_order {
        return Ok(exit.code);
    }
    let finished = async {
        stop_api.notify_one();
        api_stopped.await;
        state.bus.leave().await;
    };
    tokio::select! {
        () = finished => Ok(exit.code),
        () = signals.stop() => Ok(1),
    }
}

#[cfg(test)]
mod tests;
