//! What must be true of the world when nothing moves any more, by the rule alone. Changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::super::rule::{self, Seat, State};
use super::world::{Client, Stage, World};

impl World {
    /// The connections that the rule leaves of these.
    pub(super) fn expected(&self, among: impl Fn(&Client) -> bool) -> BTreeSet<u32> {
        let mut users: BTreeMap<&str, Vec<Seat>> = BTreeMap::new();
        for client in self.clients.values().filter(|client| among(client)) {
            let known = self.nodes[client.node].registry.known(&client.user);
            let known = known.into_iter().find(|(id, _)| *id == client.connection);
            users.entry(&client.user).or_default().push(Seat {
                connection: client.connection,
                device: client.device.clone(),
                at_us: client.at_us,
                since_us: known.map_or(client.at_us, |(_, since_us)| since_us),
                state: State::Admitted { limit: 0 },
                told: false,
            });
        }
        let mut stay = BTreeSet::new();
        for mut seats in users.into_values() {
            let (stays, _) = rule::judge(&self.policy, &mut seats);
            stay.extend(
                seats
                    .iter()
                    .zip(stays)
                    .filter(|(_, stays)| *stays)
                    .map(|(seat, _)| seat.connection.index),
            );
        }
        stay
    }

    pub(super) fn admitted(&self) -> BTreeSet<u32> {
        self.alive().map(|(&number, _)| number).collect()
    }

    /// Nobody waits, the policy holds over all nodes, and everybody knows the same.
    pub(super) fn check(&self) {
        let (seed, policy) = (self.seed, &self.policy);
        let mut users: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for (&number, client) in self.alive() {
            assert_eq!(client.stage, Stage::Admitted, "seed {seed}: {number} still waits");
            users.entry(&client.user).or_default().insert(number);
        }
        for (user, connections) in &users {
            let max = policy.per_user_max;
            assert!(
                max == 0 || connections.len() <= max,
                "seed {seed}: {user} has {connections:?}"
            );
            let mut devices: Vec<&str> = connections
                .iter()
                .filter_map(|one| self.clients[one].device.as_deref())
                .collect();
            let named = devices.len();
            devices.sort_unstable();
            devices.dedup();
            assert!(
                !policy.one_per_device || devices.len() == named,
                "seed {seed}: {user} has a device twice"
            );
            let mut ages: HashMap<u32, BTreeSet<u64>> = HashMap::new();
            for (index, node) in self.nodes.iter().enumerate() {
                let known = node.registry.known(user);
                let counts = |one: &&u32| rule::counts(policy, self.clients[*one].device.as_deref());
                let here = |one: &&u32| self.clients[*one].node == index;
                if !connections.iter().any(|one| here(&one)) {
                    assert!(known.is_empty(), "seed {seed}: node {index} remembers {user}");
                    continue;
                }
                if !connections.iter().any(|one| here(&one) && counts(&one)) {
                    continue;
                }
                let names: BTreeSet<u32> = known.iter().map(|(id, _)| id.index).collect();
                let there: BTreeSet<u32> = connections
                    .iter()
                    .filter(|one| here(one) || counts(one))
                    .copied()
                    .collect();
                assert_eq!(names, there, "seed {seed}: what node {index} knows of {user}");
                for (id, since_us) in known {
                    ages.entry(id.index).or_default().insert(since_us);
                }
            }
            assert!(
                ages.values().all(|ages| ages.len() == 1),
                "seed {seed}: {user}: {ages:?}"
            );
        }
    }

    /// Whoever was refused or replaced had to be: others of its device, or as many others as may be, were there.
    pub(super) fn check_reasons(&self) {
        for (number, client) in &self.clients {
            if matches!(client.stage, Stage::Refused | Stage::Replaced) {
                let others = client.seen.iter().filter(|&other| other != number);
                let full = self.policy.per_user_max > 0 && others.clone().count() >= self.policy.per_user_max;
                let twin = client.device.is_some()
                    && self.policy.one_per_device
                    && others.clone().any(|other| self.clients[other].device == client.device);
                assert!(
                    full || twin,
                    "seed {}: {number} closed for nothing: {client:?}",
                    self.seed
                );
            }
        }
    }
}
