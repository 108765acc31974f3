//! What a payload must say.

use super::settings::Algorithm::HS256;
use super::*;

fn settings() -> Auth {
    auth(vec![hs256("", SECRET)])
}

/// Verifies a payload of the usual user and expiry with `extra` laid over it; `null` in `extra` takes a claim out.
fn verify(auth: &Auth, extra: Value) -> Result<Claims, TokenError> {
    let mut payload = payload();
    for (name, value) in extra.as_object().unwrap() {
        match value {
            Value::Null => payload.as_object_mut().unwrap().remove(name),
            value => payload.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    verifier(auth).verify(&sign(HS256, None, &payload), NOW_MS)
}

fn verify_text(auth: &Auth, payload: &str) -> Result<Claims, TokenError> {
    verifier(auth).verify(&sign_raw(r#"{"alg":"HS256"}"#, payload, SECRET), NOW_MS)
}

#[test]
fn all_claims_are_handed_on() {
    let claims = verify(
        &settings(),
        json!({"device": "phone", "paths": ["order/*", "x"], "topics": []}),
    )
    .unwrap();
    let expected = Claims {
        user: "u1".to_owned(),
        device: Some("phone".to_owned()),
        expires_at: Some(NOW + 60),
        paths: Some(vec!["order/*".to_owned(), "x".to_owned()]),
        topics: Some(Vec::new()),
    };
    assert_eq!(claims, expected);
    let bare = verify(&settings(), json!({})).unwrap();
    assert_eq!((bare.device, bare.paths, bare.topics), (None, None, None));
}

#[test]
fn time_is_what_is_passed_in() {
    // By the system's clock the first expired long ago and the second is far ahead.
    let verifier = verifier(&settings());
    let old = sign(HS256, None, &json!({"sub": "u", "exp": 2_000, "nbf": 1_000}));
    assert!(verifier.verify(&old, 1_500_000).is_ok());
    let far = sign(
        HS256,
        None,
        &json!({"sub": "u", "exp": 40_000_000_000_u64, "nbf": 30_000_000_000_u64}),
    );
    assert!(verifier.verify(&far, 35_000_000_000_000).is_ok());
}

#[test]
fn a_token_is_valid_strictly_before_exp_plus_leeway() {
    let token = sign(HS256, None, &json!({"sub": "u", "exp": NOW}));
    for leeway_ms in [0, 1, 5_000, 60_000] {
        let verifier = verifier(&Auth {
            leeway_ms,
            ..settings()
        });
        let end_ms = NOW_MS + leeway_ms;
        assert_eq!(
            verifier.verify(&token, end_ms - 1).unwrap().expires_at,
            Some(NOW),
            "{leeway_ms}"
        );
        assert_eq!(verifier.verify(&token, end_ms), Err(TokenError::Expired), "{leeway_ms}");
        assert_eq!(
            verifier.verify(&token, u64::MAX),
            Err(TokenError::Expired),
            "{leeway_ms}"
        );
    }
}

#[test]
fn a_token_is_valid_from_nbf_less_leeway() {
    let token = sign(HS256, None, &json!({"sub": "u", "exp": NOW + 600, "nbf": NOW}));
    for leeway_ms in [0, 1, 5_000, 60_000] {
        let verifier = verifier(&Auth {
            leeway_ms,
            ..settings()
        });
        let start_ms = NOW_MS - leeway_ms;
        assert!(verifier.verify(&token, start_ms).is_ok(), "{leeway_ms}");
        assert_eq!(
            verifier.verify(&token, start_ms - 1),
            Err(TokenError::NotYetValid),
            "{leeway_ms}"
        );
        assert_eq!(verifier.verify(&token, 0), Err(TokenError::NotYetValid), "{leeway_ms}");
    }
}

#[test]
fn exp_is_required_unless_the_config_says_otherwise() {
    assert!(is_invalid(verify(&settings(), json!({"exp": null}))));
    let lax = Auth {
        require_exp: false,
        ..settings()
    };
    assert_eq!(verify(&lax, json!({"exp": null})).unwrap().expires_at, None);
    assert_eq!(
        verify(&lax, json!({"exp": NOW - 60})),
        Err(TokenError::Expired),
        "what is there is checked"
    );
    assert!(is_invalid(verify(&lax, json!({"exp": "soon"}))));
}

#[test]
fn fractions_of_a_second_never_widen_a_token() {
    let strict = Auth {
        leeway_ms: 0,
        ..settings()
    };
    let verifier = verifier(&strict);
    let token = sign(
        HS256,
        None,
        &json!({"sub": "u", "exp": NOW as f64 + 1.9, "nbf": NOW as f64 - 0.5}),
    );
    assert_eq!(
        verifier.verify(&token, NOW_MS + 999).unwrap().expires_at,
        Some(NOW + 1),
        "exp is rounded down"
    );
    assert_eq!(verifier.verify(&token, NOW_MS + 1_000), Err(TokenError::Expired));
    assert_eq!(
        verifier.verify(&token, NOW_MS - 1),
        Err(TokenError::NotYetValid),
        "nbf is rounded up"
    );
    assert_eq!(
        verify(&strict, json!({"exp": 1.7e9 + 60.0})).unwrap().expires_at,
        Some(NOW + 60)
    );
}

#[test]
fn odd_times_are_refused_and_nothing_overflows() {
    for leeway_ms in [0, 5_000, u64::MAX] {
        let auth = Auth {
            leeway_ms,
            ..settings()
        };
        for exp in ["null", "true", "\"1700000060\"", "\"\"", "[1700000060]", "{}"] {
            let payload = format!(r#"{{"sub":"u","exp":{exp}}}"#);
            assert!(is_invalid(verify_text(&auth, &payload)), "exp {exp}");
            let payload = format!(r#"{{"sub":"u","exp":1700000060,"nbf":{exp}}}"#);
            assert!(is_invalid(verify_text(&auth, &payload)), "nbf {exp}");
        }
        for huge in [
            "9007199254740992",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
            "1e999",
        ] {
            assert!(
                is_invalid(verify_text(&auth, &format!(r#"{{"sub":"u","exp":{huge}}}"#))),
                "exp {huge}"
            );
            let payload = format!(r#"{{"sub":"u","exp":1700000060,"nbf":{huge}}}"#);
            assert!(is_invalid(verify_text(&auth, &payload)), "nbf {huge}");
        }
        let latest = verify_text(&auth, r#"{"sub":"u","exp":9007199254740991,"nbf":-9e300}"#).unwrap();
        assert_eq!(latest.expires_at, Some((1 << 53) - 1));
    }
    for past in ["0", "-0.0", "-1", "-1.5", "-9223372036854775808", "-1e300", "0.9"] {
        let payload = format!(r#"{{"sub":"u","exp":{past}}}"#);
        assert_eq!(verify_text(&settings(), &payload), Err(TokenError::Expired), "{past}");
        let payload = format!(r#"{{"sub":"u","exp":1700000060,"nbf":{past}}}"#);
        assert!(verify_text(&settings(), &payload).is_ok(), "{past}");
    }
}

#[test]
fn the_time_is_looked_at_last() {
    let strict = Auth {
        audience: vec!["gw".to_owned()],
        ..settings()
    };
    assert!(
        is_invalid(verify(&strict, json!({"exp": NOW - 60}))),
        "a fresh one would not help"
    );
    assert!(
        is_invalid(verify(&strict, json!({"nbf": NOW + 60}))),
        "nor would waiting"
    );
    assert_eq!(
        verify(&strict, json!({"exp": NOW - 60, "aud": "gw"})),
        Err(TokenError::Expired)
    );
    assert_eq!(
        verify(&strict, json!({"nbf": NOW + 10, "aud": "gw"})),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(
        verify(&settings(), json!({"exp": NOW - 60, "nbf": NOW + 60})),
        Err(TokenError::Expired)
    );
}

#[test]
fn issuer_is_checked_where_configured() {
    let auth = Auth {
        issuer: Some("https://id.example".to_owned()),
        ..settings()
    };
    assert!(verify(&auth, json!({"iss": "https://id.example"})).is_ok());
    for iss in [
        json!(null),
        json!("https://id.example/"),
        json!(""),
        json!(["https://id.example"]),
        json!(5),
    ] {
        assert!(is_invalid(verify(&auth, json!({ "iss": iss }))), "{iss}");
    }
    assert!(verify(&settings(), json!({"iss": "anybody"})).is_ok());
    assert!(verify(&settings(), json!({"iss": 5})).is_ok());
}

#[test]
fn audience_is_checked_where_configured() {
    let auth = Auth {
        audience: vec!["gw".to_owned(), "push".to_owned()],
        ..settings()
    };
    for aud in [json!("gw"), json!("push"), json!(["gw"]), json!(["x", "push"])] {
        assert!(verify(&auth, json!({ "aud": aud })).is_ok(), "{aud}");
    }
    // jsonwebtoken lets a missing and a malformed one pass.
    for aud in [
        json!(null),
        json!("x"),
        json!(""),
        json!([]),
        json!(["x"]),
        json!(7),
        json!({"gw": 1}),
        json!(["gw", 7]),
    ] {
        assert!(is_invalid(verify(&auth, json!({ "aud": aud }))), "{aud}");
    }
}

#[test]
fn audience_is_not_looked_at_where_none_is_configured() {
    // jsonwebtoken refuses any there.
    for aud in [json!(null), json!("x"), json!([]), json!(["x", "y"]), json!(7)] {
        assert!(verify(&settings(), json!({ "aud": aud })).is_ok(), "{aud}");
    }
}

#[test]
fn the_user_is_a_string_of_1_to_128_bytes() {
    for user in ["u", "a.b@c", "ü", " ", "\u{0}", &"x".repeat(128), &"ü".repeat(64)] {
        assert_eq!(verify(&settings(), json!({ "sub": user })).unwrap().user, user);
    }
    let long = ["x".repeat(129), "ü".repeat(65)];
    for user in [
        json!(null),
        json!(""),
        json!(7),
        json!(true),
        json!(["u"]),
        json!({}),
        json!(long[0]),
        json!(long[1]),
    ] {
        assert!(is_invalid(verify(&settings(), json!({ "sub": user }))), "{user}");
    }
}

#[test]
fn the_user_claim_can_be_any_claim() {
    for claim in ["uid", "https://example.com/user", "iss", "device", ""] {
        let auth = Auth {
            user_claim: claim.to_owned(),
            ..settings()
        };
        let claims = verify(&auth, json!({ claim: "u2" })).unwrap();
        assert_eq!(claims.user, "u2", "{claim}");
        assert_eq!(claims.device.is_some(), claim == "device");
    }
    let auth = Auth {
        user_claim: "uid".to_owned(),
        ..settings()
    };
    assert!(is_invalid(verify(&auth, json!({}))), "`sub` does not stand in");
}

#[test]
fn device_is_a_string_of_up_to_64_bytes() {
    for device in [String::new(), "d".to_owned(), "x".repeat(64)] {
        assert_eq!(
            verify(&settings(), json!({ "device": device })).unwrap().device,
            Some(device)
        );
    }
    for device in [json!("x".repeat(65)), json!(5), json!(["d"]), json!({})] {
        assert!(is_invalid(verify(&settings(), json!({ "device": device }))), "{device}");
    }
}

#[test]
fn patterns_are_arrays_of_strings() {
    for name in ["paths", "topics"] {
        for value in [
            json!("*"),
            json!(5),
            json!({}),
            json!([5]),
            json!(["a", null]),
            json!([["a"]]),
            json!(true),
        ] {
            assert!(
                is_invalid(verify(&settings(), json!({ name: value }))),
                "{name} {value}"
            );
        }
    }
}

#[test]
fn null_is_malformed_and_not_absent() {
    // An absent `paths` grants the default: a service that meant "none" must not get that.
    for name in ["paths", "topics", "device", "exp", "nbf"] {
        let mut payload = payload();
        payload.as_object_mut().unwrap().insert(name.to_owned(), Value::Null);
        assert!(is_invalid(verify_text(&settings(), &payload.to_string())), "{name}");
    }
}

#[test]
fn the_payload_is_a_json_object() {
    for text in [
        "",
        "null",
        "[]",
        "\"x\"",
        "5",
        "{",
        "{}{}",
        "\u{feff}{}",
        &"[".repeat(4_000),
        &"{\"a\":".repeat(800),
    ] {
        assert!(is_invalid(verify_text(&settings(), text)), "{text:.20}");
    }
    let lax = Auth {
        require_exp: false,
        ..settings()
    };
    assert!(verify_text(&lax, " {\n\"sub\" : \"\\u0075\" } ").is_ok());
    assert!(
        is_invalid(verify_text(&lax, "{\"sub\":\"\\ud800\"}")),
        "half a surrogate pair"
    );
}

#[test]
fn errors_hold_nothing_of_the_token() {
    let token = sign(
        HS256,
        Some("secret-kid"),
        &json!({"sub": "secret-user", "exp": "secret-exp"}),
    );
    let error = verifier(&settings()).verify(&token, NOW_MS).unwrap_err();
    for text in [format!("{error}"), format!("{error:?}")] {
        assert!(!text.contains("secret"), "{text}");
        assert!(!token.split('.').any(|part| text.contains(part)), "{text}");
    }
}
