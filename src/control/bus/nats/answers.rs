//! What this node answers when another one asks: who of a user is here, what the flight recorder has, whether a connection
//! was closed. An answer that is longer than a message goes in parts. Asks nobody anything; `ingest` calls it.

use std::sync::Arc;

use async_nats::Subject;

use super::{Core, wire};
use crate::control::history;

/// A part of a node's answer to a look-up is about this many bytes.
const ANSWER_PART_BYTES: usize = 128 * 1024;
/// What such a part has beside the connections: braces, and the node's name.
const PART_SLACK_BYTES: usize = 2 * 1024;
/// The longest event as JSON: names of 64 bytes, each of which may be six in JSON, twice, and 400 bytes of the rest.
const HISTORY_EVENT_BYTES_MAX: usize = 1_200;

impl Core {
    /// How many connections this node has closed.
    pub(super) fn answer_closed(&self, reply: Subject, closed: u64) {
        let node = &self.own.node;
        self.answer(reply, &wire::KickReport { node, closed });
    }

    /// What a part of an answer may take: each is a message of its own, which NATS must take.
    fn part_bytes(&self) -> usize {
        let most = self.client.max_payload().min(ANSWER_PART_BYTES);
        most.saturating_sub(PART_SLACK_BYTES)
    }

    pub(super) async fn find(self: Arc<Self>, find: wire::Find, reply: Subject) {
        // No answer: whoever asked counts this node among those that did not answer.
        let Ok(found) = self.router.find_user(&find.user).await else {
            return;
        };
        let part_bytes = self.part_bytes();
        let mut answer = wire::FindAnswer {
            node: self.own.node.clone(),
            connections: Vec::new(),
            more: true,
        };
        let mut bytes = 0;
        for info in found {
            let mut connection = wire::WireConnection::from(info);
            let size = connection.cut_to(part_bytes);
            if bytes + size > part_bytes {
                if !self.answer(reply.clone(), &answer) {
                    return;
                }
                answer.connections.clear();
                bytes = 0;
            }
            bytes += size;
            answer.connections.push(connection);
        }
        answer.more = false;
        self.answer(reply, &answer);
    }

    pub(super) fn answer_history(&self, question: &history::Question, reply: Subject) {
        let history::Answer {
            mut events,
            since_ms,
            more: older,
        } = self.history.recall(question);
        let part_events = (self.part_bytes() / HISTORY_EVENT_BYTES_MAX).max(1);
        loop {
            let rest = events.split_off(events.len().min(part_events));
            let answer = wire::HistoryAnswer {
                node: self.own.node.clone(),
                events,
                since_ms,
                older,
                more: !rest.is_empty(),
            };
            // A part that is not taken: whoever asked counts this node among those that did not answer.
            if !self.answer(reply.clone(), &answer) || rest.is_empty() {
                return;
            }
            events = rest;
        }
    }

    pub(super) async fn close(self: Arc<Self>, close: wire::Close, reply: Subject) {
        let Some(connection) = close
            .connection()
            .filter(|connection| connection.epoch == self.own.epoch)
        else {
            return;
        };
        let text = close.text.as_str().into();
        if let Ok(closed) = self.router.kick_connection(connection, close.code, &text).await {
            self.answer_closed(reply, closed);
        }
    }
}
