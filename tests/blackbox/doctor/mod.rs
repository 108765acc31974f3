//! `longwire doctor` on hosts that are trees of files: one that is fine, and the same with one thing changed. What a row
//! says, what the exit code is, and that nothing on a host makes it fail.

mod mending;
mod nginx;
mod service;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use crate::support::gateway::run_to_end;
use crate::support::{TempDir, Value};

/// A copy of the host that is fine for 100,000 connections.
struct Host(TempDir);

impl Host {
    fn fine() -> Self {
        let host = Self(TempDir::new());
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/doctor/fine");
        copy(Path::new(fixture), host.0.path());
        host
    }

    /// The same, and this file of it written.
    fn with(self, file: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn without(self, file: &str) -> Self {
        let path = self.0.path().join(file.trim_start_matches('/'));
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    /// The exit code, standard output and standard error.
    fn doctor(&self, arguments: &[&str]) -> (i32, String, String) {
        let root = self.0.path().to_str().unwrap();
        run_to_end(&[&["doctor", "--root", root], arguments].concat(), self.0.path())
    }

    fn report(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = self.doctor(&[&["--json"], arguments].concat());
        let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        assert_eq!(stderr, "");
        (code, report)
    }

    /// The row falls short, alone; gives it back.
    #[track_caller]
    fn falls_short(&self, name: &str) -> Value {
        let (code, report) = self.report(&[]);
        let short: Vec<&str> = rows(&report)
            .iter()
            .filter(|row| row["verdict"] == "short")
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(short, [name], "{report:#}");
        assert_eq!((code, &report["verdict"]), (1, &"short".into()));
        let row = row(&report, name);
        assert!(!row["mend"].as_str().unwrap().is_empty(), "{row:#}");
        row
    }

    #[track_caller]
    fn is(&self, name: &str, verdict: &str) -> Value {
        let (_, report) = self.report(&[]);
        let row = row(&report, name);
        assert_eq!(row["verdict"], verdict, "{row:#}");
        row
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().unwrap()
}

#[track_caller]
fn row(report: &Value, name: &str) -> Value {
    let found = rows(report).iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("no row {name}: {report:#}")).clone()
}

const CONFIG: &str = "/etc/longwire/longwire.toml";
const KEY: &str = "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"the secret of a host that is not there\"\n";
const SITE: &str = "/etc/nginx/conf.d/longwire.conf";

#[test]
fn a_host_that_is_fine_is_said_to_be() {
    let host = Host::fine();
    let (code, stdout, stderr) = host.doctor(&[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(!stdout.contains("short") && !stdout.contains("unknown"), "{stdout}");
    let last = stdout.trim_end().lines().last().unwrap();
    assert_eq!(
        last,
        "this host holds about 100,000 connections, limited by connections_max (asked for: 100,000)"
    );
    let (code, report) = host.report(&[]);
    assert_eq!(code, 0);
    assert_eq!(
        (&report["connections"], &report["verdict"]),
        (&100_000.into(), &"ok".into())
    );
    for row in rows(&report) {
        for key in ["name", "value", "need", "unit", "verdict", "note", "mend", "holds"] {
            assert!(row.get(key).is_some(), "{key} is missing: {row:#}");
        }
        assert!(row["mend"].is_null(), "{row:#}");
    }
    assert_eq!(row(&report, "descriptors")["value"], 1_048_576);
    assert_eq!(row(&report, "descriptors")["need"], 100_384);
}

#[test]
fn more_connections_than_it_holds_are_refused_with_what_limits_them() {
    let host = Host::fine().with(CONFIG, KEY);
    let (code, report) = host.report(&["--connections", "5000000"]);
    assert_eq!(code, 1);
    let holds = report["holds"].as_u64().unwrap();
    assert!((100_000..5_000_000).contains(&holds), "{holds}");
    let tightest = row(&report, report["limited_by"].as_str().unwrap());
    assert_eq!(
        (&tightest["holds"], &tightest["verdict"]),
        (&holds.into(), &"short".into())
    );
    // What it holds, it holds.
    let (code, report) = host.report(&["--connections", "1"]);
    assert_eq!((code, &report["connections"]), (0, &1.into()), "{report:#}");
}

#[test]
fn each_shortage_has_its_row_and_its_mending() {
    for (file, text, name, mend) in [
        ("/proc/sys/fs/file-max", "65536", "file_max", "fs.file-max = 524288"),
        (
            "/proc/sys/net/core/somaxconn",
            "4096",
            "somaxconn",
            "net.core.somaxconn = 65535",
        ),
        (
            "/proc/sys/net/ipv4/tcp_mem",
            "100 200 300",
            "tcp_mem",
            "75000 100000 200000",
        ),
        (
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "65536",
            "conntrack",
            "nf_conntrack_max = 262144",
        ),
        (
            "/proc/sys/net/ipv4/tcp_syncookies",
            "0",
            "tcp_max_syn_backlog",
            "tcp_syncookies = 1",
        ),
        ("/proc/sys/kernel/osrelease", "3.2.0-4-amd64", "kernel", "linux-image"),
        (
            "/proc/meminfo",
            "MemTotal: 2000000 kB\nMemAvailable: 1500000 kB\n",
            "memory",
            "connections_max",
        ),
    ] {
        let row = Host::fine().with(file, text).falls_short(name);
        assert!(row["mend"].as_str().unwrap().contains(mend), "{row:#}");
    }
}

/// A server that says one line to whoever comes.
fn speaks(line: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let _ = stream.unwrap().write_all(line.as_bytes());
        }
    });
    port
}

#[test]
fn nats_is_asked_what_it_takes() {
    let host = |port: u16| {
        let nats = format!("\n[nats]\nurl = [\"nats://127.0.0.1:{port}\"]\n");
        Host::fine().with(CONFIG, format!("{KEY}{nats}"))
    };
    let row = host(speaks("INFO {\"max_payload\":1048576}\r\n")).is("nats", "ok");
    assert_eq!((&row["value"], &row["unit"]), (&1_048_576.into(), &"bytes".into()));
    let row = host(speaks("INFO {\"max_payload\":65536}\r\n")).falls_short("nats");
    assert!(row["mend"].as_str().unwrap().contains("max_payload: 524288"), "{row:#}");
    let row = host(speaks("HTTP/1.1 400 Bad Request\r\n")).falls_short("nats");
    assert!(row["note"].as_str().unwrap().contains("no NATS server"), "{row:#}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let row = host(free).falls_short("nats");
    assert!(
        row["note"].as_str().unwrap().contains("0 of 1 servers answer"),
        "{row:#}"
    );
    assert_eq!(Host::fine().is("nats", "ok")["value"], "none");
}

#[test]
fn a_wrong_configuration_is_a_row() {
    let row = Host::fine()
        .with(CONFIG, "[server]\nlisten = 7\n")
        .is("config", "short");
    let note = row["note"].as_str().unwrap();
    assert!(note.contains("server.listen") && note.contains(":2:"), "{row:#}");
    assert!(
        row["mend"]
            .as_str()
            .unwrap()
            .contains("longwire check --config /etc/longwire/longwire.toml")
    );
    // The unit's own file is the one that counts.
    let unit = "[Service]\nExecStart=/usr/bin/longwire serve --config=/srv/other.toml\nLimitNOFILE=1048576\n";
    let host = Host::fine()
        .with("/usr/lib/systemd/system/longwire.service", unit)
        .with("/srv/other.toml", format!("server.connections_max = 77\n{KEY}"));
    let (code, report) = host.report(&[]);
    assert_eq!((code, &report["connections"]), (0, &77.into()), "{report:#}");
}

#[test]
fn what_cannot_be_read_is_unknown_and_no_failure() {
    // Nothing at all.
    let host = Host(TempDir::new());
    let (code, report) = host.report(&[]);
    assert_eq!((code, &report["connections"]), (0, &10_000.into()), "{report:#}");
    assert!(
        report["holds"].is_null() && report["limited_by"].is_null(),
        "{report:#}"
    );
    for name in [
        "descriptors",
        "nr_open",
        "file_max",
        "kernel",
        "memory",
        "cores",
        "clock",
        "somaxconn",
        "tcp_mem",
        "ports",
    ] {
        assert_eq!(row(&report, name)["verdict"], "unknown", "{name}");
    }
    assert!(host.doctor(&[]).1.contains("is unknown"));

    // Garbage in every file but the configuration.
    for garbage in [
        &b"garbage\n"[..],
        b"",
        b"\xff\xfe\x00{{{};;;",
        b"-1\n",
        b"999999999999999999999999999 1 2 3",
        b"[Service]\nLimitNOFILE=\n",
    ] {
        let host = Host::fine();
        let mut files = Vec::new();
        all_files(host.0.path(), &mut files);
        let config = host.0.path().join(CONFIG.trim_start_matches('/'));
        for file in files.iter().filter(|file| **file != config) {
            std::fs::write(file, garbage).unwrap();
        }
        let (code, report) = host.report(&[]);
        assert!(code == 0 || code == 1, "{code}");
        for name in ["nr_open", "file_max", "memory", "cores", "somaxconn", "tcp_mem"] {
            assert_eq!(row(&report, name)["verdict"], "unknown", "{name} with {garbage:?}");
        }
    }
}

fn all_files(at: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, into);
        } else {
            into.push(path);
        }
    }
}

#[test]
fn the_clock_is_known_from_systemd() {
    let row = Host::fine()
        .without("/run/systemd/timesync/synchronized")
        .is("clock", "unknown");
    assert!(
        row["mend"].as_str().unwrap().contains("timedatectl set-ntp true"),
        "{row:#}"
    );
}

#[test]
fn senseless_numbers_are_usage_errors() {
    let host = Host::fine();
    for connections in ["0", "-1", "many", "1000000000001"] {
        let (code, _, stderr) = host.doctor(&["--connections", connections]);
        assert_eq!(code, 2, "{connections}");
        assert!(stderr.contains("--connections") || stderr.contains("-1"), "{stderr}");
    }
}

#[test]
fn this_host_can_be_looked_at() {
    let dir = TempDir::new();
    let (code, stdout, stderr) = run_to_end(&["doctor", "--json", "--connections", "10"], dir.path());
    assert!(code == 0 || code == 1, "{code}: {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(row(&report, "descriptors")["verdict"], "ok", "{report:#}");
    assert!(report["holds"].as_u64().unwrap() >= 10);
}
