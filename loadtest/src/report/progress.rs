//! What is seen while a run goes on: one live line on a terminal, a plain line every few seconds elsewhere (a log of CI).
//! Owns that line alone. Never measures, and never writes to standard output, which is for the results. The coordinator
//! calls [`Progress::tick`] with each second's sample and [`Progress::finish`] before it prints the summary.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text;
use crate::result::Sample;

/// How often a line is written where no terminal is, milliseconds of the run.
const PLAIN_EVERY_MS: u64 = 5_000;

/// The live line.
pub struct Progress {
    live: Option<ProgressBar>,
    errors: u64,
    next_plain_ms: u64,
}

impl Progress {
    /// Live where standard error is a terminal.
    pub fn new() -> Progress {
        let live = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress {
            live,
            errors: 0,
            next_plain_ms: 0,
        }
    }

    /// Shows a second of the run; `doing` says what goes on (`connecting`, `pushing`).
    pub fn tick(&mut self, doing: &str, sample: &Sample) {
        self.errors = self.errors.saturating_add(sample.errors);
        let line = line(doing, sample, self.errors);
        if let Some(bar) = &self.live {
            bar.set_message(line);
        } else if sample.at_ms >= self.next_plain_ms {
            self.next_plain_ms = sample.at_ms.saturating_add(PLAIN_EVERY_MS);
            say(&line);
        }
    }

    /// A remark that stays on the screen above the live line.
    pub fn note(&self, remark: &str) {
        let remark = text::clean(remark);
        match &self.live {
            Some(bar) => bar.suspend(|| say(&remark)),
            None => say(&remark),
        }
    }

    /// Takes the live line away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One line to standard error. That it cannot be written is no reason to end a run.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The line of a second: elapsed, what goes on, connections, rates, delays, errors so far, and a word when the load
/// generator is late itself.
pub fn line(doing: &str, sample: &Sample, errors: u64) -> String {
    let mut line = format!(
        "{}  {}  {} connections",
        text::clock(sample.at_ms),
        text::clean(doing),
        text::group(sample.connections)
    );
    for (count, what) in [
        (sample.logins, "logins/s"),
        (sample.sent, "sent/s"),
        (sample.received, "received/s"),
    ] {
        if count > 0 {
            line.push_str(&format!("  {} {what}", text::group(count)));
        }
    }
    if sample.p50_us > 0 || sample.p99_us > 0 {
        let (p50, p99) = (text::delay(sample.p50_us as f64), text::delay(sample.p99_us as f64));
        line.push_str(&format!("  p50 {p50}  p99 {p99}"));
    }
    line.push_str(&format!("  {} errors", text::group(errors)));
    if sample.load_lag_ms >= 20 {
        line.push_str(&format!(
            "  (load generator late by {} ms)",
            text::group(sample.load_lag_ms)
        ));
    }
    line
}
