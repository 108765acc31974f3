//! The steps that `Registry`'s calls are made of: what becomes of one user's places, of one node's, of one batch.

use super::super::rule::{self, Seat, State};
use super::super::{Place, Released, Verdict};
use super::{AT_US_END, Left, Registry, Untold, User};
use crate::config::Sessions as Policy;

/// A place as the others are told of it.
pub(super) fn place(seat: &Seat, user: &str) -> Place {
    Place {
        connection: seat.connection,
        user: user.into(),
        device: seat.device.clone(),
        at_us: seat.at_us,
        since_us: seat.since_us,
    }
}

/// Whether a node may say this: a place of its own, of a time that a clock can show.
pub(super) fn believable(from: u64, place: &Place) -> bool {
    place.connection.epoch == from && place.since_us <= place.at_us && place.at_us < AT_US_END
}

impl User {
    /// Another node's place.
    pub(super) fn learn(&mut self, place: Place) {
        let known = self.seats.iter_mut().find(|seat| seat.connection == place.connection);
        match known {
            // Told of in two ways that may overtake each other; an age is only ever inherited, so the greater is newer.
            Some(seat) => seat.since_us = seat.since_us.min(place.since_us),
            None => {
                self.remote += 1;
                self.seats.push(Seat {
                    connection: place.connection,
                    device: place.device,
                    at_us: place.at_us,
                    since_us: place.since_us,
                    state: State::Remote,
                    told: false,
                });
            }
        }
    }

    /// What another node's place that is gone leaves to the newest of its device: the age of their seat. Says which place
    /// of this node is older by it.
    pub(super) fn inherit(&mut self, gone: &Place) -> Option<&Seat> {
        let sharing = self
            .seats
            .iter_mut()
            .filter(|seat| seat.device == gone.device && gone.device.is_some());
        let newest = sharing.max_by_key(|seat| seat.order())?;
        if !newest.is_own() || newest.at_us <= gone.at_us || newest.since_us <= gone.since_us {
            return None;
        }
        newest.since_us = gone.since_us;
        Some(newest)
    }

    fn drop_remote(&mut self, goes: impl Fn(&Seat) -> bool) {
        if self.remote > 0 {
            self.seats.retain(|seat| seat.is_own() || !goes(seat));
            let remote = self.seats.iter().filter(|seat| !seat.is_own()).count();
            self.remote = u32::try_from(remote).unwrap_or(u32::MAX);
        }
    }
}

impl Registry {
    /// Applies the rule to a user's places: this node's losers go, its due claims are decided.
    pub(super) fn settle(&mut self, policy: &Policy, user: &str) {
        let Some(entry) = self.users.get_mut(user) else { return };
        let (stays, aged) = rule::judge(policy, &mut entry.seats);
        for seat in aged.into_iter().filter_map(|at| entry.seats.get(at)) {
            if seat.told {
                self.untold.push_back(Untold {
                    connection: seat.connection,
                    user: user.into(),
                    deadline_us: 0,
                });
            }
        }
        let bequeaths = rule::bequeathing(policy, &entry.seats);
        let limit = rule::limit(policy);
        // Where seats have an age, who goes may hang on a place that is not known yet: that of whom a seat is taken over.
        let later = entry.asking > 0 && rule::seats_age(policy);
        let mut decided = Vec::new();
        let mut left = Vec::new();
        let mut at = 0;
        entry.seats.retain_mut(|seat| {
            let stays = stays.get(at).copied().unwrap_or(true);
            at += 1;
            let goes = match (seat.state, stays) {
                (State::Due, true) => {
                    seat.state = State::Admitted { limit };
                    decided.push(Verdict::Admit(seat.connection));
                    false
                }
                (State::Due, false) => {
                    decided.push(Verdict::Refuse(seat.connection));
                    true
                }
                (State::Admitted { .. }, false) if !later => {
                    self.verdicts.push_back(Verdict::Replace(seat.connection));
                    true
                }
                _ => false,
            };
            if goes && seat.told {
                left.push(Left {
                    released: Released {
                        connection: seat.connection,
                        user: user.into(),
                    },
                    // Whoever took its seat over, wherever, may have heard of it too late to know the seat's age.
                    bequeathed: bequeaths.contains(&seat.connection).then(|| place(seat, user)),
                });
            }
            !goes
        });
        self.verdicts.extend(decided);
        self.released.extend(left);
        self.drop_if_empty(user);
    }

    /// A place of this node is gone: those who know of it must hear.
    pub(super) fn seat_left(&mut self, seat: &Seat, user: &str) {
        if seat.told {
            self.released.push_back(Left {
                released: Released {
                    connection: seat.connection,
                    user: user.into(),
                },
                bequeathed: None,
            });
        }
    }

    /// Others' places are of interest only beside one's own.
    pub(super) fn drop_if_empty(&mut self, user: &str) {
        if self
            .users
            .get(user)
            .is_some_and(|entry| !entry.seats.iter().any(Seat::is_own))
        {
            self.users.remove(user);
        }
    }

    pub(super) fn drop_remote(&mut self, user: &str, goes: impl Fn(&Seat) -> bool) {
        if let Some(entry) = self.users.get_mut(user) {
            entry.drop_remote(goes);
        }
    }

    /// Drops all places of a node.
    pub(super) fn forget(&mut self, epoch: u64) {
        for entry in self.users.values_mut() {
            entry.drop_remote(|seat| seat.connection.epoch == epoch);
        }
    }

    /// Drops the places of all other nodes.
    pub(super) fn forget_all(&mut self) {
        for entry in self.users.values_mut() {
            entry.drop_remote(|_| true);
        }
    }

    /// A user's claims that a batch asked about are decided by the next judgement; 0: those not asked about yet.
    pub(super) fn make_due(&mut self, user: &str, batch: u64) {
        for seat in self.users.get_mut(user).into_iter().flat_map(|entry| &mut entry.seats) {
            if seat.state == (State::Pending { batch }) {
                seat.state = State::Due;
            }
        }
    }

    /// Decides all claims that a batch asked about.
    pub(super) fn decide_batch(&mut self, policy: &Policy, id: u64) {
        let Some(waiting) = self.waiting.get_mut(&id) else {
            return;
        };
        let first = !std::mem::replace(&mut waiting.decided, true);
        let users = std::mem::take(&mut waiting.users);
        for user in users.iter().filter(|_| first) {
            if let Some(entry) = self.users.get_mut(user) {
                entry.asking = entry.asking.saturating_sub(1);
            }
        }
        for user in users.iter().filter(|_| first) {
            self.make_due(user, id);
            self.settle(policy, user);
        }
        // Late answers are about them.
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.users = users;
        }
    }

    pub(super) fn decide_if_answered(&mut self, policy: &Policy, id: u64) {
        if self
            .waiting
            .get(&id)
            .is_some_and(|waiting| waiting.unanswered.is_empty())
        {
            self.decide_batch(policy, id);
            self.forget_batch(id);
        }
    }

    pub(super) fn forget_batch(&mut self, id: u64) {
        self.waiting.remove(&id);
        // An answer that is still to come can only name what ended since its batch went out.
        match self.waiting.keys().next() {
            Some(&oldest) => self.ended.retain(|_, last_batch| *last_batch >= oldest),
            None => self.ended.clear(),
        }
    }
}
