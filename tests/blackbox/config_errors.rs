//! What is wrong in a config is refused before anything starts, with the line at fault.

use crate::support::gateway::{command_to_end, config, longwire, run_to_end};
use crate::support::{Gateway, SECRET, TempDir};

/// `[[auth.keys]]` with a good key, five lines long.
fn key_lines() -> String {
    format!("[[auth.keys]]\nid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n\n")
}

/// Both `check` and `serve` must refuse this file with exit 2 and name the file, the line and a word.
#[track_caller]
fn refused(text: &str, line: usize, word: &str) {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", text);
    let file = file.to_str().unwrap();
    for command in ["check", "serve"] {
        let (code, stdout, stderr) = run_to_end(&[command, "--config", file], dir.path());
        assert_eq!(code, 2, "{command}\n{text}\n{stdout}{stderr}");
        assert!(
            stderr.contains(&format!("{file}:{line}")),
            "{command}: line {line} of\n{text}\nsaid:\n{stderr}"
        );
        assert!(stderr.contains(word), "{command}: {word:?} is not in\n{stderr}");
        assert!(!stderr.contains(SECRET), "{stderr}");
    }
}

#[test]
fn unknown_keys_and_tables_are_wrong() {
    refused(
        &format!("{}[server]\nlisten = [\"127.0.0.1:0\"]\nreactorz = 2\n", key_lines()),
        8,
        "reactorz",
    );
    refused(&format!("{}[sever]\nlisten = []\n", key_lines()), 6, "sever");
    refused(
        &format!("{}[[auth.keys]]\nid = \"k2\"\nalgorythm = \"HS256\"\n", key_lines()),
        8,
        "algorythm",
    );
    refused("keys = 1\n", 1, "keys");
}

#[test]
fn what_is_no_toml_is_refused_at_its_line() {
    refused(&format!("{}[server\n", key_lines()), 6, "");
    refused(&format!("{}[server]\nnode = \"a\nreactors = 1\n", key_lines()), 7, "");
    refused(&format!("{}[server]\nnode = \"a\"\nnode = \"b\"\n", key_lines()), 8, "");
}

#[test]
fn values_of_nonsense_are_refused_at_their_line() {
    for (table, value, word) in [
        ("server", "reactors = -1", "reactors"),
        ("server", "reactors = \"many\"", "reactors"),
        ("server", "listen = []", "listen"),
        ("server", "listen = [\"nowhere\"]", "nowhere"),
        ("server", "listen = [\"127.0.0.1:99999\"]", "99999"),
        ("server", "listen = [\"unix:\"]", "unix:"),
        ("server", "node = \"\"", "node"),
        ("server", "trusted_proxies = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
        ("server", "trusted_proxies = [\"proxy.example\"]", "proxy.example"),
        ("server", "connections_max = -5", "connections_max"),
        ("timeouts", "connect = \"soon\"", "connect"),
        ("timeouts", "connect = \"5 parsecs\"", "connect"),
        ("timeouts", "connect = \"-5s\"", "connect"),
        ("timeouts", "connect = \"0s\"", "connect"),
        ("timeouts", "handshake = \"0s\"", "handshake"),
        ("timeouts", "pong = \"0s\"", "pong"),
        ("limits", "message_bytes = 0", "message_bytes"),
        ("limits", "message_bytes = -1", "message_bytes"),
        ("limits", "message_bytes = \"64 bananas\"", "message_bytes"),
        ("limits", "push_bytes = 0", "push_bytes"),
        ("limits", "outbound_bytes = 0", "outbound_bytes"),
        ("limits", "topics_per_connection = \"x\"", "topics_per_connection"),
        ("sessions", "when_full = \"panic\"", "when_full"),
        ("sessions", "one_per_device = 1", "one_per_device"),
        ("auth", "leeway = \"x\"", "leeway"),
        ("auth", "user_claim = \"\"", "user_claim"),
        ("auth", "default_paths = \"*\"\nx = 1", "x"),
        ("auth", "jwks_file = \"/no/such/file\"", "/no/such/file"),
        ("api", "listen = \"nowhere\"", "nowhere"),
        ("api", "keys_file = \"/no/such/file\"", "/no/such/file"),
        ("log", "format = \"xml\"", "format"),
        ("log", "level = \"\"", "level"),
    ] {
        let line = if value.contains('\n') { 8 } else { 7 };
        // The keys stand behind here: TOML lets `[auth]` come after `[[auth.keys]]` only as a part of the same table.
        if table == "auth" {
            let value_line = if value.contains('\n') { 3 } else { 2 };
            refused(&format!("[auth]\n{value}\n{}", key_lines()), value_line, word);
        } else {
            refused(&format!("{}[{table}]\n{value}\n", key_lines()), line, word);
        }
    }
}

#[test]
fn keys_that_cannot_be_are_refused_at_their_line() {
    refused(
        "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"short\"\n",
        3,
        "secret",
    );
    let of_32 = "0123456789abcdef0123456789abcdef";
    refused(
        &format!("[[auth.keys]]\nalgorithm = \"HS512\"\nsecret = \"{of_32}\"\n"),
        3,
        "secret",
    );
    let pem = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\\n-----END PUBLIC KEY-----\\n";
    refused(
        &format!("[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{pem}\"\n"),
        3,
        "PEM",
    );
    refused("[[auth.keys]]\nalgorithm = \"HS257\"\nsecret = \"x\"\n", 2, "HS257");
    refused("[[auth.keys]]\nalgorithm = \"none\"\nsecret = \"x\"\n", 2, "none");
    refused("[[auth.keys]]\nid = \"k\"\nalgorithm = \"HS256\"\n", 1, "secret");
    refused(
        &format!(
            "{}[[auth.keys]]\nid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"{of_32}\"\n",
            key_lines()
        ),
        7,
        "k1",
    );
    refused(
        "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"/no/such/file\"\n",
        3,
        "/no/such/file",
    );
    refused(
        "[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = \"/no/such/file\"\n",
        3,
        "/no/such/file",
    );
    refused(
        &format!("[[auth.keys]]\nalgorithm = \"RS256\"\nsecret = \"{of_32}\"\n"),
        3,
        "RS256",
    );
}

#[test]
fn a_pem_file_given_to_an_hs_algorithm_is_refused() {
    let dir = TempDir::new();
    let pem = dir.write(
        "key.pem",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
    );
    for key in ["secret_file", "public_key_file"] {
        refused(
            &format!("[[auth.keys]]\nalgorithm = \"HS256\"\n{key} = {pem:?}\n"),
            3,
            "HS256",
        );
    }
}

#[test]
fn a_file_that_is_not_the_key_it_should_be_is_refused() {
    let dir = TempDir::new();
    let no_pem = dir.write("key.pem", "this is no PEM\n");
    refused(
        &format!("[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = {no_pem:?}\n"),
        3,
        "",
    );
    // A key of Ed25519, given to RS256.
    let other = dir.write(
        "other.pem",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
    );
    refused(
        &format!("[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = {other:?}\n"),
        3,
        "",
    );
    let jwks = dir.write("jwks.json", "{\"keys\": 7}");
    refused(&format!("[auth]\njwks_file = {jwks:?}\n"), 2, "");
}

#[test]
fn a_file_with_no_key_at_all_is_refused() {
    let dir = TempDir::new();
    for text in ["", "[server]\nnode = \"n\"\n", "[auth]\nkeys = []\n"] {
        let file = dir.write("longwire.toml", text);
        for command in ["check", "serve"] {
            let (code, _, stderr) = run_to_end(&[command, "--config", file.to_str().unwrap()], dir.path());
            assert_eq!(code, 2, "{stderr}");
            assert!(stderr.contains("auth.keys"), "says what is missing: {stderr}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_name() {
    let dir = TempDir::new();
    let missing = dir.path().join("missing.toml");
    for command in ["check", "serve"] {
        let (code, _, stderr) = run_to_end(&[command, "--config", missing.to_str().unwrap()], dir.path());
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("missing.toml"), "{stderr}");
    }
}

#[test]
fn flag_over_environment_over_file() {
    let name = |gateway: &Gateway| {
        gateway.get("/v1/cluster").ok()["nodes"][0]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let file = Gateway::start("");
    assert_eq!(name(&file), "test");
    let environment = Gateway::start_in(TempDir::new(), "", |command| {
        command.env("LONGWIRE_SERVER__NODE", "by-environment");
    });
    assert_eq!(name(&environment), "by-environment");
    let flag = Gateway::start_in(TempDir::new(), "", |command| {
        command
            .env("LONGWIRE_SERVER__NODE", "by-environment")
            .args(["--set", "server.node=by-flag"]);
    });
    assert_eq!(name(&flag), "by-flag");
}

#[test]
fn an_override_is_toml_or_a_string_and_one_value_is_an_array_of_one() {
    let dir = TempDir::new();
    let file = dir.write("longwire.toml", config(""));
    let file = file.to_str().unwrap();
    let check = |overrides: &[&str]| {
        let mut arguments = vec!["check", "--config", file];
        overrides.iter().for_each(|o| arguments.extend(["--set", o]));
        run_to_end(&arguments, dir.path())
    };
    for good in [
        "auth.leeway=0s",
        "auth.leeway=\"0s\"",
        "server.origins=https://a.example",
        "server.origins=[\"https://a.example\", \"https://b.example\"]",
        "limits.message_bytes=128KiB",
        "limits.message_bytes=1000",
        "auth.require_exp=false",
    ] {
        let (code, _, stderr) = check(&[good]);
        assert_eq!(code, 0, "{good}: {stderr}");
    }
    for bad in [
        "auth.leeweigh=0s",
        "auth.leeway=soon",
        "auth.leeway",
        "=1",
        "server.reactors=x",
    ] {
        let (code, _, stderr) = check(&[bad]);
        assert_eq!(code, 2, "{bad}: {stderr}");
        assert!(
            stderr.contains("--set") || stderr.contains(bad.split('=').next().unwrap()),
            "{bad}: {stderr}"
        );
    }
    let mut with_environment = longwire();
    with_environment
        .args(["check", "--config", file])
        .env("LONGWIRE_AUTH__LEEWEIGH", "0s");
    let (code, _, stderr) = command_to_end(&mut with_environment);
    assert_eq!(code, 2, "{stderr}");
}
