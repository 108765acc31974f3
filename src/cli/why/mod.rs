//! `longwire why`: what the flight recorders know of a user, as a time line that a person reads, and beneath it what each
//! reason usually means. Times are UTC, as in the log.

mod reasons;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::client::{Api, user_path};
use super::flags::{SourceFlags, WhyFlags};
use super::{Failure, note, say};

/// Where an explanation is broken.
const COLUMNS: usize = 100;

/// `longwire why`
pub fn run(sources: &SourceFlags, flags: &WhyFlags) -> Result<(), Failure> {
    let mut path = format!("{}/history?limit={}", user_path(&flags.user)?, flags.limit);
    if let Some(connection) = &flags.connection {
        let _ = write!(path, "&connection={connection}");
    }
    let api = Api::new(sources, &flags.api)?;
    let answer = api.ask("GET", &path, "")?;
    if flags.json {
        say(&serde_json::to_string_pretty(&answer).map_err(Failure::failed)?)?;
    } else {
        let lines = time_line(&answer);
        if !lines.is_empty() {
            say(lines.trim_end())?;
        }
    }
    note(&remark(&flags.user, &answer));
    Ok(())
}

/// How much can be known, for standard error.
fn remark(user: &str, answer: &Value) -> String {
    let events = answer["events"].as_array().map_or(0, Vec::len);
    let Some(since_ms) = answer["since_ms"].as_u64() else {
        return "a node does not record (limits.history_bytes is 0), so that anything may be missing".into();
    };
    let counts = (answer["nodes"]["asked"].as_u64(), answer["nodes"]["answered"].as_u64());
    let more = answer["more"] == true;
    // Of what is older than the oldest that is shown, nothing is shown.
    let oldest = answer["events"].as_array().and_then(|events| events.first());
    let oldest_ms = oldest.and_then(|event| event["at_ms"].as_u64()).filter(|_| more);
    let (date, time) = date_and_time(since_ms.max(oldest_ms.unwrap_or(0)));
    let whole = match counts {
        (Some(_), Some(_)) => "the nodes that answered remember everything",
        _ => "nothing is missing",
    };
    let mut remark = match events {
        0 => format!("nothing is known of {user} since {date} {time} UTC; what was before is forgotten"),
        1 => format!("1 event; {whole} since {date} {time} UTC"),
        some => format!("{some} events; {whole} since {date} {time} UTC"),
    };
    if more {
        remark.push_str("; there are older ones: --limit shows more");
    }
    if let (Some(asked), Some(answered)) = counts {
        let _ = write!(
            remark,
            "; {} of {asked} nodes did not answer",
            asked.saturating_sub(answered)
        );
    }
    remark
}

fn time_line(answer: &Value) -> String {
    let mut text = String::new();
    let mut day = String::new();
    let mut explained = BTreeMap::new();
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = |field: &str| {
        events
            .iter()
            .map(|event| word(&event[field]).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (devices, nodes) = (width("device"), width("node"));
    for event in events {
        let (date, time) = date_and_time(event["at_ms"].as_u64().unwrap_or_default());
        if date != day {
            let _ = writeln!(text, "{}{date} (UTC)", if day.is_empty() { "" } else { "\n" });
            day = date;
        }
        let (device, node) = (word(&event["device"]), word(&event["node"]));
        let what = what(event, &mut explained);
        let connection = word(&event["connection"]);
        let _ = writeln!(text, "{time}  {device:devices$}  {node:nodes$}  {what}  [{connection}]");
    }
    for (reason, means) in explained {
        let _ = write!(text, "\n{}", folded(&format!("{reason}: {means}")));
    }
    text
}

/// What happened, in words; where a reason has an explanation it is put aside.
fn what(event: &Value, explained: &mut BTreeMap<String, &'static str>) -> String {
    let until = || match event["expires_at"].as_u64() {
        None => "a token that never expires".into(),
        Some(expires_at) => {
            let (date, time) = date_and_time(expires_at.saturating_mul(1_000));
            format!("a token good until {date} {time}")
        }
    };
    let from = match &event["remote"] {
        Value::Null => String::new(),
        remote => format!(" from {}", word(remote)),
    };
    match &*word(&event["event"]) {
        "connected" => format!("connected{from} with {}", until()),
        "renewed" => format!("renewed with {}", until()),
        "refused" => {
            let error = word(&event["error"]);
            explained.extend(reasons::of_refusal(&error).map(|means| (error.clone(), means)));
            format!("refused{from}: {error}")
        }
        "closed" => {
            let reason = word(&event["reason"]);
            explained.extend(reasons::of_close(&reason).map(|means| (reason.clone(), means)));
            let lived = duration(event["lived_ms"].as_u64().unwrap_or_default());
            let code = event["code"].as_u64().unwrap_or_default();
            let by = match &event["by"] {
                Value::Null => String::new(),
                by => format!(" by {}", word(by)),
            };
            let queued = match event["queued_bytes"].as_u64() {
                None | Some(0) => String::new(),
                Some(bytes) => format!(", {bytes} bytes were waiting to be written to it"),
            };
            format!("closed after {lived}: {reason}{by} ({code}){queued}")
        }
        other => other.to_owned(),
    }
}

/// Names come from clients: nothing of them reaches the terminal but what can be seen.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text
            .chars()
            .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
            .collect(),
        other => other.to_string(),
    }
}

fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Unix milliseconds as date and time of day, UTC. The arithmetic is Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that leap days come last.
fn date_and_time(unix_ms: u64) -> (String, String) {
    let (days, second) = (unix_ms / 86_400_000, unix_ms / 1_000 % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let time = format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    (format!("{year}-{month:02}-{day:02}"), time)
}

/// Broken into lines between words, all but the first indented.
fn folded(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > COLUMNS {
            out.push_str("\n  ");
            column = 2;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn days_and_times_are_those_of_the_calendar() {
        for (unix_ms, date, time) in [
            (0, "1970-01-01", "00:00:00"),
            (951_782_399_000, "2000-02-28", "23:59:59"),
            (951_782_400_000, "2000-02-29", "00:00:00"),
            (1_709_251_199_999, "2024-02-29", "23:59:59"),
            (1_735_689_599_000, "2024-12-31", "23:59:59"),
            (1_795_461_893_000, "2026-11-23", "19:24:53"),
            (4_107_542_400_000, "2100-03-01", "00:00:00"),
        ] {
            assert_eq!(date_and_time(unix_ms), (date.into(), time.into()), "{unix_ms}");
        }
    }

    #[test]
    fn a_history_is_a_time_line_with_explanations() {
        let answer = json!({"user": "anna", "since_ms": 1_795_461_000_000_u64, "more": true, "events": [
            {"at_ms": 1_795_461_893_000_u64, "event": "connected", "expires_at": 1_795_465_493, "connection": "7-0-1-2",
             "node": "n1", "device": "phone", "remote": "10.0.0.7"},
            {"at_ms": 1_795_461_993_000_u64, "event": "refused", "error": "token_expired", "connection": "7-0-1-2",
             "node": "n1", "device": "phone", "remote": "10.0.0.7"},
            {"at_ms": 1_795_548_293_000_u64, "event": "closed", "reason": "kicked", "code": 4403, "lived_ms": 100_000,
             "queued_bytes": 12, "by": "api", "connection": "7-0-1-2", "node": "n1", "device": null, "remote": null},
            {"at_ms": 1_795_548_294_000_u64, "event": "closed", "reason": "kicked", "code": 4403, "lived_ms": 4,
             "queued_bytes": 0, "by": "nats", "connection": "7-0-1-3", "node": "n20", "device": "a\u{1b}[2J", "remote": null},
        ], "nodes": {"asked": 3, "answered": 2}});
        let text = time_line(&answer);
        let (line, explanations) = text.split_once("\nkicked: ").unwrap_or_default();
        assert_eq!(
            line,
            "2026-11-23 (UTC)\n\
             19:24:53  phone  n1   connected from 10.0.0.7 with a token good until 2026-11-23 20:24:53  [7-0-1-2]\n\
             19:26:33  phone  n1   refused from 10.0.0.7: token_expired  [7-0-1-2]\n\
             \n\
             2026-11-24 (UTC)\n\
             19:24:53  -      n1   closed after 1 min 40 s: kicked by api (4403), 12 bytes were waiting to be written to it  \
             [7-0-1-2]\n\
             19:24:54  a\u{FFFD}[2J  n20  closed after 4 ms: kicked by nats (4403)  [7-0-1-3]\n"
        );
        assert!(explanations.contains("token_expired: ") && !explanations.contains("kicked: "));
        assert!(
            text.lines()
                .all(|line| line.starts_with(char::is_numeric) || line.len() <= COLUMNS)
        );
        assert_eq!(
            remark("anna", &answer),
            "4 events; the nodes that answered remember everything since 2026-11-23 19:24:53 UTC; there are older ones: \
             --limit shows more; 1 of 3 nodes did not answer"
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let nothing = json!({"events": [], "since_ms": 1_795_461_000_000_u64});
        assert!(remark("anna", &nothing).starts_with("nothing is known of anna since 2026-11-23 19:10:00 UTC"));
        assert!(remark("anna", &json!({"events": [], "since_ms": null})).contains("limits.history_bytes is 0"));
        let newer = json!({"events": [{"at_ms": 0, "event": "teleported", "connection": "c", "node": "n"}]});
        assert!(time_line(&newer).contains("teleported"));
    }
}
