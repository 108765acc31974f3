//! The way to the node through nginx.

use super::{Host, SITE, rows};

#[test]
fn nginx_is_looked_at_where_it_leads_here() {
    let site = |address: &str, more: &str| {
        format!("server {{ location /ws {{\n proxy_pass http://{address};\n {more}\n }} }}")
    };
    // Ports: one address of TCP has 28,232, and a Unix socket needs none.
    let row = Host::fine().with(SITE, site("127.0.0.1:9040", "")).falls_short("ports");
    assert_eq!((&row["value"], &row["holds"]), (&28_232.into(), &28_232.into()));
    assert!(
        row["mend"].as_str().unwrap().contains("unix:/run/longwire/ws.sock"),
        "{row:#}"
    );
    let upstream = (1..=4).map(|n| format!("server 127.0.0.{n}:9040;")).collect::<String>();
    let row = Host::fine()
        .with(SITE, format!("upstream lw {{ {upstream} }} {}", site("lw", "")))
        .is("ports", "ok");
    assert_eq!(row["value"], 4 * 28_232);

    // Workers.
    let main = |workers: &str| format!("{workers}\nhttp {{ include conf.d/*.conf; }}\n");
    let row = Host::fine()
        .with(
            "/etc/nginx/nginx.conf",
            main("worker_processes auto;\nworker_rlimit_nofile 131072;\nevents {\n worker_connections 768;\n}"),
        )
        .falls_short("nginx_worker_connections");
    assert_eq!((&row["value"], &row["need"]), (&(4 * 768).into(), &200_000.into()));
    assert!(
        row["mend"].as_str().unwrap().contains("4s/worker_connections"),
        "the line of the directive: {row:#}"
    );
    let row = Host::fine()
        .with(
            "/etc/nginx/nginx.conf",
            main("worker_processes 4; events { worker_connections 65536; }"),
        )
        .falls_short("nginx_descriptors");
    assert_eq!(row["value"], 1024, "systemd's default, which nginx leaves as it is");

    // Time-outs, its own or those of the blocks around.
    let row = Host::fine()
        .with(SITE, site("unix:/run/longwire/ws.sock:/ws", "proxy_read_timeout 30s;"))
        .falls_short("nginx_proxy_read_timeout");
    assert_eq!(
        (&row["value"], &row["need"], &row["unit"]),
        (&30_000.into(), &35_000.into(), &"ms".into())
    );
    let outside = format!("proxy_send_timeout 500ms;\n{}", site("unix:/run/longwire/ws.sock", ""));
    Host::fine().with(SITE, outside).falls_short("nginx_proxy_send_timeout");

    // It leads elsewhere, or is not there.
    for host in [
        Host::fine().with(SITE, site("127.0.0.1:8080", "proxy_read_timeout 1s;")),
        Host::fine().without("/etc/nginx"),
    ] {
        let (code, report) = host.report(&[]);
        assert_eq!(code, 0, "{report:#}");
        assert!(
            rows(&report)
                .iter()
                .all(|row| !row["name"].as_str().unwrap().starts_with("nginx"))
        );
    }
    // Another main file.
    let host = Host::fine().without("/etc/nginx/nginx.conf").with(
        "/opt/nginx/n.conf",
        format!("http {{ {} }}", site("127.0.0.1:9040", "")),
    );
    let (code, report) = host.report(&["--nginx", "/opt/nginx/n.conf"]);
    let ports = rows(&report).iter().find(|row| row["name"] == "ports").unwrap();
    assert_eq!((code, &ports["verdict"]), (1, &"short".into()));
    let (code, _, stderr) = host.doctor(&["--nginx", "/nowhere"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("/nowhere"), "{stderr}");
}
