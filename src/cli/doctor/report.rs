//! What the doctor found: rows, their verdicts, and how many connections they come to; as text for people and as JSON
//! for scripts. Knows nothing of hosts. Filled by the readers, printed by `run`.

use serde_json::{Value, json};

/// Whether what is there is what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Short,
    /// It could not be found out, or does not say enough.
    Unknown,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Short => "short",
            Self::Unknown => "unknown",
        }
    }

    /// Of a thing of which `value` is there and `need` is needed.
    pub fn of(value: u64, need: u64) -> Self {
        if value >= need { Self::Ok } else { Self::Short }
    }
}

/// What is there, or needed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Amount {
    /// Nothing is known or needed.
    None,
    /// So many.
    Count(u64),
    Bytes(u64),
    /// Cores, which may be given in parts.
    Cores(f64),
    Milliseconds(u64),
    Text(String),
}

impl Amount {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn shown(&self) -> String {
        match self {
            Self::None => "-".into(),
            Self::Count(count) => thousands(*count),
            Self::Bytes(bytes) => size(*bytes),
            Self::Cores(cores) => format!("{}", (cores * 100.0).ceil() / 100.0),
            Self::Milliseconds(ms) if ms % 1_000 == 0 => format!("{} s", thousands(ms / 1_000)),
            Self::Milliseconds(ms) => format!("{} ms", thousands(*ms)),
            Self::Text(text) => text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Count(number) | Self::Bytes(number) | Self::Milliseconds(number) => json!(number),
            Self::Cores(cores) => json!(cores),
            Self::Text(text) => json!(text),
        }
    }

    fn unit(&self) -> Option<&'static str> {
        match self {
            Self::None | Self::Text(_) => None,
            Self::Count(_) => Some("count"),
            Self::Bytes(_) => Some("bytes"),
            Self::Cores(_) => Some("cores"),
            Self::Milliseconds(_) => Some("ms"),
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it is; one word, the same in text and JSON.
    pub name: &'static str,
    pub value: Amount,
    pub need: Amount,
    pub verdict: Verdict,
    /// Where the value is from, and what the need is made of.
    pub note: String,
    /// What mends it, to be pasted into a shell; only where it falls short, or where somebody could find it out.
    pub mend: Option<String>,
    /// How many connections it allows, if it limits them.
    pub holds: Option<u64>,
}

impl Row {
    pub fn new(name: &'static str, value: Amount, need: Amount, verdict: Verdict) -> Self {
        Self {
            name,
            value,
            need,
            verdict,
            note: String::new(),
            mend: None,
            holds: None,
        }
    }

    /// A count of which `value` are there and `need` are needed.
    pub fn count(name: &'static str, value: u64, need: u64) -> Self {
        Self::new(
            name,
            Amount::Count(value),
            Amount::Count(need),
            Verdict::of(value, need),
        )
    }

    /// Something that could not be found out, and why.
    pub fn unknown(name: &'static str, need: Amount, why: impl Into<String>) -> Self {
        Self::new(name, Amount::None, need, Verdict::Unknown).note(why)
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub fn holds(mut self, connections: u64) -> Self {
        self.holds = Some(connections);
        self
    }

    /// How it is mended; forgotten if there is nothing to mend.
    pub fn mend(mut self, command: impl FnOnce() -> String) -> Self {
        if self.verdict != Verdict::Ok {
            self.mend = Some(command());
        }
        self
    }
}

/// All that was looked at.
pub(super) struct Report {
    /// How many connections it was looked at for.
    pub connections: u64,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn falls_short(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Short)
    }

    /// The row that allows the fewest connections; the first of several.
    fn tightest(&self) -> Option<(&Row, u64)> {
        let limits = self.rows.iter().filter_map(|row| Some((row, row.holds?)));
        limits.min_by_key(|(_, holds)| *holds)
    }

    pub fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        let tightest = self.tightest();
        let report = json!({
            "connections": self.connections,
            "verdict": if self.falls_short() { "short" } else { "ok" },
            "holds": tightest.map(|(_, holds)| holds),
            "limited_by": tightest.map(|(row, _)| row.name),
            "rows": rows,
        });
        // A Value always becomes text.
        serde_json::to_string_pretty(&report).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let shown: Vec<[String; 4]> = self
            .rows
            .iter()
            .map(|row| {
                [
                    row.verdict.word().to_owned(),
                    row.name.to_owned(),
                    row.value.shown(),
                    row.need.shown(),
                ]
            })
            .collect();
        let header = ["verdict", "what", "value", "need"].map(str::to_owned);
        let width = |column: usize| {
            let lines = shown.iter().chain([&header]);
            lines.map(|line| line[column].chars().count()).max().unwrap_or_default()
        };
        let widths = [width(0), width(1), width(2), width(3)];
        let line = |cells: &[String; 4], note: &str| {
            let [verdict, name, value, need] = cells;
            let [w0, w1, w2, w3] = widths;
            let text = format!("{verdict:w0$}  {name:w1$}  {value:>w2$}  {need:>w3$}  {note}");
            text.trim_end().to_owned() + "\n"
        };
        let mut text = line(&header, "");
        for (row, cells) in self.rows.iter().zip(&shown) {
            text += &line(cells, &row.note);
            for (index, command) in row.mend.iter().flat_map(|mend| mend.lines()).enumerate() {
                text += &format!("{}{command}\n", if index == 0 { "    mend: " } else { "          " });
            }
        }
        text += &match self.tightest() {
            Some((row, holds)) => format!(
                "\nthis host holds about {} connections, limited by {} (asked for: {})",
                thousands(holds),
                row.name,
                thousands(self.connections)
            ),
            None => "\nhow many connections this host holds is unknown: nothing that limits them could be read".into(),
        };
        text
    }
}

fn row_json(row: &Row) -> Value {
    json!({
        "name": row.name,
        "value": row.value.json(),
        "need": row.need.json(),
        "unit": row.value.unit().or(row.need.unit()),
        "verdict": row.verdict.word(),
        "note": row.note,
        "mend": row.mend,
        "holds": row.holds,
    })
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with the unit in which a person would say it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        for (bytes, text) in [(0, "0 B"), (1 << 20, "1 MiB"), (1_600, "1.6 KiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(Amount::Milliseconds(60_000).shown(), "60 s");
        assert_eq!(Amount::Milliseconds(1_500).shown(), "1,500 ms");
    }

    #[test]
    fn the_tightest_row_is_the_host_s_limit() {
        let mut report = Report {
            connections: 10_000,
            rows: vec![Row::count("a", 5, 1).holds(20_000), Row::count("b", 5, 6).holds(400)],
        };
        assert!(report.falls_short());
        assert!(
            report
                .text()
                .contains("about 400 connections, limited by b (asked for: 10,000)")
        );
        report.rows.pop();
        assert!(!report.falls_short());
        report.rows.pop();
        assert!(report.text().contains("unknown"));
    }

    #[test]
    fn what_is_right_needs_no_mending() {
        assert!(Row::count("a", 1, 1).mend(|| "x".into()).mend.is_none());
        assert_eq!(Row::count("a", 0, 1).mend(|| "x".into()).mend.as_deref(), Some("x"));
    }
}
