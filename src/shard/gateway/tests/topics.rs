//! The filter of topics: whatever has a subscriber here is found, from before its client can know of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn may_hold(world: &World, topic: &str) -> bool {
    world.node.topic_filter(0).may_hold(world.node.hash_topic(topic))
}

#[test]
fn a_topic_is_in_the_filter_from_its_first_member_to_its_last() {
    let mut world = World::new(settings());
    let [one, two] = ["u", "v"].map(|user| world.connected(user));
    assert!(!may_hold(&world, "news"));
    world.say(one, json!({"path": "subscribe", "id": 1, "body": {"topics": ["news"]}}));
    assert!(may_hold(&world, "news"), "the reply is queued, and not yet written");
    assert_eq!(world.statuses(one), [(json!(1), 200)]);
    world.subscribe(one, "subscribe", "news");
    world.subscribe(two, "subscribe", "news");
    world.subscribe(one, "unsubscribe", "news");
    world.subscribe(one, "unsubscribe", "news");
    assert!(may_hold(&world, "news"));
    world.shard.lost(two);
    assert!(!may_hold(&world, "news"));
    for _ in 0..300 {
        world.subscribe(one, "subscribe", "news");
        assert!(may_hold(&world, "news"));
        world.subscribe(one, "unsubscribe", "news");
        assert!(!may_hold(&world, "news"));
    }
    assert!(!world.node.filter(0).may_hold(world.node.hash_user("news")));
    world.end();
}

#[test]
fn topics_of_a_login_are_there_before_its_answer() {
    let mut world = World::new(settings());
    let key = world.upgraded();
    let token = world.token("u", 60);
    let body = json!({"topics": ["a", "b"]});
    world.say(key, json!({"path": "connect", "token": token, "body": body}));
    assert!(may_hold(&world, "a") && may_hold(&world, "b"));
    assert_eq!(world.hear(key).len(), 1);
    world.end();
}

#[test]
fn none_is_missed_while_the_filter_grows_and_shrinks() {
    const TOPICS: usize = 3_000;
    let mut settings = settings();
    settings.limits.topics_per_connection = TOPICS;
    let mut world = World::new(settings);
    let [one, two] = ["u", "v"].map(|user| world.connected(user));
    let name = |number: usize| format!("room.{number}");
    for number in 0..TOPICS {
        // Every tenth has two members.
        let members = if number.is_multiple_of(10) {
            &[one, two][..]
        } else {
            &[one]
        };
        for &member in members {
            world.subscribe(member, "subscribe", &name(number));
        }
        // All that are there already, at the sizes around which it grows.
        if number.is_power_of_two() || (number + 1).is_power_of_two() {
            assert!((0..=number).all(|number| may_hold(&world, &name(number))), "{number}");
        }
    }
    assert!((0..TOPICS).all(|number| may_hold(&world, &name(number))));
    let wrong = (0..TOPICS).filter(|&n| may_hold(&world, &name(TOPICS + n))).count();
    assert!(
        wrong < TOPICS / 4,
        "{wrong} of {TOPICS} are said to be here and are not"
    );
    for number in (0..TOPICS).step_by(3) {
        world.subscribe(one, "unsubscribe", &name(number));
    }
    let held = |number: usize| !number.is_multiple_of(3) || number.is_multiple_of(10);
    assert!((0..TOPICS).filter(|&n| held(n)).all(|n| may_hold(&world, &name(n))));
    world.shard.lost(one);
    assert!((0..TOPICS).step_by(10).all(|n| may_hold(&world, &name(n))));
    world.shard.lost(two);
    assert!(!(0..TOPICS).any(|n| may_hold(&world, &name(n))), "all are gone");
    world.end();
}
