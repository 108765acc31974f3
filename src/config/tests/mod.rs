//! Tests of the configuration: what loads and what it becomes. What is refused is in `refused` and `refused_values`,
//! the shipped file and the documentation in `documents`, variables and flags in `overrides`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod documents;
mod overrides;
mod properties;
mod refused;
mod refused_values;

use std::io;
use std::path::{Path, PathBuf};

use super::names::{KEY_FIELDS, TABLES};
use super::reload::RESTART_ONLY;
use super::*;

/// A key that passes, to end a text with.
const KEY: &str = "\n[[auth.keys]]\nid = 'k1'\nalgorithm = 'HS256'\nsecret = '0123456789abcdef0123456789abcdef'\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The files that the tests name.
fn fake_file(path: &Path) -> io::Result<Vec<u8>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let contents: &[u8] = match name {
        "secret" => b"a secret in a file, as long as the longest of the hashes: 64 bytes\n",
        "secret.crlf" => b"0123456789abcdef0123456789abcdef\r\n",
        "secret.newlines" => b"0123456789abcdef0123456789abcdef\n\n",
        "secret.short" => b"0123456789abcdef0123456789abcde\n",
        "secret.binary" => &[0xff; 32],
        "issuer.pem" | "2027-01.pem" | "2026-07.pem" | "ca.pem" => {
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
        }
        "private.pem" => b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "jwks.json" => b"{\"keys\": []}",
        "nats.creds" => b"-----BEGIN NATS USER JWT-----\n",
        "api-keys" => b"# keys of the shop\nshop-1\n\n  shop#2  # until May\n",
        "api-keys.broken" => b"good\nnot good\n",
        "api-keys.empty" => b"# none yet\n\n",
        "longwire" => SECRET.as_bytes(),
        "locked" => return Err(io::ErrorKind::PermissionDenied.into()),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(contents.to_vec())
}

/// Loads `text` as `/etc/longwire/longwire.toml`, beside the files above.
fn load_text(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, ConfigError> {
    let file = PathBuf::from("/etc/longwire/longwire.toml");
    let sources = Sources {
        file: Some(file.clone()),
        ..sources(environment, flags)
    };
    load_with(&sources, &|path| {
        if path == file {
            Ok(text.as_bytes().to_vec())
        } else {
            fake_file(path)
        }
    })
}

fn sources(environment: &[(&str, &str)], flags: &[&str]) -> Sources {
    Sources {
        file: None,
        environment: environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        overrides: flags.iter().map(|flag| flag.to_string()).collect(),
        development_secret: None,
    }
}

/// The settings of `text` and a key.
fn settings(text: &str) -> Settings {
    match load_text(&format!("{text}{KEY}"), &[], &[]) {
        Ok(loaded) => loaded.settings,
        Err(error) => panic!("{text}\n{error}"),
    }
}

fn tcp(text: &str) -> ListenAddress {
    ListenAddress::Tcp(text.parse().unwrap())
}

#[test]
fn a_key_is_all_that_a_file_needs() {
    let loaded = load_text(KEY, &[], &[]).unwrap();
    assert!(!loaded.development);
    let mut expected = development(SECRET.into());
    expected.auth.keys[0].id = "k1".into();
    assert_eq!(loaded.settings, expected);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let found = settings("");
    assert_eq!(found.server.listen, [tcp("127.0.0.1:9040")]);
    assert!(found.server.reactors >= 1);
    assert_eq!(found.server.trusted_proxies.len(), 2);
    assert_eq!(found.api.listen.to_string(), "127.0.0.1:9041");
    assert_eq!(
        (
            found.auth.user_claim.as_str(),
            found.auth.leeway_ms,
            found.auth.require_exp
        ),
        ("sub", 5_000, true)
    );
    assert_eq!((found.auth.issuer, found.auth.audience.len()), (None, 0));
    assert_eq!(
        (found.auth.default_paths, found.auth.default_topics.len()),
        (vec!["*".to_owned()], 0)
    );
    let Timeouts {
        handshake_ms,
        connect_ms,
        ping_ms,
        pong_ms,
        call_ms,
        drain_ms,
    } = found.timeouts;
    assert_eq!((handshake_ms, connect_ms, ping_ms), (10_000, 60_000, 25_000));
    assert_eq!((pong_ms, call_ms, drain_ms), (10_000, 5_000, 30_000));
    let limits = found.limits;
    assert_eq!(
        (limits.message_bytes, limits.push_bytes, limits.outbound_bytes),
        (65_536, 262_144, 1_048_576)
    );
    assert!(limits.outbound_total_bytes >= 1 << 18, "a quarter of the memory");
    assert_eq!(
        (
            limits.messages_per_second,
            limits.logins_per_second as usize,
            limits.connections_per_ip,
            limits.topics_per_connection,
            limits.history_bytes
        ),
        (0, 0, 0, 100, 64 << 20)
    );
    assert_eq!((found.nats.url.len(), found.nats.prefix.as_str()), (0, "longwire"));
    assert_eq!((found.log.level.as_str(), found.log.format), ("info", LogFormat::Text));
}

#[test]
fn addresses_ranges_and_origins_are_understood() {
    let found = settings(
        "[server]\nlisten = ['0.0.0.0:9040', '[::1]:0', '[::1]:0', 'unix:/run/longwire/ws.sock']\n\
         origins = ['https://App.example.com', 'http://[::1]:8080', 'capacitor://localhost', 'null']\n\
         trusted_proxies = ['10.0.0.0/8', '::ffff:192.168.0.0/112', '::1', 'fd00::/8', '0.0.0.0/0', 'unix']\n",
    );
    let unix = ListenAddress::Unix("/run/longwire/ws.sock".into());
    assert_eq!(
        found.server.listen,
        [tcp("0.0.0.0:9040"), tcp("[::1]:0"), tcp("[::1]:0"), unix]
    );
    let origins = [
        "https://app.example.com",
        "http://[::1]:8080",
        "capacitor://localhost",
        "null",
    ];
    assert_eq!(found.server.origins, origins);
    let ranges: Vec<String> = found
        .server
        .trusted_proxies
        .iter()
        .map(TrustedProxy::to_string)
        .collect();
    assert_eq!(
        ranges,
        [
            "10.0.0.0/8",
            "192.168.0.0/16",
            "::1/128",
            "fd00::/8",
            "0.0.0.0/0",
            "unix"
        ]
    );
}

#[test]
fn durations_and_sizes_take_units() {
    let found = settings(
        "[timeouts]\nconnect = '1h30m'\nping = '500ms'\ncall = '1m'\ndrain = '0s'\n\
         [limits]\nmessage_bytes = 4096\npush_bytes = '100kB'\noutbound_bytes = '2MiB'\noutbound_total_bytes = '1GB'\n",
    );
    assert_eq!((found.timeouts.connect_ms, found.timeouts.ping_ms), (5_400_000, 500));
    assert_eq!((found.timeouts.call_ms, found.timeouts.drain_ms), (60_000, 0));
    assert_eq!((found.limits.message_bytes, found.limits.push_bytes), (4_096, 100_000));
    assert_eq!(
        (found.limits.outbound_bytes, found.limits.outbound_total_bytes),
        (2 << 20, 1_000_000_000)
    );
}

#[test]
fn a_small_queue_alone_lowers_the_push_limit_and_a_big_push_alone_raises_the_queue() {
    let found = settings("[limits]\noutbound_bytes = '32KiB'\n").limits;
    assert_eq!((found.push_bytes, found.outbound_bytes), (32 << 10, 32 << 10));
    let found = settings("[limits]\npush_bytes = '8MiB'\n").limits;
    assert_eq!((found.push_bytes, found.outbound_bytes), (8 << 20, 8 << 20));
}

#[test]
fn one_value_is_a_list_of_one_and_an_empty_audience_is_none() {
    let found = settings("[server]\nlisten = '127.0.0.1:1'\n[auth]\naudience = 'push'\n");
    assert_eq!(
        (found.server.listen, found.auth.audience),
        (vec![tcp("127.0.0.1:1")], vec!["push".to_owned()])
    );
    assert!(settings("[auth]\naudience = ''\n").auth.audience.is_empty());
    assert!(settings("[auth]\naudience = []\n").auth.audience.is_empty());
}

#[test]
fn secrets_come_from_files_beside_the_config() {
    let text = "[[auth.keys]]\nalgorithm = 'HS512'\nsecret_file = 'secret'\n\
                [[auth.keys]]\nalgorithm = 'HS256'\nsecret_file = '/x/secret.crlf'\n\
                [[auth.keys]]\nalgorithm = 'HS256'\nsecret_file = '/x/secret.newlines'\n\
                [[auth.keys]]\nalgorithm = 'HS256'\nsecret_file = '/x/secret.binary'\n\
                [[auth.keys]]\nalgorithm = 'RS256'\npublic_key_file = 'issuer.pem'\n\
                [api]\nkeys = ['inline', 'inline']\nkeys_file = 'api-keys'\n";
    let found = load_text(text, &[], &[]).unwrap().settings;
    let materials: Vec<&KeyMaterial> = found.auth.keys.iter().map(|key| &key.material).collect();
    let secret = |bytes: &[u8]| KeyMaterial::Secret(bytes.to_vec());
    assert_eq!(
        *materials[0],
        secret(b"a secret in a file, as long as the longest of the hashes: 64 bytes")
    );
    assert_eq!(*materials[1], secret(SECRET.as_bytes()));
    assert_eq!(
        *materials[2],
        secret(format!("{SECRET}\n").as_bytes()),
        "one newline is cut, and no more"
    );
    assert_eq!(*materials[3], secret(&[0xff; 32]));
    assert!(matches!(materials[4], KeyMaterial::PublicKeyPem(pem) if pem.starts_with(b"-----BEGIN")));
    assert_eq!(found.files.keys[0].as_deref(), Some(Path::new("/etc/longwire/secret")));
    assert_eq!(found.api.keys, ["inline", "shop-1", "shop#2"]);
    assert_eq!(found.files.api_keys_inline, 1);
}

#[test]
fn a_broken_key_or_set_is_reported_where_it_is_written() {
    let text = format!(
        "[auth]\njwks_file = 'jwks.json'\n{KEY}[[auth.keys]]\nalgorithm = 'RS256'\npublic_key_file = 'issuer.pem'\n"
    );
    let loaded = load_text(&text, &[], &[]).unwrap();
    let error = loaded.key_error(1, "is for another algorithm");
    assert_eq!(
        error.to_string(),
        "/etc/longwire/longwire.toml:10: auth.keys[1]: is for another algorithm"
    );
    assert_eq!(loaded.key_error(0, "x").problems()[0].line(), Some(7));
    assert_eq!(
        loaded.jwks_error("is not JSON").to_string(),
        "/etc/longwire/longwire.toml:2: auth.jwks_file: is not JSON"
    );

    let keys = "auth.keys={algorithm = 'RS256', public_key_file = '/x/issuer.pem'}";
    let loaded = load_with(&sources(&[], &[keys]), &fake_file).unwrap();
    assert_eq!(
        loaded.key_error(0, "is broken").to_string(),
        "--set auth.keys: auth.keys[0]: is broken"
    );
}

#[test]
fn a_real_file_is_read_with_what_it_names() {
    let directory = std::env::temp_dir().join(format!("longwire-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("longwire.toml");
    std::fs::write(&file, "[[auth.keys]]\nalgorithm = 'HS256'\nsecret_file = 'secret'\n").unwrap();
    let sources = Sources {
        file: Some(file.clone()),
        ..Sources::default()
    };
    let before = load(&sources).unwrap_err();
    std::fs::write(directory.join("secret"), format!("{SECRET}\n")).unwrap();
    let after = load(&sources).unwrap();
    std::fs::write(&file, b"a = 1\nb = \"\xff\"\n").unwrap();
    let not_text = load(&sources).unwrap_err();
    std::fs::remove_dir_all(&directory).unwrap();
    let missing = load(&sources).unwrap_err();

    let place = format!(
        "{}:3: auth.keys[0].secret_file: cannot read {}",
        file.display(),
        directory.join("secret").display()
    );
    assert!(before.to_string().starts_with(&place), "{before}");
    assert_eq!(after.settings.auth.keys[0].material, KeyMaterial::Secret(SECRET.into()));
    assert!(
        not_text
            .to_string()
            .starts_with(&format!("{}:2: is not UTF-8", file.display())),
        "{not_text}"
    );
    assert!(
        missing
            .to_string()
            .starts_with(&format!("{}: cannot read the config file: ", file.display())),
        "{missing}"
    );
}

#[test]
fn nothing_secret_is_shown() {
    let text = format!("[nats]\nuser = 'u'\npassword = 'hidden-1'\n[api]\nkeys = ['hidden-2']\n{KEY}");
    let loaded = load_text(&text, &[], &[]).unwrap();
    for shown in [format!("{loaded:?}"), loaded.settings.render_masked()] {
        assert!(!shown.contains("hidden-") && !shown.contains(SECRET), "{shown}");
    }
    let broken = "[nats]\nurl = 'nats://u:hidden-1@h'\ntoken = ['hidden-2']\n[api]\nkeys = ['hidden 3', '']\n\
                  [[auth.keys]]\nid = 'a'\nalgorithm = 'HS256'\nsecret = 'hidden-4'\n\
                  [[auth.keys]]\nalgorithm = 'HS256'\nsecret = ['hidden-5']\n";
    let error = load_text(broken, &[("LONGWIRE_NATS__PASSWORD", "[\"hidden-6\"]")], &["hidden-7"]).unwrap_err();
    assert_eq!(error.problems().len(), 10, "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
    let no_toml = load_text(
        "[nats]\npassword = hidden-1\ntoken = \"hidden-2\nuser = 'hidden-3\n",
        &[],
        &[],
    )
    .unwrap_err();
    assert!(
        no_toml.problems().len() >= 3 && !no_toml.to_string().contains("hidden"),
        "{no_toml}"
    );
}
