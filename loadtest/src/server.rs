//! The server under load: found by its listening socket, or started for the run with a config of its own and ended with
//! it. Kills nothing that it did not start.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::plan::Target;

const PATIENCE: Duration = Duration::from_secs(20);

/// The process that listens there; none where it is not on this machine or another user's.
pub fn find(target: &Target) -> Option<u32> {
    let inode = match target {
        Target::Unix(path) => unix_inode(path)?,
        // A socket of IPv6 may take connections of IPv4, too, but not the other way round.
        Target::Tcp(address, _) => ["/proc/net/tcp", "/proc/net/tcp6"][usize::from(address.is_ipv6())..]
            .iter()
            .find_map(|table| tcp_inode(&fs::read_to_string(table).ok()?, *address))?,
    };
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(process.path().join("fd")).ok()?;
        let mut links = descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.as_os_str() == wanted.as_str()).then_some(pid)
    })
}

/// The socket that takes connections to this address: that of the address itself, or else one that listens on all of this
/// host's, where it is one of these. Whoever listens on the same port of another address is another server.
fn tcp_inode(table: &str, address: SocketAddr) -> Option<u64> {
    let here = std::net::UdpSocket::bind((address.ip(), 0)).is_ok();
    let port = format!("{:04X}", address.port());
    let listening = |ip: &dyn Fn(&str) -> bool| {
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (own_ip, own_port) = fields.get(1)?.split_once(':')?;
            // 0A: it listens.
            (own_port == port && ip(own_ip) && *fields.get(3)? == "0A").then(|| fields.get(9)?.parse().ok())?
        })
    };
    let exactly = kernel_form(address.ip());
    listening(&|ip| ip == exactly).or_else(|| listening(&|ip| here && ip.bytes().all(|digit| digit == b'0')))
}

/// As `/proc/net/tcp` writes addresses: words of four bytes, as this machine has them in memory.
fn kernel_form(ip: std::net::IpAddr) -> String {
    let bytes = match ip {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk::<4>());
    words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

fn unix_inode(path: &Path) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (Path::new(fields.get(7)?) == path).then(|| fields.get(6)?.parse().ok())?
    })
}

/// A gateway that was started for the run, and its bus where it needs one.
pub struct Started {
    gateway: Child,
    bus: Option<Child>,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The API.
    pub api: SocketAddr,
    /// The bus's `host:port`.
    pub nats: Option<String>,
    /// What tokens are signed with.
    pub secret: String,
}

/// How the calling thread, and what it starts from now on, stands beside the others of this machine (`setpriority(2)`).
pub fn nice(nice: i32) {
    if nice != 0 {
        // Below 0 it needs a privilege; without it the measuring is what it is, and says so by its lag.
        let _ = rustix::process::setpriority_process(None, nice);
    }
}

/// Lets this process and its children open as many descriptors as they may; how many that is.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit); // where it fails, opening says so
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Becomes this program, which is killed when the process that started it ends: nothing outlives a coordinator that is
/// killed. Returns only what went wrong.
pub fn become_bound(command: &[std::ffi::OsString]) -> String {
    use std::os::unix::process::CommandExt;
    let Some((program, arguments)) = command.split_first() else {
        return "no program".to_owned();
    };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        return error.to_string();
    }
    let error = Command::new(program).args(arguments).exec();
    format!("{}: {error}", Path::new(program).display())
}

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// This program, which binds what is started to itself.
    pub own: PathBuf,
    /// The binary; none: `longwire` beside this program.
    pub binary: Option<PathBuf>,
    /// Further settings, as `--set` takes them.
    pub sets: Vec<String>,
    /// A bus that runs already.
    pub nats: Option<String>,
    /// Whether it needs a bus: one is started where none is given.
    pub wants_bus: bool,
    /// The subjects' prefix.
    pub prefix: String,
}

impl Started {
    /// Starts it on free ports of the loopback interface, and waits until it listens.
    ///
    /// # Errors
    /// No binary, or it ends.
    pub fn new(start: &Start) -> Result<Self, String> {
        let binary = start.binary.clone().map_or_else(beside, Ok)?;
        let (bus, nats) = match &start.nats {
            Some(address) => (None, Some(address.clone())),
            None if start.wants_bus => {
                let (child, address) = start_bus(&start.own)?;
                (Some(child), Some(address))
            }
            None => (None, None),
        };
        let mut bus = Ending(bus);
        let secret: String = (0..48).map(|_| fastrand::alphanumeric()).collect();
        let mut command = bound(&start.own, &binary);
        command
            .args(["--set", "server.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"])
            .args([
                "--set",
                &format!("auth.keys=[{{algorithm=\"HS256\",secret=\"{secret}\"}}]"),
            ])
            .args(["--set", &format!("server.node=load-{}", std::process::id())]);
        if let Some(nats) = &nats {
            command.args(["--set", &format!("nats.url=nats://{nats}")]);
            command.args(["--set", &format!("nats.prefix={}", start.prefix)]);
        }
        command.args(start.sets.iter().flat_map(|set| ["--set", set]));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let child = child.map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut gateway = Ending(Some(child));
        let found = gateway.0.as_mut().map(listening).unwrap_or(Err(String::new()));
        let (address, api) = found.map_err(|said| format!("{} ended before it listened:\n{said}", binary.display()))?;
        let gateway = gateway.0.take().ok_or("unreachable")?;
        let started = Self {
            gateway,
            bus: bus.0.take(),
            address,
            api,
            nats,
            secret,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// The gateway's process.
    pub fn pid(&self) -> u32 {
        self.gateway.id()
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let ready = crate::http::get(self.api, None, "/readyz");
            if ready.is_ok_and(|text| !text.contains("\"status\":503") && !text.contains("not ready")) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err("the gateway does not get ready".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        end(&mut self.gateway);
        if let Some(bus) = &mut self.bus {
            end(bus);
        }
    }
}

/// A child that ends where it is not handed on.
struct Ending(Option<Child>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn beside() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let places = own.ancestors().skip(1).take(2).map(|place| place.join("longwire"));
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        "no longwire beside this program: build it (cargo build --release), or say where it is with --longwire"
            .to_owned()
    })
}

/// Both addresses from its log; what it said, if it ends. Its log is read on, or it would block.
fn listening(child: &mut Child) -> Result<(SocketAddr, SocketAddr), String> {
    let mut log = BufReader::new(child.stderr.take().ok_or("no log")?);
    let (mut said, mut address, mut api) = (String::new(), None, None);
    loop {
        let from = said.len();
        if log.read_line(&mut said).unwrap_or(0) == 0 {
            return Err(said);
        }
        let line = &said[from..];
        let found = line
            .split("address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        if line.contains("websocket listening") {
            address = found;
        } else if line.contains("api listening") {
            api = found;
        }
        if let (Some(address), Some(api)) = (address, api) {
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok((address, api));
        }
    }
}

/// A command that ends with this process.
fn bound(own: &Path, program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(own);
    // A terminal's Ctrl-C is for this process, which then ends that one.
    command.arg("bound").arg(program).process_group(0);
    command
}

fn start_bus(own: &Path) -> Result<(Child, String), String> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let places = ["nats-server", "/usr/sbin/nats-server"];
    let installed = |binary: &&&str| Command::new(binary).arg("--version").output().is_ok();
    let child = places.iter().find(installed).and_then(|binary| {
        let mut command = bound(own, Path::new(binary));
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().ok()
    });
    let child = child.ok_or("this needs a NATS server: say --nats HOST:PORT, or install nats-server")?;
    let mut child = Ending(Some(child));
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            return Err("nats-server does not listen".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((child.0.take().ok_or("unreachable")?, address.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap(), "/ws".to_owned());
        assert_eq!(find(&target), Some(std::process::id()));
        drop(listener);
        assert_eq!(find(&target), None);
    }

    #[test]
    fn the_same_port_of_another_address_is_another_server() {
        let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = |ip: &str| find(&Target::Tcp(format!("{ip}:{port}").parse().unwrap(), "/ws".to_owned()));
        assert_eq!(found("127.0.0.2"), Some(std::process::id()));
        // Another program may have the same port there by chance.
        assert_ne!(found("127.0.0.1"), Some(std::process::id()));
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = |ip: &str| find(&Target::Tcp(format!("{ip}:{port}").parse().unwrap(), "/ws".to_owned()));
        assert_eq!(found("127.0.0.3"), Some(std::process::id()));
        assert_eq!(found("192.0.2.1"), None, "no address of this host");
    }
}
