//! Questions to all nodes, and their answers: who was asked, who has answered, what they said. An answer belongs to its
//! question by the last token of the subject it comes on. Bounded; a question whose asker is gone is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::wire;

/// Questions that may be open at once.
const OPEN_MAX: usize = 65_536;
/// Answers kept for one question, in bytes; what is over is not counted as answered.
const ANSWERS_BYTES_MAX: usize = 16 << 20;

/// What came back.
#[derive(Debug, Default)]
pub struct Answers {
    /// Everything that was said, part by part.
    pub payloads: Vec<Bytes>,
    /// How many nodes have said all, and did what was asked.
    pub nodes: usize,
    /// Of those who said anything, how many nobody had asked: they joined just now.
    strangers: usize,
    bytes: usize,
}

struct Open {
    /// A name may stand twice, while one of two nodes that have it is about to leave.
    outstanding: Vec<String>,
    answers: Answers,
    done: Option<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    open: HashMap<u64, Open>,
}

/// All open questions.
#[derive(Default)]
pub struct Gathers {
    table: Mutex<Table>,
}

impl Gathers {
    /// A question to these nodes; `None` if too many are open.
    pub fn open(self: &Arc<Self>, nodes: Vec<String>) -> Option<Gather> {
        let (done, is_done) = oneshot::channel();
        let mut table = self.lock();
        if table.open.len() >= OPEN_MAX {
            return None;
        }
        table.last_id += 1;
        let id = table.last_id;
        let asked = nodes.len();
        let done = Some(done).filter(|_| asked > 0);
        table.open.insert(
            id,
            Open {
                outstanding: nodes,
                answers: Answers::default(),
                done,
            },
        );
        Some(Gather {
            id,
            asked,
            gathers: Arc::clone(self),
            is_done,
        })
    }

    /// An answer to question `id`; what nobody waits for, or what is no answer, is passed over.
    pub fn answered(&self, id: u64, payload: &Bytes) {
        let mut table = self.lock();
        let Some(open) = table.open.get_mut(&id) else { return };
        let Ok(from) = serde_json::from_slice::<wire::From>(payload) else {
            return;
        };
        open.answers.bytes += payload.len();
        if open.answers.bytes > ANSWERS_BYTES_MAX {
            return;
        }
        // A slice of async-nats's read buffer would keep all of it.
        open.answers.payloads.push(Bytes::copy_from_slice(payload));
        if from.more {
            return;
        }
        match open.outstanding.iter().position(|name| *name == from.node) {
            Some(at) => drop(open.outstanding.swap_remove(at)),
            None => open.answers.strangers += 1,
        }
        // One that could not do it is not waited for, and has not answered: what it says is not the whole truth.
        open.answers.nodes += usize::from(from.error.is_none());
        finish(open);
    }

    /// Nobody heard question `id`.
    pub fn unheard(&self, id: u64) {
        if let Some(open) = self.lock().open.get_mut(&id) {
            open.outstanding.clear();
            finish(open);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finish(open: &mut Open) {
    if open.outstanding.is_empty()
        && let Some(done) = open.done.take()
    {
        // The asker may have given up just now.
        let _ = done.send(());
    }
}

/// One asker's side.
pub struct Gather {
    /// The last token of the subject for answers.
    pub id: u64,
    asked: usize,
    gathers: Arc<Gathers>,
    is_done: oneshot::Receiver<()>,
}

impl Gather {
    /// Waits until all have answered, or until `deadline`: what was said, and how many nodes were asked. One that answered
    /// without being known counts as asked, too.
    pub async fn finish(mut self, deadline: Instant) -> (Answers, usize) {
        // Done, out of time, or nobody to wait for: the answers are what they are.
        let _ = timeout_at(deadline, &mut self.is_done).await;
        let open = self.gathers.lock().open.remove(&self.id);
        let answers = open.map(|open| open.answers).unwrap_or_default();
        let asked = self.asked + answers.strangers;
        (answers, asked)
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.gathers.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn says(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[tokio::test]
    async fn ends_when_all_have_said_all() {
        let gathers = Arc::<Gathers>::default();
        let gather = gathers.open(vec!["a".into(), "b".into()]).unwrap();
        let id = gather.id;
        for text in [
            r#"{"node":"a","more":true}"#,
            r#"{"node":"b"}"#,
            "garbage",
            r#"{"node":"c"}"#,
            r#"{"node":"a"}"#,
        ] {
            gathers.answered(id, &says(text));
        }
        let (answers, asked) = gather.finish(later()).await;
        assert_eq!((answers.payloads.len(), answers.nodes, asked), (4, 3, 3));
        gathers.answered(id, &says(r#"{"node":"a"}"#));
        assert!(gathers.lock().open.is_empty());
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline_and_nobody_listening_at_once() {
        let gathers = Arc::<Gathers>::default();
        let gather = gathers.open(vec!["a".into(), "b".into()]).unwrap();
        gathers.answered(gather.id, &says(r#"{"node":"a"}"#));
        let (answers, asked) = gather.finish(Instant::now()).await;
        assert_eq!((answers.nodes, asked), (1, 2));

        let gather = gathers.open(vec!["a".into()]).unwrap();
        gathers.unheard(gather.id);
        let (answers, asked) = gather.finish(later()).await;
        assert_eq!((answers.nodes, asked), (0, 1));

        let (answers, asked) = gathers.open(Vec::new()).unwrap().finish(later()).await;
        assert_eq!((answers.nodes, asked), (0, 0));
    }

    #[tokio::test]
    async fn whoever_could_not_do_it_is_not_waited_for_and_has_not_answered() {
        let gathers = Arc::<Gathers>::default();
        let gather = gathers.open(vec!["a".into(), "b".into()]).unwrap();
        gathers.answered(gather.id, &says(r#"{"node":"a","error":"too large"}"#));
        gathers.answered(gather.id, &says(r#"{"node":"b"}"#));
        let (answers, asked) = gather.finish(later()).await;
        assert_eq!((answers.payloads.len(), answers.nodes, asked), (2, 1, 2));
    }

    #[tokio::test]
    async fn two_nodes_of_one_name_are_both_waited_for() {
        let gathers = Arc::<Gathers>::default();
        let gather = gathers.open(vec!["a".into(), "a".into()]).unwrap();
        gathers.answered(gather.id, &says(r#"{"node":"a"}"#));
        assert!(!gathers.lock().open[&gather.id].outstanding.is_empty());
        gathers.answered(gather.id, &says(r#"{"node":"a"}"#));
        let (answers, asked) = gather.finish(later()).await;
        assert_eq!((answers.nodes, asked), (2, 2));
    }

    #[test]
    fn is_bounded_and_forgets_the_dropped() {
        let gathers = Arc::<Gathers>::default();
        let all: Vec<_> = (0..OPEN_MAX).map(|_| gathers.open(Vec::new()).unwrap()).collect();
        assert!(gathers.open(Vec::new()).is_none());
        drop(all);
        assert!(gathers.open(Vec::new()).is_some());
    }
}
