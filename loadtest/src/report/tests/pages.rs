//! The page and the table: hostile text, empty runs, void runs, long runs.

use super::super::html::html;
use super::super::table::{summary, verdict};
use super::{QUIET, made};
use crate::result::{Accounts, Run, Sample};

const HOSTILE: &str = "</title><script>alert('1\")</script>&\u{1b}[31m\u{202e}";

/// A run in which every text is hostile.
fn hostile() -> Run {
    let mut run = made(1, QUIET);
    let push = run.delays.remove("push").unwrap();
    run.scenario = HOSTILE.into();
    run.target = HOSTILE.into();
    run.command = vec![HOSTILE.into(), "it's".into()];
    run.machine.insert(HOSTILE.into(), HOSTILE.into());
    run.settings.insert(HOSTILE.into(), HOSTILE.into());
    run.figures.insert(HOSTILE.into(), 1.0);
    run.delays.insert(HOSTILE.into(), push.clone());
    run.delays.insert("other".into(), push);
    run.errors.insert(HOSTILE.into(), 3);
    run.void.push(HOSTILE.into());
    run
}

/// The tags of a page must close each other: a reader that takes HTML for XML would take it.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = &page[page.find("<html").unwrap()..];
    for part in body.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes another tag");
        } else if name != "meta" && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn hostile_text_is_only_text() {
    let page = html(&hostile());
    well_formed(&page);
    assert!(!page.contains("<script"), "a script got in");
    assert!(
        !page.contains('\u{1b}') && !page.contains('\u{202e}'),
        "control characters got in"
    );
    assert!(page.contains("&lt;script&gt;"));
    // In attributes too: the only quotes are the page's own.
    assert!(!page.contains("alert('1\""), "quotes got in");
    let table = summary(&hostile());
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'), "{table}");
}

#[test]
fn the_page_asks_for_nothing_from_outside() {
    let page = html(&made(1, QUIET));
    well_formed(&page);
    for outside in [
        "http://", "https://", "src=", "href=", "url(", "@import", "<link", "<script",
    ] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_plot_has_a_title_a_sentence_and_named_axes() {
    let page = html(&made(1, QUIET));
    let figures: Vec<&str> = page.split("<figure>").skip(1).collect();
    assert!(figures.len() >= 7, "{} plots", figures.len());
    for figure in figures {
        let figure = figure.split("</figure>").next().unwrap();
        assert!(figure.contains("<h3>") && figure.contains("<p>"), "{figure}");
        assert_eq!(
            figure.matches("class=\"name middle\"").count(),
            2,
            "both axes have names: {figure}"
        );
        assert!(figure.matches("class=\"tick end\"").count() >= 2, "ticks: {figure}");
        assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }
    for label in ["99.9 %", "10,000", "MiB", "µs"] {
        assert!(page.contains(label), "{label} is not in the page");
    }
}

#[test]
fn empty_runs_render() {
    let page = html(&Run::default());
    well_formed(&page);
    assert!(page.contains("Not measured in this run."));
    assert!(summary(&Run::default()).contains("No message was due."));
}

#[test]
fn one_sample_and_strange_numbers_render() {
    let mut run = Run {
        samples: vec![Sample {
            p50_us: 7,
            p99_us: u64::MAX,
            ..Sample::default()
        }],
        ..Run::default()
    };
    run.samples[0].server_cpu_cores = Some(f64::NAN);
    run.samples[0].connections = u64::MAX;
    run.figures.insert("ratio".into(), f64::NAN);
    run.figures.insert("rate".into(), f64::INFINITY);
    run.figures.insert("negative".into(), -1e300);
    run.errors.insert("many".into(), u64::MAX);
    run.accounts = Accounts {
        due: u64::MAX,
        lost: u64::MAX,
        received: u64::MAX,
        ..Accounts::default()
    };
    let page = html(&run);
    well_formed(&page);
    assert!(!page.contains("NaN"), "no number is no number to a reader");
    assert!(page.contains("<circle"), "a lone value is seen");
    assert!(summary(&run).contains("not measured"));
}

#[test]
fn gaps_break_the_line() {
    let mut run = made(1, QUIET);
    for second in 20..30 {
        run.samples[second].p50_us = 0;
        run.samples[second].p99_us = 0;
    }
    let page = html(&run);
    let first = page.split("<figure>").nth(1).unwrap();
    let path = first
        .split("class=\"line line0\" d=\"")
        .nth(2)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(path.matches('M').count(), 2, "{path}");
}

#[test]
fn long_runs_are_put_together_and_the_worst_is_kept() {
    let mut run = made(1, super::Making { seconds: 10, ..QUIET });
    let sample = run.samples[0].clone();
    run.samples = (0..14_400)
        .map(|second| Sample {
            at_ms: second * 1_000,
            ..sample.clone()
        })
        .collect();
    run.samples[7_001].p99_us = 5_000_000;
    run.samples[7_001].connections = 17;
    let page = html(&run);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    assert!(page.contains("p99 5 s"), "the worst second is hidden");
    assert!(page.contains("connections 17<"), "the dip is hidden");
    assert!(page.contains("the worst of 48 samples"));
}

#[test]
fn a_void_run_shouts_and_another_does_not() {
    let mut run = made(1, QUIET);
    assert!(!summary(&run).contains("VOID") && !html(&run).contains("VOID"));
    run.void.push("the load generator was 400 ms late".into());
    let table = summary(&run);
    assert!(
        table.starts_with("!!!!") && table.matches("VOID: THIS RUN COUNTS FOR NOTHING").count() == 2,
        "{table}"
    );
    assert!(table.contains("the load generator was 400 ms late"));
    let page = html(&run);
    let (void, plots) = (
        page.find("VOID: this run counts for nothing").unwrap(),
        page.find("<figure>").unwrap(),
    );
    assert!(void < plots, "before any number");
    assert!(page.contains("the load generator was 400 ms late"));
}

#[test]
fn the_verdict_on_messages_is_true() {
    let good = Accounts {
        due: 10,
        received: 10,
        ..Accounts::default()
    };
    assert_eq!(verdict(&good), "Every message came, once, in order, as it was sent.");
    let lost = Accounts {
        received: 8,
        lost: 2,
        duplicated: 1,
        ..good
    };
    assert_eq!(verdict(&lost), "NOT IN ORDER: 1 duplicated, 2 lost.");
    let gone = Accounts {
        received: 7,
        unaccountable: 3,
        ..good
    };
    assert!(verdict(&gone).contains("3 were due to connections that ended, or were not taken by the API"));
    let wrong = Accounts { received: 9, ..good };
    assert!(verdict(&wrong).contains("THE ACCOUNTS DO NOT ADD UP: 10 due, 9 accounted for"));
    let table = summary(&Run {
        accounts: lost,
        ..Run::default()
    });
    assert!(table.contains("<-- never came"), "{table}");
}

#[test]
fn a_server_that_failed_is_named_though_the_accounts_are_clean() {
    let mut run = made(1, QUIET);
    assert!(!run.has_faults() && !summary(&run).contains("FAILED") && !html(&run).contains("server failed"));
    for (kind, said) in [
        ("push_status_401", "3 pushes were not taken"),
        ("push_not_sent", "3 pushes were not taken"),
        ("bus_lost", "3 pushes were not taken"),
        ("call_status_404", "3 calls were refused"),
        ("call_without_client", "3 messages had no client"),
        ("server_ended", "the server ended"),
    ] {
        run.errors = [(kind.to_owned(), 3)].into();
        assert!(
            run.has_faults() && summary(&run).contains(said) && html(&run).contains(said),
            "{kind}"
        );
    }
    run.errors = [("connection_lost".to_owned(), 3)].into();
    assert!(!run.has_faults(), "who comes back is accounted for");
    for figure in ["connections_missing_at_end", "storm_missing"] {
        run.figures = [(figure.to_owned(), 2.0)].into();
        assert!(run.has_faults(), "{figure}");
    }
}
