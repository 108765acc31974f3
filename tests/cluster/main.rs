//! Tests of the cluster: several of the real binary on one real nats-server, which is killed, paused and restarted as the
//! test wants it, with clients, services and publishers that are not longwire's code. One file a topic; each test's name
//! says the behaviour that it holds. Nothing here calls into the library, and nothing waits for a time to pass: every
//! wait is for a condition, with a bound that only a failure reaches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod nats;
mod nodes;
#[path = "../blackbox/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod away;
mod calls;
mod calls_replies;
mod chaos;
mod credentials;
mod events;
mod history;
mod kicks;
mod members;
mod names;
mod narrow;
mod pushes_api;
mod pushes_bus;
mod pushes_order;
mod rolling;
mod servers;
mod sessions;
mod sessions_race;
