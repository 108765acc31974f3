#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

fn ip(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn len(addresses: &Addresses) -> usize {
    addresses.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
}

#[test]
fn an_address_is_admitted_up_to_the_limit() {
    let addresses = Addresses::new();
    assert!(addresses.acquire(ip(1), 2));
    assert!(addresses.acquire(ip(1), 2));
    assert!(!addresses.acquire(ip(1), 2));
    assert!(addresses.acquire(ip(2), 2), "another one has its own count");
    addresses.release(ip(1));
    assert!(addresses.acquire(ip(1), 2));
    assert!(!addresses.acquire(ip(3), 0));
    assert_eq!(len(&addresses), 2);
}

#[test]
fn a_limit_that_was_lowered_holds_for_the_next() {
    let addresses = Addresses::new();
    for _ in 0..5 {
        assert!(addresses.acquire(ip(1), 5));
    }
    assert!(!addresses.acquire(ip(1), 2));
    for _ in 0..4 {
        addresses.release(ip(1));
    }
    assert!(addresses.acquire(ip(1), 2));
}

#[test]
fn nothing_is_kept_of_an_address_that_is_gone() {
    let addresses = Addresses::new();
    for number in 0..1000 {
        assert!(addresses.acquire(ip(number), 1));
    }
    assert_eq!(len(&addresses), 1000);
    for number in 0..1000 {
        addresses.release(ip(number));
    }
    assert_eq!(len(&addresses), 0);
    addresses.release(ip(1));
    assert!(addresses.acquire(ip(1), 1), "one released too often owes nothing");
    assert!(!addresses.acquire(ip(1), 1));
}

#[test]
fn an_ipv4_address_is_the_same_in_its_ipv6_form() {
    let addresses = Addresses::new();
    assert!(addresses.acquire("::ffff:10.0.0.1".parse().unwrap(), 1));
    assert!(!addresses.acquire("10.0.0.1".parse().unwrap(), 1));
    addresses.release("10.0.0.1".parse().unwrap());
    assert_eq!(len(&addresses), 0);
}

#[test]
fn counts_are_exact_while_threads_come_and_go() {
    const THREADS: u32 = 4;
    const MAX: usize = 3;
    const ADDRESSES: u32 = 8;
    let addresses = Addresses::new();
    let held: Vec<AtomicUsize> = (0..ADDRESSES).map(|_| AtomicUsize::new(0)).collect();
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (addresses, held, refused) = (&addresses, &held, &refused);
            scope.spawn(move || {
                // Holds up to four places at a time, so that all together want more than there are of each address.
                let mut mine = std::collections::VecDeque::new();
                for turn in 0..20_000_u32 {
                    let number = (turn / 4 + thread) % ADDRESSES;
                    if addresses.acquire(ip(number), MAX) {
                        let before = held[number as usize].fetch_add(1, Ordering::SeqCst);
                        assert!(before < MAX, "one too many was admitted");
                        mine.push_back(number);
                    } else {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    if mine.len() > 4 {
                        release(addresses, held, mine.pop_front());
                    }
                }
                for number in mine {
                    release(addresses, held, Some(number));
                }
            });
        }
    });
    assert_eq!(len(&addresses), 0, "everything that was acquired was released");
    assert!(refused.into_inner() > 0);
}

fn release(addresses: &Addresses, held: &[AtomicUsize], number: Option<u32>) {
    if let Some(number) = number {
        held[number as usize].fetch_sub(1, Ordering::SeqCst);
        addresses.release(ip(number));
    }
}
