//! Which keys are refused at start-up, which members of a JWK set are skipped, and what is said about it.

use super::settings::Algorithm::{self as Named, ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256};
use super::*;

fn refusal(algorithm: Named, material: KeyMaterial) -> String {
    let error = key_error(&auth(vec![hs256("ok", SECRET), key("bad", algorithm, material)]));
    assert_eq!(error.key, KeyOrigin::Configured(1));
    assert!(error.to_string().starts_with("auth.keys[1]: "), "{error}");
    error.message
}

fn pem(text: impl AsRef<[u8]>) -> KeyMaterial {
    KeyMaterial::PublicKeyPem(text.as_ref().to_vec())
}

fn secret(text: impl AsRef<[u8]>) -> KeyMaterial {
    KeyMaterial::Secret(text.as_ref().to_vec())
}

#[test]
fn a_secret_is_at_least_as_long_as_its_hash() {
    for (algorithm, bytes) in [(HS256, 32), (HS384, 48), (HS512, 64)] {
        assert!(Verifier::new(&auth(vec![key("", algorithm, secret(vec![b's'; bytes]))])).is_ok());
        let message = refusal(algorithm, secret(vec![b's'; bytes - 1]));
        assert!(
            message.contains(&bytes.to_string()) && message.contains("openssl rand"),
            "{message}"
        );
        assert!(!message.contains("sss"), "{message}");
        // jsonwebtoken takes an empty one.
        refusal(algorithm, secret(""));
    }
}

#[test]
fn a_pem_is_no_secret_and_a_secret_no_pem() {
    for text in [RSA_PUBLIC, RSA_PRIVATE, P256_PUBLIC, ED25519_PRIVATE] {
        let message = refusal(HS256, secret(text));
        assert!(message.contains("public_key_file"), "{message}");
        let message = refusal(HS256, pem(text));
        assert!(message.contains("secret"), "{message}");
    }
    for algorithm in [RS256, PS256, ES256, ES384, EdDSA] {
        let message = refusal(algorithm, secret(SECRET));
        assert!(message.contains("public_key_file"), "{message}");
    }
}

#[test]
fn a_key_of_another_kind_or_curve_is_refused() {
    let wrong: [(Named, &[u8], &str); 10] = [
        (RS256, P256_PUBLIC, "an EC key"),
        (PS256, ED25519_PUBLIC, "an Ed25519 key"),
        (ES256, RSA_PUBLIC, "an RSA key"),
        (ES256, ED25519_PUBLIC, "an Ed25519 key"),
        (ES256, P384_PUBLIC, "P-256"),
        (ES256, SECP256K1_PUBLIC, "P-256"),
        (ES384, P256_PUBLIC, "P-384"),
        (ES384, SECP256K1_PUBLIC, "P-384"),
        (EdDSA, P256_PUBLIC, "an EC key"),
        (EdDSA, RSA_PUBLIC, "an RSA key"),
    ];
    for (algorithm, text, named) in wrong {
        let message = refusal(algorithm, pem(text));
        assert!(message.contains(named), "{algorithm:?}: {message}");
    }
}

#[test]
fn a_small_rsa_key_is_refused() {
    for algorithm in [RS256, PS256] {
        let message = refusal(algorithm, pem(RSA_1024_PUBLIC));
        assert!(message.contains("1024") && message.contains("2048"), "{message}");
    }
}

#[test]
fn what_is_no_public_key_in_pem_is_refused() {
    // jsonwebtoken takes an RSA private key's bytes as a public key, which then verifies nothing.
    for (algorithm, private) in [
        (RS256, RSA_PRIVATE),
        (ES256, P256_PRIVATE),
        (ES384, P384_PRIVATE),
        (EdDSA, ED25519_PRIVATE),
    ] {
        let message = refusal(algorithm, pem(private));
        assert!(
            message.contains("private key") && message.contains("-pubout"),
            "{message}"
        );
    }
    let text = std::str::from_utf8(RSA_PUBLIC).unwrap();
    let broken = [
        String::new(),
        "not a key".to_owned(),
        text.replace("PUBLIC KEY", "CERTIFICATE"),
        text.replace("PUBLIC KEY", "NONSENSE"),
        text.replacen("MII", "MIJ", 1),
        text.replacen("MII", "!!!", 1),
        text[..text.len() / 2].to_owned(),
        text.replace("-----END", "-----FIN"),
        format!("{text}{text}"),
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".to_owned(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
        "-----BEGIN ".to_owned(),
    ];
    for text in broken {
        let message = refusal(RS256, pem(&text));
        assert!(!message.contains("MII"), "{message}");
    }
}

#[test]
fn the_ways_in_which_people_write_a_pem_file_are_taken() {
    let text = std::str::from_utf8(RSA_PUBLIC).unwrap();
    let bare = &text[text.find("-----BEGIN").unwrap()..];
    let ways = [
        text.to_owned(),
        text.replace('\n', "\r\n"),
        bare.to_owned(),
        bare.trim_end().to_owned(),
        format!("\n\n{text}\n\n"),
        String::from_utf8(RSA_PUBLIC_PKCS1.to_vec()).unwrap(),
    ];
    for way in ways {
        let verifier = verifier(&auth(vec![key("", RS256, pem(&way))]));
        assert!(verifier.verify(&sign(RS256, None, &payload()), NOW_MS).is_ok(), "{way}");
    }
}

#[test]
fn two_keys_with_one_id_are_refused() {
    let error = key_error(&auth(vec![
        hs256("a", SECRET),
        hs256("b", SECRET),
        fixture_key("a", RS256),
    ]));
    assert_eq!(error.key, KeyOrigin::Configured(2));
    assert!(
        error.message.contains("\"a\"") && error.message.contains("auth.keys[0]"),
        "{error}"
    );

    let error = key_error(&Auth {
        jwks: Some(JWKS.to_owned()),
        ..auth(vec![hs256("test-rsa", SECRET)])
    });
    assert_eq!(error.key, KeyOrigin::JwkSet);
    assert!(error.message.contains("\"test-rsa\""), "{error}");

    let mut set: Value = serde_json::from_str(JWKS).unwrap();
    set["keys"][1]["kid"] = json!("test-rsa");
    assert_eq!(key_error(&with_set(&set)).key, KeyOrigin::JwkSet);

    assert!(
        Verifier::new(&auth(vec![hs256("", SECRET), hs256("", OTHER_SECRET)])).is_ok(),
        "none is no id"
    );
}

#[test]
fn nothing_shows_a_secret() {
    let auth = auth(vec![hs256("", SECRET), fixture_key("k", RS256)]);
    let shown = format!("{:?} {:?}", verifier(&auth), auth);
    assert!(!shown.contains("a secret of tests"), "{shown}");
    assert!(!shown.contains("97, 32, 115, 101, 99, 114, 101, 116"), "{shown}");
}

fn with_set(set: &Value) -> Auth {
    Auth {
        jwks: Some(set.to_string()),
        ..auth(Vec::new())
    }
}

/// Loads the fixture's set with its first member changed: the one warning, or none.
fn changed(change: impl Fn(&mut Value)) -> Option<String> {
    let mut set: Value = serde_json::from_str(JWKS).unwrap();
    change(&mut set["keys"][0]);
    let (verifier, mut warnings) = Verifier::new(&with_set(&set)).unwrap();
    assert!(warnings.len() <= 1, "{warnings:?}");
    assert!(
        verifier
            .verify(&sign(EdDSA, Some("test-ed25519"), &payload()), NOW_MS)
            .is_ok(),
        "the others stay"
    );
    let works = verifier
        .verify(&sign(RS256, Some("test-rsa"), &payload()), NOW_MS)
        .is_ok();
    assert_eq!(
        works,
        warnings.is_empty(),
        "skipped or usable, nothing between: {warnings:?}"
    );
    warnings.pop()
}

fn without(member: &str) -> Option<String> {
    changed(|jwk| drop(jwk.as_object_mut().unwrap().remove(member)))
}

fn with(member: &str, value: Value) -> Option<String> {
    changed(|jwk| drop(jwk.as_object_mut().unwrap().insert(member.to_owned(), value.clone())))
}

#[test]
fn members_of_a_set_that_cannot_be_used_are_skipped_with_a_warning() {
    assert_eq!(changed(|_| {}), None);
    assert_eq!(without("use"), None);
    assert_eq!(with("key_ops", json!(["sign", "verify"])), None);
    assert_eq!(with("x5t", json!("something")), None);
    let skipped = [
        without("alg"),
        without("kty"),
        without("n"),
        without("e"),
        with("alg", json!("RSA-OAEP")),
        with("alg", json!("none")),
        with("alg", json!("ES256")),
        with("alg", json!("HS256")),
        with("alg", json!(5)),
        with("use", json!("enc")),
        with("use", json!("other")),
        with("use", json!(5)),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!([])),
        with("key_ops", json!("verify")),
        with("kty", json!("DSA")),
        with("n", json!("AQAB")),
        with("n", json!("not base64!")),
        with("n", json!("")),
        with("e", json!("AA")),
        with("e", json!("")),
        with("e", json!("AQ")),
    ];
    for (index, warning) in skipped.into_iter().enumerate() {
        let warning = warning.unwrap_or_else(|| panic!("case {index} was not skipped"));
        assert!(warning.contains("\"test-rsa\""), "{warning}");
    }
}

#[test]
fn members_of_other_kinds_are_skipped() {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let p256 = &set["keys"][1];
    let okp = &set["keys"][3];
    let with = |jwk: &Value, member: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[member] = value;
        jwk
    };
    let others = [
        json!({"kty": "oct", "alg": "HS256", "kid": "test-p256", "k": base64url(SECRET)}),
        with(p256, "crv", json!("P-384")),
        with(p256, "crv", json!("P-521")),
        with(p256, "crv", json!("secp256k1")),
        with(p256, "alg", json!("ES384")),
        with(p256, "alg", json!("ES512")),
        with(p256, "x", p256["y"].clone()),
        with(p256, "x", json!("AAAA")),
        with(okp, "crv", json!("Ed448")),
        with(okp, "crv", json!("X25519")),
        with(okp, "crv", json!("P-256")),
        with(okp, "x", json!("AAAA")),
        json!({}),
        json!(null),
        json!("key"),
    ];
    for other in others {
        let (_, warnings) = Verifier::new(&with_set(&json!({"keys": [other, set["keys"][0]]}))).unwrap();
        assert_eq!(warnings.len(), 1, "{other} {warnings:?}");
        assert!(!warnings[0].contains(&base64url(SECRET)), "{}", warnings[0]);
    }
}

#[test]
fn a_modulus_with_a_zero_in_front_is_the_same_key() {
    // Java's BigInteger writes it so; the signature check would refuse such a key's tokens.
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let jwk = jsonwebtoken::DecodingKey::from_jwk(&serde_json::from_value(set["keys"][0].clone()).unwrap()).unwrap();
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } = jwk.kind() else {
        panic!()
    };
    let padded = |number: &[u8]| json!(base64url(&[&[0], number].concat()));
    assert_eq!(with("n", padded(n)), None);
    assert_eq!(with("e", padded(e)), None);
}

#[test]
fn a_set_without_any_usable_key_is_refused() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[{}]}",
        "not json",
    ] {
        let error = key_error(&Auth {
            jwks: Some(text.to_owned()),
            ..auth(Vec::new())
        });
        assert_eq!(error.key, KeyOrigin::JwkSet, "{text}");
        assert!(error.to_string().starts_with("auth.jwks_file: "), "{error}");
    }
    let beside = Auth {
        jwks: Some("{\"keys\":[]}".to_owned()),
        ..auth(vec![hs256("", SECRET)])
    };
    assert!(Verifier::new(&beside).is_ok(), "a configured key is enough");
}
