//! Variables, flags, and what happens without a file.

use super::*;

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let text = format!("[auth]\nleeway = '1s'\n[timeouts]\nping = '1s'\npong = '1s'\n{KEY}");
    let environment = [
        ("LONGWIRE_TIMEOUTS__PONG", "2s"),
        ("LONGWIRE_AUTH__LEEWAY", "2s"),
        ("PATH", "/bin"),
        ("LONGWIRE_KEY", "x"),
    ];
    let found = load_text(&text, &environment, &["auth.leeway=3s", "auth.leeway=4s"])
        .unwrap()
        .settings;
    assert_eq!(
        (found.timeouts.ping_ms, found.timeouts.pong_ms, found.auth.leeway_ms),
        (1_000, 2_000, 4_000)
    );
}

#[test]
fn an_override_is_toml_and_what_is_no_toml_is_a_string() {
    let environment = [
        ("LONGWIRE_SERVER__LISTEN", "[::1]:9040"),
        ("LONGWIRE_API__KEYS", "abc"),
        ("LONGWIRE_SERVER__REACTORS", "3"),
        ("LONGWIRE_AUTH__REQUIRE_EXP", " false "),
        ("LONGWIRE_NATS__URL", "nats://a:4222"),
        // These look like numbers, but text is wanted.
        ("LONGWIRE_SERVER__NODE", "17"),
        ("LONGWIRE_NATS__PASSWORD", "1e5"),
        ("LONGWIRE_NATS__USER", "\"quoted\""),
    ];
    let flags = [
        "server.origins=['https://a.b', \"https://c.d\"]",
        "limits.message_bytes=16KiB",
        "limits.push_bytes = 1000",
    ];
    let found = load_text(KEY, &environment, &flags).unwrap().settings;
    assert_eq!(found.server.listen, [tcp("[::1]:9040")]);
    assert_eq!(found.api.keys, ["abc"]);
    assert_eq!((found.server.reactors, found.auth.require_exp), (3, false));
    assert_eq!(found.nats.url, ["nats://a:4222"]);
    assert_eq!(found.server.node, "17");
    assert_eq!(
        (found.nats.user.as_deref(), found.nats.password.as_deref()),
        (Some("quoted"), Some("1e5"))
    );
    assert_eq!(found.server.origins, ["https://a.b", "https://c.d"]);
    assert_eq!((found.limits.message_bytes, found.limits.push_bytes), (16_384, 1_000));
}

#[test]
fn keys_can_be_given_without_a_file() {
    for value in [
        "[{algorithm = \"HS256\", secret_file = \"/run/secrets/longwire\"}]",
        "{algorithm = 'HS256', secret = '0123456789abcdef0123456789abcdef'}",
    ] {
        let loaded = load_with(&sources(&[("LONGWIRE_AUTH__KEYS", value)], &[]), &fake_file).unwrap();
        assert_eq!(loaded.settings.auth.keys.len(), 1, "{value}");
        assert_eq!(
            loaded.settings.auth.keys[0].material,
            KeyMaterial::Secret(SECRET.into())
        );
        assert!(loaded.file.is_none() && !loaded.development);
    }
}

#[test]
fn the_development_secret_gives_way_to_any_other_key() {
    let load_development = |environment: &[(&str, &str)], flags: &[&str]| {
        let sources = Sources {
            development_secret: Some("random".into()),
            ..sources(environment, flags)
        };
        load_with(&sources, &fake_file).unwrap()
    };
    let plain = load_development(&[], &[]);
    assert!(plain.development);
    assert_eq!(plain.settings, development("random".into()));
    assert!(plain.settings.api.listen.ip().is_loopback() && plain.settings.nats.url.is_empty());

    let overridden = load_development(&[("LONGWIRE_SERVER__LISTEN", "127.0.0.1:1")], &["auth.jwks_file="]);
    assert!(overridden.development);
    assert_eq!(overridden.settings.server.listen, [tcp("127.0.0.1:1")]);

    let with_set = load_development(&[("LONGWIRE_AUTH__JWKS_FILE", "/x/jwks.json")], &[]);
    assert!(!with_set.development && with_set.settings.auth.keys.is_empty());
    assert_eq!(with_set.settings.auth.jwks.as_deref(), Some("{\"keys\": []}"));
}

#[test]
fn overrides_name_the_flag_or_variable() {
    let refused = |environment: &[(&str, &str)], flags: &[&str], message: &str| {
        let error = load_text(KEY, environment, flags).expect_err(message);
        assert_eq!(
            (error.problems().len(), error.problems()[0].line()),
            (1, None),
            "{error}"
        );
        assert!(error.to_string().starts_with(message), "{error}");
    };
    refused(
        &[("LONGWIRE_AUTH__LEEWAY", "5")],
        &[],
        "LONGWIRE_AUTH__LEEWAY: auth.leeway: 5 has no unit; write \"5s\"",
    );
    refused(
        &[("LONGWIRE_AUTH__LEWAY", "5s")],
        &[],
        "LONGWIRE_AUTH__LEWAY: unknown key auth.leway; did you mean LONGWIRE_AUTH__LEEWAY?",
    );
    refused(
        &[("LONGWIRE_FOO__BAR", "5s")],
        &[],
        "LONGWIRE_FOO__BAR: unknown table [foo]",
    );
    refused(
        &[("LONGWIRE_API__KEYS", "")],
        &[],
        "LONGWIRE_API__KEYS: api.keys: has an empty string in it",
    );
    refused(&[], &["auth.leeway=5"], "--set auth.leeway: 5 has no unit");
    refused(
        &[],
        &["auth.leway=5s"],
        "--set auth.leway: unknown key auth.leway; did you mean --set auth.leeway=…?",
    );
    refused(&[], &["auth.leeway"], "--set …: has no '='");
    refused(
        &[],
        &["leeway=5s"],
        "--set leeway: names no key; write --set table.key=value",
    );
    refused(
        &[],
        &["auth.keys[0].secret=x"],
        "--set auth.keys[0].secret: unknown key auth.keys[0].secret; auth.keys is set as a whole",
    );
    refused(
        &[],
        &["auth.keys=[{algorithm"],
        "--set auth.keys: auth.keys[0]: is a string, for it is no TOML list of tables",
    );
    refused(
        &[],
        &["auth.keys={algorithm='HS256', secret='x'}"],
        "--set auth.keys: auth.keys[0].secret: is 1 bytes long",
    );
    // The key of the file is replaced by an empty list, and without a file there is none from the beginning.
    refused(&[], &["auth.keys=[]"], "--set auth.keys: has no key at all");
    let nowhere = load_with(&sources(&[("LONGWIRE_AUTH__LEEWAY", "1s")], &[]), &fake_file).unwrap_err();
    assert!(
        nowhere.to_string().starts_with("auth.keys: has no key at all"),
        "{nowhere}"
    );
    assert!(nowhere.to_string().contains("LONGWIRE_AUTH__KEYS='["), "{nowhere}");
}
