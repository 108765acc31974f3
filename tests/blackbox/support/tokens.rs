//! Tokens, minted with the `jsonwebtoken` crate itself rather than with longwire.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The secret of the key that every test gateway has unless the test says otherwise.
pub const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";

/// Unix seconds.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A token of `user`, good for an hour.
pub fn token(user: &str) -> String {
    mint(json!({ "sub": user }))
}

/// An HS256 token of these claims; without an `exp` among them it gets one an hour ahead (`"exp": null` leaves it out).
pub fn mint(claims: Value) -> String {
    mint_with(
        &Header::new(Algorithm::HS256),
        &EncodingKey::from_secret(SECRET.as_bytes()),
        claims,
    )
}

/// The same with another header and key.
pub fn mint_with(header: &Header, key: &EncodingKey, mut claims: Value) -> String {
    let map = claims.as_object_mut().unwrap();
    match map.get("exp") {
        None => {
            map.insert("exp".into(), json!(now_s() + 3600));
        }
        Some(Value::Null) => {
            map.remove("exp");
        }
        Some(_) => {}
    }
    jsonwebtoken::encode(header, &claims, key).unwrap()
}

/// A header with a key id.
pub fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    }
}
