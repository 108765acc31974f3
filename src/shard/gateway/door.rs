//! The gateway's door: whom the node lets in (origin, drain, address, places), and what a connection gives back and leaves
//! behind when it ends. What a client must show to be a user is `login`'s. Called by the gateway for the engine.

use super::login::Login;
use super::{Gateway, Session, users};
use crate::links::{Notice, What};
use crate::metrics::{CloseReason, RefusalReason};
use crate::protocol::handshake::Request;
use crate::shard::connection::{Connection, Key};
use crate::shard::engine::Engine;
use crate::shard::{End, Refusal};

impl Gateway {
    /// Whether this request may become a connection. If so it has its place, and is counted under its address.
    pub(super) fn let_in(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
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
        let peer = engine.get(key).and_then(Connection::client);
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

    /// Gives back whatever the connection has, and tells whoever wants to know of its end.
    pub(super) fn see_out(&mut self, engine: &mut Engine<Session>, key: Key, end: End) {
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
}
