//! Who may use the HTTP API, and what it says to requests that it does not know.

use serde_json::json;

use crate::support::client::stream_to;
use crate::support::gateway::{config, run_to_end};
use crate::support::http::try_request;
use crate::support::{Client, Gateway, Raw, Reply, TempDir};

/// One request with this key instead of the gateway's.
fn with_key(gateway: &Gateway, key: Option<&str>, method: &str, path: &str) -> Reply {
    let body = (method == "POST").then_some(r#"{"to":{"all":true},"path":"p"}"#);
    try_request(method, &gateway.url(path), key, body).unwrap()
}

const GUARDED: [(&str, &str); 8] = [
    ("POST", "/v1/push"),
    ("POST", "/v1/push/batch"),
    ("GET", "/v1/users/u"),
    ("DELETE", "/v1/users/u"),
    ("DELETE", "/v1/connections/x"),
    ("GET", "/v1/cluster"),
    ("POST", "/v1/drain"),
    ("GET", "/metrics"),
];

#[test]
fn without_a_key_or_with_another_everything_but_health_is_401() {
    let gateway = Gateway::start("api.keys = [\"first-key-of-the-tests\", \"second-key-of-the-tests\"]");
    let mut client = Client::login(&gateway, "u");
    for (method, path) in GUARDED {
        for key in [
            None,
            Some(""),
            Some("wrong"),
            Some("first-key-of-the-test"),
            Some("first-key-of-the-tests2"),
        ] {
            let reply = with_key(&gateway, key, method, path);
            assert_eq!(reply.status, 401, "{method} {path} with {key:?}");
            assert!(
                reply
                    .www_authenticate
                    .as_deref()
                    .is_some_and(|v| v.starts_with("Bearer")),
                "{reply:?}"
            );
            reply.problem(401);
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(with_key(&gateway, None, "GET", path).status, 200, "{path}");
        assert_eq!(with_key(&gateway, Some("wrong"), "GET", path).status, 200, "{path}");
    }
    client.fence();
    for key in ["first-key-of-the-tests", "second-key-of-the-tests"] {
        assert_eq!(with_key(&gateway, Some(key), "GET", "/v1/cluster").status, 200);
        assert_eq!(with_key(&gateway, Some(key), "GET", "/metrics").status, 200);
    }
    assert!(!gateway.log().contains("key-of-the-test"), "a key was logged");
}

#[test]
fn keys_may_stand_in_a_file_one_a_line_with_comments() {
    let dir = TempDir::new();
    let file = dir.write(
        "keys",
        "# who: billing\nbilling-key-0123456789\n\n# who: orders\norders-key-0123456789\n",
    );
    let gateway = Gateway::start_in(dir, &format!("api.keys_file = {file:?}"), |_| {});
    for key in ["billing-key-0123456789", "orders-key-0123456789"] {
        assert_eq!(with_key(&gateway, Some(key), "GET", "/v1/cluster").status, 200, "{key}");
    }
    for key in [None, Some(""), Some("# who: billing"), Some("who: billing")] {
        assert_eq!(with_key(&gateway, key, "GET", "/v1/cluster").status, 401, "{key:?}");
    }
}

#[test]
fn without_keys_no_address_but_loopback_is_served() {
    let dir = TempDir::new();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let file = dir.write("longwire.toml", config(&format!("api.listen = \"{listen}\"")));
        let (code, _, stderr) = run_to_end(&["serve", "--config", file.to_str().unwrap()], dir.path());
        assert_eq!(code, 2, "{stderr}");
        assert!(
            stderr.contains("api.keys") || stderr.contains("keys"),
            "says what to do: {stderr}"
        );
    }
    let gateway = Gateway::start("api.listen = \"0.0.0.0:0\"\napi.keys = [\"a-key-that-is-long-enough\"]");
    assert!(gateway.api.ip().is_unspecified());
    assert_eq!(gateway.get("/v1/cluster").status, 200);
}

#[test]
fn unknown_paths_and_methods_are_problems_too() {
    let gateway = Gateway::start("");
    for path in ["/v1/nothing", "/v1", "/v2/push", "/v1/push/", "/v1/users", "/nothing"] {
        gateway.get(path).problem(404);
    }
    for (method, path, allowed) in [
        ("GET", "/v1/push", "POST"),
        ("PUT", "/v1/push", "POST"),
        ("GET", "/v1/push/batch", "POST"),
        ("POST", "/v1/users/u", "DELETE"),
        ("GET", "/v1/connections/x", "DELETE"),
        ("POST", "/v1/cluster", "GET"),
        ("GET", "/v1/drain", "POST"),
        ("POST", "/metrics", "GET"),
    ] {
        let reply = gateway.request(method, path, (method == "POST").then_some("{}"));
        assert!(
            reply.allow.as_deref().is_some_and(|a| a.contains(allowed)),
            "{method} {path}: {reply:?}"
        );
        reply.problem(405);
    }
}

#[test]
fn health_and_readiness_are_plain_200s() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/readyz").status, 200);
}

#[test]
fn a_push_needs_no_more_than_a_json_body() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let push = json!({"to": {"user": "u"}, "path": "p", "body": 1, "comment": "unknown fields do no harm"});
    let reply = gateway.post("/v1/push", push);
    // Refusing what it does not know is as good as ignoring it, as long as it is one or the other.
    match reply.status {
        200 => assert_eq!(client.json(), json!({"path": "p", "body": 1})),
        _ => drop(reply.problem(400)),
    }
    client.fence();
}

#[test]
fn the_pages_own_files_need_no_key() {
    let gateway = Gateway::start("api.keys = [\"first-key-of-the-tests\"]");
    let page = with_key(&gateway, None, "GET", "/");
    assert_eq!(page.status, 200);
    assert!(page.content_type.starts_with("text/html"), "{page:?}");
    assert!(!page.body.contains("first-key-of-the-tests"));
}

#[test]
fn without_keys_a_page_from_elsewhere_in_a_browser_on_this_host_gets_nothing() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    let own = gateway.api.to_string();
    let body = r#"{"to":{"all":true},"path":"p"}"#;
    for (host, origin, status) in [
        (own.as_str(), None, 200),
        (&own, Some(format!("http://{own}")), 200),
        (&own, Some("https://evil.example".to_owned()), 403),
        (&own, Some("null".to_owned()), 403),
        ("rebound.example", None, 403),
        ("rebound.example", Some("http://rebound.example".to_owned()), 403),
    ] {
        let mut raw = Raw::over(stream_to(gateway.api));
        let origin_line = origin.as_ref().map(|o| format!("Origin: {o}\r\n")).unwrap_or_default();
        raw.send(
            format!(
                "POST /v1/push HTTP/1.1\r\nHost: {host}\r\n{origin_line}Content-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        assert_eq!(raw.response().status, status, "Host {host}, Origin {origin:?}");
        if status == 200 {
            assert_eq!(client.json()["path"], "p");
        }
    }
    client.fence();
}
