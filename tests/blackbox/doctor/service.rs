//! What systemd, or the process that runs, gives the node.

use super::{CONFIG, Host, KEY, row};
use crate::support::Value;

#[test]
fn descriptors_are_those_that_systemd_would_give() {
    let short = |host: Host, value: u64, from: &str| {
        let row = host.falls_short("descriptors");
        assert_eq!(row["value"], value);
        assert!(row["note"].as_str().unwrap().contains(from), "{row:#}");
        assert!(row["mend"].as_str().unwrap().contains("LimitNOFILE=1048576"), "{row:#}");
    };
    const UNIT: &str = "/usr/lib/systemd/system/longwire.service";
    const DROP_INS: &str = "/etc/systemd/system/longwire.service.d";
    let limit = |limit: &str| format!("[Service]\nLimitNOFILE={limit}\n");
    short(Host::fine().with(UNIT, limit("4096")), 4096, UNIT);
    short(
        Host::fine().with(&format!("{DROP_INS}/a.conf"), limit("1024:8192")),
        8192,
        "a.conf",
    );
    // The last one counts, and what is only called like a drop-in is none.
    let host = Host::fine()
        .with(&format!("{DROP_INS}/a.conf"), limit("infinity"))
        .with(&format!("{DROP_INS}/b.conf"), limit("1000"))
        .with(&format!("{DROP_INS}/c.conf.bak"), limit("2000"));
    short(host, 1000, "b.conf");
    // A unit in /etc takes the place of the package's; one that says nothing has systemd's default.
    let host = Host::fine().with("/etc/systemd/system/longwire.service", "[Service]\nExecStart=/x\n");
    assert_eq!(host.is("descriptors", "ok")["value"], 524_288);
    short(
        host.with("/etc/systemd/system.conf", "[Manager]\nDefaultLimitNOFILE=1024:4096\n"),
        4096,
        "DefaultLimitNOFILE",
    );
    // Never more than the kernel gives.
    let (_, report) = Host::fine().with("/proc/sys/fs/nr_open", "65536").report(&[]);
    assert_eq!(row(&report, "descriptors")["value"], 65_536);
    assert_eq!(row(&report, "nr_open")["verdict"], "short");
}

#[test]
fn without_a_unit_it_is_the_process_that_runs_or_this_shell() {
    const LIMITS: &str = "Max open files            1024                 5000                 files\n";
    let host = Host::fine()
        .without("/usr/lib/systemd/system/longwire.service")
        .with("/proc/self/limits", LIMITS);
    let row = host.falls_short("descriptors");
    assert!(row["note"].as_str().unwrap().contains("this shell"), "{row:#}");
    assert!(row["mend"].as_str().unwrap().contains("limits.d"), "{row:#}");

    let running = |host: Host, limits: &str, group: &str| {
        host.with("/proc/812/comm", "longwire\n")
            .with("/proc/812/cmdline", "longwire\0serve\0")
            .with("/proc/812/limits", limits)
            .with("/proc/812/cgroup", group)
            .with("/proc/900/comm", "longwire\n")
            .with("/proc/900/cmdline", "longwire\0doctor\0")
    };
    let row = running(host, &LIMITS.replace("5000", "6000"), "0::/user.slice\n").falls_short("descriptors");
    assert_eq!(row["value"], 6000);
    assert!(row["note"].as_str().unwrap().contains("pid 812"), "{row:#}");

    // With a unit both are said: what it would be given, and what the process was started with.
    let row = running(Host::fine(), LIMITS, "0::/system.slice/longwire.service\n").falls_short("descriptors_now");
    assert_eq!(row["value"], 5000);
    assert!(
        row["mend"].as_str().unwrap().contains("systemctl restart longwire"),
        "{row:#}"
    );
    // Another longwire is nothing of the unit's.
    let (code, report) = running(Host::fine(), LIMITS, "0::/user.slice\n").report(&[]);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn of_several_that_run_it_says_which_one_and_takes_the_one_that_is_named() {
    let limits = |hard: u64| format!("Max open files            1024                 {hard}                 files\n");
    let mut host = Host::fine().without("/usr/lib/systemd/system/longwire.service");
    for (pid, hard) in [(90, 5_000), (812, 6_000)] {
        host = host
            .with(&format!("/proc/{pid}/comm"), "longwire\n")
            .with(&format!("/proc/{pid}/cmdline"), "longwire\0--config\0x.toml\0")
            .with(&format!("/proc/{pid}/limits"), limits(hard))
            .with(&format!("/proc/{pid}/cgroup"), "0::/user.slice\n");
    }
    let descriptors = |host: &Host, arguments: &[&str]| row(&host.report(arguments).1, "descriptors");
    let said = |row: &Value, words: &str| assert!(row["note"].as_str().unwrap().contains(words), "{row:#}");
    let first = descriptors(&host, &[]);
    assert_eq!(first["value"], 5_000);
    said(&first, "pid 90, the first of 2 that run now (--pid says which)");
    let named = descriptors(&host, &["--pid", "812"]);
    assert_eq!(named["value"], 6_000);
    said(&named, "pid 812, which runs now");
    said(&row(&host.report(&["--pid", "812"]).1, "memory"), "pid 812");

    // One that systemd has not started has nothing of the unit's.
    let host = host.with(
        "/usr/lib/systemd/system/longwire.service",
        "[Service]\nLimitNOFILE=1048576\n",
    );
    assert_eq!(descriptors(&host, &[])["value"], 1_048_576);
    assert_eq!(descriptors(&host, &["--pid", "812"])["value"], 6_000);

    for pid in ["1", "813"] {
        let (code, stdout, stderr) = host.doctor(&["--pid", pid]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(
            stderr.contains(&format!("--pid {pid}: no longwire serves there")),
            "{stderr}"
        );
    }
}

#[test]
fn a_table_for_each_reactor_multiplies_the_limit() {
    let config = |more: &str| format!("[server]\nreactors = 4\nconnections_max = 100000\n{more}\n{KEY}");
    let limit = "[Service]\nLimitNOFILE=40000\n";
    let host = Host::fine().with("/usr/lib/systemd/system/longwire.service", limit);
    let host = host.with(CONFIG, config(""));
    assert_eq!(host.falls_short("descriptors")["holds"], 39_616);
    let row = host
        .with(CONFIG, config("descriptor_table_per_reactor = true"))
        .is("descriptors", "ok");
    assert_eq!((&row["holds"], &row["need"]), (&(4 * 39_616).into(), &25_384.into()));
}

#[test]
fn quotas_and_memory_limits_count() {
    const DROP_IN: &str = "/etc/systemd/system/longwire.service.d/limits.conf";
    let row = Host::fine()
        .with(DROP_IN, "[Service]\nMemoryMax=500M\n")
        .falls_short("memory");
    assert_eq!(row["value"], 500 << 20);
    assert!(row["mend"].as_str().unwrap().contains("MemoryMax="), "{row:#}");
    let row = Host::fine()
        .with(DROP_IN, "[Service]\nCPUQuota=150%\n")
        .is("cores", "ok");
    assert_eq!(row["value"], 1.5);
    // A shell's own group counts where there is no unit.
    let host = Host::fine().without("/usr/lib/systemd/system/longwire.service");
    let host = host.with("/sys/fs/cgroup/user.slice/memory.max", "500000000\n");
    assert_eq!(host.falls_short("memory")["value"], 500_000_000);
}

#[test]
fn a_socket_unit_is_one_queue_for_all_reactors() {
    let config = format!("[server]\nlisten = [\"127.0.0.1:9040\"]\nreactors = 4\nconnections_max = 20000\n{KEY}");
    let host = Host::fine()
        .with(CONFIG, config)
        .with("/proc/sys/net/core/somaxconn", "8192");
    assert_eq!(host.is("somaxconn", "ok")["need"], 5_000);
    let host = host.with("/etc/systemd/system/sockets.target.wants/longwire.socket", "");
    assert_eq!(host.falls_short("somaxconn")["need"], 20_000);
}
