//! The way into the cluster, before the node takes its first client: connect, and ask whether its name is free. NATS that
//! is not there does not keep a node from starting; another node of the same name does. Called by `control::Prepared`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::time::{Instant, interval, sleep};

use super::connect::{self, Link, is_connected};
use super::members::{Heard, Members, Name};
use super::wire::{Beat, HelloAnswer, Namesake, Standing};
use crate::config::Settings;
use crate::node::Shared;

/// How long a start waits for NATS before it goes on without.
const WAITED_FOR: Duration = Duration::from_secs(2);
/// How often the state is looked at while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a held name is asked for again.
pub const HELLO_EVERY_MS: u64 = 1_000;

/// This process, as it calls itself.
#[derive(Clone)]
pub struct Own {
    /// The node's name.
    pub node: String,
    /// The process.
    pub epoch: u64,
    /// When it started, Unix milliseconds.
    pub since_ms: u64,
    /// What is told of it.
    pub shared: Arc<Shared>,
}

impl Own {
    /// A sign of life.
    pub fn beat(&self, state: Standing, holds_name: bool) -> Beat {
        Beat {
            node: self.node.clone(),
            epoch: Beat::write_epoch(self.epoch),
            version: env!("CARGO_PKG_VERSION").into(),
            since_ms: self.since_ms,
            connections: self.shared.places() as u64,
            logins_per_s: self.shared.logins_per_s(),
            logins_max_per_s: self.shared.logins_max_per_s(),
            state,
            holds_name,
        }
    }

    /// Milliseconds of the clock that `Members` counts by.
    pub fn now_ms(&self) -> u64 {
        self.shared.now_us() / 1_000
    }
}

/// A node that is known to the cluster, or will be as soon as NATS is there.
pub struct Joined {
    /// The connection.
    pub client: Client,
    /// Its state.
    pub link: Arc<Link>,
    /// `<prefix>.`
    pub prefix: String,
    /// Answers come to `<inbox>.<token>`.
    pub inbox: String,
    /// `<prefix>.push.>`
    pub pushes: Subscriber,
    /// `<prefix>.kick.user.*`
    pub kicks: Subscriber,
    /// `<prefix>.node.*`
    pub nodes: Subscriber,
    /// `<inbox>.*`
    pub answers: Subscriber,
    /// Messages taken from the last two so far.
    pub taken: u64,
    /// Who is there.
    pub members: Members,
    /// Who this is.
    pub own: Own,
}

/// See the module.
///
/// # Errors
/// The settings cannot be used, or another node has the name; a sentence for the operator.
pub async fn join(settings: &Settings, shared: &Arc<Shared>, since_ms: u64) -> Result<Joined, String> {
    let node = settings.server.node.clone();
    let (client, link) = connect::connect(&settings.nats, &node).await?;
    let prefix = format!("{}.", settings.nats.prefix);
    let inbox = client.new_inbox();
    let failed = |error: async_nats::SubscribeError| format!("NATS: {error}");
    let pushes = client.subscribe(format!("{prefix}push.>")).await.map_err(failed)?;
    let kicks = client.subscribe(format!("{prefix}kick.user.*")).await.map_err(failed)?;
    let nodes = client.subscribe(format!("{prefix}node.*")).await.map_err(failed)?;
    let answers = client.subscribe(format!("{inbox}.*")).await.map_err(failed)?;
    let own = Own {
        epoch: shared.epoch(),
        shared: Arc::clone(shared),
        since_ms,
        node,
    };
    let mut joined = Joined {
        members: Members::new(&own.node, own.epoch, own.since_ms),
        client,
        link,
        prefix,
        inbox,
        pushes,
        kicks,
        nodes,
        answers,
        taken: 0,
        own,
    };
    let began = Instant::now();
    let mut looked = false;
    while !is_connected(&joined.client) {
        if !looked && began.elapsed() > WAITED_FOR / 4 {
            looked = true;
            let (link, urls) = (Arc::clone(&joined.link), settings.nats.url.clone());
            tokio::spawn(async move { link.look_at_ports(&urls).await });
        }
        if began.elapsed() >= WAITED_FOR {
            let why = joined.link.trouble();
            tracing::warn!("NATS is out of reach: {why}. Starting without it, and going on trying");
            return Ok(joined);
        }
        sleep(LOOK_EVERY).await;
    }
    joined.claim().await?;
    Ok(joined)
}

impl Joined {
    async fn claim(&mut self) -> Result<(), String> {
        self.members.claim(self.own.now_ms());
        let mut looks = interval(LOOK_EVERY);
        let mut next_hello_ms = 0;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(message) = self.nodes.next() => self.heard(&message).await,
                Some(message) = self.answers.next() => self.heard(&message).await,
            }
            let now_ms = self.own.now_ms();
            match self.members.name(now_ms) {
                Name::Refused => {
                    self.publish("node.beat", Standing::Gone).await;
                    return Err(refused(&self.own.node));
                }
                Name::Held => {
                    // The subscriptions are with the server before the first client is told that it is connected.
                    let flushed = self.client.flush().await;
                    return flushed.map_err(|error| format!("NATS: {error}"));
                }
                // NATS went away again: the rest is done when it is back.
                _ if !is_connected(&self.client) => return Ok(()),
                _ => {}
            }
            if now_ms >= next_hello_ms {
                next_hello_ms = now_ms + HELLO_EVERY_MS;
                self.publish("node.hello", Standing::Joining).await;
            }
        }
    }

    async fn publish(&self, subject: &str, state: Standing) {
        let Ok(beat) = serde_json::to_vec(&self.own.beat(state, false)) else {
            return;
        };
        let subject = format!("{}{subject}", self.prefix);
        let reply = format!("{}.hello", self.inbox);
        if let Err(error) = self.client.publish_with_reply(subject, reply, beat.into()).await {
            tracing::warn!(%error, "a message could not be published");
        }
        if state == Standing::Gone
            && let Err(error) = self.client.flush().await
        {
            tracing::warn!(%error, "the last message could not be sent");
        }
    }

    async fn heard(&mut self, message: &Message) {
        self.taken += 1;
        let (_, answer) = heard(&mut self.members, &self.own, &self.prefix, message, Standing::Joining);
        if let (Some(answer), Some(reply)) = (answer, message.reply.clone())
            && let Err(error) = self.client.publish(reply, answer.into()).await
        {
            tracing::warn!(%error, "a message could not be published");
        }
    }
}

/// What to tell whoever took a name that is held.
pub fn refused(node: &str) -> String {
    format!(
        "another node of this cluster is named {node:?} and is alive: give this one a name of its own with server.node, \
         or stop the other"
    )
}

/// Takes in what another node says of itself: a beat, a hello, or the answer to one. What it tells, and what is to be
/// answered to a hello.
pub fn heard(
    members: &mut Members,
    own: &Own,
    prefix: &str,
    message: &Message,
    standing: Standing,
) -> (Heard, Option<Vec<u8>>) {
    let now_ms = own.now_ms();
    let subject = message.subject.as_str();
    match subject.strip_prefix(prefix) {
        Some("node.beat") => {
            let beat = serde_json::from_slice(&message.payload);
            (beat.map_or(Heard::Nothing, |beat| members.heard(&beat, now_ms)), None)
        }
        Some("node.hello") => (Heard::Nothing, answer_hello(members, own, &message.payload, standing)),
        Some(_) => (Heard::Nothing, None),
        None => {
            let mut heard = Heard::Nothing;
            if subject.ends_with(".hello")
                && let Ok(answer) = serde_json::from_slice::<HelloAnswer>(&message.payload)
            {
                heard = members.heard(&answer.beat, now_ms);
                if let Some(namesake) = answer.namesake
                    && let Some(epoch) = super::wire::read_epoch(&namesake.epoch)
                {
                    members.remembered(epoch, namesake.age_ms, now_ms);
                }
            }
            (heard, None)
        }
    }
}

fn answer_hello(members: &mut Members, own: &Own, payload: &[u8], standing: Standing) -> Option<Vec<u8>> {
    let now_ms = own.now_ms();
    let beat: Beat = serde_json::from_slice(payload).ok()?;
    members.heard_claim(&beat, now_ms);
    let asker = beat.epoch()?;
    let namesake = members
        .last_seen(&beat.node, asker, now_ms)
        .map(|(epoch, age_ms)| Namesake {
            epoch: Beat::write_epoch(epoch),
            age_ms,
        });
    let answer = HelloAnswer {
        beat: own.beat(standing, members.holds_name()),
        namesake,
    };
    serde_json::to_vec(&answer).ok()
}
