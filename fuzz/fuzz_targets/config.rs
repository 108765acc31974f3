//! Any text is a configuration or a list of what is wrong with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire::config::parse_str;

fuzz_target!(|text: &str| {
    if let Err(error) = parse_str(text) {
        assert!(!error.to_string().is_empty());
    }
});
