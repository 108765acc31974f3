//! What the tasks of the control thread share: the settings in force, the router, the bus, and where the node is in its
//! life. Decides nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::PageFacts;
use super::bus::Bus;
use super::history::History;
use super::places::Places;
use super::router::Router;
use crate::config::Settings;
use crate::metrics::NodeCounters;
use crate::node::Shared;

/// See the module.
pub struct State {
    /// What the node's threads share.
    pub shared: Arc<Shared>,
    /// What they count.
    pub counters: Arc<NodeCounters>,
    /// The way to the reactors.
    pub router: Arc<Router>,
    /// The way to the cluster.
    pub bus: Arc<dyn Bus>,
    /// The session policy.
    pub places: Arc<Places>,
    /// The flight recorder.
    pub history: Arc<History>,
    /// For the live page.
    pub page: PageFacts,
    /// Asks `lifecycle` to drain.
    pub drain_wanted: Notify,
    /// Tells `lifecycle` that another node has this node's name.
    pub name_lost: Arc<Notify>,
    /// Tells `lifecycle` that no reactor holds a connection any more.
    pub all_drained: Notify,
    settings: RwLock<Arc<Settings>>,
    started: AtomicBool,
    reactors_drained: AtomicUsize,
}

impl State {
    /// The state of a node that is about to start.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        settings: Arc<Settings>,
        shared: Arc<Shared>,
        counters: Arc<NodeCounters>,
        router: Arc<Router>,
        bus: Arc<dyn Bus>,
        places: Arc<Places>,
        history: Arc<History>,
        page: PageFacts,
        name_lost: Arc<Notify>,
    ) -> Self {
        Self {
            shared,
            counters,
            router,
            bus,
            places,
            history,
            page,
            drain_wanted: Notify::new(),
            name_lost,
            all_drained: Notify::new(),
            settings: RwLock::new(settings),
            started: AtomicBool::new(false),
            reactors_drained: AtomicUsize::new(0),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others into force.
    pub fn set_settings(&self, settings: Arc<Settings>) {
        self.bus.reload(&settings);
        if settings.limits.history_bytes != self.settings().limits.history_bytes {
            self.history.set_bytes_max(settings.limits.history_bytes);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// From now on clients are served.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Whether this node takes clients now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ready(&self) -> Result<(), String> {
        if !self.started.load(Ordering::Relaxed) {
            return Err("starting".into());
        }
        if self.shared.draining() {
            return Err("draining".into());
        }
        self.bus.ready()
    }

    /// One reactor holds no connection any more.
    pub fn reactor_drained(&self) {
        if self.reactors_drained.fetch_add(1, Ordering::Relaxed) + 1 == self.router.reactors() {
            self.all_drained.notify_one();
        }
    }
}

/// Unix milliseconds now.
pub fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// Unix microseconds now.
pub fn unix_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
