//! The session policy between nodes: what `places` has to say to the others goes out in batches on `<prefix>.node.claim`,
//! and what they say comes in. Decides nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subject};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Core;
use super::publisher::Kind;
use super::wire::{Beat, read_epoch};
use crate::control::sessions::{Answer, Batch, Place, Released};

/// How long the first login of a batch waits for more: a storm is told in batches, and nobody notices the wait.
const GATHERED_FOR: Duration = Duration::from_millis(3);

/// Places in one message of an answer: with the longest names some 300 KB.
const PLACES_IN_PART: usize = 256;
/// Answers of which the last part is not here yet.
const PARTS_MAX: usize = 1_024;

/// The parts of answers that are not whole yet, by node and batch.
pub type AnswerParts = Mutex<HashMap<(u64, u64), Vec<Place>>>;

/// The last token of the subject on which answers come.
pub const ANSWERS: &str = "places";

#[derive(Serialize, Deserialize)]
struct WireBatch {
    epoch: String,
    id: u64,
    reset: bool,
    asks: bool,
    released: Vec<WireReleased>,
    claims: Vec<WirePlace>,
}

#[derive(Serialize, Deserialize)]
struct WireAnswer {
    epoch: String,
    batch: u64,
    as_of_us: u64,
    places: Vec<WirePlace>,
    /// Another part follows.
    #[serde(default)]
    more: bool,
}

#[derive(Serialize, Deserialize)]
struct WireReleased {
    connection: String,
    user: Box<str>,
}

#[derive(Serialize, Deserialize)]
struct WirePlace {
    connection: String,
    user: Box<str>,
    device: Option<Box<str>>,
    at_us: u64,
    since_us: u64,
}

impl From<Place> for WirePlace {
    fn from(place: Place) -> Self {
        Self {
            connection: place.connection.to_string(),
            user: place.user,
            device: place.device,
            at_us: place.at_us,
            since_us: place.since_us,
        }
    }
}

impl WirePlace {
    fn place(self) -> Option<Place> {
        Some(Place {
            connection: self.connection.parse().ok()?,
            user: self.user,
            device: self.device,
            at_us: self.at_us,
            since_us: self.since_us,
        })
    }
}

fn places(wire: Vec<WirePlace>) -> Vec<Place> {
    wire.into_iter().filter_map(WirePlace::place).collect()
}

/// Tells the others, for ever.
pub async fn run(core: Arc<Core>) {
    loop {
        core.places.changed.notified().await;
        sleep(GATHERED_FOR).await;
        while core.connected() {
            let members = core.members().epochs();
            let Some(batch) = core.places.batch(&members) else {
                break;
            };
            if !core.tell_batch(batch) {
                // It is lost to the others; they hear everything anew when there is room.
                tracing::warn!("no room for what other nodes must hear of sessions: telling them everything anew");
                sleep(Duration::from_secs(1)).await;
                core.places.rejoin();
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Core {
    fn tell_batch(&self, batch: Batch) -> bool {
        let released = batch
            .released
            .into_iter()
            .map(|Released { connection, user }| WireReleased {
                connection: connection.to_string(),
                user,
            });
        let wire = WireBatch {
            epoch: Beat::write_epoch(self.own.epoch),
            id: batch.id,
            reset: batch.reset,
            asks: batch.asks,
            released: released.collect(),
            claims: batch.claims.into_iter().map(WirePlace::from).collect(),
        };
        let reply = batch.asks.then(|| Subject::from(format!("{}.{ANSWERS}", self.inbox)));
        self.tell(Kind::Urgent, "node.claim", reply, None, &wire)
    }

    /// Another node's batch.
    pub(super) fn claimed(&self, message: &Message) {
        let Ok(wire) = serde_json::from_slice::<WireBatch>(&message.payload) else {
            return;
        };
        let Some(from) = read_epoch(&wire.epoch) else { return };
        let released = wire.released.into_iter().filter_map(|released| {
            Some(Released {
                connection: released.connection.parse().ok()?,
                user: released.user,
            })
        });
        let batch = Batch {
            id: wire.id,
            reset: wire.reset,
            asks: wire.asks,
            released: released.collect(),
            claims: places(wire.claims),
        };
        let Some(answer) = self.places.heard(from, batch) else {
            return;
        };
        let Some(reply) = message.reply.clone() else { return };
        let mut places = answer.places.into_iter().map(WirePlace::from).peekable();
        loop {
            let part: Vec<WirePlace> = places.by_ref().take(PLACES_IN_PART).collect();
            let more = places.peek().is_some();
            let wire = WireAnswer {
                epoch: Beat::write_epoch(self.own.epoch),
                batch: answer.batch,
                as_of_us: answer.as_of_us,
                places: part,
                more,
            };
            if !self.answer(reply.clone(), &wire) || !more {
                break;
            }
        }
    }

    /// Another node's answer to a batch of this one.
    pub(super) fn places_answered(&self, message: &Message) {
        let Ok(wire) = serde_json::from_slice::<WireAnswer>(&message.payload) else {
            return;
        };
        let Some(from) = read_epoch(&wire.epoch) else { return };
        let mut parts = self.answer_parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = parts.remove(&(from, wire.batch)).unwrap_or_default();
        all.extend(places(wire.places));
        if wire.more {
            if parts.len() >= PARTS_MAX {
                // Of nodes that died in the middle: their batches are decided without them.
                parts.clear();
            }
            parts.insert((from, wire.batch), all);
            return;
        }
        drop(parts);
        let answer = Answer {
            batch: wire.batch,
            as_of_us: wire.as_of_us,
            places: all,
        };
        self.places.answered(from, answer);
    }
}
