//! The bus over NATS. One client, four subscriptions a node whatever the number of its users; nodes share nothing else.
//!
//! `join` connects and claims the node's name, `ingest` takes what comes in and `answers` answers what other nodes ask,
//! `heart` beats and looks after time, `front` is what the rest of control asks for; here is what they share, and how it
//! starts. `docs/nats.md` has every subject.

mod answers;
mod asks;
mod calls;
mod claims;
mod connect;
mod front;
mod gathers;
mod heart;
mod ingest;
mod join;
mod members;
mod publisher;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Settings;
use crate::control::history::History;
use crate::control::places::Places;
use crate::control::router::Router;
use crate::metrics::NodeCounters;

use calls::Calls;
use connect::{Link, is_connected};
use gathers::Gathers;
use ingest::{Inlets, Losses};
use join::Own;
pub use join::{Joined, join};
use members::Members;
use publisher::{Kind, Outgoing, Publisher, Refused};
use wire::Standing;

/// What the parts of this bus share.
struct Core {
    client: Client,
    link: Arc<Link>,
    prefix: String,
    inbox: String,
    own: Own,
    router: Arc<Router>,
    counters: Arc<NodeCounters>,
    members: Mutex<Members>,
    places: Arc<Places>,
    history: Arc<History>,
    answer_parts: claims::AnswerParts,
    gathers: Arc<Gathers>,
    calls: Calls,
    publisher: Publisher,
    losses: Losses,
    push_bytes_max: AtomicUsize,
    call_timeout_ms: AtomicU64,
    name_refused: AtomicBool,
    /// Rung when the name is refused.
    name_lost: Arc<Notify>,
}

/// See the module.
pub struct Nats(Arc<Core>);

impl Nats {
    /// Begins to serve. `name_lost` is rung if another node turns out to have this node's name.
    pub fn start(
        joined: Joined,
        settings: &Settings,
        router: Arc<Router>,
        counters: Arc<NodeCounters>,
        places: Arc<Places>,
        history: Arc<History>,
        name_lost: Arc<Notify>,
    ) -> Self {
        let Joined {
            client,
            link,
            prefix,
            inbox,
            pushes,
            kicks,
            nodes,
            answers,
            taken,
            members,
            own,
        } = joined;
        let core = Arc::new(Core {
            publisher: Publisher::start(client.clone(), &own, &counters),
            client,
            link,
            prefix,
            inbox,
            own,
            router,
            counters,
            members: Mutex::new(members),
            places,
            history,
            answer_parts: claims::AnswerParts::default(),
            gathers: Arc::default(),
            calls: Calls::default(),
            losses: Losses::default(),
            push_bytes_max: AtomicUsize::new(0),
            call_timeout_ms: AtomicU64::new(0),
            name_refused: AtomicBool::new(false),
            name_lost,
        });
        core.reload(settings);
        let inlets = Inlets {
            pushes,
            kicks,
            nodes,
            answers,
            taken,
            known_lost: 0,
        };
        ingest::start(Arc::clone(&core), inlets);
        tokio::spawn(heart::run(Arc::clone(&core)));
        tokio::spawn(claims::run(Arc::clone(&core)));
        tokio::spawn(heart::look_for_nats(Arc::clone(&core), settings.nats.url.clone()));
        Self(core)
    }
}

impl Core {
    fn connected(&self) -> bool {
        is_connected(&self.client)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> Standing {
        if self.own.shared.draining() {
            Standing::Draining
        } else {
            Standing::Up
        }
    }

    fn reload(&self, settings: &Settings) {
        self.push_bytes_max.store(settings.limits.push_bytes, Ordering::Relaxed);
        self.call_timeout_ms.store(settings.timeouts.call_ms, Ordering::Relaxed);
    }

    fn send(
        &self,
        kind: Kind,
        subject: Subject,
        reply: Option<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        expires: Option<Instant>,
    ) -> Result<(), Refused> {
        let message = Outgoing {
            kind,
            subject,
            reply,
            headers,
            payload,
            expires,
        };
        self.publisher.publish(message)
    }

    /// Sends JSON to `<prefix>.<subject>`. False if it is not taken.
    fn tell(
        &self,
        kind: Kind,
        subject: &str,
        reply: Option<Subject>,
        expires: Option<Instant>,
        what: &impl serde::Serialize,
    ) -> bool {
        let subject = format!("{}{subject}", self.prefix).into();
        match serde_json::to_vec(what) {
            Ok(json) => self.send(kind, subject, reply, None, json.into(), expires).is_ok(),
            Err(_) => false,
        }
    }

    /// Sends JSON to whoever asked. False if it is not taken; whoever asked then counts this node among those that did not
    /// answer.
    fn answer(&self, reply: Subject, what: &impl serde::Serialize) -> bool {
        match serde_json::to_vec(what) {
            Ok(json) => self.send(Kind::Urgent, reply, None, None, json.into(), None).is_ok(),
            Err(_) => false,
        }
    }
}
