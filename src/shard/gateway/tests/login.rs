//! Tokens: their budget, what they let in, the session policy, their end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[test]
fn a_storm_of_logins_is_answered_in_order_within_the_budget_of_each_turn() {
    let mut world = World::new(settings());
    let token = world.token("u", 3_600);
    let keys: Vec<Key> = (0..250).map(|_| world.upgraded()).collect();
    for &key in &keys {
        // Both messages in one read: the second waits with the first.
        let connect = client_text(&json!({"path": "connect", "id": 1, "token": token}).to_string());
        let ping = client_text(&json!({"path": "ping", "id": 2}).to_string());
        world.shard.receive(key, &mut [connect, ping].concat());
    }
    for answered in [100, 200, 250] {
        let open: Vec<bool> = keys.iter().map(|&key| world.stage(key) == Stage::Open).collect();
        assert!(
            open[..answered].iter().all(|open| *open),
            "the first {answered} come first"
        );
        assert!(open[answered..].iter().all(|open| !*open), "and the others wait");
        assert!(keys[answered..].iter().all(|&key| !world.shard.wants_read(key)));
        let next = world.shard.run();
        assert_eq!(next == Next::Now, answered < 200, "after {answered}");
    }
    for &key in &keys {
        assert_eq!(world.statuses(key), [(json!(1), 200), (json!(2), 200)]);
        assert!(world.shard.wants_read(key));
    }
    world.end();
}

#[test]
fn whoever_comes_while_others_wait_waits_behind_them() {
    let mut world = World::new(settings());
    let token = world.token("u", 3_600);
    let [early, late] = [(); 2].map(|()| world.upgraded());
    world.shard.application.token_cost_left = 0;
    world.say(early, json!({"path": "connect", "token": token}));
    // The budget is back, but the row is not empty.
    world.shard.application.token_cost_left = 1;
    world.say(late, json!({"path": "connect", "token": token}));
    assert_eq!(
        (world.stage(early), world.stage(late)),
        (Stage::Unauthenticated, Stage::Unauthenticated)
    );
    world.shard.run();
    assert_eq!((world.stage(early), world.stage(late)), (Stage::Open, Stage::Open));
    world.end();
}

#[test]
fn whoever_leaves_the_row_takes_nobody_s_turn() {
    let mut world = World::new(settings());
    let token = world.token("u", 3_600);
    let [gone, stays] = [(); 2].map(|()| world.upgraded());
    world.shard.application.token_cost_left = 0;
    for key in [gone, stays] {
        world.say(key, json!({"path": "connect", "token": token}));
    }
    world.shard.lost(gone);
    assert_eq!(world.shard.engine.next_dead(), Some(gone));
    // Somebody else has its slot now, and has said nothing.
    let other = world.upgraded();
    assert_eq!(other.index, gone.index);
    world.shard.run();
    assert_eq!(
        (world.stage(other), world.stage(stays)),
        (Stage::Unauthenticated, Stage::Open)
    );
    world.end();
}

#[test]
fn the_third_refused_token_in_a_row_ends_the_connection() {
    let mut world = World::new(settings());
    let key = world.upgraded();
    let token = world.token("u", 3_600);
    let wrong = json!({"path": "ping", "id": 1, "token": "wrong"});
    world.say(key, wrong.clone());
    world.say(key, json!({"path": "connect", "id": 2}));
    world.say(key, json!({"path": "ping", "id": 3}));
    world.say(key, json!({"path": "connect", "id": 4, "token": token}));
    let statuses: Vec<u64> = world.statuses(key).into_iter().map(|(_, status)| status).collect();
    assert_eq!(
        statuses,
        [401, 401, 401, 200],
        "without a token at all it is not_connected, and not counted"
    );
    for _ in 0..3 {
        world.say(key, wrong.clone());
    }
    let heard = world.hear(key);
    assert_eq!(heard.len(), 4);
    assert!(
        heard[2].contains("token_invalid") && heard[3] == "4401 auth_failed",
        "{heard:?}"
    );
    world.end();
}

#[test]
fn a_login_that_is_refused_changes_nothing() {
    let mut world = World::new(settings());
    let key = world.upgraded();
    let token = world.mint(&Grant {
        user: "u".into(),
        ttl_seconds: 60,
        topics: Some(vec!["news".into()]),
        ..Grant::default()
    });
    for (body, code) in [
        (json!({"topics": ["a..b"]}), "bad_message"),
        (json!({"topics": ["news", "other"]}), "topic_forbidden"),
    ] {
        world.say(key, json!({"path": "connect", "token": token, "body": body}));
        assert!(world.hear(key)[0].contains(code));
        assert_eq!(world.stage(key), Stage::Unauthenticated);
        assert_eq!(world.shard.application.leftovers(), [0; 6]);
    }
    world.say(
        key,
        json!({"path": "connect", "token": token, "body": {"topics": ["news"], "device": "phone"}}),
    );
    assert_eq!(world.stage(key), Stage::Open);
    world.end();
}

#[test]
fn permissions_are_kept_once_and_only_while_they_are_used() {
    let mut world = World::new(settings());
    let grant = |path: &str| Grant {
        user: "u".into(),
        ttl_seconds: 60,
        paths: Some(vec![path.into()]),
        ..Grant::default()
    };
    let sets = |world: &World| world.shard.application.leftovers()[3];
    let (a, b) = (world.mint(&grant("a")), world.mint(&grant("b")));
    let [first, second, third] = [&a, &a, &b].map(|token| world.connected_with(token));
    assert_eq!(sets(&world), 2);
    world.shard.lost(third);
    assert_eq!(sets(&world), 1);
    // A renewal gives the old ones back.
    world.say(second, json!({"path": "connect", "token": b}));
    assert_eq!(sets(&world), 2);
    world.say(first, json!({"path": "connect", "token": b}));
    assert_eq!(sets(&world), 1);
    world.end();
}

#[test]
fn permissions_of_before_a_reload_do_not_take_the_new_ones_along() {
    let mut world = World::new(settings());
    let token = world.mint(&Grant {
        user: "u".into(),
        ttl_seconds: 60,
        paths: Some(vec!["a".into()]),
        ..Grant::default()
    });
    let [first, _second] = [&token, &token].map(|token| world.connected_with(token));
    world.shard.command(Command::Reload(Arc::new(world.settings.clone())));
    assert_eq!(world.shard.application.leftovers()[3], 0);
    let [_third, _fourth] = [&token, &token].map(|token| world.connected_with(token));
    assert_eq!(world.shard.application.leftovers()[3], 1);
    world.shard.lost(first);
    assert_eq!(world.shard.application.leftovers()[3], 1);
    world.end();
}

#[test]
fn a_token_s_end_is_the_wall_clock_s() {
    let mut world = World::new(settings());
    let token = world.token("u", 15);
    let key = world.connected_with(&token);
    world.pass(14_999);
    assert_eq!(world.stage(key), Stage::Open);
    // Its timer fires, but the clock was put back by five seconds since.
    world.clock_off_ms = -5_000;
    world.pass(1);
    assert_eq!(world.stage(key), Stage::Open);
    world.pass(4_999);
    assert_eq!(world.stage(key), Stage::Open);
    world.pass(1);
    assert_eq!(world.hear(key).pop().unwrap(), "4410 token_expired");
    assert_eq!(world.closed(CloseReason::TokenExpired), 1);
    world.end();
}

#[test]
fn a_clock_put_forward_is_noticed_within_a_ping_interval() {
    let mut world = World::new(settings());
    let key = world.connected("u");
    world.clock_off_ms = 7_200_000;
    world.pass(1);
    assert_eq!(world.stage(key), Stage::Open);
    world.pass(world.settings.timeouts.ping_ms);
    assert_eq!(world.closed(CloseReason::TokenExpired), 1);
    world.end();
}

#[test]
fn whoever_does_not_log_in_in_time_is_closed() {
    let mut world = World::new(settings());
    let silent = world.upgraded();
    world.pass(30_000);
    // A sign of life is no login.
    world.say(silent, json!({"path": "ping"}));
    world.pass(29_999);
    assert_eq!(world.stage(silent), Stage::Unauthenticated);
    world.pass(1);
    assert_eq!(world.hear(silent).pop().unwrap(), "4408 connect_timeout");
    world.end();
}

mod policy {
    use super::*;

    fn world() -> World {
        let mut settings = settings();
        settings.sessions.per_user_max = 2;
        World::new(settings)
    }

    /// A connection whose login waits for control's word.
    fn claiming(world: &mut World) -> Key {
        let token = world.token("u", 60);
        let key = world.upgraded();
        let connect = client_text(&json!({"path": "connect", "id": 1, "token": token}).to_string());
        let ping = client_text(&json!({"path": "ping", "id": 2}).to_string());
        world.shard.receive(key, &mut [connect, ping].concat());
        let notices = world.notices();
        let [
            Notice::Claim {
                connection,
                user,
                device: None,
            },
        ] = &notices[..]
        else {
            panic!("{notices:?}")
        };
        assert_eq!((*connection, &**user), (world.id(key), "u"));
        assert!(!world.shard.wants_read(key));
        key
    }

    fn answer(world: &mut World, key: Key, admitted: bool) {
        let connection = world.id(key);
        world.shard.command(Command::Admit { connection, admitted });
    }

    #[test]
    fn an_admitted_login_goes_on_where_it_stopped() {
        let mut world = world();
        let key = claiming(&mut world);
        assert_eq!(world.stage(key), Stage::Unauthenticated);
        answer(&mut world, key, true);
        assert_eq!(world.statuses(key), [(json!(1), 200), (json!(2), 200)]);
        // A second word, or one for somebody else, means nothing.
        answer(&mut world, key, false);
        assert_eq!(world.stage(key), Stage::Open);
        // A renewal asks nobody.
        let token = world.token("u", 120);
        world.say(key, json!({"path": "connect", "id": 3, "token": token}));
        assert_eq!(world.statuses(key), [(json!(3), 200)]);
        assert!(world.notices().is_empty());
        let id = world.id(key);
        world.shard.lost(key);
        let notices = world.notices();
        assert!(
            matches!(&notices[..], [Notice::Release { connection, .. }] if *connection == id),
            "{notices:?}"
        );
        world.end();
    }

    #[test]
    fn a_refused_login_is_answered_and_closed_and_holds_no_place() {
        let mut world = world();
        let key = claiming(&mut world);
        answer(&mut world, key, false);
        let heard = world.hear(key);
        assert!(heard[0].contains("too_many_connections"), "{heard:?}");
        assert_eq!(heard[1..], ["4409 session_policy"]);
        assert!(world.notices().is_empty());
        world.end();
    }

    #[test]
    fn whoever_goes_while_the_claim_is_under_way_gives_its_place_back() {
        let mut world = world();
        let key = claiming(&mut world);
        world.shard.lost(key);
        let notices = world.notices();
        assert!(
            matches!(&notices[..], [Notice::Release { user, .. }] if **user == *"u"),
            "{notices:?}"
        );
        answer(&mut world, key, true);
        assert!(world.notices().is_empty());
        world.end();
    }

    #[test]
    fn a_token_that_ends_while_the_claim_is_under_way_lets_nobody_in() {
        let mut world = world();
        world.settings.timeouts.connect_ms = 300_000;
        world.shard.command(Command::Reload(Arc::new(world.settings.clone())));
        let key = claiming(&mut world);
        world.pass(26_000);
        world.shard.receive(key, &mut []);
        world.clock_off_ms = 60_000;
        world.tick();
        answer(&mut world, key, true);
        assert_eq!(world.hear(key).pop().unwrap(), "4410 token_expired");
        assert!(matches!(world.notices()[..], [Notice::Release { .. }]));
        world.end();
    }

    #[test]
    fn a_login_that_cannot_be_is_not_asked_about() {
        let mut world = world();
        let token = world.token("u", 60);
        let key = world.upgraded();
        world.say(key, json!({"path": "connect", "token": token, "body": 7}));
        assert!(world.hear(key)[0].contains("bad_message"));
        assert!(world.notices().is_empty());
        world.end();
    }
}
