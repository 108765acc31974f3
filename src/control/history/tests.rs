//! The recorder beside a naive model: it keeps the newest happenings, whole, in their order, and each user's are those of
//! the user among them.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::links::Kicker;
use crate::metrics::{AuthResult, CloseReason};

const EPOCH: u64 = 7;
const CHUNK: usize = 1_024;

fn what() -> impl Strategy<Value = What> {
    let expires_at = || proptest::option::of(0..=1_u64 << 53);
    prop_oneof![
        expires_at().prop_map(|expires_at| What::Connected { expires_at }),
        expires_at().prop_map(|expires_at| What::Renewed { expires_at }),
        proptest::sample::select(AuthResult::ALL).prop_map(|why| What::Refused { why }),
        (
            proptest::sample::select(CloseReason::ALL),
            any::<u16>(),
            any::<u64>(),
            any::<u32>(),
            proptest::option::of(proptest::sample::select(Kicker::ALL)),
        )
            .prop_map(|(reason, code, lived_ms, queued_bytes, by)| What::Closed {
                reason,
                code,
                lived_ms,
                queued_bytes,
                by,
            }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let user = prop_oneof![3 => "[ab]", 1 => "[a-zäß]{1,40}"];
    let device = proptest::option::of("[a-z]{1,20}");
    let remote = proptest::option::of(any::<IpAddr>());
    // Time goes on, stands, or is put back.
    let at = prop_oneof![9 => 1_700_000_000_000_u64..1_700_000_100_000, 1 => any::<u64>()];
    (user, device, remote, at, what(), any::<(u16, u32, u32)>()).prop_map(
        |(user, device, remote, at_unix_ms, what, (reactor, index, generation))| Happening {
            connection: ConnectionId {
                epoch: EPOCH,
                reactor: reactor % 4,
                index: index % 3,
                generation: generation % 2,
            },
            user: user.into(),
            device: device.map(Into::into),
            remote,
            at_unix_ms,
            what,
        },
    )
}

/// Everything that was told, and how much of it the recorder still has.
fn check(recorder: &Recorder, told: &[Happening], bytes_max: usize) {
    assert!(recorder.bytes() <= bytes_max, "{} of {bytes_max}", recorder.bytes());
    assert!(recorder.events() <= told.len());
    let kept = &told[told.len() - recorder.events()..];
    let forgotten = &told[..told.len() - recorder.events()];
    assert!(forgotten.iter().all(|one| one.at_unix_ms <= recorder.since_ms()));
    let mut users: Vec<&str> = told.iter().map(|one| &*one.user).collect();
    users.sort_unstable();
    users.dedup();
    for user in users {
        let theirs: Vec<Happening> = kept.iter().filter(|one| *one.user == *user).cloned().collect();
        let all = recorder.recall(user, None, usize::MAX);
        assert_eq!((&all.happenings, all.more), (&theirs, false), "{user}");
        let newest = recorder.recall(user, None, 2);
        assert_eq!(newest.happenings, theirs[theirs.len().saturating_sub(2)..]);
        assert_eq!(newest.more, theirs.len() > 2);
        if let Some(one) = theirs.first() {
            let of_one = recorder.recall(user, Some(one.connection), usize::MAX).happenings;
            let expected: Vec<Happening> = theirs
                .iter()
                .filter(|other| other.connection == one.connection)
                .cloned()
                .collect();
            assert_eq!(of_one, expected);
        }
    }
    assert!(recorder.recall("nobody here", None, 9).happenings.is_empty());
}

proptest! {
    #[test]
    fn keeps_the_newest_whole_and_in_order(
        told in proptest::collection::vec(happening(), 1..400),
        bytes_max in 3_000_usize..12_000,
        smaller in 0_usize..9_000,
    ) {
        let mut recorder = Recorder::new(bytes_max, CHUNK, EPOCH, 0);
        for (at, happening) in told.iter().enumerate() {
            recorder.push(happening);
            if at % 50 == 0 {
                check(&recorder, &told[..=at], bytes_max);
            }
        }
        check(&recorder, &told, bytes_max);
        recorder.set_bytes_max(smaller, 0);
        if smaller > 0 {
            check(&recorder, &told, smaller);
        } else {
            prop_assert_eq!((recorder.events(), recorder.bytes(), recorder.is_on()), (0, 0, false));
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was(happening in happening(), base_ms: u64, previous: u64, behind in "[a-z]{0,9}") {
        let mut bytes = Vec::new();
        record::write(&mut bytes, &happening, base_ms, previous);
        let length = bytes.len();
        bytes.extend(behind.bytes());
        let mut reader = record::Reader::new(&bytes);
        let user = reader.user().unwrap();
        prop_assert_eq!(reader.previous(), Some(previous));
        let at_unix_ms = reader.at_unix_ms(base_ms).unwrap();
        prop_assert_eq!(reader.happening(user, at_unix_ms, EPOCH), Some(happening));
        prop_assert_eq!(reader.rest(), behind.as_bytes());
        // A piece of it is nothing, and no panic.
        for cut in 0..length {
            let mut reader = record::Reader::new(&bytes[..cut]);
            let whole = reader
                .user()
                .zip(reader.previous())
                .zip(reader.at_unix_ms(base_ms))
                .and_then(|((user, _), at)| reader.happening(user, at, EPOCH));
            prop_assert_eq!(whole, None);
        }
    }
}

fn login(user: &str, at_unix_ms: u64) -> Happening {
    Happening {
        connection: ConnectionId {
            epoch: EPOCH,
            reactor: 1,
            index: 5_000,
            generation: 70_000,
        },
        user: user.into(),
        device: Some("phone".into()),
        remote: Some([10, 0, 0, 7].into()),
        at_unix_ms,
        what: What::Connected {
            expires_at: Some(1_700_003_600),
        },
    }
}

fn end(user: &str, at_unix_ms: u64) -> Happening {
    Happening {
        what: What::Closed {
            reason: CloseReason::ConnectionLost,
            code: 1006,
            lived_ms: 1_109_000,
            queued_bytes: 0,
            by: None,
        },
        ..login(user, at_unix_ms)
    }
}

/// The figures of docs/monitoring.md.
#[test]
fn what_is_kept_takes_as_many_bytes_as_the_docs_say() {
    let length = |happening: &Happening, previous| {
        let mut bytes = Vec::new();
        record::write(&mut bytes, happening, happening.at_unix_ms - 1_000, previous);
        bytes.len()
    };
    let at_unix_ms = 1_700_000_000_000;
    assert_eq!(length(&login("user-12345", at_unix_ms), 0), 37);
    assert_eq!(length(&end("user-12345", at_unix_ms), 100_000), 42);

    let bytes_max = 16 << 20;
    let mut recorder = Recorder::new(bytes_max, CHUNK_BYTES, EPOCH, 0);
    let user = |n: u64| format!("user-{n:05}");
    // Everybody comes once, and goes while a thousand others are here.
    for n in 0..200_000_u64 {
        recorder.push(&login(&user(n), at_unix_ms + n));
        if let Some(gone) = n.checked_sub(1_000) {
            recorder.push(&end(&user(gone), at_unix_ms + n));
        }
    }
    assert!(recorder.bytes() <= bytes_max && recorder.bytes() > bytes_max * 9 / 10);
    let events_a_mib = recorder.events() / 16;
    assert!((19_000..20_500).contains(&events_a_mib), "{events_a_mib} a MiB");
}

#[test]
fn answers_of_several_nodes_become_one() {
    let counters = || Arc::new(NodeCounters::new(1));
    let (n1, n2) = (
        History::new("n1", EPOCH, 1 << 20, counters()),
        History::new("n2", EPOCH, 1 << 20, counters()),
    );
    n1.note(&[login("anna", 10), login("anna", 30)]);
    n2.note(&[login("anna", 20), login("berta", 25), login("anna", 40)]);
    let question = Question {
        user: "anna".into(),
        connection: None,
        limit: 3,
    };
    let mut answer = n1.recall(&question);
    answer.add(n2.recall(&question));
    answer.cut_to(3);
    let seen: Vec<_> = answer.events.iter().map(|event| (event.at_ms, &*event.node)).collect();
    assert_eq!(seen, [(20, "n2"), (30, "n1"), (40, "n2")]);
    assert!(answer.more && answer.since_ms.is_some());
    let json = serde_json::to_value(&answer.events[0]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "at_ms": 20, "event": "connected", "expires_at": 1_700_003_600, "connection": "0000000000000007-1-1388-11170",
            "node": "n2", "device": "phone", "remote": "10.0.0.7",
        })
    );
    assert_eq!(serde_json::from_value::<Event>(json).unwrap(), answer.events[0]);
}

#[test]
fn one_that_is_off_says_so_and_one_that_is_turned_on_begins_then() {
    let history = History::new("n1", EPOCH, 0, Arc::new(NodeCounters::new(1)));
    let question = Question {
        user: "anna".into(),
        connection: Some("not an id".into()),
        limit: 3,
    };
    history.note(&[login("anna", 10)]);
    assert_eq!(history.recall(&question), Answer::default());
    history.set_bytes_max(1 << 20);
    history.note(&[login("anna", 20)]);
    let answer = history.recall(&Question {
        connection: None,
        ..question
    });
    assert_eq!(answer.events.len(), 1);
    assert!(answer.since_ms.unwrap() > 0);
}
