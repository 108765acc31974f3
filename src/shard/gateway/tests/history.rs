//! What the flight recorder is told, and that nobody waits for it.

use super::*;
use crate::links::{Happening, What};
use crate::metrics::AuthResult;
use crate::shard::gateway::history::{GATHERED_MS, WAITING_MAX};

fn recorded_settings() -> Settings {
    let mut settings = settings();
    settings.limits.history_bytes = 1 << 20;
    settings
}

/// What the recorder was told since the last time.
fn told(world: &mut World) -> Vec<Happening> {
    world.pass(GATHERED_MS);
    world.shard.run();
    world
        .notices()
        .into_iter()
        .flat_map(|notice| match notice {
            Notice::History(happenings) => happenings,
            _ => Vec::new(),
        })
        .collect()
}

fn short(happenings: &[Happening]) -> Vec<String> {
    let one = |happening: &Happening| {
        let what = match happening.what {
            What::Connected { expires_at } => format!("connected {}", expires_at.is_some()),
            What::Renewed { .. } => "renewed".into(),
            What::Refused { why } => format!("refused {}", why.label()),
            What::Closed {
                reason,
                code,
                lived_ms,
                by,
                ..
            } => {
                let by = by.map_or("-", Kicker::label);
                format!("closed {} {code} {lived_ms} {by}", reason.label())
            }
        };
        format!("{} {what}", happening.user)
    };
    happenings.iter().map(one).collect()
}

#[test]
fn a_life_is_told_from_login_to_end() {
    let mut world = World::new(recorded_settings());
    let key = world.shard.open(Some([10, 0, 0, 7].into()));
    world.shard.receive(key, &mut HEAD.to_vec());
    let token = world.token("anna", 60);
    world.say(
        key,
        json!({"path": "connect", "token": token, "body": {"device": "phone"}}),
    );
    // The same token again is no news, one that holds longer is.
    world.say(key, json!({"path": "ping", "token": token}));
    let longer = world.token("anna", 3_600);
    world.say(key, json!({"path": "ping", "token": longer}));
    world.say(key, json!({"path": "ping", "token": "wrong"}));
    let other = world.token("berta", 60);
    world.say(key, json!({"path": "ping", "token": other}));
    world.pass(1_500);
    world.shard.lost(key);
    let told = told(&mut world);
    assert_eq!(
        short(&told),
        [
            "anna connected true",
            "anna renewed",
            "anna refused token_invalid",
            "anna refused user_mismatch",
            "anna closed connection_lost 1006 1500 -",
        ]
    );
    for happening in &told {
        assert_eq!(happening.connection, world.id(key));
        assert_eq!(
            (happening.device.as_deref(), happening.remote),
            (Some("phone"), Some([10, 0, 0, 7].into()))
        );
    }
    world.end();
}

#[test]
fn a_refused_login_is_told_where_it_is_known_whose_it_was() {
    let mut world = World::new(recorded_settings());
    let key = world.upgraded();
    let token = world.token("anna", 1);
    world.pass(2_000);
    world.say(
        key,
        json!({"path": "connect", "token": token, "body": {"device": "tablet"}}),
    );
    world.say(key, json!({"path": "connect", "token": "x.y.z"}));
    let told = told(&mut world);
    assert_eq!(short(&told), ["anna refused token_expired"]);
    assert_eq!(told[0].device.as_deref(), Some("tablet"));
    world.end();
}

#[test]
fn a_refusal_by_the_session_policy_is_told() {
    let mut settings = recorded_settings();
    settings.sessions.per_user_max = 1;
    let mut world = World::new(settings);
    let key = world.upgraded();
    let token = world.token("anna", 60);
    world.say(key, json!({"path": "connect", "token": token}));
    world.notices();
    let connection = world.id(key);
    world.shard.command(Command::Admit {
        connection,
        admitted: false,
    });
    assert_eq!(
        short(&told(&mut world)),
        [format!("anna refused {}", AuthResult::SessionPolicy.label())]
    );
    world.end();
}

#[test]
fn a_kick_says_by_whom_and_nothing_else_does() {
    let mut world = World::new(recorded_settings());
    let (kicked, other) = (world.connected("anna"), world.connected("berta"));
    told(&mut world);
    let user = world.user("anna");
    world.shard.command(Command::KickUser {
        user,
        code: 4000,
        text: "go".into(),
        by: Kicker::Bus,
        ticket: None,
    });
    world.shard.lost(other);
    assert_eq!(
        short(&told(&mut world)),
        [
            "anna closed kicked 4000 50 nats",
            "berta closed connection_lost 1006 50 -"
        ]
    );
    assert_eq!(world.stage(kicked), Stage::Closing);
    world.end();
}

#[test]
fn a_slow_consumers_queue_is_told_as_it_was() {
    let mut settings = recorded_settings();
    settings.limits.outbound_bytes = 3_000;
    let mut world = World::new(settings);
    world.connected("anna");
    for _ in 0..3 {
        world.push_user("anna", &"x".repeat(1_000), None);
    }
    let told = told(&mut world);
    let What::Closed {
        reason, queued_bytes, ..
    } = told[1].what
    else {
        panic!("{told:?}")
    };
    // Two frames of 1,000 bytes and a header of four each; the third did not fit.
    assert_eq!((reason, queued_bytes), (CloseReason::SlowConsumer, 2_008));
    world.end();
}

#[test]
fn what_has_no_room_is_counted_and_nobody_waits() {
    let mut world = World::new(recorded_settings());
    let lives = WAITING_MAX / 2 + 10;
    for _ in 0..lives {
        let key = world.connected("anna");
        world.shard.lost(key);
        world.shard.engine.next_dead();
    }
    assert!(world.shard.takes_commands());
    assert_eq!(world.shard.engine.counters().history_dropped.get(), 20);
    // The outbox refuses it: it comes again, whole.
    world.shard.run();
    let notice = world.shard.next_notice().unwrap();
    world.shard.notice_refused(notice);
    assert_eq!(told(&mut world).len(), WAITING_MAX);
    world.end();
}

#[test]
fn a_reload_turns_it_on_and_off() {
    let mut world = World::new(settings());
    world.connected("anna");
    assert!(told(&mut world).is_empty());
    let reload = |world: &mut World, settings| world.shard.command(Command::Reload(Arc::new(settings)));
    reload(&mut world, recorded_settings());
    world.connected("berta");
    assert_eq!(short(&told(&mut world)), ["berta connected true"]);
    reload(&mut world, settings());
    world.connected("clara");
    assert!(told(&mut world).is_empty());
    world.end();
}
