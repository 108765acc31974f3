//! Keys: every algorithm, key ids, JWK sets, and that a key takes its own algorithm only.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use crate::support::tokens::{header, mint_with};
use crate::support::{Client, Gateway, SECRET, TempDir, Value, token};

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys");

/// The bytes of a private key's file.
fn private(name: &str) -> Vec<u8> {
    std::fs::read(format!("{KEYS}/{name}-private.pem")).unwrap()
}

fn public_path(name: &str) -> String {
    format!("{KEYS}/{name}-public.pem")
}

/// The signing key of that file, for that algorithm.
fn signing(algorithm: Algorithm, name: &str) -> EncodingKey {
    let pem = private(name);
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(&pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
        _ => EncodingKey::from_rsa_pem(&pem),
    }
    .unwrap()
}

fn hmac(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

/// Whether a fresh connection can log in with this token; a refusal must be `token_invalid`.
#[track_caller]
fn admitted(gateway: &Gateway, token: &str) -> bool {
    let reply = Client::open(gateway).call(json!({"path": "connect", "id": 1, "token": token}));
    match (reply["status"].as_u64(), reply["error"]["code"].as_str()) {
        (Some(200), _) => true,
        (Some(401), Some("token_invalid")) => false,
        _ => panic!("{reply}"),
    }
}

fn claims() -> Value {
    json!({"sub": "u"})
}

const PUBLIC: [(Algorithm, &str, &str); 9] = [
    (Algorithm::RS256, "RS256", "rsa-2048"),
    (Algorithm::RS384, "RS384", "rsa-2048"),
    (Algorithm::RS512, "RS512", "rsa-2048"),
    (Algorithm::PS256, "PS256", "rsa-2048"),
    (Algorithm::PS384, "PS384", "rsa-2048"),
    (Algorithm::PS512, "PS512", "rsa-2048"),
    (Algorithm::ES256, "ES256", "ec-p256"),
    (Algorithm::ES384, "ES384", "ec-p384"),
    (Algorithm::EdDSA, "EdDSA", "ed25519"),
];

#[test]
fn each_public_key_algorithm_verifies_its_own_tokens_and_no_others() {
    for (algorithm, name, key) in PUBLIC {
        let path = public_path(key);
        let gateway = Gateway::start(&format!(
            "auth.keys = [{{ algorithm = \"{name}\", public_key_file = {path:?} }}]"
        ));
        for (other, _, key) in PUBLIC {
            let token = mint_with(&header(other, None), &signing(other, key), claims());
            assert_eq!(
                admitted(&gateway, &token),
                other == algorithm,
                "key {name}, token {other:?}"
            );
        }
        // The classic confusion: the public key's text as an HMAC secret.
        let pem = std::fs::read_to_string(&path).unwrap();
        assert!(
            !admitted(
                &gateway,
                &mint_with(&header(Algorithm::HS256, None), &hmac(&pem), claims())
            ),
            "{name}"
        );
    }
}

#[test]
fn each_hmac_algorithm_verifies_its_own_tokens_and_no_others() {
    let secret = "s".repeat(64);
    let all = [
        (Algorithm::HS256, "HS256"),
        (Algorithm::HS384, "HS384"),
        (Algorithm::HS512, "HS512"),
    ];
    for (algorithm, name) in all {
        let gateway = Gateway::start(&format!(
            "auth.keys = [{{ algorithm = \"{name}\", secret = \"{secret}\" }}]"
        ));
        for (other, _) in all {
            let token = mint_with(&header(other, None), &hmac(&secret), claims());
            assert_eq!(
                admitted(&gateway, &token),
                other == algorithm,
                "key {name}, token {other:?}"
            );
        }
    }
}

#[test]
fn key_ids_are_matched_where_both_sides_have_one() {
    let (first, second, nameless) = ("1".repeat(32), "2".repeat(32), "3".repeat(32));
    let gateway = Gateway::start(&format!(
        "auth.keys = [{{ id = \"k1\", algorithm = \"HS256\", secret = \"{first}\" }},\
         {{ id = \"k2\", algorithm = \"HS256\", secret = \"{second}\" }},\
         {{ algorithm = \"HS256\", secret = \"{nameless}\" }}]"
    ));
    let with = |kid: Option<&str>, secret: &str| {
        admitted(
            &gateway,
            &mint_with(&header(Algorithm::HS256, kid), &hmac(secret), claims()),
        )
    };
    assert!(with(Some("k1"), &first) && with(Some("k2"), &second));
    assert!(
        !with(Some("k1"), &second) && !with(Some("k2"), &first),
        "the named key and no other"
    );
    assert!(
        with(None, &first) && with(None, &second) && with(None, &nameless),
        "without a kid any key may fit"
    );
    assert!(with(Some("k3"), &nameless), "a key without an id may fit any kid");
    assert!(!with(Some("k3"), &first));
    assert!(!with(None, SECRET));
}

#[test]
fn keys_of_several_families_stand_side_by_side() {
    let (rsa, ed) = (public_path("rsa-2048"), public_path("ed25519"));
    let gateway = Gateway::start(&format!(
        "auth.keys = [{{ id = \"h\", algorithm = \"HS256\", secret = \"{SECRET}\" }},\
         {{ id = \"r\", algorithm = \"RS256\", public_key_file = {rsa:?} }},\
         {{ id = \"e\", algorithm = \"EdDSA\", public_key_file = {ed:?} }}]"
    ));
    assert!(admitted(&gateway, &token("u")));
    for (algorithm, kid, key) in [(Algorithm::RS256, "r", "rsa-2048"), (Algorithm::EdDSA, "e", "ed25519")] {
        for kid in [None, Some(kid)] {
            assert!(admitted(
                &gateway,
                &mint_with(&header(algorithm, kid), &signing(algorithm, key), claims())
            ));
        }
        assert!(!admitted(
            &gateway,
            &mint_with(&header(algorithm, Some("h")), &signing(algorithm, key), claims())
        ));
    }
}

#[test]
fn a_jwk_set_verifies_by_key_id_and_algorithm() {
    let gateway = Gateway::start(&format!("auth.jwks_file = \"{KEYS}/jwks.json\""));
    let set: Value = serde_json::from_str(&std::fs::read_to_string(format!("{KEYS}/jwks.json")).unwrap()).unwrap();
    let pairs = [
        (Algorithm::RS256, "test-rsa", "rsa-2048"),
        (Algorithm::ES256, "test-p256", "ec-p256"),
        (Algorithm::ES384, "test-p384", "ec-p384"),
        (Algorithm::EdDSA, "test-ed25519", "ed25519"),
    ];
    for (algorithm, kid, key) in pairs {
        assert!(
            set["keys"].as_array().unwrap().iter().any(|k| k["kid"] == kid),
            "the fixture has {kid}"
        );
        let mint = |kid: &str| mint_with(&header(algorithm, Some(kid)), &signing(algorithm, key), claims());
        assert!(admitted(&gateway, &mint(kid)), "{kid}");
        assert!(!admitted(&gateway, &mint("another")), "{kid}");
    }
    let other = mint_with(
        &header(Algorithm::RS512, Some("test-rsa")),
        &signing(Algorithm::RS512, "rsa-2048"),
        claims(),
    );
    assert!(!admitted(&gateway, &other), "one algorithm a key");
    assert!(
        admitted(&gateway, &token("u")),
        "the configured key stands beside the set"
    );
}

#[test]
fn a_jwk_without_alg_for_encryption_or_symmetric_is_skipped_with_a_warning() {
    let set: Value = serde_json::from_str(&std::fs::read_to_string(format!("{KEYS}/jwks.json")).unwrap()).unwrap();
    let rsa = set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == "test-rsa")
        .unwrap();
    let mut without_alg = rsa.clone();
    without_alg.as_object_mut().unwrap().remove("alg");
    without_alg["kid"] = json!("no-alg");
    let mut encryption = rsa.clone();
    encryption["use"] = json!("enc");
    encryption["kid"] = json!("encryption");
    let k = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    let symmetric = json!({"kty": "oct", "kid": "symmetric", "alg": "HS256", "k": k});
    let keys = json!({"keys": [without_alg, encryption, symmetric, rsa]});
    let dir = TempDir::new();
    let file = dir.write("jwks.json", keys.to_string());
    let gateway = Gateway::start_in(dir, &format!("auth.jwks_file = {file:?}"), |_| {});
    for kid in ["no-alg", "encryption", "symmetric"] {
        assert!(gateway.log_line(&[kid]).contains("WARN"), "{kid}");
    }
    let mint = |kid: &str| {
        mint_with(
            &header(Algorithm::RS256, Some(kid)),
            &signing(Algorithm::RS256, "rsa-2048"),
            claims(),
        )
    };
    assert!(admitted(&gateway, &mint("test-rsa")));
    assert!(!admitted(&gateway, &mint("no-alg")) && !admitted(&gateway, &mint("encryption")));
    let secret = EncodingKey::from_secret(b"secretsecretsecretsecretsecretsecret");
    assert!(!admitted(
        &gateway,
        &mint_with(&header(Algorithm::HS256, Some("symmetric")), &secret, claims())
    ));
    assert!(!gateway.log().contains(k), "key material was logged");
}

#[test]
fn in_a_secret_file_one_trailing_newline_is_cut_and_no_more() {
    for (content, fits) in [
        ("s".repeat(40), true),
        ("s".repeat(40) + "\n", true),
        ("s".repeat(40) + "\n\n", false),
    ] {
        let dir = TempDir::new();
        let file = dir.write("secret", &content);
        let keys = format!("auth.keys = [{{ algorithm = \"HS256\", secret_file = {file:?} }}]");
        let gateway = Gateway::start_in(dir, &keys, |_| {});
        let token = mint_with(&header(Algorithm::HS256, None), &hmac(&"s".repeat(40)), claims());
        assert_eq!(admitted(&gateway, &token), fits, "{content:?}");
    }
}
