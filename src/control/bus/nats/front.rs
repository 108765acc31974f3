//! What the rest of control asks of this bus: the trait `Bus` over NATS. What is for this node's own connections goes
//! straight to the router, as NATS does not echo; what is for the others' is asked by `asks`, and the sum is the answer.
//! Owns nothing, and takes nothing in: that is `ingest`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::asks::{ANSWERS_WITHIN, closed, with_this_node};
use super::members::{self, Name};
use super::publisher::{Kind, Refused};
use super::wire::{self, Standing};
use super::{Nats, calls, join};
use crate::config::Settings;
use crate::control::bus::{Answer, Bus, Found, Member, Nodes, Push, Report, refuse};
use crate::control::history;
use crate::control::router::Unanswered;
use crate::control::unix_ms;
use crate::links::{Call, ConnectionId, Kicker, Notice};
use crate::protocol::message::ErrorCode;
use crate::protocol::{frame, subject};

/// An event that could not be sent for this long is history that nobody expects any more.
const EVENT_EXPIRES: Duration = Duration::from_secs(10);
/// With no beat on its way for this long, the others take this node for dead.
const MUTE_AFTER_MS: u64 = members::DEAD_AFTER_MS;
/// How long a goodbye may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

impl Bus for Nats {
    fn push<'a>(&'a self, pushes: &'a [Push]) -> Answer<'a, Vec<Report>> {
        Box::pin(async move {
            let core = &self.0;
            let frames: Vec<_> = pushes
                .iter()
                .map(|push| (push.audience.clone(), frame::encode_text(&push.text)))
                .collect();
            let deadline = Instant::now() + ANSWERS_WITHIN;
            let mut asked = Vec::with_capacity(pushes.len());
            if core.connected() {
                // Before anything is sent: nobody gets a part of a batch that cannot be sent whole.
                if pushes.iter().any(|push| core.room_beside(push).is_none()) {
                    return Err(Unanswered::TooLarge);
                }
                for push in pushes {
                    asked.push(core.ask_push(push, deadline).await);
                }
            }
            let known = core.members().count() as u64;
            let own = core.router.push(&frames).await?;
            let mut asked = asked.into_iter();
            let mut reports = Vec::with_capacity(pushes.len());
            for own in own {
                let mut report = Report {
                    matched: own.matched,
                    queued: own.queued,
                    dropped: own.dropped,
                    nodes: Nodes {
                        asked: 1 + known,
                        answered: 1,
                    },
                };
                if let Some(questions) = asked.next() {
                    report.add(questions, deadline).await;
                }
                reports.push(report);
            }
            Ok(reports)
        })
    }

    fn find_user<'a>(&'a self, user: &'a str) -> Answer<'a, (Vec<Found>, Nodes)> {
        Box::pin(async move {
            let core = &self.0;
            let question = core.ask_all("node.find", &wire::Find { user: user.into() })?;
            let deadline = Instant::now() + ANSWERS_WITHIN;
            let own = core.router.find_user(user).await?;
            let node = &core.own.node;
            let mut found: Vec<Found> = own
                .into_iter()
                .map(|info| Found {
                    node: node.clone(),
                    info,
                })
                .collect();
            let mut nodes = core.alone();
            if let Some(question) = question {
                let (answers, asked) = question.finish(deadline).await;
                nodes = with_this_node(asked, answers.nodes);
                for answer in answers.payloads {
                    if let Ok(wire::FindAnswer { node, connections, .. }) = serde_json::from_slice(&answer) {
                        found.extend(connections.into_iter().filter_map(|one| one.found_on(&node)));
                    }
                }
            }
            Ok((found, nodes))
        })
    }

    fn history<'a>(&'a self, question: &'a history::Question) -> Answer<'a, (history::Answer, Nodes)> {
        Box::pin(async move {
            let core = &self.0;
            let asked = core.ask_all("node.history", question)?;
            let deadline = Instant::now() + ANSWERS_WITHIN;
            let mut answer = core.history.recall(question);
            // Whoever is gone took along what it had recorded.
            let gone_ms = core.members().gone_ms();
            answer.know_nothing_before(gone_ms.map(|at_ms| unix_ms() - (core.own.now_ms() - at_ms)));
            let mut nodes = core.alone();
            if let Some(asked) = asked {
                let (answers, asked) = asked.finish(deadline).await;
                nodes = with_this_node(asked, answers.nodes);
                for part in answers.payloads {
                    if let Ok(part) = serde_json::from_slice::<wire::HistoryAnswer>(&part) {
                        answer.add(part.answer());
                    }
                }
            }
            Ok((answer, nodes))
        })
    }

    fn kick_user<'a>(&'a self, user: &'a str, code: u16, text: &'a str) -> Answer<'a, (u64, Nodes)> {
        Box::pin(async move {
            let core = &self.0;
            let kick = wire::Kick {
                code: Some(code.into()),
                reason: Some(text.into()),
                by: Some(Kicker::Api.label().into()),
            };
            let subject = format!("kick.user.{}", subject::encode(user));
            let question = core.ask_all(&subject, &kick)?;
            let deadline = Instant::now() + ANSWERS_WITHIN;
            let own = core.router.kick_user(user, code, &text.into(), Kicker::Api).await?;
            let Some(question) = question else {
                return Ok((own, core.alone()));
            };
            let (closed, nodes) = closed(question, deadline).await;
            Ok((own + closed, nodes))
        })
    }

    fn kick_connection<'a>(&'a self, connection: ConnectionId, code: u16, text: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let core = &self.0;
            if connection.epoch == core.own.epoch {
                return core.router.kick_connection(connection, code, &text.into()).await;
            }
            if !core.connected() {
                return Err(Unanswered::NoBus);
            }
            // Its node alone answers. A process that nobody has heard of has no connection either.
            let Some(holder) = core.members().name_of(connection.epoch).map(str::to_owned) else {
                return Ok(0);
            };
            let close = wire::Close {
                connection: connection.to_string(),
                code,
                text: text.into(),
            };
            let json = serde_json::to_vec(&close).map_err(|_| Unanswered::Overloaded)?;
            let question = core.ask(vec![holder], "node.close", None, json.into())?;
            let (closed, nodes) = closed(question, Instant::now() + ANSWERS_WITHIN).await;
            if nodes.answered < nodes.asked {
                return Err(Unanswered::Late);
            }
            Ok(closed)
        })
    }

    fn call(&self, call: Call) {
        let core = &self.0;
        let refused = |code, why| {
            if let Some(command) = refuse(&core.counters, &call, code, why) {
                core.router.owe(call.connection, command);
            }
        };
        if !core.connected() {
            return refused(ErrorCode::BusUnavailable, "NATS is out of reach of this node");
        }
        let headers = calls::headers(&call, &core.own.node);
        let overloaded = "too many messages for services are under way on this node";
        let times_out = Instant::now() + Duration::from_millis(core.call_timeout_ms.load(Ordering::Relaxed));
        let number = match call.id {
            None => None,
            Some(_) => match core.calls.open(&call, times_out) {
                Some(number) => Some(number),
                None => return refused(ErrorCode::Overloaded, overloaded),
            },
        };
        let subject = format!("{}call.{}", core.prefix, subject::path_to_subject(&call.path)).into();
        let reply = number.map(|number| format!("{}.c{number}", core.inbox).into());
        let (headers, body) = (Some(headers), call.body.clone());
        let sent = core.send(Kind::Bulk, subject, reply, headers, body, Some(times_out));
        if let (Err(_), Some(number)) = (sent, number) {
            core.calls.forget(number);
        }
        match sent {
            Ok(()) => {}
            Err(Refused::Full) => refused(ErrorCode::Overloaded, overloaded),
            Err(Refused::TooLarge) => refused(
                ErrorCode::BusUnavailable,
                "the message is over what the NATS server takes (its max_payload)",
            ),
        }
    }

    fn event(&self, notice: &Notice) {
        let core = &self.0;
        let (kind, connection, user, device, at_ms, end) = match notice {
            Notice::Connected {
                connection,
                user,
                device,
                at_unix_ms,
            } => ("connected", connection, user, device, *at_unix_ms, None),
            Notice::Disconnected {
                connection,
                user,
                device,
                at_unix_ms,
                reason,
                code,
            } => {
                let end = Some((reason.label(), *code));
                ("disconnected", connection, user, device, *at_unix_ms, end)
            }
            _ => return,
        };
        let event = wire::Event {
            user,
            connection: connection.to_string(),
            node: &core.own.node,
            device: device.as_deref(),
            at_ms,
            reason: end.map(|(reason, _)| reason),
            code: end.map(|(_, code)| code),
        };
        let subject = format!("event.{kind}.{}", subject::encode(event.user));
        if core.connected() {
            // One that is not taken is counted where it is refused.
            let expires = Some(Instant::now() + EVENT_EXPIRES);
            core.tell(Kind::Event, &subject, None, expires, &event);
        } else {
            core.counters.events_dropped.add(1);
        }
    }

    fn members(&self) -> Vec<Member> {
        let core = &self.0;
        let mut members = core.members().list();
        members.push(Member {
            name: core.own.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            since_ms: core.own.since_ms,
            connections: core.own.shared.places() as u64,
            logins_per_s: core.own.shared.logins_per_s(),
            logins_max_per_s: core.own.shared.logins_max_per_s(),
            draining: core.own.shared.draining(),
        });
        members.sort_by(|a, b| (&a.name, a.since_ms).cmp(&(&b.name, b.since_ms)));
        members
    }

    fn ready(&self) -> Result<(), String> {
        let core = &self.0;
        if !core.connected() {
            return Err(format!("NATS is out of reach: {}", core.link.trouble()));
        }
        if core.own.now_ms().saturating_sub(core.publisher.beat_taken_ms()) >= MUTE_AFTER_MS {
            return Err("NATS takes nothing from this node, or far too slowly".into());
        }
        if let Some(what) = core.link.refused() {
            return Err(format!("NATS refuses what this node needs: {what}"));
        }
        match core.members().name(core.own.now_ms()) {
            Name::Held => Ok(()),
            Name::Refused => Err(join::refused(&core.own.node)),
            Name::Unclaimed | Name::Claiming { .. } => Err("joining the cluster".into()),
        }
    }

    fn reload(&self, settings: &Settings) {
        self.0.reload(settings);
    }

    fn leave<'a>(&'a self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let core = &self.0;
            if !core.connected() {
                return;
            }
            let goodbye = core.own.beat(Standing::Gone, false);
            core.tell(Kind::Urgent, "node.beat", None, None, &goodbye);
            let said = timeout(LEAVE_WITHIN, async {
                core.publisher.handed_over().await;
                core.client.flush().await
            });
            if !matches!(said.await, Ok(Ok(()))) {
                tracing::warn!("NATS did not take this node's goodbye: the others will miss it for a few seconds");
            }
        })
    }
}
