//! The flag that says whether the reader of a queue sleeps, so that a writer pays for a wake-up only when one is
//! needed. It owns that one flag, holds no queue and does no waking: `channel` rings it after each item.
//! `tests/loom` compiles this file by itself over loom's atomics and tries every interleaving.

use super::atomics::{AtomicBool, Ordering, fence};

/// One reader lies down and gets up; any number of writers ring.
///
/// Either a writer's `ring` sees that the reader lies, or the reader's `lie_down` sees that writer's item: both put
/// a sequentially consistent fence between their write and their look at the other side, so they cannot both miss.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
}

impl Doorbell {
    /// The reader is up.
    pub fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
        }
    }

    /// A writer calls this after its item is in the queue. True: the reader sleeps, and waking it is up to this
    /// writer; of several, only the first is told so.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The plain load first: while the reader is up, writers share the cache line instead of fighting for it.
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// The reader calls this before it sleeps. True: it may; whoever writes from now on wakes it. False: `is_empty`
    /// says that something came meanwhile, and the reader is up again.
    pub fn lie_down(&self, is_empty: impl FnOnce() -> bool) -> bool {
        // A store would do, as a swap in `ring` that it overtakes must have read what was there before. But loom knows
        // the order of two writes only if one of them has seen the other, and reports a wake-up lost that cannot be.
        self.asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let sleeps = is_empty();
        if !sleeps {
            self.get_up();
        }
        sleeps
    }

    /// The reader calls this first thing after it slept, before it takes an item: it may have been woken by something
    /// else than a writer, and then nobody has cleared the flag.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
