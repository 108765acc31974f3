//! `longwire doctor`: what this host allows against what so many connections need. `root` is where it reads, `report` what
//! it says; `service`, `cgroup` and `unit` know what systemd gives the node; the other files make rows, one file for each
//! thing that is read. Changes nothing, and asks nobody but the NATS servers and `timedatectl`.

mod cgroup;
mod descriptors;
mod host;
mod nats;
mod network;
mod nginx;
mod report;
mod root;
mod service;
mod sysctl;
mod unit;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::flags::{DoctorFlags, SourceFlags};
use super::{Failure, configuration, say};
use crate::config::{self, Settings};
use report::{Amount, Report, Row, Verdict};
use root::Root;
use service::Service;

/// Where nginx's main file is, unless a flag says so.
const NGINX: &str = "/etc/nginx/nginx.conf";
/// The configuration of an installed longwire.
const INSTALLED: &str = "/etc/longwire/longwire.toml";
/// For how many connections a host is looked at, if neither a flag nor the configuration says so.
const CONNECTIONS: u64 = 10_000;

/// What the readers of rows look at.
struct Looked<'a> {
    root: &'a Root,
    settings: &'a Settings,
    service: &'a Service,
    /// nginx on this host, if it leads here.
    proxy: Option<nginx::Proxy>,
    connections: u64,
}

/// Prints the report; the exit code is 1 if anything falls short.
pub fn run(sources: &SourceFlags, flags: &DoctorFlags) -> Result<u8, Failure> {
    let root = Root::new(flags.root.clone());
    let service = Service::find(&root, flags.pid).map_err(Failure::Usage)?;
    let (settings, config_row) = configured(&root, &service, sources)?;
    let given = flags.nginx.as_ref();
    let nginx_file = match given.map(std::path::absolute).transpose().map_err(Failure::failed)? {
        Some(file) if !root.exists(&file) => {
            let advice = "name nginx's main file";
            return Err(Failure::Usage(format!(
                "--nginx {}: there is no such file; {advice}",
                file.display()
            )));
        }
        Some(file) => file,
        None => PathBuf::from(NGINX),
    };
    let configured = match settings.server.connections_max {
        0 => CONNECTIONS,
        connections => connections as u64,
    };
    let connections = flags.connections.unwrap_or(configured);
    let looked = Looked {
        proxy: nginx::Proxy::find(&root, &nginx_file, &settings),
        root: &root,
        settings: &settings,
        service: &service,
        connections,
    };
    let mut rows = vec![config_row];
    rows.extend(connections_max(&looked));
    rows.extend(descriptors::rows(&looked));
    rows.extend(host::rows(&looked));
    rows.extend(network::rows(&looked));
    rows.extend(nginx::rows(&looked));
    rows.push(nats::row(&looked));
    let report = Report { connections, rows };
    say(&if flags.json { report.json() } else { report.text() })?;
    Ok(u8::from(report.falls_short()))
}

/// The settings, and what is to be said of them. Wrong ones are a row like any other: the rest is looked at for the
/// defaults.
fn configured(root: &Root, service: &Service, flags: &SourceFlags) -> Result<(Settings, Row), Failure> {
    let mut sources = configuration::sources(flags);
    // A file that the unit names or the package installs is the host's; one of a flag is the caller's.
    let of_host = || {
        let named = service.config_file();
        let installed = || root.exists(INSTALLED).then(|| PathBuf::from(INSTALLED));
        named.or_else(installed).map(|file| root.path(file))
    };
    sources.file = flags.config.clone().or_else(of_host);
    let secret = super::serve::random_secret()?;
    let shown = |file: &Path| match &flags.config {
        Some(file) => file.display().to_string(),
        None => root.shown(file),
    };
    let need = Amount::text("right");
    let Some(file) = sources.file.clone() else {
        sources.development_secret = Some(secret.clone());
        return Ok(match configuration::load(&sources) {
            Ok(checked) => {
                let note = "no configuration file: looked at with the defaults";
                let row = Row::new("config", Amount::text("none"), Amount::None, Verdict::Ok).note(note);
                (checked.loaded.settings, row)
            }
            Err(error) => (config::development(secret), wrong(need, error, "longwire check".into())),
        });
    };
    Ok(match configuration::load(&sources) {
        Ok(checked) => {
            let row = Row::new("config", need.clone(), need, Verdict::Ok).note(shown(&file));
            (checked.loaded.settings, row)
        }
        Err(error) => {
            let check = format!("longwire check --config {}", shown(&file));
            let row = match unreadable(&file, &error) {
                true => Row::unknown("config", need, format!("{error}; looked at with the defaults"))
                    .mend(|| "sudo longwire doctor   # as root, for it holds secrets".into()),
                false => wrong(need, error, check),
            };
            (config::development(secret), row)
        }
    })
}

fn wrong(need: Amount, error: String, check: String) -> Row {
    Row::new("config", Amount::text("wrong"), need, Verdict::Short)
        .note(format!(
            "{}; the rest is looked at with the defaults",
            error.replace('\n', "; ")
        ))
        .mend(|| format!("{check}   # says which lines to mend"))
}

/// Whether the caller may not read the file, or one that it names: it holds secrets, and nothing is wrong with it.
fn unreadable(file: &Path, error: &str) -> bool {
    File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        || error.contains("Permission denied")
}

/// A limit that the operator set.
fn connections_max(looked: &Looked<'_>) -> Option<Row> {
    let value = looked.settings.server.connections_max as u64;
    if value == 0 {
        return None;
    }
    Some(
        Row::count("connections_max", value, looked.connections)
            .note("server.connections_max")
            .holds(value)
            .mend(|| "# set server.connections_max higher, or to 0, in the configuration; then: sudo systemctl reload longwire".into()),
    )
}
