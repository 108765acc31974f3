//! The files in `monitoring/` beside a node that really runs: every metric, label and label's value that the dashboard, the
//! alerts and docs/monitoring.md name is one that it exposes, and none that it exposes is missing from the docs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::gateway::command_to_end;
use crate::support::{Client, Gateway, Value, wait_until};

const ALERTS: &str = include_str!("../../monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../monitoring/grafana-dashboard.json");
const DOCS: &str = include_str!("../../docs/monitoring.md");
/// Labels that Prometheus adds to whatever it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];
/// A status is there once a service has answered so.
const OPEN_LABELS: [&str; 2] = ["status", "version"];

/// What a node exposes: sample names, and for each its labels with their values.
type Exposed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn exposed() -> Exposed {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    client.refused(json!({"path": "a", "id": 1}), 404, "no_handler");
    let mut exposed = Exposed::new();
    for line in gateway
        .get("/metrics")
        .body
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let sample = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let known = exposed.entry(name.to_owned()).or_default();
        for (label, _, value) in matchers(labels.trim_end_matches('}')) {
            known.entry(label).or_default().insert(value);
        }
    }
    exposed
}

/// The matchers between a selector's braces: label, operator, value.
fn matchers(mut text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    while let Some((left, rest)) = text.split_once('"') {
        let Some((value, rest)) = rest.split_once('"') else {
            break;
        };
        let left = left.trim_start_matches([',', ' ']);
        let label = left.trim_end_matches(['=', '!', '~']);
        let operator = &left[label.len()..];
        found.push((label.trim().to_owned(), operator.to_owned(), value.to_owned()));
        text = rest;
    }
    found
}

/// Where names of longwire's metrics stand in a text: the name, and what follows it.
fn names(text: &str) -> Vec<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for prefix in ["longwire_", "process_"] {
        for (at, _) in text.match_indices(prefix) {
            if text[..at].ends_with(is_word) {
                continue;
            }
            let rest = &text[at..];
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            found.push((&rest[..end], &rest[end..]));
        }
    }
    found
}

/// Checks everything that `text` (PromQL, or words with some in it) says of metrics.
fn check(exposed: &Exposed, place: &str, text: &str) {
    let mut labels: BTreeSet<&str> = SCRAPED.into();
    for (name, behind) in names(text) {
        let known = exposed
            .get(name)
            .unwrap_or_else(|| panic!("{place}: no node exposes {name}"));
        labels.extend(known.keys().map(String::as_str));
        let Some(selector) = behind.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            continue;
        };
        for (label, operator, value) in matchers(selector.0) {
            if SCRAPED.contains(&label.as_str()) {
                continue;
            }
            let values = known
                .get(&label)
                .unwrap_or_else(|| panic!("{place}: {name} has no label {label}"));
            let said = value
                .split('|')
                .filter(|_| operator.ends_with('~') || !value.is_empty());
            for value in said.filter(|_| !OPEN_LABELS.contains(&label.as_str())) {
                assert!(values.contains(value), "{place}: {name} never has {label}={value}");
            }
        }
    }
    for clause in ["by (", "without (", "on ("] {
        for (at, _) in text.match_indices(clause) {
            let list = text[at + clause.len()..].split(')').next().unwrap();
            for label in list.split(',').map(str::trim) {
                assert!(
                    labels.contains(label),
                    "{place}: {label} is a label of none of its metrics"
                );
            }
        }
    }
}

/// Each expression of the dashboard with the panel's title.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap().to_owned();
            found.push((title, target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            found.push(("a variable".into(), query.to_owned()));
        }
    }
    found
}

#[test]
fn dashboard_alerts_and_docs_name_what_a_node_exposes_and_the_docs_all_of_it() {
    let exposed = exposed();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 30);
    for (title, expression) in &expressions {
        check(&exposed, &format!("dashboard, {title}"), expression);
    }
    let alerts = alerts();
    assert!(alerts.len() > 15);
    for (name, text) in &alerts {
        check(&exposed, &format!("alert {name}"), text);
    }
    // Histograms stand in the docs by the name without an ending.
    let family = |name: &str| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).map(str::to_owned))
            .unwrap_or(name.to_owned())
    };
    let families: BTreeSet<String> = exposed.keys().map(|name| family(name)).collect();
    let documented: BTreeSet<String> = names(DOCS).iter().map(|(name, _)| family(name)).collect();
    let missing: Vec<_> = families.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/monitoring.md lacks {missing:?}");
    let unknown: Vec<_> = documented.difference(&families).collect();
    assert!(
        unknown.is_empty(),
        "docs/monitoring.md has {unknown:?}, which no node exposes"
    );
}

/// The alerts by name, each with its whole text, quotes unescaped.
fn alerts() -> Vec<(&'static str, String)> {
    let blocks = ALERTS.split("- alert: ").skip(1);
    blocks
        .map(|block| (block.lines().next().unwrap(), block.replace("\\\"", "\"")))
        .collect()
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do_here_and_in_the_docs() {
    for (name, text) in alerts() {
        for part in ["expr: ", "severity: ", "summary: \"", "description: \"", "runbook: \""] {
            assert_eq!(text.matches(part).count(), 1, "{name}: {part}");
        }
        assert!(DOCS.contains(&format!("`{name}`")), "docs/monitoring.md lacks {name}");
    }
}

#[test]
fn the_dashboard_asks_the_data_source_that_is_chosen_and_no_panel_lies_on_another() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{title} lies on another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.contains("job=~\"$job\", instance=~\"$instance\""),
                "{title}: {expression}"
            );
        }
    }
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
}

#[test]
fn what_clients_bring_about_is_one_warning_with_its_number() {
    let gateway = Gateway::start("limits.outbound_bytes = \"64KiB\"\nlimits.push_bytes = \"32KiB\"");
    let slow = [(); 3].map(|()| Client::login(&gateway, "slow"));
    wait_until("all queues to overflow", || {
        gateway.push(json!({"user": "slow"}), "p", json!("x".repeat(30_000)));
        gateway.closed_for("slow_consumer") == 3.0
    });
    // They may fall into two looks.
    wait_until("all three to be said", || {
        let log = gateway.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("WARN") && line.contains("in the last 10 s: "));
        let numbers = lines.filter_map(|line| {
            let (_, rest) = line.split_once("slow_consumer ")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
        });
        numbers.sum::<u32>() == 3
    });
    drop(slow);
}

/// Prometheus's own checker, where it is installed: it is too much to install for this alone.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("promtool"))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: there is no promtool (Debian: apt-get install prometheus), so the alerts are not tried");
    }
    found
}

#[test]
fn prometheus_takes_the_alerts_and_each_fires_when_it_should() {
    let Some(promtool) = promtool() else { return };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(&promtool);
        let (code, stdout, stderr) = command_to_end(command.args(arguments).current_dir(&directory));
        assert_eq!(code, 0, "{arguments:?}\n{stdout}{stderr}");
    }
    let tests = std::fs::read_to_string(directory.join("alerts_test.yml")).unwrap();
    for (name, _) in alerts() {
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")),
            "{name} is not shown to fire in monitoring/alerts_test.yml"
        );
    }
}
