//! What a service may answer, and what a client is told when it answers something else; and how calls are counted.

use serde_json::json;

use crate::nats::Nats;
use crate::nodes::Cluster;
use crate::support::client::assert_refusal;
use crate::support::{Client, Value, wait_until};

struct Pair {
    cluster: Cluster,
    service: Nats,
    client: Client,
}

impl Pair {
    fn start(changes: &str) -> Self {
        let cluster = Cluster::start(1, changes);
        let mut service = cluster.bus();
        service.subscribe("longwire.call.p");
        service.flush();
        let client = Client::login(&cluster.nodes[0], "u");
        Self {
            cluster,
            service,
            client,
        }
    }

    /// One call, answered so; the reply.
    #[track_caller]
    fn answered(&mut self, headers: &[(&str, &str)], payload: &[u8]) -> Value {
        self.client.send(json!({"path": "p", "id": 1}));
        let call = self.service.next();
        self.service.answer(&call, headers, payload);
        self.client.json()
    }

    fn counted(&self, status: u16) -> f64 {
        let sample = format!("longwire_calls_total{{status=\"{status}\"}}");
        self.cluster.nodes[0].metric(&sample).unwrap_or(0.0)
    }
}

#[test]
fn a_status_header_is_the_replys_status_and_the_payload_its_body() {
    let mut pair = Pair::start("");
    for status in [100, 199, 200, 201, 204, 301, 400, 404, 418, 500, 503, 599] {
        let reply = pair.answered(&[("Longwire-Status", &status.to_string())], b"{\"why\": \"so\"}");
        assert_eq!(
            reply,
            json!({"id": 1, "path": "p", "status": status, "body": {"why": "so"}})
        );
    }
    let others = [("X-Trace", "1"), ("longwire-other", "2"), ("Longwire-Status", "202")];
    assert_eq!(
        pair.answered(&others, b"null"),
        json!({"id": 1, "path": "p", "status": 202, "body": null})
    );
    assert_eq!(pair.answered(&[("X-Trace", "1")], b"1")["status"], 200);
}

#[test]
fn a_status_that_is_none_is_502() {
    let mut pair = Pair::start("");
    for status in [
        "99", "600", "0", "-200", "abc", "200 OK", "20", "1000", "65736", "2e2", "200.0", "٢٠٠",
    ] {
        let reply = pair.answered(&[("Longwire-Status", status)], b"{}");
        assert_eq!(reply["status"], 502, "{status}: {reply}");
        assert_refusal(&reply, &json!(1), 502, "bad_reply");
    }
    assert_eq!(pair.answered(&[], b"{}")["status"], 200);
}

#[test]
fn a_payload_that_is_not_json_is_502() {
    let mut pair = Pair::start("");
    let bad: [&[u8]; 11] = [
        b"",
        b" ",
        b"hello",
        b"{",
        b"{}{}",
        b"1 2",
        b"NaN",
        b"{'a':1}",
        b"\"\xff\"",
        b"[1,]",
        b"{} trailing",
    ];
    for payload in bad {
        for headers in [&[][..], &[("Longwire-Status", "404")][..]] {
            let reply = pair.answered(headers, payload);
            assert_eq!(reply["status"], 502, "{payload:?}: {reply}");
            assert_refusal(&reply, &json!(1), 502, "bad_reply");
        }
    }
    assert_eq!(pair.answered(&[], b" {\n}\t")["status"], 200);
}

#[test]
fn a_reply_over_push_bytes_is_413() {
    let mut pair = Pair::start("limits.push_bytes = \"2KiB\"");
    let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
    assert_eq!(pair.answered(&[], &body(1900))["status"], 200);
    for bytes in [2049, 3000, 500_000] {
        let reply = pair.answered(&[], &body(bytes));
        assert_refusal(&reply, &json!(1), 413, "reply_too_large");
        let reply = pair.answered(&[("Longwire-Status", "500")], &body(bytes));
        assert_refusal(&reply, &json!(1), 413, "reply_too_large");
    }
    pair.client.fence();
}

#[test]
fn calls_are_counted_by_the_status_of_their_reply() {
    let mut pair = Pair::start("timeouts.call = \"300ms\"");
    for _ in 0..3 {
        pair.answered(&[], b"1");
    }
    pair.answered(&[("Longwire-Status", "418")], b"1");
    pair.answered(&[], b"");
    pair.client
        .refused(json!({"path": "nobody", "id": 1}), 404, "no_handler");
    pair.client
        .refused(json!({"path": "p", "id": 1}), 504, "handler_timeout");
    for (status, count) in [(200, 3.0), (418, 1.0), (502, 1.0), (404, 1.0), (504, 1.0)] {
        wait_until("the call to be counted", || pair.counted(status) >= count);
        assert_eq!(pair.counted(status), count, "{status}");
    }
}
