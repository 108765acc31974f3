//! Deadlines: the head's, pings, and the answers to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const PING: [u8; 2] = [0x89, 0];

/// When the next ping was queued, looking every millisecond up to `until_ms`.
fn ping_at(world: &mut World, key: Key, from_ms: u64, until_ms: u64) -> Option<u64> {
    (from_ms..=until_ms).find(|&ms| {
        expire_at(world, ms);
        flush(world, key) == PING
    })
}

#[test]
fn a_head_has_until_its_deadline() {
    let mut world = world();
    let key = world.open(None);
    receive(&mut world, key, &HEAD[..20]);
    expire_at(&mut world, 10_999);
    assert_eq!(stage(&world, key), Some(Stage::Handshake));
    expire_at(&mut world, 11_000);
    assert_eq!(world.application.ended, [(key, CloseReason::HandshakeTimeout)]);
    assert!(pending(&world, key).is_empty());
    // It fires no more, although it is not reaped yet.
    assert_eq!(world.next_due_ms(), None);
    assert_eq!(world.engine.next_dead(), Some(key));
}

#[test]
fn the_first_ping_comes_in_the_second_half_of_the_interval_and_the_next_within_one() {
    let mut moments = std::collections::BTreeSet::new();
    let mut world = world();
    for round in 0..40 {
        let opened_ms = 1_000 + round * 200_000;
        at(&mut world, opened_ms);
        let key = upgraded(&mut world);
        let first_ms = ping_at(&mut world, key, opened_ms, opened_ms + 25_000).expect("no ping in time");
        // A tenth of jitter and the shared moments, a hundredth, may take it before the half.
        assert!(first_ms >= opened_ms + 9_500, "after {}", first_ms - opened_ms);
        moments.insert(first_ms - opened_ms);
        receive(&mut world, key, &client(Opcode::Pong, b""));
        let second_ms = ping_at(&mut world, key, first_ms + 1, first_ms + 25_000).expect("no ping in time");
        assert!(second_ms >= first_ms + 22_000, "after {}", second_ms - first_ms);
        world.lost(key);
        world.engine.next_dead().unwrap();
    }
    assert!(moments.len() > 20, "they are spread: {moments:?}");
}

#[test]
fn silence_after_a_ping_ends_the_connection() {
    let mut world = world();
    let key = upgraded(&mut world);
    let ping_ms = ping_at(&mut world, key, 1_000, 26_000).unwrap();
    expire_at(&mut world, ping_ms + 9_999);
    assert_eq!(stage(&world, key), Some(Stage::Unauthenticated));
    // The look for the answer may fall on a shared moment a little later.
    expire_at(&mut world, ping_ms + 10_250);
    assert_eq!(world.application.ended, [(key, CloseReason::PingTimeout)]);
    assert_eq!(flush(&mut world, key), frame::encode_close(1001, "ping_timeout"));
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut world = world();
    let key = upgraded(&mut world);
    let ping_ms = ping_at(&mut world, key, 1_000, 26_000).unwrap();
    at(&mut world, ping_ms + 9_000);
    receive(&mut world, key, &[0x81]);
    expire_at(&mut world, ping_ms + 11_000);
    assert_eq!(stage(&world, key), Some(Stage::Unauthenticated));
    assert!(ping_at(&mut world, key, ping_ms + 11_000, ping_ms + 25_000).is_some());
}

#[test]
fn a_client_that_makes_room_lives_and_one_that_does_not_dies() {
    let mut world = world();
    let (reader, stuck) = (upgraded(&mut world), upgraded(&mut world));
    for key in [reader, stuck] {
        send(&mut world, key, 400);
        write(&mut world, key, 10);
        world.engine.write_blocked(key);
    }
    // Both are pinged by then, and neither can answer.
    expire_at(&mut world, 26_000);
    write(&mut world, reader, 1);
    world.engine.write_blocked(reader);
    expire_at(&mut world, 36_250);
    assert_eq!(world.application.ended, [(stuck, CloseReason::PingTimeout)]);
    assert_eq!(stage(&world, reader), Some(Stage::Unauthenticated));
}

#[test]
fn a_long_wait_for_answers_is_not_cut_short_or_drawn_out_by_further_pings() {
    let mut world = world_with(Rules {
        pong_ms: 60_000,
        ..rules()
    });
    let key = upgraded(&mut world);
    let first_ms = ping_at(&mut world, key, 1_000, 26_000).unwrap();
    let second_ms = ping_at(&mut world, key, first_ms + 1, first_ms + 25_000).unwrap();
    assert!(ping_at(&mut world, key, second_ms + 1, second_ms + 25_000).is_some());
    expire_at(&mut world, first_ms + 59_999);
    assert_eq!(stage(&world, key), Some(Stage::Unauthenticated));
    expire_at(&mut world, first_ms + 60_250);
    assert_eq!(world.application.ended, [(key, CloseReason::PingTimeout)]);
}

#[test]
fn the_application_s_deadline_may_move_either_way() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.engine.set_application_deadline(key, 5_000);
    assert!(world.next_due_ms().unwrap() <= 5_000);
    world.engine.set_application_deadline(key, 9_000);
    expire_at(&mut world, 5_000);
    let due_ms = world.next_due_ms().unwrap();
    assert!((5_001..=9_000).contains(&due_ms), "{due_ms}");
    world.engine.set_application_deadline(key, 6_000);
    assert!(world.next_due_ms().unwrap() <= 6_000);
}

#[test]
fn a_clock_that_jumps_by_hours_fires_each_deadline_once() {
    let mut world = world();
    let keys: Vec<Key> = (0..20).map(|_| upgraded(&mut world)).collect();
    expire_at(&mut world, 40_000_000);
    for key in keys {
        assert_eq!(flush(&mut world, key), PING, "a ping, and time to answer it");
        assert_eq!(stage(&world, key), Some(Stage::Unauthenticated));
    }
}
