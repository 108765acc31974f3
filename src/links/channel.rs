//! A bounded queue between two threads. A full one gives the item back, an empty one gives nothing: neither side ever
//! blocks, and the reader is woken through its own `Wake` only if it said that it sleeps. A reactor's inbox is read by
//! the reactor (`Wake` is its `mio::Waker`), its outbox by control.

use std::fmt;
use std::sync::Arc;

use super::doorbell::Doorbell;

/// Ends the sleep of a channel's reader, whatever it sleeps in.
pub trait Wake {
    /// Called by writers from any thread. Must not block; a wake that comes before the sleep must end that sleep.
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        if let Err(error) = mio::Waker::wake(self) {
            // The reader's next timer still gets it going, so the item is late but not lost.
            tracing::error!(%error, "cannot wake a reactor");
        }
    }
}

/// What both ends share besides the queue.
#[derive(Debug)]
struct Bell<W> {
    doorbell: Doorbell,
    waker: W,
}

/// Makes a channel for at most `capacity` items (at least one). Room for all of them is reserved at once.
pub fn channel<T, W: Wake>(capacity: usize, waker: W) -> (Sender<T, W>, Receiver<T, W>) {
    // crossbeam's zero-capacity channel is a rendezvous, which `try_send` could never fill.
    let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
    let bell = Arc::new(Bell {
        doorbell: Doorbell::new(),
        waker,
    });
    (
        Sender {
            queue: sender,
            bell: Arc::clone(&bell),
        },
        Receiver { queue: receiver, bell },
    )
}

/// The writing end; clones write into the same queue.
pub struct Sender<T, W> {
    queue: crossbeam_channel::Sender<T>,
    bell: Arc<Bell<W>>,
}

impl<T, W: Wake> Sender<T, W> {
    /// Queues `item`, and wakes the reader if it sleeps.
    ///
    /// # Errors
    /// Gives the item back if the queue is full or its reader is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        self.queue
            .try_send(item)
            .map_err(crossbeam_channel::TrySendError::into_inner)?;
        if self.bell.doorbell.ring() {
            self.bell.waker.wake();
        }
        Ok(())
    }

    /// Whether the next `send` would likely be refused: the reader may take something meanwhile, and other writers may
    /// fill the last place.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<T, W> Clone for Sender<T, W> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T, W> fmt::Debug for Sender<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.queue.len())
            .finish_non_exhaustive()
    }
}

/// The reading end. Its owner takes items until there are none, asks `prepare_sleep`, waits, and calls `awake`.
pub struct Receiver<T, W> {
    queue: crossbeam_channel::Receiver<T>,
    bell: Arc<Bell<W>>,
}

impl<T, W: Wake> Receiver<T, W> {
    /// The oldest item, if any waits.
    pub fn take(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }

    /// Call before waiting. True: the queue is empty, and whoever writes from now on wakes this reader. False:
    /// something waits; do not sleep.
    pub fn prepare_sleep(&self) -> bool {
        self.bell.doorbell.lie_down(|| self.queue.is_empty())
    }

    /// Call first thing after waiting, before taking anything: writers need not wake this reader any more.
    pub fn awake(&self) {
        self.bell.doorbell.get_up();
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<T, W> fmt::Debug for Receiver<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.queue.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
