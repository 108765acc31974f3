//! Names where they stand in subjects: percent-encoded users, paths with dots, topics, and the patterns of permissions.
//! Called by the shard for topics and permissions, and by control for subjects and header values.

use std::borrow::Cow;
use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Topics and paths are at most this long.
const MAX_NAME_BYTES: usize = 256;

/// The longest user name.
pub const USER_BYTES_MAX: usize = 128;

/// Whether `byte` stands for itself in a subject.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Whether `name` is 1 to 256 bytes of plain, non-empty segments with `separator` between them.
pub(super) fn is_segmented(name: &str, separator: u8) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name
            .as_bytes()
            .split(|&byte| byte == separator)
            .all(|segment| !segment.is_empty() && segment.iter().all(|&byte| is_plain(byte)))
}

/// Whether `topic` is one: segments of `[A-Za-z0-9_-]+` joined by dots, at most 256 bytes.
pub fn valid_topic(topic: &str) -> bool {
    is_segmented(topic, b'.')
}

/// Whether `user` is a user's name: 1 to 128 bytes of anything.
pub fn valid_user(user: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&user.len())
}

/// `name` with every byte outside `[A-Za-z0-9_-]` as `%XX`, upper case: one token of a subject, and a safe header value.
pub fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What `encode` made `encoded` of; none if `encode` never writes this. Most names stand for themselves, and are not copied.
pub fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    if encoded.bytes().all(is_plain) {
        return Some(Cow::Borrowed(encoded));
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (&[high, low], tail) = tail.split_first_chunk()?;
            let byte = hex_digit(high)? << 4 | hex_digit(low)?;
            if is_plain(byte) {
                return None;
            }
            bytes.push(byte);
            rest = tail;
        } else if is_plain(byte) {
            bytes.push(byte);
            rest = tail;
        } else {
            return None;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A message's path as the end of a subject: `order/create` is `order.create`.
pub fn path_to_subject(path: &str) -> String {
    path.replace('/', ".")
}

/// What a client may use: each pattern is an exact name or, ending in `*`, the beginning of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Box<[Box<str>]>);

impl Patterns {
    /// Whether any pattern fits `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => **pattern == *name,
        })
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Patterns {
    fn from_iter<I: IntoIterator<Item = S>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }
}
