//! Numbers, times and names as people read them, and text of others made harmless for a terminal and for HTML.
//! Pure functions; never rounds away what a verdict needs (verdicts are made on the raw values). Used by all of `report`.

/// A whole number with its thousands apart: `12,345`.
pub fn group(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A figure: whole with thousands apart from a hundred on, about three digits below; `not measured` where it is no number.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "not measured".to_string();
    }
    if size >= 100.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", group(size.round() as u64));
    }
    let digits = match size {
        _ if size == 0.0 || (size.fract() == 0.0) => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ if size >= 0.01 => 3,
        _ if size >= 0.0001 => return format!("{value:.5}").trim_end_matches('0').to_string(),
        _ => return format!("{value:.2e}"),
    };
    format!("{value:.digits$}")
}

/// Bytes with a binary unit: `512 B`, `1.5 MiB`.
pub fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value.max(0.0);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0} B")
    } else {
        format!("{} {}", three(value), units[unit])
    }
}

/// A delay given in microseconds, with the unit that fits it: `850 µs`, `12.3 ms`, `1.5 s`.
pub fn delay(us: f64) -> String {
    match us {
        _ if us < 1_000.0 => format!("{} µs", three(us)),
        _ if us < 1_000_000.0 => format!("{} ms", three(us / 1_000.0)),
        _ => format!("{} s", three(us / 1_000_000.0)),
    }
}

/// Three digits, without zeros that say nothing.
fn three(value: f64) -> String {
    let digits = match value {
        _ if value >= 100.0 => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// A time span given in milliseconds: `850 ms`, `12.3 s`, `2 min 5 s`, `3 h 2 min`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        _ if ms < 1_000 => format!("{ms} ms"),
        _ if seconds < 60 => format!("{} s", three(ms as f64 / 1_000.0)),
        _ if seconds < 3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A clock for a line that is written over and over: `01:05`, `2:03:04`. Milliseconds in.
pub fn clock(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// A day and a time in UTC from Unix milliseconds. (The days to a date: Howard Hinnant's `civil_from_days`.)
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A name of a figure or a setting as words.
pub fn words(name: &str) -> String {
    clean(&name.replace('_', " "))
}

/// One line without control characters: what a server answered must not move the cursor or colour the terminal.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        // Marks that turn the direction of writing can make a line read as something else.
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns {
            out.extend(letter.escape_unicode())
        } else {
            out.push(letter)
        }
    }
    out
}

/// Text for HTML, between tags and in quoted attributes alike.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in clean(text).chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

/// A command line that can be pasted into a shell.
pub fn command(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter))
    };
    let quoted = words.iter().map(|word| {
        if plain(word) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    clean(&quoted.collect::<Vec<_>>().join(" "))
}
