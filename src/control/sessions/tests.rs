//! The session policy: its rules one by one, and its invariants under random logins and departures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::config::{Sessions as Policy, WhenFull};

mod cluster;
mod rule;
mod simulation;

fn id(index: u32) -> ConnectionId {
    ConnectionId {
        epoch: 1,
        reactor: 0,
        index,
        generation: 0,
    }
}

fn policy(per_user_max: usize, when_full: WhenFull, one_per_device: bool) -> Policy {
    Policy {
        per_user_max,
        when_full,
        one_per_device,
    }
}

fn admitted(replaced: &[u32]) -> Decision {
    Decision {
        admitted: true,
        replaced: replaced.iter().map(|&index| id(index)).collect(),
    }
}

/// A login that is decided at once, and what came of it.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    admitted: bool,
    replaced: Vec<ConnectionId>,
}

impl Registry {
    fn claim(&mut self, policy: &Policy, connection: ConnectionId, user: &str, device: Option<Box<str>>) -> Decision {
        let user = user.into();
        let login = Login {
            connection,
            user,
            device,
        };
        let now = Now {
            unix_us: 0,
            steady_us: 0,
        };
        self.login(policy, login, now, false);
        let mut replaced = Vec::new();
        loop {
            match self.verdict().expect("decided at once") {
                Verdict::Replace(gone) => replaced.push(gone),
                Verdict::Admit(id) => {
                    assert_eq!(id, connection);
                    return Decision {
                        admitted: true,
                        replaced,
                    };
                }
                Verdict::Refuse(id) => {
                    assert_eq!(id, connection);
                    return Decision {
                        admitted: false,
                        replaced,
                    };
                }
            }
        }
    }
}

const REFUSED: Decision = Decision {
    admitted: false,
    replaced: Vec::new(),
};

#[test]
fn reject_refuses_the_newcomer_until_a_place_is_free() {
    let policy = policy(2, WhenFull::Reject, false);
    let mut registry = Registry::default();
    assert_eq!(registry.claim(&policy, id(1), "u", None), admitted(&[]));
    assert_eq!(registry.claim(&policy, id(2), "u", None), admitted(&[]));
    assert_eq!(registry.claim(&policy, id(3), "u", None), REFUSED);
    assert_eq!(registry.claim(&policy, id(4), "another", None), admitted(&[]));
    registry.release(id(3), "u");
    assert_eq!(registry.claim(&policy, id(3), "u", None), REFUSED);
    registry.release(id(1), "u");
    assert_eq!(registry.claim(&policy, id(3), "u", None), admitted(&[]));
}

#[test]
fn replace_oldest_closes_the_first_and_its_release_frees_nothing() {
    let policy = policy(2, WhenFull::ReplaceOldest, false);
    let mut registry = Registry::default();
    registry.claim(&policy, id(1), "u", None);
    registry.claim(&policy, id(2), "u", None);
    assert_eq!(registry.claim(&policy, id(3), "u", None), admitted(&[1]));
    registry.release(id(1), "u");
    assert_eq!(registry.claim(&policy, id(4), "u", None), admitted(&[2]));
}

#[test]
fn one_per_device_closes_the_earlier_of_the_same_user_and_device() {
    let policy = policy(0, WhenFull::Reject, true);
    let mut registry = Registry::default();
    registry.claim(&policy, id(1), "u", Some("phone".into()));
    assert_eq!(
        registry.claim(&policy, id(2), "u", Some("tablet".into())),
        admitted(&[])
    );
    assert_eq!(registry.claim(&policy, id(3), "w", Some("phone".into())), admitted(&[]));
    assert_eq!(
        registry.claim(&policy, id(4), "u", Some("phone".into())),
        admitted(&[1])
    );
    assert_eq!(registry.claim(&policy, id(5), "u", None), admitted(&[]));
    assert_eq!(registry.claim(&policy, id(6), "u", None), admitted(&[]));
}

#[test]
fn a_device_that_comes_back_fits_where_its_earlier_connection_was() {
    let policy = policy(2, WhenFull::Reject, true);
    let mut registry = Registry::default();
    registry.claim(&policy, id(1), "u", Some("phone".into()));
    registry.claim(&policy, id(2), "u", Some("tablet".into()));
    assert_eq!(registry.claim(&policy, id(3), "u", Some("watch".into())), REFUSED);
    assert_eq!(
        registry.claim(&policy, id(4), "u", Some("phone".into())),
        admitted(&[1])
    );
}

#[test]
fn a_device_that_comes_back_is_not_also_the_oldest() {
    let policy = policy(2, WhenFull::ReplaceOldest, true);
    let mut registry = Registry::default();
    registry.claim(&policy, id(1), "u", Some("phone".into()));
    registry.claim(&policy, id(2), "u", Some("tablet".into()));
    assert_eq!(
        registry.claim(&policy, id(3), "u", Some("tablet".into())),
        admitted(&[2])
    );
    assert_eq!(
        registry.claim(&policy, id(4), "u", Some("watch".into())),
        admitted(&[1])
    );
}

#[test]
fn a_second_claim_of_a_connection_changes_nothing() {
    let policy = policy(1, WhenFull::ReplaceOldest, true);
    let mut registry = Registry::default();
    registry.claim(&policy, id(1), "u", Some("phone".into()));
    assert_eq!(registry.claim(&policy, id(1), "u", Some("phone".into())), admitted(&[]));
}

#[test]
fn a_lowered_limit_replaces_as_many_as_are_too_many() {
    let mut registry = Registry::default();
    for index in 1..=4 {
        registry.claim(&policy(4, WhenFull::ReplaceOldest, false), id(index), "u", None);
    }
    assert_eq!(
        registry.claim(&policy(2, WhenFull::ReplaceOldest, false), id(5), "u", None),
        admitted(&[1, 2, 3])
    );
}

#[derive(Clone, Debug)]
enum Event {
    Login { user: u8, device: Option<u8> },
    Leave(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let login = (0u8..3, proptest::option::of(0u8..3)).prop_map(|(user, device)| Event::Login { user, device });
    proptest::collection::vec(
        prop_oneof![3 => login, 1 => any::<usize>().prop_map(Event::Leave)],
        0..80,
    )
}

proptest! {
    /// Against a plain list of who is logged in: no limit is passed, nobody is replaced who is not there, a refusal
    /// touches nobody, and an empty house leaves an empty table.
    #[test]
    fn holds_its_limits(
        events in events(),
        per_user_max in 0usize..4,
        replace in any::<bool>(),
        one_per_device in any::<bool>(),
    ) {
        let when_full = if replace { WhenFull::ReplaceOldest } else { WhenFull::Reject };
        let policy = policy(per_user_max, when_full, one_per_device);
        let mut registry = Registry::default();
        let mut here: Vec<(ConnectionId, String, Option<String>)> = Vec::new();
        let mut next = 0;
        for event in events {
            match event {
                Event::Login { user, device } => {
                    next += 1;
                    let (user, device) = (format!("u{user}"), device.map(|device| format!("d{device}")));
                    let held = here.iter().filter(|(_, name, _)| *name == user).count();
                    let decision = registry.claim(&policy, id(next), &user, device.clone().map(Into::into));
                    for gone in &decision.replaced {
                        let at = here.iter().position(|(connection, name, _)| connection == gone && *name == user);
                        here.remove(at.expect("replaced somebody of the same user who is here"));
                        registry.release(*gone, &user);
                    }
                    if decision.admitted {
                        here.push((id(next), user.clone(), device));
                    } else {
                        prop_assert!(decision.replaced.is_empty());
                        prop_assert!(!replace && per_user_max > 0 && held >= per_user_max);
                    }
                }
                Event::Leave(which) if !here.is_empty() => {
                    let (connection, user, _) = here.remove(which % here.len());
                    registry.release(connection, &user);
                }
                Event::Leave(_) => {}
            }
            for (index, (_, user, device)) in here.iter().enumerate() {
                let count = here.iter().filter(|(_, name, _)| name == user).count();
                prop_assert!(per_user_max == 0 || count <= per_user_max);
                let twin = here[index + 1..].iter().any(|(_, name, other)| name == user && other == device);
                prop_assert!(!(one_per_device && device.is_some() && twin));
            }
            let places: usize = registry.places();
            prop_assert_eq!(places, here.len());
        }
        for (connection, user, _) in here {
            registry.release(connection, &user);
        }
        prop_assert_eq!(registry.users(), 0);
    }
}
