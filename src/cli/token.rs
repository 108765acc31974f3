//! `longwire token`: mints a token with the configured HS key.

use super::flags::{SourceFlags, TokenFlags};
use super::{Failure, configuration, say};
use crate::shard::auth::{Grant, mint};

const NO_FILE: &str = "there is no configuration file, and so no secret to sign with. Give the file that the node uses:
  longwire token --config longwire.toml --user …
or a secret (at least 32 bytes for HS256):
  longwire token --set 'auth.keys=[{algorithm=\"HS256\", secret=\"…\"}]' --user …
A node that runs without a file prints a token for its own random key when it starts.";

/// Prints the token and nothing else.
pub fn run(flags: &SourceFlags, token: TokenFlags) -> Result<(), Failure> {
    let sources = configuration::sources(flags);
    let sets_keys = sources.overrides.iter().any(|set| set.starts_with("auth."))
        || sources
            .environment
            .iter()
            .any(|(name, _)| name.starts_with("LONGWIRE_AUTH__"));
    if sources.file.is_none() && !sets_keys {
        return Err(Failure::Usage(NO_FILE.into()));
    }
    let checked = configuration::load_or_fail(&sources)?;
    let some = |patterns: Vec<String>| if patterns.is_empty() { None } else { Some(patterns) };
    let grant = Grant {
        user: token.user,
        ttl_seconds: token.ttl,
        paths: some(token.paths),
        topics: some(token.topics),
        device: token.device,
    };
    let minted = mint(&checked.loaded.settings.auth, &grant, crate::control::unix_ms());
    say(&minted.map_err(Failure::failed)?)
}

/// `90s`, `30m`, `1h`, `7d`, in seconds.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time; write a number and s, m, h or d, as in 90s or 8h");
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .filter(|&seconds| seconds > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse_seconds;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(parse_seconds(text), Ok(seconds));
        }
        for text in [
            "",
            "1",
            "h",
            "-1h",
            "1.5h",
            "1w",
            "0s",
            "1 h",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
