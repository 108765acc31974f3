//! One page about a run for a person who was not there: what was done, whether it counts, plots, and every number.
//!
//! Pure: a [`Run`] in, a whole HTML file out. The file has no script and asks for nothing from outside (its own policy
//! forbids it), follows the reader's light or dark, and everything that came from elsewhere is escaped. Called by the
//! coordinator with `--html`, and by `longwire-load report`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plot::{self, Axis, Line, Plot};
use super::{histogram, table, text};
use crate::result::{Run, Sample};

/// The style of the page.
const STYLE: &str = include_str!("style.css");

/// More places than this on a plot cannot be told apart.
const PLACES_MAX: usize = 300;

/// The whole page.
pub fn html(run: &Run) -> String {
    let title = format!("{} against {}", run.scenario, run.target);
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    let _ = writeln!(out, "<title>longwire-load: {}</title>", text::escape(&title));
    let _ = writeln!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<main>");
    let _ = writeln!(out, "<header>\n<h1>{}</h1>", text::escape(&title));
    let _ = writeln!(
        out,
        "<p>A run of longwire-load, begun {}, {} long.</p>",
        text::utc(run.began_unix_ms),
        text::span(run.took_ms)
    );
    if !run.command.is_empty() {
        let _ = writeln!(out, "<pre>{}</pre>", text::escape(&text::command(&run.command)));
    }
    out.push_str("</header>\n");
    outcome(&mut out, run);
    plots(&mut out, run);
    tables(&mut out, run);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Whether the run counts, and whether all messages came: before any number.
fn outcome(out: &mut String, run: &Run) {
    if !run.void.is_empty() {
        out.push_str("<section class=\"void\" role=\"alert\">\n<h2>VOID: this run counts for nothing</h2>\n");
        out.push_str("<p>Do not quote any number of this page.</p>\n<ul>\n");
        for reason in &run.void {
            let _ = writeln!(out, "<li>{}</li>", text::escape(reason));
        }
        out.push_str("</ul>\n</section>\n");
    }
    let counts = &run.accounts;
    let failures = run.failures();
    let errors = run.errors.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let class = if run.has_faults() { "bad" } else { "good" };
    let _ = writeln!(
        out,
        "<section class=\"{class}\">\n<p><strong>{}</strong></p>",
        text::escape(&table::verdict(counts))
    );
    let said = if errors == 0 {
        "No errors.".to_string()
    } else {
        format!("{} errors, listed below.", text::group(errors))
    };
    if !failures.is_empty() {
        let _ = writeln!(out, "<p>The server failed: {}.</p>", text::escape(&failures.join("; ")));
    }
    let _ = writeln!(out, "<p>{said}</p>\n</section>");
}

/// The samples put together so that they fit the width: which samples are in each place, and the place itself in seconds.
struct Places<'a> {
    chunks: Vec<&'a [Sample]>,
    x: Vec<f64>,
    /// What a plot says about it; empty where every second has a place of its own.
    note: String,
}

impl<'a> Places<'a> {
    fn new(samples: &'a [Sample]) -> Places<'a> {
        let each = samples.len().div_ceil(PLACES_MAX).max(1);
        let chunks: Vec<&[Sample]> = samples.chunks(each).collect();
        let x = chunks
            .iter()
            .map(|chunk| chunk.last().map_or(0.0, |sample| sample.at_ms as f64 / 1_000.0))
            .collect();
        let note = if each > 1 {
            format!(" Each point is the worst of {each} samples.")
        } else {
            String::new()
        };
        Places { chunks, x, note }
    }

    fn line(&self, name: &str, fold: fn(f64, f64) -> f64, get: impl Fn(&Sample) -> Option<f64>) -> Line {
        let values = self
            .chunks
            .iter()
            .map(|chunk| chunk.iter().filter_map(&get).reduce(fold))
            .collect();
        Line {
            name: name.to_string(),
            values,
        }
    }

    fn plot(&self, title: &str, sentence: &str, y_axis: Axis, y_name: &str, lines: Vec<Line>) -> Plot {
        Plot {
            title: title.to_string(),
            sentence: format!("{sentence}{}", self.note),
            x_axis: Axis::Seconds,
            x_name: "time since the beginning, minutes and seconds".to_string(),
            x: self.x.clone(),
            y_axis,
            y_name: y_name.to_string(),
            lines,
        }
    }
}

fn plots(out: &mut String, run: &Run) {
    out.push_str("<section>\n<h2>Delays</h2>\n");
    let places = Places::new(&run.samples);
    let measured = |us: u64| (us > 0).then_some(us as f64);
    let lines = vec![
        places.line("p99", f64::max, |sample| measured(sample.p99_us)),
        places.line("p50", f64::max, |sample| measured(sample.p50_us)),
    ];
    let known = || lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    let (low, high) = known().fold((f64::INFINITY, 0.0), |ends: (f64, f64), us| {
        (ends.0.min(us), ends.1.max(us))
    });
    let (axis, how) = if high > 20.0 * low {
        (Axis::DelayLog, " The vertical axis is logarithmic.")
    } else {
        (Axis::Delay, "")
    };
    let sentence = format!(
        "Of what was measured in each second, half took at most p50 and 99 of 100 at most p99, counted from the moment at \
         which it was meant to be sent.{how}"
    );
    out.push_str(&plot::figure(&places.plot(
        "Delay over time",
        &sentence,
        axis,
        "delay",
        lines,
    )));
    out.push_str(&plot::figure(&percentiles(run)));
    delays(out, run);
    out.push_str("</section>\n<section>\n<h2>Load</h2>\n");
    let count = |get: fn(&Sample) -> u64| move |sample: &Sample| Some(get(sample) as f64);
    out.push_str(&plot::figure(&places.plot(
        "Connections over time",
        "How many connections were open and logged in; a dip is connections that were lost.",
        Axis::Number,
        "connections",
        vec![places.line("connections", f64::min, count(|sample| sample.connections))],
    )));
    let mut lines = vec![places.line("received", f64::max, count(|sample| sample.received))];
    lines.push(places.line("sent", f64::max, count(|sample| sample.sent)));
    lines.push(places.line("logins", f64::max, count(|sample| sample.logins)));
    lines.push(places.line("errors", f64::max, count(|sample| sample.errors)));
    lines.retain(|line| line.values.iter().flatten().any(|value| *value > 0.0));
    out.push_str(&plot::figure(&places.plot(
        "What happened in each second",
        "Messages that the clients received and that were sent, logins, and errors, each second.",
        Axis::Number,
        "in a second",
        lines,
    )));
    out.push_str("</section>\n<section>\n<h2>The server</h2>\n");
    let mut lines = vec![
        places.line("server, resident", f64::max, |sample| {
            sample.server_resident_bytes.map(|bytes| bytes as f64)
        }),
        places.line("kernel, TCP buffers", f64::max, |sample| {
            sample.kernel_tcp_bytes.map(|bytes| bytes as f64)
        }),
    ];
    lines.retain(|line| line.values.iter().any(Option::is_some));
    out.push_str(&plot::figure(&places.plot(
        "Memory over time",
        "Resident memory of the server's process, and what the kernel of the whole machine holds for TCP: a leak climbs \
         while the connections stay level.",
        Axis::Bytes,
        "memory",
        lines,
    )));
    out.push_str(&plot::figure(&places.plot(
        "The server's CPU",
        "How many cores the server kept busy in each second; 1 is one core wholly busy.",
        Axis::Number,
        "cores",
        vec![places.line("server", f64::max, |sample| sample.server_cpu_cores)],
    )));
    out.push_str("</section>\n<section>\n<h2>The load generator</h2>\n");
    out.push_str(&plot::figure(&places.plot(
        "The load generator's CPU",
        "How many cores its busiest process used; one that comes near 1 was at its own limit, and measured itself.",
        Axis::Number,
        "cores",
        vec![places.line("busiest process", f64::max, |sample| Some(sample.load_cpu_cores))],
    )));
    out.push_str(&plot::figure(&places.plot(
        "The load generator's lag",
        "How late it was, at worst in each second, with what it had planned: delays below this say nothing of the server.",
        Axis::Millis,
        "lag",
        vec![places.line("lag", f64::max, |sample| Some(sample.load_lag_ms as f64))],
    )));
    out.push_str("</section>\n");
}

/// Delay against percentile, a line for each kind of delay, from the whole histograms.
fn percentiles(run: &Run) -> Plot {
    let known: Vec<_> = run
        .delays
        .iter()
        .filter_map(|(name, delay)| Some((name, histogram(delay)?)))
        .take(4)
        .collect();
    let count = known.iter().map(|(_, histogram)| histogram.len()).max().unwrap_or(1);
    let steps = 20.0;
    let last = ((count as f64).log10() * steps).ceil() as i32;
    let x: Vec<f64> = (0..=last)
        .map(|step| 10_f64.powf(f64::from(step) / steps).min(count as f64))
        .collect();
    let lines = known
        .iter()
        .map(|(name, histogram)| {
            let at = |x: &f64| {
                let own = *x <= histogram.len() as f64;
                own.then(|| histogram.value_at_quantile(1.0 - 1.0 / x).max(1) as f64)
            };
            Line {
                name: text::words(name),
                values: x.iter().map(at).collect(),
            }
        })
        .collect();
    Plot {
        title: "Delay by percentile".to_string(),
        sentence: "How long the given share took at most; each step to the right is ten times rarer. Both axes are \
                   logarithmic."
            .to_string(),
        x_axis: Axis::Nines,
        x_name: "percentile".to_string(),
        x,
        y_axis: Axis::DelayLog,
        y_name: "delay".to_string(),
        lines,
    }
}

fn delays(out: &mut String, run: &Run) {
    if run.delays.is_empty() {
        return;
    }
    out.push_str("<table>\n<thead><tr><th>Delay of</th>");
    for head in ["count", "p50", "p90", "p99", "p99.9", "longest"] {
        let _ = write!(out, "<th class=\"number\">{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (name, delay) in &run.delays {
        let _ = write!(out, "<tr><th>{}</th>", text::escape(&text::words(name)));
        let _ = write!(out, "<td class=\"number\">{}</td>", text::group(delay.count));
        for us in [delay.p50_us, delay.p90_us, delay.p99_us, delay.p999_us, delay.max_us] {
            let said = if delay.count == 0 {
                "-".to_string()
            } else {
                text::delay(us as f64)
            };
            let _ = write!(out, "<td class=\"number\">{said}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

fn tables(out: &mut String, run: &Run) {
    out.push_str("<section>\n<h2>Messages</h2>\n<table>\n<tbody>\n");
    for (name, count, fault, what) in table::accounts(&run.accounts) {
        let class = if fault && count > 0 { " class=\"fault\"" } else { "" };
        let _ = writeln!(
            out,
            "<tr{class}><th>{name}</th><td class=\"number\">{}</td><td>{what}</td></tr>",
            text::group(count)
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
    pairs(
        out,
        "Figures",
        "This scenario has none.",
        run.figures.iter().map(|(name, value)| (name, text::number(*value))),
    );
    pairs(
        out,
        "Errors",
        "None.",
        run.errors.iter().map(|(kind, count)| (kind, text::group(*count))),
    );
    let plain = |map: &BTreeMap<String, String>| -> Vec<(String, String)> {
        map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let (settings, machine) = (plain(&run.settings), plain(&run.machine));
    pairs(
        out,
        "Settings",
        "None were told.",
        settings.iter().map(|(name, value)| (name, value.clone())),
    );
    pairs(
        out,
        "Machine",
        "Not told.",
        machine.iter().map(|(name, value)| (name, value.clone())),
    );
}

/// A table of names and values under a heading.
fn pairs<'a>(out: &mut String, title: &str, none: &str, rows: impl Iterator<Item = (&'a String, String)>) {
    let _ = writeln!(out, "<section>\n<h2>{title}</h2>");
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        let _ = writeln!(out, "<p class=\"none\">{none}</p>\n</section>");
        return;
    }
    out.push_str("<table>\n<tbody>\n");
    for (name, value) in rows {
        let numeric = value.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        let class = if numeric { " class=\"number\"" } else { "" };
        let (name, value) = (text::escape(&text::words(name)), text::escape(&value));
        let _ = writeln!(out, "<tr><th>{name}</th><td{class}>{value}</td></tr>");
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}
