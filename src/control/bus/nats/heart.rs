//! The bus's sense of time: beats, the claim of the name, who has fallen silent, calls that time out, and one line a
//! second at most about what was lost. One task; what it decides by is in `members` and `calls`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Core;
use super::join::{self, HELLO_EVERY_MS};
use super::members::Name;
use super::publisher::Kind;
use crate::metrics::Seldom;

/// How often everything is looked at. Time-outs of calls are late by this much at most.
const TICK: Duration = Duration::from_millis(50);
/// How often a sign of life is given.
const BEAT_EVERY_MS: u64 = 1_000;
/// How long a beat may wait to be sent.
const BEAT_EXPIRES: Duration = Duration::from_secs(2);
/// After a silence of this length the others may have given this node's name away.
const NAME_LOST_AFTER_MS: u64 = 5_000;
/// The longest message that nodes send each other: a batch of the session policy with the longest names.
const NODES_NEED_BYTES: usize = 512 * 1024;
/// How often losses are told.
const TELL_EVERY_MS: u64 = 1_000;
/// How often it is said that NATS is gone, when it comes and goes.
const SAY_GONE_EVERY_MS: u64 = 2_000;

/// How often the ports of servers that are out of reach are looked at.
const LOOK_AT_PORTS_EVERY: Duration = Duration::from_secs(2);

struct Heart {
    was_connected: bool,
    connects: u64,
    last_beat_ms: u64,
    /// When NATS last took one, as last seen.
    beat_taken_ms: u64,
    was_draining: bool,
    next_hello_ms: u64,
    next_told_ms: u64,
    told: [u64; 5],
    /// For a NATS that comes and goes.
    gone: Seldom,
}

/// Beats for ever.
pub async fn run(core: Arc<Core>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heart = Heart {
        was_connected: false,
        connects: 0,
        last_beat_ms: core.own.now_ms(),
        beat_taken_ms: core.own.now_ms(),
        was_draining: false,
        next_hello_ms: 0,
        next_told_ms: 0,
        told: [0; 5],
        gone: Seldom::new(SAY_GONE_EVERY_MS),
    };
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.link.changed.notified() => {}
        }
        heart.look(&core);
    }
}

/// While NATS is away: looks whether anybody listens at its servers' ports, so that `/readyz` has something to say.
pub async fn look_for_nats(core: Arc<Core>, urls: Vec<String>) {
    loop {
        if !core.connected() {
            core.link.look_at_ports(&urls).await;
        }
        sleep(LOOK_AT_PORTS_EVERY).await;
    }
}

impl Heart {
    fn look(&mut self, core: &Core) {
        let now_ms = core.own.now_ms();
        self.watch_link(core, now_ms);
        for (connection, command) in core.calls.timed_out(Instant::now(), &core.counters) {
            core.router.owe(connection, command);
        }
        core.places.tick();
        self.tell_losses(core, now_ms);
        if !self.was_connected {
            return;
        }
        // Silent: this process stood still, or NATS took none of its beats and now does again.
        let taken_ms = core.publisher.beat_taken_ms();
        let silent_ms = now_ms
            .saturating_sub(self.last_beat_ms)
            .max(taken_ms.saturating_sub(self.beat_taken_ms));
        self.beat_taken_ms = taken_ms;
        if silent_ms >= NAME_LOST_AFTER_MS {
            tracing::warn!(silent_ms, "this node was silent: asking for its name again");
            core.members().claim(now_ms);
            core.places.rejoin();
        }
        for epoch in core.members().expire(now_ms) {
            tracing::warn!(epoch = format!("{epoch:016x}"), "a node is not heard of any more");
            core.places.node_gone(epoch);
        }
        self.see_to_name(core, now_ms);
        let draining = core.own.shared.draining();
        if now_ms >= self.last_beat_ms + BEAT_EVERY_MS || draining != self.was_draining {
            self.was_draining = draining;
            self.beat(core, now_ms);
        }
    }

    fn beat(&mut self, core: &Core, now_ms: u64) {
        self.last_beat_ms = now_ms;
        let beat = core.own.beat(core.standing(), core.members().holds_name());
        // A beat of long ago says nothing true.
        let expires = Some(Instant::now() + BEAT_EXPIRES);
        core.tell(Kind::Beat, "node.beat", None, expires, &beat);
    }

    fn watch_link(&mut self, core: &Core, now_ms: u64) {
        let connects = core.client.statistics().connects.load(Ordering::Relaxed);
        let connected = core.connected();
        if self.was_connected && !connected {
            if let Some(not_logged) = self.gone.says(now_ms) {
                tracing::warn!(
                    not_logged,
                    "NATS is out of reach; connections stay, and it is looked for"
                );
            }
            core.places.alone();
        }
        if connected && connects != self.connects {
            // Whether or not anybody saw it go: a new connection is one on which messages may have been missed.
            let server = core.client.server_info();
            tracing::info!(
                server = server.server_name,
                version = server.version,
                "connected to NATS"
            );
            if server.max_payload < core.push_bytes_max.load(Ordering::Relaxed).max(NODES_NEED_BYTES) {
                tracing::warn!(
                    max_payload = server.max_payload,
                    "this NATS server takes less than limits.push_bytes or than the 512 KiB that nodes need among \
                     themselves: larger pushes by the API are refused, and the session policy may fail; raise its \
                     max_payload"
                );
            }
            core.members().all_seen(now_ms);
            let unclaimed = core.members().name(now_ms) == Name::Unclaimed;
            if unclaimed || now_ms.saturating_sub(self.last_beat_ms) >= NAME_LOST_AFTER_MS {
                core.members().claim(now_ms);
            }
            self.next_hello_ms = now_ms;
            self.see_to_name(core, now_ms);
            self.beat(core, now_ms);
            core.places.rejoin();
            self.connects = connects;
            self.beat_taken_ms = core.own.now_ms();
        }
        self.was_connected = connected;
        core.counters.bus_connected.set(connected.into());
    }

    fn see_to_name(&mut self, core: &Core, now_ms: u64) {
        let name = core.members().name(now_ms);
        let claiming = matches!(name, Name::Claiming { .. });
        // After a reconnect once, claiming or not: the answers say who is there.
        if self.next_hello_ms != 0 && now_ms >= self.next_hello_ms {
            self.next_hello_ms = if claiming { now_ms + HELLO_EVERY_MS } else { 0 };
            let reply = format!("{}.hello", core.inbox).into();
            let beat = core.own.beat(core.standing(), core.members().holds_name());
            core.tell(Kind::Urgent, "node.hello", Some(reply), None, &beat);
        } else if claiming && self.next_hello_ms == 0 {
            self.next_hello_ms = now_ms;
        }
        if name == Name::Refused && !core.name_refused.swap(true, Ordering::Relaxed) {
            tracing::error!("{}; draining, to leave", join::refused(&core.own.node));
            core.name_lost.notify_one();
        }
    }

    fn tell_losses(&mut self, core: &Core, now_ms: u64) {
        if now_ms < self.next_told_ms {
            return;
        }
        let losses = &core.losses;
        let totals = [
            &losses.not_utf8,
            &losses.too_large,
            &losses.bad_subject,
            &losses.no_room,
            &losses.unread,
        ]
        .map(|total| total.load(Ordering::Relaxed));
        if totals == self.told {
            return;
        }
        self.next_told_ms = now_ms + TELL_EVERY_MS;
        let [not_utf8, too_large, bad_subject, no_room, unread] =
            std::array::from_fn(|which| totals[which] - self.told[which]);
        self.told = totals;
        tracing::warn!(
            not_utf8,
            too_large,
            bad_subject,
            no_room,
            unread,
            "messages from NATS were dropped"
        );
    }
}
