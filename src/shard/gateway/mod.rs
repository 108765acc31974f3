//! The gateway's application: what a message of a logged-in user's client means, and who gets which push.
//!
//! `messages` is the way of a client's message, `login` that of its token, `commands` what control asks; `users`,
//! `topics` and `broadcast` know who gets what; `notices` wait for the outbox, `history` for what room they leave there;
//! `clients` says whose address it is; `drain` empties the node. All of it runs inside one reactor and shares nothing but `node::Shared`.

mod broadcast;
mod clients;
mod commands;
mod drain;
mod history;
mod login;
mod messages;
mod notices;
mod topics;
mod users;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Settings;
use crate::links::{Command, ConnectionId, Notice, What};
use crate::metrics::{CloseReason, RefusalReason};
use crate::node::Shared;
use crate::protocol::handshake::Request;

use super::auth::{KeyError, Verifier};
use super::connection::{Key, Stage};
use super::engine::{Engine, Rules};
use super::{Application, End, Flow, Message, NEVER, Next, Refusal};
use broadcast::Broadcasts;
use history::History;
use login::{Login, PermissionSets, Permissions};
use notices::Notices;
use topics::{Subscription, Topics};
use users::Users;

/// Token checks a turn, in units of `Verifier::cost` (about 5 µs): a reconnect storm spends at most some 0.5 ms of a turn
/// on cryptography, and what is over waits its turn in the order of its coming.
const TOKEN_COST_A_TURN: u32 = 100;
/// Slow consumers closed in one turn when the node's outbound budget is spent.
const EVICTIONS_A_TURN: usize = 64;

/// What the gateway keeps for each connection.
pub struct Session {
    /// Its user on this reactor; `users::NONE` before the login.
    user: u32,
    /// The chain of the user's connections.
    previous: u32,
    next: u32,
    bad_messages: u8,
    auth_failures: u8,
    rate_refusals: u8,
    /// Has one of the node's places.
    placed: bool,
    /// Counted in `node::Shared` under its address.
    address_counted: bool,
    /// Known to control's session registry.
    claimed: bool,
    /// Thousandths of a message that may still come at once.
    rate_credit: u32,
    /// When the credit was counted, milliseconds since the node's start (they wrap after 49 days; a wrong difference then
    /// gives at most one full burst).
    rate_counted_ms: u32,
    /// The last fan-out that this connection was considered for.
    broadcast_number: u64,
    /// When it logged in, Unix milliseconds.
    since_unix_ms: u64,
    /// The token's `exp`, Unix seconds; `NEVER` without one.
    expires_at_s: u64,
    permissions: Option<Rc<Permissions>>,
    /// Boxed, since most connections have none and a thin pointer saves them 16 bytes.
    #[allow(clippy::box_collection)]
    subscriptions: Option<Box<Vec<Subscription>>>,
    device: Option<Box<str>>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            user: users::NONE,
            previous: users::NONE,
            next: users::NONE,
            bad_messages: 0,
            auth_failures: 0,
            rate_refusals: 0,
            placed: false,
            address_counted: false,
            claimed: false,
            rate_credit: u32::MAX,
            rate_counted_ms: 0,
            broadcast_number: 0,
            since_unix_ms: 0,
            expires_at_s: NEVER,
            permissions: None,
            subscriptions: None,
            device: None,
        }
    }
}

impl Session {
    fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// The gateway of one reactor.
pub struct Gateway {
    node: Arc<Shared>,
    settings: Arc<Settings>,
    verifier: Verifier,
    connections_max: usize,
    connections_allowed: usize,
    users: Users,
    topics: Topics,
    broadcasts: Broadcasts,
    permission_sets: PermissionSets,
    /// Connections whose token waits for the next turn's budget.
    token_waiting: VecDeque<Key>,
    token_cost_left: u32,
    /// Logins that wait for control's word on the session policy, by slab index.
    logins: HashMap<u32, Login>,
    notices: Notices,
    /// Whether anybody wants to know who comes and goes. Settled at the start: a reload must not part the two notices
    /// of one connection.
    tells_of_connections: bool,
    history: History,
    drain: Option<drain::Drain>,
}

/// The engine's rules under these settings.
pub fn rules(settings: &Settings) -> Rules {
    Rules {
        handshake_ms: settings.timeouts.handshake_ms,
        ping_ms: settings.timeouts.ping_ms,
        pong_ms: settings.timeouts.pong_ms,
        message_bytes_max: settings.limits.message_bytes,
        binary: false,
        outbound_bytes_max: settings.limits.outbound_bytes,
        read_pause_bytes: settings.limits.outbound_bytes / 2,
    }
}

/// Connections that the node takes: as many as configured, and no more than its descriptors allow.
pub fn connections_max(settings: &Settings, connections_allowed: usize) -> usize {
    match settings.server.connections_max {
        0 => connections_allowed,
        configured => configured.min(connections_allowed),
    }
}

impl Gateway {
    /// A gateway without connections. `connections_allowed` is what the node's descriptors
    /// allow.
    ///
    /// # Errors
    /// A key that cannot be used.
    pub fn new(settings: Arc<Settings>, node: Arc<Shared>, connections_allowed: usize) -> Result<Self, KeyError> {
        let (verifier, _) = Verifier::new(&settings.auth)?;
        let permission_sets = PermissionSets::new(&settings.auth);
        let connections_max = connections_max(&settings, connections_allowed);
        let tells_of_connections = !settings.nats.url.is_empty();
        let history = History::new(settings.limits.history_bytes > 0);
        Ok(Self {
            node,
            settings,
            verifier,
            connections_max,
            connections_allowed,
            users: Users::default(),
            topics: Topics::default(),
            broadcasts: Broadcasts::default(),
            permission_sets,
            token_waiting: VecDeque::new(),
            token_cost_left: TOKEN_COST_A_TURN,
            logins: HashMap::new(),
            notices: Notices::default(),
            tells_of_connections,
            history,
            drain: None,
        })
    }

    fn connection_id(&self, engine: &Engine<Session>, key: Key) -> ConnectionId {
        ConnectionId {
            epoch: self.node.epoch(),
            reactor: engine.reactor() as u16,
            index: key.index,
            generation: key.generation,
        }
    }

    /// The key that an id stands for, if it is one of this process and reactor.
    fn key_of(&self, engine: &Engine<Session>, id: ConnectionId) -> Option<Key> {
        let ours = id.epoch == self.node.epoch() && usize::from(id.reactor) == engine.reactor();
        let key = Key {
            index: id.index,
            generation: id.generation,
        };
        (ours && engine.get(key).is_some()).then_some(key)
    }

    /// For the simulation and for assertions: users, topics, logins, permission sets, fan-outs and waiting tokens still
    /// held. With no connection left, and after a `run`, all are zero.
    pub fn leftovers(&self) -> [usize; 6] {
        [
            self.users.len(),
            self.topics.len(),
            self.logins.len(),
            self.permission_sets.len(),
            self.broadcasts.len(),
            self.token_waiting.len(),
        ]
    }

    /// While the node has more queued than its budget, the longest queues of the reactor that holds its share of them or
    /// more are given up.
    fn keep_outbound_budget(&mut self, engine: &mut Engine<Session>) {
        let budget = self.settings.limits.outbound_total_bytes;
        let share = budget / self.node.reactors();
        self.node.outbound_set(engine.reactor(), engine.outbound_bytes());
        for _ in 0..EVICTIONS_A_TURN {
            if engine.outbound_bytes() <= share || self.node.outbound_total() <= budget {
                return;
            }
            let Some(key) = engine.heaviest() else { return };
            let text = format!("retry_ms={}", engine.random().u64(1_000..5_000));
            engine.close_and_drop_queue(key, CloseReason::Overload, &text);
            self.node.outbound_set(engine.reactor(), engine.outbound_bytes());
        }
    }
}

impl Application for Gateway {
    type Session = Session;
    type Command = Command;
    type Notice = Notice;

    fn accepted(&mut self, engine: &mut Engine<Session>, key: Key) {
        engine.set_application_deadline(key, engine.now().ms() + self.settings.timeouts.connect_ms);
    }

    fn admit(&mut self, engine: &mut Engine<Session>, key: Key, request: &Request<'_>) -> Result<(), Refusal> {
        let refuse = |status, reason, retry_after_s, text| {
            Err(Refusal {
                status,
                reason,
                retry_after_s,
                text,
            })
        };
        let origins = &self.settings.server.origins;
        if let Some(origin) = request.origin
            && !origins.is_empty()
            && !origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return refuse(
                403,
                RefusalReason::Origin,
                None,
                "this Origin is not among server.origins",
            );
        }
        let peer = engine.get(key).and_then(super::Connection::client);
        let client = self.client_of(peer, request);
        engine.set_client(key, client);
        if self.drain.is_some() || self.node.draining() {
            return Err(self.drains(engine.now().ms()));
        }
        let per_ip = self.settings.limits.connections_per_ip;
        if per_ip > 0
            && let Some(ip) = client
        {
            if !self.node.address_acquire(ip, per_ip) {
                let retry_s = engine.random().u32(5..15);
                return refuse(
                    429,
                    RefusalReason::PerIp,
                    Some(retry_s),
                    "too many connections from your address",
                );
            }
            engine.session_mut(key.index).address_counted = true;
        }
        if !self.node.place_acquire(self.connections_max) {
            let retry_s = engine.random().u32(2..10);
            return refuse(503, RefusalReason::Full, Some(retry_s), "this node is full");
        }
        engine.session_mut(key.index).placed = true;
        Ok(())
    }

    fn message(&mut self, engine: &mut Engine<Session>, key: Key, message: Message<'_>, resumed: bool) -> Flow {
        match message {
            Message::Text(text) => self.text(engine, key, text, resumed),
            Message::Binary(_) => {
                // The engine's rules refuse binary messages before they come here.
                engine.close(key, CloseReason::UnsupportedData);
                Flow::Continue
            }
        }
    }

    fn deadline(&mut self, engine: &mut Engine<Session>, key: Key) {
        let now = engine.now();
        let Some(connection) = engine.get(key) else { return };
        match connection.stage() {
            Stage::Handshake | Stage::Unauthenticated => {
                if connection.application_deadline_ms <= now.ms() {
                    engine.close(key, CloseReason::ConnectTimeout);
                }
            }
            // The wall clock decides, not the timer that was set by it: it may have been put right since.
            Stage::Open => self.check_expiry(engine, key),
            Stage::Closing | Stage::Dead => {}
        }
    }

    fn ended(&mut self, engine: &mut Engine<Session>, key: Key, end: End) {
        let End {
            reason,
            code,
            queued_bytes,
        } = end;
        let id = self.connection_id(engine, key);
        let (client, refused) = engine.get(key).map_or((None, true), |connection| {
            (connection.client(), connection.was_refused())
        });
        let session = engine.session_mut(key.index);
        if std::mem::take(&mut session.address_counted)
            && let Some(ip) = client
        {
            self.node.address_release(ip);
        }
        let placed = std::mem::take(&mut session.placed);
        let claimed = std::mem::take(&mut session.claimed);
        let device = session.device.take();
        let permissions = session.permissions.take();
        let since_unix_ms = session.since_unix_ms;
        if placed {
            self.node.place_release();
        }
        let login = self.logins.remove(&key.index);
        let was_connected = session.user != users::NONE;
        let user = if was_connected {
            let user: Box<str> = self.users.name(session.user).into();
            self.topics.leave_all(engine, &self.node, key.index);
            self.users.leave(engine, &self.node, key.index);
            Some(user)
        } else {
            login.map(Login::into_user)
        };
        if let Some(permissions) = permissions {
            self.permission_sets.give_back(permissions);
        }
        if !refused {
            let (reason, user) = (reason.label(), user.as_deref());
            tracing::debug!(connection = %id, user, reason, code, queued_bytes, "connection closed");
        }
        let Some(user) = user else { return };
        if was_connected {
            let what = What::Closed {
                reason,
                code,
                lived_ms: engine.now().unix_ms.saturating_sub(since_unix_ms),
                queued_bytes: u32::try_from(queued_bytes).unwrap_or(u32::MAX),
                by: self.history.kicker.filter(|_| reason == CloseReason::Kicked),
            };
            self.record(engine, key, &user, device.as_deref(), what);
        }
        if was_connected && self.tells_of_connections {
            self.notices.push(Notice::Disconnected {
                connection: id,
                user: user.clone(),
                device,
                at_unix_ms: engine.now().unix_ms,
                reason,
                code,
            });
        }
        if claimed {
            self.notices.push(Notice::Release { connection: id, user });
        }
    }

    fn command(&mut self, engine: &mut Engine<Session>, command: Command) {
        // Whoever a kick closes is reported before the next command comes.
        self.history.kicker = None;
        self.carry_out(engine, command);
    }

    fn takes_commands(&self, _engine: &Engine<Session>) -> bool {
        self.broadcasts.len() < broadcast::JOBS_MAX && !self.notices.is_full()
    }

    fn run(&mut self, engine: &mut Engine<Session>) -> Next {
        let broadcasting = self.advance_broadcasts(engine);
        self.token_cost_left = TOKEN_COST_A_TURN;
        self.check_waiting_tokens(engine);
        self.keep_outbound_budget(engine);
        let draining = self.advance_drain(engine);
        let gathered = self.history.ripen(engine.now().ms());
        // Logins that wait for the outbox go on when it has taken something, which the reactor comes back for anyway.
        let checking = !self.token_waiting.is_empty() && !self.notices.hold_logins();
        if checking || broadcasting {
            return Next::Now;
        }
        draining.sooner(gathered)
    }

    fn next_notice(&mut self) -> Option<Notice> {
        self.notices.take().or_else(|| self.history.take().map(Notice::History))
    }

    fn notice_refused(&mut self, engine: &mut Engine<Session>, notice: Notice) {
        match notice {
            Notice::Call(call) => self.refuse_call(engine, &call),
            Notice::History(happenings) => self.history.put_back(happenings),
            other => self.notices.put_back(other),
        }
    }
}

#[cfg(test)]
mod tests;
