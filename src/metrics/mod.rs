//! What longwire counts. `reasons` is the one table of why connections end or are refused; `counters` are the
//! cells that each reactor writes alone and a scrape sums; `render` turns them into Prometheus text; `seldom` counts
//! what is not said again and again.

pub mod counters;
pub mod reasons;
pub mod render;
mod seldom;

pub use counters::{Histogram, NodeCounters, ReactorCounters};
pub use reasons::{AuthResult, CloseReason, RefusalReason};
pub use seldom::Seldom;
