//! The way in: one task takes everything that NATS brings and sees to it at once. It never waits for anything: what a
//! reactor has no room for is the router's to keep, what takes longer gets a task of its own. So async-nats's own queues
//! stay short, and what is lost after all is known to the message: with every queue empty, what async-nats has read and
//! this task has not seen was dropped in between.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::Stream;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::members::Heard;
use super::publisher::Kind;
use super::{Core, claims, join, wire};
use crate::control::gather::Gather;
use crate::control::router::Addressee;
use crate::links::Kicker;
use crate::protocol::{frame, subject};

/// How long the reactors may take to answer for a report.
const REACTORS_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What of the bus's messages did not reach the reactors, by why; each is a total.
#[derive(Default)]
pub struct Losses {
    /// Payloads that are not UTF-8.
    pub not_utf8: AtomicU64,
    /// Payloads over `limits.push_bytes`.
    pub too_large: AtomicU64,
    /// Subjects that name nobody.
    pub bad_subject: AtomicU64,
    /// A reactor was too far behind.
    pub no_room: AtomicU64,
    /// This thread was too far behind.
    pub unread: AtomicU64,
}

/// Why a push was dropped, and what its report says.
type Dropped = (&'static str, fn(&Losses) -> &AtomicU64);

const NOT_UTF8: Dropped = ("the payload is not UTF-8", |losses| &losses.not_utf8);
const TOO_LARGE: Dropped = ("the payload is over limits.push_bytes", |losses| &losses.too_large);
const BAD_SUBJECT: Dropped = (
    "the subject names nobody: push.user.<user, percent-encoded>, push.topic.<topic>, push.all, or push.users with \
     Longwire-Users",
    |losses| &losses.bad_subject,
);
const NO_ROOM: Dropped = ("a reactor is too far behind", |losses| &losses.no_room);

/// Takes in what comes, for ever.
pub fn start(core: Arc<Core>, mut inlets: Inlets) {
    tokio::spawn(unconstrained(async move { poll_fn(|cx| inlets.poll(&core, cx)).await }));
}

/// The four subscriptions.
pub struct Inlets {
    /// `<prefix>.push.>`
    pub pushes: Subscriber,
    /// `<prefix>.kick.user.*`
    pub kicks: Subscriber,
    /// `<prefix>.node.*`
    pub nodes: Subscriber,
    /// `<inbox>.*`
    pub answers: Subscriber,
    /// Messages taken from all of them, ever; `join` has taken some before.
    pub taken: u64,
    /// Of the messages that async-nats has read, how many are known to have been lost before they came here.
    pub known_lost: u64,
}

fn next(inlet: &mut Subscriber, cx: &mut Context<'_>) -> Option<Message> {
    match Pin::new(inlet).poll_next(cx) {
        Poll::Ready(message) => message,
        Poll::Pending => None,
    }
}

impl Inlets {
    fn poll(&mut self, core: &Arc<Core>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.take_pushes(core, cx);
            if let Some(kick) = next(&mut self.kicks, cx) {
                self.taken += 1;
                // What was published before it has been read before it: it comes first.
                self.take_pushes(core, cx);
                core.kicked(kick);
            } else if let Some(message) = next(&mut self.answers, cx) {
                self.taken += 1;
                core.answered(&message);
            } else if let Some(message) = next(&mut self.nodes, cx) {
                self.taken += 1;
                core.heard(message);
            } else {
                break;
            }
        }
        self.count_unread(core);
        Poll::Pending
    }

    fn take_pushes(&mut self, core: &Arc<Core>, cx: &mut Context<'_>) {
        while let Some(message) = next(&mut self.pushes, cx) {
            self.taken += 1;
            core.pushed(message);
        }
    }

    /// Every queue is empty, and async-nats's task does not run meanwhile: it is on this thread.
    fn count_unread(&mut self, core: &Core) {
        let read = core.client.statistics().in_messages.load(Ordering::Relaxed);
        let missing = read.saturating_sub(self.taken);
        if missing <= self.known_lost {
            return;
        }
        let lost = missing - self.known_lost;
        self.known_lost = missing;
        core.losses.unread.fetch_add(lost, Ordering::Relaxed);
        core.counters.bus_dropped.add(lost);
    }
}

impl Core {
    fn drop_push(&self, (why, counter): Dropped, reply: Option<Subject>) {
        counter(&self.losses).fetch_add(1, Ordering::Relaxed);
        self.counters.bus_dropped.add(1);
        if let Some(reply) = reply {
            let report = wire::PushReport {
                node: &self.own.node,
                error: Some(why),
                ..wire::PushReport::default()
            };
            self.answer(reply, &report);
        }
    }

    fn pushed(self: &Arc<Self>, message: Message) {
        self.counters.pushes_bus.add(1);
        let payload = &message.payload;
        let Some(to) = message
            .subject
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix("push."))
        else {
            return;
        };
        if payload.len() > self.push_bytes_max.load(Ordering::Relaxed) {
            return self.drop_push(TOO_LARGE, message.reply);
        }
        if simdutf8::basic::from_utf8(payload).is_err() {
            return self.drop_push(NOT_UTF8, message.reply);
        }
        let gather = match message.reply {
            // Too many are waiting for reports: nobody's is made up.
            Some(_) => self.router.gather(),
            None => None,
        };
        // The payload is a slice of async-nats's read buffer; the frame is a copy of its own.
        let frame = || frame::encode_text(payload);
        let offered = if let Some(user) = to.strip_prefix("user.") {
            user_name(user).map(|user| self.router.offer(Addressee::User(&user), frame, gather.as_ref()))
        } else if let Some(topic) = to.strip_prefix("topic.") {
            subject::valid_topic(topic).then(|| self.router.offer(Addressee::Topic(topic), frame, gather.as_ref()))
        } else {
            match to {
                "all" => Some(self.router.offer(Addressee::All, frame, gather.as_ref())),
                "users" => self.offer_to_several(&message, &frame(), gather.as_ref()),
                _ => None,
            }
        };
        let error = match offered {
            None => return self.drop_push(BAD_SUBJECT, message.reply),
            Some(Err(_)) => {
                // Some reactors may have taken it: the report has their counts, and says that there is more to it.
                self.drop_push(NO_ROOM, None);
                Some(NO_ROOM.0)
            }
            Some(Ok(())) => None,
        };
        if let (Some(gather), Some(reply)) = (gather, message.reply) {
            tokio::spawn(Arc::clone(self).report(gather, reply, error));
        }
    }

    /// None if the header is not there, or some name in it is none.
    fn offer_to_several(
        &self,
        message: &Message,
        frame: &Bytes,
        gather: Option<&Gather>,
    ) -> Option<Result<(), crate::control::router::NoRoom>> {
        let names = message.headers.as_ref()?.get(wire::USERS)?;
        let users: Vec<Cow<'_, str>> = names.as_str().split(',').map(user_name).collect::<Option<_>>()?;
        let mut result = Ok(());
        for user in users {
            result = result.and(self.router.offer(Addressee::User(&user), || frame.clone(), gather));
        }
        Some(result)
    }

    async fn report(self: Arc<Self>, gather: Gather, reply: Subject, error: Option<&'static str>) {
        let Some(sum) = gather.finish(Instant::now() + REACTORS_ANSWER_WITHIN).await else {
            return;
        };
        let report = wire::PushReport {
            node: &self.own.node,
            matched: sum.matched,
            queued: sum.queued,
            dropped: sum.dropped,
            error,
        };
        self.answer(reply, &report);
    }

    fn kicked(self: &Arc<Self>, message: Message) {
        let user = message
            .subject
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix("kick.user."))
            .and_then(user_name);
        let Some(user) = user else {
            return self.drop_push(BAD_SUBJECT, None);
        };
        // Whoever sends a kick means it: what cannot be read of it is as if it were not there.
        let kick: wire::Kick = serde_json::from_slice(&message.payload).unwrap_or_default();
        let may_be_chosen = |code: &u16| matches!(code, 1000 | 1008 | 3000..=4999);
        let code = kick.code.and_then(|code| u16::try_from(code).ok());
        let code = code.filter(may_be_chosen).unwrap_or(4403);
        let text: Arc<str> = kick.reason.as_deref().unwrap_or("kicked").into();
        let by = match kick.by.as_deref() {
            Some("api") => Kicker::Api,
            _ => Kicker::Bus,
        };
        let gather = match message.reply {
            Some(_) => self.router.gather(),
            None => None,
        };
        if self.router.offer_kick(&user, code, &text, by, gather.as_ref()).is_err() {
            self.drop_push(NO_ROOM, None);
        }
        tracing::debug!(user = &*user, code, "kicked, asked by NATS");
        if let (Some(gather), Some(reply)) = (gather, message.reply) {
            let core = Arc::clone(self);
            tokio::spawn(async move {
                if let Some(sum) = gather.finish(Instant::now() + REACTORS_ANSWER_WITHIN).await {
                    core.answer_closed(reply, sum.closed);
                }
            });
        }
    }

    /// An answer to something that this node asked: the last token says what.
    fn answered(&self, message: &Message) {
        let Some((_, token)) = message.subject.rsplit_once('.') else {
            return;
        };
        let number = |prefix| token.strip_prefix(prefix).and_then(|digits: &str| digits.parse().ok());
        if let Some(call) = number('c') {
            let reply_bytes_max = self.push_bytes_max.load(Ordering::Relaxed);
            if let Some((connection, command)) = self.calls.answered(call, message, reply_bytes_max, &self.counters) {
                self.router.owe(connection, command);
            }
        } else if let Some(question) = number('g') {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                self.gathers.unheard(question);
            } else {
                self.gathers.answered(question, &message.payload);
            }
        } else if token == claims::ANSWERS {
            self.places_answered(message);
        } else {
            self.heard_of_nodes(message);
        }
    }

    fn heard_of_nodes(&self, message: &Message) {
        let standing = self.standing();
        let (heard, answer) = join::heard(&mut self.members(), &self.own, &self.prefix, message, standing);
        match heard {
            Heard::Nothing => {}
            Heard::Left(epoch) => self.places.node_gone(epoch),
            // It did not know, and has places still; and what was told meanwhile it may have missed.
            Heard::Returned => self.places.rejoin(),
        }
        if let (Some(answer), Some(reply)) = (answer, message.reply.clone()) {
            // Not taken: the asker asks again.
            let _ = self.send(Kind::Urgent, reply, None, None, answer.into(), None);
        }
    }

    /// Another node speaks to all nodes.
    fn heard(self: &Arc<Self>, message: Message) {
        let Some(what) = message.subject.strip_prefix(self.prefix.as_str()) else {
            return;
        };
        if what == "node.claim" {
            return self.claimed(&message);
        }
        let Some(reply) = message.reply.clone() else {
            return self.heard_of_nodes(&message);
        };
        match what {
            "node.find" => {
                if let Ok(find) = serde_json::from_slice(&message.payload) {
                    tokio::spawn(Arc::clone(self).find(find, reply));
                }
            }
            "node.history" => {
                if let Ok(question) = serde_json::from_slice(&message.payload) {
                    self.answer_history(&question, reply);
                }
            }
            "node.close" => {
                if let Ok(close) = serde_json::from_slice(&message.payload) {
                    tokio::spawn(Arc::clone(self).close(close, reply));
                }
            }
            _ => self.heard_of_nodes(&message),
        }
    }
}

/// A subject's token as a user's name.
fn user_name(token: &str) -> Option<Cow<'_, str>> {
    let name = subject::decode(token)?;
    subject::valid_user(&name).then_some(name)
}
