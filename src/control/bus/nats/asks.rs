//! Questions to the other nodes: how they are asked, in which messages a push goes to them, and what their answers sum up
//! to. Who waits for which answer is `gathers`'; the bus asks from here.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::gathers::Gather;
use super::publisher::{Kind, Refused};
use super::{Core, wire};
use crate::control::bus::{Nodes, Push, Report};
use crate::control::router::{Audience, Unanswered};
use crate::protocol::subject;

/// How long the other nodes may take to answer.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How often a full queue is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(1);
/// What the names of a push for several users take in one message at most, in bytes.
const NAMES_BYTES: usize = 64 * 1024;
/// What a message has beside names and payload, at most: `NATS/1.0`, the headers' own names, line ends.
const HEADERS_SLACK_BYTES: usize = 1024;

impl Core {
    /// Nobody else could be asked.
    pub(super) fn alone(&self) -> Nodes {
        with_this_node(self.members().count(), 0)
    }

    /// Asks these nodes. What they do not hear while their answer is waited for they never hear.
    pub(super) fn ask(
        &self,
        nodes: Vec<String>,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Gather, Unanswered> {
        let gather = self.gathers.open(nodes).ok_or(Unanswered::Overloaded)?;
        let subject = format!("{}{subject}", self.prefix).into();
        let reply = format!("{}.g{}", self.inbox, gather.id).into();
        let expires = Some(Instant::now() + ANSWERS_WITHIN);
        match self.send(Kind::Bulk, subject, Some(reply), headers, payload, expires) {
            Ok(()) => Ok(gather),
            Err(Refused::Full) => Err(Unanswered::Overloaded),
            Err(Refused::TooLarge) => Err(Unanswered::TooLarge),
        }
    }

    /// Asks all other nodes; nobody while NATS is away.
    pub(super) fn ask_all(&self, subject: &str, what: &impl serde::Serialize) -> Result<Option<Gather>, Unanswered> {
        if !self.connected() {
            return Ok(None);
        }
        let json = serde_json::to_vec(what).map_err(|_| Unanswered::Overloaded)?;
        self.ask(self.members().names(), subject, None, json.into()).map(Some)
    }

    /// How many bytes of headers a push leaves room for; `None` if NATS does not take it at all.
    pub(super) fn room_beside(&self, push: &Push) -> Option<usize> {
        let max_payload = self.client.max_payload();
        max_payload.checked_sub(push.text.len() + HEADERS_SLACK_BYTES)
    }

    /// Sends a push to the other nodes, waiting for room until `deadline`; one question for each message that it takes.
    /// What found no room is as if it had been asked and not answered.
    pub(super) async fn ask_push(&self, push: &Push, deadline: Instant) -> Questions {
        let room = self.room_beside(push).unwrap_or_default();
        let (subject, lists) = match &push.audience {
            Audience::All => ("push.all".into(), vec![None]),
            Audience::Topic(topic) => (format!("push.topic.{topic}"), vec![None]),
            Audience::Users(users) if users.len() == 1 => {
                (format!("push.user.{}", subject::encode(&users[0])), vec![None])
            }
            Audience::Users(users) => {
                let names = users.iter().map(|user| subject::encode(user));
                let lists = lists(names, room.min(NAMES_BYTES)).into_iter().map(Some);
                ("push.users".into(), lists.collect())
            }
        };
        let mut questions = Questions::default();
        for names in lists {
            let headers = names.map(|names| {
                let mut headers = HeaderMap::new();
                headers.insert(wire::USERS, names);
                headers
            });
            loop {
                let nodes = self.members().names();
                match self.ask(nodes, &subject, headers.clone(), push.text.clone()) {
                    Ok(question) => questions.open.push(question),
                    Err(Unanswered::Overloaded) if Instant::now() < deadline => {
                        sleep(ROOM_RETRY).await;
                        continue;
                    }
                    Err(_) => questions.unasked = true,
                }
                break;
            }
        }
        questions
    }
}

/// What was asked of the other nodes about one push.
#[derive(Default)]
pub(super) struct Questions {
    open: Vec<Gather>,
    /// Some of it found no room.
    unasked: bool,
}

/// Names joined by commas, as many as fit into `bytes_max` each time, and at least one.
fn lists(names: impl Iterator<Item = String>, bytes_max: usize) -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    for name in names {
        match lists.last_mut().filter(|list| list.len() + 1 + name.len() <= bytes_max) {
            Some(list) => {
                list.push(',');
                list.push_str(&name);
            }
            None => lists.push(name),
        }
    }
    lists
}

impl Report {
    /// Adds what the other nodes say until `deadline`.
    pub(super) async fn add(&mut self, questions: Questions, deadline: Instant) {
        // Several messages of one push ask the same nodes: one that did not answer them all has not answered.
        let (mut asked, mut answered) = (0, None);
        for question in questions.open {
            let (answers, nodes) = question.finish(deadline).await;
            asked = asked.max(nodes);
            answered = Some(answered.unwrap_or(usize::MAX).min(answers.nodes));
            for answer in answers.payloads {
                if let Ok(counts) = serde_json::from_slice::<wire::PushCounts>(&answer) {
                    self.matched += counts.matched;
                    self.queued += counts.queued;
                    self.dropped += counts.dropped;
                }
            }
        }
        if let Some(answered) = answered {
            self.nodes = with_this_node(asked, if questions.unasked { 0 } else { answered });
        }
    }
}

/// This node asked so many others, and is one that answered itself.
pub(super) fn with_this_node(asked: usize, answered: usize) -> Nodes {
    Nodes {
        asked: 1 + asked as u64,
        answered: 1 + answered as u64,
    }
}

/// Connections that the nodes asked have closed.
pub(super) async fn closed(question: Gather, deadline: Instant) -> (u64, Nodes) {
    let (answers, asked) = question.finish(deadline).await;
    let reports = answers
        .payloads
        .iter()
        .filter_map(|answer| serde_json::from_slice::<wire::KickReport>(answer).ok());
    let nodes = with_this_node(asked, answers.nodes);
    (reports.map(|report| report.closed).sum(), nodes)
}

#[cfg(test)]
mod tests {
    use super::lists;

    #[test]
    fn names_are_cut_into_lists_that_fit() {
        let names = || ["a", "bb", "ccc", "dddddddd"].into_iter().map(String::from);
        assert_eq!(lists(names(), 6), ["a,bb", "ccc", "dddddddd"]);
        assert_eq!(lists(names(), 100), ["a,bb,ccc,dddddddd"]);
        assert!(lists(std::iter::empty(), 6).is_empty());
    }
}
