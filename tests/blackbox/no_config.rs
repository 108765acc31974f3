//! The first minute: `longwire` with nothing at all prints what one needs to see a message arrive.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::gateway::{Run, command_to_end, longwire, plain, wait_listening};
use crate::support::raw::Raw;
use crate::support::{TempDir, wait_for};

/// Starts the program with no config. Only the ports differ from what a new user has: these tests run side by side.
fn start(dir: &TempDir) -> Run {
    let mut command = longwire();
    command
        .args(["--set", "server.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"])
        .current_dir(dir.path());
    Run::start(&mut command)
}

/// The first word that looks like a JWT.
fn printed_token(output: &str) -> Option<String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    output
        .split(|c| !is_token(c))
        .find(|w| w.starts_with("eyJ") && w.split('.').count() == 3)
        .map(str::to_owned)
}

/// The command line that starts with `curl`, with the lines that continue it.
fn printed_curl(output: &str) -> Option<String> {
    let from = output
        .lines()
        .position(|line| line.trim_start().trim_start_matches("$ ").starts_with("curl "))?;
    let mut command = String::new();
    for line in output.lines().skip(from) {
        command += line.trim_start().trim_start_matches("$ ");
        command += "\n";
        if !line.ends_with('\\') {
            return Some(command);
        }
    }
    None
}

#[test]
fn without_a_config_the_printed_token_logs_in_and_the_printed_curl_line_reaches_it() {
    let dir = TempDir::new();
    let mut run = start(&dir);
    let (listens, api) = wait_listening(&mut run, 1);
    assert!(listens[0].ip().is_loopback() && api.ip().is_loopback());
    let token = wait_for("a token on the terminal", || printed_token(&plain(&run.output())));
    let curl = wait_for("a curl line on the terminal", || printed_curl(&plain(&run.output())));
    let output = plain(&run.output());
    assert!(output.contains(&format!("http://{api}")), "the page's URL: {output}");
    assert!(
        output.contains(&listens[0].to_string()),
        "the WebSocket's address: {output}"
    );

    let mut client = Raw::over(crate::support::client::stream_to(listens[0])).upgrade();
    client.send_json(&json!({"path": "connect", "id": 1, "token": token}));
    assert_eq!(client.json()["status"], 200);
    let (code, stdout, stderr) = command_to_end(Command::new("sh").arg("-c").arg(&curl));
    assert_eq!(code, 0, "{curl}\n{stdout}{stderr}");
    let push: Value = client.json();
    assert!(push["path"].is_string() && push.get("body").is_some(), "{push}");
}

#[test]
fn each_start_without_a_config_has_a_secret_of_its_own() {
    let dir = TempDir::new();
    let (mut first, mut second) = (start(&dir), start(&dir));
    let (listens, _) = wait_listening(&mut second, 1);
    wait_listening(&mut first, 1);
    let token = wait_for("a token on the terminal", || printed_token(&plain(&first.output())));
    let mut client = Raw::over(crate::support::client::stream_to(listens[0])).upgrade();
    client.send_json(&json!({"path": "connect", "id": 1, "token": token}));
    assert_eq!(client.json()["error"]["code"], "token_invalid");
}
