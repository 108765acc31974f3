//! Clients' messages that services answer: the table of those under way, and what becomes of each. An entry leaves the
//! table exactly once, by an answer or by its time-out, so a client gets exactly one reply. `mod` sends, `ingest` brings
//! answers, `heart` looks for what has timed out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::wire;
use crate::links::{Call, Command, ConnectionId};
use crate::metrics::NodeCounters;
use crate::protocol::message::{self, ErrorCode};
use crate::protocol::subject;

use super::super::count_reply;

/// Calls that may be under way; past it a client is told `overloaded`.
const UNDER_WAY_MAX: usize = 65_536;

/// Time-outs of calls that were answered, above as many as are under way, which are not worth a look.
const TIME_OUTS_SLACK: usize = 1_024;

/// Who waits for an answer.
struct Waiting {
    connection: ConnectionId,
    id: Box<str>,
    path: Box<str>,
}

#[derive(Default)]
struct Table {
    last_number: u64,
    under_way: HashMap<u64, Waiting>,
    /// Those that were answered are still in here until their time comes, or until they are more than those that were not.
    time_outs: BinaryHeap<Reverse<(Instant, u64)>>,
}

/// See the module.
#[derive(Default)]
pub struct Calls {
    table: Mutex<Table>,
}

/// A reply, and to whom it goes.
pub type Reply = (ConnectionId, Command);

impl Calls {
    /// Takes a call with an id in; the number under which its answer will come, or nothing if too many are under way.
    pub fn open(&self, call: &Call, times_out: Instant) -> Option<u64> {
        let id = call.id.clone()?;
        let mut table = self.lock();
        if table.under_way.len() >= UNDER_WAY_MAX {
            return None;
        }
        table.last_number += 1;
        let number = table.last_number;
        let waiting = Waiting {
            connection: call.connection,
            id,
            path: call.path.clone(),
        };
        table.under_way.insert(number, waiting);
        table.time_outs.push(Reverse((times_out, number)));
        if table.time_outs.len() > 2 * table.under_way.len() + TIME_OUTS_SLACK {
            let Table {
                under_way, time_outs, ..
            } = &mut *table;
            time_outs.retain(|Reverse((_, number))| under_way.contains_key(number));
        }
        Some(number)
    }

    /// Takes one out that was not sent after all.
    pub fn forget(&self, number: u64) {
        self.lock().under_way.remove(&number);
    }

    /// The reply to call `number`, if it is still waited for.
    pub fn answered(
        &self,
        number: u64,
        answer: &Message,
        reply_bytes_max: usize,
        counters: &NodeCounters,
    ) -> Option<Reply> {
        let waiting = self.lock().under_way.remove(&number)?;
        let reply = match read(answer, reply_bytes_max) {
            Ok((status, body)) => {
                count_reply(counters, status);
                message::reply(Some(&waiting.id), &waiting.path, status, body).into()
            }
            Err((code, why)) => refusal(&waiting, code, why, counters),
        };
        Some(waiting.gets(reply))
    }

    /// The replies to calls whose time is over.
    pub fn timed_out(&self, now: Instant, counters: &NodeCounters) -> Vec<Reply> {
        let mut table = self.lock();
        let mut replies = Vec::new();
        while let Some(&Reverse((times_out, number))) = table.time_outs.peek()
            && times_out <= now
        {
            table.time_outs.pop();
            if let Some(waiting) = table.under_way.remove(&number) {
                let why = "no service answered within timeouts.call";
                let reply = refusal(&waiting, ErrorCode::HandlerTimeout, why, counters);
                replies.push(waiting.gets(reply));
            }
        }
        replies
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn gets(&self, frame: Bytes) -> Reply {
        let connection = self.connection;
        (connection, Command::Reply { connection, frame })
    }
}

fn refusal(waiting: &Waiting, code: ErrorCode, why: &str, counters: &NodeCounters) -> Bytes {
    count_reply(counters, code.status());
    message::error_reply(Some(&waiting.id), Some(&waiting.path), code, why).into()
}

/// A service's answer as status and body.
fn read(answer: &Message, reply_bytes_max: usize) -> Result<(u16, &str), (ErrorCode, &'static str)> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err((ErrorCode::NoHandler, "no service listens on this path"));
    }
    if answer.payload.len() > reply_bytes_max {
        return Err((
            ErrorCode::ReplyTooLarge,
            "the service's reply is over limits.push_bytes",
        ));
    }
    let status = match answer.headers.as_ref().and_then(|headers| headers.get(wire::STATUS)) {
        None => 200,
        Some(value) => status(value.as_str()).ok_or((
            ErrorCode::BadReply,
            "the service's Longwire-Status is no status from 100 to 599",
        ))?,
    };
    let not_json = (ErrorCode::BadReply, "the service's reply is not JSON");
    let body = std::str::from_utf8(&answer.payload).map_err(|_| not_json)?;
    serde_json::from_str::<IgnoredAny>(body).map_err(|_| not_json)?;
    Ok((status, body))
}

/// Three digits, as in HTTP: `+200`, which a number's own parser takes, is none.
fn status(text: &str) -> Option<u16> {
    let three_digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text.parse().ok().filter(|_| three_digits)?;
    (100..=599).contains(&status).then_some(status)
}

/// The headers of a call.
pub fn headers(call: &Call, node: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(wire::USER, subject::encode(&call.user));
    headers.insert(wire::CONNECTION, call.connection.to_string());
    headers.insert(wire::NODE, node);
    headers.insert(wire::PATH, &*call.path);
    if let Some(device) = &call.device {
        headers.insert(wire::DEVICE, subject::encode(device));
    }
    headers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::protocol::frame;
    use std::time::Duration;

    fn call(index: u32) -> Call {
        Call {
            connection: ConnectionId {
                epoch: 1,
                reactor: 0,
                index,
                generation: 0,
            },
            id: Some(index.to_string().into()),
            path: "order/create".into(),
            body: Bytes::from_static(b"null"),
            user: "u.1".into(),
            device: None,
        }
    }

    fn answer(payload: &'static str, status: Option<&str>) -> Message {
        Message {
            subject: "inbox".into(),
            reply: None,
            payload: Bytes::from_static(payload.as_bytes()),
            headers: status.map(|status| {
                let mut headers = HeaderMap::new();
                headers.insert(wire::STATUS, status);
                headers
            }),
            status: None,
            description: None,
            length: 0,
        }
    }

    fn text(reply: Option<Reply>) -> String {
        let Some((_, Command::Reply { frame, .. })) = reply else {
            panic!("no reply")
        };
        let begin = frame.iter().position(|&byte| byte == b'{').unwrap();
        let text = std::str::from_utf8(&frame[begin..]).unwrap().to_owned();
        assert_eq!(frame, frame::encode_text(text.as_bytes()));
        text
    }

    fn reply_to(payload: &'static str, status: Option<&str>) -> String {
        let (calls, counters) = (Calls::default(), NodeCounters::new(1));
        let number = calls.open(&call(7), Instant::now()).unwrap();
        text(calls.answered(number, &answer(payload, status), 20, &counters))
    }

    #[test]
    fn a_reply_is_the_service_s_status_and_body() {
        assert_eq!(
            reply_to(r#"{"order": 1}"#, None),
            r#"{"id":7,"path":"order/create","status":200,"body":{"order": 1}}"#
        );
        assert_eq!(
            reply_to("[]", Some("404")),
            r#"{"id":7,"path":"order/create","status":404,"body":[]}"#
        );
    }

    #[test]
    fn what_is_no_reply_is_said_to_be_none() {
        for (payload, status, code) in [
            ("", None, "bad_reply"),
            ("{", None, "bad_reply"),
            ("1", Some("99"), "bad_reply"),
            ("1", Some("600"), "bad_reply"),
            ("1", Some("+20"), "bad_reply"),
            ("1", Some("ok"), "bad_reply"),
            ("\"123456789012345678901\"", None, "reply_too_large"),
        ] {
            let reply = reply_to(payload, status);
            assert!(reply.contains(&format!("\"code\":\"{code}\"")), "{payload}: {reply}");
        }
        let (calls, counters) = (Calls::default(), NodeCounters::new(1));
        let number = calls.open(&call(7), Instant::now()).unwrap();
        let unheard = Message {
            status: Some(StatusCode::NO_RESPONDERS),
            ..answer("", None)
        };
        assert!(text(calls.answered(number, &unheard, 20, &counters)).contains("no_handler"));
        assert_eq!(*counters.calls.lock().unwrap(), [(404, 1)].into());
    }

    #[test]
    fn a_call_is_answered_once() {
        let (calls, counters) = (Calls::default(), NodeCounters::new(1));
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let first = calls.open(&call(1), at(5)).unwrap();
        let second = calls.open(&call(2), at(3)).unwrap();
        let third = calls.open(&call(3), at(4)).unwrap();
        assert!(calls.answered(third, &answer("1", None), 20, &counters).is_some());
        assert!(calls.answered(third, &answer("1", None), 20, &counters).is_none());
        assert!(calls.timed_out(at(2), &counters).is_empty());
        let late = calls.timed_out(at(4), &counters);
        assert_eq!(late.len(), 1);
        assert!(text(late.into_iter().next()).contains("handler_timeout"));
        assert!(calls.answered(second, &answer("1", None), 20, &counters).is_none());
        calls.forget(first);
        assert!(calls.timed_out(at(9), &counters).is_empty());
        assert!(calls.lock().under_way.is_empty() && calls.lock().time_outs.is_empty());
    }

    #[test]
    fn calls_that_were_answered_do_not_pile_up_until_their_time() {
        let (calls, counters) = (Calls::default(), NodeCounters::new(1));
        let late = Instant::now() + Duration::from_secs(86_400);
        calls.open(&call(0), late).unwrap();
        for index in 0..10_000 {
            let number = calls.open(&call(index), late).unwrap();
            assert!(calls.answered(number, &answer("1", None), 20, &counters).is_some());
        }
        assert!(calls.lock().time_outs.len() <= TIME_OUTS_SLACK + 4);
    }

    #[test]
    fn the_table_is_bounded() {
        let calls = Calls::default();
        let now = Instant::now();
        for index in 0..UNDER_WAY_MAX {
            calls.open(&call(index as u32), now).unwrap();
        }
        assert!(calls.open(&call(0), now).is_none());
    }
}
