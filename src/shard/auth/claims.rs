//! What a token must say and what it grants (RFC 7519, 4.1), checked against the time passed in. Sees only payloads
//! whose signature held. jsonwebtoken's own checks are not used: they read the system clock, let a missing or
//! malformed `aud` or `iss` pass, and refuse an `aud` where none is configured. Called by `Verifier::verify`.

use serde_json::{Map, Value};

use crate::config::settings::Auth;
use crate::protocol::subject::valid_user;

/// The longest device name.
pub const DEVICE_BYTES_MAX: usize = 64;

/// The latest moment that is taken, in seconds: 2^53 - 1. `exp` goes on to clients, and a JavaScript number holds no
/// more; milliseconds of it fit a `u64`.
const NUMERIC_DATE_MAX: u64 = (1 << 53) - 1;

/// What a verified token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user, 1 to 128 bytes.
    pub user: String,
    /// The claim `device`, up to 64 bytes.
    pub device: Option<String>,
    /// The claim `exp` in whole Unix seconds, rounded down; the leeway is not in it. `None` only where `exp` is not
    /// required.
    pub expires_at: Option<u64>,
    /// The claim `paths`; `None`: absent, so `auth.default_paths` holds.
    pub paths: Option<Vec<String>>,
    /// The claim `topics`; `None`: absent, so `auth.default_topics` holds.
    pub topics: Option<Vec<String>>,
}

/// Why a token is refused. The detail is for people and never holds a piece of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Malformed, signed with no known key, or with a claim that is not acceptable.
    Invalid(&'static str),
    /// Right in all else, but at or past `exp` plus leeway.
    Expired,
    /// Right in all else, but still before `nbf` minus leeway.
    NotYetValid,
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invalid(detail) => detail,
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
        })
    }
}

impl std::error::Error for TokenError {}

/// The part of `[auth]` that says what a payload must hold.
#[derive(Debug)]
pub(super) struct Rules {
    user_claim: String,
    leeway_ms: u64,
    require_exp: bool,
    issuer: Option<String>,
    audience: Vec<String>,
}

impl Rules {
    pub fn new(auth: &Auth) -> Self {
        Self {
            user_claim: auth.user_claim.clone(),
            leeway_ms: auth.leeway_ms,
            require_exp: auth.require_exp,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
        }
    }

    /// Reads and checks a payload. The time comes last, so that `Expired` and `NotYetValid` tell a client that a
    /// fresh token, or patience, is all it needs. A claim that is there with the value `null` is malformed, not
    /// absent: a `paths` of `null` must not grant the default.
    pub fn check(&self, mut payload: Map<String, Value>, now_unix_ms: u64) -> Result<Claims, TokenError> {
        use TokenError::Invalid;
        let expires_at = match payload.get("exp") {
            Some(value) => Some(numeric_date(value, f64::floor).ok_or(Invalid("the claim exp is not a usable time"))?),
            None if self.require_exp => return Err(Invalid("the claim exp is missing")),
            None => None,
        };
        let not_before = match payload.get("nbf") {
            Some(value) => numeric_date(value, f64::ceil).ok_or(Invalid("the claim nbf is not a usable time"))?,
            None => 0,
        };
        if let Some(issuer) = &self.issuer
            && payload.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Invalid("the claim iss is not the configured issuer"));
        }
        if !self.audience.is_empty() && !payload.get("aud").is_some_and(|aud| self.is_audience(aud)) {
            return Err(Invalid("the claim aud names none of the configured audiences"));
        }
        // A copy: the config may name any claim as the user's, `device` too.
        let user = self.user(&payload)?;
        let device = match payload.remove("device") {
            Some(Value::String(device)) if device.len() <= DEVICE_BYTES_MAX => Some(device),
            Some(_) => return Err(Invalid("the claim device is not a string of up to 64 bytes")),
            None => None,
        };
        let paths = patterns(payload.remove("paths")).ok_or(Invalid("the claim paths is not an array of strings"))?;
        let topics =
            patterns(payload.remove("topics")).ok_or(Invalid("the claim topics is not an array of strings"))?;

        if expires_at.is_some_and(|exp| now_unix_ms >= (exp * 1000).saturating_add(self.leeway_ms)) {
            return Err(TokenError::Expired);
        }
        if now_unix_ms.saturating_add(self.leeway_ms) < not_before * 1000 {
            return Err(TokenError::NotYetValid);
        }
        Ok(Claims {
            user,
            device,
            expires_at,
            paths,
            topics,
        })
    }

    /// Whom a payload names.
    pub fn user(&self, payload: &Map<String, Value>) -> Result<String, TokenError> {
        match payload.get(&self.user_claim).and_then(Value::as_str) {
            Some(user) if valid_user(user) => Ok(user.to_owned()),
            _ => Err(TokenError::Invalid("the user claim is not a string of 1 to 128 bytes")),
        }
    }

    /// RFC 7519, 4.1.3: one string, or an array of strings of which one must be ours.
    fn is_audience(&self, aud: &Value) -> bool {
        let is_ours = |name: &Value| {
            name.as_str()
                .is_some_and(|name| self.audience.iter().any(|ours| ours == name))
        };
        match aud {
            Value::Array(names) => names.iter().all(Value::is_string) && names.iter().any(is_ours),
            name => is_ours(name),
        }
    }
}

/// A NumericDate (RFC 7519, 2) in whole seconds: fractions are allowed and rounded as the caller says, times before
/// 1970 count as 1970. `None`: not a number, or later than [`NUMERIC_DATE_MAX`].
fn numeric_date(value: &Value, round: fn(f64) -> f64) -> Option<u64> {
    let seconds = match value.as_u64() {
        Some(seconds) => seconds,
        // The cast saturates at both ends.
        None => round(value.as_f64()?) as u64,
    };
    (seconds <= NUMERIC_DATE_MAX).then_some(seconds)
}

/// `Some(None)`: absent. `None`: not an array of strings.
fn patterns(value: Option<Value>) -> Option<Option<Vec<String>>> {
    let Some(value) = value else { return Some(None) };
    let Value::Array(items) = value else { return None };
    let strings: Option<Vec<String>> = items
        .into_iter()
        .map(|item| match item {
            Value::String(pattern) => Some(pattern),
            _ => None,
        })
        .collect();
    strings.map(Some)
}
