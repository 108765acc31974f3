//! Encoding and its strict inverse, what is a topic, and what a pattern fits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

#[test]
fn every_byte_outside_the_plain_ones_is_encoded() {
    assert_eq!(encode("a.b@c"), "a%2Eb%40c");
    assert_eq!(encode("A-Z_09"), "A-Z_09");
    assert_eq!(encode("ü *>\r\n%"), "%C3%BC%20%2A%3E%0D%0A%25");
    assert_eq!(encode(""), "");
}

#[test]
fn only_what_is_encoded_so_is_decoded() {
    for wrong in [
        "a.b", "%2e", "%2", "%", "%41", "%5F", "%GG", "ü", "a b", "%FF", "%C3", "%+1", "%%25", "*", ">",
    ] {
        assert_eq!(decode(wrong), None, "{wrong}");
    }
    assert_eq!(decode("a%2Eb%40c").as_deref(), Some("a.b@c"));
}

#[test]
fn topics() {
    let longest = "x".repeat(256);
    for topic in ["a", "room.42", "A-b_c.D.0", &longest] {
        assert!(valid_topic(topic), "{topic}");
    }
    let too_long = "x".repeat(257);
    for topic in [
        "", ".", "a.", ".a", "a..b", "a b", "a/b", "a*", "*", ">", "ä", "a.\n", &too_long,
    ] {
        assert!(!valid_topic(topic), "{topic}");
    }
}

#[test]
fn paths_become_the_end_of_a_subject() {
    assert_eq!(path_to_subject("order/create"), "order.create");
    assert_eq!(path_to_subject("order"), "order");
}

#[test]
fn patterns_are_exact_or_end_in_a_star() {
    let patterns = Patterns::from_iter(["order/*", "user/get", "a*b"]);
    for name in ["order/create", "order/", "user/get", "a*b"] {
        assert!(patterns.matches(name), "{name}");
    }
    for name in ["order", "user/get/x", "user/ge", "axb", ""] {
        assert!(!patterns.matches(name), "{name}");
    }
    assert!(Patterns::from_iter(["*"]).matches("anything"));
    assert!(!Patterns::default().matches("anything"));
    assert!(!Patterns::from_iter([""]).matches("anything"));
}

proptest! {
    #[test]
    fn decoding_inverts_encoding(name in any::<String>()) {
        let encoded = encode(&name);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-%".contains(&byte)));
        prop_assert_eq!(decode(&encoded).map(Cow::into_owned), Some(name));
    }

    /// One spelling a name: what decodes is what `encode` writes.
    #[test]
    fn encoding_inverts_decoding(text in "[a%0-9A-F_.e-]{0,12}") {
        if let Some(name) = decode(&text) {
            prop_assert_eq!(encode(&name), text);
        }
    }
}
