//! The way in: the request head, then frames. Bytes are decoded in the reactor's scratch buffer; what is incomplete, or
//! held by the application, is kept in the connection.

use std::rc::Rc;

use super::closing::{CODE_LOST, CODE_NONE};
use super::{CLOSE_WAIT_MS, Engine};
use crate::metrics::{CloseReason, RefusalReason};
use crate::protocol::frame::{self, Event, Opcode, Violation};
use crate::protocol::handshake::{self, Refused, Scan};
use crate::shard::connection::{Connection, Kept, Key, Stage};
use crate::shard::outbound::{Frame, QueueId};
use crate::shard::{Application, End, Flow, Message, NEVER, Refusal, Urgency};

impl<S: Default> Engine<S> {
    pub(in crate::shard) fn receive<A>(&mut self, application: &mut A, key: Key, bytes: &mut [u8])
    where
        A: Application<Session = S>,
    {
        self.counters().bytes_in.add(bytes.len() as u64);
        let Some(connection) = self.get_mut(key) else { return };
        // Any byte is a sign of life.
        connection.pong_by_ms = NEVER;
        if connection.deaf {
            return;
        }
        match connection.stage {
            Stage::Handshake => self.receive_head(application, key, bytes),
            Stage::Unauthenticated | Stage::Open | Stage::Closing => self.receive_frames(application, key, bytes),
            Stage::Dead => {}
        }
    }

    /// False while the application holds a message, or the client does not take its answers.
    pub(in crate::shard) fn wants_read(&self, key: Key) -> bool {
        self.get(key).is_some_and(|connection| match connection.stage {
            Stage::Unauthenticated | Stage::Open => {
                !connection.holds_message() && connection.queued_bytes() <= self.rules.read_pause_bytes
            }
            Stage::Handshake | Stage::Closing => true,
            Stage::Dead => false,
        })
    }

    fn receive_head<A>(&mut self, application: &mut A, key: Key, bytes: &mut [u8])
    where
        A: Application<Session = S>,
    {
        let connection = &mut self.connections[key.index as usize];
        let Some(mut kept) = connection.kept.take() else {
            // The common case: the whole head in one read, parsed where it lies.
            match handshake::scan(bytes, 0) {
                Scan::Complete(head_bytes) => {
                    let (head, rest) = bytes.split_at_mut(head_bytes);
                    self.shake_hands(application, key, head, rest);
                }
                Scan::Incomplete => connection.kept = Some(Box::new(Kept::Head(bytes.to_vec()))),
                Scan::TooLarge => self.refuse_head(key, RefusalReason::HeadTooLarge),
                Scan::Broken => self.refuse_head(key, RefusalReason::BadRequest),
            }
            return;
        };
        if let Kept::Head(head) = &mut *kept {
            let scanned = head.len();
            head.extend_from_slice(bytes);
            match handshake::scan(head, scanned) {
                Scan::Complete(head_bytes) => {
                    let (head, rest) = head.split_at_mut(head_bytes);
                    self.shake_hands(application, key, head, rest);
                }
                Scan::Incomplete => connection.kept = Some(kept),
                Scan::TooLarge => self.refuse_head(key, RefusalReason::HeadTooLarge),
                Scan::Broken => self.refuse_head(key, RefusalReason::BadRequest),
            }
        }
    }

    fn shake_hands<A>(&mut self, application: &mut A, key: Key, head: &[u8], rest: &mut [u8])
    where
        A: Application<Session = S>,
    {
        let request = match handshake::parse(head) {
            Ok(request) => request,
            Err(refused) => {
                let reason = match refused {
                    Refused::NotFound => RefusalReason::NotFound,
                    Refused::HeadTooLarge => RefusalReason::HeadTooLarge,
                    _ => RefusalReason::BadRequest,
                };
                return self.refuse(key, reason, refused.response(head));
            }
        };
        if let Err(refusal) = application.admit(self, key, &request) {
            return self.refuse_with(key, refusal);
        }
        let answer = Frame::plain(handshake::accept_response(&request));
        let first_ping_ms = self.first_ping_at();
        self.enqueue(key.index, answer, Urgency::Urgent);
        self.move_to(key.index, Stage::Unauthenticated);
        self.connections[key.index as usize].deadline_ms = first_ping_ms;
        self.arm(key.index);
        if !rest.is_empty() {
            self.receive_frames(application, key, rest);
        }
    }

    /// Answers a request of which only a part is there, and reads no more of it. A peer that has said nothing yet is left
    /// alone: it asked for nothing.
    pub fn refuse_unfinished(&mut self, key: Key, refusal: Refusal) {
        let begun = |connection: &Connection<S>| matches!(connection.kept.as_deref(), Some(Kept::Head(_)));
        if self.get(key).is_some_and(begun) {
            self.refuse_with(key, refusal);
        }
    }

    fn refuse_with(&mut self, key: Key, refusal: Refusal) {
        let answer = handshake::refusal_response(refusal.status, refusal.retry_after_s, refusal.text);
        self.refuse(key, refusal.reason, answer);
    }

    fn refuse_head(&mut self, key: Key, reason: RefusalReason) {
        let answer = match reason {
            RefusalReason::HeadTooLarge => handshake::refusal_response(431, None, "the request head is over 8 KiB"),
            _ => handshake::refusal_response(400, None, "this is not an HTTP request"),
        };
        self.refuse(key, reason, answer);
    }

    /// Answers with plain HTTP and closes: the answer is written, the write side shut, and the socket closed when the
    /// peer has closed its own or the wait is over. Closing at once would lose the answer where bytes are unread.
    fn refuse(&mut self, key: Key, reason: RefusalReason, answer: Vec<u8>) {
        self.counters().refused[reason as usize].add(1);
        let end = End {
            reason: CloseReason::Client,
            code: CODE_LOST,
            queued_bytes: 0,
        };
        self.ended.push_back((key, end));
        self.enqueue(key.index, Frame::plain(answer), Urgency::Urgent);
        self.connections[key.index as usize].refused = true;
        self.move_to(key.index, Stage::Closing);
        let deadline_ms = self.now.ms() + CLOSE_WAIT_MS;
        let connection = &mut self.connections[key.index as usize];
        connection.kept = None;
        connection.deaf = true;
        connection.deadline_ms = deadline_ms;
        connection.application_deadline_ms = NEVER;
        self.arm(key.index);
    }

    fn receive_frames<A>(&mut self, application: &mut A, key: Key, mut input: &mut [u8])
    where
        A: Application<Session = S>,
    {
        let rules = frame::Rules {
            max_message_bytes: self.rules.message_bytes_max,
            binary: self.rules.binary,
        };
        let mut decoder = std::mem::take(&mut self.connections[key.index as usize].decoder);
        loop {
            let event = match decoder.next(&mut input, rules) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(violation) => return self.violated(key, violation),
            };
            let message = match &event {
                Event::Text(text) => Message::Text(text),
                Event::Binary(bytes) => Message::Binary(bytes),
                Event::Ping(payload) => {
                    self.answer_ping(key, payload);
                    continue;
                }
                Event::Pong => continue,
                Event::Close(code) => return self.peer_closed(key, *code),
            };
            if !self.is_live(key) {
                // We have sent our close frame, and only wait for the peer's.
                continue;
            }
            if application.message(self, key, message, false) == Flow::Hold {
                return self.hold(key, message, input);
            }
        }
        if let Some(connection) = self.get_mut(key) {
            connection.decoder = decoder;
        }
    }

    fn is_live(&self, key: Key) -> bool {
        self.get(key).is_some_and(Connection::is_live)
    }

    fn hold(&mut self, key: Key, message: Message<'_>, rest: &[u8]) {
        if !self.is_live(key) {
            return;
        }
        let (text, message) = match message {
            Message::Text(message) => (true, message.as_bytes()),
            Message::Binary(message) => (false, message),
        };
        let kept = Kept::Message {
            text,
            message: message.to_vec(),
            rest: rest.to_vec(),
        };
        self.connections[key.index as usize].kept = Some(Box::new(kept));
    }

    /// Hands a held message over again, and what came behind it. Does nothing if none is held.
    pub fn resume<A>(&mut self, application: &mut A, key: Key)
    where
        A: Application<Session = S>,
    {
        let Some(connection) = self.get_mut(key).filter(|connection| connection.is_live()) else {
            return;
        };
        let Some(kept) = connection.kept.take() else { return };
        let Kept::Message {
            text,
            message,
            mut rest,
        } = *kept
        else {
            return;
        };
        let view = match std::str::from_utf8(&message) {
            Ok(string) if text => Message::Text(string),
            _ => Message::Binary(&message),
        };
        if application.message(self, key, view, true) == Flow::Hold {
            return self.hold(key, view, &rest);
        }
        self.readable_again.push_back(key);
        if !rest.is_empty() && self.get(key).is_some() {
            self.receive_frames(application, key, &mut rest);
        }
    }

    fn answer_ping(&mut self, key: Key, payload: &[u8]) {
        if self.is_live(key) {
            self.send(key, Frame::plain(frame::encode(Opcode::Pong, payload)), Urgency::Urgent);
        }
    }

    fn peer_closed(&mut self, key: Key, code: Option<u16>) {
        let Some(connection) = self.get_mut(key) else { return };
        connection.peer_closed = true;
        if connection.is_live() {
            // RFC 6455 section 5.5.1: the answer typically echoes the status code.
            let echo: Rc<Frame> = match code {
                Some(code) => Frame::plain(frame::encode_close(code, "")),
                None => Frame::plain(frame::encode(Opcode::Close, b"")),
            };
            let end = End {
                reason: CloseReason::Client,
                code: code.unwrap_or(CODE_NONE),
                queued_bytes: connection.queued_bytes(),
            };
            self.begin_closing(key, end, echo);
        } else if connection.queue == QueueId::NONE {
            self.bury(key.index);
        }
    }

    fn violated(&mut self, key: Key, violation: Violation) {
        let reason = match violation {
            Violation::Protocol(_) => CloseReason::ProtocolError,
            Violation::BadUtf8 => CloseReason::BadUtf8,
            Violation::TooBig => CloseReason::MessageTooBig,
            Violation::Binary => CloseReason::UnsupportedData,
        };
        let Some(connection) = self.get_mut(key) else { return };
        connection.deaf = true;
        if connection.is_live() {
            self.close_with(key, reason, reason.code(), violation.text());
        } else if connection.queue == QueueId::NONE {
            // Told already, and nothing that it says can be understood.
            self.bury(key.index);
        }
    }
}
