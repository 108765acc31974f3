//! The examples, as a reader runs them: `examples/cluster/run` walks to its end and leaves nothing behind,
//! the service of `examples/order.rs` answers a client, and `examples/client.rs` is one. `examples/echo.rs` has tests
//! of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "cluster/nats/mod.rs"]
#[allow(dead_code, unused_imports)]
mod nats;
#[path = "blackbox/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use nats::NatsServer;
use support::{Client, Gateway, Run, TempDir, mint, now_s, token, wait_for, wait_until};

/// How long the script may take: it may have to wait for other builds before it has its own.
const WALK_PATIENCE: Duration = Duration::from_secs(600);

/// The directory of this profile in cargo's target directory; the examples and the binary are there.
fn profile_dir() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path
}

/// `examples/cluster/run` with the profile of these tests, so that it finds everything built.
struct Script {
    run: Run,
    tmp: TempDir,
}

impl Script {
    fn start(arguments: &[&str]) -> Self {
        let tmp = TempDir::new();
        let mut command = Command::new("examples/cluster/run");
        command
            .args(arguments)
            .args(cfg!(debug_assertions).then_some("--debug"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", profile_dir().parent().unwrap())
            .env("TMPDIR", tmp.path());
        let run = Run::start(&mut command);
        Self { run, tmp }
    }

    fn wait_for_line(&mut self, words: &str) {
        let deadline = Instant::now() + WALK_PATIENCE;
        while !self.run.output().contains(words) {
            assert!(
                Instant::now() < deadline,
                "{words:?} never came:\n{}",
                self.run.output()
            );
            if let Some(status) = self.run.try_exit() {
                wait_until(
                    &format!("{words:?} in the output of a script that ended with {status}"),
                    || self.run.output().contains(words),
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The word behind `before` in what was said.
    fn word_behind(&self, before: &str) -> String {
        wait_for(&format!("a word behind {before:?}"), || {
            let output = self.run.output();
            let (_, rest) = output.split_once(before)?;
            let (line, _) = rest.split_once('\n')?;
            Some(line.split_whitespace().next()?.to_owned())
        })
    }

    /// Its exit code; nothing that it started may be left.
    fn end(mut self) -> i32 {
        let code = self.run.exit_code();
        let nats = self.word_behind("nats  nats://");
        assert!(TcpStream::connect(&nats).is_err(), "something still listens on {nats}");
        let left: Vec<_> = std::fs::read_dir(self.tmp.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        code
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // A failed test: the script must have its chance to stop what it started.
        if self.run.try_exit().is_none() {
            self.run.signal("TERM");
            let deadline = Instant::now() + support::PATIENCE;
            while self.run.try_exit().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn the_cluster_example_walks_to_its_end_and_leaves_nothing_behind() {
    let mut script = Script::start(&["--once"]);
    script.wait_for_line("Everything arrived.");
    assert_eq!(script.end(), 0);
}

#[test]
fn ctrl_c_ends_the_cluster_example_well() {
    let mut script = Script::start(&[]);
    script.wait_for_line("Ctrl-C stops everything.");
    let node = script.word_behind("kill -9 ");
    assert!(Path::new("/proc").join(&node).exists());
    script.run.signal("INT");
    assert_eq!(script.end(), 0);
    assert!(!Path::new("/proc").join(&node).exists());
}

/// The path of an example, built. `cargo test` has built it already, `cargo test --test examples` has not.
fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--example", name, "--profile"]);
    cargo.arg(if cfg!(debug_assertions) { "dev" } else { "release" });
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.env("CARGO_TARGET_DIR", profile_dir().parent().unwrap());
    assert!(cargo.status().unwrap().success());
    profile_dir().join("examples").join(name)
}

#[test]
fn the_client_example_prints_pushes_renews_its_token_and_stays_away_after_a_kick() {
    let client = example("client");
    let gateway = Gateway::start("auth.default_topics = [\"room.*\"]");
    let tmp = TempDir::new();
    let token_file = tmp.path().join("token");
    std::fs::write(&token_file, mint(json!({"sub": "anna", "exp": now_s() + 5}))).unwrap();
    let mut client = Run::start(
        Command::new(client)
            .arg(gateway.ws().to_string())
            .arg(&token_file)
            .arg("room.1"),
    );
    wait_until("its login", || client.output().contains("open "));
    std::fs::write(&token_file, token("anna")).unwrap();
    gateway.push(json!({"topic": "room.1"}), "news", json!("it works"));
    wait_until("the push", || client.output().contains("\"it works\""));
    wait_until("the renewal", || client.output().contains("renewed "));
    assert!(!client.output().contains("waiting"), "{}", client.output());
    gateway.delete("/v1/users/anna").ok();
    assert_eq!(client.exit_code(), 0);
    assert!(client.output().contains("closed 4403 kicked"), "{}", client.output());
}

#[test]
fn the_order_example_answers_and_pushes() {
    let order = example("order");
    let nats = NatsServer::start();
    let gateway = Gateway::start(&format!("nats.url = [\"{}\"]\nnats.prefix = \"shop.eu\"", nats.url()));
    let service = Run::start(Command::new(order).args([&nats.url(), "shop.eu"]));
    wait_until("the service to listen", || {
        service.output().contains("answering shop.eu.call.order.create")
    });

    let mut phone = Client::login(&gateway, "a.b@c");
    let mut laptop = Client::login(&gateway, "a.b@c");
    let mut other = Client::login(&gateway, "other");
    let reply = phone.call(json!({"path": "order/create", "id": 1, "body": {"sku": "a1"}}));
    assert_eq!(
        reply,
        json!({"id": 1, "path": "order/create", "status": 200, "body": {"order": 1, "sku": "a1"}})
    );
    for client in [&mut phone, &mut laptop] {
        assert_eq!(client.json(), json!({"path": "order/paid", "body": {"order": 1}}));
    }
    for body in [
        json!(null),
        json!({}),
        json!({"sku": ""}),
        json!({"sku": 1}),
        json!("a1"),
    ] {
        let reply = phone.call(json!({"path": "order/create", "id": "bad", "body": body}));
        assert_eq!((&reply["id"], &reply["status"]), (&json!("bad"), &json!(400)), "{body}");
    }
    // Without an id there is no reply, but the order is made.
    phone.send(json!({"path": "order/create", "body": {"sku": "a2"}}));
    for client in [&mut phone, &mut laptop] {
        assert_eq!(client.json(), json!({"path": "order/paid", "body": {"order": 2}}));
    }
    other.fence();
}
