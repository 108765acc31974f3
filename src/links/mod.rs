//! The links: the only places where threads meet. `channel` is a bounded queue that wakes its reader only if it is
//! asleep, `doorbell` the flag behind that, `command` what control and the reactors say to each other, `happening` what
//! of it the flight recorder keeps. Nothing here blocks, and nothing here knows how either side works; `reactor`,
//! `shard` and `control` call it.

pub mod channel;
pub mod command;
mod doorbell;
pub mod happening;

pub use channel::*;
pub use command::*;
pub use happening::*;

/// What `doorbell` is built from. `tests/loom` compiles the same file over loom's atomics instead.
mod atomics {
    pub use std::sync::atomic::{AtomicBool, Ordering, fence};
}
