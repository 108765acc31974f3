#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The same, but slow: it looks at everything, every time.
#[derive(Default)]
struct Oracle {
    deadlines_ms: BTreeMap<u32, u64>,
    now_ms: u64,
}

impl Oracle {
    fn earliest_ms(&self) -> Option<u64> {
        self.deadlines_ms.values().min().copied()
    }

    fn due(&self) -> Vec<u32> {
        self.deadlines_ms
            .iter()
            .filter(|&(_, &deadline_ms)| deadline_ms <= self.now_ms)
            .map(|(&i, _)| i)
            .collect()
    }
}

/// Everything that is due, each entry checked against the oracle and taken out of it.
fn pop_all(wheel: &mut Wheel, oracle: &mut Oracle, now_ms: u64) {
    oracle.now_ms = oracle.now_ms.max(now_ms);
    loop {
        while let Some(index) = wheel.pop_due(now_ms) {
            let deadline_ms = oracle.deadlines_ms.remove(&index).expect("popped what is not filed");
            assert!(deadline_ms <= oracle.now_ms, "popped early");
            assert_eq!(wheel.deadline_ms(index), None);
        }
        if wheel.next_due_ms().is_none_or(|due_ms| due_ms > oracle.now_ms) {
            break;
        }
    }
    assert_eq!(oracle.due(), Vec::<u32>::new(), "not popped though due");
}

fn check_agreement(wheel: &Wheel, oracle: &Oracle) {
    assert_eq!(wheel.len(), oracle.deadlines_ms.len());
    assert_eq!(wheel.is_empty(), oracle.deadlines_ms.is_empty());
    match (wheel.next_due_ms(), oracle.earliest_ms()) {
        (None, None) => {}
        (Some(due_ms), Some(earliest_ms)) => assert!(due_ms <= earliest_ms.max(oracle.now_ms)),
        (due_ms, earliest_ms) => panic!("next due at {due_ms:?}, earliest deadline {earliest_ms:?}"),
    }
}

/// Spans of time that matter: within a slot, around each level's borders, and far away.
fn span_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        4 => 0..300_000_u64,
        2 => (0..LEVELS as u32, -2..3_i64)
            .prop_map(|(level, off)| (1_u64 << (level * DIGIT_BITS)).saturating_add_signed(off)),
        1 => 0..LAST_MS,
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// The deadline is that long after now.
    File(u32, u64),
    /// It is that long before now.
    FilePast(u32, u64),
    /// Moves the deadline it has, later or earlier.
    Move(u32, i64),
    FileAtTheEnd(u32, u64),
    Cancel(u32),
    /// Then pops everything.
    Advance(u64),
    /// Then pops a few.
    AdvancePopSome(u64, usize),
    /// Pops everything, then asks again as of that long before.
    GoBack(u64),
    /// Advances to `next_due_ms` and pops everything, this often.
    Follow(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..50_u32;
    prop_oneof![
        10 => (index.clone(), span_ms()).prop_map(|(i, span)| Step::File(i, span)),
        1 => (index.clone(), span_ms()).prop_map(|(i, span)| Step::FilePast(i, span)),
        4 => (index.clone(), -100_000..100_000_i64).prop_map(|(i, by)| Step::Move(i, by)),
        1 => (index.clone(), 0..3_u64).prop_map(|(i, before)| Step::FileAtTheEnd(i, u64::MAX - before)),
        4 => index.prop_map(Step::Cancel),
        4 => span_ms().prop_map(Step::Advance),
        3 => (span_ms(), 0..5_usize).prop_map(|(span, count)| Step::AdvancePopSome(span, count)),
        1 => span_ms().prop_map(Step::GoBack),
        2 => (1..10_usize).prop_map(Step::Follow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn does_what_a_scan_over_everything_does(
        start_ms in prop_oneof![Just(0), 0..1_u64 << 41, Just(1_u64 << 36), Just((1_u64 << 36) - 1)],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut wheel = Wheel::new(start_ms);
        let mut oracle = Oracle { now_ms: start_ms, ..Oracle::default() };
        for step in steps {
            match step {
                Step::File(index, span_ms) => {
                    let deadline_ms = (oracle.now_ms + span_ms).min(LAST_MS);
                    wheel.file(index, deadline_ms);
                    oracle.deadlines_ms.insert(index, deadline_ms);
                }
                Step::FilePast(index, span_ms) => {
                    let deadline_ms = oracle.now_ms.saturating_sub(span_ms);
                    wheel.file(index, deadline_ms);
                    oracle.deadlines_ms.insert(index, deadline_ms);
                }
                Step::Move(index, by_ms) => {
                    if let Some(deadline_ms) = oracle.deadlines_ms.get_mut(&index) {
                        *deadline_ms = deadline_ms.saturating_add_signed(by_ms).min(LAST_MS);
                        wheel.file(index, *deadline_ms);
                    }
                }
                Step::FileAtTheEnd(index, deadline_ms) => {
                    wheel.file(index, deadline_ms);
                    oracle.deadlines_ms.insert(index, LAST_MS);
                }
                Step::Cancel(index) => {
                    wheel.cancel(index);
                    oracle.deadlines_ms.remove(&index);
                }
                Step::Advance(span_ms) => {
                    let now_ms = (oracle.now_ms + span_ms).min(LAST_MS);
                    pop_all(&mut wheel, &mut oracle, now_ms);
                }
                Step::AdvancePopSome(span_ms, count) => {
                    oracle.now_ms = (oracle.now_ms + span_ms).min(LAST_MS);
                    for _ in 0..count {
                        let Some(index) = wheel.pop_due(oracle.now_ms) else { break };
                        let deadline_ms = oracle.deadlines_ms.remove(&index).expect("popped what is not filed");
                        prop_assert!(deadline_ms <= oracle.now_ms, "popped early");
                    }
                }
                Step::GoBack(span_ms) => {
                    let now_ms = oracle.now_ms;
                    pop_all(&mut wheel, &mut oracle, now_ms);
                    pop_all(&mut wheel, &mut oracle, now_ms.saturating_sub(span_ms));
                }
                Step::Follow(count) => {
                    for _ in 0..count {
                        let Some(due_ms) = wheel.next_due_ms() else { break };
                        let now_ms = due_ms.max(oracle.now_ms);
                        pop_all(&mut wheel, &mut oracle, now_ms);
                    }
                }
            }
            check_agreement(&wheel, &oracle);
            for index in 0..50 {
                prop_assert_eq!(wheel.deadline_ms(index), oracle.deadlines_ms.get(&index).copied());
            }
        }
    }

    #[test]
    fn whoever_follows_next_due_alone_pops_each_entry_at_its_very_tick(
        start_ms in 0..1_u64 << 41,
        spans_ms in prop::collection::vec(span_ms(), 1..100),
    ) {
        let mut wheel = Wheel::new(start_ms);
        let deadlines_ms: Vec<u64> = spans_ms.iter().map(|span_ms| start_ms + span_ms).collect();
        for (index, &deadline_ms) in (0..).zip(&deadlines_ms) {
            wheel.file(index, deadline_ms.min(LAST_MS));
        }
        let mut calls = 0;
        while let Some(now_ms) = wheel.next_due_ms() {
            calls += 1;
            while let Some(index) = wheel.pop_due(now_ms) {
                prop_assert_eq!(deadlines_ms[index as usize].min(LAST_MS), now_ms);
            }
        }
        // An entry calls its owner once, and at most once more for each level above the lowest.
        prop_assert!(calls <= deadlines_ms.len() * LEVELS);
    }
}

#[test]
fn a_slot_too_full_to_move_in_one_call_is_moved_in_several() {
    let count = 3 * MOVES_MAX as u32 + 100;
    let mut wheel = Wheel::new(0);
    // All in one slot of level 2, which begins at 4096 ms, and none of them due then.
    for index in 0..count {
        wheel.file(index, 4097 + u64::from(index) % 4000);
    }
    let mut calls = 0;
    while wheel.next_due_ms() == Some(4096) {
        calls += 1;
        assert_eq!(wheel.pop_due(4096), None);
        // What else happens while the slot is half moved: one is cancelled, one moved, one new.
        wheel.cancel(1);
        wheel.file(2, 8000);
        wheel.file(count, 5000);
    }
    assert_eq!(calls, 4);
    assert_eq!(wheel.deadline_ms(2), Some(8000));
    let mut popped = vec![];
    while let Some(now_ms) = wheel.next_due_ms() {
        popped.extend(std::iter::from_fn(|| wheel.pop_due(now_ms)));
    }
    popped.sort_unstable();
    assert_eq!(popped, (0..=count).filter(|&index| index != 1).collect::<Vec<_>>());
}

#[test]
fn cancelling_all_the_rest_of_a_half_moved_slot_ends_the_move() {
    let count = 2 * MOVES_MAX as u32;
    let mut wheel = Wheel::new(0);
    for index in 0..count {
        wheel.file(index, 5000);
    }
    assert_eq!(wheel.pop_due(4096), None);
    for index in 0..count {
        wheel.cancel(index);
    }
    assert_eq!(wheel.next_due_ms(), None);
    // The same slot again, a whole turn of its level later.
    wheel.file(0, 262_144 + 5000);
    assert_eq!(wheel.pop_due(262_144 + 4999), None);
    assert_eq!(wheel.pop_due(262_144 + 5000), Some(0));
}

#[test]
fn only_the_table_of_entries_allocates() {
    let mut wheel = Wheel::new(0);
    wheel.file(999, 1);
    let capacity = wheel.entries.capacity();
    for round in 0..10 {
        for index in 0..1000 {
            wheel.file(index, round * 100_000 + u64::from(index) * 97);
        }
        while wheel.pop_due(round * 100_000 + 50_000).is_some() {}
    }
    assert_eq!(wheel.entries.capacity(), capacity);
    assert_eq!(size_of::<Entry>(), 16);
}

#[test]
fn an_index_that_never_was_filed_has_no_deadline() {
    let mut wheel = Wheel::new(7);
    assert_eq!(wheel.deadline_ms(3), None);
    wheel.cancel(3);
    wheel.file(5, 20);
    wheel.cancel(3);
    assert_eq!(wheel.deadline_ms(3), None);
    assert_eq!((wheel.len(), wheel.next_due_ms()), (1, Some(20)));
}
