//! What waits to be written: frames, and one queue of them for each connection that has any. Owned by the engine; the
//! reactor sees it as a list of slices to write. An idle connection has no queue: queues come from a pool and go back
//! to it, so that 10,000 connections that each got one message keep nothing.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::num::NonZeroU64;
use std::rc::Rc;

use bytes::Bytes;

/// A whole WebSocket frame (or an HTTP answer), shared by every connection of this reactor that it is queued for.
#[derive(Debug)]
pub struct Frame {
    /// The bytes, header included.
    pub bytes: Bytes,
    /// When it arrived at the node, if it is a push; what is not a push does not count as a delivery.
    pub pushed_at_us: Option<NonZeroU64>,
}

impl Frame {
    /// A reply, a control frame, an HTTP answer.
    pub fn plain(bytes: impl Into<Bytes>) -> Rc<Self> {
        Rc::new(Self {
            bytes: bytes.into(),
            pushed_at_us: None,
        })
    }

    /// Whether it is the answer to the upgrade: no WebSocket frame of a server begins like HTTP.
    fn is_upgrade(&self) -> bool {
        self.bytes.starts_with(b"HTTP/")
    }

    /// A push that arrived `arrived_us` microseconds after the node's start.
    pub fn push(bytes: Bytes, arrived_us: u64) -> Rc<Self> {
        Rc::new(Self {
            bytes,
            pushed_at_us: NonZeroU64::new(arrived_us.max(1)),
        })
    }
}

/// The number of a queue in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueId(u32);

impl QueueId {
    /// No queue: nothing waits.
    pub const NONE: Self = Self(u32::MAX);
}

#[derive(Debug)]
struct Queue {
    /// Slab index of the connection that it belongs to; `u32::MAX` while it is in the pool.
    owner: u32,
    /// Bytes of the first frame that are written already.
    head_written: usize,
    frames: VecDeque<Rc<Frame>>,
}

/// All queues of a reactor.
#[derive(Debug, Default)]
pub struct Queues {
    queues: Vec<Queue>,
    free: Vec<u32>,
}

/// A queue that comes back to the pool with room for more frames than this gives the room back.
const FRAMES_KEPT: usize = 16;
/// The pool keeps the frame lists of this many queues; the others are freed.
const QUEUES_KEPT: usize = 1024;
const NOBODY: u32 = u32::MAX;

impl Queues {
    /// Appends a frame to a connection's queue, taking one from the pool if it has none.
    pub fn push(&mut self, id: &mut QueueId, owner: u32, frame: Rc<Frame>) {
        if *id == QueueId::NONE {
            *id = self.take(owner);
        }
        self.queues[id.0 as usize].frames.push_back(frame);
    }

    fn take(&mut self, owner: u32) -> QueueId {
        if let Some(index) = self.free.pop() {
            self.queues[index as usize].owner = owner;
            return QueueId(index);
        }
        self.queues.push(Queue {
            owner,
            head_written: 0,
            frames: VecDeque::new(),
        });
        QueueId((self.queues.len() - 1) as u32)
    }

    /// Gives a queue back, frames and all.
    pub fn release(&mut self, id: &mut QueueId) {
        if *id == QueueId::NONE {
            return;
        }
        let queue = &mut self.queues[id.0 as usize];
        queue.owner = NOBODY;
        queue.head_written = 0;
        queue.frames.clear();
        if queue.frames.capacity() > FRAMES_KEPT || self.free.len() >= QUEUES_KEPT {
            queue.frames = VecDeque::new();
        }
        self.free.push(id.0);
        *id = QueueId::NONE;
    }

    /// Fills `slices` with the next bytes to write; how many of them it filled.
    pub fn slices<'a>(&'a self, id: QueueId, slices: &mut [IoSlice<'a>]) -> usize {
        if id == QueueId::NONE {
            return 0;
        }
        let queue = &self.queues[id.0 as usize];
        let mut filled = 0;
        for (slice, frame) in slices.iter_mut().zip(&queue.frames) {
            let skip = if filled == 0 { queue.head_written } else { 0 };
            *slice = IoSlice::new(&frame.bytes[skip..]);
            filled += 1;
        }
        filled
    }

    /// `n` bytes were written. Calls `finished` for each frame that is now written whole, and gives the queue back when
    /// it is empty.
    pub fn wrote(&mut self, id: &mut QueueId, n: usize, mut finished: impl FnMut(&Frame)) {
        if *id == QueueId::NONE {
            return;
        }
        let queue = &mut self.queues[id.0 as usize];
        let mut left = n + queue.head_written;
        while let Some(frame) = queue.frames.front() {
            if left < frame.bytes.len() {
                break;
            }
            left -= frame.bytes.len();
            finished(frame);
            queue.frames.pop_front();
        }
        queue.head_written = left;
        if queue.frames.is_empty() {
            self.release(id);
        }
    }

    /// Drops every frame of which nothing is written yet. A frame begun must be finished, or the stream is broken, and so
    /// must the answer to the upgrade, or what follows is no WebSocket. Calls `dropped` for each. The bytes that remain to
    /// be written.
    pub fn drop_unwritten(&mut self, id: &mut QueueId, mut dropped: impl FnMut(&Frame)) -> usize {
        if *id == QueueId::NONE {
            return 0;
        }
        let queue = &mut self.queues[id.0 as usize];
        let first_stays = queue.head_written > 0 || queue.frames.front().is_some_and(|frame| frame.is_upgrade());
        queue
            .frames
            .drain(usize::from(first_stays)..)
            .for_each(|frame| dropped(&frame));
        match queue.frames.front() {
            Some(frame) => frame.bytes.len() - queue.head_written,
            None => {
                self.release(id);
                0
            }
        }
    }

    /// Frames in this queue.
    pub fn len(&self, id: QueueId) -> usize {
        self.queues.get(id.0 as usize).map_or(0, |queue| queue.frames.len())
    }

    /// Every frame still queued, for the count of what was never delivered.
    pub fn frames(&self, id: QueueId) -> impl Iterator<Item = &Rc<Frame>> {
        self.queues
            .get(id.0 as usize)
            .into_iter()
            .flat_map(|queue| queue.frames.iter())
    }

    /// The connections that have something queued. Costs a look at every queue that was ever needed at once, so it is for
    /// the rare search for the worst, not for every turn.
    pub fn owners(&self) -> impl Iterator<Item = u32> + '_ {
        self.queues
            .iter()
            .map(|queue| queue.owner)
            .filter(|&owner| owner != NOBODY)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(queues: &Queues, id: QueueId) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let n = queues.slices(id, &mut slices);
        slices[..n].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        let mut queues = Queues::default();
        let mut id = QueueId::NONE;
        queues.push(&mut id, 7, Frame::plain("abcde"));
        queues.push(&mut id, 7, Frame::push(Bytes::from_static(b"fgh"), 5));
        let mut done = Vec::new();
        queues.wrote(&mut id, 3, |frame| done.push(frame.bytes.clone()));
        assert!(done.is_empty());
        assert_eq!(text(&queues, id), b"defgh");
        queues.wrote(&mut id, 3, |frame| done.push(frame.bytes.clone()));
        assert_eq!(done, ["abcde"]);
        assert_eq!(text(&queues, id), b"gh");
        queues.wrote(&mut id, 2, |frame| done.push(frame.bytes.clone()));
        assert_eq!(id, QueueId::NONE);
        assert_eq!(queues.owners().count(), 0);
    }

    #[test]
    fn dropping_keeps_the_frame_that_is_begun() {
        let mut queues = Queues::default();
        let mut id = QueueId::NONE;
        for frame in ["abc", "def", "ghi"] {
            queues.push(&mut id, 1, Frame::plain(frame));
        }
        queues.wrote(&mut id, 1, |_| ());
        let mut dropped = 0;
        assert_eq!(queues.drop_unwritten(&mut id, |_| dropped += 1), 2);
        assert_eq!(dropped, 2);
        assert_eq!(text(&queues, id), b"bc");
    }

    #[test]
    fn dropping_keeps_the_answer_to_the_upgrade() {
        let mut queues = Queues::default();
        let mut id = QueueId::NONE;
        for frame in ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "def"] {
            queues.push(&mut id, 1, Frame::plain(frame));
        }
        assert_eq!(queues.drop_unwritten(&mut id, |_| ()), 36);
        assert!(text(&queues, id).ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn dropping_an_unbegun_queue_empties_it() {
        let mut queues = Queues::default();
        let mut id = QueueId::NONE;
        queues.push(&mut id, 1, Frame::plain("abc"));
        assert_eq!(queues.drop_unwritten(&mut id, |_| ()), 0);
        assert_eq!(id, QueueId::NONE);
    }
}
