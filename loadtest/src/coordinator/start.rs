//! How a run begins: the gateway, where the run brings its own, and the workers with their shares of the clients. Nobody is
//! connected yet when it is done. Scenarios call it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use super::watch::Watch;
use super::workers::Worker;
use super::{Load, finish};
use crate::cli::{Kind, Options};
use crate::clock;
use crate::histogram::Delays;
use crate::interrupt;
use crate::plan::{Login, Plan, Target};
use crate::publisher::Ledger;
use crate::report::progress::Progress;
use crate::server::{self, Start, Started};
use crate::sources::Sources;

/// Connections of one worker: descriptors are limited by process.
pub const PER_WORKER: u32 = 15_000;

/// In a storm, on one machine with the node: the clients that reconnect would be many machines' work, and must not take
/// the node's cores for it; those who measure must not wait for a core, or they measure that.
const STORMING_NICE: i32 = 19;
const MEASURING_NICE: i32 = -10;

/// What a scenario needs beside the flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// A NATS server.
    pub bus: bool,
    /// Clients that will stop reading, per mille.
    pub slow_per_mille: u32,
    /// Everybody but those of the first worker goes through storms: no limit of logins under way; and the lag of their
    /// workers, busy by nature then, does not make the run void (`storm` judges that by CPU).
    pub storms: bool,
    /// So many clients, the first ones, in a worker of their own, so that what the others go through does not delay the
    /// measuring of theirs. 0: no such worker.
    pub first_alone: u32,
}

impl Load {
    /// Starts what has to be started; the clients are away.
    ///
    /// # Errors
    /// What cannot be started or reached.
    pub fn new(scenario: &str, options: Options, needs: Needs) -> Result<Self, String> {
        let mut options = options;
        let mut started = None;
        let binary = options.worker_binary.clone().map_or_else(std::env::current_exe, Ok);
        let binary = binary.map_err(|error| error.to_string())?;
        if options.start {
            let start = Start {
                own: binary.clone(),
                binary: options.longwire.clone(),
                sets: options.set.clone(),
                nats: options.nats.clone(),
                wants_bus: needs.bus,
                prefix: options.prefix.clone(),
            };
            let gateway = Started::new(&start)?;
            options.target = vec![format!("ws://{}/ws", gateway.address)];
            options.api = format!("http://{}", gateway.api);
            options.secret = Some(gateway.secret.clone());
            options.nats = gateway.nats.clone();
            options.server_pid = Some(gateway.pid());
            started = Some(gateway);
        }
        let targets = options.targets()?;
        let login = match (options.target_kind, &options.secret, &options.config) {
            (Kind::Raw, ..) => Login::None,
            (_, Some(secret), _) => Login::Secret(secret.clone()),
            (_, None, Some(config)) => Login::Config(config.clone()),
            _ => {
                return Err(
                    "clients need tokens: say --config FILE or --secret SECRET of the gateway, or --start for one of its own"
                        .to_owned(),
                );
            }
        };
        targets.iter().try_for_each(Target::reach)?;
        let server = options.server_pid.or_else(|| targets.first().and_then(server::find));
        let mark = fastrand::u32(1..);
        let (say, said) = channel();
        let mut workers = Vec::new();
        if needs.storms {
            server::nice(MEASURING_NICE);
        }
        for (place, (first, count)) in shares(&options, needs.first_alone).into_iter().enumerate() {
            let plan = Plan {
                run: mark,
                first,
                count,
                targets: targets.clone(),
                sources: options.source.iter().flat_map(Sources::addresses).collect(),
                login: login.clone(),
                topics: options.topics,
                subscribers: options.subscribers,
                window: options.window.unwrap_or(if needs.storms { 0 } else { 256 }),
                slow_per_mille: needs.slow_per_mille,
                nice: match (needs.storms, place) {
                    (false, _) => 0,
                    (true, 0) => MEASURING_NICE,
                    (true, _) => STORMING_NICE,
                },
            };
            workers.push(Worker::start(&binary, plan, place, &say)?);
        }
        let began_us = clock::now_us();
        let mut load = Self {
            run: finish::head(scenario, &options),
            ledger: Ledger::new(options.connections, options.topics),
            phase: BTreeMap::new(),
            started,
            workers,
            said,
            watch: Watch::new(server, began_us),
            progress: (!options.quiet).then(Progress::new),
            delays: BTreeMap::new(),
            sent: Arc::default(),
            storms: needs.storms,
            began_us,
            publisher_lag: Delays::default(),
            mark,
            options,
        };
        load.wait("preparing", 120.0, |load| {
            load.workers.iter().all(|worker| worker.ready)
        })?
        .then_some(())
        .ok_or_else(|| {
            if interrupt::asked() {
                "interrupted"
            } else {
                "the workers do not get ready"
            }
        })?;
        Ok(load)
    }
}

/// Connections of one worker, as far as this host lets a process open descriptors.
fn per_worker() -> u32 {
    let limit = server::raise_descriptor_limit().saturating_sub(100);
    PER_WORKER.min(u32::try_from(limit).unwrap_or(PER_WORKER)).max(100)
}

/// First client and number of clients of each worker.
fn shares(options: &Options, alone: u32) -> Vec<(u32, u32)> {
    let alone = alone.min(options.connections);
    let rest = options.connections - alone;
    let count = options.workers.unwrap_or_else(|| rest.div_ceil(per_worker())).max(1);
    let share = |place: u32| alone + (u64::from(rest) * u64::from(place) / u64::from(count)) as u32;
    let shares = (0..count).map(|place| (share(place), share(place + 1) - share(place)));
    (alone > 0).then_some((0, alone)).into_iter().chain(shares).collect()
}
