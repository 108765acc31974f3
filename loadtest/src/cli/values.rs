//! The values of flags as people write them, and what is wrong with the others. Pure.

use std::time::Duration;

/// `250us`, `10ms`, `30s`, `5m`, `8h`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("{text}: no duration"))?;
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("{text}: us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|error| format!("{text}: {error}"))
}

/// A rate: something has to happen.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = rate_or_none(text)?;
    (rate > 0.0)
        .then_some(rate)
        .ok_or_else(|| format!("{text}: more than 0 a second"))
}

/// A rate, or 0.
pub fn rate_or_none(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1e7).contains(rate));
    rate.ok_or_else(|| format!("{text}: a number a second, at most ten million"))
}

/// A path that a client may call.
pub fn path(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let good = text.len() <= 256 && text.split('/').all(|part| !part.is_empty() && part.chars().all(plain));
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text}: letters, digits, _ and -, with / between them, as in order/create"
        ))
    }
}

/// A share, more than none of it and not all.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| format!("{text}: a number between 0 and 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("5 parsecs").is_err() && duration("").is_err());
    }

    #[test]
    fn shares_lie_between_none_and_all() {
        assert_eq!(share("0.5"), Ok(0.5));
        assert!(
            ["0", "1", "-1", "2", "half", ""]
                .iter()
                .all(|text| share(text).is_err())
        );
    }
}
