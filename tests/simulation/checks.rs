//! What must hold between turns, and when everything is over.

use std::collections::BTreeSet;

use longwire::metrics::{AuthResult, CloseReason, RefusalReason};
use longwire::shard::Stage;

use crate::client::News;
use crate::habits::TOPICS;
use crate::model;
use crate::settings::Flavour;
use crate::world::World;

impl World {
    /// After a turn of reactor `r`. `all_fired`: no deadline of before its flush is left over.
    pub fn check_turn(&mut self, r: usize, all_fired: bool) {
        let clients: Vec<usize> = self.reactors[r].open.clone();
        for &c in &clients {
            self.check_client(r, c, all_fired);
        }
        self.check_gauges(r, &clients);
        let idle = self.is_idle(r);
        for &c in &clients {
            let client = &self.clients[c];
            let wants_read = self.reactors[r].shard.wants_read(client.key);
            let stalled = idle && wants_read && client.wire.readable && client.wire.has_unread();
            assert!(!stalled, "client {c} is not read, and nobody will come back to it");
            let unsent = idle && client.queued > 0 && client.wire.writable;
            assert!(!unsent, "client {c} is not written to, and nobody will come back to it");
        }
        self.check_drain(r);
    }

    fn check_client(&mut self, r: usize, c: usize, all_fired: bool) {
        let stage = self.stage(r, c);
        let queued = self.queued(r, c);
        let settings = &self.reactors[r].settings;
        let now_ms = self.now.ms();
        let client = &mut self.clients[c];
        let model = &client.model;
        let agrees = match model.stage {
            model::Stage::Handshake => stage == Stage::Handshake,
            model::Stage::Unauthenticated => stage == Stage::Unauthenticated,
            model::Stage::Open => stage == Stage::Open,
            model::Stage::Ended => matches!(stage, Stage::Closing | Stage::Dead),
        };
        assert!(agrees, "client {c} is {stage:?}, should be {:?}", model.stage);
        client.queued = queued;
        let over = model.is_open()
            && model
                .token_end_ms(settings)
                .is_some_and(|end_ms| end_ms <= self.now.unix_ms);
        if !over {
            client.expired_since_ms = None;
        } else {
            client.expired_since_ms.get_or_insert(now_ms);
        }
        if !all_fired {
            return;
        }
        let model = &client.model;
        match model.stage {
            model::Stage::Handshake => assert!(now_ms < model.handshake_by_ms.min(model.connect_by_ms)),
            model::Stage::Unauthenticated => assert!(now_ms < model.connect_by_ms, "client {c} has no connect"),
            model::Stage::Open => {
                // Without a jump of the wall clock it is on time; with one, the next ping finds it.
                let late_ms = client.expired_since_ms.map_or(0, |since_ms| now_ms - since_ms);
                assert!(
                    late_ms <= self.ping_max_ms,
                    "client {c} lives {late_ms} ms after its token"
                );
            }
            model::Stage::Ended => {
                let ended = client.ended.as_ref().unwrap();
                assert!(
                    stage == Stage::Dead || now_ms < ended.at_ms + 2_000,
                    "client {c} is closing for ever"
                );
                if queued == 0 && stage == Stage::Closing {
                    // It was told. Whoever closed has nothing more to say, and whoever cannot be understood is to hang up.
                    assert!(ended.ending != CloseReason::Client.into(), "client {c} is waited for");
                    assert!(
                        !ended.makes_deaf() || client.wire.server_ended,
                        "client {c} is not half closed"
                    );
                }
            }
        }
        if matches!(stage, Stage::Unauthenticated | Stage::Open) {
            // Two waits, each seen at most one clipped step late.
            let most_ms = self.ping_max_ms + self.pong_max_ms + 2 * self.ping_max_ms.max(self.pong_max_ms) + 2_000;
            assert!(
                client.quiet_ms <= most_ms,
                "client {c} gave no sign of life for {} ms",
                client.quiet_ms
            );
        }
    }

    fn check_gauges(&self, r: usize, clients: &[usize]) {
        let counters = &self.counters.reactors[r];
        let at = |stage| clients.iter().filter(|&&c| self.stage(r, c) == stage).count() as u64;
        assert_eq!(counters.connections_handshake.get(), at(Stage::Handshake));
        assert_eq!(counters.connections_unauthenticated.get(), at(Stage::Unauthenticated));
        assert_eq!(counters.connections_open.get(), at(Stage::Open));
        assert_eq!(counters.connections_closing.get(), at(Stage::Closing));
        let engine = &self.reactors[r].shard.engine;
        assert_eq!(engine.len(), clients.len());
        let queued: usize = clients.iter().map(|&c| self.clients[c].queued).sum();
        assert_eq!(engine.outbound_bytes(), queued);
        let tally = &self.reactors[r].tally;
        assert_eq!(counters.accepted.get(), tally.accepted);
        assert_eq!(counters.bytes_in.get(), tally.bytes_in);
        assert_eq!(counters.bytes_out.get(), tally.bytes_out);
        assert_eq!(counters.messages_received.get(), tally.messages);
        let open = self.clients.iter().filter(|client| client.model.is_open());
        let users: BTreeSet<&str> = open.clone().map(|client| client.model.user.as_str()).collect();
        assert_eq!(self.node.users(), users.len());
        let users: BTreeSet<&str> = open
            .filter(|client| client.reactor == r)
            .map(|client| client.model.user.as_str())
            .collect();
        for user in users {
            assert!(
                self.node.filter(r).may_hold(self.node.hash_user(user)),
                "{user} is here and the filter denies it"
            );
        }
        let open = clients.iter().map(|&c| &self.clients[c].model);
        let topics: BTreeSet<&String> = open
            .filter(|model| model.is_open())
            .flat_map(|model| &model.topics)
            .collect();
        for topic in topics {
            assert!(
                self.node.topic_filter(r).may_hold(self.node.hash_topic(topic)),
                "{topic} has a subscriber here and the filter denies it"
            );
        }
    }

    /// After `Gateway::run`: whoever has too much queued was given up.
    pub fn check_outbound(&self, r: usize) {
        if self.flavour != Flavour::Crowd {
            let limit = self.reactors[r].settings.limits.outbound_total_bytes;
            let engine = &self.reactors[r].shard.engine;
            let live = self.reactors[r]
                .open
                .iter()
                .any(|&c| self.clients[c].model.is_live() && self.queued(r, c) > 0);
            let fits = engine.outbound_bytes() <= limit / self.reactors.len() || self.node.outbound_total() <= limit;
            assert!(fits || !live, "{} bytes are queued", engine.outbound_bytes());
        }
    }

    fn check_drain(&self, r: usize) {
        let Some(drain) = &self.reactors[r].drain else { return };
        let elapsed_ms = self.now.ms() - drain.started_ms;
        if elapsed_ms < drain.window_ms {
            // The first goes at once.
            let due = drain.total * elapsed_ms / drain.window_ms + 1;
            assert!(
                drain.closed <= due,
                "{} of {} are closed after {elapsed_ms} ms",
                drain.closed,
                drain.total
            );
        } else if drain.turns_over > 2 + drain.total as u32 / 256 {
            let mut left = self.reactors[r].open.iter().filter(|&&c| c < drain.newcomers);
            // Whoever has not asked yet holds nothing up.
            let left = left
                .find(|&&c| self.clients[c].model.stage != model::Stage::Handshake && self.clients[c].ended.is_none());
            assert_eq!(left, None, "the drain forgot somebody");
        }
    }

    /// Everybody is gone.
    pub fn check_end(&mut self) {
        let tells = self.tells_of_connections();
        for c in 0..self.clients.len() {
            let client = &mut self.clients[c];
            let random = &mut self.random;
            while client.wire.unread_by_client() > 0 {
                client.listen(random, 1 << 20);
            }
            let model = &client.model;
            assert!(
                model.calls.len() <= model.doubtful_calls,
                "client {c}: nobody heard of {:?}",
                model.calls
            );
            let was_open = !model.user.is_empty();
            let told = match client.news {
                News::Nothing => client.unclear || !was_open || !tells,
                News::Connected => false,
                News::Disconnected => client.unclear || was_open,
            };
            assert!(told, "client {c}: control was told {:?}", client.news);
            if !client.cut_off {
                client.check_goodbye();
            }
        }
        assert_eq!(self.node.connections(), 0);
        assert_eq!(self.node.places(), 0);
        assert_eq!(self.node.users(), 0);
        assert_eq!(self.places, 0);
        for r in 0..self.reactors.len() {
            self.check_reactor_end(r);
        }
        for ip in self.addresses.keys() {
            assert!(self.node.address_acquire(*ip, 1), "{ip} is still counted");
        }
        self.check_retries();
        self.control.check_end();
    }

    fn check_reactor_end(&mut self, r: usize) {
        let reactor = &mut self.reactors[r];
        assert_eq!(reactor.shard.engine.leftovers(), Default::default());
        assert_eq!(reactor.shard.application.leftovers(), [0; 6]);
        assert_eq!(reactor.shard.next_due_ms(), None);
        let told = reactor.drain.as_ref().is_none_or(|drain| drain.told);
        assert!(told, "never told that it is drained");
        assert!(reactor.shard.next_notice().is_none());
        let counters = &self.counters.reactors[r];
        let tally = &reactor.tally;
        let ended = |ending| tally.endings.get(&ending).copied().unwrap_or(0);
        for reason in CloseReason::ALL {
            assert_eq!(
                counters.closed[*reason as usize].get(),
                ended((*reason).into()),
                "{reason:?}"
            );
        }
        for reason in RefusalReason::ALL {
            assert_eq!(
                counters.refused[*reason as usize].get(),
                ended((*reason).into()),
                "{reason:?}"
            );
        }
        assert_eq!(tally.accepted, tally.endings.values().sum::<u64>());
        for result in AuthResult::ALL {
            let tallied = tally.auth.get(result.label()).copied().unwrap_or(0);
            assert_eq!(counters.auth[*result as usize].get(), tallied, "{result:?}");
        }
        let delivered = counters.deliveries_written.get() + counters.deliveries_dropped.get();
        assert_eq!(delivered, tally.matched, "deliveries");
        for user in self.control.users() {
            assert!(
                !self.node.filter(r).may_hold(self.node.hash_user(&user)),
                "the filter still holds {user}"
            );
        }
        for topic in TOPICS {
            assert!(
                !self.node.topic_filter(r).may_hold(self.node.hash_topic(topic)),
                "the filter still holds {topic}"
            );
        }
    }

    /// Everyone who was sent away by a drain was told a moment of its own.
    fn check_retries(&self) {
        let mut told = BTreeSet::new();
        for (c, client) in self.clients.iter().enumerate() {
            let drained = client
                .ended
                .as_ref()
                .is_some_and(|ended| ended.ending.reason() == Some(CloseReason::Drain));
            if let (true, Some(retry_ms)) = (drained, client.retry_ms) {
                assert!(told.insert(retry_ms), "client {c} is told {retry_ms} ms like another");
            }
        }
    }
}
