//! The way in: heads and frames in any pieces, held messages, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[test]
fn a_head_may_come_in_single_bytes() {
    let mut world = world();
    let key = world.open(None);
    for byte in HEAD {
        assert_eq!(stage(&world, key), Some(Stage::Handshake));
        receive(&mut world, key, &[*byte]);
    }
    assert_eq!(stage(&world, key), Some(Stage::Unauthenticated));
    let answer = flush(&mut world, key);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert_eq!(world.engine.counters().bytes_in.get(), HEAD.len() as u64);
    assert_eq!(world.engine.counters().bytes_out.get(), answer.len() as u64);
}

#[test]
fn frames_behind_the_request_are_read() {
    let frames = [text("one"), text("two")].concat();
    let all = [HEAD, &frames].concat();
    for cut in [all.len(), HEAD.len() + 5, HEAD.len(), 40] {
        let mut world = world();
        let key = world.open(None);
        receive(&mut world, key, &all[..cut]);
        receive(&mut world, key, &all[cut..]);
        assert_eq!(world.application.heard, ["one", "two"], "cut at {cut}");
    }
}

#[test]
fn a_refusal_is_answered_and_the_socket_half_closed_when_it_is_written() {
    let mut world = world();
    world.application.refuses = true;
    let key = world.open(None);
    receive(&mut world, key, HEAD);
    assert_eq!(stage(&world, key), Some(Stage::Closing));
    // Whatever the client sends now is no frame of anybody's.
    receive(&mut world, key, &[0xFF; 100]);
    assert_eq!(world.engine.next_half_close(), None);
    let answer = String::from_utf8(flush(&mut world, key)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 3\r\n"),
        "{answer}"
    );
    assert_eq!(world.engine.next_half_close(), Some(key));
    assert_eq!(stage(&world, key), Some(Stage::Closing));
    world.end_of_file(key);
    assert_eq!(world.engine.next_dead(), Some(key));
    assert_eq!(world.engine.counters().refused[RefusalReason::Full as usize].get(), 1);
    assert_eq!(
        world
            .engine
            .counters()
            .closed
            .iter()
            .map(|counter| counter.get())
            .sum::<u64>(),
        0
    );
    assert_eq!(world.engine.leftovers(), Default::default());
}

#[test]
fn heads_that_are_none_are_told_from_those_that_are_too_long() {
    let many = [
        b"GET /ws HTTP/1.1\r\n".to_vec(),
        b"A: b\r\n".repeat(101),
        b"\r\n".to_vec(),
    ]
    .concat();
    let cases: [(&[u8], u16, RefusalReason); 4] = [
        (b"\x16\x03\x01", 400, RefusalReason::BadRequest),
        (b"GET /other HTTP/1.1\r\n\r\n", 404, RefusalReason::NotFound),
        (&[b'A'; 8_193], 431, RefusalReason::HeadTooLarge),
        (&many, 431, RefusalReason::HeadTooLarge),
    ];
    for (head, status, reason) in cases {
        let mut world = world();
        let key = world.open(None);
        receive(&mut world, key, head);
        let answer = String::from_utf8(flush(&mut world, key)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(world.engine.counters().refused[reason as usize].get(), 1, "{reason:?}");
    }
}

#[test]
fn a_held_message_and_all_behind_it_wait_for_resume() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.application.holds = true;
    let behind = [text("one"), client(Opcode::Ping, b"p"), text("two"), text("three")].concat();
    // The last frame comes in two pieces, the second of them after the hold.
    let (now, later) = behind.split_at(behind.len() - 3);
    receive(&mut world, key, now);
    assert!(world.application.heard.is_empty());
    assert!(!world.wants_read(key));
    assert!(pending(&world, key).is_empty(), "the ping waits behind the message");

    // The second text is held in its turn.
    world.engine.resume(&mut world.application, key);
    assert_eq!(world.application.heard, ["one"]);
    assert_eq!(flush(&mut world, key), frame::encode(Opcode::Pong, b"p"));
    assert!(!world.wants_read(key));

    world.application.holds = false;
    world.engine.resume(&mut world.application, key);
    assert_eq!(world.application.heard, ["one", "two"]);
    assert!(world.wants_read(key));
    assert!(std::iter::from_fn(|| world.engine.next_readable_again()).any(|again| again == key));
    receive(&mut world, key, later);
    assert_eq!(world.application.heard, ["one", "two", "three"]);
    // Nothing is held any more.
    world.engine.resume(&mut world.application, key);
    assert_eq!(world.application.heard.len(), 3);
}

#[test]
fn what_was_held_is_dropped_when_the_connection_ends() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.application.holds = true;
    receive(
        &mut world,
        key,
        &[text("one"), client(Opcode::Close, &1000_u16.to_be_bytes())].concat(),
    );
    world.engine.close(key, CloseReason::Kicked);
    world.engine.resume(&mut world.application, key);
    assert!(world.application.heard.is_empty());
    // It is read again: the peer's close frame may come.
    assert!(world.wants_read(key));
    assert_eq!(world.engine.next_readable_again(), Some(key));
}

#[test]
fn nothing_is_heard_after_a_close() {
    let mut world = world();
    let key = upgraded(&mut world);
    receive(
        &mut world,
        key,
        &[text("bye"), text("more"), client(Opcode::Ping, b"")].concat(),
    );
    assert_eq!(world.application.heard, ["bye"]);
    assert_eq!(flush(&mut world, key), frame::encode_close(4403, "kicked"));
    receive(&mut world, key, &text("more"));
    assert_eq!(world.application.heard, ["bye"]);
    assert!(pending(&world, key).is_empty());
}

#[test]
fn a_client_that_takes_no_answers_is_not_read() {
    let mut world = world();
    let key = upgraded(&mut world);
    world.application.answer_bytes = Some(300);
    receive(&mut world, key, &text("one"));
    assert!(world.wants_read(key));
    receive(&mut world, key, &text("two"));
    assert!(!world.wants_read(key), "600 bytes are queued, and 500 are the limit");
    write(&mut world, key, 99);
    assert!(!world.wants_read(key));
    assert_eq!(world.engine.next_readable_again(), None);
    write(&mut world, key, 1);
    assert!(world.wants_read(key));
    assert_eq!(world.engine.next_readable_again(), Some(key));
    flush(&mut world, key);
    assert_eq!(world.engine.next_readable_again(), None);
}

#[test]
fn new_rules_that_let_a_paused_client_be_read_again_say_so() {
    let mut world = world();
    let (paused, other) = (upgraded(&mut world), upgraded(&mut world));
    send(&mut world, paused, 600);
    send(&mut world, other, 100);
    assert!(!world.wants_read(paused));
    world.engine.set_rules(Rules {
        read_pause_bytes: 5_000,
        ..rules()
    });
    assert!(world.wants_read(paused));
    assert_eq!(world.engine.next_readable_again(), Some(paused));
    assert_eq!(world.engine.next_readable_again(), None);
}

#[test]
fn stale_keys_find_nobody() {
    let mut world = world();
    let old = upgraded(&mut world);
    world.lost(old);
    assert_eq!(world.engine.next_dead(), Some(old));
    let new = upgraded(&mut world);
    assert_eq!(new.index, old.index);
    assert_ne!(new, old);
    receive(&mut world, old, &text("ghost"));
    assert_eq!(send(&mut world, old, 100), Sent::Gone);
    world.lost(old);
    world.end_of_file(old);
    world.engine.close(old, CloseReason::Kicked);
    world.engine.write_again(old, Urgency::Urgent);
    assert!(!world.wants_read(old) && !world.wrote(old, 0, 1));
    assert!(world.application.heard.is_empty());
    assert_eq!(stage(&world, new), Some(Stage::Unauthenticated));
}
