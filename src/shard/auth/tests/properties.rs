//! What holds for every token and key: no change of a byte goes unnoticed, nothing panics, time is exact.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::settings::Algorithm::{ES256, ES384, EdDSA, HS256, HS512, PS256, RS256};
use super::*;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    verifier(&auth(
        ALGORITHMS
            .iter()
            .map(|algorithm| fixture_key(&format!("{algorithm:?}"), *algorithm))
            .collect(),
    ))
});

/// A good token of each kind, with a `kid` and without.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let payload = json!({"sub": "user", "exp": NOW + 60, "nbf": NOW - 1, "paths": ["*"], "device": "d"});
    [HS256, HS512, RS256, PS256, ES256, ES384, EdDSA]
        .into_iter()
        .flat_map(|algorithm| [None, Some(format!("{algorithm:?}"))].map(|kid| (algorithm, kid)))
        .map(|(algorithm, kid)| sign(algorithm, kid.as_deref(), &payload))
        .collect()
});

/// JSON values of the kinds that claims have, and some that they never should.
fn any_claim() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (NOW - 10..NOW + 10).prop_map(Value::from),
        ".{0,140}".prop_map(Value::from),
        Just(Value::from("gw")),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn a_token_with_one_byte_changed_is_refused(token in any::<Index>(), at in any::<Index>(), byte in 0_u8..128) {
        let good = token.get(&TOKENS);
        prop_assert!(VERIFIER.verify(good, NOW_MS).is_ok());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(is_invalid(VERIFIER.verify(&changed, NOW_MS)), "byte {at}");
    }

    #[test]
    fn a_token_with_a_piece_missing_or_added_is_refused(
        token in any::<Index>(),
        at in any::<Index>(),
        cut in 0_usize..4,
        added in "[A-Za-z0-9_.=-]{0,3}",
    ) {
        let good = token.get(&TOKENS);
        let at = at.index(good.len() + 1);
        let end = (at + cut).min(good.len());
        let changed = format!("{}{added}{}", &good[..at], &good[end..]);
        prop_assume!(changed != *good);
        prop_assert!(is_invalid(VERIFIER.verify(&changed, NOW_MS)));
    }

    #[test]
    fn no_text_panics(text in prop_oneof![".*", "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}"]) {
        prop_assert!(is_invalid(VERIFIER.verify(&text, NOW_MS)));
        prop_assert_eq!(VERIFIER.cost(&text), 1);
    }

    #[test]
    fn no_signed_header_or_payload_panics(header in any_claim(), payload in ".{0,80}") {
        let auth = auth(vec![hs256("", SECRET)]);
        let token = sign_raw(&header.to_string(), &payload, SECRET);
        prop_assert!(is_invalid(verifier(&auth).verify(&token, NOW_MS)), "no alg in {header}");
        let token = sign_raw(r#"{"alg":"HS256"}"#, &payload, SECRET);
        prop_assert!(is_invalid(verifier(&auth).verify(&token, NOW_MS)), "no claims in {payload}");
    }

    #[test]
    fn whatever_is_signed_only_good_claims_come_out(
        claims in prop::collection::btree_map(
            select(vec!["sub", "exp", "nbf", "iss", "aud", "device", "paths", "topics"]), any_claim(), 0..8),
        require_exp: bool,
        now_ms in prop_oneof![Just(NOW_MS), any::<u64>()],
        leeway_ms in prop_oneof![Just(5_000), any::<u64>()],
    ) {
        let mut claims = json!(claims);
        if claims.get("sub").is_none() {
            claims["sub"] = json!("u");
        }
        let auth = Auth { require_exp, leeway_ms, ..auth(vec![hs256("", SECRET)]) };
        if let Ok(out) = verifier(&auth).verify(&sign(HS256, None, &claims), now_ms) {
            prop_assert_eq!(json!(out.user), claims["sub"].clone());
            prop_assert!((1..=128).contains(&out.user.len()));
            prop_assert!(out.device.is_none_or(|device| device.len() <= 64));
            prop_assert_eq!(out.expires_at.is_some(), claims.get("exp").is_some());
            prop_assert!(out.expires_at.is_some() || !require_exp);
            prop_assert_eq!(json!(out.paths), claims.get("paths").cloned().unwrap_or_default());
            prop_assert_eq!(json!(out.topics), claims.get("topics").cloned().unwrap_or_default());
        }
    }

    #[test]
    fn time_is_exact(
        exp in 0_u64..4_000_000_000,
        nbf in prop::option::of(0_u64..4_000_000_000),
        leeway_ms in prop_oneof![0_u64..10_000, any::<u64>()],
        near in any::<bool>(),
        offset_ms in -10_000_i128..10_000,
        any_now_ms in any::<u64>(),
    ) {
        let now_ms = match near {
            true => u64::try_from((i128::from(exp) * 1000 + offset_ms).max(0)).unwrap(),
            false => any_now_ms,
        };
        let (now, leeway) = (i128::from(now_ms), i128::from(leeway_ms));
        let mut claims = json!({"sub": "u", "exp": exp});
        if let Some(nbf) = nbf {
            claims["nbf"] = json!(nbf);
        }
        let auth = Auth { leeway_ms, ..auth(vec![hs256("", SECRET)]) };
        let outcome = verifier(&auth).verify(&sign(HS256, None, &claims), now_ms).map(|claims| claims.expires_at);
        // Saturation shows only at the end of time, 584 million years from now.
        let expected = if now >= (i128::from(exp) * 1000 + leeway).min(i128::from(u64::MAX)) {
            Err(TokenError::Expired)
        } else if nbf.is_some_and(|nbf| now + leeway < i128::from(nbf) * 1000) {
            Err(TokenError::NotYetValid)
        } else {
            Ok(Some(exp))
        };
        prop_assert_eq!(outcome, expected);
    }

    #[test]
    fn no_key_file_panics(file in any::<Index>(), at in any::<Index>(), byte: u8, cut in any::<Index>()) {
        let files = [RSA_PUBLIC, P256_PUBLIC, P384_PUBLIC, ED25519_PUBLIC, RSA_1024_PUBLIC, SECP256K1_PUBLIC];
        let mut pem = file.get(&files).to_vec();
        let at = at.index(pem.len());
        pem[at] = byte;
        for pem in [pem.clone(), pem[..cut.index(pem.len())].to_vec()] {
            for algorithm in [RS256, ES256, ES384, EdDSA] {
                let _ = Verifier::new(&auth(vec![key("", algorithm, KeyMaterial::PublicKeyPem(pem.clone()))]));
            }
        }
    }

    #[test]
    fn no_jwk_set_panics(member in any::<Index>(), name in "kty|alg|use|key_ops|crv|x|y|n|e|kid", value in any_claim()) {
        let mut set: Value = serde_json::from_str(JWKS).unwrap();
        let keys = set["keys"].as_array_mut().unwrap();
        let member = member.index(keys.len());
        keys[member][name] = value.clone();
        for text in [set.to_string(), json!({ "keys": value }).to_string()] {
            let _ = Verifier::new(&Auth { jwks: Some(text), ..auth(Vec::new()) });
        }
    }
}
