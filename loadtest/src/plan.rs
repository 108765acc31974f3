//! What the coordinator tells a worker and what a worker tells it: one JSON value a line, on the worker's standard input
//! and output. Data alone. Times are microseconds of `clock::now_us`, which both share.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::result::Accounts;

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A TCP address and the path of the upgrade.
    Tcp(SocketAddr, String),
    /// A Unix socket, path `/ws`.
    Unix(PathBuf),
}

impl Target {
    /// From `ws://127.0.0.1:9040/ws` (the path is `/ws` where none is given) or `unix:/run/longwire/ws.sock`.
    ///
    /// # Errors
    /// Anything else, and host names that stand for no address.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let rest = text.strip_prefix("ws://").unwrap_or(text);
        if rest.contains("://") {
            return Err(format!("{text}: only ws:// and unix: can be loaded"));
        }
        let (host, path) = rest.find('/').map_or((rest, "/ws"), |at| rest.split_at(at));
        let addresses = std::net::ToSocketAddrs::to_socket_addrs(host);
        let address = addresses.ok().and_then(|mut all| all.next());
        let address = address.ok_or_else(|| format!("{text}: no address (host:port) in it"))?;
        Ok(Self::Tcp(address, path.to_owned()))
    }
}

impl Target {
    /// Connects once, to say at once what is wrong.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn reach(&self) -> Result<(), String> {
        let (reached, place) = match self {
            Self::Tcp(address, _) => {
                let stream = TcpStream::connect_timeout(address, Duration::from_secs(5));
                (stream.map(|_| ()), address.to_string())
            }
            Self::Unix(path) => (UnixStream::connect(path).map(|_| ()), path.display().to_string()),
        };
        reached.map_err(|error| format!("{place}: {error} (--start starts a gateway for the run)"))
    }
}

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// Not at all: another server than longwire; the upgrade is all.
    None,
    /// With tokens of this HS256 secret.
    Secret(String),
    /// With tokens of the first HS key of this longwire config.
    Config(PathBuf),
}

/// A worker's part, its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Marks this run's messages.
    pub run: u32,
    /// Its first client's number; user names are `load-<number>`.
    pub first: u32,
    /// How many clients.
    pub count: u32,
    /// Taken in turn by the clients.
    pub targets: Vec<Target>,
    /// Source addresses, taken in turn; empty: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// How they log in.
    pub login: Login,
    /// Topics; client `n` subscribes to number `n % topics`. 0: none.
    pub topics: u32,
    /// So many of the topics' subscribers there are over all workers (clients below this number); 0: everybody.
    pub subscribers: u32,
    /// Upgrades and logins under way at once; 0: no limit.
    pub window: u32,
    /// How its process stands beside the others of this machine (`nice(2)`); 0: as any.
    pub nice: i32,
    /// Which clients will be told to stop reading: those whose number modulo 1,000 is below this. They get small buffers.
    pub slow_per_mille: u32,
}

impl Plan {
    /// The topic that this client subscribes to.
    pub fn topic(&self, client: u32) -> Option<u32> {
        let subscribes = self.topics > 0 && (self.subscribers == 0 || client < self.subscribers);
        subscribes.then(|| client % self.topics)
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Everybody below `below` (client number) who is away connects, `per_second` of this worker from `at_us` on;
    /// 0: as fast as the window admits.
    Connect {
        /// When the first one is intended.
        at_us: u64,
        /// How many a second.
        per_second: f64,
        /// Only clients below this number.
        below: u32,
    },
    /// From here on connected receivers have to get the whole of their streams.
    Measure,
    /// Everybody from number `from` on drops the connection at once (a reset), and connects again; intended at `at_us`.
    Storm {
        /// The first client that does.
        from: u32,
        /// When.
        at_us: u64,
    },
    /// Clients come at a rate, stay about so long, and leave with a close frame.
    Churn {
        /// The schedule.
        when: When,
        /// How long one stays, on the average, milliseconds.
        stay_ms: u64,
    },
    /// Calls of clients who are logged in, one after the other in turn.
    Calls {
        /// The schedule.
        when: When,
        /// Bytes of the call's body.
        bytes: u32,
        /// The path; none: a raw server echoes the whole message.
        path: Option<String>,
    },
    /// Messages that a raw server sends on to everybody; sent by this worker's first client.
    Broadcast {
        /// The schedule.
        when: When,
        /// Bytes of the message.
        bytes: u32,
    },
    /// The slow clients stop reading (`true`) or read again.
    Slow {
        /// Whether they stop.
        stop: bool,
    },
    /// Nothing that is planned is done any more.
    Stop,
    /// What was sent is told, and what came of it is asked; answered with `Settled`.
    Settle {
        /// What was sent.
        sent: Sent,
    },
}

/// An open-loop schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct When {
    /// The first moment.
    pub at_us: u64,
    /// How many a second.
    pub per_second: f64,
    /// No later than this.
    pub until_us: u64,
}

/// What was sent to the streams of a worker's clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Pushes to each user, in the order of the worker's clients; empty: none to any.
    pub users: Vec<u32>,
    /// Pushes to each topic.
    pub topics: Vec<u32>,
    /// Pushes to everybody.
    pub all: u32,
    /// Stream and number of those whose sending failed (no answer, an error): not due for certain.
    pub failed: Vec<(u32, u32)>,
    /// Where clients come and go: when pushes to users were sent and taken. Who was there all the time was due them.
    pub taken: Vec<Taken>,
}

/// A push that the API has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The client it was for.
    pub client: u32,
    /// Its number in the stream of the client's user.
    pub number: u32,
    /// No earlier than this it was sent,
    pub sent_us: u64,
    /// and no later than this it was taken.
    pub taken_us: u64,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Tokens are made.
    Ready,
    /// Four times a second.
    Tick(Tick),
    /// The accounts, after `Settle`.
    Settled(Accounts),
    /// It cannot go on.
    Failed(String),
}

/// What happened; counts are since the worker's start, delays since the last tick.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tick {
    /// Clients that are logged in.
    pub connected: u32,
    /// Clients that should be and are not.
    pub missing: u32,
    /// Logins.
    pub logins: u64,
    /// Messages that came.
    pub received: u64,
    /// Messages that clients sent (calls, broadcasts).
    pub sent: u64,
    /// Of these, broadcasts.
    pub broadcasts: u32,
    /// When the last login was.
    pub last_login_us: u64,
    /// When the last message came.
    pub last_received_us: u64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Delays by kind, as histograms.
    pub delays: BTreeMap<String, String>,
    /// How late the worker was with what it had planned, and how long its turns took: a histogram.
    pub lag: String,
}
