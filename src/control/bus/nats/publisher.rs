//! The way out: messages wait here for async-nats to take them, bounded in number and bytes. Two lanes, each in its own
//! order: what keeps the cluster together (beats, answers, the session policy) does not wait behind pushes, calls and
//! events. Whoever has one more than fits is told so; nobody waits here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::join::Own;
use crate::metrics::NodeCounters;

/// Messages that may wait in a lane.
const MESSAGES_MAX: usize = 65_536;
/// Their bytes together, headers included, until async-nats has taken them.
const BYTES_MAX: usize = 64 << 20;
/// Messages handed over in a row before other tasks of control get a turn.
const TAKEN_A_TURN: usize = 128;
/// Bytes of bulk that async-nats may have before it has written them: what is in its hands nobody can overtake, so this is
/// how long a beat waits at most behind pushes on a slow network.
const IN_FLIGHT_BYTES: usize = 1 << 20;
/// What a message takes beside its payload and headers.
const MESSAGE_BYTES: usize = 128;

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What other nodes wait for.
    Urgent,
    /// A sign of life, in the urgent lane.
    Beat,
    /// Pushes, kicks and calls.
    Bulk,
    /// An event, in the bulk lane; counted if nobody gets it.
    Event,
}

/// A message for NATS.
pub struct Outgoing {
    /// How it goes.
    pub kind: Kind,
    /// To whom.
    pub subject: Subject,
    /// Where answers go.
    pub reply: Option<Subject>,
    /// Its headers, if any.
    pub headers: Option<HeaderMap>,
    /// What it says.
    pub payload: Bytes,
    /// When nobody waits for it any more: what came out of a long silence after its time would only do harm.
    pub expires: Option<Instant>,
}

impl Outgoing {
    /// Bytes of its headers on the wire, about.
    fn headers_bytes(&self) -> usize {
        let Some(headers) = &self.headers else { return 0 };
        let lines = headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| name.len() + value.as_str().len() + 4)
        });
        12 + lines.sum::<usize>()
    }
}

enum Item {
    Message(Outgoing, usize),
    /// Told when everything before it was handed over.
    Mark(oneshot::Sender<()>),
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room for one more now.
    Full,
    /// NATS takes none of this size.
    TooLarge,
}

struct Lane {
    queue: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
}

/// See the module.
pub struct Publisher {
    client: Client,
    urgent: Lane,
    bulk: Lane,
    counters: Arc<NodeCounters>,
    beat_taken_ms: Arc<AtomicU64>,
}

impl Publisher {
    /// Starts handing over to `client`.
    pub fn start(client: Client, own: &Own, counters: &Arc<NodeCounters>) -> Self {
        let beat_taken_ms = Arc::new(AtomicU64::new(own.now_ms()));
        let lane = |in_flight_bytes| {
            let (queue, items) = mpsc::channel(MESSAGES_MAX);
            let bytes = Arc::<AtomicUsize>::default();
            let hands = Hands {
                client: client.clone(),
                own: own.clone(),
                counters: Arc::clone(counters),
                bytes: Arc::clone(&bytes),
                beat_taken_ms: Arc::clone(&beat_taken_ms),
                in_flight_bytes,
            };
            tokio::spawn(hands.hand_over(items));
            Lane { queue, bytes }
        };
        Self {
            urgent: lane(None),
            bulk: lane(Some(IN_FLIGHT_BYTES)),
            client,
            counters: Arc::clone(counters),
            beat_taken_ms,
        }
    }

    /// Puts a message at the end of its lane.
    ///
    /// # Errors
    /// It is not taken.
    pub fn publish(&self, message: Outgoing) -> Result<(), Refused> {
        let is_event = message.kind == Kind::Event;
        let published = self.put(message);
        if is_event && published.is_err() {
            self.counters.events_dropped.add(1);
        }
        published
    }

    fn put(&self, message: Outgoing) -> Result<(), Refused> {
        let on_the_wire = message.payload.len() + message.headers_bytes();
        if on_the_wire > self.client.max_payload() {
            return Err(Refused::TooLarge);
        }
        let lane = match message.kind {
            Kind::Urgent | Kind::Beat => &self.urgent,
            Kind::Bulk | Kind::Event => &self.bulk,
        };
        let bytes = on_the_wire + MESSAGE_BYTES;
        // One thread alone publishes, so nobody passes the bound between these two.
        if lane.bytes.load(Ordering::Relaxed) + bytes > BYTES_MAX {
            return Err(Refused::Full);
        }
        lane.bytes.fetch_add(bytes, Ordering::Relaxed);
        lane.queue.try_send(Item::Message(message, bytes)).map_err(|_| {
            lane.bytes.fetch_sub(bytes, Ordering::Relaxed);
            Refused::Full
        })
    }

    /// When async-nats last took a beat, in milliseconds of `Own::now_ms`.
    pub fn beat_taken_ms(&self) -> u64 {
        self.beat_taken_ms.load(Ordering::Relaxed)
    }

    /// Waits until everything published so far was handed over to async-nats.
    pub async fn handed_over(&self) {
        // What is urgent may speak of the rest: it comes last.
        for lane in [&self.bulk, &self.urgent] {
            let (mark, reached) = oneshot::channel();
            if lane.queue.send(Item::Mark(mark)).await.is_ok() {
                // The other end is only gone with the runtime.
                let _ = reached.await;
            }
        }
    }
}

/// What empties a lane.
struct Hands {
    client: Client,
    own: Own,
    counters: Arc<NodeCounters>,
    bytes: Arc<AtomicUsize>,
    beat_taken_ms: Arc<AtomicU64>,
    in_flight_bytes: Option<usize>,
}

impl Hands {
    async fn hand_over(self, mut items: mpsc::Receiver<Item>) {
        let (mut taken, mut in_flight) = (0, 0);
        while let Some(item) = items.recv().await {
            match item {
                Item::Message(message, bytes) => {
                    self.send(message).await;
                    self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    in_flight += bytes;
                }
                Item::Mark(mark) => {
                    let _ = mark.send(());
                }
            }
            if self.in_flight_bytes.is_some_and(|max| in_flight >= max) {
                in_flight = 0;
                // Only the end of the runtime ends it early.
                let _ = self.client.flush().await;
            }
            taken += 1;
            if taken % TAKEN_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn send(&self, message: Outgoing) {
        let Outgoing {
            kind,
            subject,
            reply,
            headers,
            payload,
            expires,
        } = message;
        if expires.is_some_and(|expires| expires <= Instant::now()) {
            if kind == Kind::Event {
                self.counters.events_dropped.add(1);
            }
            return;
        }
        let client = &self.client;
        let sent = match (reply, headers) {
            (None, None) => client.publish(subject, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), Some(headers)) => {
                client
                    .publish_with_reply_and_headers(subject, reply, headers, payload)
                    .await
            }
        };
        match sent {
            Ok(()) if kind == Kind::Beat => self.beat_taken_ms.store(self.own.now_ms(), Ordering::Relaxed),
            Ok(()) => {}
            // The size was looked at: it is another server, which takes less.
            Err(error) => tracing::debug!(%error, "a message could not be published"),
        }
    }
}
