//! Every scenario, small and quick, against a real gateway: every message is accounted for. Says nothing of speed.
//! The gateway's binary is `LONGWIRE_BIN`, or the one beside the harness, or it is built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use longwire_load::cli::{Options, Raise};
use longwire_load::result::Run;
use longwire_load::scenarios;

fn gateway() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("LONGWIRE_BIN") {
            return path.into();
        }
        let beside = PathBuf::from(env!("CARGO_BIN_EXE_longwire-load")).with_file_name("longwire");
        if !beside.exists() {
            let target = beside.ancestors().nth(2).unwrap();
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
            let mut build = Command::new(env!("CARGO"));
            let build = build
                .args(["build", "--bin", "longwire"])
                .env("CARGO_TARGET_DIR", target);
            assert!(build.current_dir(root).status().unwrap().success());
        }
        beside
    });
    built.clone()
}

fn options() -> Options {
    let mut options = Options::defaults();
    options.connections = 200;
    options.start = true;
    options.longwire = Some(gateway());
    options.worker_binary = Some(env!("CARGO_BIN_EXE_longwire-load").into());
    options.duration = Some(Duration::from_secs(2));
    options.rate = Some(100.0);
    options.quiet = true;
    options
}

/// Nothing lost, doubled, disordered or garbled; what was due came, or was due to nobody who was there.
fn clean(run: &Run) {
    let accounts = run.accounts;
    let faults = accounts.lost + accounts.duplicated + accounts.out_of_order + accounts.garbled;
    assert_eq!(faults, 0, "{accounts:?} {:?}", run.errors);
    assert_eq!(accounts.due, accounts.received + accounts.unaccountable, "{accounts:?}");
    assert!(run.delays["login"].count >= 190, "{:?}", run.delays["login"].count);
    assert!(run.samples.len() >= 2 && run.took_ms > 1_000);
}

fn complete(run: &Run, due: std::ops::RangeInclusive<u64>) {
    clean(run);
    assert!(due.contains(&run.accounts.due), "{:?}", run.accounts);
    assert_eq!(run.accounts.unaccountable, 0, "{:?} {:?}", run.accounts, run.errors);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
}

#[test]
fn hold() {
    let mut options = options();
    options.rate = None;
    let run = scenarios::run("hold", options).unwrap();
    complete(&run, 0..=0);
    assert!(run.figures["resident_bytes_per_connection"] >= 0.0 && run.figures["server_cpu_cores"] < 1.0);
}

#[test]
fn storm() {
    let mut options = options();
    options.storms = 2;
    let run = scenarios::run("storm", options).unwrap();
    complete(&run, 200..=10_000);
    assert_eq!(run.delays["login"].count, 200 + 2 * 190);
}

#[test]
fn push() {
    let run = scenarios::run("push", options()).unwrap();
    complete(&run, 200..=200);
    assert_eq!((run.figures["pushes_matched"], run.delays["push"].count), (200.0, 200));
}

#[test]
fn push_over_a_bus() {
    let mut options = options();
    options.bus = true;
    complete(&scenarios::run("push", options).unwrap(), 200..=200);
}

#[test]
fn fanout_to_everybody_and_to_topics() {
    let mut everybody = options();
    everybody.rate = Some(5.0);
    everybody.workers = Some(2);
    complete(&scenarios::run("fanout", everybody).unwrap(), 2_000..=2_000);
    let mut topics = options();
    topics.rate = Some(20.0);
    topics.topics = 4;
    topics.subscribers = 100;
    complete(&scenarios::run("fanout", topics).unwrap(), 1_000..=1_000);
}

#[test]
fn call() {
    complete(&scenarios::run("call", options()).unwrap(), 200..=200);
    let mut own = options();
    own.path = Some("ping".to_owned());
    complete(&scenarios::run("call", own).unwrap(), 200..=200);
}

#[test]
fn churn() {
    let mut options = options();
    options.stay = Duration::from_millis(500);
    let run = scenarios::run("churn", options).unwrap();
    clean(&run);
    assert_eq!(run.accounts.due, 400);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
}

#[test]
fn slow() {
    let mut options = options();
    options.duration = Some(Duration::from_secs(6));
    let run = scenarios::run("slow", options).unwrap();
    clean(&run);
    assert_eq!(
        run.figures["slow_clients"], run.figures["slow_clients_closed"],
        "{:?}",
        run.errors
    );
}

#[test]
fn soak() {
    let mut options = options();
    options.duration = Some(Duration::from_secs(4));
    options.stay = Duration::from_millis(500);
    let run = scenarios::run("soak", options).unwrap();
    clean(&run);
    assert!(run.delays.contains_key("call") && run.delays.contains_key("push") && run.delays.contains_key("broadcast"));
}

#[test]
fn search() {
    let mut pushes = options();
    pushes.duration = Some(Duration::from_secs(1));
    pushes.bound = Duration::from_micros(1);
    let run = scenarios::run("search", pushes).unwrap();
    clean(&run);
    assert_eq!(
        run.figures["knee_pushes_per_s"], 0.0,
        "nothing takes less than a microsecond"
    );
    let mut connections = options();
    connections.raise = Raise::Connections;
    connections.duration = Some(Duration::from_millis(200));
    connections.bound = Duration::from_secs(60);
    let run = scenarios::run("search", connections).unwrap();
    assert_eq!(run.figures["knee_connections"], 200.0);
}
