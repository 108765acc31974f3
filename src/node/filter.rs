//! Which reactors may hold a name, a user's or a topic's: a counting filter a reactor and kind, so that control sends a
//! push only where it may find somebody, without a second copy of every name. Its reactor alone writes it; control
//! reads it without a lock. It never says no for a name that is held; about one time in ten it says yes for one that is
//! not, which costs a look-up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::OwnLine;

/// Counters of the smallest table, as a power of two: one cache line.
const SMALLEST_BITS: usize = 6;
/// Counters of the largest, as a power of two: each of the two positions takes 32 bits of the hash. It is full at 2^30
/// names; past that the filter only gets less sharp.
const LARGEST_BITS: usize = 32;
const TABLES: usize = LARGEST_BITS - SMALLEST_BITS + 1;
/// A table with fewer counters a name than this is too full. Each growth doubles it, so there are 4 to 8: with two
/// positions a name that is 15 to 5 false answers in a hundred.
const COUNTERS_A_NAME: usize = 4;

/// Tables are never freed while the filter lives, as a reader may still look at an old one: together the old ones are
/// smaller than the current one.
#[derive(Debug)]
pub struct NameFilter {
    tables: [OnceLock<Box<[AtomicU8]>>; TABLES],
    /// Which of `tables` counts now. All before it are stale, all after it are unset.
    current: AtomicUsize,
    /// How many names the current table holds. Every login writes it: on its own line, so that control, which reads
    /// the fields above for every push, need not fetch them again for that.
    names: OwnLine,
}

impl Default for NameFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl NameFilter {
    /// Holds nothing.
    pub fn new() -> Self {
        Self {
            tables: [const { OnceLock::new() }; TABLES],
            current: AtomicUsize::new(0),
            names: OwnLine::default(),
        }
    }

    /// Whether the name with this hash may be held. Any thread may ask; false is certain for everything that the
    /// reactor did before whatever made the asker ask.
    pub fn may_hold(&self, hash: u64) -> bool {
        let table = self.table();
        positions(hash, table)
            .into_iter()
            .all(|position| table[position].load(Ordering::Acquire) > 0)
    }

    /// The reactor holds one name more. Only its own thread may call this, once a name. If `needs_growth` says so
    /// afterwards, `grow` is due.
    pub fn add(&self, hash: u64) {
        count_up(self.table(), hash);
        self.set_names(self.names() + 1);
    }

    /// The reactor does not hold this name any more. Only its own thread may call this, and only for what it added.
    pub fn remove(&self, hash: u64) {
        let table = self.table();
        for position in positions(hash, table) {
            let count = table[position].load(Ordering::Relaxed);
            debug_assert!(count > 0, "a name was removed that had not been added");
            // A counter that reached its end has lost count: it stays, for a false yes is harmless and a false no is not.
            if count != u8::MAX {
                table[position].store(count.saturating_sub(1), Ordering::Release);
            }
        }
        self.set_names(self.names().saturating_sub(1));
    }

    /// Whether the table is too small for its names to be a sharp filter.
    pub fn needs_growth(&self) -> bool {
        self.names() * COUNTERS_A_NAME > self.table().len() && self.current() + 1 < TABLES
    }

    /// Builds a table twice the size from the hashes of all names held, and then publishes it. Only the reactor's own
    /// thread may call this. Costs a step a name; over the filter's life that is two steps for each name added.
    pub fn grow(&self, hashes: impl Iterator<Item = u64>) {
        let next = self.current() + 1;
        let Some(cell) = self.tables.get(next) else { return };
        let table = empty_table(next);
        let mut names = 0;
        for hash in hashes {
            count_up(&table, hash);
            names += 1;
        }
        if cell.set(table).is_ok() {
            self.set_names(names);
            self.current.store(next, Ordering::Release);
        }
    }

    fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    fn table(&self) -> &[AtomicU8] {
        let current = self.current();
        // Only the first table is made here: every other one is set before its number is published.
        self.tables[current].get_or_init(|| empty_table(current))
    }

    fn names(&self) -> usize {
        self.names.0.load(Ordering::Relaxed)
    }

    fn set_names(&self, names: usize) {
        self.names.0.store(names, Ordering::Relaxed);
    }
}

fn empty_table(number: usize) -> Box<[AtomicU8]> {
    (0..1_usize << (SMALLEST_BITS + number))
        .map(|_| AtomicU8::new(0))
        .collect()
}

/// Where a hash counts in a table: its lower and its upper half, as far as the table reaches.
fn positions(hash: u64, table: &[AtomicU8]) -> [usize; 2] {
    let mask = table.len() - 1;
    [hash as usize & mask, (hash >> 32) as usize & mask]
}

/// A load and a store, no locked instruction: there is only one writer.
fn count_up(table: &[AtomicU8], hash: u64) {
    for position in positions(hash, table) {
        let count = table[position].load(Ordering::Relaxed);
        table[position].store(count.saturating_add(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
