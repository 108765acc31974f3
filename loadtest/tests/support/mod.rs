//! Servers that are wrong on purpose.
pub mod gateway;
