//! What the benches of a whole node share: the binary under measurement (`binary`), and a client's half of the protocol
//! (`client`). Measures nothing. Each bench has this as a module of its own.

pub mod binary;
pub mod client;
