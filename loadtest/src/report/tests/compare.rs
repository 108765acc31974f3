//! `compare` finds what is there, and nothing else.

use super::super::compare::compare;
use super::{QUIET, delay, made};
use crate::result::Run;

/// The row of the comparison that begins with these words.
fn row(text: &str, name: &str) -> String {
    text.lines()
        .find(|line| line.trim_start().starts_with(name))
        .unwrap_or_default()
        .to_string()
}

#[test]
fn a_doubled_p99_is_found_and_the_median_stays_unaccused() {
    let mut slower = QUIET;
    slower.tail = 2.0;
    for seed in 0..5 {
        let text = compare(&made(seed, QUIET), &made(seed + 100, slower));
        assert!(row(&text, "push p99 ").contains("LONGER"), "{text}");
        assert!(row(&text, "push p50").contains("no change beyond noise"), "{text}");
        let back = compare(&made(seed + 100, slower), &made(seed, QUIET));
        assert!(row(&back, "push p99 ").contains("SHORTER"), "{back}");
    }
}

#[test]
fn a_doubled_p99_is_found_among_seconds_that_differ() {
    let restless = super::Making { moods: 0.1, ..QUIET };
    let slower = super::Making { tail: 2.0, ..restless };
    let text = compare(&made(1, restless), &made(2, slower));
    assert!(row(&text, "push p99 ").contains("LONGER"), "{text}");
}

/// So restless that ranks tell nothing: the seconds' own percentiles do.
#[test]
fn a_p99_four_times_as_long_is_found_in_a_restless_run() {
    let restless = super::Making { moods: 0.25, ..QUIET };
    let slower = super::Making { tail: 4.0, ..restless };
    let text = compare(&made(1, restless), &made(2, slower));
    assert!(row(&text, "push p99 ").contains("LONGER"), "{text}");
}

#[test]
fn two_draws_of_one_distribution_have_not_changed() {
    for seed in 0..40 {
        let text = compare(&made(seed, QUIET), &made(seed + 1_000, QUIET));
        assert!(text.contains("\nNo change beyond noise.\n"), "seed {seed}: {text}");
    }
}

/// What a test over independent messages gets wrong: the same binary, in seconds that share their fate.
#[test]
fn moods_of_whole_seconds_are_noise() {
    let restless = super::Making { moods: 0.25, ..QUIET };
    let wrong: Vec<String> = (0..60)
        .map(|seed| compare(&made(seed, restless), &made(seed + 1_000, restless)))
        .filter(|text| !text.contains("\nNo change beyond noise.\n"))
        .collect();
    assert!(wrong.is_empty(), "of 60 pairs that do not differ: {wrong:#?}");
}

#[test]
fn few_messages_prove_nothing() {
    let few = super::Making {
        seconds: 10,
        each_second: 5,
        ..QUIET
    };
    let slower = super::Making { tail: 2.0, ..few };
    let text = compare(&made(1, few), &made(2, slower));
    assert!(
        row(&text, "push p99 ").contains("too few seconds or messages"),
        "{text}"
    );
    assert!(
        row(&text, "push p99.9").contains("too few seconds or messages"),
        "{text}"
    );
}

#[test]
fn a_delay_without_its_histogram_has_no_verdict() {
    let (a, mut b) = (made(1, QUIET), made(2, super::Making { tail: 3.0, ..QUIET }));
    for broken in ["", "not base64 at all!", "AAAA"] {
        b.delays.get_mut("push").unwrap().histogram = broken.to_string();
        let text = compare(&a, &b);
        assert!(
            row(&text, "push p99 ").contains("too few seconds or messages"),
            "{text}"
        );
    }
}

/// A burst of logins is one event: that one burst was slower than another proves nothing, however many logged in.
#[test]
fn a_burst_has_no_verdict_and_the_seconds_of_others_do_not_lend_theirs() {
    let (mut a, mut b) = (made(1, QUIET), made(2, QUIET));
    let logins = |factor: u64| {
        let mut histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        (0..20_000_u64).for_each(|n| histogram.record((20_000 + n % 1_000) * factor).unwrap());
        delay(&histogram)
    };
    a.delays.insert("login".into(), logins(1));
    b.delays.insert("login".into(), logins(2));
    let text = compare(&a, &b);
    assert!(row(&text, "login p50").contains("too few seconds"), "{text}");
    assert!(row(&text, "push p50").contains("no change"), "{text}");
    let short = super::Making { seconds: 5, ..QUIET };
    let text = compare(&made(1, short), &made(2, super::Making { tail: 4.0, ..short }));
    assert!(row(&text, "push p99 ").contains("too few seconds"), "{text}");
}

/// A mix: the seconds tell of all kinds of messages together.
#[test]
fn kinds_that_share_their_seconds_are_judged_by_what_they_share() {
    let mixed = |seed, tail| {
        let mut run = made(seed, super::Making { tail, ..QUIET });
        let push = run.delays["push"].clone();
        run.delays.insert("call".into(), push);
        run
    };
    let text = compare(&mixed(1, 1.0), &mixed(2, 2.0));
    for kind in ["push p99 ", "call p99 "] {
        assert!(row(&text, kind).contains("LONGER"), "{text}");
    }
    let text = compare(&mixed(1, 1.0), &mixed(2, 1.0));
    assert!(text.contains("\nNo change beyond noise.\n"), "{text}");
}

#[test]
fn a_figure_is_judged_by_its_seconds_and_only_shown_without() {
    let (a, mut b) = (made(1, QUIET), made(2, QUIET));
    let same = compare(&a, &b);
    assert!(
        row(&same, "deliveries per server cpu s").contains("no change beyond noise"),
        "{same}"
    );
    for sample in &mut b.samples {
        sample.server_cpu_cores = sample.server_cpu_cores.map(|cores| cores * 2.0);
    }
    *b.figures.get_mut("deliveries_per_server_cpu_s").unwrap() /= 2.0;
    b.figures.insert("time_to_all_back_ms".into(), 9.0);
    let mut a = a;
    a.figures.insert("time_to_all_back_ms".into(), 3.0);
    let text = compare(&a, &b);
    assert!(row(&text, "deliveries per server cpu s").contains("LOWER"), "{text}");
    assert!(row(&text, "time to all back ms").contains("noise unknown"), "{text}");
    assert!(!text.to_lowercase().contains("better"), "{text}");
}

#[test]
fn a_tiny_certain_difference_is_no_change() {
    let (a, mut b) = (made(1, QUIET), made(1, QUIET));
    *b.figures.get_mut("resident_bytes_per_connection").unwrap() *= 1.01;
    let text = compare(&a, &b);
    assert!(
        row(&text, "resident bytes per connection").contains("no change beyond noise"),
        "{text}"
    );
    *b.figures.get_mut("resident_bytes_per_connection").unwrap() *= 1.2;
    let text = compare(&a, &b);
    assert!(row(&text, "resident bytes per connection").contains("HIGHER"), "{text}");
}

#[test]
fn accounts_and_errors_are_exact() {
    let (a, mut b) = (made(1, QUIET), made(2, QUIET));
    b.accounts.lost = 1;
    b.accounts.received -= 1;
    b.errors.insert("refused".into(), 4);
    let text = compare(&a, &b);
    assert!(row(&text, "lost").contains("NEW IN B"), "{text}");
    assert!(text.contains("lost 0 -> 1"), "{text}");
    assert!(text.contains("errors refused 0 -> 4"), "{text}");
}

#[test]
fn void_runs_get_no_verdict() {
    let (a, mut b) = (made(1, QUIET), made(2, super::Making { tail: 3.0, ..QUIET }));
    b.void.push("the load generator used 0.99 of its core".into());
    b.accounts.lost = 5;
    let text = compare(&a, &b);
    assert!(
        text.contains("B IS VOID AND COUNTS FOR NOTHING: the load generator used 0.99"),
        "{text}"
    );
    assert!(text.contains("No verdict"), "{text}");
    assert!(
        !text.contains("LONGER") && !text.contains("NEW IN B") && !text.contains("Changed"),
        "{text}"
    );
}

#[test]
fn other_settings_machines_targets_and_scenarios_are_said() {
    let (mut a, mut b) = (made(1, QUIET), made(2, QUIET));
    a.settings.insert("connections".into(), "1000".into());
    b.settings.insert("connections".into(), "2000".into());
    b.settings.insert("rate\u{1b}[2J".into(), "5".into());
    a.machine.insert("cores".into(), "2".into());
    b.machine.insert("cores".into(), "8".into());
    b.target = "node-ws".into();
    b.scenario = "fanout".into();
    let text = compare(&a, &b);
    for said in [
        "!! setting connections differs: A 1000, B 2000",
        "!! machine cores differs: A 2, B 8",
        "!! the targets differ",
        "!! the scenarios differ",
        "A (not given), B 5",
    ] {
        assert!(text.contains(said), "{said} is missing: {text}");
    }
    assert!(!text.contains('\u{1b}'), "a setting's name can move the cursor");
}

#[test]
fn empty_runs_compare() {
    let text = compare(&Run::default(), &Run::default());
    assert!(text.contains("No change beyond noise"), "{text}");
    let text = compare(&Run::default(), &made(1, QUIET));
    assert!(text.contains("only in B"), "{text}");
}
