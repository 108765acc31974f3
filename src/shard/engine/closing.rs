//! How connections end: the closing handshake, the loss of a socket, and the lists on which they then stand, one for the
//! application (`next_ended`) and one for the reactor (`next_dead`).

use std::rc::Rc;

use super::{CLOSE_WAIT_MS, Engine, Urgency};
use crate::metrics::CloseReason;
use crate::protocol::frame;
use crate::shard::connection::{Key, Stage};
use crate::shard::outbound::{Frame, QueueId};
use crate::shard::{End, NEVER};

/// What RFC 6455 section 7.1.5 calls the close code of a close frame without one, and of an end without a close frame.
/// Neither is ever sent.
pub(super) const CODE_NONE: u16 = 1005;
pub(super) const CODE_LOST: u16 = 1006;

impl<S> Engine<S> {
    /// Closes with this reason's own code, and its label as the text.
    pub fn close(&mut self, key: Key, reason: CloseReason) {
        self.close_with(key, reason, reason.code(), reason.label());
    }

    /// Begins the closing handshake: what is queued is still written, then the close frame. Before the upgrade there is
    /// nothing to say it with, and the socket is closed. A connection that is closing already is left alone.
    pub fn close_with(&mut self, key: Key, reason: CloseReason, code: u16, text: &str) {
        let Some(connection) = self.get(key) else { return };
        match connection.stage {
            Stage::Handshake => self.lost(key, reason),
            Stage::Unauthenticated | Stage::Open => {
                let queued_bytes = connection.queued_bytes();
                self.say_close(key, reason, code, text, queued_bytes);
            }
            Stage::Closing | Stage::Dead => {}
        }
    }

    /// As `close_with`, for a peer that takes nothing: drops what is queued, so that the close frame has a chance and the
    /// memory is free at once.
    pub fn close_and_drop_queue(&mut self, key: Key, reason: CloseReason, text: &str) {
        let Some(connection) = self.get(key).filter(|connection| connection.is_live()) else {
            return;
        };
        let queued_bytes = connection.queued_bytes();
        self.drop_unwritten(key.index);
        self.say_close(key, reason, reason.code(), text, queued_bytes);
    }

    /// `queued_bytes` are what waited when the end was decided.
    fn say_close(&mut self, key: Key, reason: CloseReason, code: u16, text: &str, queued_bytes: usize) {
        let close = Frame::plain(frame::encode_close(code, text));
        let end = End {
            reason,
            code,
            queued_bytes,
        };
        self.begin_closing(key, end, close);
    }

    /// The code is what the close frame says, or what the peer's said where this one answers it.
    pub(super) fn begin_closing(&mut self, key: Key, end: End, close: Rc<Frame>) {
        self.end(key, end);
        self.move_to(key.index, Stage::Closing);
        self.enqueue(key.index, close, Urgency::Urgent);
        let deadline_ms = self.now.ms() + CLOSE_WAIT_MS;
        let connection = &mut self.connections[key.index as usize];
        connection.kept = None;
        connection.pong_by_ms = NEVER;
        connection.application_deadline_ms = NEVER;
        connection.deadline_ms = deadline_ms;
        // A held or paused connection is read again: its close frame may be waiting in the socket.
        self.readable_again.push_back(key);
        self.arm(key.index);
    }

    /// Counts the end, and puts it on the list for the application.
    pub(super) fn end(&mut self, key: Key, end: End) {
        self.counters().closed[end.reason as usize].add(1);
        self.ended.push_back((key, end));
    }

    /// The socket is gone, or not worth a word: no more frames, close it at the end of the turn.
    pub(in crate::shard) fn lost(&mut self, key: Key, reason: CloseReason) {
        let Some(connection) = self.get(key) else { return };
        if matches!(
            connection.stage,
            Stage::Handshake | Stage::Unauthenticated | Stage::Open
        ) {
            let (code, queued_bytes) = (CODE_LOST, connection.queued_bytes());
            self.end(
                key,
                End {
                    reason,
                    code,
                    queued_bytes,
                },
            );
        }
        self.bury(key.index);
    }

    /// The peer sent its end of file. An answer that is still queued is written first.
    pub(in crate::shard) fn end_of_file(&mut self, key: Key) {
        match self.get_mut(key) {
            Some(connection) if connection.stage == Stage::Closing && connection.queue != QueueId::NONE => {
                connection.peer_closed = true;
            }
            _ => self.lost(key, CloseReason::ConnectionLost),
        }
    }

    pub(super) fn bury(&mut self, index: u32) {
        if self.connections[index as usize].stage != Stage::Dead {
            self.move_to(index, Stage::Dead);
            self.wheel.cancel(index);
            self.dead.push_back(index);
        }
    }

    pub(in crate::shard) fn next_ended(&mut self) -> Option<(Key, End)> {
        self.ended.pop_front()
    }
}
