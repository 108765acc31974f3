//! Who may call.

use super::fake::{Node, settings};

fn keyed() -> Node {
    let mut settings = settings();
    settings.api.keys = vec!["first-key".into(), "second-key".into()];
    Node::start(settings)
}

#[test]
fn with_keys_every_call_needs_one() {
    let node = keyed();
    for (method, path) in [
        ("POST", "/v1/push"),
        ("GET", "/v1/cluster"),
        ("GET", "/v1/slow"),
        ("GET", "/metrics"),
        ("GET", "/v1/nothing"),
    ] {
        let answer = node.call(method, path, &[], "{}");
        assert_eq!(answer.problem(401).0, "unauthorized");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        let answer = node.call(method, path, &[("authorization", "Bearer first-ke")], "{}");
        answer.problem(401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
        assert!(!answer.text.contains("first-ke"));
    }
    node.call("GET", "/v1/cluster", &[("authorization", "Basic first-key")], "")
        .problem(401);
    for key in ["Bearer first-key", "bearer second-key"] {
        assert_eq!(
            node.call("GET", "/v1/cluster", &[("authorization", key)], "").status,
            200
        );
    }
    node.call("GET", "/v1/nothing", &[("authorization", "Bearer first-key")], "")
        .problem(404);
}

#[test]
fn health_and_the_page_are_open() {
    let node = keyed();
    for path in ["/healthz", "/readyz", "/", "/page.css", "/page.js", "/page/api.js"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
}

#[test]
fn without_keys_pages_from_elsewhere_are_refused() {
    let node = Node::start(settings());
    for (name, value) in [
        ("origin", "https://example.com"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1.example.com:9041"),
        ("host", "example.com:9041"),
    ] {
        let answer = node.call(
            "POST",
            "/v1/push",
            &[(name, value)],
            r#"{"to":{"all":true},"path":"p"}"#,
        );
        assert_eq!(answer.problem(403).0, "forbidden", "{name}: {value}");
    }
    node.call("GET", "/", &[("host", "example.com")], "").problem(403);
    for (name, value) in [
        ("origin", "http://127.0.0.1:9041"),
        ("origin", "http://localhost:9041"),
        ("host", "api"),
    ] {
        let answer = node.call(
            "POST",
            "/v1/push",
            &[(name, value)],
            r#"{"to":{"all":true},"path":"p"}"#,
        );
        assert_eq!(answer.status, 200, "{name}: {value}");
    }
}
