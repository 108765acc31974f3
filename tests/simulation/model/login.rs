//! From a token to a session, as the contract has it: which tokens are good, what they let do, what else can be wrong
//! with a login.

use std::collections::BTreeSet;

use longwire::config::Settings;
use longwire::metrics::{AuthResult, CloseReason};

use super::{Ground, Model, Stage, matches};
use crate::messages::Message;
use crate::tokens::{Claims, Token};

impl Model {
    /// What a token of this message comes to. False: there is nothing more to do for the message.
    pub(super) fn authenticate(
        &mut self,
        message: &Message,
        device: Option<String>,
        topics: &[String],
        wrong_body: bool,
        ground: &mut Ground<'_>,
    ) -> bool {
        let (claims, device, admitted) = match self.claim.take() {
            Some(claim) => (
                claim.claims,
                claim.device,
                Some(claim.admitted.expect("went on without an answer")),
            ),
            None => match check(&message.token, ground) {
                Ok(claims) => {
                    let device = claims.device.clone().or(device);
                    (claims, device, None)
                }
                Err((result, code)) => {
                    *ground.tally.auth.entry(result.label()).or_default() += 1;
                    self.fail(message, 401, code);
                    self.failures += 1;
                    if self.failures == 3 {
                        self.end(CloseReason::AuthFailed);
                    }
                    return false;
                }
            },
        };
        let connected = self.stage == Stage::Open;
        if connected && self.user != claims.user {
            *ground.tally.auth.entry(AuthResult::UserMismatch.label()).or_default() += 1;
            self.fail(message, 403, "user_mismatch");
            return false;
        }
        if admitted == Some(false) {
            *ground.tally.auth.entry(AuthResult::SessionPolicy.label()).or_default() += 1;
            self.fail(message, 409, "too_many_connections");
            self.end(CloseReason::SessionPolicy);
            return false;
        }
        let auth = &ground.settings.auth;
        let may_subscribe = claims.topics.clone().unwrap_or_else(|| auth.default_topics.clone());
        if admitted.is_none() {
            if wrong_body {
                self.fail(message, 400, "bad_message");
                return false;
            }
            if let Err(code) = self.may_add(&may_subscribe, topics, ground.settings) {
                self.fail(message, 403, code);
                return false;
            }
            assert!(
                connected || !asks_policy(ground.settings),
                "logged in without asking the session policy"
            );
        }
        *ground.tally.auth.entry(AuthResult::Ok.label()).or_default() += 1;
        self.failures = 0;
        self.expires_at = claims.expires_at;
        self.may_send = claims.paths.unwrap_or_else(|| auth.default_paths.clone());
        self.may_subscribe = may_subscribe;
        if !connected {
            self.stage = Stage::Open;
            self.user = claims.user;
            self.device = device;
            self.since_ms = ground.now.unix_ms;
        }
        self.topics.extend(topics.iter().cloned());
        if self
            .token_end_ms(ground.settings)
            .is_some_and(|end_ms| end_ms <= ground.now.unix_ms)
        {
            // Only where it waited for the session policy for so long.
            self.end(CloseReason::TokenExpired);
            return false;
        }
        true
    }

    pub(super) fn may_add(
        &self,
        allowed: &[String],
        topics: &[String],
        settings: &Settings,
    ) -> Result<(), &'static str> {
        if !topics.iter().all(|topic| matches(allowed, topic)) {
            return Err("topic_forbidden");
        }
        let all: BTreeSet<&String> = self.topics.iter().chain(topics).collect();
        let is_more = all.len() > self.topics.len();
        if is_more && all.len() > settings.limits.topics_per_connection {
            return Err("too_many_topics");
        }
        Ok(())
    }
}

/// Whether a login must wait for the session policy.
fn asks_policy(settings: &Settings) -> bool {
    settings.sessions.per_user_max > 0 || settings.sessions.one_per_device
}

/// The claims of a token that is good now.
fn check(token: &Token, ground: &Ground<'_>) -> Result<Claims, (AuthResult, &'static str)> {
    let leeway_ms = ground.settings.auth.leeway_ms;
    match token {
        Token::Absent => Err((AuthResult::Missing, "token_missing")),
        Token::NotAString | Token::Garbage | Token::Forged(_) | Token::Costly => {
            Err((AuthResult::Invalid, "token_invalid"))
        }
        Token::Signed(claims) => {
            if claims.expires_at.is_none() && ground.settings.auth.require_exp {
                Err((AuthResult::Invalid, "token_invalid"))
            } else if claims
                .expires_at
                .is_some_and(|at| at * 1_000 + leeway_ms <= ground.now.unix_ms)
            {
                Err((AuthResult::Expired, "token_expired"))
            } else if claims.not_before * 1_000 > ground.now.unix_ms + leeway_ms {
                Err((AuthResult::NotYetValid, "token_not_yet_valid"))
            } else {
                Ok(claims.clone())
            }
        }
    }
}
