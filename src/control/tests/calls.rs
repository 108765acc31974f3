//! Users, kicks, the cluster, health, metrics, the page, the session policy, replies to calls, and the end.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::fake::{Node, id, settings};
use crate::config::WhenFull;
use crate::links::{Call, Notice};

/// Notices are seen to in their own time; this waits for it, not for a while.
fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

#[test]
fn a_user_is_described_over_all_reactors() {
    let node = Node::start(settings());
    let (first, second) = (node.login("a b/ü", &["t"]), node.login("a b/ü", &[]));
    let answer = node.get("/v1/users/a%20b%2F%C3%BC").json();
    let connection = |connection: String, since_ms: u64, topics: &[&str]| {
        json!({
            "connection": connection, "node": "localhost", "device": "phone", "since_ms": since_ms,
            "expires_at": null, "topics": topics, "remote": "127.0.0.1",
        })
    };
    let connections = [
        connection(first.to_string(), 1000, &["t"]),
        connection(second.to_string(), 1001, &[]),
    ];
    assert_eq!(
        answer,
        json!({ "user": "a b/ü", "online": true, "connections": connections })
    );
    let offline = node.get("/v1/users/nobody");
    assert_eq!(offline.status, 200);
    assert_eq!(
        offline.json(),
        json!({ "user": "nobody", "online": false, "connections": [] })
    );
    node.get("/v1/users/%ff").problem(400);
    node.get(&format!("/v1/users/{}", "x".repeat(129))).problem(400);
}

#[test]
fn kicks_close_with_4403_and_count() {
    let node = Node::start(settings());
    let (a1, a2, b) = (node.login("a", &[]), node.login("a", &[]), node.login("b", &[]));
    assert_eq!(node.delete("/v1/users/a").json(), json!({ "closed": 2 }));
    assert_eq!(node.delete("/v1/users/a").json(), json!({ "closed": 0 }));
    assert_eq!(
        node.delete(&format!("/v1/connections/{b}")).json(),
        json!({ "closed": 1 })
    );
    let mut closed = node.world().closed.clone();
    closed.sort_by_key(|(connection, _)| connection.index);
    assert_eq!(closed, [(a1, 4403), (a2, 4403), (b, 4403)]);
    let mut other = b;
    other.epoch += 1;
    let mut beyond = b;
    beyond.reactor = 99;
    for unknown in [
        b.to_string(),
        other.to_string(),
        beyond.to_string(),
        "x".into(),
        "%ff".into(),
    ] {
        node.delete(&format!("/v1/connections/{unknown}")).problem(404);
    }
}

#[test]
fn the_node_describes_itself() {
    let node = Node::start(settings());
    let cluster = node.get("/v1/cluster").json();
    let this = &cluster["nodes"][0];
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&this["name"], &this["state"], &this["connections"]),
        (&json!("localhost"), &json!("up"), &json!(0))
    );
    assert_eq!(this["version"], env!("CARGO_PKG_VERSION"));
    assert!(this["since_ms"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.get("/readyz").status, 200);
    node.shared.set_draining();
    assert_eq!(node.get("/readyz").problem(503).1, "draining");
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.get("/v1/cluster").json()["nodes"][0]["state"], "draining");
}

#[test]
fn metrics_come_in_both_texts() {
    let node = Node::start(settings());
    let classic = node.get("/metrics");
    assert_eq!(classic.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(classic.text.contains("\nlongwire_connections{state=\"open\"} 0\n"));
    let accept = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let open = node.call("GET", "/metrics", &accept, "");
    assert_eq!(
        open.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.text.ends_with("# EOF\n"));
}

#[test]
fn the_page_is_its_own_and_escaped() {
    let node = Node::start(settings());
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/page/api.js", "text/javascript"),
        ("/page/console.js", "text/javascript"),
        ("/page/dom.js", "text/javascript"),
        ("/page/format.js", "text/javascript"),
        ("/page/metrics.js", "text/javascript"),
        ("/page/overview.js", "text/javascript"),
        ("/page/plot.js", "text/javascript"),
        ("/page/push.js", "text/javascript"),
        ("/page/users.js", "text/javascript"),
    ] {
        let answer = node.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.content_type.starts_with(kind));
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert!(
            !answer.text.contains("http://") && !answer.text.contains("https://"),
            "{path} needs nothing from outside"
        );
    }
    let html = node.get("/").text;
    assert!(html.contains(r#"data-websocket="ws://127.0.0.1:9040/ws" data-token="a&quot;b""#));
}

#[test]
fn what_there_is_not_is_a_problem_too() {
    let node = Node::start(settings());
    for path in ["/v2", "/v1/push/", "/v1/users/", "/v1/users/a/b", "/index.html"] {
        assert_eq!(node.get(path).problem(404).0, "not_found");
    }
    let answer = node.get("/v1/push");
    assert_eq!(answer.problem(405).0, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(node.post("/v1/users/a", "").headers["allow"], "GET,HEAD,DELETE");
    node.delete("/healthz").problem(405);
}

#[test]
fn a_call_that_nobody_answers_gets_one_404() {
    let node = Node::start(settings());
    let connection = node.login("a", &[]);
    let call = |id: Option<&str>| {
        let (id, user) = (id.map(Into::into), "a".into());
        let body = bytes::Bytes::from_static(b"null");
        Notice::Call(Box::new(Call {
            connection,
            id,
            path: "order/create".into(),
            body,
            user,
            device: None,
        }))
    };
    // With no room in the inbox the reply waits, and is not lost.
    node.full.store(true, Ordering::SeqCst);
    node.outbox.send(call(Some("7"))).unwrap();
    node.outbox.send(call(None)).unwrap();
    node.outbox.send(call(Some("\"x\""))).unwrap();
    until(|| node.counters.calls.lock().unwrap().get(&404) == Some(&2));
    node.full.store(false, Ordering::SeqCst);
    until(|| node.frames(connection).len() == 2);
    let reply: serde_json::Value = serde_json::from_str(&node.frames(connection)[0]).unwrap();
    assert_eq!(
        (&reply["id"], &reply["path"], &reply["status"]),
        (&json!(7), &json!("order/create"), &json!(404))
    );
    assert_eq!(reply["error"]["code"], "no_handler");
    assert!(node.frames(connection)[1].contains(r#""id":"x""#));
    assert!(
        node.get("/metrics")
            .text
            .contains("longwire_calls_total{status=\"404\"} 2\n")
    );
}

#[test]
fn replies_that_nobody_takes_do_not_keep_the_outbox_full() {
    let node = Node::start(settings());
    let connection = node.login("a", &[]);
    node.full.store(true, Ordering::SeqCst);
    // More replies are owed than control takes calls for, and behind them stand the reports of a reactor that takes no
    // command before it is rid of them.
    for id in 0..5_000 {
        let call = Call {
            connection,
            id: Some(id.to_string().into()),
            path: "order/create".into(),
            body: bytes::Bytes::from_static(b"null"),
            user: "a".into(),
            device: None,
        };
        node.outbox.send(Notice::Call(Box::new(call))).unwrap();
    }
    let report = || Notice::Kicked {
        ticket: u64::MAX,
        closed: 0,
    };
    while node.outbox.send(report()).is_ok() {
        if node.outbox.len() < 1_000 {
            // All replies are made already.
            break;
        }
    }
    until(|| node.outbox.len() <= 32_768);
    node.full.store(false, Ordering::SeqCst);
    until(|| node.frames(connection).len() == 5_000 && node.outbox.is_empty());
}

#[test]
fn claims_are_decided_in_their_order() {
    let mut settings = settings();
    settings.sessions.per_user_max = 1;
    settings.sessions.when_full = WhenFull::ReplaceOldest;
    let node = Node::start(settings);
    for index in 1..=3 {
        node.outbox
            .send(Notice::Claim {
                connection: id(0, index),
                user: "a".into(),
                device: None,
            })
            .unwrap();
    }
    node.outbox
        .send(Notice::Release {
            connection: id(0, 1),
            user: "a".into(),
        })
        .unwrap();
    until(|| node.world().admitted.len() == 3);
    let world = node.world();
    assert_eq!(world.admitted, [(id(0, 1), true), (id(0, 2), true), (id(0, 3), true)]);
    assert_eq!(world.replaced, [id(0, 1), id(0, 2)]);
}

#[test]
fn a_drain_closes_everybody_and_exits_with_0() {
    let node = Node::start(settings());
    let a = node.login("a", &[]);
    let (world, shared) = (node.world.clone(), node.shared.clone());
    assert_eq!(node.drain(), 0);
    assert!(shared.draining());
    assert_eq!(world.lock().unwrap().closed, [(a, 1012)]);
}

#[test]
fn the_slowest_come_first_over_all_reactors() {
    let node = Node::start(settings());
    let ids = ["a", "b", "c"].map(|user| node.login(user, &[]));
    assert_eq!(
        node.get("/v1/slow").json(),
        json!({"node": "localhost", "connections": []})
    );
    node.world().connections.iter_mut().for_each(|held| held.stuck = true);
    let slow = |at: usize, user: &str| {
        json!({
            "connection": ids[at].to_string(), "user": user, "device": "phone", "remote": "127.0.0.1",
            "queued_bytes": 1000 * (ids[at].index + 1),
        })
    };
    let all = [slow(2, "c"), slow(1, "b"), slow(0, "a")];
    assert_eq!(node.get("/v1/slow").json()["connections"], json!(all));
    assert_eq!(node.get("/v1/slow?limit=2").json()["connections"], json!(all[..2]));
    for limit in ["0", "101", "-1", "x", ""] {
        let (code, detail) = node.get(&format!("/v1/slow?limit={limit}")).problem(400);
        assert_eq!(code, "bad_request");
        assert!(detail.contains("1 to 100"), "{detail}");
    }
}
