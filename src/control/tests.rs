//! Control from outside: real HTTP against a node whose reactors are played by `fake`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod calls;
mod fake;
mod pushes;
