//! What holds for any text and any settings.

use proptest::prelude::*;

use super::*;

/// For each key another than its default value, and more than one where there are kinds of them.
const OTHERS: &[(&str, &str, &[&str])] = &[
    (
        "server",
        "listen",
        &["'0.0.0.0:0'", "['[::1]:7', 'unix:/run/a b.sock']"],
    ),
    ("server", "node", &["'ws-1'"]),
    ("server", "reactors", &["17"]),
    ("server", "origins", &["['https://a.b', 'null']"]),
    ("server", "trusted_proxies", &["[]", "['::1', 'fd00::/8', 'unix']"]),
    ("server", "connections_max", &["1000"]),
    ("server", "descriptor_table_per_reactor", &["true"]),
    ("server", "pin_reactors", &["false"]),
    ("auth", "user_claim", &["'name \"quoted\" \\ and more'"]),
    ("auth", "leeway", &["'0s'", "'1m1ms'"]),
    ("auth", "require_exp", &["false"]),
    ("auth", "issuer", &["'https://login'", "\"tab\\tand\\u0000\""]),
    ("auth", "audience", &["'a'", "['a', 'b']"]),
    ("auth", "default_paths", &["[]", "['order/*', 'a/b']"]),
    ("auth", "default_topics", &["'*'", "['room.*', 'a.b']"]),
    ("auth", "jwks_file", &["'jwks.json'"]),
    ("sessions", "per_user_max", &["3"]),
    ("sessions", "when_full", &["'replace_oldest'"]),
    ("sessions", "one_per_device", &["true"]),
    ("timeouts", "handshake", &["'1ms'"]),
    ("timeouts", "connect", &["'1d'"]),
    ("timeouts", "ping", &["'1h1s'"]),
    ("timeouts", "pong", &["'999ms'"]),
    ("timeouts", "call", &["'1m'"]),
    ("timeouts", "drain", &["'0s'"]),
    ("limits", "message_bytes", &["128", "'16MiB'"]),
    ("limits", "push_bytes", &["777", "'1kB'"]),
    ("limits", "outbound_bytes", &["'1GiB'", "3_000_000"]),
    ("limits", "outbound_total_bytes", &["512", "'3GiB'"]),
    ("limits", "messages_per_second", &["20"]),
    ("limits", "logins_per_second", &["500"]),
    ("limits", "connections_per_ip", &["9"]),
    ("limits", "topics_per_connection", &["1"]),
    ("limits", "history_bytes", &["0", "'1MiB'", "'2GiB'"]),
    (
        "nats",
        "url",
        &["'nats://a:4222'", "['tls://a', 'b:1', 'nats://[::1]:4222']"],
    ),
    ("nats", "prefix", &["'a.b'"]),
    ("nats", "credentials_file", &["'nats.creds'"]),
    ("nats", "user", &["'u'\npassword = 'p'"]),
    ("nats", "token", &["'t'"]),
    ("nats", "tls_ca_file", &["'/x/ca.pem'"]),
    ("api", "listen", &["'[::1]:0'"]),
    ("api", "keys", &["['a', 'b', 'a']", "'quote\"'"]),
    ("api", "keys_file", &["'api-keys'"]),
    ("log", "level", &["'warn,a=trace'"]),
    ("log", "format", &["'json'", "'journald'"]),
];

const KEYS: &[&str] = &[
    "[[auth.keys]]\nalgorithm = 'HS256'\nsecret = '0123456789abcdef0123456789abcdef'\n",
    "[[auth.keys]]\nid = 'b'\nalgorithm = 'HS512'\nsecret_file = 'secret'\n",
    "[[auth.keys]]\nid = 'c'\nalgorithm = 'EdDSA'\npublic_key_file = 'issuer.pem'\n",
    "[[auth.keys]]\nid = 'd \"'\nalgorithm = 'HS384'\nsecret = '\"quotes\" 456789abcdef0123456789abcdef0123456789abcdef'\n",
];

/// A config text of some of the above.
fn config_text() -> impl Strategy<Value = String> {
    let picks = proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), OTHERS.len());
    let keys = prop::sample::subsequence(KEYS, 1..=KEYS.len());
    (picks, keys, 0..3_usize).prop_map(|(picks, keys, way_in)| {
        let mut text = String::new();
        let mut last_table = "";
        for ((table, key, values), (taken, index)) in OTHERS.iter().zip(picks) {
            // One way to log in to the bus at most.
            let ways_in = ["credentials_file", "user", "token"];
            let other_way = *table == "nats" && ways_in.contains(key) && ways_in[way_in] != *key;
            if taken && !other_way {
                if last_table != *table {
                    text += &format!("[{table}]\n");
                    last_table = table;
                }
                text += &format!("{key} = {}\n", values[index.index(values.len())]);
            }
        }
        text + &keys.concat()
    })
}

/// What `render_masked` wrote, with the secrets put back in the order in which it hides them.
fn unmask(settings: &Settings) -> String {
    let mut secrets: Vec<String> = Vec::new();
    for (key, file) in settings.auth.keys.iter().zip(&settings.files.keys) {
        if let (KeyMaterial::Secret(secret), None) = (&key.material, file) {
            secrets.push(String::from_utf8(secret.clone()).unwrap());
        }
    }
    secrets.extend(settings.nats.password.clone());
    secrets.extend(settings.nats.token.clone());
    secrets.extend(settings.api.keys[..settings.files.api_keys_inline].to_vec());
    let mut text = settings.render_masked();
    for secret in secrets {
        text = text.replacen("\"********\"", &toml::Value::String(secret).to_string(), 1);
    }
    assert!(!text.contains("****"), "{text}");
    text
}

proptest! {
    #[test]
    fn what_is_rendered_loads_again(text in config_text()) {
        let first = load_text(&text, &[], &[]);
        let first = first.map_err(|error| TestCaseError::fail(format!("{text}\n{error}")))?.settings;
        let rendered = unmask(&first);
        let again = load_text(&rendered, &[], &[]);
        let again = again.map_err(|error| TestCaseError::fail(format!("{rendered}\n{error}")))?;
        prop_assert_eq!(&first, &again.settings);
        prop_assert_eq!(first.render_masked(), again.settings.render_masked());
    }

    #[test]
    fn no_text_is_too_strange(text in ".{0,200}") {
        let _ = parse_str(&text);
    }

    #[test]
    fn no_value_is_too_strange(at in any::<prop::sample::Index>(), value in ".{0,40}", bare in any::<bool>()) {
        let (table, key, _) = OTHERS[at.index(OTHERS.len())];
        let quoted = toml::Value::String(value.clone()).to_string();
        let _ = parse_str(&format!("[{table}]\n{key} = {}\n{KEY}", if bare { &value } else { &quoted }));
        let _ = load_text(KEY, &[], &[&format!("{table}.{key}={value}")]);
        let name = format!("LONGWIRE_{}__{}", table.to_uppercase(), key.to_uppercase());
        let _ = load_text(KEY, &[(&name, &value)], &[&value]);
    }

    #[test]
    fn no_order_of_pieces_is_too_strange(pieces in proptest::collection::vec(prop::sample::select(PIECES), 0..40)) {
        match parse_str(&pieces.concat()) {
            Ok(_) => {}
            Err(error) => prop_assert!(!error.problems().is_empty()),
        }
    }

    #[test]
    fn a_duration_is_read_as_it_was_written(duration_ms in any::<u64>()) {
        prop_assert_eq!(units::parse_duration_ms(&units::format_duration_ms(duration_ms)), Ok(duration_ms));
    }

    #[test]
    fn a_size_is_read_as_it_was_written(bytes in any::<u64>(), shift in 0..40_u32) {
        for bytes in [bytes, bytes >> 40 << shift] {
            prop_assert_eq!(units::parse_bytes(&units::format_bytes(bytes)), Ok(bytes));
        }
    }
}

/// Pieces of which configs, and texts that nearly are, consist.
const PIECES: &[&str] = &[
    "[server]\n",
    "[auth]\n",
    "[[auth.keys]]\n",
    "[auth.keys]\n",
    "[limits]\n",
    "[[server]]\n",
    "[",
    "]",
    "\n",
    "=",
    " = ",
    "listen",
    "leeway",
    "keys",
    "secret",
    "algorithm",
    "message_bytes",
    "'HS256'",
    "'",
    "\"",
    "{",
    "}",
    ",",
    ".",
    "#",
    "'5s'",
    "'64KiB'",
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    "true",
    "1979-05-27",
    "nan",
    "'127.0.0.1:1'",
    "\u{feff}",
    "ä",
    "\r\n",
    "\0",
    "id",
    "url",
    "'nats://a'",
];

#[test]
fn every_key_becomes_a_setting_and_only_those_that_cannot_change_are_named() {
    let before = settings("");
    for (table, key, values) in OTHERS {
        for value in *values {
            let new = settings(&format!("[{table}]\n{key} = {value}\n"));
            assert_ne!(new, before, "{table}.{key} = {value}");
            let name = format!("{table}.{key}").replace("keys_file", "keys");
            let changes = before.changes(&new);
            assert!(changes.contains(&name.as_str()), "{name}: {changes:?}");
            assert!(
                changes.iter().all(|change| change.starts_with(table)),
                "{name}: {changes:?}"
            );
            let fixed = before.restart_only_changes(&new);
            assert_eq!(
                fixed.contains(&name.as_str()),
                RESTART_ONLY.contains(&name.as_str()),
                "{name}"
            );
            let in_force = new.clone().keeping_restart_only(&before);
            assert!(before.restart_only_changes(&in_force).is_empty(), "{name}");
            assert_eq!(in_force == new, fixed.is_empty(), "{name}: what can change does");
        }
    }
    let tried: Vec<(&str, &str)> = OTHERS.iter().map(|(table, key, _)| (*table, *key)).collect();
    for (table, keys) in TABLES {
        for key in keys {
            let has_its_own_tests = ["auth.keys", "nats.password"].contains(&format!("{table}.{key}").as_str());
            assert!(
                has_its_own_tests || tried.contains(&(table, key)),
                "{table}.{key} is not tried"
            );
        }
    }
}
