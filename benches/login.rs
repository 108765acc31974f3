//! What one token check costs, for each algorithm: `cargo bench --bench login`. The reactor's budget for token checks
//! (`Verifier::cost`) counts in units of about 5 µs of these figures.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm as Jwt, EncodingKey, Header};
use longwire::config::settings::{Algorithm, Auth, KeyMaterial, KeySettings};
use longwire::shard::auth::Verifier;
use serde_json::json;

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret of benchmarks, with the sixty-four bytes of HS512's hash";
const RSA: (&[u8], &[u8]) = (
    include_bytes!("../tests/fixtures/keys/rsa-2048-private.pem"),
    include_bytes!("../tests/fixtures/keys/rsa-2048-public.pem"),
);
const P256: (&[u8], &[u8]) = (
    include_bytes!("../tests/fixtures/keys/ec-p256-private.pem"),
    include_bytes!("../tests/fixtures/keys/ec-p256-public.pem"),
);
const P384: (&[u8], &[u8]) = (
    include_bytes!("../tests/fixtures/keys/ec-p384-private.pem"),
    include_bytes!("../tests/fixtures/keys/ec-p384-public.pem"),
);
const ED25519: (&[u8], &[u8]) = (
    include_bytes!("../tests/fixtures/keys/ed25519-private.pem"),
    include_bytes!("../tests/fixtures/keys/ed25519-public.pem"),
);

/// A verifier with one key, and a token of the size that logins have, signed for it.
fn login(algorithm: Algorithm, jwt: Jwt) -> (Verifier, String) {
    let rsa = || EncodingKey::from_rsa_pem(RSA.0).unwrap();
    let (signing, public) = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => (EncodingKey::from_secret(SECRET), None),
        Algorithm::ES256 => (EncodingKey::from_ec_pem(P256.0).unwrap(), Some(P256.1)),
        Algorithm::ES384 => (EncodingKey::from_ec_pem(P384.0).unwrap(), Some(P384.1)),
        Algorithm::EdDSA => (EncodingKey::from_ed_pem(ED25519.0).unwrap(), Some(ED25519.1)),
        _ => (rsa(), Some(RSA.1)),
    };
    let material = match public {
        Some(pem) => KeyMaterial::PublicKeyPem(pem.to_vec()),
        None => KeyMaterial::Secret(SECRET.to_vec()),
    };
    let auth = Auth {
        user_claim: "sub".to_owned(),
        leeway_ms: 5_000,
        require_exp: true,
        issuer: None,
        audience: Vec::new(),
        default_paths: vec!["*".to_owned()],
        default_topics: Vec::new(),
        keys: vec![KeySettings {
            id: "k1".to_owned(),
            algorithm,
            material,
        }],
        jwks: None,
    };
    let claims = json!({
        "sub": "user-123456", "iat": NOW, "exp": NOW + 3_600, "device": "phone",
        "paths": ["order/*", "chat/send"], "topics": ["news", "room.*"],
    });
    let mut header = Header::new(jwt);
    header.kid = Some("k1".to_owned());
    (
        Verifier::new(&auth).unwrap().0,
        jsonwebtoken::encode(&header, &claims, &signing).unwrap(),
    )
}

fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for (algorithm, jwt) in [
        (Algorithm::HS256, Jwt::HS256),
        (Algorithm::HS384, Jwt::HS384),
        (Algorithm::HS512, Jwt::HS512),
        (Algorithm::RS256, Jwt::RS256),
        (Algorithm::RS384, Jwt::RS384),
        (Algorithm::RS512, Jwt::RS512),
        (Algorithm::PS256, Jwt::PS256),
        (Algorithm::PS384, Jwt::PS384),
        (Algorithm::PS512, Jwt::PS512),
        (Algorithm::ES256, Jwt::ES256),
        (Algorithm::ES384, Jwt::ES384),
        (Algorithm::EdDSA, Jwt::EdDSA),
    ] {
        let (verifier, token) = login(algorithm, jwt);
        group.bench_function(format!("{algorithm:?}"), |bencher| {
            bencher.iter(|| verifier.verify(&token, NOW * 1000).unwrap());
        });
    }
    group.finish();

    let (verifier, token) = login(Algorithm::HS256, Jwt::HS256);
    let nonsense = "x".repeat(token.len());
    let mut group = criterion.benchmark_group("around");
    group.bench_function("cost", |bencher| bencher.iter(|| verifier.cost(&token)));
    // What remembering verified tokens would cost: its name in a table must be a hash that nobody can collide.
    group.bench_function("hash the token", |bencher| {
        bencher.iter(|| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()))
    });
    group.bench_function("refuse nonsense", |bencher| {
        bencher.iter(|| verifier.verify(&nonsense, NOW * 1000))
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
