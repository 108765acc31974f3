//! Verification keys: loads one from its settings and tells at start-up what would otherwise only show as a refusal
//! of every token (a private key, a certificate, another kind or curve, a point that is not on its curve). Never
//! shows a key. Called by `Verifier::new`, and by `jwks` for the keys of a JWK set.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind, crypto};

use crate::config::settings::{Algorithm, KeyMaterial, KeySettings};

/// Sizes that the verifier accepts; a key outside would refuse every token.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// `[[auth.keys]]`, counted from 0.
    Configured(usize),
    /// `auth.jwks_file`.
    JwkSet,
}

/// A key that cannot be used. The message says what is wrong and what to do, and never shows the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// The key at fault.
    pub key: KeyOrigin,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key {
            KeyOrigin::Configured(index) => write!(f, "auth.keys[{index}]: {}", self.message),
            KeyOrigin::JwkSet => write!(f, "auth.jwks_file: {}", self.message),
        }
    }
}

impl std::error::Error for KeyError {}

/// One key and the one algorithm it is used with.
#[derive(Debug)]
pub(super) struct Key {
    /// `None`: it may be tried for a token with any `kid` that no other key has.
    pub id: Option<String>,
    pub algorithm: jsonwebtoken::Algorithm,
    pub origin: KeyOrigin,
    /// One verification, in units of about 5 µs.
    pub cost: u32,
    decoding: DecodingKey,
}

impl Key {
    /// Whether `signature` (base64url) is this key's over `message`. The algorithm is the key's own: what the token's
    /// header says plays no part here.
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        matches!(
            crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm),
            Ok(true)
        )
    }

    /// Loads a configured key; the error is the message of a [`KeyError`].
    pub fn from_settings(settings: &KeySettings, origin: KeyOrigin) -> Result<Self, String> {
        let algorithm = jwt_algorithm(settings.algorithm);
        let decoding = match &settings.material {
            KeyMaterial::Secret(secret) => secret_key(secret, algorithm)?,
            KeyMaterial::PublicKeyPem(pem) => public_key(pem, algorithm)?,
        };
        Self::new(&settings.id, algorithm, decoding, origin)
    }

    /// Takes a key of any source, if it is one that `algorithm` can verify with.
    pub fn new(
        id: &str,
        algorithm: jsonwebtoken::Algorithm,
        decoding: DecodingKey,
        origin: KeyOrigin,
    ) -> Result<Self, String> {
        use jsonwebtoken::Algorithm::ES384;
        let name = family_name(algorithm.family());
        if decoding.family() != algorithm.family() {
            let found = family_name(decoding.family());
            return Err(format!(
                "{algorithm:?} needs {name}, this is {found}: give another key, or the algorithm that belongs to it"
            ));
        }
        let cost = match algorithm.family() {
            AlgorithmFamily::Hmac => 1,
            AlgorithmFamily::Rsa => rsa_cost(&decoding, algorithm)?,
            AlgorithmFamily::Ec if algorithm == ES384 => {
                check_point(
                    &ECDSA_P384_SHA384_FIXED,
                    &decoding,
                    "ES384 needs a key on the curve P-384 (secp384r1)",
                )?;
                40
            }
            AlgorithmFamily::Ec => {
                check_point(
                    &ECDSA_P256_SHA256_FIXED,
                    &decoding,
                    "ES256 needs a key on the curve P-256 (prime256v1)",
                )?;
                15
            }
            AlgorithmFamily::Ed => {
                check_point(&ED25519, &decoding, "EdDSA needs an Ed25519 key of 32 bytes")?;
                10
            }
        };
        let id = (!id.is_empty()).then(|| id.to_owned());
        Ok(Self {
            id,
            algorithm,
            origin,
            cost,
            decoding,
        })
    }
}

/// An HMAC secret. jsonwebtoken takes any, even an empty one, and a PEM file's text too: with a public key as the
/// secret, anybody could sign.
fn secret_key(secret: &[u8], algorithm: jsonwebtoken::Algorithm) -> Result<DecodingKey, String> {
    let Some(secret_bytes_min) = hash_bytes(algorithm) else {
        return Err(format!(
            "{algorithm:?} verifies with public_key_file, not with a secret"
        ));
    };
    if find(secret, b"-----BEGIN ") {
        return Err(format!(
            "the secret is a PEM file, which {algorithm:?} cannot use: give it as public_key_file, with the \
             algorithm that belongs to it, or set a random secret"
        ));
    }
    if secret.len() < secret_bytes_min {
        return Err(format!(
            "the secret has {} bytes, {algorithm:?} needs {secret_bytes_min} or more: make one with `openssl rand \
             -base64 48`",
            secret.len()
        ));
    }
    Ok(DecodingKey::from_secret(secret))
}

/// A public key in PEM. jsonwebtoken takes the first block of a file whatever its label is, so that a private key or
/// a certificate becomes a key that refuses every token, or works by luck.
fn public_key(pem: &[u8], algorithm: jsonwebtoken::Algorithm) -> Result<DecodingKey, String> {
    if algorithm.family() == AlgorithmFamily::Hmac {
        return Err(format!(
            "{algorithm:?} verifies with a secret (secret or secret_file), not with public_key_file"
        ));
    }
    let text = String::from_utf8_lossy(pem);
    let labels: Vec<&str> = text
        .split("-----BEGIN ")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("-----")?.0))
        .collect();
    let fault = match labels.as_slice() {
        ["PUBLIC KEY" | "RSA PUBLIC KEY"] => None,
        [] => Some("the file is not in PEM: it has no `-----BEGIN PUBLIC KEY-----`"),
        [label] if label.ends_with("PRIVATE KEY") => Some(
            "this is a private key, which a verifier must not have: write the public one with `openssl pkey -in FILE \
             -pubout`",
        ),
        ["CERTIFICATE"] => {
            Some("this is a certificate: write its public key with `openssl x509 -in FILE -noout -pubkey`")
        }
        [_] => Some("the PEM block is no `PUBLIC KEY`"),
        _ => Some("the file has several PEM blocks: give each key a file and an [[auth.keys]] of its own"),
    };
    if let Some(fault) = fault {
        return Err(fault.to_owned());
    }
    // The file's own kind decides, so that a mismatch can be named.
    DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|_| "the PEM block is broken, or its key is neither RSA, EC nor Ed25519".to_owned())
}

/// Checks an RSA key and says what one verification costs, which grows with the square of its size.
fn rsa_cost(decoding: &DecodingKey, algorithm: jsonwebtoken::Algorithm) -> Result<u32, String> {
    let Some(bits) = rsa_bits(decoding) else {
        return Err("the RSA public key is broken: write it anew with `openssl pkey -in FILE -pubout`".to_owned());
    };
    if !RSA_BITS.contains(&bits) {
        return Err(format!(
            "the RSA key has {bits} bits, {algorithm:?} needs {} to {}: make a new one",
            RSA_BITS.start(),
            RSA_BITS.end()
        ));
    }
    let kilobits = u32::try_from(bits.div_ceil(1024)).unwrap_or(8);
    Ok(6 * kilobits * kilobits / 4)
}

/// The size of an RSA key's modulus; `None` where it is no good public key.
fn rsa_bits(decoding: &DecodingKey) -> Option<usize> {
    let public = match decoding.kind() {
        DecodingKeyKind::SecretOrDer(der) => rsa::PublicKey::from_der(der),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let parsed = RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .ok()?;
            rsa::PublicKey::from_der(parsed.as_ref())
        }
    };
    let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(&public.ok()?).n;
    let leading_zeros = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - leading_zeros)
}

/// Whether the bytes are a point of the algorithm's own curve. jsonwebtoken keeps them unseen.
fn check_point(curve: &'static dyn VerificationAlgorithm, decoding: &DecodingKey, need: &str) -> Result<(), String> {
    let point = decoding.try_get_as_bytes().map_err(|_| need.to_owned())?;
    match ParsedPublicKey::new(curve, point) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{need}, this one is not: give another key, or the algorithm that belongs to it"
        )),
    }
}

/// jsonwebtoken's name for an algorithm of the config.
pub(super) fn jwt_algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// The hash's length, which is the shortest secret (RFC 7518, 3.2); `None`: no HMAC.
fn hash_bytes(algorithm: jsonwebtoken::Algorithm) -> Option<usize> {
    match algorithm {
        jsonwebtoken::Algorithm::HS256 => Some(32),
        jsonwebtoken::Algorithm::HS384 => Some(48),
        jsonwebtoken::Algorithm::HS512 => Some(64),
        _ => None,
    }
}

fn family_name(family: AlgorithmFamily) -> &'static str {
    match family {
        AlgorithmFamily::Hmac => "a secret",
        AlgorithmFamily::Rsa => "an RSA key",
        AlgorithmFamily::Ec => "an EC key",
        AlgorithmFamily::Ed => "an Ed25519 key",
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
