//! Which key may check a token: algorithm, `kid`, header.

use super::settings::Algorithm::{ES256, ES384, EdDSA, HS256, RS256, RS384};
use super::*;

#[test]
fn every_algorithm_verifies_with_its_own_key_and_no_other() {
    // One verifier holds them all: jsonwebtoken's own check fails on any list of mixed families.
    let all = verifier(&auth(
        ALGORITHMS.iter().map(|algorithm| fixture_key("", *algorithm)).collect(),
    ));
    for algorithm in ALGORITHMS {
        let token = sign(algorithm, None, &payload());
        assert_eq!(all.verify(&token, NOW_MS).unwrap().user, "u1", "{algorithm:?}");
        assert_eq!(
            verifier(&auth(vec![fixture_key("k", algorithm)]))
                .verify(&token, NOW_MS)
                .unwrap()
                .user,
            "u1"
        );
        let others = ALGORITHMS
            .iter()
            .filter(|other| **other != algorithm)
            .map(|other| fixture_key("", *other));
        assert!(
            is_invalid(verifier(&auth(others.collect())).verify(&token, NOW_MS)),
            "{algorithm:?}"
        );
    }
}

#[test]
fn the_jwk_set_and_the_pem_files_hold_the_same_keys() {
    let set = verifier(&Auth {
        jwks: Some(JWKS.to_owned()),
        ..auth(Vec::new())
    });
    let named = [
        (RS256, "test-rsa"),
        (ES256, "test-p256"),
        (ES384, "test-p384"),
        (EdDSA, "test-ed25519"),
    ];
    for (algorithm, kid) in named {
        assert!(
            set.verify(&sign(algorithm, Some(kid), &payload()), NOW_MS).is_ok(),
            "{kid}"
        );
        assert!(set.verify(&sign(algorithm, None, &payload()), NOW_MS).is_ok(), "{kid}");
        assert!(
            is_invalid(set.verify(&sign(algorithm, Some("unknown"), &payload()), NOW_MS)),
            "{kid}"
        );
    }
    assert!(
        is_invalid(set.verify(&sign(RS384, Some("test-rsa"), &payload()), NOW_MS)),
        "the key's own alg only"
    );
}

#[test]
fn kid_picks_the_key() {
    let verifier = verifier(&auth(vec![
        hs256("a", OTHER_SECRET),
        hs256("b", SECRET),
        fixture_key("c", RS256),
    ]));
    let verify = |kid| verifier.verify(&sign(HS256, kid, &payload()), NOW_MS);
    assert!(verify(Some("b")).is_ok());
    assert!(
        is_invalid(verify(Some("a"))),
        "the named key only, though another made the signature"
    );
    assert!(is_invalid(verify(Some("c"))), "the named key is for another algorithm");
    assert!(is_invalid(verify(Some("d"))), "a key with another id is not tried");
    assert!(is_invalid(verify(Some(""))), "an empty kid is none of theirs");
    assert!(is_invalid(verify(Some("B"))), "ids are case-sensitive");
    assert!(verify(None).is_ok(), "without a kid each key of the algorithm is tried");
}

#[test]
fn a_key_without_an_id_is_tried_for_a_kid_that_nobody_has() {
    let verifier = verifier(&auth(vec![hs256("", SECRET), hs256("a", OTHER_SECRET)]));
    let verify = |kid| verifier.verify(&sign(HS256, kid, &payload()), NOW_MS);
    assert!(verify(Some("unknown")).is_ok());
    assert!(verify(Some("")).is_ok());
    assert!(verify(None).is_ok());
    assert!(is_invalid(verify(Some("a"))), "that kid is another key's");
}

#[test]
fn the_order_of_the_keys_does_not_matter() {
    let keys = vec![
        hs256("a", OTHER_SECRET),
        hs256("b", SECRET),
        hs256("", OTHER_SECRET),
        fixture_key("", RS256),
        fixture_key("r", RS384),
        fixture_key("e", ES256),
    ];
    let mut reversed = keys.clone();
    reversed.reverse();
    let (one, other) = (verifier(&auth(keys)), verifier(&auth(reversed)));
    for algorithm in [HS256, RS256, RS384, ES256, EdDSA] {
        for kid in [None, Some("a"), Some("b"), Some("r"), Some("e"), Some("x"), Some("")] {
            let token = sign(algorithm, kid, &payload());
            assert_eq!(
                one.verify(&token, NOW_MS),
                other.verify(&token, NOW_MS),
                "{algorithm:?} {kid:?}"
            );
            assert_eq!(one.cost(&token), other.cost(&token), "{algorithm:?} {kid:?}");
        }
    }
}

#[test]
fn with_many_keys_a_token_needs_a_kid() {
    let mut keys: Vec<_> = (1..KEYS_TRIED_MAX)
        .map(|index| hs256(&format!("k{index}"), OTHER_SECRET))
        .collect();
    keys.push(hs256("mine", SECRET));
    assert!(
        verifier(&auth(keys.clone()))
            .verify(&sign(HS256, None, &payload()), NOW_MS)
            .is_ok()
    );

    keys.push(hs256("one more", OTHER_SECRET));
    let (verifier, warnings) = Verifier::new(&auth(keys.clone())).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("HS256") && warnings[0].contains("kid"),
        "{warnings:?}"
    );
    assert!(is_invalid(verifier.verify(&sign(HS256, None, &payload()), NOW_MS)));
    assert!(verifier.verify(&sign(HS256, Some("mine"), &payload()), NOW_MS).is_ok());

    let without_ids = (0..=KEYS_TRIED_MAX).map(|_| hs256("", SECRET)).collect();
    let error = key_error(&auth(without_ids));
    assert_eq!(error.key, KeyOrigin::Configured(KEYS_TRIED_MAX));
    assert!(error.message.contains("id"), "{error}");
}

#[test]
fn header_algorithms_that_are_none_of_ours_are_refused() {
    let verifier = verifier(&auth(vec![hs256("", SECRET)]));
    let payload = payload().to_string();
    assert!(
        verifier
            .verify(&sign_raw(r#"{"alg":"HS256"}"#, &payload, SECRET), NOW_MS)
            .is_ok()
    );
    for alg in [
        "none", "None", "", "hs256", "HS256 ", "ES512", "ES256K", "Ed25519", "A128KW", "dir",
    ] {
        let token = sign_raw(&json!({ "alg": alg }).to_string(), &payload, SECRET);
        assert!(is_invalid(verifier.verify(&token, NOW_MS)), "{alg}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert!(is_invalid(verifier.verify(&unsigned, NOW_MS)), "{alg}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    let verifier = verifier(&auth(vec![hs256("", SECRET)]));
    for header in [
        "",
        "{}",
        "[]",
        "null",
        "HS256",
        r#"{"alg":null}"#,
        r#"{"alg":5}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256"} x"#,
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
    ] {
        let token = sign_raw(header, &payload().to_string(), SECRET);
        assert!(is_invalid(verifier.verify(&token, NOW_MS)), "{header}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // The classic confusion: whoever knows the public key signs with it as if it were an HMAC secret.
    for public in [RSA_PUBLIC, P256_PUBLIC, ED25519_PUBLIC] {
        let token = sign_raw(r#"{"alg":"HS256"}"#, &payload().to_string(), public);
        let keys = [RS256, ES256, EdDSA]
            .map(|algorithm| fixture_key("", algorithm))
            .to_vec();
        assert!(is_invalid(verifier(&auth(keys)).verify(&token, NOW_MS)));
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_not_used() {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(serde_json::from_value(set["keys"][1].clone()).unwrap());
    let token = jsonwebtoken::encode(&header, &payload(), &EncodingKey::from_ec_pem(P256_PRIVATE).unwrap()).unwrap();
    assert!(is_invalid(
        verifier(&auth(vec![fixture_key("", RS256)])).verify(&token, NOW_MS)
    ));
    assert!(
        verifier(&auth(vec![fixture_key("", ES256)]))
            .verify(&token, NOW_MS)
            .is_ok(),
        "but the own one is"
    );
}

#[test]
fn what_is_no_token_is_refused() {
    let verifier = verifier(&auth(vec![hs256("", SECRET)]));
    let token = sign(HS256, None, &payload());
    let (message, signature) = token.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!(".{token}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("Bearer {token}"),
        "ü.ü.ü".to_owned(),
    ] {
        assert!(is_invalid(verifier.verify(&text, NOW_MS)), "{text:?}");
    }
}

#[test]
fn a_token_over_8_kib_is_refused() {
    let verifier = verifier(&auth(vec![hs256("", SECRET)]));
    let padded = |bytes: usize| sign(HS256, None, &json!({"sub": "u", "exp": NOW, "pad": "x".repeat(bytes)}));
    let empty_bytes = padded(0).len();
    let fits = padded((TOKEN_BYTES_MAX - empty_bytes) * 3 / 4 - 2);
    assert!(
        fits.len() <= TOKEN_BYTES_MAX && fits.len() > TOKEN_BYTES_MAX - 8,
        "{}",
        fits.len()
    );
    assert!(verifier.verify(&fits, NOW_MS).is_ok());
    let too_long = padded((TOKEN_BYTES_MAX - empty_bytes) * 3 / 4 + 4);
    assert!(too_long.len() > TOKEN_BYTES_MAX);
    assert!(is_invalid(verifier.verify(&too_long, NOW_MS)));
    assert_eq!(verifier.cost(&too_long), 1);
}

#[test]
fn cost_follows_the_keys_that_are_tried() {
    let verifier = verifier(&auth(vec![
        fixture_key("h", HS256),
        fixture_key("r1", RS256),
        fixture_key("r2", RS256),
        fixture_key("e", ES256),
        fixture_key("d", EdDSA),
    ]));
    let cost = |algorithm, kid| verifier.cost(&sign(algorithm, kid, &payload()));
    assert_eq!(cost(HS256, None), 1);
    assert_eq!(cost(RS256, Some("r1")), 6);
    assert_eq!(cost(RS256, None), 12);
    assert_eq!(cost(ES256, None), 15);
    assert_eq!(cost(EdDSA, None), 10);
    assert_eq!(cost(RS256, Some("unknown")), 1, "refused by its header");
    assert_eq!(cost(ES384, None), 1);
    assert_eq!(verifier.cost("nonsense"), 1);
}
