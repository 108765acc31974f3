//! The rule of the session policy: which places of one user stay. A pure function of the set of places, so that nodes
//! which know the same places decide alike, in whatever order they came to know them.
//!
//! - `one_per_device`: places of one named device share a seat, and only the newest of them stays.
//! - `reject`: the `per_user_max` seats that are taken the longest stay. A device that comes back sits down on its own
//!   seat: its new connection inherits `since_us` of the earlier one. Without that no rule over sets could do both: say
//!   two places, phone 1, tablet 2, watch 3 (refused), then phone 4. It must get in, for the phone has a seat; but where
//!   only tablet, watch and phone 4 are known it must not. With the inheritance the set tells all that happened.
//! - `replace_oldest`: the newest of each device, and of these the `per_user_max` newest.
//!
//! What goes is of no consequence for what stays: the rule gives the same with and without the losers. `replace_oldest`
//! and `reject` without devices are even indifferent to when losers are taken out (choice by one fixed order), `reject`
//! with devices is where places become known in the order of `at_us`, which the asking before a decision provides. There
//! logins that cross within one round trip may end with another of them admitted, never with more or fewer.

use std::collections::HashMap;

use crate::config::{Sessions as Policy, WhenFull};
use crate::links::ConnectionId;

/// How far a place has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Another node's.
    Remote,
    /// A claim of this node that waits for the others.
    Pending {
        /// The batch that asks about it; 0: none yet.
        batch: u64,
    },
    /// A claim of this node that is decided by the next judgement.
    Due,
    /// Logged in to this node.
    Admitted {
        /// `limit` when it was: one that is lowered afterwards refuses newcomers and closes nobody.
        limit: u32,
    },
}

/// A place, without the user's name.
#[derive(Debug)]
pub(super) struct Seat {
    pub connection: ConnectionId,
    pub device: Option<Box<str>>,
    pub at_us: u64,
    pub since_us: u64,
    pub state: State,
    /// Whether other nodes may know of it. Own places only.
    pub told: bool,
}

impl Seat {
    pub(super) fn is_own(&self) -> bool {
        self.state != State::Remote
    }

    /// The total order of places: by time, then by name.
    pub(super) fn order(&self) -> (u64, u64, u16, u32, u32) {
        let id = self.connection;
        (self.at_us, id.epoch, id.reactor, id.index, id.generation)
    }
}

/// Whether a place counts at all; where not, no node need hear of it.
pub(super) fn counts(policy: &Policy, device: Option<&str>) -> bool {
    policy.per_user_max > 0 || (policy.one_per_device && device.is_some())
}

/// Seats a user may have; `u32::MAX` is no limit.
pub(super) fn limit(policy: &Policy) -> u32 {
    match policy.per_user_max {
        0 => u32::MAX,
        max => u32::try_from(max).unwrap_or(u32::MAX),
    }
}

/// Which of a user's places share a seat: each seat's by index, newest first; the seats by their newest, newest first.
fn seats_of_user(policy: &Policy, places: &[Seat]) -> Vec<Vec<usize>> {
    let mut newest_first: Vec<usize> = (0..places.len()).collect();
    newest_first.sort_unstable_by_key(|&index| std::cmp::Reverse(places[index].order()));
    let mut by_device: HashMap<&str, usize> = HashMap::new();
    let mut seats: Vec<Vec<usize>> = Vec::new();
    for index in newest_first {
        let device = places[index].device.as_deref().filter(|_| policy.one_per_device);
        let seat = device.map_or(seats.len(), |device| *by_device.entry(device).or_insert(seats.len()));
        match seats.get_mut(seat) {
            Some(sharing) => sharing.push(index),
            None => seats.push(vec![index]),
        }
    }
    seats
}

/// Whether a connection takes over the age of its seat, and has to tell the others so.
pub(super) fn seats_age(policy: &Policy) -> bool {
    policy.one_per_device && policy.per_user_max > 0 && policy.when_full == WhenFull::Reject
}

/// Places of this node that share their seat with a newer one of another node.
pub(super) fn bequeathing(policy: &Policy, places: &[Seat]) -> Vec<ConnectionId> {
    if !seats_age(policy) || places.len() < 2 {
        return Vec::new();
    }
    let mut bequeathing = Vec::new();
    for seat in seats_of_user(policy, places) {
        if !places[seat[0]].is_own() {
            let own = seat.iter().map(|&index| &places[index]).filter(|place| place.is_own());
            bequeathing.extend(own.map(|place| place.connection));
        }
    }
    bequeathing
}

/// Decides which places stay: one entry a place. The newest on each seat inherits the seat's age; the second list names
/// the places of this node whose age changed.
pub(super) fn judge(policy: &Policy, places: &mut [Seat]) -> (Vec<bool>, Vec<usize>) {
    let mut stays = vec![false; places.len()];
    let mut aged = Vec::new();
    if places.len() == 1 {
        // By far the most: alone, and the smallest limit is one.
        stays[0] = true;
        return (stays, aged);
    }
    let mut seats = seats_of_user(policy, places);
    let reject = policy.when_full == WhenFull::Reject;
    if reject {
        let since_us = |seat: &[usize], places: &[Seat]| seat.iter().map(|&index| places[index].since_us).min();
        seats.sort_by_key(|seat| (since_us(seat, places), places[seat[0]].order()));
        // Only a place's own node says how old its seat is, so that all nodes think alike of it.
        for seat in seats.iter().filter(|_| seats_age(policy)) {
            let (newest, since_us) = (seat[0], since_us(seat, places));
            if let Some(since_us) = since_us.filter(|&since_us| since_us < places[newest].since_us)
                && places[newest].is_own()
            {
                places[newest].since_us = since_us;
                aged.push(newest);
            }
        }
    }
    let limit = limit(policy);
    for (rank, seat) in seats.iter().enumerate() {
        let fits = |index: &&usize| {
            let limit = match places[**index].state {
                State::Admitted { limit: then } if reject => then.max(limit),
                _ => limit,
            };
            rank < limit as usize
        };
        // The newest, unless it is refused: then whoever had the seat before keeps it.
        if let Some(&index) = seat.iter().find(fits) {
            stays[index] = true;
        }
    }
    (stays, aged)
}
