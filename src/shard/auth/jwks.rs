//! The JWK set (RFC 7517): takes the public signature keys out of it and skips the rest, each with a warning, as its
//! section 5 asks. Never fetches anything: the config room has read the file. Called by `Verifier::new`.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use super::keys::{Key, KeyOrigin};

/// The keys of the set `text` that can be used, and one warning for each that cannot. The error says why the text is
/// no JWK set at all.
pub(super) fn load(text: &str) -> Result<(Vec<Key>, Vec<String>), String> {
    let set: Value = serde_json::from_str(text)
        .map_err(|error| format!("not JSON (line {}, column {})", error.line(), error.column()))?;
    let Some(entries) = set.get("keys").and_then(Value::as_array) else {
        return Err("not a JWK set: it has no array `keys`".to_owned());
    };
    let mut keys = Vec::new();
    let mut warnings = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match load_one(entry) {
            Ok(key) => keys.push(key),
            Err(why) => {
                let name = match entry.get("kid").and_then(Value::as_str) {
                    Some(kid) => format!("{kid:?}"),
                    None => format!("number {index} (counted from 0, without a kid)"),
                };
                warnings.push(format!("auth.jwks_file: key {name} is skipped: {why}"));
            }
        }
    }
    Ok((keys, warnings))
}

/// One member of the set, on its own: one that is malformed does not spoil the others.
fn load_one(entry: &Value) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|_| "it is malformed")?;
    let Some(named) = jwk.common.key_algorithm else {
        return Err("it has no `alg`".to_owned());
    };
    let algorithm = Algorithm::try_from(named).map_err(|_| "its `alg` is none that longwire verifies")?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("its `use` is not `sig`".to_owned());
    }
    if jwk
        .common
        .key_operations
        .as_ref()
        .is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
    {
        return Err("its `key_ops` have no `verify`".to_owned());
    }
    let curve = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => {
            return Err("it is symmetric: put its secret under [[auth.keys]]".to_owned());
        }
        AlgorithmParameters::Other(_) => return Err("its kind or curve is none that longwire verifies".to_owned()),
        AlgorithmParameters::RSA(_) => None,
        AlgorithmParameters::EllipticCurve(parameters) => Some(&parameters.curve),
        AlgorithmParameters::OctetKeyPair(parameters) => Some(&parameters.curve),
        _ => return Err("its kind is none that longwire verifies".to_owned()),
    };
    let curve_needed = match algorithm {
        Algorithm::ES256 => Some(&EllipticCurve::P256),
        Algorithm::ES384 => Some(&EllipticCurve::P384),
        Algorithm::EdDSA => Some(&EllipticCurve::Ed25519),
        _ => None,
    };
    if curve != curve_needed {
        return Err("its `alg` is not one for its kind or curve".to_owned());
    }
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "its parameters are not base64url")?;
    let id = jwk.common.key_id.as_deref().unwrap_or_default();
    Key::new(id, algorithm, without_leading_zeros(decoding), KeyOrigin::JwkSet)
}

/// Some issuers write an RSA modulus as a signed number, with a zero byte in front (RFC 7518, 6.3.1.1, warns of them);
/// the verifier would refuse every signature of such a key.
fn without_leading_zeros(decoding: DecodingKey) -> DecodingKey {
    fn strip(bytes: &[u8]) -> &[u8] {
        &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
    }
    match decoding.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => DecodingKey::from_rsa_raw_components(strip(n), strip(e)),
        DecodingKeyKind::SecretOrDer(_) => decoding,
    }
}
