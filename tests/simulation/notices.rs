//! What the reactors tell control, held against what the models say.

use longwire::links::{ConnectionId, ConnectionInfo, Happening, Notice, What};
use longwire::shard::Stage;

use crate::client::News;
use crate::control::{Order, Owed, Place};
use crate::expect::Call;
use crate::model::{self, Claim};
use crate::tokens::Token;
use crate::world::World;

impl World {
    /// Control takes a notice from the outbox.
    pub fn take_notice(&mut self, r: usize, notice: Notice) {
        self.say(|| format!("notice {notice:?}"));
        match notice {
            Notice::Pushed {
                ticket,
                matched,
                queued,
                dropped,
            } => {
                let Some(Owed::Pushed {
                    matched: m,
                    queued: q,
                    dropped: d,
                    paced,
                }) = self.control.owed.remove(&ticket)
                else {
                    panic!("nobody asked for {ticket}");
                };
                assert_eq!(matched, queued + dropped);
                if self.is_crowd() {
                    self.reactors[r].tally.matched += matched;
                    let gone = paced.iter().filter(|&&c| self.clients[c].ended.is_some()).count() as u64;
                    assert!(
                        matched <= m && matched + gone >= m,
                        "{matched} of {m} were matched, {gone} are gone"
                    );
                } else {
                    assert_eq!((matched, queued, dropped), (m, q, d), "push {ticket}");
                }
            }
            Notice::Kicked { ticket, closed } => {
                let Some(Owed::Kicked(owed)) = self.control.owed.remove(&ticket) else {
                    panic!("{ticket}")
                };
                assert_eq!(closed, owed);
            }
            Notice::Found { ticket, connections } => {
                let Some(Owed::Found(owed)) = self.control.owed.remove(&ticket) else {
                    panic!("{ticket}")
                };
                let sorted = |mut list: Vec<ConnectionInfo>| {
                    list.iter_mut().for_each(|info| info.topics.sort());
                    let mut list: Vec<String> = list.iter().map(|info| format!("{info:?}")).collect();
                    list.sort();
                    list
                };
                assert_eq!(sorted(connections), sorted(owed));
            }
            Notice::Slowest { ticket, connections } => {
                let Some(Owed::Slowest(owed)) = self.control.owed.remove(&ticket) else {
                    panic!("{ticket}")
                };
                let mut queued: Vec<usize> = connections.iter().map(|slow| slow.queued_bytes).collect();
                queued.sort_by_key(|&bytes| std::cmp::Reverse(bytes));
                assert_eq!(queued, owed);
                for slow in connections {
                    let client = &self.clients[self.client_named(slow.connection)];
                    let user = slow.user.as_deref();
                    assert!(user.is_none_or(|user| client.unclear || *user == *client.model.user));
                }
            }
            Notice::Call(call) => {
                let c = self.client_named(call.connection);
                let news = if self.tells_of_connections() {
                    News::Connected
                } else {
                    News::Nothing
                };
                assert_eq!(self.clients[c].news, news, "client {c} calls");
                let expected = self.clients[c].model.next_call(&seen(&call));
                let is_expected = expected.as_ref() == Some(&seen(&call));
                assert!(
                    is_expected || self.clients[c].unclear,
                    "client {c}: {call:?}, not {expected:?}"
                );
                if let Some(id) = call.id {
                    let body = ["{}", "[1,\"ä\"]", "null"][self.random.usize(..3)];
                    let text = format!(
                        "{{\"id\":{id},\"path\":\"{}\",\"status\":200,\"body\":{body}}}",
                        call.path
                    );
                    self.later(r, Order::Reply { c, text });
                }
            }
            Notice::Claim {
                connection,
                user,
                device,
            } => self.take_claim(r, connection, &user, device.as_deref()),
            Notice::Release { connection, user } => {
                let c = self.client_named(connection);
                assert!(
                    self.clients[c].ended.is_some(),
                    "client {c} is here and gave its place back"
                );
                assert!(user.starts_with('u'));
                let before = self.control.places.insert(connection, Place::Released);
                assert_eq!(before, Some(Place::Claimed), "client {c}");
            }
            Notice::Connected {
                connection,
                user,
                device,
                at_unix_ms,
            } => {
                assert!(self.tells_of_connections());
                let c = self.client_named(connection);
                let client = &mut self.clients[c];
                let before = std::mem::replace(&mut client.news, News::Connected);
                assert_eq!(before, News::Nothing, "client {c} connects twice");
                let model = &client.model;
                let agrees = *user == *model.user && device.as_deref() == model.device.as_deref();
                assert!(
                    client.unclear || agrees && at_unix_ms == model.since_ms,
                    "client {c}: {user:?} {device:?} {at_unix_ms}"
                );
            }
            Notice::Disconnected {
                connection,
                user,
                device,
                at_unix_ms,
                reason,
                code,
            } => {
                let c = self.client_named(connection);
                let client = &mut self.clients[c];
                let before = std::mem::replace(&mut client.news, News::Disconnected);
                assert_eq!(before, News::Connected, "client {c} is gone");
                let model = &client.model;
                let agrees = *user == *model.user && device.as_deref() == model.device.as_deref();
                assert!(client.unclear || agrees, "client {c}: {user:?} {device:?}");
                let ended = client.ended.as_ref().expect("it is here");
                assert_eq!(
                    (Some(reason), code, at_unix_ms),
                    (ended.ending.reason(), ended.farewell.code(), ended.at_unix_ms),
                    "client {c}"
                );
                self.note("event");
            }
            Notice::History(happenings) => {
                assert!(!happenings.is_empty());
                happenings.iter().for_each(|happening| self.recorded(happening));
                self.note("history");
            }
            Notice::Drained => {
                self.note("drained");
                let reactor = &mut self.reactors[r];
                let drain = reactor.drain.as_mut().unwrap();
                let clients = &self.clients;
                let left = reactor
                    .open
                    .iter()
                    .find(|&&c| clients[c].model.stage != model::Stage::Handshake && clients[c].ended.is_none());
                assert_eq!(left, None, "not drained");
                assert!(!std::mem::replace(&mut drain.told, true), "drained twice");
            }
        }
    }

    /// The flight recorder is told something.
    fn recorded(&mut self, happening: &Happening) {
        let c = self.client_named(happening.connection);
        let client = &self.clients[c];
        let agrees = *happening.user == *client.model.user || client.unclear;
        match happening.what {
            What::Connected { .. } | What::Renewed { .. } => assert!(agrees, "client {c}: {happening:?}"),
            // Of a user that never logged in here, or of the one who is here.
            What::Refused { .. } => assert!(happening.user.starts_with('u'), "client {c}: {happening:?}"),
            What::Closed { reason, code, by, .. } => {
                assert!(agrees, "client {c}: {happening:?}");
                let ended = client.ended.as_ref().expect("it is here");
                assert_eq!(
                    (Some(reason), code, happening.at_unix_ms),
                    (ended.ending.reason(), ended.farewell.code(), ended.at_unix_ms),
                    "client {c}"
                );
                assert_eq!(
                    by.is_some(),
                    reason == longwire::metrics::CloseReason::Kicked,
                    "client {c}"
                );
            }
        }
    }

    /// Whether control wants to hear of who comes and goes.
    pub fn tells_of_connections(&self) -> bool {
        !self.reactors[0].settings.nats.url.is_empty()
    }

    fn take_claim(&mut self, r: usize, connection: ConnectionId, user: &str, device: Option<&str>) {
        let c = self.client_named(connection);
        let before = self.control.places.insert(connection, Place::Claimed);
        assert_eq!(before, None, "client {c} claims twice");
        if self.clients[c].ended.is_none() {
            let sent = self.clients[c].delivered().cloned();
            let Some(Token::Signed(claims)) = sent.as_ref().and_then(|sent| sent.token()) else {
                panic!("client {c} claims a place for {sent:?}");
            };
            assert_eq!(claims.user, user);
            let device = device.map(str::to_owned);
            self.clients[c].model.claim = Some(Claim {
                claims: claims.clone(),
                device,
                admitted: None,
            });
        }
        let admitted = self.chance(80);
        self.later(r, Order::Admit { c, admitted });
        if admitted && self.chance(10) {
            self.later(r, Order::Replace { c });
        }
    }

    /// The outbox had no room for a call, so that it and those behind it were refused: with a reply where they have an id,
    /// and without a word where not, or where the client is gone.
    pub fn calls_refused(&mut self, r: usize) {
        for c in 0..self.clients.len() {
            if self.clients[c].reactor != r || self.clients[c].model.calls.is_empty() {
                continue;
            }
            let is_live = matches!(self.stage(r, c), Stage::Unauthenticated | Stage::Open);
            let frames = self.queued_frames(r, c);
            let model = &mut self.clients[c].model;
            let is_told = |call: &Call| {
                let id = call.id.as_deref().unwrap_or("none");
                let reply = format!("{{\"id\":{id},\"path\":\"{}\",\"status\":503,", call.path);
                frames
                    .iter()
                    .any(|frame| frame.windows(reply.len()).any(|window| window == reply.as_bytes()))
            };
            let told = model.calls.iter().rposition(is_told).map_or(0, |last| last + 1);
            for call in model.calls.drain(..told).collect::<Vec<_>>() {
                if call.id.is_some() {
                    model.error(call.id.as_deref(), Some(&call.path), 503, "overloaded");
                }
            }
            let silent = model.calls.iter().take_while(|call| call.id.is_none() || !is_live);
            model.doubtful_calls = silent.count();
        }
    }
}

fn seen(call: &longwire::links::Call) -> Call {
    Call {
        id: call.id.as_deref().map(str::to_owned),
        path: call.path.as_ref().to_owned(),
        body: String::from_utf8(call.body.to_vec()).unwrap(),
        user: call.user.as_ref().to_owned(),
        device: call.device.as_deref().map(str::to_owned),
    }
}
