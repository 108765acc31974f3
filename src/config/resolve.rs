//! From the tree to `Settings`: every default and every bound stands here, with its reason, and so do the checks that
//! take more than one key. Called by `load`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::error::{Place, Report};
use super::section::{Bounds, ReadFile, Section, values_of};
use super::settings::*;
use super::tree::{Node, Table, Value};
use super::{auth, host, values};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
/// A queue has to take at least the gateway's own replies.
const LEAST_QUEUE_BYTES: u64 = 512;
/// Past what any machine holds.
const CONNECTIONS_MAX: u64 = 100_000_000;
/// Past what anybody keeps.
const HISTORY_BYTES_MAX: u64 = 64 * 1024 * MIB;

/// What resolving needs beside the tree.
pub(super) struct Context<'a> {
    /// Directory of the config file.
    pub base: Option<&'a Path>,
    /// How the files that the config names are read.
    pub read: ReadFile<'a>,
    /// See `Sources::development_secret`.
    pub development_secret: Option<&'a str>,
    /// Where a thing is missing that no line could be named for.
    pub nowhere: Place,
}

/// Settings, and where their keys were written.
pub(super) struct Resolved {
    pub settings: Settings,
    pub key_places: Vec<Place>,
    pub jwks_place: Place,
    pub development: bool,
}

/// Reads the whole tree. Where something is wrong the report says so, and the settings hold a default in its place.
pub(super) fn resolve(root: &Table, context: &Context<'_>, report: &mut Report) -> Resolved {
    let mut walk = Walk {
        root,
        context,
        report,
        files: Files::default(),
    };
    let server = walk.server();
    let auth::Found {
        auth,
        key_places,
        jwks_place,
        development,
        ..
    } = walk.auth();
    let sessions = walk.sessions();
    let timeouts = walk.timeouts();
    let limits = walk.limits();
    let nats = walk.nats();
    let api = walk.api(&server.listen);
    let log = walk.log();
    let files = walk.files;
    let settings = Settings {
        server,
        auth,
        sessions,
        timeouts,
        limits,
        nats,
        api,
        log,
        files,
    };
    Resolved {
        settings,
        key_places,
        jwks_place,
        development,
    }
}

struct Walk<'a> {
    root: &'a Table,
    context: &'a Context<'a>,
    report: &'a mut Report,
    files: Files,
}

impl<'a> Walk<'a> {
    fn section(&mut self, name: &str) -> Section<'a, '_> {
        let table = match self.root.entries.get(name) {
            Some(Node {
                value: Value::Table(table),
                ..
            }) => Some(table),
            _ => None,
        };
        Section::new(name, table, self.context.base, self.report)
    }

    fn server(&mut self) -> Server {
        let mut section = self.section("server");
        let mut listen: Vec<ListenAddress> = Vec::new();
        match section.list("listen", values::listen_address) {
            // Loopback: whoever opens the gateway to a network does so knowingly, in a file.
            None => listen.push(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 9040)))),
            Some(given) => {
                if matches!(section.get("listen"), Some(Node { value: Value::Array(items), .. }) if items.is_empty()) {
                    section.wrong(
                        "listen",
                        "is empty; write at least one address, such as \"127.0.0.1:9040\"",
                    );
                }
                for (address, place) in given {
                    let kernel_chooses = matches!(&address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
                    if listen.contains(&address) && !kernel_chooses {
                        section.problem(place, "listen", "has an address twice; keep one");
                    }
                    listen.push(address);
                }
            }
        }
        let trusted_proxies = match section.list("trusted_proxies", values::trusted_proxy) {
            Some(given) => values_of(given),
            // A proxy on this host.
            None => {
                let loopback = TrustedProxy::Range {
                    base: IpAddr::from([127, 0, 0, 0]),
                    prefix_bits: 8,
                };
                vec![loopback, TrustedProxy::Unix]
            }
        };
        let reactors = section.number("reactors", 0, Bounds::up_to(256));
        Server {
            listen,
            node: section
                .parsed("node", values::node_name)
                .unwrap_or_else(host::node_name),
            reactors: if reactors == 0 {
                host::cores()
            } else {
                to_usize(reactors)
            },
            origins: section
                .list("origins", values::origin)
                .map(values_of)
                .unwrap_or_default(),
            trusted_proxies,
            connections_max: to_usize(section.number("connections_max", 0, Bounds::up_to(CONNECTIONS_MAX))),
            descriptor_table_per_reactor: section.boolean("descriptor_table_per_reactor", false),
            pin_reactors: section.boolean("pin_reactors", true),
        }
    }

    fn auth(&mut self) -> auth::Found {
        let context = self.context;
        let header = self.root.entries.get("auth").map(|node| &node.place);
        let header = header.filter(|place| matches!(place, Place::Line(_)));
        let mut found = auth::read(&mut self.section("auth"), context, header);
        self.files.keys = std::mem::take(&mut found.key_files);
        self.files.jwks = found.jwks_file.take();
        found
    }

    fn sessions(&mut self) -> Sessions {
        let mut section = self.section("sessions");
        Sessions {
            per_user_max: to_usize(section.number("per_user_max", 0, Bounds::up_to(CONNECTIONS_MAX))),
            when_full: section
                .parsed("when_full", values::when_full)
                .unwrap_or(WhenFull::Reject),
            one_per_device: section.boolean("one_per_device", false),
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        let mut section = self.section("timeouts");
        let most_a_day = |too_little| Bounds::between(1, 24 * HOUR, too_little);
        Timeouts {
            handshake_ms: section.duration_ms(
                "handshake",
                10 * SECOND,
                most_a_day("no client could finish its handshake"),
            ),
            connect_ms: section.duration_ms("connect", 60 * SECOND, most_a_day("no client could log in")),
            ping_ms: section.duration_ms("ping", 25 * SECOND, most_a_day("pings would never pause")),
            pong_ms: section.duration_ms("pong", 10 * SECOND, most_a_day("no client could answer a ping")),
            call_ms: section.duration_ms("call", 5 * SECOND, most_a_day("no service could answer")),
            // 0s closes all at once.
            drain_ms: section.duration_ms("drain", 30 * SECOND, Bounds::up_to(24 * HOUR)),
        }
    }

    fn limits(&mut self) -> Limits {
        let mut section = self.section("limits");
        let message = section.bytes(
            "message_bytes",
            Bounds::between(128, 16 * MIB, "no connect with a token fits"),
        );
        let push = section.bytes("push_bytes", Bounds::between(64, 64 * MIB, "no push fits"));
        let outbound = section.bytes(
            "outbound_bytes",
            Bounds::between(LEAST_QUEUE_BYTES, 1024 * MIB, "no reply fits"),
        );
        let (push_default, outbound_default) = (256 << 10, MIB);
        // A push that no queue takes would cost every receiver its connection. Where only one of the two is given,
        // the other's default gives way.
        let (push, outbound) = match (push, outbound) {
            (Some(push), Some(outbound)) => {
                if push > outbound {
                    let message = "is more than limits.outbound_bytes, so that no queue takes such a push; lower it, \
                                   or raise that";
                    section.wrong("push_bytes", message);
                }
                (push, outbound)
            }
            (Some(push), None) => (push, outbound_default.max(push)),
            (None, Some(outbound)) => (push_default.min(outbound), outbound),
            (None, None) => (push_default, outbound_default),
        };
        let total = match section.bytes("outbound_total_bytes", Bounds::up_to(1 << 50)) {
            None | Some(0) => host::memory_bytes() / 4,
            Some(total) => total,
        };
        if total < LEAST_QUEUE_BYTES {
            section.wrong(
                "outbound_total_bytes",
                format!(
                    "is too little: no reply fits; write at least {LEAST_QUEUE_BYTES}, or 0 for a quarter of the memory"
                ),
            );
        }
        let history = section
            .bytes("history_bytes", Bounds::up_to(HISTORY_BYTES_MAX))
            .unwrap_or(64 * MIB);
        if (1..MIB).contains(&history) {
            let message = "is too little to be of use; write at least 1MiB, or 0 to record nothing";
            section.wrong("history_bytes", message);
        }
        let no_topics = "nobody could subscribe (auth.default_topics = [] says who may not)";
        Limits {
            message_bytes: to_usize(message.unwrap_or(64 << 10)),
            push_bytes: to_usize(push),
            outbound_bytes: to_usize(outbound),
            outbound_total_bytes: to_usize(total),
            messages_per_second: u32::try_from(section.number("messages_per_second", 0, Bounds::up_to(1_000_000)))
                .unwrap_or(u32::MAX),
            logins_per_second: u32::try_from(section.number("logins_per_second", 0, Bounds::up_to(1_000_000)))
                .unwrap_or(u32::MAX),
            connections_per_ip: to_usize(section.number("connections_per_ip", 0, Bounds::up_to(CONNECTIONS_MAX))),
            topics_per_connection: to_usize(section.number(
                "topics_per_connection",
                100,
                Bounds::between(1, 100_000, no_topics),
            )),
            history_bytes: to_usize(history),
        }
    }

    fn nats(&mut self) -> Nats {
        let read = self.context.read;
        let mut section = self.section("nats");
        let ways_in = [["credentials_file"; 2], ["user", "password"], ["token"; 2]];
        let ways_in: Vec<&str> = ways_in
            .iter()
            .filter_map(|keys| keys.iter().copied().find(|key| section.is_given(key)))
            .collect();
        if let [first, second, ..] = ways_in.as_slice() {
            section.wrong(
                second,
                format!("is given beside nats.{first}; keep the one way to log in that is meant"),
            );
        }
        for (one, other) in [("user", "password"), ("password", "user")] {
            if section.is_given(one) && !section.is_given(other) {
                section.wrong(one, format!("has no nats.{other} beside it; write both"));
            }
        }
        let tls_ca = section.file("tls_ca_file", read);
        if tls_ca.as_ref().is_some_and(|(_, contents)| !auth::holds_pem(contents)) {
            section.wrong("tls_ca_file", "is no PEM; write the CA's certificates as PEM into it");
        }
        Nats {
            url: section.list("url", values::nats_url).map(values_of).unwrap_or_default(),
            prefix: section
                .parsed("prefix", values::subject_prefix)
                .unwrap_or_else(|| "longwire".into()),
            // Both are read only to see that they can be: the NATS client reads them itself when it connects.
            credentials_file: section.file("credentials_file", read).map(|(path, _)| path),
            user: section.text_or_none("user"),
            password: section.text_or_none("password"),
            token: section.text_or_none("token"),
            tls_ca_file: tls_ca.map(|(path, _)| path),
        }
    }

    fn api(&mut self, websocket_listen: &[ListenAddress]) -> Api {
        let read = self.context.read;
        let websocket_place = self.section("server").place("listen");
        let mut section = self.section("api");
        let listen = section.parsed("listen", values::tcp_address);
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9041)));
        let mut keys: Vec<String> = Vec::new();
        for (key, _) in section.list("keys", values::api_key).unwrap_or_default() {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let inline = keys.len();
        let mut keys_path = None;
        if let Some((path, contents)) = section.file("keys_file", read) {
            match keys_in_file(&path, contents) {
                Ok(found) => keys.extend(found),
                Err(message) => section.wrong("keys_file", message),
            }
            keys_path = Some(path);
        }
        if listen.port() != 0 && websocket_listen.contains(&ListenAddress::Tcp(listen)) {
            let place = section.place("listen").or(websocket_place).unwrap_or(&Place::Whole);
            section.problem(
                place,
                "listen",
                "is one of server.listen too; give the API a port of its own, such as 9041",
            );
        }
        if keys.is_empty() && !listen.ip().to_canonical().is_loopback() {
            let advice = "write api.keys or api.keys_file, or listen on \"127.0.0.1:9041\"";
            section.wrong(
                "listen",
                format!("{listen} is open to the network, but there are no keys; {advice}"),
            );
        }
        self.files.api_keys = keys_path;
        self.files.api_keys_inline = inline;
        Api { listen, keys }
    }

    fn log(&mut self) -> Log {
        let mut section = self.section("log");
        Log {
            level: section
                .parsed("level", values::log_level)
                .unwrap_or_else(|| "info".into()),
            format: section.parsed("format", values::log_format).unwrap_or(LogFormat::Text),
        }
    }
}

/// The keys in an `api.keys_file`: one a line; blank lines, and what stands behind a `#`, are passed over.
fn keys_in_file(path: &Path, contents: Vec<u8>) -> Result<Vec<String>, String> {
    let text =
        String::from_utf8(contents).map_err(|_| format!("{} is no text; write one key a line", path.display()))?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // Inside a key a # is a letter like any other.
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let key = line[..comment.unwrap_or(line.len())].trim();
        if key.is_empty() {
            continue;
        }
        keys.push(values::api_key(key).map_err(|message| format!("{}:{} {message}", path.display(), index + 1))?);
    }
    if keys.is_empty() {
        return Err(format!("{} holds no key; write one a line", path.display()));
    }
    Ok(keys)
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
