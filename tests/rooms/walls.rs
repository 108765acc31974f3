//! The walls themselves: what each room of `src/` may use, and the inner walls of some. A room that is not named here
//! fails the test.

/// A room and what it may use. `config` and `metrics` are open to all, itself always.
pub struct Room {
    pub name: &'static str,
    /// Rooms it may use.
    pub rooms: &'static [Grant],
    /// Crates it may use; `None`: any but those of `never`.
    pub crates: Option<&'static [Grant]>,
    /// Paths it must not name, by their beginning.
    pub never: &'static [&'static str],
}

/// What may be used, and where: everywhere in the room, or in one part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    Everywhere(&'static str),
    /// Which part (module path inside the room), and what it may use.
    In(&'static str, &'static str),
}
use Grant::{Everywhere, In};

const SOCKETS_THREADS_AND_CLOCKS: &[&str] = &[
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Barrier",
    "std::sync::mpsc",
];

pub const ROOMS: &[Room] = &[
    // Bytes alone.
    Room {
        name: "protocol",
        rooms: &[],
        crates: Some(&[
            Everywhere("tungstenite"),
            Everywhere("httparse"),
            Everywhere("simdutf8"),
            Everywhere("serde"),
            Everywhere("serde_json"),
            Everywhere("bytes"),
        ]),
        never: SOCKETS_THREADS_AND_CLOCKS,
    },
    // State alone: time is passed in, effects go out; only its gateway speaks with control.
    Room {
        name: "shard",
        rooms: &[Everywhere("protocol"), Everywhere("node"), In("gateway", "links")],
        crates: Some(&[
            Everywhere("slab"),
            Everywhere("bytes"),
            Everywhere("hashbrown"),
            Everywhere("foldhash"),
            Everywhere("fastrand"),
            Everywhere("serde_json"),
            Everywhere("tracing"),
            In("auth", "jsonwebtoken"),
            In("auth", "aws_lc_rs"),
        ]),
        never: SOCKETS_THREADS_AND_CLOCKS,
    },
    // Sockets and syscalls, no knowledge.
    Room {
        name: "reactor",
        rooms: &[Everywhere("shard"), Everywhere("links"), Everywhere("node")],
        crates: Some(&[
            Everywhere("mio"),
            Everywhere("socket2"),
            Everywhere("libc"),
            In("cores", "rustix"),
            // Which descriptors a service manager passed, by its rules.
            In("descriptors", "sd_notify"),
            Everywhere("fastrand"),
            Everywhere("tracing"),
        ]),
        never: &["std::sync::Mutex", "std::sync::RwLock"],
    },
    // Where threads meet.
    Room {
        name: "links",
        rooms: &[],
        crates: Some(&[
            Everywhere("crossbeam_channel"),
            Everywhere("mio::Waker"),
            Everywhere("bytes"),
            Everywhere("tracing"),
        ]),
        never: &["std::net::TcpListener", "std::net::TcpStream", "std::thread"],
    },
    // What the threads of one node share.
    Room {
        name: "node",
        rooms: &[],
        crates: Some(&[Everywhere("foldhash"), Everywhere("hashbrown")]),
        never: &[
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::thread",
            "std::sync::mpsc",
        ],
    },
    // The outside world but for clients' sockets.
    Room {
        name: "control",
        rooms: &[Everywhere("protocol"), Everywhere("links"), Everywhere("node")],
        crates: None,
        never: &[
            "mio::Poll",
            "mio::net",
            "socket2",
            "slab",
            "jsonwebtoken",
            "tungstenite",
        ],
    },
    Room {
        name: "config",
        rooms: &[],
        crates: Some(&[Everywhere("toml")]),
        never: &["std::net::TcpListener", "std::net::TcpStream", "std::thread::spawn"],
    },
    // A scrape reads what the node shares.
    Room {
        name: "metrics",
        rooms: &[In("render", "node")],
        crates: Some(&[Everywhere("prometheus_client")]),
        never: &["std::net::TcpListener", "std::net::TcpStream", "std::thread"],
    },
    // Everything's front door.
    Room {
        name: "cli",
        rooms: FRONT_DOOR,
        crates: None,
        never: &["mio", "slab", "socket2"],
    },
    Room {
        name: "main",
        rooms: FRONT_DOOR,
        crates: None,
        never: &["mio", "slab", "socket2", "async_nats"],
    },
    Room {
        name: "lib",
        rooms: FRONT_DOOR,
        crates: None,
        never: &[],
    },
];

pub const FRONT_DOOR: &[Grant] = &[
    Everywhere("cli"),
    Everywhere("config"),
    Everywhere("control"),
    Everywhere("links"),
    Everywhere("metrics"),
    Everywhere("node"),
    Everywhere("protocol"),
    Everywhere("reactor"),
    Everywhere("shard"),
];

/// A part of a room (its module path) and what it must not name, beside what its room must not.
pub struct Inner {
    pub part: &'static str,
    pub never: &'static [&'static str],
}

const fn inner(part: &'static str, never: &'static [&'static str]) -> Inner {
    Inner { part, never }
}

const HTTP: &[&str] = &["axum", "hyper", "hyper_util"];
const HTTP_AND_NATS: &[&str] = &["axum", "hyper", "hyper_util", "async_nats"];
const CLOCKS_LOCKS_AND_THE_BUS: &[&str] = &[
    "tokio",
    "async_nats",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::Mutex",
];

pub const INNER: &[Inner] = &[
    // The engine knows RFC 6455, and not what a message means.
    inner("shard::engine", &["crate::shard::gateway", "crate::shard::auth"]),
    inner("shard::auth", &["crate::shard::gateway", "crate::shard::engine"]),
    inner("shard::wheel", &["crate"]),
    inner(
        "shard::outbound",
        &["crate::shard::gateway", "crate::shard::auth", "crate::shard::engine"],
    ),
    inner("control::bus", HTTP),
    inner("control::api", &["async_nats"]),
    inner("control::router", HTTP_AND_NATS),
    inner("control::gather", HTTP_AND_NATS),
    // State alone, as a shard is.
    inner("control::sessions", CLOCKS_LOCKS_AND_THE_BUS),
    inner("control::history::recorder", CLOCKS_LOCKS_AND_THE_BUS),
    inner("control::bus::nats::members", CLOCKS_LOCKS_AND_THE_BUS),
];

/// Open to every room.
pub const OPEN: &[&str] = &["config", "metrics"];
