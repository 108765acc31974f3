//! What a single text in the config may look like: addresses, ranges, origins, patterns, names, log levels. Pure
//! functions from text to value or to what is wrong and what to write instead. Called by `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::names::nearest;
use super::settings::{Algorithm, ListenAddress, LogFormat, TrustedProxy, WhenFull};

/// The longest path that fits into a Unix socket address, its closing zero byte apart (`man 7 unix`).
const UNIX_PATH_MAX_BYTES: usize = 107;

/// A `server.listen` entry.
pub(super) fn listen_address(text: &str) -> Result<ListenAddress, String> {
    let Some(path) = text.strip_prefix("unix:") else {
        return tcp_address(text).map(ListenAddress::Tcp);
    };
    if !path.starts_with('/') {
        return Err(format!(
            "{text:?} needs an absolute path, such as \"unix:/run/longwire/ws.sock\""
        ));
    }
    if path.ends_with('/') {
        return Err(format!(
            "{text:?} names a directory; name the socket in it, such as \"{text}ws.sock\""
        ));
    }
    if path.len() > UNIX_PATH_MAX_BYTES || path.contains('\0') {
        return Err(format!(
            "{text:?} is no path for a socket; at most {UNIX_PATH_MAX_BYTES} bytes fit"
        ));
    }
    Ok(ListenAddress::Unix(PathBuf::from(path)))
}

/// An IP address and a port.
pub(super) fn tcp_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(format!(
            "{text:?} has no port; write one after it, such as \"{}\"",
            SocketAddr::new(ip, 9040)
        ));
    }
    if let Ok(port) = text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("*:"))
        .unwrap_or(text)
        .parse::<u16>()
    {
        return Err(format!(
            "{text:?} has no address; write \"0.0.0.0:{port}\" for every network, \"127.0.0.1:{port}\" for this host"
        ));
    }
    if text.starts_with('/') {
        return Err(format!(
            "{text:?} is no address and port; a Unix socket is written \"unix:{text}\""
        ));
    }
    Err(format!(
        "{text:?} is no address and port; write an IP address (names are not looked up), such as \"0.0.0.0:9040\" \
         or \"[::]:9040\""
    ))
}

/// A `server.trusted_proxies` entry.
pub(super) fn trusted_proxy(text: &str) -> Result<TrustedProxy, String> {
    if text == "unix" {
        return Ok(TrustedProxy::Unix);
    }
    let wrong =
        || format!("{text:?} is no address range; write \"10.0.0.0/8\", \"fd00::/8\", a lone address or \"unix\"");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let written: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if written.is_ipv4() { 32 } else { 128 };
    let bits: u8 = match bits {
        Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
        None => width,
    };
    if bits > width {
        return Err(format!(
            "{text:?} has a prefix of {bits} bits, but the address has {width}"
        ));
    }
    let first = first_of_range(written, bits);
    if first != written {
        return Err(format!(
            "{text:?} has address bits behind its prefix; write \"{first}/{bits}\" or \"{written}\""
        ));
    }
    // Peers are compared in the short form, so the range must be in it as well; wider than the mapped block it is
    // a range of IPv6.
    match written.to_canonical() {
        base @ IpAddr::V4(_) if written.is_ipv6() && bits >= 96 => Ok(TrustedProxy::Range {
            base,
            prefix_bits: bits - 96,
        }),
        _ => Ok(TrustedProxy::Range {
            base: written,
            prefix_bits: bits,
        }),
    }
}

fn first_of_range(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::from((v4.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::from((v6.to_bits() & mask).to_be_bytes())
        }
    }
}

/// A `server.origins` entry: what a browser sends (RFC 6454, section 6.2), in lower case, or `null`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let like = "such as \"https://app.example.com\"";
    if text == "null" {
        return Ok(text.to_owned());
    }
    if text.contains('*') {
        return Err(format!(
            "{text:?} has a wildcard, which origins cannot have; list each, or leave the list empty for any"
        ));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(format!("{text:?} has no scheme; write it as browsers do, {like}"));
    };
    let plain_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !plain_scheme {
        return Err(format!("{text:?} has no scheme; write it as browsers do, {like}"));
    }
    if let Some(end) = authority.find(['/', '?', '#']) {
        let without = &text[..scheme.len() + 3 + end];
        return Err(format!(
            "{text:?} has something behind the host (a slash, a path); an origin ends there: write {without:?}"
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let plain_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let colons_bracketed = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || !colons_bracketed || !host.bytes().all(plain_host) {
        return Err(format!(
            "{text:?} has no plain host; write it as browsers do (other scripts in punycode, no user), {like}"
        ));
    }
    if let Some(port) = port {
        let number: u16 = port
            .parse()
            .map_err(|_| format!("{text:?} has no valid port; it is a number up to 65535"))?;
        let implied = (scheme.eq_ignore_ascii_case("http") && number == 80)
            || (scheme.eq_ignore_ascii_case("https") && number == 443);
        if implied || number.to_string() != port {
            return Err(format!(
                "{text:?} is not how browsers write it; leave the port out where it is the scheme's own, and zeros \
                 before it"
            ));
        }
    }
    Ok(text.to_ascii_lowercase())
}

/// An `auth.default_paths` entry: a path, or its beginning and `*`.
pub(super) fn path_pattern(text: &str) -> Result<String, String> {
    pattern(text, '/', "order/create", "order/*")
}

/// An `auth.default_topics` entry: a topic, or its beginning and `*`.
pub(super) fn topic_pattern(text: &str) -> Result<String, String> {
    pattern(text, '.', "room.42", "room.*")
}

fn pattern(text: &str, separator: char, exact_like: &str, prefix_like: &str) -> Result<String, String> {
    let like = format!("write one such as {exact_like:?}, or {prefix_like:?}, or \"*\" for all");
    if text.len() > 256 {
        return Err(format!(
            "a pattern of {} bytes matches nothing: 256 is the most",
            text.len()
        ));
    }
    let (fixed, is_prefix) = match text.strip_suffix('*') {
        Some(fixed) => (fixed, true),
        None => (text, false),
    };
    if fixed.contains('*') {
        return Err(format!(
            "{text:?} has a '*' before its end, where it would stand for itself; {like}"
        ));
    }
    if let Some(strange) = fixed
        .chars()
        .find(|letter| !is_name_letter(*letter) && *letter != separator)
    {
        return Err(format!(
            "{text:?} matches nothing, for {strange:?} cannot occur; {like}"
        ));
    }
    let mut segments = fixed.split(separator).peekable();
    while let Some(segment) = segments.next() {
        let may_be_open = is_prefix && segments.peek().is_none();
        if segment.is_empty() && !may_be_open {
            return Err(format!("{text:?} matches nothing, for no segment is empty; {like}"));
        }
    }
    Ok(text.to_owned())
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

/// `server.node`.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || !text.chars().all(|letter| is_name_letter(letter) || letter == '.') {
        return Err(format!(
            "{text:?} is no name for a node; write 1 to 64 of A-Z a-z 0-9 _ . -, such as \"ws-1\""
        ));
    }
    Ok(text.to_owned())
}

/// `auth.user_claim`.
pub(super) fn claim_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 {
        return Err("must name a claim, in 1 to 128 bytes, such as \"sub\"".into());
    }
    Ok(text.to_owned())
}

/// A `nats.url` entry. Passwords have keys of their own, because URLs are logged.
pub(super) fn nats_url(text: &str) -> Result<String, String> {
    let like = "such as \"nats://10.0.0.5:4222\" or \"tls://nats.example.com\"";
    let authority = match text.split_once("://") {
        Some(("nats" | "tls", authority)) => authority,
        Some((scheme, _)) => {
            return Err(format!(
                "the scheme {scheme:?} is not spoken; write nats:// or tls://, {like}"
            ));
        }
        None => text,
    };
    if authority.contains('@') {
        return Err(
            "has a user in the URL, which is logged; put it into nats.user and nats.password, or nats.token".into(),
        );
    }
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let plain_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain_host),
    };
    if !is_host || port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(format!("{text:?} is no server's URL; write one {like}"));
    }
    Ok(text.to_owned())
}

/// `nats.prefix`.
pub(super) fn subject_prefix(text: &str) -> Result<String, String> {
    if text.len() > 128
        || text
            .split('.')
            .any(|segment| segment.is_empty() || !segment.chars().all(is_name_letter))
    {
        return Err(format!(
            "{text:?} cannot begin a subject; write segments of A-Z a-z 0-9 _ - joined by dots, such as \"longwire\""
        ));
    }
    Ok(text.to_owned())
}

/// One of `api.keys`, from the config or a file. Never repeats the key.
pub(super) fn api_key(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "holds a key that no HTTP header can carry; a key is visible ASCII without spaces (make one with: \
                    openssl rand -hex 32)"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// `log.level`: a level, or a comma-separated list of levels and `target=level`. The filter itself is built by `cli`.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        let (target, level) = match directive.rsplit_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, *directive),
        };
        if !is_level(level) {
            let hint = match nearest(level, &LEVELS) {
                Some(near) => format!("did you mean {near:?}?"),
                None if level.starts_with("warn") => "did you mean \"warn\"?".into(),
                None => format!(
                    "a level is {}; a list is such as \"info,longwire::control=debug\"",
                    LEVELS.join(", ")
                ),
            };
            return Err(format!("{level:?} is no log level; {hint}"));
        }
        let plain_target = |target: &str| !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
        if target.is_some_and(|target| !plain_target(target)) {
            return Err(format!(
                "{directive:?} names no target; write \"longwire::control={level}\""
            ));
        }
    }
    Ok(directives.join(","))
}

/// One of a key's words.
fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    match nearest(text, &words) {
        Some(near) => Err(format!("{text:?} is not known; did you mean {near:?}?")),
        None => Err(format!("{text:?} is not known; write one of {}", words.join(", "))),
    }
}

/// `log.format`.
pub(super) const LOG_FORMATS: [(&str, LogFormat); 3] = [
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];

/// `sessions.when_full`.
pub(super) const WHEN_FULL: [(&str, WhenFull); 2] = [
    ("reject", WhenFull::Reject),
    ("replace_oldest", WhenFull::ReplaceOldest),
];

/// `algorithm` of a key.
pub(super) const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// `log.format`.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    choice(text, &LOG_FORMATS)
}

/// `sessions.when_full`.
pub(super) fn when_full(text: &str) -> Result<WhenFull, String> {
    choice(text, &WHEN_FULL)
}

/// `algorithm` of a key.
pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    choice(text, &ALGORITHMS)
}

/// The word that stands for a value.
pub(super) fn word<T: Copy + PartialEq>(value: T, choices: &[(&'static str, T)]) -> &'static str {
    choices
        .iter()
        .find(|(_, one)| *one == value)
        .map_or("", |(word, _)| word)
}
