//! After every call into a shard: what was delivered is applied to the models, and every connection that ended is
//! matched with a reason that it had, and with the counter that went up for it.

use longwire::links::ConnectionId;
use longwire::metrics::{AuthResult, CloseReason, RefusalReason};
use longwire::shard::Stage;

use crate::client::Ended;
use crate::expect::{Ending, Farewell};
use crate::messages::{Head, Message, Sent};
use crate::model;
use crate::world::World;

/// What the shard was called for: not everything can happen everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Receive,
    Command,
    Expire,
    Run,
    Notice,
}

/// The counters as they were when they were last looked at.
#[derive(Default)]
pub struct Seen {
    closed: [u64; CloseReason::ALL.len()],
    refused: [u64; RefusalReason::ALL.len()],
}

impl World {
    /// A call into the shard of `r` is over that could touch client `c`, or any if `None`.
    pub fn after(&mut self, r: usize, phase: Phase, c: Option<usize>) {
        let touched = match c {
            Some(c) => vec![c],
            None => self.reactors[r].open.clone(),
        };
        if !matches!(phase, Phase::Expire | Phase::Notice) {
            for &c in &touched {
                self.apply_delivered(r, c, phase);
            }
        }
        self.settle_endings(r, phase, &touched);
        if touched.iter().any(|&c| self.clients[c].unclear) {
            self.take_counts(r);
        }
        for &c in &touched {
            self.clients[c].queued = self.queued(r, c);
        }
    }

    fn is_live(&self, r: usize, c: usize) -> bool {
        !matches!(self.stage(r, c), Stage::Closing | Stage::Dead)
    }

    /// Applies to the model of `c` what was handled of what it said.
    fn apply_delivered(&mut self, r: usize, c: usize, phase: Phase) {
        while self.clients[c].model.predicted.is_none() && self.clients[c].model.stage != model::Stage::Ended {
            let Some(sent) = self.clients[c].delivered() else {
                return;
            };
            if matches!(sent, Sent::Message(_) | Sent::Bad | Sent::BadPath { .. }) {
                if !self.is_live(r, c) {
                    if !self.was_heard(r, c, phase) {
                        return;
                    }
                } else if sent.token().is_some() && self.is_held(r, c) {
                    // It was counted when it came, and is not counted again.
                    let passed = self.with_ground(c, |client, ground| client.model.count(ground));
                    assert!(passed, "client {c}: a message past the rate is held");
                    return self.note("held");
                }
            }
            if let Some(sent) = self.clients[c].take_delivered() {
                self.say(|| format!("client {c}: said {sent:?}"));
                self.with_ground(c, |client, ground| client.model.apply(&sent, ground));
            }
        }
    }

    /// Whether the message in front, of a connection that has just ended, was handled before that.
    fn was_heard(&mut self, r: usize, c: usize, phase: Phase) -> bool {
        let model = &self.clients[c].model;
        if !model.is_counted() {
            return self.counters.reactors[r].messages_received.get() > self.reactors[r].tally.messages;
        }
        // It was held. Only control's word goes on with one alone; in a run nobody can tell whose tokens were checked.
        if phase == Phase::Run {
            self.clients[c].unclear = true;
            self.note("unclear");
            return false;
        }
        model.claim.as_ref().is_some_and(|claim| claim.admitted.is_some())
    }

    /// Counts what could not be told: messages and token checks of a connection that ended in the run that took it up.
    fn take_counts(&mut self, r: usize) {
        let (counters, tally) = (&self.counters.reactors[r], &mut self.reactors[r].tally);
        tally.messages = counters.messages_received.get();
        for result in AuthResult::ALL {
            tally.auth.insert(result.label(), counters.auth[*result as usize].get());
        }
    }

    /// Whether the message in front, which has a token, is the one that the gateway holds: it holds one, and has not
    /// answered this.
    fn is_held(&self, r: usize, c: usize) -> bool {
        let client = &self.clients[c];
        let connection = self.reactors[r].shard.engine.get(client.key);
        if !connection.is_some_and(|connection| connection.holds_message()) {
            return false;
        }
        let Some(Sent::Message(Message { id: Some(id), .. })) = client.delivered() else {
            return true;
        };
        let begin = format!("{{\"id\":{id},");
        let is_answer = |frame: &Vec<u8>| frame.windows(begin.len()).any(|window| window == begin.as_bytes());
        !self.queued_frames(r, c).iter().any(is_answer)
    }

    /// What is queued for a client, the first frame as far as it is not written.
    pub fn queued_frames(&self, r: usize, c: usize) -> Vec<Vec<u8>> {
        let mut slices = vec![std::io::IoSlice::new(&[]); 4_096];
        let filled = self.reactors[r].shard.pending(self.clients[c].key, &mut slices);
        slices[..filled].iter().map(|slice| slice.to_vec()).collect()
    }

    /// The client that a connection's id names, gone or not.
    pub fn client_named(&self, id: ConnectionId) -> usize {
        assert_eq!(id.epoch, self.node.epoch());
        let key = longwire::shard::Key {
            index: id.index,
            generation: id.generation,
        };
        self.by_key[&(usize::from(id.reactor), key)]
    }

    pub fn connection_id(&self, c: usize) -> ConnectionId {
        let client = &self.clients[c];
        ConnectionId {
            epoch: self.node.epoch(),
            reactor: client.reactor as u16,
            index: client.key.index,
            generation: client.key.generation,
        }
    }

    fn settle_endings(&mut self, r: usize, phase: Phase, touched: &[usize]) {
        let counters = &self.counters.reactors[r];
        let seen = &mut self.reactors[r].seen;
        let mut news: Vec<Ending> = Vec::new();
        for (number, (counter, seen)) in counters.closed.iter().zip(&mut seen.closed).enumerate() {
            let more = counter.get() - std::mem::replace(seen, counter.get());
            news.extend((0..more).map(|_| Ending::Closed(number as u8)));
        }
        for (number, (counter, seen)) in counters.refused.iter().zip(&mut seen.refused).enumerate() {
            let more = counter.get() - std::mem::replace(seen, counter.get());
            news.extend((0..more).map(|_| Ending::Refused(number as u8)));
        }
        let mut ended: Vec<(usize, Vec<(Ending, Farewell)>)> = Vec::new();
        for &c in touched {
            let is_live = self.is_live(r, c);
            if self.clients[c].model.stage != model::Stage::Ended && !is_live {
                if phase == Phase::Receive {
                    self.apply_half_head(c);
                }
                ended.push((c, self.reasons(r, c, phase)));
            }
            let predicted = &self.clients[c].model.predicted;
            assert!(
                !is_live || predicted.is_none(),
                "client {c} lives and should not: {predicted:?}"
            );
        }
        for (c, mut reasons) in ended {
            let told = self.queued_close(r, c);
            if self.clients[c].unclear {
                let any = CloseReason::ALL
                    .iter()
                    .map(|&reason| (reason.into(), Farewell::of(reason)));
                reasons.extend(any);
                let code = told.as_ref().and_then(|(code, _)| *code);
                let echo = Farewell::Exact(code, String::new());
                reasons.push((CloseReason::Client.into(), echo));
            }
            reasons.retain(|(_, farewell)| farewell.is_told_by(told.as_ref()));
            let found = news.iter().enumerate().find_map(|(place, ending)| {
                reasons
                    .iter()
                    .find(|(reason, _)| reason == ending)
                    .map(|reason| (place, reason.clone()))
            });
            let Some((place, (ending, farewell))) = found else {
                panic!("client {c} ended in {phase:?} for {reasons:?}; counted was {news:?}");
            };
            news.swap_remove(place);
            self.end_client(r, c, ending, farewell);
        }
        assert!(news.is_empty(), "counted in {phase:?} for nobody: {news:?}");
    }

    /// A head may be refused before the last of its bytes.
    fn apply_half_head(&mut self, c: usize) {
        if self.clients[c].model.predicted.is_none()
            && let Some(head @ Sent::Head(Head::Wrong { .. })) = self.clients[c].half_delivered().cloned()
        {
            self.with_ground(c, |client, ground| client.model.apply(&head, ground));
        }
    }

    fn end_client(&mut self, r: usize, c: usize, ending: Ending, farewell: Farewell) {
        self.say(|| format!("client {c}: ended by {ending:?} ({:?}) {farewell:?}", ending.reason()));
        self.note(ending.label());
        let reactor = &mut self.reactors[r];
        *reactor.tally.endings.entry(ending).or_default() += 1;
        if let (Some(drain), Some(CloseReason::Drain)) = (&mut reactor.drain, ending.reason()) {
            drain.closed += 1;
        }
        let client = &mut self.clients[c];
        let model = &mut client.model;
        if let (true, Some(ip)) = (std::mem::take(&mut model.address_counted), model.client) {
            *self.addresses.get_mut(&ip).unwrap() -= 1;
        }
        if model.stage != model::Stage::Handshake {
            self.places -= 1;
        }
        model.stage = model::Stage::Ended;
        model.predicted = None;
        model.claim = None;
        client.ended = Some(Ended {
            ending,
            farewell,
            at_ms: self.now.ms(),
            at_unix_ms: self.now.unix_ms,
        });
        client.wire.readable &= !client.wire.is_reset();
    }

    /// The close frame that is queued last, if one is.
    fn queued_close(&self, r: usize, c: usize) -> Option<(Option<u16>, String)> {
        match &self.queued_frames(r, c).pop()?[..] {
            [0x88, 0] => Some((None, String::new())),
            [0x88, _, high, low, text @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                Some((Some(code), String::from_utf8(text.to_vec()).unwrap()))
            }
            _ => None,
        }
    }

    /// Every reason for which a connection may have ended just now.
    fn reasons(&self, r: usize, c: usize, phase: Phase) -> Vec<(Ending, Farewell)> {
        use CloseReason::*;
        let client = &self.clients[c];
        let (model, settings) = (&client.model, &self.reactors[r].settings);
        let now_ms = self.now.ms();
        let upgraded = model.stage != model::Stage::Handshake;
        let mut reasons = Vec::new();
        let mut may_be = |reason: CloseReason, is: bool| {
            if is {
                let farewell = if upgraded { Farewell::of(reason) } else { Farewell::None };
                reasons.push((reason.into(), farewell));
            }
        };
        match phase {
            Phase::Expire => {
                may_be(HandshakeTimeout, !upgraded && now_ms >= model.handshake_by_ms);
                may_be(
                    ConnectTimeout,
                    model.stage != model::Stage::Open && now_ms >= model.connect_by_ms,
                );
                let token_end_ms = model.token_end_ms(settings);
                may_be(
                    TokenExpired,
                    token_end_ms.is_some_and(|end_ms| end_ms <= self.now.unix_ms),
                );
                may_be(PingTimeout, upgraded && now_ms >= client.sign_ms + self.pong_min_ms);
            }
            Phase::Run => {
                may_be(Drain, self.reactors[r].drain.is_some());
                may_be(Overload, upgraded && self.is_overloaded(r));
            }
            Phase::Receive | Phase::Command | Phase::Notice => {}
        }
        // A reply takes no more than this; pushes and calls' replies are predicted to the byte.
        let replies = 4_096 * (model.expected.len() + 1);
        may_be(
            SlowConsumer,
            upgraded && client.queued + replies > settings.limits.outbound_bytes,
        );
        if model.predicted.is_none() && phase != Phase::Expire {
            // A violation may be seen before the last of its bytes.
            if let Some(Sent::Violation(reason)) = client.half_delivered() {
                may_be(*reason, upgraded);
            }
        }
        reasons.extend(model.predicted.clone());
        reasons
    }

    /// Whether more may be queued in the node than it may hold, as reactor `r` sees it before it gives anybody up. What
    /// was held was answered by then, which takes no more than this for each answer.
    fn is_overloaded(&self, r: usize) -> bool {
        let most = |c: &usize| self.clients[*c].queued + 1_024 * self.clients[*c].model.expected.len();
        let own: usize = self.reactors[r].open.iter().map(most).sum();
        let others = self.reactors.iter().enumerate().filter(|(other, _)| *other != r);
        let queued = own + others.map(|(_, reactor)| reactor.published_bytes).sum::<usize>();
        queued > self.reactors[r].settings.limits.outbound_total_bytes
    }
}
