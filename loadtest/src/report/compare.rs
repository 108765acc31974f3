//! What changed between two runs beyond noise.
//!
//! Pure: two runs in, text out. Percentiles and figures are compared by ranges ([`super::noise`] says how they are made and
//! why), accounts and errors exactly. Never calls a difference a change unless the range of the ratio excludes 1 and the
//! difference is at least [`MATTERS`]; never compares void runs; never says that more of a figure is better, for only
//! whoever chose the figure knows. Called by `longwire-load compare A.json B.json`.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;

use super::noise::{self, Range};
use super::{histogram, table, text};
use crate::result::{Delay, Run, Sample};

/// A ratio nearer to 1 than this is no change whatever its range: other things than the gateway move numbers that much
/// from one run to the next, and no single run can see them.
pub const MATTERS: f64 = 1.05;

/// A second's p99 means something from so many messages a second on.
const BY_SECONDS_MIN: u64 = 200;

/// The percentiles compared.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// What is said of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// The range of the ratio excludes 1, and the change matters.
    Up(Range),
    /// As above.
    Down(Range),
    /// No change beyond noise.
    Same(Range),
    /// There is nothing to tell noise by.
    Unknown,
}

/// The whole comparison, ending in a newline. `before` is A, `after` is B.
pub fn compare(before: &Run, after: &Run) -> String {
    let void = !before.void.is_empty() || !after.void.is_empty();
    let mut out = String::new();
    for (name, run) in [("A", before), ("B", after)] {
        out.push_str(&format!(
            "{name}: {} against {}, {} long, begun {}\n",
            text::clean(&run.scenario),
            text::clean(&run.target),
            text::span(run.took_ms),
            text::utc(run.began_unix_ms)
        ));
    }
    warnings(&mut out, before, after);
    let mut changed = Vec::new();
    delays(&mut out, before, after, void, &mut changed);
    figures(&mut out, before, after, void, &mut changed);
    exact(&mut out, before, after, void, &mut changed);
    out.push('\n');
    if void {
        out.push_str("No verdict: a void run counts for nothing. Run it again where the load generator keeps up.\n");
    } else if changed.is_empty() {
        out.push_str("No change beyond noise.\n");
    } else {
        out.push_str(&format!("Changed beyond noise: {}.\n", changed.join("; ")));
    }
    out.push_str(
        "Noise is what the seconds within each run show (ranges at 99.9 %; below 5 % is never called a change). What differs \
         from\none run to the next for other reasons shows only in more runs: repeat both, in turns, before you believe it.\n",
    );
    out
}

/// What makes the two hard to compare.
fn warnings(out: &mut String, before: &Run, after: &Run) {
    let mut said = Vec::new();
    for (name, run) in [("A", before), ("B", after)] {
        said.extend(
            run.void
                .iter()
                .map(|reason| format!("{name} IS VOID AND COUNTS FOR NOTHING: {}", text::clean(reason))),
        );
    }
    if before.scenario != after.scenario {
        said.push("the scenarios differ: their numbers mean different things".to_string());
    }
    if before.target != after.target {
        said.push("the targets differ: this compares servers, not versions of one".to_string());
    }
    for (what, old, new) in [
        ("machine", &before.machine, &after.machine),
        ("setting", &before.settings, &after.settings),
    ] {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (a, b) = (old.get(name), new.get(name));
            if a != b {
                let show = |value: Option<&String>| match value {
                    None => "(not given)".to_string(),
                    Some(value) if value.is_empty() => "(empty)".to_string(),
                    Some(value) => text::clean(value),
                };
                said.push(format!(
                    "{what} {} differs: A {}, B {}",
                    text::clean(name),
                    show(a),
                    show(b)
                ));
            }
        }
    }
    for warning in said {
        out.push_str(&format!("!! {warning}\n"));
    }
}

fn delays(out: &mut String, before: &Run, after: &Run, void: bool, changed: &mut Vec<String>) {
    let names: BTreeSet<&String> = before.delays.keys().chain(after.delays.keys()).collect();
    let mut rows = Vec::new();
    for name in names {
        let (Some(a), Some(b)) = (before.delays.get(name), after.delays.get(name)) else {
            let only = if before.delays.contains_key(name) { "A" } else { "B" };
            rows.push(vec![
                text::words(name),
                String::new(),
                String::new(),
                String::new(),
                format!("only in {only}"),
            ]);
            continue;
        };
        let (old, new) = (percentiles(before, name, a), percentiles(after, name, b));
        for (index, (percentile, _)) in PERCENTILES.iter().enumerate() {
            let (old, new) = (old[index], new[index]);
            let verdict = match (old.1, new.1) {
                (Some(old), Some(new)) => judge(old, new),
                _ => Verdict::Unknown,
            };
            let what = format!("{} {percentile}", text::words(name));
            let words = say(
                verdict,
                void,
                ("longer", "shorter"),
                "too few seconds or messages, or too restless",
                &what,
                changed,
            );
            rows.push(vec![what, text::delay(old.0), text::delay(new.0), words.0, words.1]);
        }
    }
    section(out, "Delays", rows);
}

/// Each percentile as measured, and its range where there is one.
fn percentiles(run: &Run, kind: &str, delay: &Delay) -> [(f64, Option<Range>); 4] {
    let plain = [delay.p50_us, delay.p90_us, delay.p99_us, delay.p999_us];
    let mut found = plain.map(|us| (us as f64, None));
    let seconds = noise::seconds_of(kind, &run.samples);
    let (Some(own), Some(all)) = (histogram(delay), all_alike(run, kind)) else {
        return found;
    };
    let Some(widening) = noise::widening(&all, &seconds) else {
        return found;
    };
    for (slot, (_, q)) in found.iter_mut().zip(PERCENTILES) {
        slot.1 = noise::percentile(&own, q, widening);
    }
    // The seconds' own percentiles say something of this kind where little else is in them.
    if own.len() >= BY_SECONDS_MIN * seconds.len() as u64 && own.len() / 9 >= all.len() / 10 {
        let by = |value: f64, get: fn(&Sample) -> u64| {
            let row: Vec<f64> = seconds.iter().map(|sample| get(sample) as f64).collect();
            noise::by_seconds(value, &row)
        };
        found[0].1 = found[0].1.or_else(|| by(found[0].0, |sample| sample.p50_us));
        found[2].1 = found[2].1.or_else(|| by(found[2].0, |sample| sample.p99_us));
    }
    found
}

/// All delays that are in the same columns of the samples as this kind: logins alone, or all kinds of messages.
fn all_alike(run: &Run, kind: &str) -> Option<Histogram<u64>> {
    let alike = run
        .delays
        .iter()
        .filter(|(other, _)| (*other == "login") == (kind == "login"));
    let mut all: Option<Histogram<u64>> = None;
    for one in alike.filter_map(|(_, delay)| histogram(delay)) {
        match &mut all {
            Some(sum) => sum.add(&one).ok()?,
            None => all = Some(one),
        }
    }
    all
}

fn figures(out: &mut String, before: &Run, after: &Run, void: bool, changed: &mut Vec<String>) {
    let names: BTreeSet<&String> = before.figures.keys().chain(after.figures.keys()).collect();
    let mut rows = Vec::new();
    for name in names {
        let (a, b) = (before.figures.get(name), after.figures.get(name));
        let show = |value: Option<&f64>| value.map_or("-".to_string(), |value| text::number(*value));
        let ranges = a.zip(b).and_then(|(a, b)| {
            let old = noise::figure(*a, &seconds(name, &before.samples)?)?;
            let new = noise::figure(*b, &seconds(name, &after.samples)?)?;
            Some((old, new))
        });
        let verdict = ranges.map_or(Verdict::Unknown, |(old, new)| judge(old, new));
        let what = text::words(name);
        let mut words = say(
            verdict,
            void,
            ("higher", "lower"),
            "one number each: noise unknown",
            &what,
            changed,
        );
        if verdict == Verdict::Unknown {
            match (a, b) {
                (Some(a), Some(b)) if *a > 0.0 && *b > 0.0 => words.0 = format!("x {:.3}", b / a),
                (Some(_), Some(_)) => {}
                (one, _) => words.1 = format!("only in {}", if one.is_some() { "A" } else { "B" }),
            }
        }
        rows.push(vec![what, show(a), show(b), words.0, words.1]);
    }
    section(out, "Figures", rows);
}

/// The seconds that tell how much a figure varies, as pairs of what it divides; by its name, which scenarios give. None
/// where no column of the samples is what the figure is made of.
pub fn seconds(name: &str, samples: &[Sample]) -> Option<Vec<(f64, f64)>> {
    // The seconds in which all were there: memory and idle CPU are told of these.
    let most = samples.iter().map(|sample| sample.connections).max().unwrap_or(0);
    let full = || {
        samples
            .iter()
            .filter(|sample| sample.connections as f64 >= 0.99 * most as f64)
    };
    let (of, per) = name.split_once("_per_").unwrap_or((name, ""));
    let count: fn(&Sample) -> u64 = match of {
        "deliveries" | "calls" => |sample| sample.received,
        "logins" | "visits" => |sample| sample.logins,
        "pushes" => |sample| sample.sent,
        _ => |_| 0,
    };
    let cpu = |sample: &Sample| sample.server_cpu_cores;
    Some(match (of, per) {
        ("deliveries" | "calls" | "logins" | "visits" | "pushes", "server_cpu_s") => busy(samples, count)
            .filter_map(|sample| Some((count(sample) as f64, cpu(sample)?)))
            .collect(),
        ("deliveries" | "calls" | "logins" | "visits" | "pushes", "s") => {
            busy(samples, count).map(|sample| (count(sample) as f64, 1.0)).collect()
        }
        ("resident_bytes", "connection") => full()
            .filter_map(|sample| Some((sample.server_resident_bytes? as f64, 1.0)))
            .collect(),
        ("kernel_tcp_bytes", "connection") => full()
            .filter_map(|sample| Some((sample.kernel_tcp_bytes? as f64, 1.0)))
            .collect(),
        ("server_cpu_cores", "") if samples.iter().any(|sample| sample.received > 0) => {
            busy(samples, |sample| sample.received)
                .filter_map(|sample| Some((cpu(sample)?, 1.0)))
                .collect()
        }
        ("server_cpu_cores" | "idle_server_cpu_percent", "") => {
            full().filter_map(|sample| Some((cpu(sample)?, 1.0))).collect()
        }
        _ => return None,
    })
}

/// The seconds between the first and the last in which something was counted; those two were not busy as a whole.
fn busy(samples: &[Sample], count: fn(&Sample) -> u64) -> impl Iterator<Item = &Sample> {
    let first = samples.iter().position(|sample| count(sample) > 0);
    let last = samples.iter().rposition(|sample| count(sample) > 0);
    let whole = first.zip(last).and_then(|(first, last)| samples.get(first + 1..last));
    whole.unwrap_or_default().iter()
}

fn judge(old: Range, new: Range) -> Verdict {
    let ratio = noise::ratio(old, new);
    match ratio.value {
        _ if ratio.holds(1.0) => Verdict::Same(ratio),
        value if value >= MATTERS => Verdict::Up(ratio),
        value if value <= 1.0 / MATTERS => Verdict::Down(ratio),
        _ => Verdict::Same(ratio),
    }
}

/// The ratio and the verdict in words; what changed is noted in `changed`. `words` are those for up and down.
fn say(
    verdict: Verdict,
    void: bool,
    words: (&str, &str),
    unknown: &str,
    what: &str,
    changed: &mut Vec<String>,
) -> (String, String) {
    let (range, word) = match verdict {
        Verdict::Up(range) => (range, Some(words.0)),
        Verdict::Down(range) => (range, Some(words.1)),
        Verdict::Same(range) => (range, None),
        Verdict::Unknown => {
            return (
                String::new(),
                if void {
                    "no verdict: void".into()
                } else {
                    unknown.into()
                },
            );
        }
    };
    let ratio = format!("x {:.2} ({:.2} to {:.2})", range.value, range.low, range.high);
    match word {
        _ if void => (ratio, "no verdict: void".to_string()),
        None => (ratio, "no change beyond noise".to_string()),
        Some(word) => {
            changed.push(format!("{what} {word} (x {:.2})", range.value));
            (ratio, word.to_uppercase())
        }
    }
}

/// Accounts and errors: counts are what they are. A fault is never noise; what merely differs in number is shown.
fn exact(out: &mut String, before: &Run, after: &Run, void: bool, changed: &mut Vec<String>) {
    let mut rows = Vec::new();
    for ((name, a, fault, _), (_, b, _, _)) in table::accounts(&before.accounts)
        .into_iter()
        .zip(table::accounts(&after.accounts))
    {
        let told = match (a, b) {
            _ if !fault || void => "",
            (0, 0) => "none in either",
            (0, _) => "NEW IN B",
            (_, 0) => "gone in B",
            _ => "in both",
        };
        if fault && !void && (a == 0) != (b == 0) {
            changed.push(format!("{name} {} -> {}", text::group(a), text::group(b)));
        }
        rows.push(vec![
            name.to_string(),
            text::group(a),
            text::group(b),
            String::new(),
            told.to_string(),
        ]);
    }
    section(out, "Messages", rows);

    let count = |errors: &BTreeMap<String, u64>, kind: &String| errors.get(kind).copied().unwrap_or(0);
    let kinds: BTreeSet<&String> = before.errors.keys().chain(after.errors.keys()).collect();
    let mut rows = Vec::new();
    for kind in kinds {
        let (a, b) = (count(&before.errors, kind), count(&after.errors, kind));
        let kind = text::clean(kind);
        if !void && (a == 0) != (b == 0) {
            changed.push(format!("errors {kind} {} -> {}", text::group(a), text::group(b)));
        }
        rows.push(vec![kind, text::group(a), text::group(b), String::new(), String::new()]);
    }
    section(out, "Errors", rows);
}

fn section(out: &mut String, title: &str, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    out.push_str(&format!("\n{title}\n"));
    let mut all = vec![["", "A", "B", "B / A", ""].map(String::from).to_vec()];
    all.extend(rows);
    table::grid(out, &all, &[false, true, true, false, false]);
}
