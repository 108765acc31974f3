//! What control is told of who comes and goes: once each, in order, with the reason and the code that was really said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::protocol::frame::Opcode;
use crate::shard::gateway::notices::WAITING_MAX;

fn told_settings() -> Settings {
    let mut settings = settings();
    settings.nats.url = vec!["nats://127.0.0.1:4222".into()];
    settings
}

/// A client's frame, masked with zeros, of at most 125 bytes.
fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode as u8, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// The notices, in a short form.
fn news(world: &mut World) -> Vec<String> {
    world.notices().iter().map(|notice| short(world, notice)).collect()
}

fn short(world: &World, notice: &Notice) -> String {
    let device = |device: &Option<Box<str>>| device.as_deref().unwrap_or("-").to_owned();
    let now = world.shard.engine.now().unix_ms;
    match notice {
        Notice::Connected {
            connection,
            user,
            device: d,
            at_unix_ms,
        } => {
            assert_eq!(*at_unix_ms, now);
            format!("+{user} {} {}", device(d), connection.index)
        }
        Notice::Disconnected {
            connection,
            user,
            device: d,
            at_unix_ms,
            reason,
            code,
        } => {
            assert_eq!(*at_unix_ms, now);
            format!("-{user} {} {} {} {code}", device(d), connection.index, reason.label())
        }
        Notice::Call(call) => format!("call {}", call.path),
        Notice::Claim { user, .. } => format!("claim {user}"),
        Notice::Release { user, .. } => format!("release {user}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_end_has_its_reason_and_the_code_that_was_said() {
    type Act = fn(&mut World, Key);
    let cases: &[(CloseReason, u16, Act)] = &[
        (CloseReason::Client, 1000, |world, key| {
            let close = client_frame(Opcode::Close, &1000_u16.to_be_bytes());
            world.shard.receive(key, &mut close.clone());
        }),
        (CloseReason::Client, 3999, |world, key| {
            let mut close = client_frame(Opcode::Close, &[&3999_u16.to_be_bytes()[..], b"bye"].concat());
            world.shard.receive(key, &mut close);
        }),
        (CloseReason::Client, 1005, |world, key| {
            world.shard.receive(key, &mut client_frame(Opcode::Close, b""));
        }),
        (CloseReason::ConnectionLost, 1006, |world, key| world.shard.lost(key)),
        (CloseReason::ConnectionLost, 1006, |world, key| {
            world.shard.end_of_file(key);
        }),
        (CloseReason::PingTimeout, 1001, |world, _| {
            world.pass(25_000);
            world.pass(11_000);
        }),
        (CloseReason::ProtocolError, 1002, |world, key| {
            world.shard.receive(key, &mut [0x81, 0x01, b'x']);
        }),
        (CloseReason::ProtocolError, 1002, |world, key| {
            // A code that may not be sent is none that was said.
            let mut close = client_frame(Opcode::Close, &1005_u16.to_be_bytes());
            world.shard.receive(key, &mut close);
        }),
        (CloseReason::UnsupportedData, 1003, |world, key| {
            world.shard.receive(key, &mut client_frame(Opcode::Binary, b"x"));
        }),
        (CloseReason::BadUtf8, 1007, |world, key| {
            world.shard.receive(key, &mut client_frame(Opcode::Text, b"\xFF"));
        }),
        (CloseReason::MessageTooBig, 1009, |world, key| {
            world
                .shard
                .receive(key, &mut [0x81, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        }),
        (CloseReason::BadMessages, 1008, |world, key| {
            for _ in 0..10 {
                world.say(key, json!([]));
            }
        }),
        (CloseReason::Drain, 1012, |world, _| {
            world.shard.command(Command::Drain { window_ms: 0 });
            world.shard.run();
        }),
        (CloseReason::Overload, 1013, |world, _| {
            world.push_user("u", &"x".repeat(2_500), None);
            world.shard.run();
        }),
        (CloseReason::AuthFailed, 4401, |world, key| {
            for _ in 0..3 {
                world.say(key, json!({"path": "ping", "token": "wrong"}));
            }
        }),
        (CloseReason::Kicked, 4403, |world, key| {
            let connection = world.id(key);
            world.shard.command(Command::KickConnection {
                connection,
                code: 4403,
                text: "kicked".into(),
                by: Kicker::Api,
                ticket: None,
            });
        }),
        (CloseReason::Kicked, 3456, |world, _| {
            let user = world.user("u");
            world.shard.command(Command::KickUser {
                user,
                code: 3456,
                text: "go".into(),
                by: Kicker::Api,
                ticket: None,
            });
        }),
        (CloseReason::SessionPolicy, 4409, |world, key| {
            let connection = world.id(key);
            world.shard.command(Command::Replace { connection });
        }),
        (CloseReason::TokenExpired, 4410, |world, _| world.pass(20_000)),
        (CloseReason::SlowConsumer, 4413, |world, _| {
            world.push_user("u", &"x".repeat(4_000), None);
        }),
        (CloseReason::RateLimited, 4429, |world, key| {
            for _ in 0..120 {
                world.say(key, json!({"path": "ping"}));
            }
        }),
    ];
    for (reason, code, act) in cases {
        let mut settings = told_settings();
        settings.limits.messages_per_second = 50;
        settings.limits.outbound_bytes = 3_000;
        settings.limits.outbound_total_bytes = 2_000;
        let mut world = World::new(settings);
        let ttl_seconds = if *reason == CloseReason::TokenExpired {
            20
        } else {
            3_600
        };
        let token = world.token("u", ttl_seconds);
        let key = world.connected_with(&token);
        assert_eq!(news(&mut world), [format!("+u - {}", key.index)]);
        act(&mut world, key);
        assert_eq!(
            news(&mut world),
            [format!("-u - {} {} {code}", key.index, reason.label())]
        );
        if !matches!(code, 1005 | 1006) {
            let heard = world.hear(key).pop().unwrap();
            assert!(heard.starts_with(&code.to_string()), "{reason:?}: {heard}");
        }
        // Whatever becomes of the socket then is no second end.
        world.shard.lost(key);
        world.pass(2_000);
        assert!(news(&mut world).is_empty(), "{reason:?}");
        world.end();
    }
    let told: Vec<_> = cases.iter().map(|(reason, ..)| reason).collect();
    // No connection that was logged in ends by these; nothing in the gateway is a fault of its own.
    use CloseReason::{ConnectTimeout, HandshakeTimeout, Internal};
    for reason in CloseReason::ALL {
        let is_late = matches!(reason, ConnectTimeout | HandshakeTimeout | Internal);
        assert_eq!(told.contains(&reason), !is_late, "{reason:?}");
    }
}

#[test]
fn it_comes_before_the_calls_and_goes_behind_them() {
    let mut world = World::new(told_settings());
    let key = world.upgraded();
    let token = world.token("u", 60);
    // All of it in one read, and the login in a message that is a call itself.
    let mut bytes = client_text(&json!({"path": "a", "token": token}).to_string());
    bytes.extend(client_text(&json!({"path": "b/c"}).to_string()));
    bytes.extend(client_frame(Opcode::Close, b""));
    bytes.extend(client_text(&json!({"path": "d"}).to_string()));
    world.shard.receive(key, &mut bytes);
    let index = key.index;
    assert_eq!(
        news(&mut world),
        [
            format!("+u - {index}"),
            "call a".into(),
            "call b/c".into(),
            format!("-u - {index} client 1005"),
        ]
    );
    world.end();
}

#[test]
fn a_renewal_is_no_login_and_the_device_stays() {
    let mut world = World::new(told_settings());
    let key = world.upgraded();
    let token = world.token("u", 60);
    let body = json!({"device": "phone"});
    world.say(key, json!({"path": "connect", "token": token, "body": body}));
    assert_eq!(news(&mut world), [format!("+u phone {}", key.index)]);
    let body = json!({"device": "laptop"});
    world.say(key, json!({"path": "connect", "token": token, "body": body}));
    world.say(key, json!({"path": "ping", "token": token}));
    assert!(news(&mut world).is_empty());
    world.pass(500);
    world.shard.lost(key);
    assert_eq!(
        news(&mut world),
        [format!("-u phone {} connection_lost 1006", key.index)]
    );
    world.end();
}

#[test]
fn whoever_never_logged_in_is_not_spoken_of() {
    let mut world = World::new(told_settings());
    let [silent, wrong, half] = [(); 3].map(|()| world.upgraded());
    world.say(wrong, json!({"path": "connect", "token": "wrong"}));
    world.say(half, json!({"path": "order/create"}));
    for key in [silent, wrong, half] {
        world.shard.lost(key);
    }
    let unfinished = world.shard.open(None);
    world.shard.end_of_file(unfinished);
    let refused = world.shard.open(None);
    world.shard.receive(refused, &mut b"GET / HTTP/1.1\r\n\r\n".to_vec());
    assert!(news(&mut world).is_empty());
    world.end();
}

#[test]
fn nothing_is_told_where_nobody_listens() {
    let mut world = World::new(settings());
    let key = world.connected("u");
    // Not even after a reload that names a bus: it takes a restart.
    world.shard.command(Command::Reload(Arc::new(told_settings())));
    let other = world.connected("v");
    world.shard.lost(key);
    world.shard.lost(other);
    assert!(news(&mut world).is_empty());
    world.end();

    let mut world = World::new(told_settings());
    let key = world.connected("u");
    world.shard.command(Command::Reload(Arc::new(settings())));
    world.shard.lost(key);
    assert_eq!(news(&mut world).len(), 2, "and none is left without its other");
    world.end();
}

#[test]
fn a_session_is_claimed_first_and_given_back_last() {
    let mut settings = told_settings();
    settings.sessions.per_user_max = 1;
    let mut world = World::new(settings);
    let token = world.token("u", 60);
    let [admitted, refused, gone] = [true, false, true].map(|admitted| {
        let key = world.upgraded();
        world.say(key, json!({"path": "connect", "token": token}));
        assert_eq!(news(&mut world), ["claim u"]);
        (key, admitted)
    });
    world.shard.lost(gone.0);
    assert_eq!(news(&mut world), ["release u"]);
    for (key, admitted) in [admitted, refused, gone] {
        let connection = world.id(key);
        world.shard.command(Command::Admit { connection, admitted });
    }
    let index = admitted.0.index;
    assert_eq!(news(&mut world), [format!("+u - {index}")]);
    let connection = world.id(admitted.0);
    world.shard.command(Command::Replace { connection });
    assert_eq!(
        news(&mut world),
        [format!("-u - {index} session_policy 4409"), "release u".into()]
    );
    world.end();
}

#[test]
fn a_crowd_that_leaves_at_once_stops_neither_pushes_nor_calls() {
    const CROWD: usize = WAITING_MAX + 1_000;
    let mut world = World::new(told_settings());
    let stays = world.connected("stays");
    let crowd: Vec<Key> = (0..CROWD)
        .map(|_| {
            let key = world.connected("u");
            world.notices();
            key
        })
        .collect();
    for &key in &crowd {
        world.shard.lost(key);
    }
    // Control takes nothing for a while.
    for _ in 0..3 {
        let notice = world.shard.next_notice().unwrap();
        world.shard.notice_refused(notice);
        world.shard.run();
    }
    assert!(world.shard.takes_commands());
    world.push_user("stays", "hello", Some(1));
    world.say(stays, json!({"path": "order/create", "id": 1}));
    assert_eq!(world.hear(stays), ["hello"], "and no refusal");

    // Who comes now waits until control has heard of some who went, and no turn spins for it.
    let newcomer = world.upgraded();
    let token = world.token("u", 60);
    world.say(newcomer, json!({"path": "connect", "token": token}));
    assert_ne!(world.shard.run(), Next::Now);
    assert_eq!(world.stage(newcomer), Stage::Unauthenticated);
    let mut gone = Vec::new();
    while gone.len() < CROWD - WAITING_MAX + 1 {
        gone.push(world.shard.next_notice().unwrap());
    }
    world.shard.run();
    assert_eq!(world.stage(newcomer), Stage::Open);

    gone.extend(world.notices());
    let came = gone.pop().unwrap();
    assert_eq!(short(&world, &came), format!("+u - {}", newcomer.index));
    assert!(matches!(gone.pop().unwrap(), Notice::Call(_)));
    assert!(matches!(gone.pop().unwrap(), Notice::Pushed { ticket: 1, .. }));
    let gone: Vec<u32> = gone
        .iter()
        .map(|notice| match notice {
            Notice::Disconnected { connection, .. } => connection.index,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(gone, crowd.iter().map(|key| key.index).collect::<Vec<_>>());
    world.end();
}
