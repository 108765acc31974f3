//! Tokens and what they mean, signed with the `jsonwebtoken` crate itself.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, json};

/// The one secret.
pub const SECRET: &str = "the secret of the simulation, longer than its hash";

/// What a valid token says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    pub user: String,
    /// Unix seconds.
    pub expires_at: Option<u64>,
    pub not_before: u64,
    pub device: Option<String>,
    pub paths: Option<Vec<String>>,
    pub topics: Option<Vec<String>>,
}

/// The field `token` of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Absent,
    NotAString,
    Garbage,
    /// Signed with another secret.
    Forged(Claims),
    /// Names an algorithm whose keys cost a lot to try, to spend the budget of a turn.
    Costly,
    Signed(Claims),
}

impl Token {
    /// The field's JSON, if it is there.
    pub fn json(&self) -> Option<String> {
        Some(match self {
            Self::Absent => return None,
            Self::NotAString => "17".to_owned(),
            Self::Garbage => "\"a.b.c\"".to_owned(),
            Self::Forged(claims) => format!("\"{}\"", mint(claims, "another secret that is long enough too")),
            // {"alg":"ES256"} . {} . 64 zero bytes
            Self::Costly => format!("\"eyJhbGciOiJFUzI1NiJ9.e30.{}\"", "A".repeat(86)),
            Self::Signed(claims) => format!("\"{}\"", mint(claims, SECRET)),
        })
    }
}

fn mint(claims: &Claims, secret: &str) -> String {
    let mut payload = Map::new();
    payload.insert("sub".into(), json!(claims.user));
    payload.insert("nbf".into(), json!(claims.not_before));
    let optional = [
        ("exp", claims.expires_at.map(|at| json!(at))),
        ("device", claims.device.as_ref().map(|device| json!(device))),
        ("paths", claims.paths.as_ref().map(|paths| json!(paths))),
        ("topics", claims.topics.as_ref().map(|topics| json!(topics))),
    ];
    payload.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &key).unwrap()
}
