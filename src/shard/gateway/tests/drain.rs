//! A node that goes: everybody is sent away over the window, each with a moment of its own to come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use super::*;

/// The `retry_ms` of every connection that is closed by now, taken off as it is read.
fn sent_away(world: &mut World, keys: &mut Vec<Key>) -> Vec<u64> {
    let (gone, left): (Vec<Key>, Vec<Key>) = keys.iter().partition(|&&key| world.stage(key) == Stage::Closing);
    *keys = left;
    let retry = |key| {
        let told = world.hear(key).pop().unwrap();
        told.strip_prefix("1012 retry_ms=").unwrap().parse().unwrap()
    };
    gone.into_iter().map(retry).collect()
}

fn crowd(world: &mut World, count: usize) -> Vec<Key> {
    (0..count).map(|_| world.upgraded()).collect()
}

#[test]
fn closes_are_spread_over_the_window() {
    let mut world = World::new(settings());
    let mut keys = crowd(&mut world, 100);
    world.shard.command(Command::Drain { window_ms: 1_000 });
    let mut closed = 0;
    for elapsed_ms in (0..1_000).step_by(50) {
        world.shard.run();
        closed += sent_away(&mut world, &mut keys).len();
        assert_eq!(closed, 1 + elapsed_ms / 10, "after {elapsed_ms} ms: the first at once");
        world.pass(50);
    }
    world.shard.run();
    closed += sent_away(&mut world, &mut keys).len();
    assert_eq!(closed, 100);
    world.end();
}

#[test]
fn everybody_of_the_node_gets_a_moment_of_its_own() {
    // The third is a node of reactors that differ in size.
    for sizes in [vec![10, 10], vec![7_919], vec![600, 500, 1], vec![1_200]] {
        let node = Arc::new(Shared::new(sizes.len(), 7));
        let mut moments = BTreeSet::new();
        for (reactor, &size) in sizes.iter().enumerate() {
            let mut world = World::of_node(settings(), Arc::clone(&node), reactor);
            let mut keys = crowd(&mut world, size);
            world.shard.command(Command::Drain { window_ms: 0 });
            while !keys.is_empty() {
                world.shard.run();
                moments.extend(sent_away(&mut world, &mut keys));
            }
            world.end();
        }
        let all: usize = sizes.iter().sum();
        assert_eq!(moments.len(), all, "{sizes:?}");
        // No more than one a millisecond, and a small node's clients are spread over a second all the same.
        let (first, last) = (moments.first().unwrap(), moments.last().unwrap());
        assert!(*first >= 100 && last - first >= 500, "{sizes:?}: {first} to {last}");
        let most = 100 + (sizes.iter().max().unwrap() * sizes.len() + sizes.len()).max(1_000) as u64;
        assert!(*last <= most, "{sizes:?}: {last}");
    }
}

/// When each of `count` clients is back, milliseconds after the drain began, in order.
fn comebacks(pace_per_s: u32, count: usize, window_ms: u64) -> Vec<u64> {
    let mut world = World::new(settings());
    world.node.drain_pace_set(pace_per_s);
    let mut keys = crowd(&mut world, count);
    world.shard.command(Command::Drain { window_ms });
    let (mut back, mut now_ms) = (Vec::new(), 0);
    while !keys.is_empty() {
        world.shard.run();
        back.extend(sent_away(&mut world, &mut keys).into_iter().map(|retry| now_ms + retry));
        world.pass(10);
        now_ms += 10;
    }
    world.end();
    back.sort_unstable();
    back
}

/// The most of these moments that lie within one second.
fn most_in_a_second(moments: &[u64]) -> usize {
    let within = |from: usize| {
        moments[from..]
            .iter()
            .take_while(|&&at| at < moments[from] + 1_000)
            .count()
    };
    (0..moments.len()).map(within).max().unwrap_or(0)
}

#[test]
fn no_more_come_back_in_a_second_than_the_others_take() {
    // Closed all at once, within less time than the pace needs, and within far more.
    for (pace_per_s, count, window_ms) in [(50, 300, 0), (50, 500, 2_000), (200, 400, 8_000), (20, 40, 1_000)] {
        let back = comebacks(pace_per_s, count, window_ms);
        assert_eq!(back.len(), count);
        let most = most_in_a_second(&back);
        // A tenth and two more: moments of closes and of waits are rounded to steps.
        assert!(
            most <= pace_per_s as usize * 11 / 10 + 2,
            "{most} in a second of {count}, at {pace_per_s} a second over {window_ms} ms"
        );
    }
}

#[test]
fn nobody_is_kept_away_for_longer_than_the_pace_needs() {
    for (pace_per_s, count, window_ms) in [(50, 300, 0), (5, 3, 0), (2_000, 11_000, 3_000)] {
        let back = comebacks(pace_per_s, count, window_ms);
        let needed_ms = 1_000 * count as u64 / u64::from(pace_per_s);
        let last_ms = back.last().unwrap();
        let most_ms = window_ms + needed_ms.max(1_000) + 200;
        assert!(*last_ms <= most_ms, "the last of {count} is back after {last_ms} ms");
    }
}

#[test]
fn newcomers_are_refused_until_the_last_is_gone_and_control_is_told_once() {
    let mut world = World::new(settings());
    let [first, second] = [(); 2].map(|()| world.upgraded());
    let half = world.shard.open(None);
    world.shard.receive(half, &mut HEAD[..30].to_vec());
    world.shard.command(Command::Drain { window_ms: 3_000 });
    world.shard.command(Command::Drain { window_ms: 1 });
    world.shard.run();
    assert_eq!(world.hear(first), ["1012 retry_ms=100"]);

    let newcomer = world.shard.open(None);
    world.shard.receive(newcomer, &mut HEAD.to_vec());
    let answer = String::from_utf8(world.drop_written(newcomer)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 3\r\n"),
        "{answer}"
    );
    world.shard.end_of_file(newcomer);

    world.pass(1_499);
    world.shard.run();
    assert_eq!(
        world.stage(second),
        Stage::Unauthenticated,
        "of two, one each half of the window"
    );
    world.pass(1);
    world.shard.run();
    assert!(world.hear(second)[0].starts_with("1012 retry_ms="));
    world.shard.end_of_file(first);
    world.shard.end_of_file(second);
    world.shard.run();
    world.shard.run();
    let notices = world.notices();
    assert!(matches!(notices[..], [Notice::Drained]), "{notices:?}");
    assert_eq!(
        world.stage(half),
        Stage::Handshake,
        "the rest of its request may still come"
    );
    world.shard.receive(half, &mut HEAD[30..].to_vec());
    assert!(world.drop_written(half).starts_with(b"HTTP/1.1 503 "));
    world.shard.end_of_file(half);
    world.end();
}

#[test]
fn who_has_not_asked_holds_nothing_up_and_half_a_request_is_answered_when_the_door_closes() {
    let mut world = World::new(settings());
    let [mute, half, asked] = [(); 3].map(|()| world.shard.open(None));
    world.shard.receive(half, &mut HEAD[..30].to_vec());
    let client = world.upgraded();
    world.shard.command(Command::Drain { window_ms: 60_000 });
    world.shard.receive(asked, &mut HEAD.to_vec());
    assert!(world.drop_written(asked).starts_with(b"HTTP/1.1 503 "));
    world.shard.run();
    assert_eq!(
        world.hear(client),
        ["1012 retry_ms=100"],
        "alone, it need not wait for others"
    );
    world.shard.run();
    assert!(world.notices().is_empty(), "its own close may still come");
    world.shard.end_of_file(client);
    world.shard.run();
    let notices = world.notices();
    assert!(matches!(notices[..], [Notice::Drained]), "{notices:?}");

    world.node.close();
    world.shard.run();
    let answer = String::from_utf8(world.drop_written(half)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 60\r\n"),
        "{answer}"
    );
    assert_eq!(world.stage(mute), Stage::Handshake);
    world.shard.receive(mute, &mut HEAD[..30].to_vec());
    world.pass(10);
    world.shard.run();
    assert!(
        world.drop_written(mute).starts_with(b"HTTP/1.1 503 "),
        "late, not too late"
    );
    for key in [mute, half, asked] {
        world.shard.end_of_file(key);
    }
    world.shard.run();
    assert!(world.notices().is_empty(), "control was told already");
    world.end();
}

#[test]
fn those_who_say_nothing_do_not_hasten_the_others() {
    let mut world = World::new(settings());
    let silent: Vec<Key> = (0..900).map(|_| world.shard.open(None)).collect();
    let mut keys = crowd(&mut world, 100);
    world.shard.command(Command::Drain { window_ms: 1_000 });
    world.pass(500);
    world.shard.run();
    assert_eq!(sent_away(&mut world, &mut keys).len(), 51);
    for key in silent {
        world.shard.end_of_file(key);
    }
    world.end();
}
