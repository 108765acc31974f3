//! Compiles `src/links/doorbell.rs` over loom's atomics and lets loom try every interleaving, and every old value that
//! the memory model lets a thread still see. No queue and no waker of the real kind: what stands for them here
//! promises less than they do. No part of the longwire crate; only its tests are ever built.
#![cfg(test)]

use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use atomics::Ordering::Relaxed;
use doorbell::Doorbell;

#[path = "../../../src/links/doorbell.rs"]
mod doorbell;

/// What `doorbell.rs` is built from.
mod atomics {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

struct Link {
    /// How many items were put into the queue. Relaxed, so that only the doorbell's own fences order it.
    written: AtomicUsize,
    doorbell: Doorbell,
    /// The waker, and the sleep that it ends. A reader who sleeps for good is a deadlock, which loom reports.
    sleep: Notify,
    wakes: AtomicUsize,
}

impl Link {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            written: AtomicUsize::new(0),
            doorbell: Doorbell::new(),
            sleep: Notify::new(),
            wakes: AtomicUsize::new(0),
        })
    }

    fn send(&self) {
        self.written.fetch_add(1, Relaxed);
        if self.doorbell.ring() {
            self.wakes.fetch_add(1, Relaxed);
            self.sleep.notify();
        }
    }

    /// Reads until it has had `items`, sleeping whenever there are none. Returns how often it lay down.
    fn read(&self, items: usize) -> usize {
        let mut taken = 0;
        let mut lay_down = 0;
        loop {
            taken = taken.max(self.written.load(Relaxed));
            if taken == items {
                return lay_down;
            }
            lay_down += 1;
            if self.doorbell.lie_down(|| self.written.load(Relaxed) == taken) {
                self.sleep.wait();
                self.doorbell.get_up();
            }
        }
    }
}

/// `writers` threads send `each` items, this one reads them all. `switches_max` bounds how often a thread is interrupted
/// where it need not be; `None` tries everything.
fn no_wake_up_is_lost(writers: usize, each: usize, switches_max: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches_max;
    model.check(move || {
        let link = Link::new();
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                let link = Arc::clone(&link);
                thread::spawn(move || (0..each).for_each(|_| link.send()))
            })
            .collect();
        let lay_down = link.read(writers * each);
        for thread in threads {
            assert!(thread.join().is_ok());
        }
        // However many items, at most one wake each time that the reader lay down.
        assert!(link.wakes.load(Relaxed) <= lay_down);
    });
}

#[test]
fn one_writer_and_no_wake_up_is_lost() {
    no_wake_up_is_lost(1, 2, None);
}

#[test]
fn two_writers_and_no_wake_up_is_lost() {
    // Everything would take hours. A lost wake-up of two threads needs two interruptions.
    no_wake_up_is_lost(2, 1, Some(2));
}

/// The reader is woken by something else, a timer or a socket, and must find what came meanwhile.
#[test]
fn waking_up_by_oneself_loses_nothing() {
    loom::model(|| {
        let link = Link::new();
        let writer = {
            let link = Arc::clone(&link);
            thread::spawn(move || link.send())
        };
        if link.doorbell.lie_down(|| link.written.load(Relaxed) == 0) {
            link.doorbell.get_up();
        }
        link.read(1);
        assert!(writer.join().is_ok());
    });
}

#[test]
fn nobody_wakes_a_reader_who_is_up() {
    loom::model(|| {
        let link = Link::new();
        let writer = {
            let link = Arc::clone(&link);
            thread::spawn(move || link.send())
        };
        assert!(writer.join().is_ok());
        assert_eq!(link.wakes.load(Relaxed), 0);
        assert!(!link.doorbell.lie_down(|| link.written.load(Relaxed) == 0));
    });
}
