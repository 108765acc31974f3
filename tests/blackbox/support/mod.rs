//! What every black-box test needs: a running gateway of its own, clients, tokens, HTTP. Knows the outside of longwire
//! only (its command line, its ports, its documents) and never calls into the library.

pub mod client;
pub mod gateway;
pub mod http;
pub mod raw;
pub mod temp;
pub mod tokens;

use std::time::{Duration, Instant};

pub use client::Client;
pub use gateway::{Gateway, Run};
pub use http::Reply;
pub use raw::Raw;
pub use serde_json::Value;
pub use temp::TempDir;
pub use tokens::{SECRET, mint, now_s, token};

/// How long a test waits for something that must happen. Generous: it is only ever used up by a failure. Below the minute
/// of `timeouts.connect`, so that no deadline of the gateway's own does what a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(55);

/// Asks `probe` again and again until it has an answer.
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
