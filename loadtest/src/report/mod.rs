//! What a person sees of a run: the live line, the table, the JSON file, the HTML page, the comparison of two runs.
//!
//! Owns how a [`Run`](crate::result::Run) looks. It measures nothing, decides nothing about the load, opens no socket, and
//! reads no clock: all but the live line and the JSON file are pure functions over `Run`. Called by the coordinator (the
//! live line, then table, file and page at the end) and by the subcommands `compare` and `report`.
//!
//! | part | |
//! | --- | --- |
//! | [`progress`] | the live line on the terminal, or a plain line every few seconds |
//! | [`table`] | the summary at the end of a run |
//! | [`json`] | the file: written whole or not at all, another format refused |
//! | [`html`] | one page, no outside resources; [`plot`] draws its plots |
//! | [`compare`] | what changed between two runs beyond noise; [`noise`] says what noise is |
//! | [`text`] | numbers, times and names as people read them; hostile text made harmless |

pub mod compare;
pub mod html;
pub mod json;
pub mod noise;
pub mod plot;
pub mod progress;
pub mod table;
pub mod text;

#[cfg(test)]
mod tests;

/// The format of the file that this program writes and reads: [`crate::result::Run::format`].
pub const FORMAT: u32 = 1;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::result::Delay;

/// The histogram inside a [`Delay`], in microseconds. None where there is none, or where it cannot be read: a plot or a
/// verdict is left out then, nothing is guessed.
pub fn histogram(delay: &Delay) -> Option<Histogram<u64>> {
    if delay.histogram.is_empty() {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(delay.histogram.trim())
        .ok()?;
    let found: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
    (!found.is_empty()).then_some(found)
}
