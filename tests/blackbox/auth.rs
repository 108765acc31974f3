//! Login: what `connect` answers, what a failure costs, how long a login lasts.

use serde_json::json;

use crate::support::tokens::{header, mint_with};
use crate::support::{Client, Gateway, SECRET, Value, mint, now_s, token, wait_until};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// A `connect` with this token.
fn connect(token: &str) -> Value {
    json!({"path": "connect", "id": 1, "token": token})
}

/// Checks that a fresh connection's `connect` with this token is refused with that code.
#[track_caller]
fn refused(gateway: &Gateway, token: &str, code: &str) {
    let mut client = Client::open(gateway);
    client.refused(connect(token), 401, code);
    client.refused(json!({"path": "ping", "id": 2}), 401, "not_connected");
}

#[test]
fn a_login_is_answered_with_user_connection_node_expiry_and_ping_interval() {
    let gateway = Gateway::start("");
    let expires_at = now_s() + 100;
    let mut client = Client::open(&gateway);
    let body = client.connect(&mint(json!({"sub": "anna", "exp": expires_at})), Value::Null);
    assert_eq!(
        (&body["user"], &body["node"], &body["expires_at"], &body["ping_ms"]),
        (&json!("anna"), &json!("test"), &json!(expires_at), &json!(25_000))
    );
    let first = body["connection"].as_str().unwrap().to_owned();
    assert!(!first.is_empty());
    let mut ids = vec![first];
    for _ in 0..20 {
        let (client, id) = Client::login_named(&gateway, "anna");
        assert!(!ids.contains(&id), "{id} was given before");
        ids.push(id);
        client.close();
    }
}

#[test]
fn user_names_may_hold_anything_up_to_128_bytes() {
    let gateway = Gateway::start("");
    for user in [
        "a.b@c",
        "käthe λ",
        "a b/c?d#e%",
        "\u{1}\"\\",
        &"x".repeat(128),
        &"é".repeat(64),
    ] {
        let mut client = Client::open(&gateway);
        assert_eq!(client.connect(&token(user), Value::Null)["user"], user);
        assert_eq!(
            gateway.push(json!({"user": user}), "p", json!(1))["matched"],
            1,
            "{user}"
        );
        assert_eq!(client.json(), json!({"path": "p", "body": 1}));
    }
}

#[test]
fn each_way_a_token_can_be_wrong_has_its_code() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    client.refused(json!({"path": "connect", "id": 1}), 401, "token_missing");
    client.refused(json!({"path": "connect", "id": 1, "token": null}), 401, "token_missing");

    let good = token("u");
    let (body, signature) = good.rsplit_once('.').unwrap();
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let invalid = [
        String::new(),
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        format!("{body}."),
        body.to_owned(),
        format!("{good}x"),
        format!("{good}.x"),
        format!("{body}.{}", signature.chars().rev().collect::<String>()),
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{}.", body.split('.').nth(1).unwrap()),
        mint_with(
            &Header::new(Algorithm::HS256),
            &EncodingKey::from_secret(&[b'x'; 32]),
            json!({"sub": "u"}),
        ),
        mint_with(
            &Header::new(Algorithm::HS256),
            &EncodingKey::from_secret(b""),
            json!({"sub": "u"}),
        ),
        mint_with(&Header::new(Algorithm::HS512), &secret, json!({"sub": "u"})),
        mint_with(&header(Algorithm::HS256, Some("another")), &secret, json!({"sub": "u"})),
        mint(json!({})),
        mint(json!({"sub": ""})),
        mint(json!({"sub": 7})),
        mint(json!({"sub": null})),
        mint(json!({"sub": ["u"]})),
        mint(json!({"sub": "x".repeat(129)})),
        mint(json!({"sub": "u", "exp": null})),
        mint(json!({"sub": "u", "exp": "tomorrow"})),
    ];
    for token in &invalid {
        refused(&gateway, token, "token_invalid");
    }
    refused(
        &gateway,
        &mint(json!({"sub": "u", "exp": now_s() - 10})),
        "token_expired",
    );
    refused(&gateway, &mint(json!({"sub": "u", "exp": 1})), "token_expired");
    refused(
        &gateway,
        &mint(json!({"sub": "u", "nbf": now_s() + 100})),
        "token_not_yet_valid",
    );

    for sample in [
        ("token_missing", 2),
        ("token_invalid", invalid.len()),
        ("token_expired", 2),
        ("token_not_yet_valid", 1),
    ] {
        let name = format!("longwire_auth_total{{result=\"{}\"}}", sample.0);
        wait_until(&name, || gateway.metric(&name) == Some(sample.1 as f64));
    }
    let log = gateway.log();
    assert!(
        !log.contains(&good) && !log.contains(signature) && !log.contains(SECRET),
        "a token was logged"
    );
}

#[test]
fn a_token_that_is_no_string_is_refused() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    for token in [json!(7), json!({}), json!([]), json!(true)] {
        let mut other = Client::open(&gateway);
        let reply = other.call(json!({"path": "connect", "id": 1, "token": token}));
        assert!(reply["status"] == 401 || reply["status"] == 400, "{reply}");
        other.refused(json!({"path": "ping", "id": 2}), 401, "not_connected");
    }
    client.connect(&token("u"), Value::Null);
}

#[test]
fn leeway_forgives_a_clock_that_is_a_little_off() {
    let gateway = Gateway::start("auth.leeway = \"60s\"");
    for claims in [
        json!({"sub": "u", "exp": now_s() - 20}),
        json!({"sub": "u", "nbf": now_s() + 20}),
    ] {
        Client::login_with(&gateway, &mint(claims), Value::Null).fence();
    }
}

#[test]
fn without_require_exp_a_token_may_last_for_ever_and_expires_at_is_null() {
    let gateway = Gateway::start("auth.require_exp = false");
    let mut client = Client::open(&gateway);
    let body = client.connect(&mint(json!({"sub": "u", "exp": null})), Value::Null);
    assert_eq!(body.get("expires_at"), Some(&Value::Null));
    assert_eq!(
        gateway.user("u")["connections"][0].get("expires_at"),
        Some(&Value::Null)
    );
    refused(
        &gateway,
        &mint(json!({"sub": "u", "exp": now_s() - 10})),
        "token_expired",
    );
}

#[test]
fn issuer_and_audience_are_checked_where_configured() {
    let gateway = Gateway::start("auth.issuer = \"https://id.example\"\nauth.audience = \"longwire\"");
    for audience in [json!("longwire"), json!(["other", "longwire"])] {
        let token = mint(json!({"sub": "u", "iss": "https://id.example", "aud": audience}));
        Client::login_with(&gateway, &token, Value::Null).fence();
    }
    for claims in [
        json!({"sub": "u"}),
        json!({"sub": "u", "iss": "https://id.example"}),
        json!({"sub": "u", "aud": "longwire"}),
        json!({"sub": "u", "iss": "https://evil.example", "aud": "longwire"}),
        json!({"sub": "u", "iss": "https://id.example", "aud": "other"}),
        json!({"sub": "u", "iss": "https://id.example", "aud": []}),
        json!({"sub": "u", "iss": "https://id.example", "aud": 7}),
        json!({"sub": "u", "iss": "https://id.example", "aud": null}),
    ] {
        refused(&gateway, &mint(claims), "token_invalid");
    }
}

#[test]
fn with_no_audience_configured_a_token_may_have_any() {
    let gateway = Gateway::start("");
    Client::login_with(
        &gateway,
        &mint(json!({"sub": "u", "aud": "whatever", "iss": "x"})),
        Value::Null,
    )
    .fence();
}

#[test]
fn the_user_may_stand_in_another_claim() {
    let gateway = Gateway::start("auth.user_claim = \"uid\"");
    let mut client = Client::open(&gateway);
    assert_eq!(
        client.connect(&mint(json!({"uid": "anna", "sub": "other"})), Value::Null)["user"],
        "anna"
    );
    refused(&gateway, &token("u"), "token_invalid");
}

#[test]
fn the_third_refused_token_is_answered_and_closes_4401() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    client.refused(connect("x"), 401, "token_invalid");
    client.refused(json!({"path": "ping", "id": 2}), 401, "not_connected");
    client.refused(json!({"path": "connect", "id": 3}), 401, "token_missing");
    client.send(json!({"path": "ping", "id": 4, "token": mint(json!({"sub": "u", "exp": 1}))}));
    let (messages, (code, _)) = client.until_closed();
    assert_eq!(code, 4401);
    assert_eq!(messages.len(), 1);
    let reply: Value = serde_json::from_str(&messages[0]).unwrap();
    assert_eq!(
        (&reply["id"], &reply["error"]["code"]),
        (&json!(4), &json!("token_expired"))
    );
    wait_until("it to be counted", || gateway.closed_for("auth_failed") == 1.0);
}

#[test]
fn refused_tokens_count_after_login_too_and_a_success_starts_the_count_anew() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    for _ in 0..3 {
        client.refused(connect("x"), 401, "token_invalid");
        client.refused(connect("x"), 401, "token_invalid");
        client.connect(&token("u"), Value::Null);
    }
    client.refused(json!({"path": "ping", "id": 1, "token": "x"}), 401, "token_invalid");
    client.fence();
    client.refused(json!({"path": "ping", "id": 1, "token": "x"}), 401, "token_invalid");
    client.send(connect("x"));
    let (messages, (code, _)) = client.until_closed();
    assert_eq!((messages.len(), code), (1, 4401));
}

#[test]
fn a_token_on_any_message_logs_in_and_the_message_is_handled() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    let reply = client.call(json!({"path": "ping", "id": 1, "token": token("u")}));
    assert_eq!(reply, json!({"id": 1, "path": "ping", "status": 200, "body": {}}));
    client.fence();
    assert_eq!(gateway.user("u")["online"], true);

    let mut quiet = Client::open(&gateway);
    quiet.send(json!({"path": "ping", "token": token("quiet")}));
    quiet.fence();
}

#[test]
fn a_message_with_a_refused_token_is_not_handled() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let mut client = Client::login(&gateway, "u");
    client.refused(
        json!({"path": "subscribe", "id": 1, "token": "x", "body": {"topics": ["t"]}}),
        401,
        "token_invalid",
    );
    assert_eq!(gateway.user("u")["connections"][0]["topics"], json!([]));
    client.fence();
}

#[test]
fn a_token_of_another_user_is_403_and_changes_nothing() {
    let gateway = Gateway::start("auth.default_topics = [\"t\"]");
    let mut client = Client::login_with(&gateway, &token("anna"), json!({"topics": ["t"]}));
    for _ in 0..5 {
        client.refused(connect(&token("berta")), 403, "user_mismatch");
        client.refused(
            json!({"path": "order/a", "id": 2, "token": token("berta")}),
            403,
            "user_mismatch",
        );
    }
    client.fence();
    assert_eq!(gateway.user("berta")["online"], false);
    assert_eq!(gateway.user("anna")["connections"][0]["topics"], json!(["t"]));
    assert_eq!(gateway.push(json!({"user": "anna"}), "p", json!(1))["matched"], 1);
    assert_eq!(client.json(), json!({"path": "p", "body": 1}));
}

#[test]
fn at_its_expiry_and_leeway_a_connection_is_closed_4410_and_not_before() {
    let gateway = Gateway::start("auth.leeway = \"1s\"");
    let expires_at = now_s() + 1;
    let mut client = Client::login_with(&gateway, &mint(json!({"sub": "u", "exp": expires_at})), Value::Null);
    assert_eq!(client.closed().0, 4410);
    assert!(now_s() > expires_at, "closed before the leeway was over");
    wait_until("it to be counted", || gateway.closed_for("token_expired") == 1.0);
    gateway.wait_connections("u", 0);
}

#[test]
fn a_fresh_token_moves_the_expiry_both_ways() {
    let gateway = Gateway::start("auth.leeway = \"0s\"");
    let short = || mint(json!({"sub": "u", "exp": now_s() + 2}));
    let long = token("u");
    let mut left_alone = Client::login_with(&gateway, &short(), Value::Null);
    let mut moved_by_connect = Client::login_with(&gateway, &short(), Value::Null);
    let mut moved_by_message = Client::login_with(&gateway, &short(), Value::Null);
    let mut moved_closer = Client::login_with(&gateway, &long, Value::Null);
    moved_by_connect.connect(&long, Value::Null);
    assert_eq!(
        moved_by_message.call(json!({"path": "ping", "id": 1, "token": long}))["status"],
        200
    );
    moved_closer.connect(&short(), Value::Null);
    assert_eq!(left_alone.closed().0, 4410);
    assert_eq!(moved_closer.closed().0, 4410);
    moved_by_connect.fence();
    moved_by_message.fence();
}

#[test]
fn a_refused_token_does_not_move_the_expiry() {
    let gateway = Gateway::start("auth.leeway = \"0s\"");
    let mut client = Client::login_with(&gateway, &mint(json!({"sub": "u", "exp": now_s() + 2})), Value::Null);
    client.refused(connect(&token("other")), 403, "user_mismatch");
    client.refused(connect("x"), 401, "token_invalid");
    assert_eq!(client.closed().0, 4410);
}

#[test]
fn who_does_not_log_in_in_time_is_closed_4408_whatever_else_it_sends() {
    let gateway = Gateway::start("timeouts.connect = \"1s\"");
    let mut logged_in = Client::login(&gateway, "u");
    let mut silent = Client::open(&gateway);
    let mut failing = Client::open(&gateway);
    failing.send(connect("x"));
    failing.send(json!({"path": "ping", "id": 1}));
    assert_eq!(silent.closed().0, 4408);
    let (messages, (code, _)) = failing.until_closed();
    assert_eq!((messages.len(), code), (2, 4408));
    logged_in.fence();
    wait_until("both to be counted", || gateway.closed_for("connect_timeout") == 2.0);
}

#[test]
fn an_expiry_may_be_a_fraction_or_very_far_away_and_nonsense_is_refused() {
    let gateway = Gateway::start("");
    for exp in [
        json!(now_s() as f64 + 100.5),
        json!(4_102_444_800_u64),
        json!(9_007_199_254_740_991_u64),
        json!(1e15),
    ] {
        Client::login_with(&gateway, &mint(json!({"sub": "u", "exp": exp})), Value::Null).fence();
    }
    for exp in [
        json!(-1),
        json!(-1e300),
        json!(0),
        json!(true),
        json!([]),
        json!("2999-01-01"),
    ] {
        let mut client = Client::open(&gateway);
        let reply = client.call(connect(&mint(json!({"sub": "u", "exp": exp}))));
        assert_eq!(reply["status"], 401, "{exp}: {reply}");
    }
    for exp in [json!(u64::MAX), json!(i64::MAX), json!(1e300)] {
        let mut client = Client::open(&gateway);
        let reply = client.call(connect(&mint(json!({"sub": "u", "exp": exp}))));
        if reply["status"] == 200 {
            client.fence();
        } else {
            assert_eq!(reply["error"]["code"], "token_invalid", "{exp}: {reply}");
        }
    }
}
