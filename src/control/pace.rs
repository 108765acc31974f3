//! How fast clients may move between nodes: counts this node's logins a second for its beats, and works out how many a
//! second the others take over when this node drains. One task, started by `control::serve`; the reactors read the pace
//! while they drain (`shard::gateway`'s `drain`), and the beats what the node announces (`bus::nats::join`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::bus::Member;
use super::state::State;

/// How often both are looked at: as often as nodes give a sign of life.
const EVERY: Duration = Duration::from_secs(1);
/// A node that has as many logins as it takes still counts with half of what it takes: it will be less busy in a moment.
const FREE_AT_LEAST: u32 = 2;

/// Looks for ever.
pub async fn run(state: Arc<State>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logins_before = logins(&state);
    loop {
        ticks.tick().await;
        let logins = logins(&state);
        let per_s = u32::try_from(logins.saturating_sub(logins_before)).unwrap_or(u32::MAX);
        logins_before = logins;
        state.shared.logins_set(per_s);
        // Once this node drains, its clients have been told moments at the pace of the beginning, and their logins on the
        // others must not slow the rest down.
        if !state.shared.draining() {
            let pace = pace(&state.bus.members(), &state.settings().server.node);
            state.shared.drain_pace_set(pace);
        }
    }
}

fn logins(state: &State) -> u64 {
    let reactors = state.counters.reactors.iter();
    reactors.map(|reactor| reactor.logins.get()).sum()
}

/// Clients a second that `own` may send away, `members` being all nodes of the cluster.
///
/// Balancers may send all of them to one node (the one with the fewest connections gets everybody after its own restart),
/// so it is what the weakest of the others has free, shared with those that drain at the same time.
fn pace(members: &[Member], own: &str) -> u32 {
    let others = || members.iter().filter(|member| member.name != own);
    let drainers = 1 + others().filter(|member| member.draining).count() as u32;
    let free = |member: &Member| {
        let max = member.logins_max_per_s;
        max.saturating_sub(member.logins_per_s).max(max / FREE_AT_LEAST)
    };
    let weakest = others().filter(|member| !member.draining).map(free).min();
    // Nobody else is there: they all come back to this node's successor, which takes what it took.
    let alone = || members.iter().find(|member| member.name == own);
    let pace = weakest.or_else(|| alone().map(|member| member.logins_max_per_s));
    (pace.unwrap_or(1) / drainers).max(1)
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
        assert_eq!(pace(&members, "own"), 900);
    }

    #[test]
    fn a_busy_node_still_takes_some() {
        let members = [node("own", 0, 50, false), node("b", 5_000, 1_000, false)];
        assert_eq!(pace(&members, "own"), 500);
    }

    #[test]
    fn nodes_that_drain_take_nobody_and_share_the_pace() {
        let members = [
            node("own", 0, 50, true),
            node("b", 0, 1, true),
            node("c", 0, 2_000, false),
        ];
        assert_eq!(pace(&members, "own"), 1_000);
    }

    #[test]
    fn a_node_on_its_own_paces_for_its_successor() {
        assert_eq!(pace(&[node("own", 40, 50, false)], "own"), 50);
        assert_eq!(pace(&[], "own"), 1, "never none");
    }
}
