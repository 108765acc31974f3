//! Minted tokens: what is signed is what the same config accepts.

use super::settings::Algorithm::{ES256, HS256, HS384, HS512, RS256};
use super::*;

fn grant() -> Grant {
    Grant {
        user: "u1".to_owned(),
        ttl_seconds: 60,
        paths: Some(vec!["order/*".to_owned()]),
        topics: Some(vec!["news".to_owned()]),
        device: Some("phone".to_owned()),
    }
}

#[test]
fn a_minted_token_passes_the_same_config() {
    for algorithm in [HS256, HS384, HS512] {
        for id in ["", "k1"] {
            let auth = Auth {
                user_claim: "uid".to_owned(),
                issuer: Some("me".to_owned()),
                audience: vec!["gw".to_owned(), "other".to_owned()],
                ..auth(vec![
                    fixture_key("rsa", RS256),
                    fixture_key(id, algorithm),
                    hs256("last", OTHER_SECRET),
                ])
            };
            let token = mint(&auth, &grant(), NOW_MS + 999).unwrap();
            let claims = verifier(&auth).verify(&token, NOW_MS).unwrap();
            let expected = Claims {
                user: "u1".to_owned(),
                device: Some("phone".to_owned()),
                expires_at: Some(NOW + 60),
                paths: Some(vec!["order/*".to_owned()]),
                topics: Some(vec!["news".to_owned()]),
            };
            assert_eq!(claims, expected);
            let header = decode_header(&token).unwrap();
            assert_eq!(header.kid.as_deref(), (!id.is_empty()).then_some(id));
            let payload: Value = dangerous::insecure_decode_claims(&token).unwrap();
            assert_eq!(payload["iat"], json!(NOW));
        }
    }
}

#[test]
fn what_is_not_granted_is_left_out() {
    let auth = auth(vec![hs256("", SECRET)]);
    let token = mint(
        &auth,
        &Grant {
            user: "u".to_owned(),
            ttl_seconds: 1,
            ..Grant::default()
        },
        NOW_MS,
    )
    .unwrap();
    let payload: Value = dangerous::insecure_decode_claims(token).unwrap();
    assert_eq!(payload, json!({"sub": "u", "iat": NOW, "exp": NOW + 1}));
}

#[test]
fn without_an_hs_key_there_is_advice() {
    for keys in [vec![], vec![fixture_key("", RS256), fixture_key("", ES256)]] {
        let error = mint(&auth(keys), &grant(), NOW_MS).unwrap_err();
        assert!(
            error.to_string().contains("HS256") && error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn a_token_that_would_be_refused_is_not_minted() {
    let fine = auth(vec![hs256("", SECRET)]);
    for bad in [
        Grant {
            user: String::new(),
            ..grant()
        },
        Grant {
            user: "x".repeat(129),
            ..grant()
        },
        Grant {
            device: Some("x".repeat(65)),
            ..grant()
        },
        Grant {
            paths: Some(vec!["x".repeat(9_000)]),
            ..grant()
        },
        Grant {
            ttl_seconds: u64::MAX,
            ..grant()
        },
    ] {
        assert!(mint(&fine, &bad, NOW_MS).is_err(), "{bad:?}");
    }
    let clash = Auth {
        user_claim: "iss".to_owned(),
        issuer: Some("me".to_owned()),
        ..fine.clone()
    };
    assert!(mint(&clash, &grant(), NOW_MS).is_err());
    let error = mint(&auth(vec![hs256("", b"short")]), &grant(), NOW_MS).unwrap_err();
    assert!(error.to_string().contains("auth.keys[0]"), "{error}");
}
