//! Who may accept: all reactors at once; or one alone, which has given up a descriptor in order to turn somebody away, and
//! would lose it to another's client; or, in the end, nobody. Nobody waits: whoever may not is told so, and comes again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Beside the count in `accepting`: one of them is alone.
const ALONE: usize = 1 << (usize::BITS - 1);

/// The node's one.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Reactors that may be about to accept somebody.
    accepting: AtomicUsize,
    closed: AtomicBool,
}

impl Door {
    pub fn begin(&self) -> bool {
        // In one order with `close`: either this sees the door closed, or `close` is followed by a look at this. And with
        // `alone`: either that sees this one, or this sees that one.
        let others = self.accepting.fetch_add(1, Ordering::SeqCst);
        let may = others & ALONE == 0 && !self.closed();
        if !may {
            self.end();
        }
        may
    }

    pub fn end(&self) {
        self.accepting.fetch_sub(1, Ordering::SeqCst);
    }

    /// After `begin`.
    pub fn alone(&self) -> bool {
        let just_this = self
            .accepting
            .compare_exchange(1, 1 | ALONE, Ordering::SeqCst, Ordering::SeqCst);
        just_this.is_ok()
    }

    pub fn alone_end(&self) {
        self.accepting.fetch_sub(ALONE, Ordering::SeqCst);
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Nobody accepts at this moment.
    pub fn idle(&self) -> bool {
        self.accepting.load(Ordering::SeqCst) == 0
    }
}
