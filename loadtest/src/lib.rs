//! longwire-load loads a longwire gateway, or another WebSocket server, over real sockets, and tells the truth about it.
//!
//! One command is the coordinator: it starts worker processes of the same binary, each with up to 15,000 connections and
//! one event loop, tells them what to do (`plan`), publishes pushes itself (`publisher`), samples the server (`server`,
//! `sampler`), and accounts for every message (`worker::accounts`). Scenarios are scripts over `coordinator::Load`.

pub mod cli;
pub mod clock;
pub mod coordinator;
pub mod histogram;
pub mod http;
pub mod interrupt;
pub mod nats;
pub mod node;
pub mod payload;
pub mod plan;
pub mod publisher;
pub mod report;
pub mod result;
pub mod sampler;
pub mod scenarios;
pub mod server;
pub mod sources;
pub mod tokens;
pub mod worker;
