//! The accounting against a gateway that is wrong on purpose in what only a gateway can do: it knows users, takes pushes,
//! answers calls. Driven by the real worker processes and the real coordinator over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use longwire_load::cli::Options;
use longwire_load::clock;
use longwire_load::plan::{Answer, Command, Login, Plan, Target, When};
use longwire_load::result::Run;
use longwire_load::scenarios;
use longwire_load::worker::Worker;
use support::gateway::{self, Wrong};

const SECRET: &str = "a secret that is as long as its hash is";

fn options(wrong: Wrong) -> Options {
    let gateway = gateway::start(wrong);
    let mut options = Options::defaults();
    options.connections = 12;
    options.target = vec![format!("ws://{}/ws", gateway.clients)];
    options.api = format!("http://{}", gateway.api);
    options.secret = Some(SECRET.to_owned());
    options.worker_binary = Some(env!("CARGO_BIN_EXE_longwire-load").into());
    options.duration = Some(Duration::from_secs(1));
    options.rate = Some(100.0);
    options.quiet = true;
    options
}

fn run(scenario: &str, wrong: Wrong) -> Run {
    scenarios::run(scenario, options(wrong)).unwrap()
}

fn add_up(run: &Run) {
    let accounts = run.accounts;
    assert_eq!(
        accounts.due,
        accounts.received + accounts.lost + accounts.unaccountable,
        "{accounts:?}"
    );
}

#[test]
fn a_right_gateway_has_clean_accounts() {
    for scenario in ["push", "fanout", "call"] {
        let run = run(scenario, Wrong::Nothing);
        add_up(&run);
        assert!(run.accounts.due >= 99, "{scenario}: {:?}", run.accounts);
        assert_eq!(
            run.accounts.received, run.accounts.due,
            "{scenario}: {:?}",
            run.accounts
        );
        assert!(run.errors.is_empty(), "{scenario}: {:?}", run.errors);
    }
}

#[test]
fn what_went_to_somebody_else_is_garbled_there_and_lost_here() {
    for scenario in ["push", "call"] {
        let run = run(scenario, Wrong::ToAnother);
        add_up(&run);
        let accounts = run.accounts;
        assert!(
            accounts.garbled > 0 && accounts.lost == accounts.garbled,
            "{scenario}: {accounts:?}"
        );
        assert_eq!(
            run.errors.get("misdelivered"),
            Some(&accounts.garbled),
            "{:?}",
            run.errors
        );
    }
}

#[test]
fn a_topic_that_comes_to_who_did_not_subscribe_is_misdelivered() {
    let mut options = options(Wrong::Nothing);
    (options.topics, options.subscribers) = (2, 6);
    // This gateway sends a push to a topic to everybody.
    let run = scenarios::run("fanout", options).unwrap();
    add_up(&run);
    assert_eq!(run.accounts.received, run.accounts.due, "{:?}", run.accounts);
    assert_eq!(run.accounts.due, 600 / 2, "{:?}", run.accounts);
    assert_eq!(run.errors.get("misdelivered"), Some(&900), "{:?}", run.errors);
}

#[test]
fn a_changed_path_is_a_changed_message() {
    let run = run("push", Wrong::OtherPath);
    add_up(&run);
    assert!(run.accounts.garbled > 0, "{:?}", run.accounts);
}

#[test]
fn the_delay_of_a_refusal_is_not_that_of_an_answer() {
    let run = run("call", Wrong::RefusesCalls);
    add_up(&run);
    let refused = run.errors.get("call_status_503").copied().unwrap_or(0);
    assert!(refused > 0, "{:?}", run.errors);
    assert_eq!(run.delays["call"].count, run.accounts.received - refused);
}

#[test]
fn pushes_that_the_gateway_refuses_are_a_fault() {
    let run = run("push", Wrong::RefusesPushes);
    add_up(&run);
    assert_eq!((run.accounts.unaccountable, run.accounts.lost), (run.accounts.due, 0));
    assert!(run.has_faults(), "{:?}", run.errors);
}

#[test]
fn who_comes_and_goes_is_owed_what_came_while_it_was_there() {
    let churn = |wrong| {
        let mut options = options(wrong);
        options.rate = None;
        (options.stay, options.duration) = (Duration::from_secs(3), Some(Duration::from_secs(4)));
        scenarios::run("churn", options).unwrap()
    };
    let right = churn(Wrong::Nothing);
    add_up(&right);
    assert!(
        right.accounts.received > 0 && right.accounts.lost == 0,
        "{:?}",
        right.accounts
    );
    let wrong = churn(Wrong::DeliversNothing);
    add_up(&wrong);
    assert!(
        wrong.accounts.received == 0 && wrong.accounts.lost > 0,
        "{:?}",
        wrong.accounts
    );
}

#[test]
fn a_churn_without_enough_clients_counts_for_nothing() {
    let mut options = options(Wrong::Nothing);
    options.stay = Duration::from_secs(1);
    // A hundred visits a second of a second each, and twelve clients for them.
    let run = scenarios::run("churn", options).unwrap();
    assert!(
        run.void.iter().any(|reason| reason.contains("nobody to make them")),
        "{:?}",
        run.void
    );
}

#[test]
fn a_worker_that_is_killed_ends_the_run_with_the_reason() {
    let gateway = gateway::start(Wrong::Nothing);
    let mut child = Process::new(env!("CARGO_BIN_EXE_longwire-load"))
        .args(["hold", "-n", "12", "--duration", "2m", "--secret", SECRET])
        .args(["--target", &format!("ws://{}/ws", gateway.clients)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let under_way = |line: &str| {
        ["connecting", "warming up", "holding"]
            .iter()
            .any(|phase| line.contains(phase))
    };
    assert!(said.any(|line| under_way(&line.unwrap())));
    let workers = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let worker = nix::unistd::Pid::from_raw(workers.trim().parse().unwrap());
    // Unlike the coordinator, a worker hears no signal: it ends by it.
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(said.any(|line| line.unwrap().contains("worker 0 ended: signal: 15")));
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn an_interrupted_run_says_what_it_found_and_leaves_no_process() {
    let gateway = gateway::start(Wrong::Nothing);
    let json = std::env::temp_dir().join(format!("longwire-load-interrupted-{}.json", std::process::id()));
    let mut child = Process::new(env!("CARGO_BIN_EXE_longwire-load"))
        .args(["call", "-n", "12", "--workers", "2", "--rate", "50", "--duration", "2m"])
        .args(["--secret", SECRET, "--target", &format!("ws://{}/ws", gateway.clients)])
        .arg("--json")
        .arg(&json)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    let until = Instant::now() + Duration::from_secs(60);
    while gateway.count() == 0 {
        assert!(Instant::now() < until, "no call");
        std::thread::sleep(Duration::from_millis(10));
    }
    let workers = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let workers: Vec<&str> = workers.split_whitespace().collect();
    assert_eq!(workers.len(), 2);
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    let mut table = String::new();
    child.stdout.take().unwrap().read_to_string(&mut table).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:?}");
    assert!(
        table.contains("interrupted") && table.contains("Every message came"),
        "{table}"
    );
    let run: Run = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    std::fs::remove_file(&json).unwrap();
    add_up(&run);
    assert!(
        run.accounts.received > 0 && run.accounts.received == run.accounts.due,
        "{:?}",
        run.accounts
    );
    assert!(
        workers
            .iter()
            .all(|worker| !std::path::Path::new(&format!("/proc/{worker}")).exists())
    );
}

#[test]
fn who_is_there_when_a_churn_begins_leaves_though_nobody_comes_yet() {
    let gateway = gateway::start(Wrong::Nothing);
    let mut worker = Worker::new(Plan {
        run: 1,
        first: 0,
        count: 5,
        targets: vec![Target::Tcp(gateway.clients, "/ws".to_owned())],
        sources: Vec::new(),
        login: Login::Secret(SECRET.to_owned()),
        topics: 0,
        subscribers: 0,
        window: 0,
        nice: 0,
        slow_per_mille: 0,
    })
    .unwrap();
    let (tell, given) = channel();
    let (say, said) = channel();
    std::thread::spawn(move || worker.run(&given, &mut |answer| drop(say.send(answer))));
    let wait_for = |connected: u32| {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Ok(Answer::Tick(tick)) = said.recv_timeout(Duration::from_secs(60))
                && tick.connected == connected
            {
                return true;
            }
        }
        false
    };
    let (at_us, per_second, below) = (0, 0.0, u32::MAX);
    tell.send(Command::Connect {
        at_us,
        per_second,
        below,
    })
    .unwrap();
    assert!(wait_for(5));
    let at_us = clock::now_us() + 3_600_000_000;
    let when = When {
        at_us,
        per_second: 1.0,
        until_us: at_us + 1_000_000,
    };
    tell.send(Command::Churn { when, stay_ms: 100 }).unwrap();
    assert!(wait_for(0));
}
