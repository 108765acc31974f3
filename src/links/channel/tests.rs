#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::*;

/// A sleep that a wake before it ends, as `mio::Poll` and its `Waker`.
#[derive(Default)]
struct Pillow {
    woken: Mutex<bool>,
    changed: Condvar,
    wakes: AtomicUsize,
}

impl Wake for Arc<Pillow> {
    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Pillow {
    /// Panics if nobody wakes it: a lost wake-up fails the test instead of hanging it.
    fn sleep(&self) {
        let woken = self.woken.lock().unwrap();
        let (mut woken, waited) = self
            .changed
            .wait_timeout_while(woken, Duration::from_secs(60), |woken| !*woken)
            .unwrap();
        assert!(!waited.timed_out(), "nobody woke the reader");
        *woken = false;
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Relaxed)
    }
}

type Pillowed<T> = (Sender<T, Arc<Pillow>>, Receiver<T, Arc<Pillow>>, Arc<Pillow>);

fn pillow_channel<T>(capacity: usize) -> Pillowed<T> {
    let pillow = Arc::<Pillow>::default();
    let (sender, receiver) = channel(capacity, Arc::clone(&pillow));
    (sender, receiver, pillow)
}

#[test]
fn items_come_out_in_order_and_a_full_queue_gives_the_item_back() {
    let (sender, receiver, _) = pillow_channel(2);
    assert!(sender.is_empty() && receiver.is_empty());
    assert_eq!(sender.send("a"), Ok(()));
    assert!(!sender.is_full());
    assert_eq!(sender.send("b"), Ok(()));
    assert!(sender.is_full());
    assert_eq!(sender.send("c"), Err("c"));
    assert_eq!((sender.len(), receiver.len()), (2, 2));
    assert_eq!(receiver.take(), Some("a"));
    assert_eq!(sender.clone().send("d"), Ok(()));
    assert_eq!(
        [receiver.take(), receiver.take(), receiver.take()],
        [Some("b"), Some("d"), None]
    );
}

#[test]
fn a_queue_for_nothing_holds_one() {
    let (sender, receiver, _) = pillow_channel(0);
    assert_eq!(sender.send(1), Ok(()));
    assert_eq!(sender.send(2), Err(2));
    assert_eq!(receiver.take(), Some(1));
}

#[test]
fn without_a_reader_the_item_comes_back() {
    let (sender, receiver, pillow) = pillow_channel(2);
    drop(receiver);
    assert_eq!(sender.send(1), Err(1));
    assert_eq!(pillow.wakes(), 0);
}

#[test]
fn the_reader_is_woken_once_and_only_when_it_sleeps() {
    let (sender, receiver, pillow) = pillow_channel(10);
    sender.send(1).unwrap();
    assert_eq!(pillow.wakes(), 0, "it had not said that it sleeps");
    assert!(!receiver.prepare_sleep(), "something waits");
    sender.send(2).unwrap();
    assert_eq!(pillow.wakes(), 0, "it did not go to sleep");
    while receiver.take().is_some() {}

    assert!(receiver.prepare_sleep());
    sender.send(3).unwrap();
    sender.clone().send(4).unwrap();
    assert_eq!(pillow.wakes(), 1);
    pillow.sleep();
    receiver.awake();
    sender.send(5).unwrap();
    assert_eq!(pillow.wakes(), 1);
    while receiver.take().is_some() {}

    assert!(receiver.prepare_sleep());
    receiver.awake();
    sender.send(6).unwrap();
    assert_eq!(pillow.wakes(), 1, "something else had woken it");
}

#[test]
fn a_mio_waker_ends_a_poll() {
    let mut poll = mio::Poll::new().unwrap();
    let (sender, receiver) = channel(1, mio::Waker::new(poll.registry(), mio::Token(7)).unwrap());
    assert!(receiver.prepare_sleep());
    let writer = thread::spawn(move || sender.send("hello"));
    let mut events = mio::Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
    receiver.awake();
    assert_eq!(
        events.iter().map(mio::event::Event::token).collect::<Vec<_>>(),
        [mio::Token(7)]
    );
    writer.join().unwrap().unwrap();
    assert_eq!(receiver.take(), Some("hello"));
}

#[test]
fn many_writers_lose_nothing_and_keep_their_order() {
    const WRITERS: usize = 4;
    const ITEMS: usize = 50_000;
    let (sender, receiver, pillow) = pillow_channel(64);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let sender = sender.clone();
            thread::spawn(move || {
                for number in 0..ITEMS {
                    let mut item = (writer, number);
                    while let Err(refused) = sender.send(item) {
                        item = refused;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; WRITERS];
    let mut sleeps = 0;
    while next.iter().sum::<usize>() < WRITERS * ITEMS {
        while let Some((writer, number)) = receiver.take() {
            assert_eq!(number, next[writer]);
            next[writer] += 1;
        }
        if next.iter().sum::<usize>() < WRITERS * ITEMS && receiver.prepare_sleep() {
            sleeps += 1;
            pillow.sleep();
            receiver.awake();
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!((next, receiver.take()), ([ITEMS; WRITERS], None));
    // One for each sleep, and one more where a writer rang just before the reader found its item by itself.
    assert!(pillow.wakes() >= sleeps);
}
