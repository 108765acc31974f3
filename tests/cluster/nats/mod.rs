//! A real nats-server of the test's own: started with a config file on a port that stays the same over restarts, killed,
//! paused and resumed. Knows nothing of longwire. The client for it is in `client`.

pub mod certificates;
pub mod client;
pub mod identity;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

pub use client::{Nats, encode};

use crate::support::{PATIENCE, TempDir, wait_until};

/// Ports that servers are given, below those that the kernel gives to outgoing connections: nobody takes one while its
/// server is down.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A port that nobody listens on.
fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let count = usize::from(PORTS.end - PORTS.start);
    let start = std::process::id() as usize * 101;
    let ports = std::iter::repeat_with(|| {
        let n = usize::from(TRIED.fetch_add(1, Ordering::Relaxed));
        PORTS.start + u16::try_from((start + n) % count).unwrap()
    });
    ports
        .take(count)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A nats-server that runs or has run.
pub struct NatsServer {
    child: Option<Child>,
    pub port: u16,
    /// Its config file and its log.
    dir: TempDir,
}

impl NatsServer {
    /// A running server with no settings but its port.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// A running server with more lines in its config.
    pub fn start_with(settings: &str) -> Self {
        let mut server = Self::prepare(settings);
        server.run();
        server
    }

    /// A server that has a port and does not run yet.
    pub fn prepare(settings: &str) -> Self {
        let server = Self {
            child: None,
            port: free_port(),
            dir: TempDir::new(),
        };
        server.settings(settings);
        server
    }

    /// Writes its config anew; what runs is not told.
    pub fn settings(&self, settings: &str) {
        let port = self.port;
        let base = format!("listen: \"127.0.0.1:{port}\"\nserver_name: \"test-{port}\"\n");
        self.dir.write("nats.conf", base + settings);
    }

    /// Three running servers that form a cluster.
    pub fn start_three() -> [Self; 3] {
        let routes = [(); 3].map(|()| free_port());
        let all = routes
            .map(|port| format!("nats-route://127.0.0.1:{port}"))
            .join("\", \"");
        let mut servers = routes.map(|port| {
            Self::prepare(&format!(
                "cluster {{ name: \"test\", listen: \"127.0.0.1:{port}\", routes: [\"{all}\"] }}\n"
            ))
        });
        servers.iter_mut().for_each(Self::run);
        wait_routed(&servers);
        servers
    }

    /// Starts it, for the first time or again, on its port; waits until it talks.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let child = Command::new("nats-server")
            .arg("--config")
            .arg(self.dir.path().join("nats.conf"))
            .arg("--log")
            .arg(self.dir.path().join("nats.log"))
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server, which scripts/test installs");
        let child = self.child.insert(child);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let log = self.dir.path().join("nats.log");
        wait_until("nats-server to talk", || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("nats-server ended instead of starting: {status}\n{log}");
            }
            let Ok(stream) = TcpStream::connect(address) else {
                return false;
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
        });
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it with SIGKILL and starts it again on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Stops it with SIGSTOP: its sockets stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        let command = format!("kill -{name} {pid}");
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A client on a server that asks for no credentials.
    #[track_caller]
    pub fn connect(&self) -> Nats {
        Nats::connect(self.port)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until what is published on any of these servers reaches subscribers on all of them.
pub fn wait_routed(servers: &[NatsServer]) {
    let mut listeners: Vec<Nats> = servers.iter().map(NatsServer::connect).collect();
    for listener in &mut listeners {
        listener.subscribe("probe.*");
        listener.flush();
    }
    for (n, server) in servers.iter().enumerate() {
        let mut publisher = server.connect();
        let subject = format!("probe.{n}");
        wait_until("the servers to have routes", || {
            publisher.publish(&subject, b"");
            publisher.flush();
            listeners.iter_mut().all(|listener| {
                listener.flush();
                listener.arrived().iter().any(|message| message.subject == subject)
            })
        });
    }
}
