//! Membership and the claim of a name, with made-up clocks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const OWN: u64 = 50;

fn members() -> Members {
    Members::new("n1", OWN, 1_000)
}

fn beat(node: &str, epoch: u64, since_ms: u64, holds_name: bool) -> Beat {
    Beat {
        node: node.into(),
        epoch: Beat::write_epoch(epoch),
        version: "0".into(),
        since_ms,
        connections: 3,
        logins_per_s: 10,
        logins_max_per_s: 100,
        state: Standing::Up,
        holds_name,
    }
}

fn gone(beat: Beat) -> Beat {
    Beat {
        state: Standing::Gone,
        ..beat
    }
}

#[test]
fn a_silent_node_is_dead_within_five_seconds_and_one_that_says_goodbye_at_once() {
    let mut members = members();
    members.heard(&beat("n2", 2, 0, true), 0);
    members.heard(&beat("n3", 3, 0, true), 0);
    members.heard(&beat("n2", 2, 0, true), 3_000);
    members.heard(&beat("n1", OWN, 1_000, true), 3_000);
    assert_eq!(members.count(), 2);
    assert_eq!(members.gone_ms(), None);
    assert_eq!(members.expire(4_999), [3]);
    assert_eq!(members.gone_ms(), Some(4_999));
    assert_eq!(members.names(), ["n2"]);
    assert_eq!(members.heard(&gone(beat("n2", 2, 0, true)), 5_000), Heard::Left(2));
    assert_eq!(members.heard(&gone(beat("n2", 2, 0, true)), 5_000), Heard::Nothing);
    assert!(members.names().is_empty() && members.list().is_empty());
    assert_eq!(members.heard(&beat("n3", 3, 0, true), 6_000), Heard::Returned);
    assert_eq!(members.heard(&beat("n3", 3, 0, true), 6_000), Heard::Nothing);
    assert_eq!(members.names(), ["n3"]);
}

#[test]
fn nobody_dies_of_a_bus_that_was_away() {
    let mut members = members();
    members.heard(&beat("n2", 2, 0, true), 0);
    members.all_seen(60_000);
    assert!(members.expire(64_000).is_empty());
    assert_eq!(members.expire(64_500), [2]);
}

#[test]
fn a_name_that_nobody_objects_to_is_held_after_a_moment() {
    let mut members = members();
    assert_eq!(members.name(0), Name::Unclaimed);
    members.claim(10);
    members.heard(&beat("n2", 2, 0, true), 20);
    assert_eq!(members.name(100), Name::Claiming { since_ms: 10 });
    assert_eq!(members.name(260), Name::Held);
}

#[test]
fn a_name_that_another_holds_is_waited_for_and_then_refused() {
    let mut members = members();
    members.claim(0);
    for second in 0..5 {
        members.heard(&beat("n1", 7, 9_999, true), second * 1_000);
        assert_eq!(members.name(second * 1_000 + 900), Name::Claiming { since_ms: 0 });
    }
    members.heard(&beat("n1", 7, 9_999, true), 5_000);
    assert_eq!(members.name(5_000), Name::Refused);
    members.claim(6_000);
    assert_eq!(members.name(9_000), Name::Refused);
}

#[test]
fn a_name_is_free_when_its_holder_says_goodbye() {
    let mut members = members();
    members.claim(0);
    members.heard(&beat("n1", 7, 0, true), 100);
    assert!(matches!(members.name(300), Name::Claiming { .. }));
    members.heard(&gone(beat("n1", 7, 0, true)), 1_000);
    assert_eq!(members.name(1_000), Name::Held);
}

#[test]
fn a_dead_holder_s_name_is_free_five_seconds_after_its_last_sign() {
    let mut members = members();
    members.claim(10_000);
    members.remembered(7, 2_000, 10_000);
    members.remembered(7, 3_000, 10_000);
    members.remembered(OWN, 0, 10_000);
    assert!(matches!(members.name(12_999), Name::Claiming { .. }));
    assert_eq!(members.name(13_000), Name::Held);
    // One whose last sign fell into the claim is waited for a little longer, not refused.
    members.claim(20_000);
    members.heard(&beat("n1", 8, 0, true), 21_000);
    assert!(matches!(members.name(25_500), Name::Claiming { .. }));
    assert_eq!(members.name(26_000), Name::Held);
}

#[test]
fn a_holder_that_died_before_this_process_began_is_waited_for_no_longer_than_that() {
    let mut members = members();
    members.claim(10);
    members.remembered(7, 60_000, 20);
    assert_eq!(members.name(260), Name::Held);
    members.claim(1_000);
    members.remembered(7, 4_000, 1_010);
    assert!(matches!(members.name(2_009), Name::Claiming { .. }));
    assert_eq!(members.name(2_010), Name::Held);
}

#[test]
fn of_two_that_start_at_once_the_earlier_gets_the_name() {
    let run = |own_since_ms, other_since_ms| {
        let mut members = Members::new("n1", OWN, own_since_ms);
        members.claim(0);
        for second in 0..6 {
            members.heard(&beat("n1", 7, other_since_ms, false), second * 1_000);
        }
        members.name(5_100)
    };
    assert_eq!(run(1_000, 2_000), Name::Held);
    assert_eq!(run(2_000, 1_000), Name::Refused);
    // The epoch decides between two of the same millisecond: 7 comes before 50.
    assert_eq!(run(1_000, 1_000), Name::Refused);
}

#[test]
fn of_two_holders_after_a_split_the_later_gives_the_name_up() {
    let mut members = members();
    members.claim(0);
    assert_eq!(members.name(300), Name::Held);
    // One that was silent, and asks again, takes nothing from the holder.
    members.heard(&beat("n1", 7, 0, false), 400);
    assert_eq!(members.name(400), Name::Held);
    members.heard(&beat("n1", 8, 2_000, true), 500);
    assert_eq!(members.name(500), Name::Held);
    members.heard(&beat("n1", 9, 500, true), 600);
    assert_eq!(members.name(600), Name::Refused);
}

#[test]
fn who_is_only_joining_is_no_member_but_may_come_first() {
    let mut members = members();
    members.claim(0);
    let joining = Beat {
        state: Standing::Joining,
        ..beat("n1", 7, 500, false)
    };
    assert_eq!(members.heard(&joining, 100), Heard::Nothing);
    assert!(members.list().is_empty());
    assert!(matches!(members.name(300), Name::Claiming { .. }));
    members.heard_claim(&gone(joining), 400);
    assert_eq!(members.name(400), Name::Held);
}

#[test]
fn others_are_asked_when_a_name_was_last_seen() {
    let mut members = members();
    members.heard(&beat("n2", 2, 0, true), 1_000);
    members.heard(&beat("n2", 3, 0, true), 2_000);
    assert_eq!(members.last_seen("n2", 9, 2_500), Some((3, 500)));
    assert_eq!(members.last_seen("n2", 3, 2_500), Some((2, 1_500)));
    assert_eq!(members.last_seen("n4", 9, 2_500), None);
    // Also of one that is taken for dead already.
    members.expire(6_600);
    assert_eq!(members.last_seen("n2", 9, 6_600), Some((3, 4_600)));
    assert_eq!(members.name_of(2), None);
}
