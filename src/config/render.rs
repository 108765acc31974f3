//! `Settings` back to TOML, for `check`: every value as it is in force, every secret masked. Never reads a file.

use std::fmt::{Display, Write};
use std::path::Path;

use super::settings::*;
use super::{units, values};

const MASK: &str = "********";

impl Settings {
    /// The whole configuration as TOML, with every default written out and every secret as `********`. Loads again
    /// once the masks are filled in.
    pub fn render_masked(&self) -> String {
        let mut out = Toml::default();
        self.render_server(&mut out);
        self.render_auth(&mut out);
        self.render_limits(&mut out);
        self.render_outside(&mut out);
        out.text
    }

    fn render_server(&self, out: &mut Toml) {
        let server = &self.server;
        out.table("[server]");
        out.list("listen", server.listen.iter().map(ListenAddress::to_string));
        out.string("node", &server.node);
        out.plain("reactors", server.reactors);
        out.list("origins", &server.origins);
        out.list(
            "trusted_proxies",
            server.trusted_proxies.iter().map(TrustedProxy::to_string),
        );
        out.plain("connections_max", server.connections_max);
        out.plain("descriptor_table_per_reactor", server.descriptor_table_per_reactor);
        out.plain("pin_reactors", server.pin_reactors);
    }

    fn render_auth(&self, out: &mut Toml) {
        let auth = &self.auth;
        out.table("[auth]");
        out.string("user_claim", &auth.user_claim);
        out.duration("leeway", auth.leeway_ms);
        out.plain("require_exp", auth.require_exp);
        out.string("issuer", auth.issuer.as_deref().unwrap_or(""));
        match auth.audience.as_slice() {
            [] => out.string("audience", ""),
            [one] => out.string("audience", one),
            several => out.list("audience", several),
        }
        out.list("default_paths", &auth.default_paths);
        out.list("default_topics", &auth.default_topics);
        out.path("jwks_file", self.files.jwks.as_deref());
        for (index, key) in auth.keys.iter().enumerate() {
            out.table("[[auth.keys]]");
            out.string("id", &key.id);
            out.string("algorithm", values::word(key.algorithm, &values::ALGORITHMS));
            let file = self.files.keys.get(index).and_then(Option::as_deref);
            match (&key.material, file) {
                (KeyMaterial::Secret(_), None) => out.string("secret", MASK),
                (KeyMaterial::Secret(_), file) => out.path("secret_file", file),
                (KeyMaterial::PublicKeyPem(_), file) => out.path("public_key_file", file),
            }
        }
    }

    fn render_limits(&self, out: &mut Toml) {
        let Sessions {
            per_user_max,
            when_full,
            one_per_device,
        } = &self.sessions;
        out.table("[sessions]");
        out.plain("per_user_max", per_user_max);
        out.string("when_full", values::word(*when_full, &values::WHEN_FULL));
        out.plain("one_per_device", one_per_device);

        let timeouts = &self.timeouts;
        out.table("[timeouts]");
        out.duration("handshake", timeouts.handshake_ms);
        out.duration("connect", timeouts.connect_ms);
        out.duration("ping", timeouts.ping_ms);
        out.duration("pong", timeouts.pong_ms);
        out.duration("call", timeouts.call_ms);
        out.duration("drain", timeouts.drain_ms);

        let limits = &self.limits;
        out.table("[limits]");
        out.bytes("message_bytes", limits.message_bytes);
        out.bytes("push_bytes", limits.push_bytes);
        out.bytes("outbound_bytes", limits.outbound_bytes);
        out.bytes("outbound_total_bytes", limits.outbound_total_bytes);
        out.plain("messages_per_second", limits.messages_per_second);
        out.plain("logins_per_second", limits.logins_per_second);
        out.plain("connections_per_ip", limits.connections_per_ip);
        out.plain("topics_per_connection", limits.topics_per_connection);
        out.bytes("history_bytes", limits.history_bytes);
    }

    fn render_outside(&self, out: &mut Toml) {
        let mask_if = |given: &Option<String>| if given.is_some() { MASK } else { "" };
        let nats = &self.nats;
        out.table("[nats]");
        out.list("url", &nats.url);
        out.string("prefix", &nats.prefix);
        out.path("credentials_file", nats.credentials_file.as_deref());
        out.string("user", nats.user.as_deref().unwrap_or(""));
        out.string("password", mask_if(&nats.password));
        out.string("token", mask_if(&nats.token));
        out.path("tls_ca_file", nats.tls_ca_file.as_deref());

        out.table("[api]");
        out.string("listen", &self.api.listen.to_string());
        out.list(
            "keys",
            std::iter::repeat_n(MASK, self.files.api_keys_inline.min(self.api.keys.len())),
        );
        out.path("keys_file", self.files.api_keys.as_deref());

        out.table("[log]");
        out.string("level", &self.log.level);
        out.string("format", values::word(self.log.format, &values::LOG_FORMATS));
    }
}

/// TOML text as it grows.
#[derive(Default)]
struct Toml {
    text: String,
}

impl Toml {
    fn table(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(header);
        self.text.push('\n');
    }

    /// A value that is TOML as it is displayed.
    fn plain(&mut self, key: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn string(&mut self, key: &str, value: &str) {
        self.plain(key, quoted(value));
    }

    fn path(&mut self, key: &str, path: Option<&Path>) {
        self.string(key, &path.map(|path| path.display().to_string()).unwrap_or_default());
    }

    fn duration(&mut self, key: &str, duration_ms: u64) {
        self.string(key, &units::format_duration_ms(duration_ms));
    }

    fn bytes(&mut self, key: &str, bytes: usize) {
        let text = units::format_bytes(bytes as u64);
        if text.ends_with('B') {
            self.string(key, &text)
        } else {
            self.plain(key, text)
        }
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        let quoted: Vec<String> = values.into_iter().map(|value| quoted(value.as_ref())).collect();
        self.plain(key, format!("[{}]", quoted.join(", ")));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// As it is written in the config.
impl Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is written in the config.
impl Display for TrustedProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range { base, prefix_bits } => write!(f, "{base}/{prefix_bits}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}
