//! From a token to a session: the check, the permissions it brings, the session policy's word, the expiry. Called for
//! `connect` and for a token on any other message.

use std::borrow::Cow;
use std::rc::Rc;

use super::permissions::Permissions;
use super::{Gateway, Session, users};
use crate::links::{Notice, What};
use crate::metrics::{AuthResult, CloseReason};
use crate::protocol::message::{self, Connected, ErrorCode, Incoming, Token};
use crate::shard::auth::{Claims, TokenError};
use crate::shard::connection::{Key, Stage};
use crate::shard::engine::{Engine, Urgency};
use crate::shard::outbound::Frame;
use crate::shard::{Flow, NEVER};

/// Refused tokens after which the connection is closed.
const AUTH_FAILURES_MAX: u8 = 3;

/// A login that waits for the session policy's word.
pub(super) struct Login {
    claims: Claims,
    device: Option<Box<str>>,
    /// Control's answer, once it is here.
    admitted: Option<bool>,
}

impl Login {
    pub fn into_user(self) -> Box<str> {
        self.claims.user.into()
    }
}

/// What a token check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The connection is logged in, or its session renewed.
    Ok,
    /// Not decided yet: hold the message.
    Hold,
    /// Refused, and the client told.
    Answered,
}

/// Under which result a refusal is counted.
fn auth_result(code: ErrorCode) -> AuthResult {
    match code {
        ErrorCode::TokenMissing => AuthResult::Missing,
        ErrorCode::TokenExpired => AuthResult::Expired,
        ErrorCode::TokenNotYetValid => AuthResult::NotYetValid,
        _ => AuthResult::Invalid,
    }
}

/// What a look at a token came to.
enum Verified {
    Valid(Login),
    /// This turn's budget is spent, or control is to hear first of those who came and went before.
    Later,
    /// Not valid, and the client told.
    Refused,
}

impl Gateway {
    pub(super) fn connect(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        resumed: bool,
    ) -> Flow {
        let body = message::connect_body(incoming.body);
        let (device, topics, bad) = match body {
            Ok(body) => (body.device, body.topics, None),
            Err(what) => (None, Vec::new(), Some(what)),
        };
        match self.check_token_of(engine, key, incoming, &topics, device.as_deref(), bad, resumed) {
            Checked::Ok => self.answer_connect(engine, key, incoming.id),
            Checked::Hold => return Flow::Hold,
            Checked::Answered => {}
        }
        Flow::Continue
    }

    pub(super) fn check_token(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        topics: &[Cow<'_, str>],
        device: Option<&str>,
        resumed: bool,
    ) -> Checked {
        self.check_token_of(engine, key, incoming, topics, device, None, resumed)
    }

    /// Checks the message's token, then everything else that can be wrong with the login, and only then changes
    /// anything: a client that is refused is as it was. `bad` is what is wrong with the body of `connect`.
    #[allow(clippy::too_many_arguments)]
    fn check_token_of(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        topics: &[Cow<'_, str>],
        device: Option<&str>,
        bad: Option<&'static str>,
        resumed: bool,
    ) -> Checked {
        let login = match self.logins.remove(&key.index) {
            Some(login) => login,
            None => match self.verify(engine, key, incoming, device, resumed) {
                Verified::Valid(login) => login,
                Verified::Later => return Checked::Hold,
                Verified::Refused => return Checked::Answered,
            },
        };
        let session = engine.session(key.index);
        let connected = session.user != users::NONE;
        let refused = |gateway: &Self, engine: &mut Engine<Session>, code, what: &str| {
            gateway.fail_path(engine, key, incoming, code, what);
            Checked::Answered
        };
        if connected && self.users.name(session.user) != login.claims.user {
            engine.counters().auth[AuthResult::UserMismatch as usize].add(1);
            self.record_refusal(engine, key, None, AuthResult::UserMismatch);
            return refused(
                self,
                engine,
                ErrorCode::UserMismatch,
                "the token is of another user than this connection",
            );
        }
        if login.admitted == Some(false) {
            engine.counters().auth[AuthResult::SessionPolicy as usize].add(1);
            let whose = Some((login.claims.user.as_str(), login.device.as_deref()));
            self.record_refusal(engine, key, whose, AuthResult::SessionPolicy);
            engine.session_mut(key.index).claimed = false;
            let what = "this user has as many connections as sessions.per_user_max allows";
            let checked = refused(self, engine, ErrorCode::TooManyConnections, what);
            engine.close(key, CloseReason::SessionPolicy);
            return checked;
        }
        let permissions = self
            .permission_sets
            .get((login.claims.paths.clone(), login.claims.topics.clone()));
        if login.admitted.is_none() {
            // Only now does anybody else hear of this login: whatever can be wrong with it has been looked at.
            let may = self.may_subscribe(engine.session(key.index), Some(&permissions), topics);
            if let Err((code, what)) = bad.map_or(may, |what| Err((ErrorCode::BadMessage, what))) {
                self.permission_sets.give_back(permissions);
                return refused(self, engine, code, what);
            }
            if !connected && self.has_session_policy() {
                self.permission_sets.give_back(permissions);
                self.claim(engine, key, login);
                return Checked::Hold;
            }
        }
        engine.counters().auth[AuthResult::Ok as usize].add(1);
        self.log_in(engine, key, login, permissions);
        self.join_topics(engine, key, topics);
        Checked::Ok
    }

    /// The signature and the claims.
    fn verify(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        device: Option<&str>,
        resumed: bool,
    ) -> Verified {
        let token = match &incoming.token {
            Token::Text(token) => token,
            Token::Absent => {
                let what = "connect needs a token";
                return self.refuse_token(engine, key, incoming, ErrorCode::TokenMissing, what, None);
            }
            Token::NotAString => {
                let what = "the token is not a string";
                return self.refuse_token(engine, key, incoming, ErrorCode::TokenInvalid, what, None);
            }
        };
        // Whoever waits already comes first; a resumed one is the first.
        let others_wait = !resumed && !self.token_waiting.is_empty();
        if self.token_cost_left == 0 || others_wait || self.notices.hold_logins() {
            self.token_waiting.push_back(key);
            return Verified::Later;
        }
        self.token_cost_left = self.token_cost_left.saturating_sub(self.verifier.cost(token));
        match self.verifier.verify(token, engine.now().unix_ms) {
            Ok(claims) => {
                let device = claims
                    .device
                    .as_deref()
                    .filter(|device| !device.is_empty())
                    .or(device)
                    .map(Box::from);
                Verified::Valid(Login {
                    claims,
                    device,
                    admitted: None,
                })
            }
            Err(error) => {
                let code = match error {
                    TokenError::Invalid(_) => ErrorCode::TokenInvalid,
                    TokenError::Expired => ErrorCode::TokenExpired,
                    TokenError::NotYetValid => ErrorCode::TokenNotYetValid,
                };
                // Right in all else: then it is known whose it is.
                let named = match error {
                    TokenError::Invalid(_) => None,
                    TokenError::Expired | TokenError::NotYetValid if self.history.on => self.verifier.user_named(token),
                    TokenError::Expired | TokenError::NotYetValid => None,
                };
                let whose = named.as_deref().map(|user| (user, device));
                self.refuse_token(engine, key, incoming, code, &error.to_string(), whose)
            }
        }
    }

    fn refuse_token(
        &mut self,
        engine: &mut Engine<Session>,
        key: Key,
        incoming: &Incoming<'_>,
        code: ErrorCode,
        what: &str,
        whose: Option<(&str, Option<&str>)>,
    ) -> Verified {
        let result = auth_result(code);
        engine.counters().auth[result as usize].add(1);
        self.record_refusal(engine, key, whose, result);
        self.fail_path(engine, key, incoming, code, what);
        let failures = &mut engine.session_mut(key.index).auth_failures;
        *failures += 1;
        if *failures >= AUTH_FAILURES_MAX {
            engine.close(key, CloseReason::AuthFailed);
        }
        Verified::Refused
    }

    fn has_session_policy(&self) -> bool {
        self.settings.sessions.per_user_max > 0 || self.settings.sessions.one_per_device
    }

    /// Asks control whether the session policy has a place for this login.
    fn claim(&mut self, engine: &mut Engine<Session>, key: Key, login: Login) {
        let connection = self.connection_id(engine, key);
        engine.session_mut(key.index).claimed = true;
        let (user, device) = (login.claims.user.as_str().into(), login.device.clone());
        self.notices.push(Notice::Claim {
            connection,
            user,
            device,
        });
        self.logins.insert(key.index, login);
    }

    /// Control's answer to a claim.
    pub(super) fn decide_login(&mut self, engine: &mut Engine<Session>, key: Key, admitted: bool) {
        if let Some(login) = self.logins.get_mut(&key.index) {
            login.admitted = Some(admitted);
            engine.resume(self, key);
        }
    }

    /// Goes on with logins that the last turn's budget did not reach.
    pub(super) fn check_waiting_tokens(&mut self, engine: &mut Engine<Session>) {
        while self.token_cost_left > 0 && !self.notices.hold_logins() {
            let Some(key) = self.token_waiting.pop_front() else {
                return;
            };
            engine.resume(self, key);
        }
    }

    fn log_in(&mut self, engine: &mut Engine<Session>, key: Key, login: Login, permissions: Rc<Permissions>) {
        let now = engine.now();
        let session = engine.session_mut(key.index);
        session.auth_failures = 0;
        let expires_at = login.claims.expires_at;
        let expired_at_s = std::mem::replace(&mut session.expires_at_s, expires_at.unwrap_or(NEVER));
        let before = session.permissions.replace(permissions);
        if session.user == users::NONE {
            session.since_unix_ms = now.unix_ms;
            session.device = login.device;
            session.broadcast_number = self.broadcasts.last_number();
            self.users.join(engine, &self.node, key.index, &login.claims.user);
            engine.authenticated(key);
            engine.counters().logins.add(1);
            let device = engine.session(key.index).device.clone();
            self.record(
                engine,
                key,
                &login.claims.user,
                device.as_deref(),
                What::Connected { expires_at },
            );
            if self.tells_of_connections {
                self.notices.push(Notice::Connected {
                    connection: self.connection_id(engine, key),
                    user: login.claims.user.as_str().into(),
                    device: engine.session(key.index).device.clone(),
                    at_unix_ms: now.unix_ms,
                });
            }
        } else if session.expires_at_s != expired_at_s {
            // A client may send the same token with every message: only one that moves the end is news.
            let device = session.device.clone();
            self.record(
                engine,
                key,
                &login.claims.user,
                device.as_deref(),
                What::Renewed { expires_at },
            );
        }
        if let Some(before) = before {
            self.permission_sets.give_back(before);
        }
        self.check_expiry(engine, key);
    }

    /// Closes the connection if its token's time is over, else sees to it that somebody looks again when it is.
    pub(super) fn check_expiry(&mut self, engine: &mut Engine<Session>, key: Key) {
        let now = engine.now();
        let expires_at_s = engine.session(key.index).expires_at_s;
        if expires_at_s == NEVER {
            return engine.set_application_deadline(key, NEVER);
        }
        let end_unix_ms = expires_at_s
            .saturating_mul(1_000)
            .saturating_add(self.settings.auth.leeway_ms);
        if end_unix_ms <= now.unix_ms {
            engine.close(key, CloseReason::TokenExpired);
        } else {
            engine.set_application_deadline(key, now.ms().saturating_add(end_unix_ms - now.unix_ms));
        }
    }

    fn answer_connect(&mut self, engine: &mut Engine<Session>, key: Key, id: Option<&str>) {
        if engine
            .get(key)
            .is_none_or(|connection| connection.stage() != Stage::Open)
        {
            return;
        }
        let session = engine.session(key.index);
        let body = Connected {
            user: self.users.name(session.user),
            connection: &self.connection_id(engine, key).to_string(),
            node: &self.settings.server.node,
            expires_at: (session.expires_at_s != NEVER).then_some(session.expires_at_s),
            ping_ms: self.settings.timeouts.ping_ms,
        };
        let frame = message::connected(id, &body);
        engine.send(key, Frame::plain(frame), Urgency::Urgent);
    }
}
