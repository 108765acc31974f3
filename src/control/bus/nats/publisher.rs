//! The way out: messages wait here for async-nats to take them, in one order, bounded in number and bytes. Whoever has
//! one more than fits is told so; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Messages that may wait.
const MESSAGES_MAX: usize = 65_536;
/// Their bytes together. NATS takes gigabytes a second; this much waits only while it takes nothing.
const BYTES_MAX: usize = 64 << 20;
/// Messages handed over in a row before other tasks of control get a turn.
const TAKEN_A_TURN: usize = 128;

/// A message for NATS.
pub struct Outgoing {
    /// To whom.
    pub subject: Subject,
    /// Where answers go.
    pub reply: Option<Subject>,
    /// Its headers, if any.
    pub headers: Option<HeaderMap>,
    /// What it says.
    pub payload: Bytes,
    /// When nobody waits for it any more: a call that came out of a long silence after its time-out would only do harm.
    pub expires: Option<Instant>,
}

enum Item {
    Message(Outgoing),
    /// Told when everything before it was handed over.
    Mark(oneshot::Sender<()>),
}

/// No room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// See the module.
pub struct Publisher {
    queue: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
}

impl Publisher {
    /// Starts handing over to `client`.
    pub fn start(client: Client) -> Self {
        let (queue, items) = mpsc::channel(MESSAGES_MAX);
        let bytes = Arc::<AtomicUsize>::default();
        tokio::spawn(hand_over(client, items, Arc::clone(&bytes)));
        Self { queue, bytes }
    }

    /// Puts a message at the end.
    ///
    /// # Errors
    /// There is no room.
    pub fn publish(&self, message: Outgoing) -> Result<(), Full> {
        let bytes = message.payload.len();
        // One thread alone publishes, so nobody passes the bound between these two.
        if self.bytes.load(Ordering::Relaxed) + bytes > BYTES_MAX {
            return Err(Full);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.try_send(Item::Message(message)).map_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            Full
        })
    }

    /// Waits until everything published so far was handed over to async-nats.
    pub async fn handed_over(&self) {
        let (mark, reached) = oneshot::channel();
        if self.queue.send(Item::Mark(mark)).await.is_ok() {
            // The other end is only gone with the runtime.
            let _ = reached.await;
        }
    }
}

async fn hand_over(client: Client, mut items: mpsc::Receiver<Item>, bytes: Arc<AtomicUsize>) {
    let mut taken = 0;
    while let Some(item) = items.recv().await {
        match item {
            Item::Message(message) => {
                bytes.fetch_sub(message.payload.len(), Ordering::Relaxed);
                if message.expires.is_none_or(|expires| Instant::now() < expires) {
                    send(&client, message).await;
                }
            }
            Item::Mark(mark) => {
                let _ = mark.send(());
            }
        }
        taken += 1;
        if taken % TAKEN_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn send(client: &Client, message: Outgoing) {
    let Outgoing {
        subject,
        reply,
        headers,
        payload,
        ..
    } = message;
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
    if let Err(error) = sent {
        tracing::warn!(%error, "a message could not be published");
    }
}
