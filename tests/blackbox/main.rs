//! Black-box tests: the real binary, started with a config of its own on ports of its own, spoken to by clients that are
//! not longwire's code. One file a topic; each test's name says the behaviour that it holds. Nothing here calls into the
//! library, and nothing waits for a time to pass: every wait is for a condition, with a bound that only a failure reaches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

mod api_access;
mod auth;
mod auth_keys;
mod auth_permissions;
mod cli;
mod config_errors;
mod doctor;
mod frames;
mod frames_control;
mod handshake;
mod handshake_limits;
mod history;
mod lifecycle;
mod limits;
mod messages;
mod metrics;
mod monitoring;
mod no_config;
mod pings;
mod push;
mod reload;
mod sessions;
mod socket_activation;
mod subscribe;
mod systemd;
mod unix_socket;
mod users;
