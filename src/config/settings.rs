//! `Settings`: the checked configuration that the rest of longwire reads. Plain data, units in the names, every path
//! already read into memory. Made by `config::load`; never changed afterwards (a reload makes a new one).

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything longwire can be told, checked. See `docs/configuration.md` for what each key means.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[auth]`
    pub auth: Auth,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
    /// `[nats]`
    pub nats: Nats,
    /// `[api]`
    pub api: Api,
    /// `[log]`
    pub log: Log,
    /// Which files secrets were read from, so that they can be shown instead of them.
    pub files: Files,
}

/// The files whose contents became settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `secret_file` or `public_key_file` of each of `auth.keys`, by index; `None`: written in the config itself.
    pub keys: Vec<Option<PathBuf>>,
    /// `auth.jwks_file`.
    pub jwks: Option<PathBuf>,
    /// `api.keys_file`.
    pub api_keys: Option<PathBuf>,
    /// How many of `api.keys`, the first ones, were written in the config itself.
    pub api_keys_inline: usize,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address; port 0 lets the kernel choose (tests).
    Tcp(SocketAddr),
    /// A Unix stream socket, written `unix:/path`.
    Unix(PathBuf),
}

/// A source that may name the client in `X-Forwarded-For`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// An address range (`10.0.0.0/8`, `::1/128`); a lone address is a range of one.
    Range {
        /// The range's base address; an IPv4-mapped IPv6 address is stored as IPv4.
        base: std::net::IpAddr,
        /// Leading bits that must agree.
        prefix_bits: u8,
    },
    /// Whoever connects over a Unix socket.
    Unix,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// WebSocket listeners, at least one.
    pub listen: Vec<ListenAddress>,
    /// This node's name.
    pub node: String,
    /// Reactor threads; already resolved, at least 1.
    pub reactors: usize,
    /// Allowed `Origin` values; empty: any.
    pub origins: Vec<String>,
    /// Who may name the client in `X-Forwarded-For`.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Connections this node takes; 0: what the descriptor limit allows, less a reserve.
    pub connections_max: usize,
    /// One descriptor table a reactor instead of one for the process.
    pub descriptor_table_per_reactor: bool,
    /// Whether each reactor stays on a core of its own, where there are as many cores.
    pub pin_reactors: bool,
}

/// A signature algorithm a key may be used with, one a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a key verifies with.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// An HMAC secret, at least as long as the hash.
    Secret(Vec<u8>),
    /// A public key in PEM (SubjectPublicKeyInfo), file already read.
    PublicKeyPem(Vec<u8>),
}

impl std::fmt::Debug for KeyMaterial {
    /// Never shows a secret: settings are logged and printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(bytes) => write!(f, "Secret(<{} bytes>)", bytes.len()),
            Self::PublicKeyPem(bytes) => write!(f, "PublicKeyPem(<{} bytes>)", bytes.len()),
        }
    }
}

/// One of `[[auth.keys]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySettings {
    /// Matched with a token's `kid` where both are there; empty: none.
    pub id: String,
    /// The one algorithm this key verifies.
    pub algorithm: Algorithm,
    /// Its secret or public key.
    pub material: KeyMaterial,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// The claim that names the user.
    pub user_claim: String,
    /// Clock skew that is forgiven, in milliseconds.
    pub leeway_ms: u64,
    /// Whether a token must have `exp`.
    pub require_exp: bool,
    /// The `iss` a token must have; `None`: not checked.
    pub issuer: Option<String>,
    /// The audiences of which a token must name one; empty: not checked.
    pub audience: Vec<String>,
    /// Path patterns of a token without the claim `paths`.
    pub default_paths: Vec<String>,
    /// Topic patterns of a token without the claim `topics`.
    pub default_topics: Vec<String>,
    /// Configured keys.
    pub keys: Vec<KeySettings>,
    /// The text of `jwks_file`, where one is set.
    pub jwks: Option<String>,
}

/// What happens to a login past `sessions.per_user_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The newcomer is refused.
    Reject,
    /// The user's oldest connection is closed.
    ReplaceOldest,
}

/// `[sessions]`
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Connections a user may have; 0: no limit.
    pub per_user_max: usize,
    /// What happens past it.
    pub when_full: WhenFull,
    /// Whether a device's earlier connection is closed by its next.
    pub one_per_device: bool,
}

/// `[timeouts]`, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub handshake_ms: u64,
    pub connect_ms: u64,
    pub ping_ms: u64,
    pub pong_ms: u64,
    pub call_ms: u64,
    pub drain_ms: u64,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// One message from a client, all its fragments together.
    pub message_bytes: usize,
    /// One push, or one reply of a service.
    pub push_bytes: usize,
    /// Queued for one connection.
    pub outbound_bytes: usize,
    /// Queued in the node; already resolved (0 in the file: a quarter of the memory).
    pub outbound_total_bytes: usize,
    /// From one connection; 0: no limit.
    pub messages_per_second: u32,
    /// Logins a second that the node promises to nodes that drain; 0: so many for each reactor.
    pub logins_per_second: u32,
    /// From one client address; 0: no limit.
    pub connections_per_ip: usize,
    /// Topics a connection may subscribe.
    pub topics_per_connection: usize,
    /// The flight recorder's memory; 0: it is off.
    pub history_bytes: usize,
}

/// `[nats]`
#[derive(Clone, PartialEq)]
pub struct Nats {
    /// Servers; empty: one node on its own.
    pub url: Vec<String>,
    /// First segments of every subject.
    pub prefix: String,
    /// A `.creds` file.
    pub credentials_file: Option<PathBuf>,
    /// User name, with `password`.
    pub user: Option<String>,
    /// Password, with `user`.
    pub password: Option<String>,
    /// A token instead of both.
    pub token: Option<String>,
    /// Extra CA certificates (PEM).
    pub tls_ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Nats {
    /// Never shows the password or the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("url", &self.url)
            .field("prefix", &self.prefix)
            .field("credentials_file", &self.credentials_file)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "<set>"))
            .field("token", &self.token.as_ref().map(|_| "<set>"))
            .field("tls_ca_file", &self.tls_ca_file)
            .finish()
    }
}

/// `[api]`
#[derive(Clone, PartialEq)]
pub struct Api {
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// Bearer keys (from `keys` and `keys_file`); empty only on a loopback address.
    pub keys: Vec<String>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api {{ listen: {}, keys: <{}> }}", self.listen, self.keys.len())
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
    Journald,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A level or an `env-filter` directive list.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}
