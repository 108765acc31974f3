//! What of a host's nginx leads to this node: its workers, their limits, and the locations that pass to an address of
//! `server.listen`. `rows` compares it with what the connections need. Called by `run`.

mod parse;
mod rows;

use std::path::Path;

use super::root::Root;
use super::unit;
use crate::config::{ListenAddress, Settings};
use parse::{Directive, Place};
pub(super) use rows::rows;

/// nginx's own defaults (its documentation of ngx_core_module, ngx_http_proxy_module, ngx_stream_proxy_module).
const WORKER_CONNECTIONS: u64 = 512;
const HTTP_TIMEOUT_MS: u64 = 60_000;
const STREAM_TIMEOUT_MS: u64 = 600_000;

/// nginx, as far as it leads to this node.
pub(super) struct Proxy {
    /// The main file, of which the others are included.
    file: String,
    workers: u64,
    worker_connections: Setting,
    /// Descriptors of each worker.
    descriptors: Setting,
    routes: Vec<Route>,
}

/// A number, and where it is set.
#[derive(Clone)]
struct Setting {
    value: u64,
    /// None: a default.
    place: Option<Place>,
    /// Where it is from, in words.
    from: String,
}

/// A `proxy_pass` that leads here.
struct Route {
    place: Place,
    /// A relay of bytes, which has one time-out for both ways.
    is_stream: bool,
    read_timeout_ms: Setting,
    send_timeout_ms: Setting,
    targets: Vec<Target>,
}

/// An address that is passed to.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Tcp { host: String, port: u16 },
    Unix(String),
}

impl Proxy {
    /// Reads it; `None` where the file is not there or leads to no address of this node.
    pub fn find(root: &Root, file: &Path, settings: &Settings) -> Option<Self> {
        let tree = parse::read(root, file)?;
        let top = |name: &str| tree.iter().rfind(|directive| directive.name == name);
        let workers = top("worker_processes").and_then(|directive| match directive.arguments.first()?.as_str() {
            "auto" => super::cgroup::cores(root, "self"),
            number => number.parse().ok(),
        });
        let events = top("events").map_or(&[][..], |events| &events.block);
        let worker_connections = number_of(events, "worker_connections").unwrap_or_else(|| Setting {
            value: WORKER_CONNECTIONS,
            place: None,
            from: "nginx's default".into(),
        });
        let descriptors = number_of(&tree, "worker_rlimit_nofile").unwrap_or_else(|| {
            // nginx leaves the soft limit as it finds it.
            let unit = unit::service(root, "nginx.service").unwrap_or_default();
            let (limit, from) = unit.descriptors(root);
            Setting {
                value: limit.soft,
                place: None,
                from: format!("no worker_rlimit_nofile; {from}"),
            }
        });
        let mut walk = Walk {
            upstreams: Vec::new(),
            routes: Vec::new(),
        };
        walk.find_upstreams(&tree);
        walk.find_routes(&tree, &Inherited::default());
        let mut routes = walk.routes;
        for route in &mut routes {
            route.targets.retain(|target| target.is_ours(settings));
        }
        routes.retain(|route| !route.targets.is_empty());
        if routes.is_empty() {
            return None;
        }
        Some(Self {
            file: file.display().to_string(),
            workers: workers.unwrap_or(1).max(1),
            worker_connections,
            descriptors,
            routes,
        })
    }

    /// Whether it reaches this node over a Unix socket, which takes no ports.
    pub fn over_unix(&self) -> bool {
        self.targets().any(|target| matches!(target, Target::Unix(_)))
    }

    /// Addresses of this host on which it reaches this node, each of which has its own ports.
    fn tcp_addresses(&self) -> u64 {
        let mut addresses: Vec<(&str, u16)> = self
            .targets()
            .filter_map(|target| match target {
                Target::Tcp { host, port } => Some((host.as_str(), *port)),
                Target::Unix(_) => None,
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let is_here = |host: &str| host == "localhost" || host == "[::1]" || host.starts_with("127.");
        let here = addresses.iter().filter(|(host, _)| is_here(host)).count();
        // Other hosts of the same ports are other nodes, each with addresses of its own.
        let of_other = addresses.chunk_by(|one, other| one.0 == other.0).map(<[_]>::len).min();
        match here {
            0 => of_other.unwrap_or_default() as u64,
            here => here as u64,
        }
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.routes.iter().flat_map(|route| &route.targets)
    }
}

fn number_of(block: &[Directive], name: &str) -> Option<Setting> {
    let directive = block.iter().rfind(|directive| directive.name == name)?;
    Some(Setting {
        value: directive.arguments.first()?.parse().ok()?,
        place: Some(directive.place.clone()),
        from: format!("{name}, {}:{}", directive.place.file, directive.place.line),
    })
}

impl Target {
    /// `HOST:PORT`, `HOST`, or `unix:/PATH`, which in a URL ends at a colon. With variables nothing can be said.
    fn parse(text: &str) -> Option<Self> {
        if text.contains('$') {
            return None;
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.split(':').next().unwrap_or(path);
            return Some(Self::Unix(path.to_owned()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, 80),
        };
        Some(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }

    /// Whether it may be an address of this node: nodes of a cluster have the same ports.
    fn is_ours(&self, settings: &Settings) -> bool {
        settings.server.listen.iter().any(|listen| match (listen, self) {
            (ListenAddress::Tcp(address), Self::Tcp { port, .. }) => address.port() == *port && *port != 0,
            (ListenAddress::Unix(ours), Self::Unix(path)) => ours == Path::new(path),
            _ => false,
        })
    }
}

/// Settings that blocks hand down to those inside them.
#[derive(Clone, Default)]
struct Inherited {
    is_stream: bool,
    read_timeout_ms: Option<Setting>,
    send_timeout_ms: Option<Setting>,
    stream_timeout_ms: Option<Setting>,
}

struct Walk {
    upstreams: Vec<(String, Vec<Target>)>,
    routes: Vec<Route>,
}

impl Walk {
    fn find_upstreams(&mut self, block: &[Directive]) {
        for directive in block {
            if directive.name == "upstream" {
                let servers = directive.block.iter().filter(|inside| inside.name == "server");
                let targets = servers.filter_map(|server| Target::parse(server.arguments.first()?));
                let name = directive.arguments.first().cloned().unwrap_or_default();
                self.upstreams.push((name, targets.collect()));
            } else {
                self.find_upstreams(&directive.block);
            }
        }
    }

    fn find_routes(&mut self, block: &[Directive], outside: &Inherited) {
        let mut here = outside.clone();
        for (name, slot) in [
            ("proxy_read_timeout", &mut here.read_timeout_ms),
            ("proxy_send_timeout", &mut here.send_timeout_ms),
            ("proxy_timeout", &mut here.stream_timeout_ms),
        ] {
            if let Some(found) = time_of(block, name) {
                *slot = Some(found);
            }
        }
        for directive in block {
            match directive.name.as_str() {
                "upstream" => {}
                "proxy_pass" => self.routes.extend(self.route(directive, &here)),
                name => {
                    let mut inside = here.clone();
                    inside.is_stream |= name == "stream";
                    self.find_routes(&directive.block, &inside);
                }
            }
        }
    }

    fn route(&self, pass: &Directive, here: &Inherited) -> Option<Route> {
        let url = pass.arguments.first()?;
        let address = match url.split_once("://") {
            Some((_, rest)) if rest.starts_with("unix:") => rest,
            // What follows the address is a path.
            Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
            None => url,
        };
        let of_upstream = self.upstreams.iter().find(|(name, _)| name == address);
        let targets = match of_upstream {
            Some((_, targets)) => targets.clone(),
            None => vec![Target::parse(address)?],
        };
        let default_ms = if here.is_stream {
            STREAM_TIMEOUT_MS
        } else {
            HTTP_TIMEOUT_MS
        };
        let setting = |given: &Option<Setting>| {
            given.clone().unwrap_or_else(|| Setting {
                value: default_ms,
                place: None,
                from: "nginx's default".into(),
            })
        };
        let (read, send) = match here.is_stream {
            true => (&here.stream_timeout_ms, &here.stream_timeout_ms),
            false => (&here.read_timeout_ms, &here.send_timeout_ms),
        };
        Some(Route {
            place: pass.place.clone(),
            is_stream: here.is_stream,
            read_timeout_ms: setting(read),
            send_timeout_ms: setting(send),
            targets,
        })
    }
}

fn time_of(block: &[Directive], name: &str) -> Option<Setting> {
    let directive = block.iter().rfind(|directive| directive.name == name)?;
    Some(Setting {
        value: parse_time_ms(directive.arguments.first()?)?,
        place: Some(directive.place.clone()),
        from: format!("{name}, {}:{}", directive.place.file, directive.place.line),
    })
}

/// nginx's times: `90` and `90s`, `500ms`, `1h 30m`; a year is 365 days and a month 30.
fn parse_time_ms(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("ms", 1),
        ("s", 1_000),
        ("", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("M", 2_592_000_000),
        ("y", 31_536_000_000),
    ];
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let after_number = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let number: u64 = rest[..rest.len() - after_number.len()].parse().ok()?;
        let after_unit = after_number.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = &after_number[..after_number.len() - after_unit.len()];
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(number.checked_mul(*unit_ms)?)?;
        rest = after_unit.trim_start();
    }
    Some(total_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nginx_s() {
        for (text, ms) in [
            ("90", Some(90_000)),
            ("90s", Some(90_000)),
            ("500ms", Some(500)),
            ("1h 30m", Some(5_400_000)),
            ("1d12h", Some(129_600_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1x", None),
            ("99999999999999999999y", None),
            ("9999999999999y", None),
        ] {
            assert_eq!(parse_time_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn targets_are_addresses_or_unix_sockets() {
        let tcp = |host: &str, port| {
            Some(Target::Tcp {
                host: host.into(),
                port,
            })
        };
        for (text, expected) in [
            ("127.0.0.1:9040", tcp("127.0.0.1", 9040)),
            ("[::1]:9040", tcp("[::1]", 9040)),
            ("node-1", tcp("node-1", 80)),
            ("unix:/run/a.sock", Some(Target::Unix("/run/a.sock".into()))),
            ("unix:/run/a.sock:/ws", Some(Target::Unix("/run/a.sock".into()))),
            ("$backend", None),
            ("a:b", None),
        ] {
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }
}
