//! Durations and sizes as they are written in the config, read and written back. Pure text and numbers, no keys.
//! Called by `section` and `render`.

/// Unit and milliseconds, the largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Unit and bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads `500ms`, `25s`, `5m`, `1h`, `1d` or several of them from large to small (`1h30m`), in milliseconds.
pub(super) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is no duration; write whole numbers with units, such as \"500ms\", \"25s\", \"5m\" or \"1h30m\""
        )
    };
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let (number, unit_ms, after) = number_and_unit(rest, &DURATION_UNITS).ok_or_else(wrong)?;
        if unit_ms >= smaller_than {
            return Err(wrong());
        }
        smaller_than = unit_ms;
        let part_ms = number
            .checked_mul(unit_ms)
            .ok_or_else(|| format!("{text:?} is too long"))?;
        total_ms = total_ms
            .checked_add(part_ms)
            .ok_or_else(|| format!("{text:?} is too long"))?;
        rest = after;
    }
    if smaller_than == u64::MAX {
        Err(wrong())
    } else {
        Ok(total_ms)
    }
}

/// Reads `64KiB`, `1MiB`, `2GiB`, `100kB`, `100MB`, `1GB`, `512B` or a number of bytes.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is no size; write a number of bytes, or a unit such as \"100kB\", \"64KiB\", \"1MiB\" or \"2GiB\""
        )
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("{text:?} is too large"));
    }
    let (number, unit_bytes, rest) = number_and_unit(text, &SIZE_UNITS).ok_or_else(wrong)?;
    if !rest.is_empty() {
        return Err(wrong());
    }
    number
        .checked_mul(unit_bytes)
        .ok_or_else(|| format!("{text:?} is too large"))
}

/// Splits a number and its unit off the front; `None` where either is missing, or the number has more than 64 bits.
fn number_and_unit<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(u64, u64, &'a str)> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number = text[..digits].parse().ok()?;
    let rest = &text[digits..];
    let letters = rest.len()
        - rest
            .trim_start_matches(|letter: char| letter.is_ascii_alphabetic())
            .len();
    let (_, factor) = units.iter().find(|(unit, _)| *unit == &rest[..letters])?;
    Some((number, *factor, &rest[letters..]))
}

/// Writes what [`parse_duration_ms`] reads, as people do: less than two minutes are seconds.
pub(super) fn format_duration_ms(duration_ms: u64) -> String {
    let in_seconds = duration_ms < 120_000;
    let mut rest_ms = duration_ms;
    let mut text = String::new();
    for (unit, unit_ms) in DURATION_UNITS {
        if rest_ms >= unit_ms && !(in_seconds && unit == "m") {
            text += &format!("{}{unit}", rest_ms / unit_ms);
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Writes what [`parse_bytes`] reads: with a binary unit where it comes out even.
pub(super) fn format_bytes(bytes: u64) -> String {
    let even = SIZE_UNITS
        .iter()
        .filter(|(unit, _)| unit.ends_with("iB"))
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match even {
        Some((unit, unit_bytes)) => format!("{}{unit}", bytes / unit_bytes),
        None => bytes.to_string(),
    }
}
