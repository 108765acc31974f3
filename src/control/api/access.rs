//! Who may call: with keys configured, whoever shows one; without, this host alone. Keys are compared in constant time
//! and never logged. The health checks and the page's own files are open.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{Api, page};

const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request pass, or answers it with 401 or 403.
pub async fn check(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    tracing::debug!(%peer, method = %request.method(), path, "api call");
    let settings = api.state.settings();
    let verdict = if HEALTH.contains(&path) {
        Ok(())
    } else if settings.api.keys.is_empty() {
        from_here(peer.ip(), request.headers())
    } else if page::has(path) {
        Ok(())
    } else {
        with_key(&settings.api.keys, request.headers())
    };
    match verdict {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn with_key(keys: &[String], headers: &HeaderMap) -> Result<(), Problem> {
    let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let refused = |detail| {
        let challenge = if shown.is_some() {
            r#"Bearer error="invalid_token""#
        } else {
            "Bearer"
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with_header("www-authenticate", challenge))
    };
    let Some(shown) = shown else {
        return refused("show one of api.keys: `Authorization: Bearer <key>`");
    };
    // All keys are looked at, so that the time says nothing about which one nearly fitted.
    let fits = keys.iter().fold(false, |fits, key| fits | same(key.as_bytes(), shown));
    if fits {
        Ok(())
    } else {
        refused("the key is none of api.keys")
    }
}

/// The key in `Bearer <key>`; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Equality in a time that depends on the lengths alone.
fn same(key: &[u8], shown: &[u8]) -> bool {
    key.len() == shown.len() && black_box(key.iter().zip(shown).fold(0, |bits, (a, b)| bits | (a ^ b))) == 0
}

/// Without keys only this host is served, and no web page that a browser on this host happens to show: one from
/// elsewhere betrays itself by its `Origin`, or (its name made to point here) by its `Host`.
fn from_here(peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
    let forbidden = |detail| Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    if !peer.to_canonical().is_loopback() {
        return forbidden("without api.keys only this host is served; configure a key");
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let host = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host);
        if !host.is_some_and(is_local_name) {
            return forbidden("without api.keys no page from elsewhere is served; configure a key");
        }
    }
    if let Some(host) = headers.get(HOST)
        && !host
            .to_str()
            .is_ok_and(|host| is_local_name(host) || !host.contains('.'))
    {
        return forbidden("without api.keys the Host must be this host's own address; configure a key");
    }
    Ok(())
}

/// Whether `host`, perhaps with a port, is `localhost` or a loopback address.
fn is_local_name(host: &str) -> bool {
    let name = Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query("/")
        .build();
    let Some(name) = name.ok().and_then(|uri| uri.host().map(str::to_owned)) else {
        return false;
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secret", b"secreT"));
        assert!(!same(b"secret", b"secre"));
        assert!(!same(b"secret", b""));
    }

    #[test]
    fn bearer_wants_the_scheme_and_a_space() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bearerabc"), None);
        assert_eq!(bearer(b"Bear"), None);
    }

    #[test]
    fn local_names() {
        for host in [
            "localhost",
            "localhost:9041",
            "127.0.0.1:9041",
            "127.9.9.9",
            "[::1]:9041",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "example.com",
            "127.0.0.1.example.com",
            "10.0.0.1:9041",
            "localhost.example.com",
            "",
            "a b",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
