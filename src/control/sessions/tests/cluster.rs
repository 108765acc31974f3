//! What nodes say to each other, message by message: two or three registries, each step by hand.

use super::super::{Answer, Batch, HOLD_US, Released};
use super::*;

const MEMBERS: [u64; 3] = [1, 2, 3];

fn of(epoch: u64, index: u32) -> ConnectionId {
    ConnectionId { epoch, ..id(index) }
}

/// A node with the policy it lives by; it knows of the others.
struct Node {
    epoch: u64,
    policy: Policy,
    registry: Registry,
    members: Vec<u64>,
}

impl Node {
    fn login(&mut self, index: u32, device: Option<&str>, at_us: u64, ask: bool) {
        let login = Login {
            connection: of(self.epoch, index),
            user: "u".into(),
            device: device.map(Into::into),
        };
        let now = Now {
            unix_us: at_us,
            steady_us: at_us,
        };
        self.registry.login(&self.policy, login, now, ask);
    }

    fn release(&mut self, index: u32) {
        self.registry.release(of(self.epoch, index), "u");
    }

    fn says(&mut self) -> Option<Batch> {
        self.registry.batch(&self.policy, &self.members, 1_000)
    }

    fn says_one(&mut self) -> Batch {
        let batch = self.says().expect("something to say");
        assert_eq!(self.says(), None);
        batch
    }

    fn hears(&mut self, from: u64, batch: &Batch) -> Option<Answer> {
        self.registry.heard(&self.policy, from, batch.clone())
    }

    fn is_answered(&mut self, from: u64, answer: Option<Answer>) {
        self.registry
            .answer(&self.policy, from, answer.expect("an answer was owed"));
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        std::iter::from_fn(|| self.registry.verdict()).collect()
    }

    fn knows(&self) -> Vec<ConnectionId> {
        self.registry
            .known("u")
            .into_iter()
            .map(|(connection, _)| connection)
            .collect()
    }
}

/// Two nodes that know of each other.
fn pair(policy: &Policy) -> (Node, Node) {
    let node = |epoch| Node {
        epoch,
        policy: policy.clone(),
        registry: Registry::new(epoch),
        members: vec![1, 2],
    };
    (node(1), node(2))
}

/// A login that is asked about and admitted: all that is said about it.
fn admit(node: &mut Node, other: &mut Node, index: u32, device: Option<&str>, at_us: u64) {
    node.login(index, device, at_us, true);
    let batch = node.says_one();
    node.is_answered(other.epoch, other.hears(node.epoch, &batch));
    assert_eq!(node.verdicts(), [Verdict::Admit(of(node.epoch, index))]);
}

fn reject(max: usize) -> Policy {
    policy(max, WhenFull::Reject, false)
}

#[test]
fn a_claim_waits_for_all_nodes_and_is_refused_for_a_place_elsewhere() {
    let (mut one, mut two) = pair(&reject(1));
    admit(&mut one, &mut two, 1, None, 10);
    two.members = MEMBERS.into();
    two.login(1, None, 20, true);
    let batch = two.says_one();
    assert!(batch.asks && !batch.reset);
    let answer = one.hears(2, &batch).unwrap();
    assert_eq!(answer.places.len(), 1);
    two.is_answered(1, Some(answer));
    assert_eq!(two.verdicts(), [], "one of the others has not answered");
    let nothing = Answer {
        batch: batch.id,
        as_of_us: 0,
        places: Vec::new(),
    };
    two.is_answered(3, Some(nothing));
    assert_eq!(two.verdicts(), [Verdict::Refuse(of(2, 1))]);
    assert_eq!(one.verdicts(), []);
    let released = two.says_one();
    assert_eq!(
        released.released,
        [Released {
            connection: of(2, 1),
            user: "u".into()
        }]
    );
    assert!(!released.asks);
    assert_eq!(one.hears(2, &released), None);
    assert_eq!(one.knows(), [of(1, 1)]);
    assert_eq!(two.registry.users(), 0);
}

#[test]
fn a_claim_that_an_answer_has_told_of_is_asked_about_all_the_same() {
    let (mut one, mut two) = pair(&reject(1));
    one.login(1, None, 10, true);
    two.login(1, None, 20, true);
    let claim = two.says_one();
    two.is_answered(1, one.hears(2, &claim));
    assert_eq!(two.verdicts(), [Verdict::Refuse(of(2, 1))]);
    let claim = one.says_one();
    one.is_answered(2, two.hears(1, &claim));
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 1))]);
}

#[test]
fn replace_oldest_closes_the_oldest_on_its_own_node() {
    let (mut one, mut two) = pair(&policy(1, WhenFull::ReplaceOldest, false));
    admit(&mut one, &mut two, 1, None, 10);
    admit(&mut two, &mut one, 1, None, 20);
    assert_eq!(one.verdicts(), [Verdict::Replace(of(1, 1))]);
    assert_eq!(one.registry.users(), 0);
    let batch = one.says_one();
    assert_eq!(two.hears(1, &batch), None);
    assert_eq!(two.knows(), [of(2, 1)]);
}

#[test]
fn a_device_takes_its_seat_along_from_node_to_node() {
    let (mut one, mut two) = pair(&policy(2, WhenFull::Reject, true));
    admit(&mut one, &mut two, 1, Some("phone"), 10);
    admit(&mut one, &mut two, 2, Some("tablet"), 20);
    admit(&mut two, &mut one, 1, Some("phone"), 30);
    assert_eq!(one.verdicts(), [Verdict::Replace(of(1, 1))]);
    // The seat's age is told, so that everybody takes the phone for the older.
    let batch = two.says_one();
    assert_eq!(
        (batch.claims[0].at_us, batch.claims[0].since_us, batch.asks),
        (30, 10, false)
    );
    assert_eq!(one.hears(2, &batch), None);
    // What goes tells its age along with its release, for one that has not heard in time.
    let batch = one.says_one();
    assert_eq!((batch.released.len(), batch.claims.len()), (1, 1));
    two.hears(1, &batch);
    assert_eq!(two.knows(), [of(2, 1), of(1, 2)]);
    two.login(2, Some("watch"), 40, true);
    let batch = two.says_one();
    two.is_answered(1, one.hears(2, &batch));
    assert_eq!(two.verdicts(), [Verdict::Refuse(of(2, 2))]);
    assert_eq!(one.verdicts(), []);
}

#[test]
fn two_that_claim_at_once_come_to_one_answer() {
    for (when_full, first, second) in [
        (WhenFull::Reject, Verdict::Admit(of(1, 1)), Verdict::Refuse(of(2, 1))),
        (
            WhenFull::ReplaceOldest,
            Verdict::Refuse(of(1, 1)),
            Verdict::Admit(of(2, 1)),
        ),
    ] {
        let (mut one, mut two) = pair(&policy(1, when_full, false));
        one.login(1, None, 10, true);
        two.login(1, None, 11, true);
        let (from_one, from_two) = (one.says_one(), two.says_one());
        one.is_answered(2, two.hears(1, &from_one));
        two.is_answered(1, one.hears(2, &from_two));
        assert_eq!((one.verdicts(), two.verdicts()), (vec![first], vec![second]));
    }
}

#[test]
fn a_later_claim_is_later_also_by_a_slow_clock() {
    let (mut one, mut two) = pair(&reject(1));
    admit(&mut one, &mut two, 1, None, 5_000_000);
    two.login(1, None, 10, true);
    let batch = two.says_one();
    assert!(batch.claims[0].at_us > 5_000_000);
    two.is_answered(1, one.hears(2, &batch));
    assert_eq!(two.verdicts(), [Verdict::Refuse(of(2, 1))]);
    assert_eq!(one.verdicts(), []);
}

#[test]
fn silence_is_waited_for_no_longer_than_the_hold_and_a_late_answer_still_counts() {
    let (mut one, mut two) = pair(&policy(1, WhenFull::Reject, false));
    one.login(1, None, 10, false);
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 1))]);
    two.login(1, None, 20, true);
    let batch = two.says_one();
    assert_eq!(two.registry.next_deadline_us(), Some(20 + HOLD_US));
    let policy = two.policy.clone();
    two.registry.tick(&policy, 19 + HOLD_US);
    assert_eq!(two.verdicts(), []);
    two.registry.tick(&policy, 20 + HOLD_US);
    assert_eq!(two.verdicts(), [Verdict::Admit(of(2, 1))]);
    two.is_answered(1, one.hears(2, &batch));
    assert_eq!(two.verdicts(), [Verdict::Replace(of(2, 1))]);
    assert_eq!(two.registry.next_deadline_us(), None);
}

#[test]
fn a_claim_that_was_never_told_is_decided_in_time_and_told_then() {
    let (mut one, mut two) = pair(&reject(1));
    one.login(1, None, 10, true);
    let policy = one.policy.clone();
    assert_eq!(one.registry.next_deadline_us(), Some(10 + HOLD_US));
    one.registry.tick(&policy, 10 + HOLD_US);
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 1))]);
    assert_eq!(one.registry.next_deadline_us(), None);
    let batch = one.says_one();
    assert!(batch.asks);
    one.is_answered(2, two.hears(1, &batch));
    assert_eq!((one.verdicts(), two.verdicts()), (vec![], vec![]));
}

#[test]
fn with_no_other_node_a_claim_is_decided_as_it_is_told() {
    let (mut one, _) = pair(&reject(1));
    one.members = vec![1];
    one.login(1, None, 10, true);
    assert!(one.says_one().asks);
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 1))]);
    assert_eq!(one.registry.next_deadline_us(), None);
}

#[test]
fn a_place_that_clashes_with_none_is_neither_asked_about_nor_told() {
    let (mut one, _) = pair(&policy(0, WhenFull::Reject, true));
    one.login(1, None, 10, true);
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 1))]);
    assert_eq!(one.says(), None);
    one.registry.rejoin();
    let batch = one.says_one();
    assert!(batch.reset && !batch.asks && batch.claims.is_empty());
}

#[test]
fn one_that_leaves_while_it_waits_is_told_of_no_more() {
    let (mut one, mut two) = pair(&reject(1));
    one.login(1, None, 10, true);
    one.release(1);
    assert_eq!(one.says(), None);
    one.login(2, None, 20, true);
    let batch = one.says_one();
    one.release(2);
    one.is_answered(2, two.hears(1, &batch));
    assert_eq!(one.verdicts(), []);
    assert_eq!(one.says_one().released.len(), 1);
    assert_eq!(one.registry.users(), 0);
}

#[test]
fn a_node_that_is_gone_takes_its_places_along_and_is_waited_for_no_more() {
    let (mut one, mut two) = pair(&reject(2));
    admit(&mut one, &mut two, 1, None, 10);
    admit(&mut two, &mut one, 1, None, 20);
    one.login(2, None, 30, true);
    one.says_one();
    let policy = one.policy.clone();
    one.registry.node_gone(&policy, 2);
    assert_eq!(one.verdicts(), [Verdict::Admit(of(1, 2))]);
    assert_eq!(one.knows(), [of(1, 1), of(1, 2)]);
}

#[test]
fn an_answer_replaces_what_was_known_of_its_node() {
    let (mut one, mut two) = pair(&reject(2));
    admit(&mut one, &mut two, 1, None, 10);
    admit(&mut two, &mut one, 1, None, 20);
    two.release(1);
    // The release is lost on the way.
    two.says_one();
    assert_eq!(one.knows(), [of(1, 1), of(2, 1)]);
    admit(&mut one, &mut two, 2, None, 30);
    assert_eq!(one.knows(), [of(1, 1), of(1, 2)]);
}

#[test]
fn an_answer_that_was_overtaken_undoes_nothing_and_revives_nothing() {
    let (mut one, mut two) = pair(&reject(9));
    admit(&mut two, &mut one, 1, None, 10);
    one.login(1, None, 20, true);
    let batch = one.says_one();
    let overtaken = two.hears(1, &batch);
    two.release(1);
    two.login(2, None, 30, true);
    let (later, again) = (two.says_one(), overtaken.clone());
    one.hears(2, &later);
    one.is_answered(2, overtaken);
    assert_eq!(one.knows(), [of(1, 1), of(2, 2)]);
    // Nor does it count a second time, nor the batch.
    one.is_answered(2, again);
    assert_eq!(one.hears(2, &later), None);
    assert_eq!(one.knows(), [of(1, 1), of(2, 2)]);
}

#[test]
fn alone_it_decides_by_itself_and_back_again_all_is_told_and_settled() {
    let (mut one, mut two) = pair(&reject(1));
    admit(&mut one, &mut two, 1, None, 10);
    two.login(1, None, 20, true);
    two.says_one();
    two.login(2, None, 30, true);
    let policy = two.policy.clone();
    two.registry.alone(&policy);
    assert_eq!(two.verdicts(), [Verdict::Admit(of(2, 1)), Verdict::Refuse(of(2, 2))]);
    assert_eq!(two.registry.next_deadline_us(), None);
    two.registry.rejoin();
    let batch = two.says_one();
    assert!(batch.reset && batch.asks);
    two.is_answered(1, one.hears(2, &batch));
    assert_eq!(two.verdicts(), [Verdict::Replace(of(2, 1))]);
    assert_eq!(one.verdicts(), []);
}

#[test]
fn a_reset_voids_what_was_heard_before() {
    let (mut one, mut two) = pair(&reject(2));
    admit(&mut one, &mut two, 1, None, 10);
    admit(&mut two, &mut one, 1, None, 20);
    two.release(1);
    two.says_one();
    two.registry.rejoin();
    assert_eq!(one.knows(), [of(1, 1), of(2, 1)]);
    one.hears(2, &two.says_one());
    assert_eq!(one.knows(), [of(1, 1)]);
}

#[test]
fn many_places_are_told_in_several_batches() {
    let (mut one, mut two) = pair(&reject(3));
    let users = 1_000;
    for index in 0..users {
        let login = Login {
            connection: of(1, index),
            user: format!("user {index}").into(),
            device: None,
        };
        let now = Now {
            unix_us: 1,
            steady_us: 1,
        };
        one.registry.login(&one.policy.clone(), login, now, false);
    }
    one.registry.rejoin();
    let mut told = 0;
    let mut resets = 0;
    while let Some(batch) = one.says() {
        assert!(batch.claims.len() <= CLAIMS_IN_BATCH);
        told += batch.claims.len();
        resets += usize::from(batch.reset);
        one.is_answered(2, two.hears(1, &batch));
    }
    assert_eq!((told, resets), (users as usize, 1));
    // None of them is of interest to a node that has none of these users.
    assert_eq!(two.registry.users(), 0);
}

#[test]
fn what_cannot_be_is_not_believed() {
    let (mut one, mut two) = pair(&reject(1));
    admit(&mut one, &mut two, 1, None, 10);
    two.login(1, None, 5, true);
    let good = two.says_one();
    for (epoch, at_us) in [(1, 5), (3, 5), (2, u64::MAX)] {
        let mut batch = good.clone();
        batch.id += epoch + 1;
        batch.claims[0].connection.epoch = epoch;
        batch.claims[0].at_us = at_us;
        one.hears(2, &batch);
        assert_eq!(one.knows(), [of(1, 1)]);
    }
    assert_eq!(one.verdicts(), []);
}
