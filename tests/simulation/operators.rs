//! What services and operators do of their own accord: pushes, look-ups, kicks, reloads, drains.

use std::sync::Arc;

use crate::control::{Order, To};
use crate::habits::TOPICS;
use crate::settings::{self, Flavour};
use crate::world::World;

impl World {
    /// Services push, operators look and kick, settings change.
    pub fn control_acts(&mut self) {
        self.control_answers();
        let orders = if self.chance(50) { self.random.u8(..4) } else { 0 };
        for _ in 0..orders {
            match self.random.u16(..1_000) {
                0..850 => self.order_push(),
                850..860 => {
                    let limit = self.random.usize(1..4);
                    self.order_all(&Order::FindSlowest { limit });
                }
                860..900 => {
                    let user = self.user();
                    self.order_all(&Order::Find { user });
                }
                900..940 => self.order_kick(),
                940..960 => self.order_reload(),
                960 if !self.is_crowd() => {
                    let window_ms = self.random.u64(..10_000);
                    self.order_drain(window_ms);
                }
                _ => {}
            }
        }
    }

    /// To every reactor, with a ticket each.
    fn order_all(&mut self, order: &Order) {
        for reactor in &mut self.reactors {
            let ticket = self.control.ticket();
            reactor.inbox.push_back((order.clone(), Some(ticket)));
        }
    }

    /// To every reactor that must get it, and some of the others.
    fn order_some(&mut self, order: &Order, must_get: impl Fn(&Self, usize) -> bool) {
        for r in 0..self.reactors.len() {
            if must_get(self, r) || self.chance(10) {
                let ticket = Some(self.control.ticket());
                self.reactors[r].inbox.push_back((order.clone(), ticket));
            }
        }
    }

    fn order_push(&mut self) {
        self.next_id += 1;
        let number = self.next_id;
        let to = match self.random.u8(..10) {
            0..5 => To::User(self.user()),
            5..8 => To::Topic(TOPICS[self.random.usize(..TOPICS.len())].to_owned()),
            _ => To::All,
        };
        let most = self.reactors[0].settings.limits.push_bytes.min(8_192) / 2;
        let pad = if self.chance(80) {
            self.random.usize(..100)
        } else {
            self.random.usize(..most)
        };
        let text = format!(
            "{{\"path\":\"p\",\"body\":{{\"n\":{number},\"pad\":\"{}\"}}}}",
            "y".repeat(pad)
        );
        let order = Order::Push {
            to: to.clone(),
            text: text.into(),
        };
        match to {
            // Control asks only those reactors that may hold the user, or a subscriber.
            To::User(user) => {
                let hash = self.node.hash_user(&user);
                self.order_some(&order, |world, r| world.node.filter(r).may_hold(hash));
            }
            To::Topic(topic) => {
                let hash = self.node.hash_topic(&topic);
                self.order_some(&order, |world, r| world.node.topic_filter(r).may_hold(hash));
            }
            To::All => self.order_all(&order),
        }
    }

    fn order_kick(&mut self) {
        let code = [4403, 1000, 3500][self.random.usize(..3)];
        let text = ["kicked", "", "du mußt gehen"][self.random.usize(..3)].to_owned();
        if self.random.bool() {
            let user = self.user();
            return self.order_all(&Order::KickUser { user, code, text });
        }
        if !self.clients.is_empty() {
            let newest = self.random.usize(..self.clients.len().min(40));
            let c = self.clients.len() - 1 - newest;
            let ticket = self.control.ticket();
            let r = self.clients[c].reactor;
            self.reactors[r]
                .inbox
                .push_back((Order::KickConnection { c, code, text }, Some(ticket)));
        }
    }

    fn order_reload(&mut self) {
        if self.flavour == Flavour::Crowd {
            return;
        }
        let mut settings = (*self.reactors[0].settings).clone();
        settings::vary(self.flavour, &mut settings, &mut self.random);
        self.ping_max_ms = self.ping_max_ms.max(settings.timeouts.ping_ms);
        self.pong_max_ms = self.pong_max_ms.max(settings.timeouts.pong_ms);
        self.pong_min_ms = self.pong_min_ms.min(settings.timeouts.pong_ms);
        let settings = Arc::new(settings);
        for reactor in &mut self.reactors {
            reactor.inbox.push_back((Order::Reload(Arc::clone(&settings)), None));
        }
    }
}
