//! The commands that mend are run, and mend.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{CONFIG, Host, KEY, SITE, row};

/// Runs a mending command on that host: what it calls is replaced by the least that has its effect there.
fn mend(host: &Host, command: &str) {
    let root = host.0.path().to_str().unwrap();
    let bin = host.0.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(host.0.path().join("etc/sysctl.d")).unwrap();
    let sysctl = format!(
        "[ \"$1\" = -w ] && key=${{2%%=*}} && \
         printf '%s\\n' \"${{2#*=}}\" >{root}/proc/sys/$(echo \"$key\" | tr . /)"
    );
    for (name, script) in [
        ("sudo", "exec \"$@\""),
        ("nginx", "exit 0"),
        ("systemctl", "exit 0"),
        ("sysctl", sysctl.as_str()),
    ] {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let command = command.replace(" /etc/", &format!(" {root}/etc/"));
    let done = Command::new("sh")
        .args(["-ec", &command])
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{command}\n{done:?}");
}

#[test]
fn what_it_says_mends() {
    let location = |timeouts: &str| {
        format!("server {{\n location /ws {{\n  proxy_pass http://127.0.0.1:9040;\n{timeouts} }}\n}}\n")
    };
    let few = format!("server.reactors = 2\n{KEY}");
    let main = |lines: &str| format!("worker_processes 2;\n{lines}\nhttp {{\n include conf.d/*.conf;\n}}\n");
    let nginx = "/etc/nginx/nginx.conf";
    let host = || Host::fine().with(CONFIG, &few);
    for (name, connections, host) in [
        (
            "descriptors",
            10_000,
            host().with(
                "/etc/systemd/system/longwire.service.d/a.conf",
                "[Service]\nLimitNOFILE=99\n",
            ),
        ),
        (
            "memory",
            10_000,
            host().with(
                "/etc/systemd/system/longwire.service.d/m.conf",
                "[Service]\nMemoryMax=100M\n",
            ),
        ),
        ("file_max", 10_000, host().with("/proc/sys/fs/file-max", "9000")),
        ("nr_open", 2_000_000, host()),
        ("somaxconn", 10_000, host().with("/proc/sys/net/core/somaxconn", "128")),
        (
            "tcp_max_syn_backlog",
            10_000,
            host().with("/proc/sys/net/ipv4/tcp_syncookies", "0"),
        ),
        ("tcp_mem", 10_000, host().with("/proc/sys/net/ipv4/tcp_mem", "1 2 3")),
        (
            "conntrack",
            10_000,
            host().with("/proc/sys/net/netfilter/nf_conntrack_max", "100"),
        ),
        ("ports", 50_000, host().with(SITE, location(""))),
        (
            "nginx_worker_connections",
            10_000,
            host()
                .with(SITE, location(""))
                .with(nginx, main("events {\n  worker_connections 768;\n}")),
        ),
        (
            "nginx_worker_connections",
            10_000,
            host().with(SITE, location("")).with(nginx, main("events {\n}")),
        ),
        (
            "nginx_descriptors",
            10_000,
            host().with(SITE, location("")).with(nginx, main("events { }")),
        ),
        (
            "nginx_descriptors",
            10_000,
            host()
                .with(SITE, location(""))
                .with(nginx, main("worker_rlimit_nofile 1024;")),
        ),
        (
            "nginx_proxy_read_timeout",
            10,
            host().with(SITE, location("  proxy_read_timeout 5s;\n")),
        ),
        (
            "nginx_proxy_send_timeout",
            10,
            host().with(SITE, location("  proxy_send_timeout 5s;\n")),
        ),
        (
            "nginx_proxy_read_timeout",
            10,
            host()
                .with(SITE, location(""))
                .with(CONFIG, format!("timeouts.ping = \"2m\"\n{few}")),
        ),
    ] {
        let connections = connections.to_string();
        let report = || host.report(&["--connections", &connections]).1;
        let before = row(&report(), name);
        assert_eq!(before["verdict"], "short", "{before:#}");
        mend(&host, before["mend"].as_str().unwrap());
        let after = row(&report(), name);
        assert_eq!(after["verdict"], "ok", "{before:#}{after:#}");
    }
}
