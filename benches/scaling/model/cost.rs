//! From what happened in a run to cores of control, for both modes. Costs are measured elsewhere (`cargo bench --bench
//! ingest`) and passed in; nothing here is known beforehand.

/// Microseconds of control's core.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A push received for a user who is not here.
    pub push_absent_us: f64,
    /// A push received for a user who is here, up to the reactor's inbox.
    pub push_here_us: f64,
    /// Publishing one message.
    pub publish_us: f64,
    /// Reporting what came of a push, on the node that got it; and taking in a report, on the node that asked. The API asks
    /// for a report of every push.
    pub report_us: f64,
    pub answer_us: f64,
    /// Receiving one message between nodes, without what is in it.
    pub announcement_us: f64,
    /// A join or a leave in it: a look-up and a change in a table.
    pub entry_us: f64,
    /// What it says of one other node: a few numbers.
    pub heard_us: f64,
}

/// What happened while it was measured, in the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pushes published by nodes; directed ones once for each node they went to.
    pub published: u64,
    pub received_here: u64,
    pub received_absent: u64,
    /// Announcements, wants and snapshots; with what was in those received.
    pub told: u64,
    pub heard_told: u64,
    pub entries: u64,
    pub heard: u64,
}

impl Counts {
    /// Cores that one node's control is busy with, on average.
    pub fn cores_a_node(&self, costs: &Costs, nodes: usize, seconds: f64) -> f64 {
        let us = self.published as f64 * costs.publish_us
            + self.received_here as f64 * costs.push_here_us
            + self.received_absent as f64 * costs.push_absent_us
            + (self.received_here + self.received_absent) as f64 * (costs.report_us + costs.answer_us)
            + self.told as f64 * costs.publish_us
            + self.heard_told as f64 * costs.announcement_us
            + self.entries as f64 * costs.entry_us
            + self.heard as f64 * costs.heard_us;
        us / 1e6 / seconds / nodes as f64
    }
}
