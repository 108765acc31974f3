//! How fast clients may move between nodes: counts this node's logins a second for its beats, and works out how many a
//! second the others take over when this node drains. One task, started by `control::serve`; the reactors read the pace
//! while they drain (`shard::gateway`'s `drain`), and the beats what the node announces (`bus::nats::join`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::bus::Member;
use super::state::State;
use crate::metrics::AuthResult;

/// How often both are looked at: as often as nodes give a sign of life.
const EVERY: Duration = Duration::from_secs(1);
/// A node that has as many logins as it takes still counts with this part of them: it will be less busy in a moment.
const FREE_AT_LEAST: u32 = 10;

/// Looks for ever.
pub async fn run(state: Arc<State>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logins_before = logins(&state);
    let mut pace = Pace::default();
    loop {
        ticks.tick().await;
        let logins = logins(&state);
        let per_s = u32::try_from(logins.saturating_sub(logins_before)).unwrap_or(u32::MAX);
        logins_before = logins;
        state.shared.logins_set(per_s);
        let own = &state.settings().server.node;
        let draining = state.shared.draining();
        state
            .shared
            .drain_pace_set(pace.look(&state.bus.members(), own, draining));
    }
}

fn logins(state: &State) -> u64 {
    let reactors = state.counters.reactors.iter();
    reactors
        .map(|reactor| reactor.auth[AuthResult::Ok as usize].get())
        .sum()
}

/// The pace, over time.
#[derive(Debug, Default)]
struct Pace {
    /// While this node drains: the least so far.
    while_draining: Option<u32>,
}

impl Pace {
    /// Clients a second that may be sent away, `members` being all nodes of the cluster.
    ///
    /// Balancers may send all of them to one node (the one with the fewest connections gets everybody after its own
    /// restart), so it is what the weakest of the others has free, shared with those that drain at the same time. Once
    /// this node drains, the logins of its own clients on the others must not slow the rest down, so from then on what
    /// counts is what the others take at all; and it never rises, for those who were sent away before are still to come.
    fn look(&mut self, members: &[Member], own: &str, draining: bool) -> u32 {
        let others = || members.iter().filter(|member| member.name != own);
        let up = || others().filter(|member| !member.draining);
        let drainers = 1 + others().filter(|member| member.draining).count() as u32;
        let free = |member: &Member| {
            let max = member.logins_max_per_s;
            max.saturating_sub(member.logins_per_s).max(max / FREE_AT_LEAST)
        };
        let at_all = |member: &Member| member.logins_max_per_s;
        let weakest = match self.while_draining {
            None => up().map(free).min(),
            Some(_) => up().map(at_all).min(),
        };
        // Nobody else is there: they all come back to this node's successor, which takes what it took.
        let alone = || members.iter().find(|member| member.name == own).map(at_all);
        let pace = (weakest.or_else(alone).unwrap_or(1) / drainers).max(1);
        if !draining {
            return pace;
        }
        let pace = self.while_draining.map_or(pace, |before| before.min(pace));
        self.while_draining = Some(pace);
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, logins_per_s: u32, logins_max_per_s: u32, draining: bool) -> Member {
        Member {
            name: name.into(),
            version: "0".into(),
            since_ms: 0,
            connections: 0,
            logins_per_s,
            logins_max_per_s,
            draining,
        }
    }

    #[test]
    fn the_weakest_of_the_others_sets_the_pace() {
        let members = [
            node("own", 0, 50, false),
            node("b", 100, 1_000, false),
            node("c", 0, 2_000, false),
        ];
        assert_eq!(Pace::default().look(&members, "own", true), 900);
    }

    #[test]
    fn a_busy_node_still_takes_some() {
        let members = [node("own", 0, 50, false), node("b", 5_000, 1_000, false)];
        assert_eq!(Pace::default().look(&members, "own", true), 100);
    }

    #[test]
    fn nodes_that_drain_take_nobody_and_share_the_pace() {
        let members = [
            node("own", 0, 50, true),
            node("b", 0, 1, true),
            node("c", 0, 2_000, false),
        ];
        assert_eq!(Pace::default().look(&members, "own", true), 1_000);
    }

    #[test]
    fn a_node_on_its_own_paces_for_its_successor() {
        assert_eq!(Pace::default().look(&[node("own", 40, 50, false)], "own", true), 50);
        assert_eq!(Pace::default().look(&[], "own", true), 1, "never none");
    }

    #[test]
    fn the_drains_own_clients_do_not_slow_it_down_but_a_weaker_node_does() {
        let mut pace = Pace::default();
        let members = |logins, max| [node("own", 0, 50, true), node("b", logins, max, false)];
        assert_eq!(pace.look(&members(0, 1_000), "own", true), 1_000);
        assert_eq!(pace.look(&members(900, 1_000), "own", true), 1_000);
        assert_eq!(pace.look(&members(900, 400), "own", true), 400);
        assert_eq!(pace.look(&members(0, 1_000), "own", true), 400);
    }
}
