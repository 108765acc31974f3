//! Signs tokens with a configured HS key, for `longwire token` and for a start without a config. Never reads a clock.
//! A token that the same config would refuse is not handed out.

use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::Verifier;
use super::keys::jwt_algorithm;
use crate::config::settings::{Auth, KeyMaterial};

/// What a minted token shall grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The user, 1 to 128 bytes; goes into `auth.user_claim`.
    pub user: String,
    /// How long it holds from now, in whole seconds.
    pub ttl_seconds: u64,
    /// The claim `paths`; `None`: left out.
    pub paths: Option<Vec<String>>,
    /// The claim `topics`; `None`: left out.
    pub topics: Option<Vec<String>>,
    /// The claim `device`, up to 64 bytes; `None`: left out.
    pub device: Option<String>,
}

/// Why no token was made, and what to do about it. Holds neither secret nor token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintError(pub String);

impl std::fmt::Display for MintError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MintError {}

/// Signs a token with the first HS key of `auth.keys`, with the configured issuer and (first) audience.
///
/// # Errors
/// There is no HS key, or the same config would refuse the token: a user or device name that is too long, say.
pub fn mint(auth: &Auth, grant: &Grant, now_unix_ms: u64) -> Result<String, MintError> {
    let (verifier, _) = Verifier::new(auth).map_err(|error| MintError(error.to_string()))?;
    let hs_key = auth.keys.iter().find_map(|key| match &key.material {
        KeyMaterial::Secret(secret) if jwt_algorithm(key.algorithm).family() == AlgorithmFamily::Hmac => {
            Some((key, secret))
        }
        _ => None,
    });
    let Some((key, secret)) = hs_key else {
        return Err(MintError(
            "only an HS key can sign: add an [[auth.keys]] with algorithm \"HS256\" and a secret".to_owned(),
        ));
    };

    let now = now_unix_ms / 1000;
    let mut payload = Map::new();
    payload.insert("iat".to_owned(), json!(now));
    payload.insert("exp".to_owned(), json!(now.saturating_add(grant.ttl_seconds)));
    let optional = [
        ("iss", auth.issuer.as_ref().map(|issuer| json!(issuer))),
        ("aud", auth.audience.first().map(|audience| json!(audience))),
        ("paths", grant.paths.as_ref().map(|paths| json!(paths))),
        ("topics", grant.topics.as_ref().map(|topics| json!(topics))),
        ("device", grant.device.as_ref().map(|device| json!(device))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            payload.insert(name.to_owned(), value);
        }
    }
    payload.insert(auth.user_claim.clone(), Value::String(grant.user.clone()));

    let mut header = Header::new(jwt_algorithm(key.algorithm));
    header.kid = (!key.id.is_empty()).then(|| key.id.clone());
    let token = jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(secret))
        .map_err(|_| MintError("the token could not be signed".to_owned()))?;
    match verifier.verify(&token, now_unix_ms) {
        Ok(_) => Ok(token),
        Err(error) => Err(MintError(format!("this config would refuse the token: {error}"))),
    }
}
