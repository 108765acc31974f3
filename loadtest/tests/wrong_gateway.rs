//! The accounting against a gateway that is wrong on purpose in what only a gateway can do: it knows users, takes pushes,
//! answers calls. Driven by the real worker processes and the real coordinator over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use longwire_load::cli::Options;
use longwire_load::result::Run;
use longwire_load::scenarios;
use support::gateway::{self, Wrong};

fn options(wrong: Wrong) -> Options {
    let gateway = gateway::start(wrong);
    let mut options = Options::defaults();
    options.connections = 12;
    options.target = vec![format!("ws://{}/ws", gateway.clients)];
    options.api = format!("http://{}", gateway.api);
    options.secret = Some("a secret that is as long as its hash is".to_owned());
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
