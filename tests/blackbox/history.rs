//! `GET /v1/users/{user}/history` and `longwire why`: what became of a user's connections, asked afterwards.

use serde_json::json;

use crate::support::gateway::{config, run_to_end};
use crate::support::tokens::now_ms;
use crate::support::{Client, Gateway, Value, mint, now_s, token, wait_for, wait_until};

/// The user's history when it has that many events; what they are follows by `limit` and `connection`.
fn history(gateway: &Gateway, user: &str, events: usize) -> Value {
    wait_for(&format!("{events} events of {user}"), || {
        let answer = gateway.get(&format!("/v1/users/{user}/history")).ok();
        (answer["events"].as_array().unwrap().len() == events).then_some(answer)
    })
}

fn kinds(answer: &Value) -> Vec<String> {
    let events = answer["events"].as_array().unwrap();
    let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let one = |event: &Value| {
        let why = word(event, "reason") + &word(event, "error");
        format!("{} {why}", word(event, "event")).trim_end().to_owned()
    };
    events.iter().map(one).collect()
}

#[test]
fn a_connections_life_is_remembered_when_it_is_over() {
    let gateway = Gateway::start("");
    let before_ms = now_ms();
    let expires_at = now_s() + 1_000;
    let mut client = Client::open(&gateway);
    let login = client.connect(
        &mint(json!({"sub": "anna", "exp": expires_at})),
        json!({"device": "phone"}),
    );
    client.connect(&mint(json!({"sub": "anna", "exp": expires_at + 60})), Value::Null);
    assert_eq!(gateway.delete("/v1/users/anna").ok()["closed"], 1);
    assert_eq!(client.closed().0, 4403);
    let answer = history(&gateway, "anna", 3);
    assert_eq!((&answer["user"], &answer["more"]), (&json!("anna"), &json!(false)));
    assert!(answer["since_ms"].as_u64().unwrap() <= before_ms);
    assert!(answer.get("nodes").is_none(), "{answer}");
    let mut events = answer["events"].as_array().unwrap().clone();
    for event in &mut events {
        let at_ms = event["at_ms"].take().as_u64().unwrap();
        assert!((before_ms..=now_ms()).contains(&at_ms), "{at_ms}");
    }
    assert!(events[2]["lived_ms"].take().as_u64().unwrap() <= now_ms() - before_ms);
    let seen = |mut event: Value| {
        let common = json!({"at_ms": null, "connection": login["connection"], "node": "test", "device": "phone",
                            "remote": "127.0.0.1"});
        event
            .as_object_mut()
            .unwrap()
            .extend(common.as_object().unwrap().clone());
        event
    };
    assert_eq!(
        events,
        [
            seen(json!({"event": "connected", "expires_at": expires_at})),
            seen(json!({"event": "renewed", "expires_at": expires_at + 60})),
            seen(
                json!({"event": "closed", "reason": "kicked", "code": 4403, "lived_ms": null, "queued_bytes": 0, "by": "api"})
            ),
        ]
    );
}

#[test]
fn each_end_is_told_with_its_reason() {
    let gateway = Gateway::start("timeouts.ping = \"200ms\"\ntimeouts.pong = \"300ms\"\nauth.leeway = \"0s\"");
    let mut left = Client::login(&gateway, "left");
    left.fence();
    left.close();
    drop(Client::login(&gateway, "lost"));
    // Does not read, so that it answers no ping.
    let silent = Client::login(&gateway, "silent");
    let mut late = Client::login_with(&gateway, &mint(json!({"sub": "late", "exp": now_s() + 2})), Value::Null);
    assert_eq!(late.closed().0, 4410);
    for (user, reason, code) in [
        ("left", "client", 1000),
        ("lost", "connection_lost", 1006),
        ("silent", "ping_timeout", 1001),
        ("late", "token_expired", 4410),
    ] {
        let answer = history(&gateway, user, 2);
        let end = &answer["events"][1];
        assert_eq!(
            (&end["reason"], &end["code"]),
            (&json!(reason), &json!(code)),
            "{answer}"
        );
    }
    drop(silent);
}

#[test]
fn refused_logins_are_remembered_where_it_is_known_whose_they_were() {
    let gateway = Gateway::start("auth.leeway = \"0s\"\nsessions.per_user_max = 1");
    let expired = mint(json!({"sub": "anna", "exp": now_s() - 10}));
    let mut client = Client::open(&gateway);
    client.refused(
        json!({"path": "connect", "id": 1, "token": expired}),
        401,
        "token_expired",
    );
    // Nobody knows whose a token is that no key has signed.
    client.refused(
        json!({"path": "connect", "id": 1, "token": "x.y.z"}),
        401,
        "token_invalid",
    );
    client.connect(&token("anna"), Value::Null);
    let mut second = Client::open(&gateway);
    second.refused(
        json!({"path": "connect", "id": 1, "token": token("anna")}),
        409,
        "too_many_connections",
    );
    let answer = history(&gateway, "anna", 3);
    assert_eq!(
        kinds(&answer),
        ["refused token_expired", "connected", "refused too_many_connections"]
    );
}

#[test]
fn a_slow_readers_queue_is_told() {
    let gateway = Gateway::start("limits.outbound_bytes = \"64KiB\"\nlimits.push_bytes = \"32KiB\"");
    let slow = Client::login(&gateway, "slow");
    wait_until("the queue to overflow", || {
        let body = json!("x".repeat(30_000));
        gateway.push(json!({"user": "slow"}), "p", body)["matched"] == 0
    });
    let answer = history(&gateway, "slow", 2);
    let end = &answer["events"][1];
    assert_eq!(end["reason"], "slow_consumer");
    let queued_bytes = end["queued_bytes"].as_u64().unwrap();
    assert!((30_000..=65_536).contains(&queued_bytes), "{end}");
    drop(slow);
}

#[test]
fn a_question_may_be_for_one_connection_and_for_the_newest_alone() {
    let gateway = Gateway::start("");
    let ids: Vec<Value> = (0..3)
        .map(|_| {
            let mut client = Client::open(&gateway);
            let id = client.connect(&token("a b"), Value::Null)["connection"].clone();
            client.close();
            id
        })
        .collect();
    history(&gateway, "a%20b", 6);
    let id = ids[1].as_str().unwrap();
    let one = gateway.get(&format!("/v1/users/a%20b/history?connection={id}")).ok();
    assert_eq!(kinds(&one), ["connected", "closed client"]);
    assert!(
        one["events"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["connection"] == *id)
    );
    let newest = gateway.get("/v1/users/a%20b/history?limit=1").ok();
    assert_eq!(
        (kinds(&newest), &newest["more"]),
        (vec!["closed client".to_owned()], &json!(true))
    );
    for wrong in ["limit=0", "limit=1001", "limit=many", "connection=17"] {
        let problem = gateway.get(&format!("/v1/users/u/history?{wrong}")).problem(400);
        assert!(
            problem.contains("limit: ") || problem.contains("connection: "),
            "{problem}"
        );
    }
    gateway
        .get(&format!("/v1/users/{}/history", "x".repeat(129)))
        .problem(400);
    gateway.request("POST", "/v1/users/u/history", Some("{}")).problem(405);
}

#[test]
fn somebody_unknown_has_no_history_and_a_recorder_that_is_off_says_so() {
    let gateway = Gateway::start("limits.history_bytes = 0");
    Client::login(&gateway, "anna").close();
    wait_until("the end to be counted", || gateway.closed_for("client") == 1.0);
    assert_eq!(
        gateway.get("/v1/users/anna/history").ok(),
        json!({"user": "anna", "since_ms": null, "more": false, "events": []})
    );
    let recording = config("limits.history_bytes = \"1MiB\"");
    // The ports are those that it has.
    std::fs::write(&gateway.config, recording).unwrap();
    gateway.run.signal("HUP");
    gateway.log_line(&["reloaded", "limits.history_bytes"]);
    Client::login(&gateway, "anna").close();
    let answer = history(&gateway, "anna", 2);
    assert!(answer["since_ms"].is_u64());
    assert_eq!(gateway.metric("longwire_history_events"), Some(2.0));
    assert_eq!(gateway.metric("longwire_history_dropped_total"), Some(0.0));
    assert!(gateway.metric("longwire_history_bytes").unwrap() <= 1_048_576.0);
}

#[test]
fn why_prints_a_time_line_that_explains_itself() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    let id = client.connect(&token("anna"), json!({"device": "phone"}))["connection"].clone();
    gateway
        .delete(&format!("/v1/connections/{}", id.as_str().unwrap()))
        .ok();
    assert_eq!(client.closed().0, 4403);
    history(&gateway, "anna", 2);
    let api = gateway.url("");
    let why = |more: &[&str]| {
        let arguments = [&["why", "anna", "--api", &api], more].concat();
        run_to_end(&arguments, gateway.dir.path())
    };
    let (code, stdout, stderr) = why(&[]);
    assert_eq!(code, 0, "{stderr}");
    for words in [
        "(UTC)",
        "phone  test  connected from 127.0.0.1 with a token good until ",
        "phone  test  closed after ",
        ": kicked by api (4403)",
        "\nkicked: Somebody closed it",
        id.as_str().unwrap(),
    ] {
        assert!(stdout.contains(words), "no {words:?} in\n{stdout}");
    }
    assert!(stderr.contains("2 events; nothing is missing since "), "{stderr}");
    let (_, stdout, _) = why(&["--json", "--connection", id.as_str().unwrap(), "--limit", "1"]);
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (kinds(&answer), &answer["more"]),
        (vec!["closed kicked".to_owned()], &json!(true))
    );
    let (code, _, stderr) = run_to_end(&["why", "nobody", "--api", &api], gateway.dir.path());
    assert!(
        code == 0 && stderr.contains("nothing is known of nobody since "),
        "{stderr}"
    );
    let (code, _, stderr) = why(&["--connection", "7"]);
    assert!(code == 1 && stderr.contains("connection: give the id"), "{stderr}");
    let (code, _, _) = why(&["--limit", "0"]);
    assert_eq!(code, 2);
}

#[test]
fn every_close_is_one_line_at_debug_with_connection_user_reason_and_code() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    let id = client.connect(&token("anna"), Value::Null)["connection"].clone();
    client.close();
    let id = id.as_str().unwrap();
    let line = gateway.log_line(&["connection closed", id]);
    for words in ["DEBUG", "user=\"anna\"", "reason=\"client\"", "code=1000"] {
        assert!(line.contains(words), "no {words} in {line}");
    }
    let lines = gateway.log();
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.contains(id) && line.contains("closed"))
            .count(),
        1
    );
}
