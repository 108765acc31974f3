//! Encoding a name and decoding it are inverse both ways, and what is encoded is one token of a subject.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire::protocol::message::valid_path;
use longwire::protocol::subject::{Patterns, decode, encode, path_to_subject, valid_topic};

fuzz_target!(|text: &str| check(text));

fn check(text: &str) {
    let encoded = encode(text);
    assert!(
        encoded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-%".contains(&byte))
    );
    assert_eq!(decode(&encoded).as_deref(), Some(text));
    if let Some(name) = decode(text) {
        assert_eq!(encode(&name), text);
    }

    // A path is a topic with other separators.
    let swapped: String = text
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(valid_path(text), valid_topic(&swapped));
    if valid_path(text) {
        assert_eq!(path_to_subject(text), swapped);
    }

    let (pattern, name) = text.split_once('\n').unwrap_or((text, text));
    let expected = match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    assert_eq!(Patterns::from_iter([pattern]).matches(name), expected);
    assert_eq!(
        Patterns::from_iter(["never this", pattern]).matches(name),
        expected || name == "never this"
    );
}
