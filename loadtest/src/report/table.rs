//! The summary of a run for a terminal. Pure: a [`Run`] in, text out. Never leaves out that a run is void, nor that
//! messages were lost. Called by the coordinator when a run is over.

use super::text;
use crate::result::{Accounts, Run};

/// The counts of `accounts` with their names and what they mean, in the order of reading; `true` where any but 0 is a fault.
pub fn accounts(accounts: &Accounts) -> [(&'static str, u64, bool, &'static str); 7] {
    [
        ("due", accounts.due, false, "deliveries that had to come"),
        ("received", accounts.received, false, "came, each counted once"),
        ("duplicated", accounts.duplicated, true, "came more than once"),
        (
            "out of order",
            accounts.out_of_order,
            true,
            "came behind a later one of the same publisher",
        ),
        (
            "lost",
            accounts.lost,
            true,
            "never came, though the receiver stayed connected",
        ),
        ("garbled", accounts.garbled, true, "came, and were not what was sent"),
        (
            "unaccountable",
            accounts.unaccountable,
            false,
            "their connections had ended, or the API did not take them: proves nothing",
        ),
    ]
}

/// One sentence about the accounts: whether every message is accounted for.
pub fn verdict(counts: &Accounts) -> String {
    if counts.due == 0 && counts.received == 0 && counts.garbled == 0 {
        return "No message was due.".to_string();
    }
    let faults: Vec<String> = accounts(counts)
        .iter()
        .filter(|(_, count, fault, _)| *fault && *count > 0)
        .map(|(name, count, _, _)| format!("{} {name}", text::group(*count)))
        .collect();
    let known = counts
        .received
        .saturating_add(counts.lost)
        .saturating_add(counts.unaccountable);
    let mut said = match faults.as_slice() {
        [] => "Every message came, once, in order, as it was sent.".to_string(),
        faults => format!("NOT IN ORDER: {}.", faults.join(", ")),
    };
    if faults.is_empty() && counts.unaccountable > 0 {
        said = format!(
            "What was due to connections that stayed came, once, in order; {} were due to connections that ended, or were not taken by the API.",
            text::group(counts.unaccountable)
        );
    }
    if known != counts.due {
        said.push_str(&format!(
            " THE ACCOUNTS DO NOT ADD UP: {} due, {} accounted for.",
            text::group(counts.due),
            text::group(known)
        ));
    }
    said
}

/// The whole summary, ending in a newline.
pub fn summary(run: &Run) -> String {
    let mut out = shout(run);
    out.push_str(&format!(
        "{} against {}, {} long, begun {}\n",
        text::clean(&run.scenario),
        text::clean(&run.target),
        text::span(run.took_ms),
        text::utc(run.began_unix_ms)
    ));
    if !run.command.is_empty() {
        out.push_str(&format!("$ {}\n", text::command(&run.command)));
    }

    heading(&mut out, "Messages");
    let rows = accounts(&run.accounts);
    let rows = rows.iter().map(|(name, count, fault, what)| {
        let mark = if *fault && *count > 0 { "<-- " } else { "" };
        vec![(*name).to_string(), text::group(*count), format!("{mark}{what}")]
    });
    grid(&mut out, &rows.collect::<Vec<_>>(), &[false, true, false]);
    out.push_str(&format!("  {}\n", verdict(&run.accounts)));
    let failures = run.failures();
    if !failures.is_empty() {
        out.push_str(&format!("  THE SERVER FAILED: {}.\n", failures.join("; ")));
    }

    if !run.delays.is_empty() {
        heading(&mut out, "Delay from the intended time");
        let mut rows = vec![
            ["", "count", "p50", "p90", "p99", "p99.9", "longest"]
                .map(String::from)
                .to_vec(),
        ];
        rows.extend(run.delays.iter().map(|(name, delay)| {
            let mut row = vec![text::words(name), text::group(delay.count)];
            let values = [delay.p50_us, delay.p90_us, delay.p99_us, delay.p999_us, delay.max_us];
            row.extend(values.map(|us| {
                if delay.count == 0 {
                    "-".to_string()
                } else {
                    text::delay(us as f64)
                }
            }));
            row
        }));
        grid(&mut out, &rows, &[false, true, true, true, true, true, true]);
    }

    if !run.figures.is_empty() {
        heading(&mut out, "Figures");
        let rows = run
            .figures
            .iter()
            .map(|(name, value)| vec![text::words(name), text::number(*value)]);
        grid(&mut out, &rows.collect::<Vec<_>>(), &[false, true]);
    }

    heading(&mut out, "Errors");
    if run.errors.is_empty() {
        out.push_str("  none\n");
    } else {
        let rows = run
            .errors
            .iter()
            .map(|(kind, count)| vec![text::clean(kind), text::group(*count)]);
        grid(&mut out, &rows.collect::<Vec<_>>(), &[false, true]);
    }
    // Said twice: the first time has left the screen when the table is long.
    if !run.void.is_empty() {
        out.push('\n');
        out.push_str(&shout(run));
    }
    out
}

/// The block that nobody overlooks; nothing where the run counts.
fn shout(run: &Run) -> String {
    if run.void.is_empty() {
        return String::new();
    }
    let bar = "!".repeat(78);
    let mut out = format!("{bar}\n!!  VOID: THIS RUN COUNTS FOR NOTHING. Do not quote any number of it.\n");
    for reason in &run.void {
        out.push_str(&format!("!!  - {}\n", text::clean(reason)));
    }
    out.push_str(&bar);
    out.push('\n');
    out
}

fn heading(out: &mut String, title: &str) {
    out.push_str(&format!("\n{title}\n"));
}

/// Rows in columns; `right` says which are flush right. A cell may be missing at the end of a row.
pub fn grid(out: &mut String, rows: &[Vec<String>], right: &[bool]) {
    let wide = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..right.len()).map(|column| wide(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::from(" ");
        for ((cell, width), right) in row.iter().zip(&widths).zip(right) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if *right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(&format!(" {before}{cell}{after} "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
