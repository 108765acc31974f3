//! `push`, `users`, `kick`, `drain`: the HTTP API from a terminal, and what `why` asks it with. The API's JSON goes to
//! standard output, what it means in a sentence to standard error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use ureq::http::{Request, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::flags::{ApiFlags, PushFlags, SourceFlags, UserFlags};
use super::{Failure, configuration, note, say};
use crate::protocol::subject;

/// Where a node that runs without a configuration has its API.
const DEFAULT_API: &str = "http://127.0.0.1:9041";
/// A node answers at once, or is in trouble.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// `longwire push`
pub fn push(sources: &SourceFlags, flags: PushFlags) -> Result<(), Failure> {
    let to = match flags.to.user.as_slice() {
        [] if flags.to.all => json!({ "all": true }),
        [] => json!({ "topic": flags.to.topic }),
        [user] => json!({ "user": user }),
        users => json!({ "users": users }),
    };
    // Verbatim, like the API: large numbers and the order of fields are the sender's.
    let body: &RawValue = match &flags.body {
        None => RawValue::NULL,
        Some(text) => serde_json::from_str(text).map_err(|error| {
            let advice = r#"a string wants quotes of its own: --body '"hi"'"#;
            Failure::Usage(format!("--body is not JSON: {error}; {advice}"))
        })?,
    };
    let (to, path) = (to.to_string(), json!(flags.path).to_string());
    let request = format!(r#"{{"to":{to},"path":{path},"body":{}}}"#, body.get());
    let answer = Api::new(sources, &flags.api)?.call("POST", "/v1/push", &request)?;
    let number = |name: &str| answer[name].as_u64().unwrap_or_default();
    let meaning = match (number("matched"), number("queued"), number("dropped")) {
        (0, ..) => "nobody is there to get it".to_owned(),
        (_, queued, 0) => format!("queued for {}", count(queued)),
        (matched, queued, dropped) => {
            format!(
                "queued for {queued} of {}; {dropped} have too much waiting already",
                count(matched)
            )
        }
    };
    note(&meaning);
    Ok(())
}

/// `longwire users`
pub fn users(sources: &SourceFlags, flags: &UserFlags) -> Result<(), Failure> {
    let answer = Api::new(sources, &flags.api)?.call("GET", &user_path(&flags.user)?, "")?;
    let connections = answer["connections"].as_array().map_or(0, Vec::len);
    note(&match connections {
        0 => format!("{} is offline", flags.user),
        some => format!("{} is online with {}", flags.user, count(some as u64)),
    });
    Ok(())
}

/// `longwire kick`
pub fn kick(sources: &SourceFlags, flags: &UserFlags) -> Result<(), Failure> {
    let answer = Api::new(sources, &flags.api)?.call("DELETE", &user_path(&flags.user)?, "")?;
    note(&match answer["closed"].as_u64().unwrap_or_default() {
        0 => format!("{} was offline", flags.user),
        some => format!("closed {}", count(some)),
    });
    Ok(())
}

/// `longwire drain`
pub fn drain(sources: &SourceFlags, flags: &ApiFlags) -> Result<(), Failure> {
    Api::new(sources, flags)?.call("POST", "/v1/drain", "")?;
    note("the node is draining, and stops when the last connection is gone");
    Ok(())
}

pub(super) fn user_path(user: &str) -> Result<String, Failure> {
    // Without a name it is another path, of which the API knows nothing to say.
    if user.is_empty() {
        return Err(Failure::Usage(
            "a user has 1 to 128 bytes, and this one has none".into(),
        ));
    }
    // Percent-encoded as in a subject, which leaves nothing that means something in a URL.
    Ok(format!("/v1/users/{}", subject::encode(user)))
}

fn count(connections: u64) -> String {
    if connections == 1 {
        "1 connection".into()
    } else {
        format!("{connections} connections")
    }
}

/// A node's API, as the flags and the configuration say.
pub(super) struct Api {
    base: String,
    key: Option<String>,
    agent: ureq::Agent,
}

impl Api {
    pub(super) fn new(sources: &SourceFlags, flags: &ApiFlags) -> Result<Self, Failure> {
        let shown = flags.key.clone().or_else(|| std::env::var("LONGWIRE_KEY").ok());
        let (base, key) = match &flags.api {
            Some(api) => (with_scheme(api.trim_end_matches('/')), shown),
            None => configured(sources, shown)?,
        };
        Ok(Self {
            agent: agent(&base),
            base,
            key,
        })
    }

    /// Prints the answer, too.
    fn call(&self, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let answer = self.ask(method, path, body)?;
        say(&serde_json::to_string_pretty(&answer).map_err(Failure::failed)?)?;
        Ok(answer)
    }

    /// The answer; an error of the API is a failure.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request
            .body(body)
            .map_err(|error| Failure::Usage(format!("{}: {error}", self.base)))?;
        let mut response = self.agent.run(request).map_err(|error| {
            let advice = "is the node running? --api says where its API is";
            Failure::Failed(format!("cannot reach {}: {error}; {advice}", self.base))
        })?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(Failure::failed)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            Ok(answer)
        } else {
            Err(self.refused(status, &answer))
        }
    }

    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        let detail = problem["detail"]
            .as_str()
            .or(status.canonical_reason())
            .unwrap_or_default();
        let advice = match (status, &self.key) {
            (StatusCode::UNAUTHORIZED, None) => "; give it with --key or LONGWIRE_KEY",
            _ => "",
        };
        Failure::Failed(format!("{} answers {}: {detail}{advice}", self.base, status.as_u16()))
    }
}

/// The API of the node that the configuration is for, and its first key, which goes nowhere else. An installed file
/// that cannot be read or used (it holds secrets) is as good as none; one that was named is not.
fn configured(flags: &SourceFlags, shown: Option<String>) -> Result<(String, Option<String>), Failure> {
    let sources = configuration::sources(flags);
    if sources.file.is_none() && flags.set.is_empty() {
        return Ok((DEFAULT_API.into(), shown));
    }
    match configuration::load(&sources) {
        Ok(checked) => {
            let api = checked.loaded.settings.api;
            Ok((
                format!("http://{}", reachable(api.listen)),
                shown.or_else(|| api.keys.into_iter().next()),
            ))
        }
        Err(_) if flags.config.is_none() => Ok((DEFAULT_API.into(), shown)),
        Err(error) => Err(Failure::Usage(error)),
    }
}

/// Where a client on this host reaches a listener: one on all addresses is on loopback too.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn with_scheme(api: &str) -> String {
    if api.contains("://") {
        api.into()
    } else {
        format!("http://{api}")
    }
}

fn agent(base: &str) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_WITHIN))
        // The way to a node's API never leads through a proxy for the web.
        .proxy(None);
    if !base.starts_with("https:") {
        return config.build().into();
    }
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build();
    config.tls_config(tls).build().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn listeners_on_all_addresses_are_reached_on_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:9041", "127.0.0.1:9041"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:2", "10.0.0.1:2"),
            ("127.0.0.1:3", "127.0.0.1:3"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reached);
        }
    }

    #[test]
    fn an_address_alone_is_a_url() {
        assert_eq!(with_scheme("host:1"), "http://host:1");
        assert_eq!(with_scheme("https://host"), "https://host");
    }
}
