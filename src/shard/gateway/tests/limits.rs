//! What is bounded, and what happens at the bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::metrics::RefusalReason;

#[test]
fn a_spent_outbound_budget_costs_the_longest_queues() {
    let mut settings = settings();
    settings.limits.outbound_total_bytes = 1_000;
    let mut world = World::new(settings);
    let [short, long, middle] = ["a", "b", "c"].map(|user| world.connected(user));
    for (user, bytes) in [("a", 200), ("b", 900), ("c", 500)] {
        world.push_user(user, &"x".repeat(bytes), None);
    }
    world.shard.run();
    assert_eq!(world.closed(CloseReason::Overload), 1);
    assert_eq!(
        [short, long, middle].map(|key| world.stage(key)),
        [Stage::Open, Stage::Closing, Stage::Open]
    );
    let heard = world.hear(long);
    let retry_ms: u64 = heard[0].strip_prefix("1013 retry_ms=").unwrap().parse().unwrap();
    assert!(heard.len() == 1 && (1_000..5_000).contains(&retry_ms), "{heard:?}");
    assert_eq!(world.hear(short).len() + world.hear(middle).len(), 2);
    world.end();
}

#[test]
fn a_reactor_with_little_queued_does_not_pay_for_another() {
    let mut settings = settings();
    settings.limits.outbound_total_bytes = 2_000;
    let node = Arc::new(Shared::new(2, 7));
    let mut world = World::of_node(settings, Arc::clone(&node), 0);
    node.outbound_set(1, 5_000);
    let key = world.connected("u");
    world.push_user("u", &"x".repeat(900), None);
    world.shard.run();
    assert_eq!(world.stage(key), Stage::Open);
    world.push_user("u", &"x".repeat(900), None);
    world.shard.run();
    assert_eq!(world.stage(key), Stage::Closing);
    world.end();
}

#[test]
fn a_full_outbox_refuses_calls_and_keeps_everything_else() {
    let mut settings = settings();
    settings.sessions.per_user_max = 5;
    let mut world = World::new(settings);
    let key = world.upgraded();
    let token = world.token("u", 60);
    world.say(key, json!({"path": "connect", "token": token}));
    let claim = world.shard.next_notice().unwrap();
    world.shard.notice_refused(claim);
    let notices = world.notices();
    assert!(
        matches!(notices[..], [Notice::Claim { .. }]),
        "it comes again: {notices:?}"
    );
    let connection = world.id(key);
    world.shard.command(Command::Admit {
        connection,
        admitted: true,
    });
    world.hear(key);

    world.say(key, json!({"path": "order/create", "id": "x"}));
    world.say(key, json!({"path": "order/create"}));
    for _ in 0..2 {
        let call = world.shard.next_notice().unwrap();
        world.shard.notice_refused(call);
    }
    assert_eq!(
        world.statuses(key),
        [(json!("x"), 503)],
        "and without an id there is nobody to tell"
    );
    assert_eq!(world.shard.engine.counters().calls_refused.get(), 1);
    world.end();
}

#[test]
fn calls_are_refused_once_too_many_notices_wait() {
    let mut world = World::new(settings());
    let key = world.connected("u");
    for _ in 0..super::super::notices::WAITING_MAX {
        assert!(world.shard.takes_commands());
        world.say(key, json!({"path": "order/create", "id": 1}));
    }
    assert!(world.hear(key).is_empty());
    assert!(!world.shard.takes_commands());
    world.say(key, json!({"path": "order/create", "id": 2}));
    world.say(key, json!({"path": "ping", "id": 3}));
    assert_eq!(world.statuses(key), [(json!(2), 503), (json!(3), 200)]);
    assert_eq!(world.shard.engine.counters().calls_refused.get(), 1);
    world.end();
}

#[test]
fn messages_past_the_rate_are_refused_and_twenty_in_a_row_end_it() {
    let mut settings = settings();
    settings.limits.messages_per_second = 2;
    let mut world = World::new(settings);
    let key = world.connected("u");
    let ask = |world: &mut World, times: usize| -> Vec<u64> {
        for _ in 0..times {
            world.say(key, json!({"path": "ping", "id": 1}));
        }
        world.statuses(key).into_iter().map(|(_, status)| status).collect()
    };
    // A burst of four, one of which was the connect.
    assert_eq!(ask(&mut world, 5), [200, 200, 200, 429, 429]);
    world.pass(500);
    assert_eq!(ask(&mut world, 20), [&[200][..], &[429; 19]].concat());
    world.pass(500);
    assert_eq!(ask(&mut world, 1), [200], "the row is broken");
    assert_eq!(ask(&mut world, 30), [429; 20]);
    assert_eq!(world.closed(CloseReason::RateLimited), 1);
    world.end();
}

#[test]
fn ten_malformed_messages_in_a_row_end_it() {
    let mut world = World::new(settings());
    let key = world.upgraded();
    for _ in 0..9 {
        world.say(key, json!([]));
    }
    // A message with a bad path is one.
    world.say(key, json!({"path": "a//b", "id": 5}));
    assert_eq!(
        world.statuses(key),
        [vec![(Value::Null, 400); 9], vec![(json!(5), 400)]].concat()
    );
    for _ in 0..11 {
        world.say(key, json!([]));
    }
    let heard = world.hear(key);
    assert_eq!(heard.len(), 11);
    assert_eq!(heard[10], "1008 bad_messages");
    world.end();
}

#[test]
fn an_address_has_so_many_connections() {
    let mut settings = settings();
    settings.limits.connections_per_ip = 2;
    let mut world = World::new(settings);
    let ip = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    let open = |world: &mut World| {
        let key = world.shard.open(Some(ip));
        world.shard.receive(key, &mut HEAD.to_vec());
        key
    };
    let first = open(&mut world);
    open(&mut world);
    let third = open(&mut world);
    assert_eq!(world.stage(third), Stage::Closing);
    let refused = &world.shard.engine.counters().refused[RefusalReason::PerIp as usize];
    assert_eq!(refused.get(), 1);
    // The place is free when the connection ends, not when its socket goes.
    let id = world.id(first);
    world.shard.command(Command::KickConnection {
        connection: id,
        code: 4403,
        text: "".into(),
        by: Kicker::Api,
        ticket: None,
    });
    let fourth = open(&mut world);
    assert_eq!(world.stage(fourth), Stage::Unauthenticated);
    let node = Arc::clone(&world.node);
    world.end();
    assert!(node.address_acquire(ip, 1), "nothing is counted any more");
}
