//! Bytes: what stands on the wire and what it means. WebSocket frames, the HTTP upgrade, the JSON of messages, and how
//! names stand in subjects. Pure functions over bytes: no socket, no clock, no thread, no state beyond a frame decoder's.
//! Called by the shard for what clients send, and by control for what it sends to them.

pub mod frame;
pub mod handshake;
pub mod message;
pub mod subject;
