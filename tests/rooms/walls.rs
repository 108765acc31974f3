//! The walls themselves: what each room of `src/` may use. A room that is not named here fails the test.

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
#[derive(Clone, Copy)]
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
            Everywhere("serde"),
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
            Everywhere("slab"),
            Everywhere("bytes"),
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
        crates: Some(&[Everywhere("serde"), Everywhere("toml")]),
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

const FRONT_DOOR: &[Grant] = &[
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

/// Open to every room.
pub const OPEN: &[&str] = &["config", "metrics"];
