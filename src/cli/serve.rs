//! `longwire serve`: puts the rooms together. Everything that can be refused is refused before a client is taken: the
//! configuration, the API's port, then the reactors' ports.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::banner::{self, Facts};
use super::client::reachable;
use super::flags::SourceFlags;
use super::{Failure, configuration, logging, say};
use crate::config::{Settings, Sources};
use crate::control::{self, Inbox, PageFacts, Parts, Reload};
use crate::metrics::NodeCounters;
use crate::node::Shared;
use crate::reactor::inherited::Inherited;
use crate::reactor::threads;
use crate::shard::auth::{Grant, mint};

/// How long the token that is printed holds.
const DEMO_TOKEN_SECONDS: u64 = 24 * 3600;

/// Runs until the node is told to stop; the process's exit code.
pub fn run(flags: &SourceFlags) -> Result<u8, Failure> {
    // First of all: nothing else must have opened a descriptor.
    let mut inherited = Inherited::receive().map_err(Failure::failed)?;
    let mut sources = configuration::sources(flags);
    if sources.file.is_none() {
        sources.development_secret = Some(random_secret()?);
    }
    let checked = configuration::load_or_fail(&sources)?;
    let development = checked.loaded.development;
    let settings = Arc::new(checked.loaded.settings);
    let set_log_level = logging::start(&settings.log)?;
    logging::end_on_panic();
    for warning in checked.warnings {
        tracing::warn!("{warning}");
    }

    let api = match inherited.take_tcp(settings.api.listen) {
        Some(api) => api,
        None => bind_api(settings.api.listen)?,
    };
    let api_address = api.local_addr().map_err(Failure::failed)?;
    let reactors = settings.server.reactors;
    let epoch = random::<8>()?;
    let shared = Arc::new(Shared::new(reactors, u64::from_ne_bytes(epoch)));
    // The node announces its rate to the cluster before its reactors run.
    shared.logins_promised_set(settings.limits.logins_per_second);
    let counters = Arc::new(NodeCounters::new(reactors));
    let (to_control, mut prepared) = control::prepare().map_err(Failure::failed)?;
    if !prepared.join(&settings, &shared).map_err(Failure::Failed)? {
        tracing::info!("told to stop before it was started");
        return Ok(0);
    }
    let started = threads::start(&settings, &shared, &counters, &to_control, inherited).map_err(Failure::failed)?;

    let websocket = websocket_url(&started.addresses);
    let token = if development {
        Some(demo_token(&settings)?)
    } else {
        None
    };
    let inboxes = started
        .inboxes
        .into_iter()
        .map(|inbox| -> Inbox { Box::new(move |command| inbox.send(command)) });
    let parts = Parts {
        shared,
        counters,
        inboxes: inboxes.collect(),
        api,
        reload: reload(sources),
        set_log_level,
        page: PageFacts {
            websocket: websocket.clone(),
            token: token.clone(),
        },
        started: Box::new({
            let node = settings.server.node.clone();
            let (addresses, connections_max) = (started.addresses, started.connections_max);
            move || {
                if let Some(token) = token {
                    let told = say(&banner::text(&Facts {
                        websocket,
                        api: reachable(api_address),
                        token,
                    }));
                    if let Err(Failure::Failed(error) | Failure::Usage(error)) = told {
                        // It serves all the same.
                        tracing::warn!("{error}");
                    }
                }
                for address in &addresses {
                    tracing::info!(%address, "websocket listening");
                }
                tracing::info!(address = %api_address, "api listening");
                tracing::info!(node, reactors, connections_max, "serving");
            }
        }),
        settings,
    };
    control::run(prepared, parts).map_err(Failure::failed)
}

/// Rereads everything, from the same places.
fn reload(sources: Sources) -> Reload {
    Box::new(move || {
        let checked = configuration::load(&sources)?;
        for warning in checked.warnings {
            tracing::warn!("{warning}");
        }
        Ok(checked.loaded.settings)
    })
}

fn bind_api(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "somebody listens there already; stop it or set another api.listen",
            io::ErrorKind::AddrNotAvailable => "this host does not have that address; set another api.listen",
            io::ErrorKind::PermissionDenied => "a port below 1024 wants a privilege; set another api.listen",
            _ => "set another api.listen",
        };
        Failure::Failed(format!("api.listen = {listen}: {error}: {advice}"))
    })
}

/// What a client on this host opens; the first TCP listener's.
fn websocket_url(addresses: &[String]) -> Option<String> {
    let listen = addresses
        .iter()
        .find_map(|address| address.parse::<SocketAddr>().ok())?;
    Some(format!("ws://{}/ws", reachable(listen)))
}

fn demo_token(settings: &Settings) -> Result<String, Failure> {
    let grant = Grant {
        user: banner::USER.into(),
        ttl_seconds: DEMO_TOKEN_SECONDS,
        topics: Some(vec!["*".into()]),
        ..Grant::default()
    };
    mint(&settings.auth, &grant, control::unix_ms()).map_err(Failure::failed)
}

/// For the key of a start without a configuration: 32 random bytes in hexadecimal.
pub fn random_secret() -> Result<String, Failure> {
    Ok(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// From the kernel, whose numbers are fit for keys.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], Failure> {
    let mut bytes = [0; BYTES];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| Failure::Failed(format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes)
}
