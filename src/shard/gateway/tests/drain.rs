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
    // The second is a multiple of the stride between two moments, the third a node of reactors that differ in size.
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

    world.pass(999);
    world.shard.run();
    assert_eq!(world.stage(second), Stage::Unauthenticated);
    world.pass(1);
    world.shard.run();
    assert!(world.hear(second)[0].starts_with("1012 retry_ms="));
    world.shard.end_of_file(first);
    world.shard.end_of_file(second);
    world.pass(1_999);
    world.shard.run();
    assert_eq!(world.stage(half), Stage::Handshake, "its request may still come");
    world.pass(1);
    world.shard.run();
    world.shard.run();
    assert_eq!(world.stage(half), Stage::Dead);
    assert!(world.notices().is_empty(), "not all sockets are closed");
    while world.shard.engine.next_dead().is_some() {}
    world.shard.run();
    world.shard.run();
    let notices = world.notices();
    assert!(matches!(notices[..], [Notice::Drained]), "{notices:?}");
    world.end();
}
