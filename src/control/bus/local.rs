//! The bus of a node on its own: every push, kick and look-up goes to this node's reactors, and no service answers a
//! call. Used where no NATS is configured.

use std::sync::Arc;

use super::{Answer, Bus, Found, Member, Nodes, Push, Report, refuse};
use crate::control::history::{self, History};
use crate::control::router::Router;
use crate::links::{Call, ConnectionId, Kicker};
use crate::metrics::NodeCounters;
use crate::node::Shared;
use crate::protocol::frame;
use crate::protocol::message::ErrorCode;

/// See the module.
pub struct Local {
    router: Arc<Router>,
    shared: Arc<Shared>,
    counters: Arc<NodeCounters>,
    history: Arc<History>,
    node: String,
    since_ms: u64,
}

impl Local {
    /// The bus of the node `node`, which started at `since_ms` (Unix).
    pub fn new(
        router: Arc<Router>,
        shared: Arc<Shared>,
        counters: Arc<NodeCounters>,
        history: Arc<History>,
        node: String,
        since_ms: u64,
    ) -> Self {
        counters.bus_connected.set(1);
        Self {
            router,
            shared,
            counters,
            history,
            node,
            since_ms,
        }
    }
}

impl Bus for Local {
    fn push<'a>(&'a self, pushes: &'a [Push]) -> Answer<'a, Vec<Report>> {
        Box::pin(async move {
            let frames: Vec<_> = pushes
                .iter()
                .map(|push| (push.audience.clone(), frame::encode_text(&push.text)))
                .collect();
            let answers = self.router.push(&frames).await?;
            let report = |sum: super::super::gather::Gathered| Report {
                matched: sum.matched,
                queued: sum.queued,
                dropped: sum.dropped,
                nodes: Nodes::default(),
            };
            Ok(answers.into_iter().map(report).collect())
        })
    }

    fn find_user<'a>(&'a self, user: &'a str) -> Answer<'a, (Vec<Found>, Nodes)> {
        Box::pin(async move {
            let found = self.router.find_user(user).await?;
            let found = found.into_iter().map(|info| Found {
                node: self.node.clone(),
                info,
            });
            Ok((found.collect(), Nodes::default()))
        })
    }

    fn history<'a>(&'a self, question: &'a history::Question) -> Answer<'a, (history::Answer, Nodes)> {
        Box::pin(async move { Ok((self.history.recall(question), Nodes::default())) })
    }

    fn kick_user<'a>(&'a self, user: &'a str, code: u16, text: &'a str) -> Answer<'a, (u64, Nodes)> {
        Box::pin(async move {
            let closed = self.router.kick_user(user, code, &text.into(), Kicker::Api).await?;
            Ok((closed, Nodes::default()))
        })
    }

    fn kick_connection<'a>(&'a self, connection: ConnectionId, code: u16, text: &'a str) -> Answer<'a, u64> {
        Box::pin(async move { self.router.kick_connection(connection, code, &text.into()).await })
    }

    fn call(&self, call: Call) {
        let why = "no service answers this path: the node has no NATS";
        if let Some(command) = refuse(&self.counters, &call, ErrorCode::NoHandler, why) {
            self.router.owe(call.connection, command);
        }
    }

    fn members(&self) -> Vec<Member> {
        vec![Member {
            name: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            since_ms: self.since_ms,
            connections: self.shared.places() as u64,
            logins_per_s: self.shared.logins_per_s(),
            logins_max_per_s: self.shared.logins_max_per_s(),
            draining: self.shared.draining(),
        }]
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
