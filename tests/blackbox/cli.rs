//! The command line: `check`, `token`, and the API from a terminal.

use serde_json::json;

use crate::support::gateway::{command_to_end, config, longwire, run_to_end};
use crate::support::{Client, Gateway, SECRET, TempDir, Value, now_s, wait_until};

const KEY: &str = "the-operators-own-key";

/// Runs `longwire` with these arguments against the gateway's API.
fn cli(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let mut command = longwire();
    command
        .args(arguments)
        .args(["--api", &gateway.url("")])
        .current_dir(gateway.dir.path());
    if let Some(key) = &gateway.key {
        command.args(["--key", key]);
    }
    command_to_end(&mut command)
}

#[test]
fn help_names_every_command_and_each_has_its_own() {
    let dir = TempDir::new();
    let (code, help, _) = run_to_end(&["--help"], dir.path());
    assert_eq!(code, 0);
    for command in ["serve", "check", "token", "push", "users", "kick", "drain", "doctor"] {
        assert!(help.contains(command), "{help}");
        let (code, own, _) = run_to_end(&[command, "--help"], dir.path());
        assert_eq!(code, 0, "{command}");
        assert!(own.contains("Usage"), "{own}");
    }
    let (code, version, _) = run_to_end(&["--version"], dir.path());
    assert_eq!(
        (code, version.trim()),
        (0, concat!("longwire ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn an_unknown_command_or_flag_is_a_usage_error() {
    let dir = TempDir::new();
    for arguments in [
        &["dance"][..],
        &["serve", "--loudly"],
        &["push"],
        &["token"],
        &["push", "--user", "u", "--all"],
        &["users", ""],
        &["kick", ""],
        &["why", ""],
        // More than any kernel gives a process.
        &["doctor", "--connections", "1000000000000"],
        &["doctor", "--pid", "x"],
    ] {
        let (code, _, stderr) = run_to_end(arguments, dir.path());
        assert_eq!(code, 2, "{arguments:?}");
        assert!(!stderr.is_empty());
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let gateway = Gateway::start("");
    let api = gateway.url("");
    let shell = |redirection: &str, arguments: &[&str]| {
        let program = longwire();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &format!("\"$0\" \"$@\" {redirection}")])
            .arg(program.get_program())
            .args(arguments)
            .current_dir(gateway.dir.path());
        command_to_end(&mut command)
    };
    for arguments in [
        &["check"][..],
        &["doctor"],
        &["doctor", "--json"],
        &["token", "--user", "u", "--config", "longwire.toml"],
        &["users", "u", "--api", &api],
        &["why", "u", "--json", "--api", &api],
        &["push", "--user", "u", "--path", "p", "--api", &api],
        &["--help"],
        &["--version"],
    ] {
        let (code, _, stderr) = shell(">/dev/full", arguments);
        assert_eq!(code, 1, "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("longwire: cannot write to standard output: "),
            "{arguments:?}: {stderr}"
        );
    }
    for arguments in [&["check"][..], &["doctor", "--root", "/nowhere"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = longwire().args(arguments).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("standard output"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn check_prints_the_resolved_config_as_toml_with_its_secrets_masked() {
    let dir = TempDir::new();
    dir.write("keys", "file-key-0123456789\n");
    let changes = format!(
        "api.keys = [\"{KEY}\"]\napi.keys_file = {:?}\nnats.password = \"the nats password\"\nnats.user = \"n\"\n\
         nats.url = [\"nats://127.0.0.1:4222\"]",
        dir.path().join("keys")
    );
    let file = dir.write("longwire.toml", config(&changes));
    let (code, stdout, stderr) = run_to_end(&["check", "--config", file.to_str().unwrap()], dir.path());
    assert_eq!(code, 0, "{stderr}");
    for secret in [SECRET, KEY, "file-key-0123456789", "the nats password"] {
        assert!(
            !stdout.contains(secret) && !stderr.contains(secret),
            "{secret} is shown:\n{stdout}{stderr}"
        );
    }
    let resolved: toml::Table = stdout.parse().unwrap_or_else(|e| panic!("{e}\n{stdout}"));
    for table in ["server", "auth", "sessions", "timeouts", "limits", "nats", "api", "log"] {
        assert!(resolved.contains_key(table), "[{table}] is missing:\n{stdout}");
    }
    assert_eq!(resolved["server"]["reactors"].as_integer(), Some(2));
    assert_eq!(resolved["server"]["node"].as_str(), Some("test"));
    assert!(
        resolved["timeouts"].get("connect").is_some(),
        "defaults are printed too"
    );
}

#[test]
fn check_resolves_what_the_file_leaves_to_the_host() {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config("server.reactors = 0"));
    let (code, stdout, _) = run_to_end(&["check", "--config", file.to_str().unwrap()], dir.path());
    assert_eq!(code, 0);
    let resolved: toml::Table = stdout.parse().unwrap();
    assert!(resolved["server"]["reactors"].as_integer().unwrap() >= 1);
}

#[test]
fn token_mints_what_the_gateway_takes() {
    let gateway = Gateway::start("");
    let file = gateway.config.to_str().unwrap();
    let arguments = [
        "token", "--config", file, "--user", "anna k.", "--ttl", "10m", "--paths", "a/*", "--paths", "b", "--topics",
        "room.*", "--device", "phone",
    ];
    let (code, stdout, stderr) = run_to_end(&arguments, gateway.dir.path());
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().count(), 1, "the token and nothing else: {stdout}");
    let mut client = Client::open(&gateway);
    let body = client.connect(stdout.trim(), json!({"topics": ["room.1"]}));
    assert_eq!(body["user"], "anna k.");
    let expires_at = body["expires_at"].as_u64().unwrap();
    assert!((now_s() + 540..=now_s() + 600).contains(&expires_at), "{expires_at}");
    assert_eq!(gateway.user("anna%20k.")["connections"][0]["device"], "phone");
    client.refused(json!({"path": "c", "id": 1}), 403, "path_forbidden");
    client.refused(json!({"path": "a/x", "id": 1}), 404, "no_handler");
    client.refused(json!({"path": "b", "id": 1}), 404, "no_handler");

    let (code, stdout, _) = run_to_end(&["token", "--config", file, "--user", "u"], gateway.dir.path());
    assert_eq!(code, 0);
    let mut client = Client::open(&gateway);
    let expires_at = client.connect(stdout.trim(), Value::Null)["expires_at"]
        .as_u64()
        .unwrap();
    assert!(
        (now_s() + 3540..=now_s() + 3600).contains(&expires_at),
        "an hour unless told: {expires_at}"
    );
}

#[test]
fn token_without_a_config_says_how_to_give_it_a_secret() {
    let dir = TempDir::new();
    let (code, stdout, stderr) = run_to_end(&["token", "--user", "u"], dir.path());
    assert_ne!(code, 0);
    assert!(stdout.is_empty(), "{stdout}");
    assert!(
        stderr.contains("--config") || stderr.contains("--set") || stderr.contains("LONGWIRE_"),
        "{stderr}"
    );
}

#[test]
fn push_reaches_users_topics_and_all() {
    let gateway = Gateway::start(&format!("api.keys = [\"{KEY}\"]\nauth.default_topics = [\"*\"]"));
    let mut client = Client::login_with(&gateway, &crate::support::token("u"), json!({"topics": ["t"]}));
    for (target, expected) in [
        (
            &["--user", "u"][..],
            json!({"path": "order/paid", "body": {"order": 1}}),
        ),
        (
            &["--topic", "t"],
            json!({"path": "order/paid", "topic": "t", "body": {"order": 1}}),
        ),
        (&["--all"], json!({"path": "order/paid", "body": {"order": 1}})),
    ] {
        let arguments = [&["push"], target, &["--path", "order/paid", "--body", r#"{"order":1}"#]].concat();
        let (code, stdout, stderr) = cli(&gateway, &arguments);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.contains('1'), "says how many it matched: {stdout}");
        assert_eq!(client.json(), expected);
    }
    let (code, _, stderr) = cli(&gateway, &["push", "--user", "u", "--path", "p", "--body", "not json"]);
    assert_ne!(code, 0);
    assert!(!stderr.is_empty());
    client.fence();
}

#[test]
fn users_kick_and_drain_do_what_the_api_does() {
    let mut gateway = Gateway::start("timeouts.drain = \"100ms\"");
    let (mut client, id) = Client::login_named(&gateway, "anna k.");
    let (code, stdout, stderr) = cli(&gateway, &["users", "anna k."]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(&id), "{stdout}");
    let (code, ..) = cli(&gateway, &["kick", "anna k."]);
    assert_eq!(code, 0);
    assert_eq!(client.closed().0, 4403);
    let (code, ..) = cli(&gateway, &["drain"]);
    assert_eq!(code, 0);
    assert_eq!(gateway.run.exit_code(), 0);
}

#[test]
fn the_key_may_come_from_the_environment_and_a_wrong_one_is_an_error() {
    let gateway = Gateway::start(&format!("api.keys = [\"{KEY}\"]"));
    let users = |key: Option<&str>| {
        let mut command = longwire();
        command
            .args(["users", "u", "--api", &gateway.url("")])
            .current_dir(gateway.dir.path());
        if let Some(key) = key {
            command.env("LONGWIRE_KEY", key);
        }
        command_to_end(&mut command)
    };
    assert_eq!(users(Some(KEY)).0, 0);
    for key in [None, Some("wrong")] {
        let (code, _, stderr) = users(key);
        assert_ne!(code, 0);
        assert!(stderr.contains("401") || stderr.contains("key"), "{stderr}");
    }
}

#[test]
fn the_api_address_and_key_come_from_the_config_where_no_flag_names_them() {
    let mut gateway = Gateway::start(&format!("api.keys = [\"{KEY}\"]"));
    let text = config(&format!("api.keys = [\"{KEY}\"]\napi.listen = \"{}\"", gateway.api));
    let file = gateway.dir.write("cli.toml", text);
    let arguments = ["users", "u", "--config", file.to_str().unwrap()];
    let (code, _, stderr) = run_to_end(&arguments, gateway.dir.path());
    assert_eq!(code, 0, "{stderr}");
    gateway.run.signal("TERM");
    assert_eq!(gateway.run.exit_code(), 0);
    let mut last = (0, String::new());
    wait_until("nobody to answer there", || {
        let (code, _, stderr) = run_to_end(&arguments, gateway.dir.path());
        last = (code, stderr);
        last.0 != 0
    });
    assert!(
        last.1.contains(&gateway.api.to_string()),
        "says where it tried: {}",
        last.1
    );
}
