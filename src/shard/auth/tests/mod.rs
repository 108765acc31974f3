//! Tests of the token room: keys and tokens that its parts share, and properties that hold for every token.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod choice;
mod claims;
mod keys;
mod mint;
mod properties;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::config::settings::{self, KeyMaterial, KeySettings};

pub const NOW: u64 = 1_700_000_000;
pub const NOW_MS: u64 = NOW * 1000;
pub const SECRET: &[u8] = b"a secret of tests, which has the sixty-four bytes of HS512's hash";
pub const OTHER_SECRET: &[u8] = b"another secret of tests, as long as the first one, or even longer";

pub const RSA_PRIVATE: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-2048-private.pem");
pub const RSA_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-2048-public.pem");
pub const RSA_PUBLIC_PKCS1: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-2048-public-pkcs1.pem");
pub const RSA_1024_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-1024-public.pem");
pub const P256_PRIVATE: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ec-p256-private.pem");
pub const P256_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ec-p256-public.pem");
pub const P384_PRIVATE: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ec-p384-private.pem");
pub const P384_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ec-p384-public.pem");
pub const SECP256K1_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ec-secp256k1-public.pem");
pub const ED25519_PRIVATE: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ed25519-private.pem");
pub const ED25519_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ed25519-public.pem");
pub const JWKS: &str = include_str!("../../../../tests/fixtures/keys/jwks.json");

pub const ALGORITHMS: [settings::Algorithm; 12] = [
    settings::Algorithm::HS256,
    settings::Algorithm::HS384,
    settings::Algorithm::HS512,
    settings::Algorithm::RS256,
    settings::Algorithm::RS384,
    settings::Algorithm::RS512,
    settings::Algorithm::PS256,
    settings::Algorithm::PS384,
    settings::Algorithm::PS512,
    settings::Algorithm::ES256,
    settings::Algorithm::ES384,
    settings::Algorithm::EdDSA,
];

/// `[auth]` as it is by default, with these keys.
pub fn auth(keys: Vec<KeySettings>) -> Auth {
    Auth {
        user_claim: "sub".to_owned(),
        leeway_ms: 5_000,
        require_exp: true,
        issuer: None,
        audience: Vec::new(),
        default_paths: vec!["*".to_owned()],
        default_topics: Vec::new(),
        keys,
        jwks: None,
    }
}

pub fn key(id: &str, algorithm: settings::Algorithm, material: KeyMaterial) -> KeySettings {
    KeySettings {
        id: id.to_owned(),
        algorithm,
        material,
    }
}

pub fn hs256(id: &str, secret: &[u8]) -> KeySettings {
    key(id, settings::Algorithm::HS256, KeyMaterial::Secret(secret.to_vec()))
}

/// The key of the fixtures for `algorithm`.
pub fn fixture_key(id: &str, algorithm: settings::Algorithm) -> KeySettings {
    let material = match super::keys::jwt_algorithm(algorithm) {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => KeyMaterial::Secret(SECRET.to_vec()),
        Algorithm::ES256 => KeyMaterial::PublicKeyPem(P256_PUBLIC.to_vec()),
        Algorithm::ES384 => KeyMaterial::PublicKeyPem(P384_PUBLIC.to_vec()),
        Algorithm::EdDSA => KeyMaterial::PublicKeyPem(ED25519_PUBLIC.to_vec()),
        _ => KeyMaterial::PublicKeyPem(RSA_PUBLIC.to_vec()),
    };
    key(id, algorithm, material)
}

pub fn verifier(auth: &Auth) -> Verifier {
    let (verifier, warnings) = Verifier::new(auth).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    verifier
}

pub fn key_error(auth: &Auth) -> KeyError {
    Verifier::new(auth).expect_err("the key must be refused")
}

pub fn payload() -> Value {
    json!({"sub": "u1", "exp": NOW + 60})
}

/// Signs with the fixture's key for `algorithm`.
pub fn sign(algorithm: settings::Algorithm, kid: Option<&str>, payload: &Value) -> String {
    let mut header = Header::new(super::keys::jwt_algorithm(algorithm));
    header.kid = kid.map(str::to_owned);
    let signing_key = match header.alg {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => EncodingKey::from_secret(SECRET),
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256_PRIVATE).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(P384_PRIVATE).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519_PRIVATE).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap(),
    };
    jsonwebtoken::encode(&header, payload, &signing_key).unwrap()
}

/// HS256 over any header and payload texts, well formed or not.
pub fn sign_raw(header: &str, payload: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

pub fn is_invalid<T>(result: Result<T, TokenError>) -> bool {
    matches!(result, Err(TokenError::Invalid(_)))
}
