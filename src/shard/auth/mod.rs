//! Turns a token into claims: which key may check it, whether its signature holds, what it grants and until when.
//! Owns the verification keys. Never reads a clock (time is passed in), a file or a socket, and never puts a token or
//! a secret into an error. The gateway calls `verify`, start-up and reload call `Verifier::new`, the command line
//! calls `mint`. Only this room uses jsonwebtoken.

mod claims;
mod jwks;
mod keys;
mod mint;
#[cfg(test)]
mod tests;

pub use claims::{Claims, DEVICE_BYTES_MAX, TokenError};
pub use keys::{KeyError, KeyOrigin};
pub use mint::{Grant, MintError, mint};

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, crypto, dangerous, decode_header};

use crate::config::settings::Auth;
use claims::Rules;
use keys::Key;

/// The longest token that is looked at, in bytes; a longer one is `Invalid`.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The most keys that one token may be tried against. With more that could have signed it, it is refused unless its
/// `kid` picks one: trying some of them would let the order of the config decide.
pub const KEYS_TRIED_MAX: usize = 8;

/// Checks tokens against the configured keys. Shared by all reactors; a reload makes a new one.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Key>,
    rules: Rules,
}

impl Verifier {
    /// Loads the configured keys and the JWK set. Gives back warnings: one for each JWK that was skipped, and one for
    /// each algorithm with so many keys that its tokens need a `kid`.
    ///
    /// # Errors
    /// A key that could never verify anything, or two keys with one id; the message says what to do about it.
    pub fn new(auth: &Auth) -> Result<(Self, Vec<String>), KeyError> {
        // Without it the backend is guessed from crate features, and two of them (a dependency may add one) panic at
        // the first token. Fails only where it is installed already.
        let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();

        let mut keys = Vec::with_capacity(auth.keys.len());
        for (index, settings) in auth.keys.iter().enumerate() {
            let key = KeyOrigin::Configured(index);
            keys.push(Key::from_settings(settings, key).map_err(|message| KeyError { key, message })?);
        }
        let mut warnings = Vec::new();
        if let Some(text) = &auth.jwks {
            let jwk_set_error = |message| KeyError {
                key: KeyOrigin::JwkSet,
                message,
            };
            let (jwks, skipped) = jwks::load(text).map_err(jwk_set_error)?;
            if keys.is_empty() && jwks.is_empty() {
                let why = if skipped.is_empty() {
                    "the set is empty".to_owned()
                } else {
                    skipped.join("; ")
                };
                return Err(jwk_set_error(format!(
                    "no key of it can be used, and there is no other: {why}"
                )));
            }
            keys.extend(jwks);
            warnings = skipped;
        }
        refuse_doubles(&keys)?;
        warnings.extend(check_counts(&keys)?);
        Ok((
            Self {
                keys,
                rules: Rules::new(auth),
            },
            warnings,
        ))
    }

    /// What `token` grants at `now_unix_ms` (milliseconds since 1970).
    ///
    /// # Errors
    /// See [`TokenError`]. `Expired` and `NotYetValid` are said only of a token that is right in all else.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Claims, TokenError> {
        let candidates = self.candidates(token)?;
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid("not a JWT"))?;
        if !candidates.iter().any(|key| key.verifies(message, signature)) {
            return Err(TokenError::Invalid("no key made this signature"));
        }
        // What is insecure is to read the payload before this line: from here on its signature holds.
        let payload = dangerous::insecure_decode_claims(token)
            .map_err(|_| TokenError::Invalid("the payload is not a JSON object"))?;
        self.rules.check(payload, now_unix_ms)
    }

    /// The user that `token` names, for the record of what was refused. Only for one that `verify` has called `Expired` or
    /// `NotYetValid`: then its signature holds, and the name is true.
    #[must_use]
    pub fn user_named(&self, token: &str) -> Option<String> {
        self.rules.user(&dangerous::insecure_decode_claims(token).ok()?).ok()
    }

    /// What checking `token` may cost, in units of about 5 µs, with the keys that its header lets it be tried
    /// against; for the reactor's budget. 1 for a token that is refused without a look at its signature.
    #[must_use]
    pub fn cost(&self, token: &str) -> u32 {
        self.candidates(token)
            .map_or(1, |keys| keys.iter().map(|key| key.cost).sum())
    }

    /// The keys that may have signed `token`, by its header alone; at least one, at most [`KEYS_TRIED_MAX`].
    fn candidates(&self, token: &str) -> Result<Vec<&Key>, TokenError> {
        use TokenError::Invalid;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid("longer than 8 KiB"));
        }
        // Refuses `none` and every other algorithm that is not one of ours.
        let header = decode_header(token).map_err(|_| Invalid("not a JWT, or its algorithm is unknown"))?;
        // RFC 7515, 4.1.11: whoever understands none of the extensions must refuse.
        if header.crit.is_some() {
            return Err(Invalid("the header has critical extensions"));
        }
        let kid = header.kid.as_deref();
        let kid_is_known = kid.is_some() && self.keys.iter().any(|key| key.id.as_deref() == kid);
        let may_have_signed = |key: &&Key| {
            key.algorithm == header.alg
                && match (key.id.as_deref(), kid) {
                    (_, None) => true,
                    (None, Some(_)) => !kid_is_known,
                    (id, kid) => id == kid,
                }
        };
        let candidates: Vec<&Key> = self
            .keys
            .iter()
            .filter(may_have_signed)
            .take(KEYS_TRIED_MAX + 1)
            .collect();
        match candidates.len() {
            0 => Err(Invalid("no key for its kid and algorithm")),
            1..=KEYS_TRIED_MAX => Ok(candidates),
            _ => Err(Invalid("too many keys could have made it: it needs a kid")),
        }
    }
}

/// Two keys with one id would let the order of the config decide which of them a token means.
fn refuse_doubles(keys: &[Key]) -> Result<(), KeyError> {
    let mut origins = HashMap::new();
    for key in keys {
        let Some(id) = &key.id else { continue };
        if let Some(first) = origins.insert(id, key.origin) {
            let first = match first {
                KeyOrigin::Configured(index) => format!("auth.keys[{index}]"),
                KeyOrigin::JwkSet => "another key of the set".to_owned(),
            };
            let message = format!("the id {id:?} is that of {first} too: give each key an id of its own");
            return Err(KeyError {
                key: key.origin,
                message,
            });
        }
    }
    Ok(())
}

/// Says where [`KEYS_TRIED_MAX`] will refuse tokens: a warning where a `kid` mends it, an error where nothing does.
fn check_counts(keys: &[Key]) -> Result<Vec<String>, KeyError> {
    #[derive(Default)]
    struct Count {
        all: usize,
        without_id: usize,
    }
    let mut counts: HashMap<Algorithm, Count> = HashMap::new();
    for key in keys {
        let count = counts.entry(key.algorithm).or_default();
        count.all += 1;
        count.without_id += usize::from(key.id.is_none());
        if count.without_id > KEYS_TRIED_MAX {
            let message = format!(
                "more than {KEYS_TRIED_MAX} keys for {:?} have no id: give each an id",
                key.algorithm
            );
            return Err(KeyError {
                key: key.origin,
                message,
            });
        }
    }
    let mut warnings: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| count.all > KEYS_TRIED_MAX)
        .map(|(algorithm, count)| {
            format!(
                "auth: {} keys are for {algorithm:?}, so such a token is refused if it has no kid",
                count.all
            )
        })
        .collect();
    warnings.sort();
    Ok(warnings)
}
