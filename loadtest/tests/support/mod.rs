//! Servers that are wrong on purpose.
#![allow(dead_code)] // not every test program wants all of it
pub mod gateway;
pub mod websocket;
