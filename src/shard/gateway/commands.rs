//! What control asks of this reactor: pushes, kicks, look-ups, replies, the session policy's word, new settings.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::broadcast::Counts;
use super::permissions::PermissionSets;
use super::{Gateway, Session, connections_max, rules, users};
use crate::config::Settings;
use crate::links::{Command, ConnectionInfo, Notice, SlowConnection, Target, Ticket, UserName};
use crate::metrics::CloseReason;
use crate::shard::auth::Verifier;
use crate::shard::connection::{Connection, Key};
use crate::shard::engine::{Engine, Urgency};
use crate::shard::outbound::Frame;

impl Gateway {
    pub(super) fn carry_out(&mut self, engine: &mut Engine<Session>, command: Command) {
        match command {
            Command::Push {
                target: Target::User(user),
                frame,
                arrived_us,
                ticket,
            } => {
                let mut counts = Counts::default();
                let frame = Frame::push(frame, arrived_us);
                self.each_connection(engine, &user, |gateway, engine, key| {
                    gateway.broadcasts.catch_up(engine, &gateway.topics, key.index);
                    counts.add(engine.send(key, frame.clone(), Urgency::Urgent));
                });
                self.notices.extend(ticket.map(|ticket| counts.notice(ticket)));
            }
            Command::Push {
                target: Target::Topic(topic),
                frame,
                arrived_us,
                ticket,
            } => {
                self.broadcast(engine, Some(topic), Frame::push(frame, arrived_us), ticket);
            }
            Command::Push {
                target: Target::All,
                frame,
                arrived_us,
                ticket,
            } => {
                self.broadcast(engine, None, Frame::push(frame, arrived_us), ticket);
            }
            Command::KickUser {
                user,
                code,
                text,
                by,
                ticket,
            } => {
                self.history.kicker = Some(by);
                let mut closed = 0;
                self.each_connection(engine, &user, |_, engine, key| {
                    closed += u64::from(kick(engine, key, code, &text));
                });
                self.notices
                    .extend(ticket.map(|ticket| Notice::Kicked { ticket, closed }));
            }
            Command::KickConnection {
                connection,
                code,
                text,
                by,
                ticket,
            } => {
                self.history.kicker = Some(by);
                let key = self.key_of(engine, connection);
                let closed = u64::from(key.is_some_and(|key| kick(engine, key, code, &text)));
                self.notices
                    .extend(ticket.map(|ticket| Notice::Kicked { ticket, closed }));
            }
            Command::FindUser { user, ticket } => self.find_user(engine, &user, ticket),
            Command::FindSlowest { limit, ticket } => self.find_slowest(engine, limit, ticket),
            Command::Reply { connection, frame } => {
                if let Some(key) = self.key_of(engine, connection) {
                    engine.send(key, Frame::plain(frame), Urgency::Urgent);
                }
            }
            Command::Admit { connection, admitted } => {
                if let Some(key) = self.key_of(engine, connection) {
                    self.decide_login(engine, key, admitted);
                }
            }
            Command::Replace { connection } => {
                if let Some(key) = self.key_of(engine, connection) {
                    engine.close(key, CloseReason::SessionPolicy);
                }
            }
            Command::Reload(settings) => self.reload(engine, &settings),
            Command::Drain { window_ms } => self.start_drain(engine, window_ms),
        }
    }

    /// Does something with each of a user's connections that is not closing.
    fn each_connection(
        &mut self,
        engine: &mut Engine<Session>,
        user: &UserName,
        mut act: impl FnMut(&mut Self, &mut Engine<Session>, Key),
    ) {
        let Some(id) = self.users.find(&user.name, user.hash) else {
            return;
        };
        let mut index = self.users.first(id);
        while index != users::NONE {
            let next = engine.session(index).next;
            let key = engine.key_of(index);
            act(self, engine, key);
            index = next;
        }
    }

    fn find_user(&mut self, engine: &mut Engine<Session>, user: &UserName, ticket: Ticket) {
        let mut connections = Vec::new();
        self.each_connection(engine, user, |gateway, engine, key| {
            let Some(connection) = engine.get(key).filter(|connection| connection.is_live()) else {
                return;
            };
            let session = &connection.session;
            connections.push(ConnectionInfo {
                connection: gateway.connection_id(engine, key),
                device: session.device.as_deref().map(str::to_owned),
                since_ms: session.since_unix_ms,
                expires_at: (session.expires_at_s != super::NEVER).then_some(session.expires_at_s),
                topics: gateway.topics.names(session).map(str::to_owned).collect(),
                remote: connection.client(),
            });
        });
        self.notices.push(Notice::Found { ticket, connections });
    }

    /// One look at every queue, and memory for `limit` of them, however many there are.
    fn find_slowest(&mut self, engine: &Engine<Session>, limit: usize, ticket: Ticket) {
        // The lightest of the heaviest so far is on top, to be replaced.
        let mut heaviest = BinaryHeap::new();
        for (queued_bytes, key) in engine.queued() {
            heaviest.push(Reverse((queued_bytes, key.index)));
            if heaviest.len() > limit {
                heaviest.pop();
            }
        }
        let connections = heaviest.into_iter().filter_map(|Reverse((_, index))| {
            let (key, connection) = engine.at(index)?;
            let session = &connection.session;
            Some(SlowConnection {
                connection: self.connection_id(engine, key),
                user: (session.user != users::NONE).then(|| self.users.name(session.user).to_owned()),
                device: session.device.as_deref().map(str::to_owned),
                remote: connection.client(),
                queued_bytes: connection.queued_bytes(),
            })
        });
        let connections = connections.collect();
        self.notices.push(Notice::Slowest { ticket, connections });
    }

    /// The command line has checked the new settings, keys included; what cannot change while running stays.
    fn reload(&mut self, engine: &mut Engine<Session>, settings: &Settings) {
        let verifier = match Verifier::new(&settings.auth) {
            Ok((verifier, _)) => verifier,
            Err(error) => {
                tracing::error!(%error, "the new keys cannot be used: the old ones and every old setting stay");
                return;
            }
        };
        let settings = Settings {
            sessions: self.settings.sessions.clone(),
            ..settings.clone()
        };
        self.verifier = verifier;
        self.permission_sets = PermissionSets::new(&settings.auth);
        self.connections_max = connections_max(&settings, self.connections_allowed);
        self.node.logins_promised_set(settings.limits.logins_per_second);
        self.history.on = settings.limits.history_bytes > 0;
        engine.set_rules(rules(&settings));
        self.settings = Arc::new(settings);
    }
}

fn kick(engine: &mut Engine<Session>, key: Key, code: u16, text: &str) -> bool {
    let live = engine.get(key).is_some_and(Connection::is_live);
    engine.close_with(key, CloseReason::Kicked, code, text);
    live
}
