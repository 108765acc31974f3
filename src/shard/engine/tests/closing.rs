//! Ends: who says what to whom, and when the socket goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn close(code: u16) -> Vec<u8> {
    client(Opcode::Close, &code.to_be_bytes())
}

#[test]
fn a_client_s_close_is_echoed_and_ends_the_connection() {
    let mut world = world();
    for (sent, echo) in [
        (close(3_999), vec![0x88, 2, 0x0F, 0x9F]),
        (client(Opcode::Close, b""), vec![0x88, 0]),
    ] {
        let key = upgraded(&mut world);
        send(&mut world, key, 50);
        receive(&mut world, key, &sent);
        assert_eq!(stage(&world, key), Some(Stage::Closing));
        assert_eq!(
            flush(&mut world, key),
            [text_frame(50), echo].concat(),
            "after all that was queued"
        );
        assert_eq!(world.engine.next_dead(), Some(key));
    }
    assert_eq!(closed(&world, CloseReason::Client), 2);
}

#[test]
fn a_close_of_ours_waits_for_the_client_s() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.engine.close(key, CloseReason::Kicked);
    flush(&mut world, key);
    assert!(!world.engine.has_dead() && world.engine.next_half_close().is_none());
    receive(&mut world, key, &[text("late"), close(4_403)].concat());
    assert_eq!(world.engine.next_dead(), Some(key));
    assert_eq!(closed(&world, CloseReason::Kicked), 1);
    assert_eq!(closed(&world, CloseReason::Client), 0);
}

#[test]
fn the_client_s_close_does_not_cut_what_is_queued() {
    let mut world = world();
    let key = upgraded(&mut world);
    send(&mut world, key, 100);
    world.engine.close(key, CloseReason::Kicked);
    receive(&mut world, key, &close(1_000));
    world.end_of_file(key);
    assert!(!world.engine.has_dead());
    assert_eq!(
        flush(&mut world, key).len(),
        100 + frame::encode_close(4403, "kicked").len()
    );
    assert_eq!(world.engine.next_dead(), Some(key));
}

#[test]
fn two_seconds_are_waited_and_no_longer() {
    let mut world = world();
    let key = upgraded(&mut world);
    at(&mut world, 5_000);
    world.engine.close(key, CloseReason::Kicked);
    expire_at(&mut world, 6_999);
    assert_eq!(stage(&world, key), Some(Stage::Closing));
    expire_at(&mut world, 7_000);
    assert_eq!(world.engine.next_dead(), Some(key));
    assert_eq!(world.next_due_ms(), None);
    assert_eq!(world.engine.leftovers(), Default::default());
}

#[test]
fn a_violation_is_told_and_nothing_is_understood_any_more() {
    let cases: [(&[u8], u16, CloseReason); 4] = [
        (&[0x81, 0x01, b'x'], 1002, CloseReason::ProtocolError),
        (&client(Opcode::Binary, b"x"), 1003, CloseReason::UnsupportedData),
        (&client(Opcode::Text, b"\xFF"), 1007, CloseReason::BadUtf8),
        (&[0x81, 0xFE, 0x03, 0xE9], 1009, CloseReason::MessageTooBig),
    ];
    for (bytes, code, reason) in cases {
        let mut world = world();
        let key = upgraded(&mut world);
        receive(&mut world, key, &[&text("good"), bytes].concat());
        receive(&mut world, key, &[text("lost"), close(1_000)].concat());
        assert_eq!(world.application.heard, ["good"]);
        assert_eq!(world.application.ended, [(key, reason)]);
        assert_eq!(world.application.codes, [code]);
        assert_eq!(world.engine.next_half_close(), None);
        let told = flush(&mut world, key);
        assert_eq!(told[2..4], code.to_be_bytes(), "{reason:?}");
        // Nothing of the peer's is to come that could be understood, so its end of file is what is waited for.
        assert_eq!(world.engine.next_half_close(), Some(key));
        assert!(!world.engine.has_dead());
        world.end_of_file(key);
        assert_eq!(world.engine.next_dead(), Some(key));
    }
}

#[test]
fn junk_from_a_client_that_is_being_closed_does_not_cut_the_close_frame() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.engine.close(key, CloseReason::Kicked);
    receive(&mut world, key, &[0xFF; 20]);
    assert!(!world.engine.has_dead());
    assert_eq!(flush(&mut world, key), frame::encode_close(4403, "kicked"));
    assert_eq!(world.engine.next_half_close(), Some(key));

    let key = upgraded(&mut world);
    world.engine.close(key, CloseReason::Kicked);
    flush(&mut world, key);
    receive(&mut world, key, &[0xFF; 20]);
    assert_eq!(world.engine.next_dead(), Some(key), "it was told already");
}

#[test]
fn before_the_upgrade_there_is_nobody_to_tell() {
    let mut world = world();
    let key = world.open(None);
    receive(&mut world, key, b"GET");
    world.engine.close(key, CloseReason::Drain);
    world.settle();
    assert!(pending(&world, key).is_empty());
    assert_eq!(world.application.ended, [(key, CloseReason::Drain)]);
    assert_eq!(world.application.codes, [1006], "no close frame was sent");
    assert_eq!(world.engine.next_dead(), Some(key));
}

#[test]
fn the_application_hears_of_each_end_once() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.engine.close(key, CloseReason::Kicked);
    world.engine.close(key, CloseReason::Drain);
    world.lost(key);
    world.lost(key);
    world.end_of_file(key);
    assert_eq!(world.application.ended, [(key, CloseReason::Kicked)]);
    assert_eq!(world.application.codes, [4403]);
    assert_eq!(world.engine.next_dead(), Some(key));
    assert_eq!(world.engine.next_dead(), None);
    assert_eq!(
        world
            .engine
            .counters()
            .closed
            .iter()
            .map(|counter| counter.get())
            .sum::<u64>(),
        1
    );
}
