//! The timers of one shard: a hierarchical timer wheel with at most one deadline an index, the index being that of the
//! connection in the shard's slab. It owns deadlines and nothing else; it reads no clock (`now_ms` is passed in) and
//! calls nobody back: `shard` files deadlines, asks when the next is due and pops what is.
//!
//! Time has 1 ms ticks and 48 bits, cut into eight digits of six. Level n of the wheel has a slot for each value of
//! digit n. An entry lies on the level of the highest digit in which its deadline differs from `elapsed_ms`, in the slot
//! of its deadline's digit there: all of a level's entries come before all of a higher level's, and within a level the
//! lowest occupied slot comes first. When the clock reaches a slot, what is due there is popped and the rest moves to
//! lower levels; a slot of level 0 is one tick. Empty slots cost nothing however far the clock jumps, since a bitmap a
//! level says which are occupied. (Varghese and Lauck 1987; the arithmetic of levels is tokio's.)

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 8;
/// The last moment the wheel knows, 8,900 years after 0. Later ones are taken for this one.
const LAST_MS: u64 = (1 << (DIGIT_BITS * LEVELS as u32)) - 1;

/// Lists in a slot; an entry's index decides in which it is. The entries of one list are all over the memory, and each
/// names the next, so a list is walked no faster than memory answers one question after the other. Eight lists taken in
/// turn are eight questions at a time: with a million entries that expires them in a quarter of the time.
const LANES: usize = 8;
/// The end of a list.
const NONE: u32 = u32::MAX;
/// The slot of an entry that is in none.
const UNFILED: u16 = u16::MAX;
/// How many entries one `pop_due` moves to lower levels before it lets its caller do something else: about 200 µs.
const MOVES_MAX: usize = 4096;

/// Sixteen bytes, four to a cache line: a million entries stay within a cache of 16 MB.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The deadline in the upper 48 bits, the number of the slot in the lower 16. The slot cannot be worked out from
    /// the deadline alone: it depends on when the entry was filed.
    deadline_and_slot: u64,
    previous: u32,
    next: u32,
}

impl Entry {
    const UNFILED: Self = Self {
        deadline_and_slot: UNFILED as u64,
        previous: NONE,
        next: NONE,
    };

    fn deadline_ms(&self) -> u64 {
        self.deadline_and_slot >> 16
    }

    fn slot(&self) -> u16 {
        self.deadline_and_slot as u16
    }
}

/// See the top of the file.
#[derive(Debug)]
pub struct Wheel {
    /// Everything before this moment was popped, and it is never later than the last `now_ms`.
    elapsed_ms: u64,
    /// The slot that the clock has reached and that is not empty yet. It is not first in the order of slots any more
    /// once some of its entries have moved to lower levels.
    reached: Option<u16>,
    filed: usize,
    /// One bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// The first entry of each list, slot after slot, level after level. 16 KiB.
    heads: Box<[[u32; LANES]; LEVELS * SLOTS]>,
    /// By index. Only this allocates, and only to grow.
    entries: Vec<Entry>,
}

impl Wheel {
    /// An empty wheel, at `now_ms` on whatever clock its owner uses.
    pub fn new(now_ms: u64) -> Self {
        Self {
            elapsed_ms: now_ms.min(LAST_MS),
            reached: None,
            filed: 0,
            occupied: [0; LEVELS],
            heads: Box::new([[NONE; LANES]; LEVELS * SLOTS]),
            entries: Vec::new(),
        }
    }

    /// Sets the deadline of `index` (below `u32::MAX`), whether it had one or not. A deadline that is past is due at
    /// once; one after the year 8900 of the clock counts as that.
    pub fn file(&mut self, index: u32, deadline_ms: u64) {
        debug_assert!(index != NONE, "the last index marks the end of a list");
        let position = index as usize;
        if position >= self.entries.len() {
            self.entries.resize(position + 1, Entry::UNFILED);
        }
        if self.entries[position].slot() == UNFILED {
            self.filed += 1;
        } else {
            self.unlink(index);
        }
        self.link(index, deadline_ms.min(LAST_MS));
    }

    /// Takes the deadline of `index` away, if it has one.
    pub fn cancel(&mut self, index: u32) {
        if self.is_filed(index) {
            self.unlink(index);
            self.entries[index as usize] = Entry::UNFILED;
            self.filed -= 1;
        }
    }

    /// The deadline of `index`, if it has one.
    pub fn deadline_ms(&self, index: u32) -> Option<u64> {
        self.is_filed(index).then(|| self.entries[index as usize].deadline_ms())
    }

    /// When to call `pop_due` next; `None` if nothing is filed. Never later than the earliest deadline, or than the
    /// last `now_ms` if that is past already. It may be earlier, when entries have to move to a lower level first.
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.reached.is_some() {
            return Some(self.elapsed_ms);
        }
        self.first_slot().map(|(_, start_ms)| start_ms)
    }

    /// Takes out one entry whose deadline is at or before `now_ms`. `None`: there is none, or this call has already
    /// moved thousands of entries to lower levels on its way to the next; `next_due_ms` tells, and is then not later
    /// than `now_ms`. A clock that goes back is taken to stand still.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<u32> {
        let now_ms = now_ms.min(LAST_MS).max(self.elapsed_ms);
        let mut moves_left = MOVES_MAX;
        loop {
            while let Some(slot) = self.reached {
                if moves_left < LANES {
                    return None;
                }
                for lane in 0..LANES {
                    let index = self.heads[usize::from(slot)][lane];
                    if index == NONE {
                        continue;
                    }
                    let deadline_ms = self.entries[index as usize].deadline_ms();
                    if deadline_ms <= self.elapsed_ms {
                        self.cancel(index);
                        return Some(index);
                    }
                    self.unlink(index);
                    self.link(index, deadline_ms);
                    moves_left -= 1;
                }
            }
            match self.first_slot() {
                Some((slot, start_ms)) if start_ms <= now_ms => {
                    self.elapsed_ms = start_ms;
                    self.reached = Some(slot);
                }
                _ => {
                    self.elapsed_ms = now_ms;
                    return None;
                }
            }
        }
    }

    /// How many deadlines are filed.
    pub fn len(&self) -> usize {
        self.filed
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.filed == 0
    }

    fn is_filed(&self, index: u32) -> bool {
        self.entries
            .get(index as usize)
            .is_some_and(|entry| entry.slot() != UNFILED)
    }

    /// The earliest slot that is not empty, but for `reached`, and when it begins.
    fn first_slot(&self) -> Option<(u16, u64)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let digit = u64::from(self.occupied[level].trailing_zeros());
        let shift = DIGIT_BITS * level as u32;
        let higher_digits = self.elapsed_ms >> (shift + DIGIT_BITS) << DIGIT_BITS;
        Some((slot_number(level, digit), (higher_digits | digit) << shift))
    }

    /// Where a deadline belongs now.
    fn slot_for(&self, deadline_ms: u64) -> u16 {
        // What is past goes where the current tick is.
        let deadline_ms = deadline_ms.max(self.elapsed_ms);
        let level = ((deadline_ms ^ self.elapsed_ms) | 1).ilog2() / DIGIT_BITS;
        slot_number(level as usize, deadline_ms >> (DIGIT_BITS * level) & (SLOTS as u64 - 1))
    }

    /// Puts an entry that is in no list first into one where its deadline belongs.
    fn link(&mut self, index: u32, deadline_ms: u64) {
        let slot = self.slot_for(deadline_ms);
        let first = std::mem::replace(&mut self.heads[usize::from(slot)][lane_of(index)], index);
        if first == NONE {
            self.occupied[usize::from(slot) / SLOTS] |= 1 << (usize::from(slot) % SLOTS);
        } else {
            self.entries[first as usize].previous = index;
        }
        let deadline_and_slot = deadline_ms << 16 | u64::from(slot);
        self.entries[index as usize] = Entry {
            deadline_and_slot,
            previous: NONE,
            next: first,
        };
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let entry = self.entries[index as usize];
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        if entry.previous != NONE {
            self.entries[entry.previous as usize].next = entry.next;
            return;
        }
        let slot = usize::from(entry.slot());
        self.heads[slot][lane_of(index)] = entry.next;
        if self.heads[slot] == [NONE; LANES] {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            if self.reached == Some(entry.slot()) {
                self.reached = None;
            }
        }
    }
}

fn slot_number(level: usize, digit: u64) -> u16 {
    (level * SLOTS) as u16 | digit as u16
}

fn lane_of(index: u32) -> usize {
    index as usize % LANES
}

#[cfg(test)]
mod tests;
