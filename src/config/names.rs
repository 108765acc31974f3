//! Every table and key there is, and what an unknown one may have been meant for. Knows no values.
//! Called by `load` once the tree is complete.

use super::error::{Place, Report};
use super::tree::{Table, Value};

/// The tables and their keys, in the order in which they are shown.
pub(super) const TABLES: [(&str, &[&str]); 8] = [
    (
        "server",
        &[
            "listen",
            "node",
            "reactors",
            "origins",
            "trusted_proxies",
            "connections_max",
            "descriptor_table_per_reactor",
            "pin_reactors",
        ],
    ),
    (
        "auth",
        &[
            "user_claim",
            "leeway",
            "require_exp",
            "issuer",
            "audience",
            "default_paths",
            "default_topics",
            "jwks_file",
            "keys",
        ],
    ),
    ("sessions", &["per_user_max", "when_full", "one_per_device"]),
    ("timeouts", &["handshake", "connect", "ping", "pong", "call", "drain"]),
    (
        "limits",
        &[
            "message_bytes",
            "push_bytes",
            "outbound_bytes",
            "outbound_total_bytes",
            "messages_per_second",
            "logins_per_second",
            "connections_per_ip",
            "topics_per_connection",
            "history_bytes",
        ],
    ),
    (
        "nats",
        &[
            "url",
            "prefix",
            "credentials_file",
            "user",
            "password",
            "token",
            "tls_ca_file",
        ],
    ),
    ("api", &["listen", "keys", "keys_file"]),
    ("log", &["level", "format"]),
];

/// The fields of one of `[[auth.keys]]`.
pub(super) const KEY_FIELDS: &[&str] = &["id", "algorithm", "secret", "secret_file", "public_key_file"];

/// Reports tables and keys that do not exist.
pub(super) fn check(root: &Table, report: &mut Report) {
    for (table_name, node) in &root.entries {
        let Some((_, keys)) = TABLES.iter().find(|(name, _)| name == table_name) else {
            report.add(&node.place, "", unknown_table(table_name, &node.value, &node.place));
            continue;
        };
        let Value::Table(table) = &node.value else {
            let what = node.value.kind();
            report.add(
                &node.place,
                table_name,
                format!("is {what}, but names a table; write [{table_name}] above its keys"),
            );
            continue;
        };
        for (key, node) in &table.entries {
            if keys.contains(&key.as_str()) {
                continue;
            }
            report.add(&node.place, "", unknown_key(table_name, keys, key, &node.place));
        }
    }
}

/// Reports fields of `auth.keys[index]` that do not exist.
pub(super) fn check_key_fields(table: &Table, path: &str, report: &mut Report) {
    for (field, node) in &table.entries {
        if KEY_FIELDS.contains(&field.as_str()) {
            continue;
        }
        let hint = match nearest(field, KEY_FIELDS) {
            Some(near) => format!("did you mean {near}?"),
            None if TABLES.iter().any(|(_, keys)| keys.contains(&field.as_str())) => {
                format!("what follows [[auth.keys]] belongs to that key; move {field} above it, or under its own table")
            }
            None => format!("a key has {}", KEY_FIELDS.join(", ")),
        };
        report.add(&node.place, "", format!("unknown key {path}.{field}; {hint}"));
    }
}

const KEYS_AS_A_WHOLE: &str = "auth.keys is set as a whole, such as \
     auth.keys='[{algorithm=\"HS256\", secret_file=\"/run/secrets/longwire\"}]'";

fn unknown_table(name: &str, value: &Value, place: &Place) -> String {
    let names: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    let is_table = matches!(value, Value::Table(_));
    let what = if is_table {
        format!("unknown table [{name}]")
    } else {
        format!("unknown key {name}")
    };
    // A key that stands above the first table header.
    if let Some(home) = home_of(name).filter(|_| !is_table) {
        return format!("{what}; did you mean {}?", place.spell(home, name));
    }
    match nearest(name, &names) {
        Some(near) => format!("{what}; did you mean [{near}]?"),
        None => format!("{what}; the tables are {}", names.join(", ")),
    }
}

fn unknown_key(table: &str, keys: &[&str], key: &str, place: &Place) -> String {
    let what = format!("unknown key {table}.{key}");
    // An override that reaches for one of the keys.
    if table == "auth" && ["keys.", "keys[", "keys__"].iter().any(|start| key.starts_with(start)) {
        return format!("{what}; {KEYS_AS_A_WHOLE}");
    }
    if let Some(near) = nearest(key, keys) {
        return format!("{what}; did you mean {}?", place.spell(table, near));
    }
    match home_of(key) {
        Some(home) => format!("{what}; did you mean {}?", place.spell(home, key)),
        None => format!("{what}; [{table}] has {}", keys.join(", ")),
    }
}

/// The first table that has such a key.
fn home_of(key: &str) -> Option<&'static str> {
    TABLES
        .iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(name, _)| *name)
}

/// The candidate that a slip of the finger turns into `word`: at most one edit for every three letters, and no more
/// than three.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // A long word is no slip, and the distance costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (edit_distance(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out, replaced, or swapped with their neighbour (optimal string alignment).
fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    // rows[i][j]: from the first i letters of left to the first j of right.
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                let swap = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
                let swapped = if swap { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                replaced.min(swapped).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[left.len()][right.len()]
}
