//! Ctrl-C and SIGTERM: the first one cuts the run short, and what was found so far is shown; the second one ends the
//! process at once. Workers and servers that were started are in process groups of their own, so that a terminal's Ctrl-C
//! reaches the coordinator alone.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether somebody wants the run to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Signals do again what they do to any program. For a child, first thing.
pub fn leave() {
    let _ = SigSet::empty().thread_set_mask(); // it fails for arguments that are none
}

/// From now on signals are heard. Called before any other thread is started: they inherit that the signals wait for the
/// one thread that listens. Children do, too: see `leave`.
pub fn listen() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if signals.thread_block().is_err() {
        return; // then a signal ends the process, as usual
    }
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + signal as i32);
            }
        }
    });
}
