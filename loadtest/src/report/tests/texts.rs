//! Numbers as people read them, the live line, and the file.

use super::super::plot::Axis;
use super::super::{FORMAT, json, progress, text};
use super::{QUIET, made};
use crate::result::{Run, Sample};

#[test]
fn numbers_and_times_read_well() {
    assert_eq!(
        [0, 999, 1_000, 1_234_567].map(text::group),
        ["0", "999", "1,000", "1,234,567"]
    );
    let numbers = [0.0, 0.5, 2.0, 3.25, 12.34, 88_000.4, 0.0034, 1e-6, -1_500.0, f64::NAN].map(text::number);
    assert_eq!(
        numbers,
        [
            "0",
            "0.500",
            "2",
            "3.25",
            "12.3",
            "88,000",
            "0.0034",
            "1.00e-6",
            "-1,500",
            "not measured"
        ]
    );
    assert_eq!(
        [0.0, 512.0, 1536.0, 5e9].map(text::bytes),
        ["0 B", "512 B", "1.5 KiB", "4.66 GiB"]
    );
    let delays = [1.0, 850.0, 1_500.0, 12_345.0, 2_000_000.0].map(text::delay);
    assert_eq!(delays, ["1 µs", "850 µs", "1.5 ms", "12.3 ms", "2 s"]);
    assert_eq!(
        [850, 12_300, 125_000, 11_000_000].map(text::span),
        ["850 ms", "12.3 s", "2 min 5 s", "3 h 3 min"]
    );
    assert_eq!([0, 65_000, 7_384_000].map(text::clock), ["00:00", "01:05", "2:03:04"]);
}

#[test]
fn dates_are_right() {
    assert_eq!(text::utc(0), "1970-01-01 00:00:00 UTC");
    assert_eq!(text::utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
    assert_eq!(text::utc(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
    assert_eq!(text::utc(1_735_689_599_000), "2024-12-31 23:59:59 UTC");
}

#[test]
fn a_command_can_be_pasted() {
    let words = ["longwire-load", "push", "--note", "it's two words", ""].map(String::from);
    assert_eq!(
        text::command(&words),
        "longwire-load push --note 'it'\\''s two words' ''"
    );
}

#[test]
fn percentiles_have_as_many_nines_as_they_need() {
    let labels = [1.0, 2.0, 10.0, 100.0, 1_000.0, 10_000.0, 1e6].map(|x| Axis::Nines.label(x));
    assert_eq!(
        labels,
        ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.9999 %"]
    );
}

#[test]
fn the_live_line_tells_what_matters() {
    let sample = Sample {
        at_ms: 65_000,
        connections: 10_000,
        received: 5_000,
        p50_us: 210,
        p99_us: 1_400,
        ..Sample::default()
    };
    let line = progress::line("pushing", &sample, 3);
    assert_eq!(
        line,
        "01:05  pushing  10,000 connections  5,000 received/s  p50 210 µs  p99 1.4 ms  3 errors"
    );
    let late = progress::line(
        "pu\u{1b}[2Jsh\nng",
        &Sample {
            load_lag_ms: 45,
            ..sample
        },
        3,
    );
    assert!(late.ends_with("(load generator late by 45 ms)"), "{late}");
    assert!(!late.contains('\u{1b}') && !late.contains('\n'), "{late}");
}

#[test]
fn a_run_comes_back_from_its_file() {
    let directory = std::env::temp_dir().join(format!("longwire-load-report-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("run.json");
    let mut run = made(1, QUIET);
    run.format = 0;
    run.figures.insert("nothing_measured".into(), f64::NAN);
    run.samples[0].server_cpu_cores = Some(f64::NAN);
    run.samples[1].load_cpu_cores = f64::INFINITY;
    json::write(&path, &run).unwrap();
    let back = json::read(&path).unwrap();
    assert_eq!(back.format, FORMAT);
    assert!(!back.figures.contains_key("nothing_measured"));
    assert_eq!(back.samples[0].server_cpu_cores, None);
    assert_eq!((back.samples.len(), back.accounts), (run.samples.len(), run.accounts));
    assert_eq!(back.delays["push"].histogram, run.delays["push"].histogram);
    assert_eq!(
        std::fs::read_dir(&directory).unwrap().count(),
        1,
        "nothing is left beside the file"
    );
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn other_files_are_refused_with_what_to_do() {
    let other = json::from_text("{\"format\": 7, \"who\": \"knows\"}", "old.json").unwrap_err();
    assert!(
        other.contains("old.json has format 7") && other.contains("run the scenario again"),
        "{other}"
    );
    assert!(json::from_text("{}", "x").unwrap_err().contains("says no format"));
    assert!(
        json::from_text("no json", "x")
            .unwrap_err()
            .contains("is not a run's JSON file")
    );
    assert!(
        json::from_text(&format!("{{\"format\": {FORMAT}}}"), "x")
            .unwrap_err()
            .contains("damaged")
    );
    let missing = json::read(std::path::Path::new("/nowhere/run.json")).unwrap_err();
    assert!(missing.contains("/nowhere/run.json cannot be read"), "{missing}");
    let unwritable = json::write(std::path::Path::new("/nowhere/run.json"), &Run::default()).unwrap_err();
    assert!(unwritable.contains("cannot be written"), "{unwritable}");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_the_run() {
    let place = std::env::temp_dir().join(format!("longwire-load-place-{}", std::process::id()));
    std::fs::create_dir(&place).unwrap();
    assert_eq!(json::can_write(&place.join("run.json")), Ok(()));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "it leaves nothing");
    assert!(json::can_write(&place).is_err(), "a directory");
    std::fs::remove_dir(&place).unwrap();
    assert!(json::can_write(&place.join("run.json")).is_err(), "in no directory");
}
