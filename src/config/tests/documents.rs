//! The shipped file and the documentation say what the code does.

use std::collections::BTreeSet;

use super::*;

const SHIPPED: &str = include_str!("../../../config/longwire.toml");
const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

fn all_keys() -> BTreeSet<String> {
    TABLES
        .iter()
        .flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")))
        .collect()
}

#[test]
fn the_shipped_file_lacks_a_secret_and_nothing_else() {
    let error = load_text(SHIPPED, &[], &[]).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    let line = error.problems()[0].line().unwrap();
    assert_eq!(SHIPPED.lines().nth(line - 1), Some("secret = \"\""));

    let filled = SHIPPED.replace("secret = \"\"", &format!("secret = \"{SECRET}\""));
    let mut expected = development(SECRET.into());
    expected.server.listen = vec![tcp("0.0.0.0:9040")];
    expected.auth.keys[0].id = "k1".into();
    assert_eq!(
        load_text(&filled, &[], &[]).unwrap().settings,
        expected,
        "every value is the default"
    );
}

#[test]
fn the_shipped_file_has_every_key() {
    let mut report = Report::default();
    let root = tree::parse(SHIPPED, &mut report);
    assert!(report.is_empty());
    let mut missing = all_keys();
    for (table, node) in &root.entries {
        let tree::Value::Table(keys) = &node.value else {
            panic!("{table}")
        };
        for key in keys.entries.keys() {
            missing.remove(&format!("{table}.{key}"));
        }
    }
    assert_eq!(
        missing.into_iter().collect::<Vec<_>>(),
        ["server.node"],
        "its default is no value"
    );
    assert!(SHIPPED.contains("\n#node = "));
    for field in KEY_FIELDS {
        assert!(
            SHIPPED.contains(&format!("\n{field} = ")) || SHIPPED.contains(&format!("\n#{field} = ")),
            "{field}"
        );
    }
}

#[test]
fn check_writes_defaults_as_the_shipped_file_does() {
    let filled = SHIPPED.replace("secret = \"\"", &format!("secret = \"{SECRET}\""));
    let shipped: toml::Table = filled.parse().unwrap();
    let rendered: toml::Table = load_text(&filled, &[], &[])
        .unwrap()
        .settings
        .render_masked()
        .parse()
        .unwrap();
    for (table, keys) in &shipped {
        for (key, value) in keys.as_table().unwrap() {
            let name = format!("{table}.{key}");
            // What is left to the host is resolved, secrets are masked.
            if !["server.reactors", "limits.outbound_total_bytes", "auth.keys"].contains(&name.as_str()) {
                assert_eq!(&rendered[table][key], value, "{name}");
            }
        }
    }
}

#[test]
fn the_shipped_file_says_which_keys_take_a_restart() {
    let mut table = "";
    let mut comment = String::new();
    let mut before = "";
    for line in SHIPPED.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if line.starts_with("# ") {
            // A comment is of all keys that follow up to the next comment.
            if !before.starts_with("# ") {
                comment.clear();
            }
            comment.push_str(line);
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
            let takes_restart = RESTART_ONLY.contains(&format!("{table}.{key}").as_str());
            assert_eq!(comment.contains("[restart]"), takes_restart, "{table}.{key}");
        }
        before = line;
    }
}

#[test]
fn every_example_of_the_documentation_loads() {
    let blocks: Vec<&str> = DOCUMENTATION
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 4);
    for block in blocks {
        if let Err(error) = load_text(block, &[], &[]) {
            panic!("{block}\n{error}");
        }
    }
}

#[test]
fn the_documentation_has_every_key_with_its_default_and_how_it_changes() {
    let mut documented = BTreeSet::new();
    let plain = settings("");
    for line in DOCUMENTATION.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`');
        let Some((table, key)) = name.split_once('.') else {
            continue;
        };
        assert_eq!(cells.len(), 4, "{line}");
        documented.insert(name.to_owned());
        if let Some(default) = cells[1].strip_prefix('`') {
            let default = default.trim_end_matches('`');
            assert_eq!(settings(&format!("[{table}]\n{key} = {default}\n")), plain, "{line}");
        } else {
            assert!(["server.node", "auth.keys"].contains(&name), "{line}");
        }
        let expected = if RESTART_ONLY.contains(&name) {
            "restart"
        } else {
            "live"
        };
        assert!(cells[3].starts_with(expected), "{line}");
    }
    assert_eq!(documented, all_keys());
    for field in KEY_FIELDS {
        assert!(DOCUMENTATION.contains(&format!("\n| `{field}` |")), "{field}");
    }
}

#[test]
fn the_documented_overrides_load() {
    let flags = [
        "limits.message_bytes=16KiB",
        "server.listen=[\"127.0.0.1:9040\", \"unix:/run/lw.sock\"]",
    ];
    for flag in flags {
        let (key, value) = flag.split_once('=').unwrap();
        assert!(
            DOCUMENTATION.contains(&format!("--set {key}=")) && DOCUMENTATION.contains(value),
            "{flag}"
        );
    }
    let found = load_text(KEY, &[("LONGWIRE_AUTH__LEEWAY", "0s")], &flags)
        .unwrap()
        .settings;
    assert_eq!(
        (
            found.auth.leeway_ms,
            found.limits.message_bytes,
            found.server.listen.len()
        ),
        (0, 16_384, 2)
    );
}
