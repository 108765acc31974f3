//! HDR histograms of delays in microseconds: three significant digits, up to ten minutes; as base64 text between
//! processes and in the JSON file. Never rounds a value away: what is longer counts as the longest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use crate::result::Delay;

/// The longest delay that is told apart, microseconds.
pub const LONGEST_US: u64 = 600_000_000;

/// Delays in microseconds.
#[derive(Clone, Debug)]
pub struct Delays(Histogram<u64>);

impl Default for Delays {
    #[allow(clippy::expect_used)] // constant bounds that the crate takes
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds in order"))
    }
}

impl Delays {
    /// One more delay.
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// The same delay, so many times.
    pub fn record_n(&mut self, us: u64, count: u64) {
        self.0.saturating_record_n(us.max(1), count);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The delay that this share (0.0 to 1.0) did not exceed; 0 where nothing was measured.
    pub fn at(&self, share: f64) -> u64 {
        if self.0.is_empty() {
            0
        } else {
            self.0.value_at_quantile(share)
        }
    }

    /// The longest; 0 where nothing was measured.
    pub fn longest(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.max() }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0); // cannot fail: same bounds
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// As text: HDR V2, base64.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        let _ = V2Serializer::new().serialize(&self.0, &mut bytes); // a Vec takes everything
        STANDARD.encode(bytes)
    }

    /// What `to_text` wrote; nothing if it is no histogram.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut delays = Self::default();
        delays.0.add(&read).ok()?;
        Some(delays)
    }

    /// As a result tells it.
    pub fn summary(&self) -> Delay {
        Delay {
            count: self.count(),
            p50_us: self.at(0.5),
            p90_us: self.at(0.9),
            p99_us: self.at(0.99),
            p999_us: self.at(0.999),
            max_us: self.longest(),
            histogram: self.to_text(),
        }
    }
}
