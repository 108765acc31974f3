//! The rule as a function of sets: indifferent to order, to losers, and (but for `reject` with devices, where the order
//! of `at_us` is needed) to when losers are taken out.

use super::super::rule::{Seat, State, judge};
use super::*;

#[derive(Clone, Debug)]
struct Spec {
    device: Option<u8>,
    at_us: u64,
    since_us: u64,
}

fn seat(spec: &Spec) -> Seat {
    Seat {
        connection: ConnectionId {
            epoch: spec.at_us % 3,
            ..id(u32::try_from(spec.at_us).unwrap())
        },
        device: spec.device.map(|device| format!("d{device}").into()),
        at_us: spec.at_us,
        since_us: spec.since_us,
        state: State::Admitted { limit: 0 },
        told: true,
    }
}

/// What stays of these, the oldest first, with the ages they inherited.
fn keep(policy: &Policy, specs: &[Spec]) -> Vec<Spec> {
    let mut seats: Vec<Seat> = specs.iter().map(seat).collect();
    let (stays, _) = judge(policy, &mut seats);
    let mut kept: Vec<Spec> = Vec::new();
    for ((spec, seat), stays) in specs.iter().zip(&seats).zip(stays) {
        if stays {
            kept.push(Spec {
                since_us: seat.since_us,
                ..spec.clone()
            });
        }
    }
    kept.sort_by_key(|spec| spec.at_us);
    kept
}

fn times(specs: &[Spec]) -> Vec<u64> {
    specs.iter().map(|spec| spec.at_us).collect()
}

/// Places of one user in any order, all times different.
fn specs() -> impl Strategy<Value = Vec<Spec>> {
    proptest::collection::vec(proptest::option::weighted(0.8, 0u8..4), 0..10)
        .prop_map(|devices| {
            let at = devices.into_iter().zip(1..);
            at.map(|(device, at_us)| Spec {
                device,
                at_us,
                since_us: at_us,
            })
            .collect()
        })
        .prop_shuffle()
}

fn policies() -> impl Strategy<Value = Policy> {
    let when_full = prop_oneof![Just(WhenFull::Reject), Just(WhenFull::ReplaceOldest)];
    (0usize..5, when_full, any::<bool>()).prop_map(|(max, when_full, device)| policy(max, when_full, device))
}

proptest! {
    #[test]
    fn is_indifferent_to_order(specs in specs(), policy in policies(), seed in any::<u64>()) {
        let mut shuffled = specs.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(times(&keep(&policy, &specs)), times(&keep(&policy, &shuffled)));
    }

    #[test]
    fn is_indifferent_to_losers(specs in specs(), policy in policies(), which in any::<u16>()) {
        let kept = keep(&policy, &specs);
        let stays = |spec: &Spec| kept.iter().find(|kept| kept.at_us == spec.at_us).cloned();
        let mut fewer = Vec::new();
        for (bit, spec) in specs.iter().enumerate() {
            match stays(spec) {
                Some(heir) => fewer.push(heir),
                None if which >> bit & 1 == 1 => fewer.push(spec.clone()),
                None => {}
            }
        }
        prop_assert_eq!(times(&keep(&policy, &fewer)), times(&kept));
    }

    /// Whatever becomes known first, and with its losers taken out at once.
    #[test]
    fn is_indifferent_to_when_losers_go(specs in specs(), policy in policies(), split in any::<usize>()) {
        let aging = policy.when_full == WhenFull::Reject && policy.one_per_device && policy.per_user_max > 0;
        prop_assume!(!aging);
        let (first, then) = specs.split_at(split % (specs.len() + 1));
        let mut known = keep(&policy, first);
        known.extend_from_slice(then);
        prop_assert_eq!(times(&keep(&policy, &known)), times(&keep(&policy, &specs)));
    }

    /// One by one in the order of their times, losers taken out at once: what a node that is alone does.
    #[test]
    fn one_by_one_is_the_same_as_all_at_once(specs in specs(), policy in policies()) {
        let mut in_order = specs.clone();
        in_order.sort_by_key(|spec| spec.at_us);
        let mut known = Vec::new();
        for spec in in_order {
            known.push(spec);
            known = keep(&policy, &known);
        }
        prop_assert_eq!(times(&known), times(&keep(&policy, &specs)));
    }

    #[test]
    fn keeps_as_many_as_fit(specs in specs(), policy in policies()) {
        let mut seats = specs.iter().filter(|spec| !policy.one_per_device || spec.device.is_none()).count();
        if policy.one_per_device {
            seats += (0..4).filter(|&device| specs.iter().any(|spec| spec.device == Some(device))).count();
        }
        let max = if policy.per_user_max == 0 { usize::MAX } else { policy.per_user_max };
        prop_assert_eq!(keep(&policy, &specs).len(), seats.min(max));
    }
}
