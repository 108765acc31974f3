//! Who gets which push, in which order, and what its report says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// More connections than a fan-out queues for before anything is written.
const CROWD: usize = 600;
/// So many it does.
const AT_ONCE: usize = 512;

fn crowd(world: &mut World, user: &str, count: usize) -> Vec<Key> {
    let token = world.token(user, 3_600);
    let keys: Vec<Key> = (0..count).map(|_| world.connected_with(&token)).collect();
    while world.shard.engine.next_dirty(Urgency::Urgent).is_some() {}
    keys
}

/// Turns until no fan-out is under way: some are written, some more are queued. What each of `keys` heard.
fn finish(world: &mut World, keys: &[Key]) -> Vec<Vec<String>> {
    let mut heard = vec![Vec::new(); keys.len()];
    let mut turns = 0;
    loop {
        let next = world.shard.run();
        for urgency in [Urgency::Urgent, Urgency::Bulk] {
            for _ in 0..64 {
                let Some(key) = world.shard.engine.next_dirty(urgency) else {
                    break;
                };
                let frames = world.hear(key);
                if let Some(place) = keys.iter().position(|&other| other == key) {
                    heard[place].extend(frames);
                }
            }
        }
        if next == Next::Idle && !world.shard.engine.has_dirty() {
            return heard;
        }
        turns += 1;
        assert!(turns < 1_000);
    }
}

#[test]
fn a_push_reaches_every_connection_of_the_user_and_nobody_else() {
    let mut world = World::new(settings());
    let [one, two, other] = ["u", "u", "v"].map(|user| world.connected(user));
    world.push_user("u", "1", Some(11));
    world.push_user("nobody", "2", Some(12));
    let target = Target::All;
    world.push(target, "3", Some(13));
    assert_eq!(world.hear(one), ["1", "3"]);
    assert_eq!(world.hear(two), ["1", "3"]);
    assert_eq!(world.hear(other), ["3"]);
    assert_eq!(world.reports(), [(11, 2, 2, 0), (12, 0, 0, 0), (13, 3, 3, 0)]);
    world.end();
}

#[test]
fn a_user_keeps_the_others_when_one_connection_goes() {
    for gone in 0..3 {
        let mut world = World::new(settings());
        let keys = ["u"; 3].map(|user| world.connected(user));
        world.shard.lost(keys[gone]);
        while world.shard.engine.next_dead().is_some() {}
        // Somebody else's connection takes the slot.
        let other = world.connected("v");
        world.push_user("u", "1", Some(1));
        assert_eq!(world.reports(), [(1, 2, 2, 0)]);
        assert!(world.hear(other).is_empty());
        let left = keys.iter().filter(|&&key| world.hear(key) == ["1"]).count();
        assert_eq!(left, 2);
        for key in keys {
            world.shard.lost(key);
        }
        world.push_user("u", "2", Some(2));
        assert_eq!(world.reports(), [(2, 0, 0, 0)]);
        assert!(!world.node.filter(0).may_hold(world.node.hash_user("u")));
        world.end();
    }
}

#[test]
fn whoever_is_not_logged_in_gets_nothing() {
    let mut world = World::new(settings());
    let [stranger, closing] = [world.upgraded(), world.connected("u")];
    let id = world.id(closing);
    world.shard.command(Command::KickConnection {
        connection: id,
        code: 4403,
        text: "".into(),
        by: Kicker::Api,
        ticket: None,
    });
    world.push(Target::All, "1", Some(1));
    world.push_user("u", "2", Some(2));
    assert!(world.hear(stranger).is_empty());
    assert_eq!(world.hear(closing), ["4403 "]);
    assert_eq!(world.reports(), [(1, 0, 0, 0), (2, 0, 0, 0)]);
    world.end();
}

#[test]
fn a_slow_consumer_is_matched_and_dropped() {
    let mut settings = settings();
    settings.limits.outbound_bytes = 1_000;
    let mut world = World::new(settings);
    let [slow, quick] = [(); 2].map(|()| world.connected("u"));
    let text = "x".repeat(600);
    world.push_user("u", &text, Some(1));
    world.hear(quick);
    world.push_user("u", &text, Some(2));
    assert_eq!(world.reports(), [(1, 2, 2, 0), (2, 2, 1, 1)]);
    assert_eq!(world.hear(slow), ["4413 slow_consumer"]);
    assert_eq!(world.shard.engine.counters().deliveries_dropped.get(), 2);
    world.end();
}

#[test]
fn a_fan_out_to_many_is_paced_and_reaches_each_once() {
    let mut world = World::new(settings());
    let keys = crowd(&mut world, "u", CROWD);
    world.push(Target::All, "1", Some(1));
    world.push(Target::All, "2", Some(2));
    let queued = keys.iter().filter(|&&key| world.queued_bytes(key) > 0).count();
    assert_eq!(queued, AT_ONCE);
    assert!(world.notices().is_empty(), "it is reported when it is done");
    assert!(finish(&mut world, &keys).iter().all(|heard| heard == &["1", "2"]));
    let all = CROWD as u64;
    assert_eq!(world.reports(), [(1, all, all, 0), (2, all, all, 0)]);
    world.end();
}

#[test]
fn what_overtakes_a_fan_out_brings_it_along() {
    let mut world = World::new(settings());
    let mut keys = crowd(&mut world, "u", CROWD);
    let last = world.connected("last");
    keys.push(last);
    world.push(Target::All, "1", Some(1));
    assert_eq!(world.queued_bytes(last), 0, "it was not reached");
    world.push(Target::All, "2", Some(2));
    world.push_user("last", "3", Some(3));
    assert_eq!(world.hear(last), ["1", "2", "3"]);
    assert_eq!(world.reports(), [(3, 1, 1, 0)]);
    let newcomer = world.connected("last");
    keys.push(newcomer);
    let heard = finish(&mut world, &keys);
    assert!(heard[CROWD].is_empty(), "it had everything");
    assert!(
        heard[CROWD + 1].is_empty(),
        "what was pushed before it came is not for it"
    );
    let all = CROWD as u64 + 1;
    assert_eq!(world.reports(), [(1, all, all, 0), (2, all, all, 0)]);
    world.end();
}

#[test]
fn a_small_topic_does_not_wait_for_a_fan_out_to_many() {
    let mut world = World::new(settings());
    let keys = crowd(&mut world, "u", CROWD);
    let [reached, unreached] = [keys[0], keys[CROWD - 1]];
    for key in [reached, unreached] {
        world.subscribe(key, "subscribe", "few");
    }
    world.push(Target::All, "1", Some(1));
    world.push(Target::Topic("few".into()), "2", Some(2));
    assert_eq!(world.reports(), [(2, 2, 2, 0)]);
    for key in [reached, unreached] {
        assert_eq!(world.hear(key), ["1", "2"]);
    }
    let heard = finish(&mut world, &keys);
    assert!(heard[1..CROWD - 1].iter().all(|heard| heard == &["1"]));
    assert!(heard[0].is_empty() && heard[CROWD - 1].is_empty());
    assert_eq!(world.reports(), [(1, CROWD as u64, CROWD as u64, 0)]);
    world.end();
}

#[test]
fn members_may_come_and_go_while_a_topic_is_served() {
    let mut world = World::new(settings());
    let mut keys = crowd(&mut world, "u", CROWD);
    for &key in &keys {
        world.subscribe(key, "subscribe", "news");
    }
    let stranger = world.connected("w");
    world.push(Target::Topic("news".into()), "1", Some(1));
    // Members are served from the last to the first.
    let unserved = |world: &World, key: Key| world.queued_bytes(key) == 0;
    assert!(unserved(&world, keys[0]) && unserved(&world, keys[40]) && !unserved(&world, keys[CROWD - 1]));
    // One that was not served leaves, and comes back: the push was for it all the same, once.
    world.subscribe(keys[0], "unsubscribe", "news");
    world.subscribe(keys[0], "subscribe", "news");
    world.subscribe(keys[1], "unsubscribe", "news");
    // Some that were served leave, and one that was not is lost.
    world.subscribe(keys[CROWD - 1], "unsubscribe", "news");
    world.subscribe(keys[CROWD - 2], "unsubscribe", "news");
    world.shard.lost(keys[2]);
    // A newcomer is at a place that is still to be looked at, but came too late.
    let newcomer = world.connected("v");
    for late in [newcomer, stranger] {
        world.subscribe(late, "subscribe", "news");
        keys.push(late);
    }
    let heard = finish(&mut world, &keys);
    for (place, heard) in heard.iter().enumerate() {
        let expected: &[&str] = if place == 2 || place >= CROWD { &[] } else { &["1"] };
        assert_eq!(heard, expected, "connection {place}");
    }
    let served = CROWD as u64 - 1;
    assert_eq!(world.reports(), [(1, served, served, 0)]);
    world.end();
}

#[test]
fn a_topic_that_loses_all_its_members_is_done() {
    let mut world = World::new(settings());
    let keys = crowd(&mut world, "u", CROWD);
    for &key in &keys {
        world.subscribe(key, "subscribe", "news");
    }
    world.push(Target::Topic("news".into()), "1", Some(1));
    for &key in &keys {
        world.shard.lost(key);
    }
    while world.shard.engine.next_dead().is_some() {}
    assert!(finish(&mut world, &keys).iter().all(Vec::is_empty));
    assert_eq!(world.reports(), [(1, AT_ONCE as u64, AT_ONCE as u64, 0)]);
    world.end();
}

#[test]
fn too_many_fan_outs_stop_the_inbox() {
    let mut world = World::new(settings());
    let keys = crowd(&mut world, "u", CROWD);
    let mut pushed = 0;
    while world.shard.takes_commands() {
        world.push(Target::All, "1", None);
        pushed += 1;
        assert!(pushed < 1_000);
    }
    let heard = finish(&mut world, &keys);
    assert!(heard.iter().all(|heard| heard.len() == pushed));
    assert!(world.shard.takes_commands());
    world.end();
}

#[test]
fn a_kick_and_a_look_find_the_user_s_connections() {
    let mut world = World::new(settings());
    let [one, two, other] = ["u", "u", "v"].map(|user| world.connected(user));
    world.subscribe(one, "subscribe", "news");
    let user = world.user("u");
    world.shard.command(Command::FindUser {
        user: user.clone(),
        ticket: 1,
    });
    let notices = world.notices();
    let [Notice::Found { ticket: 1, connections }] = &notices[..] else {
        panic!("{notices:?}")
    };
    let mut found: Vec<_> = connections
        .iter()
        .map(|info| (info.connection, info.topics.clone()))
        .collect();
    found.sort_by_key(|(id, _)| id.index);
    assert_eq!(
        found,
        [(world.id(one), vec!["news".to_owned()]), (world.id(two), Vec::new())]
    );

    world.shard.command(Command::KickUser {
        user: user.clone(),
        code: 3_000,
        text: "out".into(),
        by: Kicker::Api,
        ticket: Some(2),
    });
    world.shard.command(Command::KickUser {
        user,
        code: 3_000,
        text: "out".into(),
        by: Kicker::Api,
        ticket: Some(3),
    });
    let closed: Vec<u64> = world
        .notices()
        .iter()
        .map(|notice| {
            if let Notice::Kicked { closed, .. } = notice {
                *closed
            } else {
                panic!("{notice:?}")
            }
        })
        .collect();
    assert_eq!(closed, [2, 0]);
    assert_eq!(world.hear(one), ["3000 out"]);
    assert_eq!(world.hear(two), ["3000 out"]);
    assert!(world.hear(other).is_empty());
    world.end();
}

#[test]
fn the_longest_queues_are_found_and_no_others() {
    let mut world = World::new(settings());
    let keys = ["a", "b", "c", "d"].map(|user| world.connected(user));
    let unknown = world.upgraded();
    for (user, pushes) in [("a", 1), ("b", 3), ("c", 2)] {
        for _ in 0..pushes {
            world.push_user(user, "1234567890", None);
        }
    }
    // A refusal waits for somebody who has not logged in; nobody else has anything to wait for.
    world.say(unknown, json!({"path": "x", "id": 1}));
    let mut slowest = |limit| {
        world.shard.command(Command::FindSlowest { limit, ticket: 1 });
        let [Notice::Slowest { connections, .. }] = &world.notices()[..] else {
            panic!("one answer")
        };
        let mut found = connections.clone();
        found.sort_by_key(|slow| std::cmp::Reverse(slow.queued_bytes));
        found
    };
    let users =
        |found: &[SlowConnection]| -> Vec<Option<String>> { found.iter().map(|slow| slow.user.clone()).collect() };
    let named = |name: &str| Some(name.to_owned());
    let two = slowest(2);
    let all = slowest(100);
    assert_eq!(users(&two), [None, named("b")]);
    assert_eq!(two[1].queued_bytes, 3 * 12, "a frame is two bytes more than its text");
    assert_eq!(users(&all), [None, named("b"), named("c"), named("a")]);
    assert_eq!(two[1].connection, world.id(keys[1]));
    for key in keys {
        world.hear(key);
    }
    world.hear(unknown);
    world.shard.command(Command::FindSlowest { limit: 100, ticket: 2 });
    let notices = world.notices();
    assert!(
        matches!(&notices[..], [Notice::Slowest { connections, .. }] if connections.is_empty()),
        "{notices:?}"
    );
    world.end();
}
