//! The way out: queues, dirty lists, limits, what a slow reader costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn dirty(world: &mut World, urgency: Urgency) -> Vec<Key> {
    std::iter::from_fn(|| world.engine.next_dirty(urgency)).collect()
}

#[test]
fn ten_frames_are_one_write_of_ten_slices() {
    let mut world = world();
    let key = upgraded(&mut world);
    dirty(&mut world, Urgency::Urgent);
    let frames: Vec<Vec<u8>> = (10..20).map(text_frame).collect();
    for bytes in 10..20 {
        assert_eq!(send(&mut world, key, bytes), Sent::Queued);
    }
    assert_eq!(dirty(&mut world, Urgency::Urgent), [key], "named once");
    assert_eq!(pending(&world, key), frames);
    assert_eq!(world.engine.outbound_bytes(), frames.concat().len());
    flush(&mut world, key);
    assert_eq!(world.engine.counters().deliveries_written.get(), 10);
    assert_eq!(world.engine.leftovers().1, 0);
}

#[test]
fn a_short_write_goes_on_with_the_next_byte() {
    let mut world = world();
    let key = upgraded(&mut world);
    send(&mut world, key, 100);
    send(&mut world, key, 200);
    let whole = pending(&world, key).concat();
    let mut written = Vec::new();
    for room in [1, 98, 1, 5, 0, 190] {
        written.extend(write(&mut world, key, room));
    }
    assert_eq!(world.engine.counters().deliveries_written.get(), 1);
    written.extend(flush(&mut world, key));
    assert_eq!(written, whole);
    assert_eq!(world.engine.counters().deliveries_written.get(), 2);
}

#[test]
fn a_queue_past_its_limit_is_dropped_but_for_the_frame_begun() {
    let mut world = world();
    let key = upgraded(&mut world);
    for _ in 0..3 {
        assert_eq!(send(&mut world, key, 300), Sent::Queued);
    }
    let begun = write(&mut world, key, 100);
    // 800 bytes are left of 900; 200 more fit, and one byte more than that does not.
    assert_eq!(send(&mut world, key, 200), Sent::Queued);
    assert_eq!(send(&mut world, key, 10), Sent::Overflow);
    assert_eq!(world.application.ended, [(key, CloseReason::SlowConsumer)]);
    let rest = flush(&mut world, key);
    let expected = [text_frame(300), frame::encode_close(4413, "slow_consumer")].concat();
    assert_eq!([begun, rest].concat(), expected);
    let counters = world.engine.counters();
    assert_eq!(
        (counters.deliveries_written.get(), counters.deliveries_dropped.get()),
        (1, 4)
    );
    assert_eq!(send(&mut world, key, 10), Sent::Gone);
}

#[test]
fn the_answer_to_the_upgrade_is_never_dropped() {
    let mut world = world();
    let key = world.open(None);
    receive(&mut world, key, HEAD);
    for _ in 0..3 {
        send(&mut world, key, 300);
    }
    assert_eq!(world.application.ended, [(key, CloseReason::SlowConsumer)]);
    let written = flush(&mut world, key);
    assert!(written.starts_with(b"HTTP/1.1 101 "));
    assert!(written.ends_with(&[&b"\r\n\r\n"[..], &frame::encode_close(4413, "slow_consumer")].concat()));
}

#[test]
fn the_longest_queue_is_the_heaviest() {
    let mut world = world();
    let [light, heavy, closing] = [(); 3].map(|()| upgraded(&mut world));
    assert_eq!(world.engine.heaviest(), None);
    for (key, bytes) in [(light, 200), (heavy, 300), (closing, 400)] {
        send(&mut world, key, bytes);
    }
    world.engine.close(closing, CloseReason::Kicked);
    assert_eq!(world.engine.heaviest(), Some(heavy));
    world
        .engine
        .close_and_drop_queue(heavy, CloseReason::Overload, "retry_ms=7");
    assert_eq!(flush(&mut world, heavy), frame::encode_close(1013, "retry_ms=7"));
    assert_eq!(world.engine.heaviest(), Some(light));
}

#[test]
fn what_is_urgent_leaves_the_bulk_behind() {
    let mut world = world();
    let [one, two, three] = [(); 3].map(|()| upgraded(&mut world));
    dirty(&mut world, Urgency::Urgent);
    let frame = Frame::push(Bytes::from(text_frame(20)), 1);
    for key in [one, two, three] {
        world.engine.send(key, frame.clone(), Urgency::Bulk);
    }
    assert_eq!(world.engine.bulk_len(), 3);
    send(&mut world, two, 30);
    assert_eq!(dirty(&mut world, Urgency::Urgent), [two]);
    assert_eq!(
        dirty(&mut world, Urgency::Bulk),
        [one, three],
        "its place among the others is skipped"
    );
    assert!(!world.engine.has_dirty());
    assert_eq!(
        pending(&world, two),
        [text_frame(20), text_frame(30)],
        "and the order of its frames is kept"
    );
}

#[test]
fn whoever_is_not_written_whole_is_named_again() {
    let mut world = world();
    let key = upgraded(&mut world);
    dirty(&mut world, Urgency::Urgent);
    world.engine.write_again(key, Urgency::Urgent);
    assert!(!world.engine.has_dirty(), "it has nothing to write");
    send(&mut world, key, 100);
    dirty(&mut world, Urgency::Urgent);
    write(&mut world, key, 10);
    assert!(!world.engine.has_dirty(), "the socket takes nothing now");
    world.engine.write_again(key, Urgency::Bulk);
    world.engine.write_again(key, Urgency::Bulk);
    assert_eq!(dirty(&mut world, Urgency::Bulk), [key]);
}

#[test]
fn what_is_lost_with_a_connection_counts_as_dropped() {
    let mut world = world();
    let key = upgraded(&mut world);
    send(&mut world, key, 100);
    send(&mut world, key, 100);
    write(&mut world, key, 150);
    world.lost(key);
    assert_eq!(world.engine.next_dead(), Some(key));
    let counters = world.engine.counters();
    assert_eq!(
        (counters.deliveries_written.get(), counters.deliveries_dropped.get()),
        (1, 1)
    );
    assert_eq!(world.engine.leftovers(), Default::default());
}
