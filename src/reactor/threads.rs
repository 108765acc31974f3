//! Starting the reactors of a gateway: addresses checked, descriptors counted, one thread each. Called once, by `serve`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use mio::{Poll, Waker};

use super::inherited::Inherited;
use super::listener::{self, Prepared};
use super::{Reactor, cores, descriptors, waker_token};
use crate::config::{ListenAddress, Settings};
use crate::links::{self, Command, Notice, Receiver, Sender, Wake};
use crate::metrics::NodeCounters;
use crate::node::Shared;
use crate::shard::gateway::{self, Gateway};
use crate::shard::{Engine, Shard};

/// Commands that an inbox holds; past it whoever sends is told so.
const INBOX_COMMANDS: usize = 16_384;

/// What `start` gives back.
pub struct Started {
    /// The reactors' inboxes, in their order.
    pub inboxes: Vec<Sender<Command, Waker>>,
    /// Where they listen, ports settled, as a person would write it.
    pub addresses: Vec<String>,
    /// Connections that this node takes.
    pub connections_max: usize,
}

/// What a reactor's thread is built from. The poll and its waker are made before the thread has a descriptor table of its
/// own, since other threads write to the waker.
struct Parts<W> {
    number: usize,
    poll: Poll,
    inbox: Receiver<Command, Waker>,
    outbox: Sender<Notice, W>,
    listeners: Arc<Vec<Prepared>>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    counters: Arc<NodeCounters>,
    connections_allowed: usize,
}

/// Starts `settings.server.reactors` threads, and returns when all of them listen: on what was inherited for their
/// addresses, else on sockets of their own.
///
/// # Errors
/// An address that cannot be listened on, a key that cannot be used, a thread that cannot be made; the message says what
/// to do.
pub fn start<W: Wake + Send + Sync + 'static>(
    settings: &Arc<Settings>,
    shared: &Arc<Shared>,
    counters: &Arc<NodeCounters>,
    outbox: &Sender<Notice, W>,
    mut inherited: Inherited,
) -> io::Result<Started> {
    let reactors = settings.server.reactors;
    let connections_allowed = connections_allowed(settings)?;
    let listeners = settings
        .server
        .listen
        .iter()
        .map(|address| match inherited.take(address)? {
            Some(prepared) => Ok(prepared),
            None => listener::prepare(address),
        })
        .collect::<io::Result<Vec<_>>>()?;
    inherited.nothing_left()?;
    let listeners = Arc::new(listeners);
    let addresses = settings
        .server
        .listen
        .iter()
        .zip(&*listeners)
        .map(|(address, prepared)| shown(address, prepared));
    let addresses = addresses.collect();
    let mut inboxes = Vec::with_capacity(reactors);
    let mut all_parts = Vec::with_capacity(reactors);
    for number in 0..reactors {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), waker_token())?;
        let (sender, inbox) = links::channel(INBOX_COMMANDS, waker);
        inboxes.push(sender);
        all_parts.push(Parts {
            number,
            poll,
            inbox,
            outbox: outbox.clone(),
            listeners: listeners.clone(),
            settings: settings.clone(),
            shared: shared.clone(),
            counters: counters.clone(),
            connections_allowed,
        });
    }
    let (ready, readiness) = mpsc::channel();
    for parts in all_parts {
        let ready = ready.clone();
        thread::Builder::new()
            .name(format!("reactor-{}", parts.number))
            .spawn(move || run(parts, &ready))?;
    }
    drop(ready);
    for _ in 0..reactors {
        readiness
            .recv()
            .map_err(|_| io::Error::other("a reactor ended before it listened"))??;
    }
    Ok(Started {
        inboxes,
        addresses,
        connections_max: gateway::connections_max(settings, connections_allowed),
    })
}

fn run<W: Wake + Send + Sync>(parts: Parts<W>, ready: &mpsc::Sender<io::Result<()>>) {
    let built = build(parts);
    let reactor = match built {
        Ok(reactor) => {
            // Nobody listening means that start-up failed elsewhere and the process is about to end.
            let _ = ready.send(Ok(()));
            reactor
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    if let Err(error) = reactor.run() {
        // Better a restart than a node that serves with a dead core.
        tracing::error!(%error, "a reactor cannot wait for its sockets: the process ends");
        std::process::exit(101);
    }
}

fn build<W: Wake>(parts: Parts<W>) -> io::Result<Reactor<Gateway, Waker, W>> {
    if parts.settings.server.pin_reactors && !cores::pin(parts.number, parts.settings.server.reactors) {
        tracing::debug!(
            reactor = parts.number,
            "not bound to a core: there is not exactly one for each reactor"
        );
    }
    if parts.settings.server.descriptor_table_per_reactor {
        descriptors::unshare_table().map_err(|error| {
            let advice = "set server.descriptor_table_per_reactor = false";
            io::Error::new(
                error.kind(),
                format!("cannot make a descriptor table for a reactor: {error}; {advice}"),
            )
        })?;
    }
    let gateway = Gateway::new(parts.settings.clone(), parts.shared.clone(), parts.connections_allowed)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let rules = gateway::rules(&parts.settings);
    let engine = Engine::new(rules, fastrand::u64(..), parts.counters, parts.number);
    let shard = Shard::new(engine, gateway);
    Reactor::new(
        parts.poll,
        &parts.listeners,
        shard,
        parts.inbox,
        parts.outbox,
        parts.shared,
    )
}

/// What the descriptors allow: each connection needs one, some are for other things.
fn connections_allowed(settings: &Settings) -> io::Result<usize> {
    let limit = descriptors::raise_limit()?;
    let tables = if settings.server.descriptor_table_per_reactor {
        settings.server.reactors
    } else {
        1
    };
    let allowed = descriptors::for_clients(limit).saturating_mul(tables);
    let connections_max = settings.server.connections_max;
    if connections_max > allowed {
        tracing::warn!(
            connections_max,
            descriptors = limit,
            allowed,
            "the descriptor limit allows fewer connections than server.connections_max, so fewer are taken: raise LimitNOFILE"
        );
    }
    Ok(allowed)
}

/// As it stands in the configuration, but with the real port.
fn shown(address: &ListenAddress, prepared: &Prepared) -> String {
    match prepared {
        Prepared::Tcp { address, .. } | Prepared::Shared { address, .. } => address.to_string(),
        Prepared::Unix(_) => address.to_string(),
    }
}
