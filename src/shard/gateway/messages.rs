//! A client's message: counted against the rate, read, its token checked, then done (the gateway's own paths) or handed
//! to control as a call. Every message with an id gets exactly one reply, here or through `Command::Reply`.

use std::borrow::Cow;

use bytes::Bytes;

use super::login::Checked;
use super::{Gateway, Session};
use crate::links::{Call, Notice};
use crate::metrics::CloseReason;
use crate::protocol::message::{self, Bad, ErrorCode, Incoming, Token};
use crate::shard::Flow;
use crate::shard::connection::{Key, Stage};
use crate::shard::engine::{Engine, Urgency};
use crate::shard::outbound::Frame;

/// Malformed messages in a row after which the connection is closed.
const BAD_MESSAGES_MAX: u8 = 10;
/// Messages in a row past the rate limit after which the connection is closed.
const RATE_REFUSALS_MAX: u8 = 20;

impl Gateway {
    pub(super) fn text(&mut self, engine: &mut Engine<Session>, key: Key, text: &str, resumed: bool) -> Flow {
        if !resumed {
            engine.counters().messages_received.add(1);
            if !self.within_rate(engine, key) {
                self.refuse_rate(engine, key, text);
                return Flow::Continue;
            }
        }
        match message::parse(text) {
            Ok(incoming) => {
                engine.session_mut(key.index).bad_messages = 0;
                self.incoming(engine, key, &incoming, resumed)
            }
            Err(Bad::Path { id }) => {
                engine.session_mut(key.index).bad_messages = 0;
                let what = "path must be segments of [A-Za-z0-9_-] joined by '/', 1 to 256 bytes in all";
                self.fail(engine, key, id, None, ErrorCode::BadMessage, what);
                Flow::Continue
            }
            Err(Bad::Message(what)) => {
                let bad_messages = &mut engine.session_mut(key.index).bad_messages;
                *bad_messages += 1;
                let too_many = *bad_messages >= BAD_MESSAGES_MAX;
                self.fail(engine, key, Some(message::NULL_ID), None, ErrorCode::BadMessage, what);
                if too_many {
                    engine.close(key, CloseReason::BadMessages);
                }
                Flow::Continue
            }
        }
    }

    fn incoming(&mut self, engine: &mut Engine<Session>, key: Key, incoming: &Incoming<'_>, resumed: bool) -> Flow {
        if incoming.path == "connect" {
            return self.connect(engine, key, incoming, resumed);
        }
        if incoming.token != Token::Absent {
            match self.check_token(engine, key, incoming, &[], None, resumed) {
                Checked::Ok => {}
                Checked::Hold => return Flow::Hold,
                Checked::Answered => return Flow::Continue,
            }
        }
        if engine
            .get(key)
            .is_none_or(|connection| connection.stage() != Stage::Open)
        {
            let what = "send connect with a valid token first";
            self.fail_path(engine, key, incoming, ErrorCode::NotConnected, what);
            return Flow::Continue;
        }
        match &*incoming.path {
            "ping" => self.reply(engine, key, incoming.id, "ping", "{}"),
            "subscribe" => self.subscribe(engine, key, incoming),
            "unsubscribe" => self.unsubscribe(engine, key, incoming),
            "ack" | "resume" => {
                let what = "this path is reserved for the gateway";
                self.fail_path(engine, key, incoming, ErrorCode::NoHandler, what);
            }
            _ => self.call(engine, key, incoming),
        }
        Flow::Continue
    }

    fn call(&mut self, engine: &mut Engine<Session>, key: Key, incoming: &Incoming<'_>) {
        let session = engine.session(key.index);
        if !session
            .permissions
            .as_ref()
            .is_some_and(|permissions| permissions.paths.matches(&incoming.path))
        {
            let what = "the token's claim paths does not cover this path";
            return self.fail_path(engine, key, incoming, ErrorCode::PathForbidden, what);
        }
        let call = Call {
            connection: self.connection_id(engine, key),
            id: incoming.id.map(Box::from),
            path: Box::from(&*incoming.path),
            body: Bytes::copy_from_slice(incoming.body.map_or(b"null", |body| body.get().as_bytes())),
            user: self.users.name(session.user).into(),
            device: session.device.clone(),
        };
        if self.notices.is_full() {
            return self.refuse_call(engine, &call);
        }
        self.notices.push(Notice::Call(Box::new(call)));
    }

    /// Control takes no more calls at the moment.
    pub(super) fn refuse_call(&mut self, engine: &mut Engine<Session>, call: &Call) {
        if let Some(key) = self.key_of(engine, call.connection) {
            let what = "this node has too many calls under way: try again later";
            engine.counters().calls_refused.add(u64::from(call.id.is_some()));
            self.fail(
                engine,
                key,
                call.id.as_deref(),
                Some(&call.path),
                ErrorCode::Overloaded,
                what,
            );
        }
    }

    fn subscribe(&mut self, engine: &mut Engine<Session>, key: Key, incoming: &Incoming<'_>) {
        let topics = match message::topics_body(incoming.body) {
            Ok(topics) => topics,
            Err(what) => return self.fail_path(engine, key, incoming, ErrorCode::BadMessage, what),
        };
        if let Err((code, what)) = self.may_subscribe(engine.session(key.index), None, &topics) {
            return self.fail_path(engine, key, incoming, code, what);
        }
        self.join_topics(engine, key, &topics);
        self.answer_topics(engine, key, incoming);
    }

    fn unsubscribe(&mut self, engine: &mut Engine<Session>, key: Key, incoming: &Incoming<'_>) {
        let topics = match message::topics_body(incoming.body) {
            Ok(topics) => topics,
            Err(what) => return self.fail_path(engine, key, incoming, ErrorCode::BadMessage, what),
        };
        // What was pushed to a topic before this message still belongs to the connection.
        self.broadcasts.catch_up(engine, &self.topics, key.index);
        for topic in &topics {
            self.topics.leave(engine, &self.node, key.index, topic);
        }
        self.answer_topics(engine, key, incoming);
    }

    fn answer_topics(&mut self, engine: &mut Engine<Session>, key: Key, incoming: &Incoming<'_>) {
        if incoming.id.is_some() {
            let names = self.topics.names(engine.session(key.index));
            let frame = message::topics_reply(incoming.id, &incoming.path, names);
            engine.send(key, Frame::plain(frame), Urgency::Urgent);
        }
    }

    /// Whether a connection may add these topics; `permissions` are those of a token that is about to hold.
    pub(super) fn may_subscribe(
        &self,
        session: &Session,
        permissions: Option<&super::Permissions>,
        topics: &[Cow<'_, str>],
    ) -> Result<(), (ErrorCode, &'static str)> {
        let permissions = permissions.or(session.permissions.as_deref());
        if !topics
            .iter()
            .all(|topic| permissions.is_some_and(|permissions| permissions.topics.matches(topic)))
        {
            return Err((
                ErrorCode::TopicForbidden,
                "the token's claim topics does not cover every one of these topics",
            ));
        }
        let max = self.settings.limits.topics_per_connection;
        let mut new: Vec<&str> = topics
            .iter()
            .map(|topic| &**topic)
            .filter(|topic| !self.topics.is_member(session, topic))
            .collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() && session.subscriptions().len() + new.len() > max {
            return Err((
                ErrorCode::TooManyTopics,
                "that would be more than limits.topics_per_connection",
            ));
        }
        Ok(())
    }

    pub(super) fn join_topics(&mut self, engine: &mut Engine<Session>, key: Key, topics: &[Cow<'_, str>]) {
        if topics.is_empty() {
            return;
        }
        self.broadcasts.catch_up(engine, &self.topics, key.index);
        for topic in topics {
            self.topics.join(engine, &self.node, key.index, topic);
        }
    }

    /// Takes one message's worth of the connection's credit. A token bucket: `messages_per_second` flow in, twice that is
    /// the most it holds.
    fn within_rate(&self, engine: &mut Engine<Session>, key: Key) -> bool {
        let per_second = self.settings.limits.messages_per_second;
        if per_second == 0 {
            return true;
        }
        let now_ms = engine.now().ms() as u32;
        let session = engine.session_mut(key.index);
        let elapsed_ms = u64::from(now_ms.wrapping_sub(session.rate_counted_ms));
        let full = u64::from(per_second) * 2_000;
        let credit = (u64::from(session.rate_credit) + elapsed_ms * u64::from(per_second)).min(full);
        session.rate_counted_ms = now_ms;
        session.rate_credit = credit.saturating_sub(1_000).min(u64::from(u32::MAX)) as u32;
        if credit < 1_000 {
            session.rate_credit = credit as u32;
            return false;
        }
        session.rate_refusals = 0;
        true
    }

    fn refuse_rate(&mut self, engine: &mut Engine<Session>, key: Key, text: &str) {
        let what = "more messages than limits.messages_per_second";
        match message::parse(text) {
            Ok(incoming) => self.fail_path(engine, key, &incoming, ErrorCode::RateLimited, what),
            Err(Bad::Path { id }) => self.fail(engine, key, id, None, ErrorCode::RateLimited, what),
            Err(Bad::Message(_)) => {
                self.fail(engine, key, Some(message::NULL_ID), None, ErrorCode::RateLimited, what);
            }
        }
        let refusals = &mut engine.session_mut(key.index).rate_refusals;
        *refusals += 1;
        if *refusals >= RATE_REFUSALS_MAX {
            engine.close(key, CloseReason::RateLimited);
        }
    }

    /// A reply with a body, if the message asked for one.
    pub(super) fn reply(&self, engine: &mut Engine<Session>, key: Key, id: Option<&str>, path: &str, body: &str) {
        if id.is_some() {
            engine.send(key, Frame::plain(message::reply(id, path, 200, body)), Urgency::Urgent);
        }
    }

    /// A reply that says what went wrong, if the message asked for one.
    pub(super) fn fail(
        &self,
        engine: &mut Engine<Session>,
        key: Key,
        id: Option<&str>,
        path: Option<&str>,
        code: ErrorCode,
        what: &str,
    ) {
        if id.is_some() {
            engine.send(
                key,
                Frame::plain(message::error_reply(id, path, code, what)),
                Urgency::Urgent,
            );
        }
    }

    /// As `fail`, for a message that could be read; `connect` is answered even without an id.
    pub(super) fn fail_path(
        &self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        code: ErrorCode,
        what: &str,
    ) {
        if incoming.id.is_some() || incoming.path == "connect" {
            let frame = message::error_reply(incoming.id, Some(&incoming.path), code, what);
            engine.send(key, Frame::plain(frame), Urgency::Urgent);
        }
    }
}
