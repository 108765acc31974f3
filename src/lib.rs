//! longwire holds the long-lived WebSocket connections of logged-in users and lets any backend push to a user.
//!
//! This library is the gateway's own: the binary is its front door, the examples, benches, tests and fuzz targets use its
//! rooms. `ARCHITECTURE.md` says what each room knows and how a push travels through them.

pub mod cli;
pub mod config;
pub mod control;
pub mod links;
pub mod metrics;
pub mod node;
pub mod protocol;
pub mod reactor;
pub mod shard;
