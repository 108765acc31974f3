#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;

use super::*;

#[test]
fn a_user_has_the_same_hash_on_every_thread_and_another_in_another_process() {
    let shared = Shared::new(1, 1);
    let hash = shared.hash_user("anna");
    assert_eq!(
        thread::scope(|scope| scope.spawn(|| shared.hash_user("anna")).join().unwrap()),
        hash
    );
    assert_ne!(shared.hash_user("bert"), hash);
    let topic = shared.hash_topic("room.1");
    assert_eq!(
        thread::scope(|scope| scope.spawn(|| shared.hash_topic("room.1")).join().unwrap()),
        topic
    );
    assert_ne!(
        Shared::new(1, 1).hash_user("anna"),
        hash,
        "the epoch, which clients know, does not decide it"
    );
}

#[test]
fn no_two_openers_take_the_last_place() {
    let shared = Shared::new(2, 1);
    let seen: Vec<usize> = thread::scope(|scope| {
        let openers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..1000).map(|_| shared.connection_opened()).collect::<Vec<_>>()))
            .collect();
        openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect()
    });
    let mut sorted = seen;
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=2000).collect::<Vec<_>>());
    assert_eq!(shared.connections(), 2000);
    shared.connection_closed();
    assert_eq!(shared.connections(), 1999);
}

#[test]
fn each_reactor_has_its_own_cells() {
    let shared = Shared::new(3, 42);
    assert_eq!((shared.epoch(), shared.reactors(), shared.outbound_total()), (42, 3, 0));
    shared.outbound_set(0, 10);
    shared.outbound_set(2, 5);
    shared.outbound_set(0, 7);
    assert_eq!(shared.outbound_total(), 12);

    shared.filter(1).add(9);
    assert_eq!(
        [0, 1, 2].map(|reactor| shared.filter(reactor).may_hold(9)),
        [false, true, false]
    );
    assert!(!shared.topic_filter(1).may_hold(9), "users and topics are apart");
    shared.topic_filter(2).add(9);
    assert_eq!(
        [0, 1, 2].map(|reactor| shared.topic_filter(reactor).may_hold(9)),
        [false, false, true]
    );
    assert!(!shared.filter(2).may_hold(9));

    assert_eq!(shared.last_beat_us(1), 0);
    while shared.now_us() == 0 {}
    shared.beat(1);
    assert!(shared.last_beat_us(1) > 0 && shared.last_beat_us(1) <= shared.now_us());
    assert_eq!(shared.last_beat_us(0), 0);
    assert_eq!(align_of::<ReactorCell>(), 128);
}

#[test]
fn draining_has_no_way_back() {
    let shared = Shared::new(1, 1);
    assert!(!shared.draining());
    shared.set_draining();
    assert!(shared.draining());
}

#[test]
fn addresses_are_counted_over_all_reactors() {
    let shared = Shared::new(2, 1);
    let ip = "192.0.2.1".parse().unwrap();
    assert!(shared.address_acquire(ip, 1));
    assert!(!shared.address_acquire(ip, 1));
    shared.address_release(ip);
    assert!(shared.address_acquire(ip, 1));
}

#[test]
fn one_that_accepts_alone_keeps_the_others_out() {
    let shared = Shared::new(2, 1);
    assert!(shared.accept_begin() && shared.accept_begin());
    assert!(!shared.accept_alone(), "another is at it");
    shared.accept_end();
    assert!(shared.accept_alone());
    assert!(!shared.accept_begin());
    assert!(!shared.accept_alone(), "one at a time");
    shared.accept_alone_end();
    assert!(shared.accept_begin());
    shared.accept_end();
    shared.accept_end();
    shared.close();
    assert!(shared.deserted(), "nothing is left behind");
}

#[test]
fn a_closed_node_is_deserted_when_nobody_accepts_and_nobody_is_left() {
    let shared = Shared::new(2, 1);
    assert!(shared.accept_begin());
    shared.close();
    assert!(!shared.accept_begin(), "nobody begins any more");
    assert!(!shared.deserted(), "one has begun before");
    shared.connection_opened();
    shared.accept_end();
    assert!(!shared.deserted(), "whom it accepted is there");
    shared.connection_closed();
    assert!(shared.deserted() && shared.closed());
}
