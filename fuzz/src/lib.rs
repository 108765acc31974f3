//! The rooms that are fuzzed, and no others: with the whole of longwire every fuzz build would put a TLS library and an
//! HTTP server under the sanitizer, which takes minutes.

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/protocol/mod.rs"]
pub mod protocol;
