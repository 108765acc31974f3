//! Turns the counters into the text that Prometheus scrapes, once a scrape and off every hot path. Owns the metrics' names
//! and help; counts nothing itself. Called by `control::api`.

mod process;

use std::fmt;
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::counters::{Counter, Histogram, NodeCounters, ReactorCounters};
use super::reasons::{AuthResult, CloseReason, RefusalReason};
use crate::node::Shared;

/// In which of the two texts that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// The classic one, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of a node. Reads `/proc/self`, so it may take milliseconds while there are many connections;
/// `table_per_reactor` says where descriptors are to be counted.
///
/// # Errors
/// Never in practice: the text is written into memory.
pub fn render(
    counters: &Arc<NodeCounters>,
    shared: &Arc<Shared>,
    table_per_reactor: bool,
    exposition: Exposition,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let node = Node {
        counters: Arc::clone(counters),
        shared: Arc::clone(shared),
        table_per_reactor,
    };
    registry.register_collector(Box::new(node));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(match exposition {
        Exposition::OpenMetrics => text,
        Exposition::Text => classic(&text),
    })
}

/// OpenMetrics to the classic text: there a counter's HELP and TYPE name the sample, `_total` included.
fn classic(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 64 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => {
                text.push_str(&format!("# {kind} {name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[derive(Debug)]
struct Node {
    counters: Arc<NodeCounters>,
    shared: Arc<Shared>,
    table_per_reactor: bool,
}

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = Page { encoder };
        self.connections(&mut page)?;
        self.traffic(&mut page)?;
        self.durations(&mut page)?;
        self.bus(&mut page)?;
        self.history(&mut page)?;
        page.gauge(
            "longwire_build_info",
            "Which longwire this is.",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        )?;
        process::encode(&mut page, self.table_per_reactor)
    }
}

impl Node {
    /// The sum of one cell over all reactors.
    fn sum(&self, cell: impl Fn(&ReactorCounters) -> &Counter) -> u64 {
        // A gauge that one reactor took below another's reading may wrap for a moment; the sum is right.
        self.counters
            .reactors
            .iter()
            .map(|reactor| cell(reactor).get())
            .fold(0, u64::wrapping_add)
    }

    fn connections(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let states = [
            ("handshake", self.sum(|reactor| &reactor.connections_handshake)),
            (
                "unauthenticated",
                self.sum(|reactor| &reactor.connections_unauthenticated),
            ),
            ("open", self.sum(|reactor| &reactor.connections_open)),
            ("closing", self.sum(|reactor| &reactor.connections_closing)),
        ];
        page.gauges(
            "longwire_connections",
            "Connections held now, by state.",
            "state",
            states,
        )?;
        page.gauge(
            "longwire_users",
            "Users with a connection, each once.",
            &[],
            self.shared.users() as u64,
        )?;
        page.gauge(
            "longwire_logins_max_per_second",
            "Logins a second that the node takes beside its other work, as it announces to the cluster.",
            &[],
            u64::from(self.shared.logins_max_per_s()),
        )?;
        page.counter(
            "longwire_accepted",
            "Sockets accepted.",
            self.sum(|reactor| &reactor.accepted),
        )?;
        let refused = RefusalReason::ALL
            .iter()
            .enumerate()
            .map(|(at, reason)| (reason.label(), self.sum(|r| &r.refused[at])));
        page.counters(
            "longwire_refused",
            "Connections refused before the upgrade.",
            "reason",
            refused,
        )?;
        let closed = CloseReason::ALL
            .iter()
            .enumerate()
            .map(|(at, reason)| (reason.label(), self.sum(|r| &r.closed[at])));
        page.counters("longwire_closed", "Connections ended, by reason.", "reason", closed)?;
        let auth = AuthResult::ALL
            .iter()
            .enumerate()
            .map(|(at, result)| (result.label(), self.sum(|r| &r.auth[at])));
        page.counters("longwire_auth", "Token checks, by result.", "result", auth)
    }

    fn traffic(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let received = self.sum(|reactor| &reactor.messages_received);
        page.counter("longwire_messages_received", "Messages from clients.", received)?;
        let pushes = [
            ("api", self.counters.pushes_api.get()),
            ("bus", self.counters.pushes_bus.get()),
        ];
        page.counters(
            "longwire_pushes",
            "Pushes taken, by where they came from.",
            "source",
            pushes,
        )?;
        let deliveries = [
            ("written", self.sum(|reactor| &reactor.deliveries_written)),
            ("dropped", self.sum(|reactor| &reactor.deliveries_dropped)),
        ];
        page.counters(
            "longwire_deliveries",
            "Pushes to single connections.",
            "outcome",
            deliveries,
        )?;
        let queued = self.shared.outbound_total() as u64;
        page.gauge("longwire_outbound_bytes", "Bytes queued for clients.", &[], queued)?;
        let bytes = [
            ("in", self.sum(|reactor| &reactor.bytes_in)),
            ("out", self.sum(|reactor| &reactor.bytes_out)),
        ];
        page.counters(
            "longwire_bytes",
            "Bytes read from and written to clients.",
            "direction",
            bytes,
        )?;
        let mut calls = self
            .counters
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let refused = self.sum(|reactor| &reactor.calls_refused);
        if refused > 0 {
            *calls.entry(503).or_default() += refused;
        }
        page.counters(
            "longwire_calls",
            "Replies to clients' calls of services.",
            "status",
            calls,
        )
    }

    fn durations(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let delay = self.counters.reactors.iter().map(|reactor| &reactor.push_delay);
        let help = "From a push's arrival at the node to its write to a socket.";
        page.histograms(
            "longwire_push_delay_seconds",
            help,
            [(None::<[(&str, String); 1]>, Sum::of(delay))],
        )?;
        let turns = self.counters.reactors.iter().enumerate();
        let turns = turns.map(|(at, reactor)| (Some([("reactor", at.to_string())]), Sum::of([&reactor.turn])));
        page.histograms(
            "longwire_turn_seconds",
            "A reactor's turn, without its wait for events.",
            turns,
        )
    }

    fn bus(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let connected = self.counters.bus_connected.get();
        let help = "Whether the bus is in reach; always 1 for a node on its own.";
        page.gauge("longwire_bus_connected", help, &[], connected)?;
        let dropped = self.counters.bus_dropped.get();
        page.counter(
            "longwire_bus_dropped",
            "Messages lost between the bus and the reactors.",
            dropped,
        )?;
        let dropped = self.counters.events_dropped.get();
        page.counter(
            "longwire_events_dropped",
            "Events of connections that could not be published.",
            dropped,
        )
    }

    fn history(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let events = self.counters.history_events.get();
        page.gauge(
            "longwire_history_events",
            "Events that the flight recorder keeps.",
            &[],
            events,
        )?;
        let bytes = self.counters.history_bytes.get();
        page.gauge("longwire_history_bytes", "What they take.", &[], bytes)?;
        page.counter(
            "longwire_history_dropped",
            "Events that the flight recorder was not told of.",
            self.sum(|reactor| &reactor.history_dropped),
        )
    }
}

/// Several reactors' histograms in one.
struct Sum {
    buckets: Vec<(f64, u64)>,
    seconds: f64,
}

impl Sum {
    fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let bounds = Histogram::BOUNDS_US
            .iter()
            .map(|&us| us as f64 / 1e6)
            .chain([f64::INFINITY]);
        let mut sum = Self {
            buckets: bounds.map(|bound| (bound, 0)).collect(),
            seconds: 0.0,
        };
        for histogram in histograms {
            for (bucket, count) in sum.buckets.iter_mut().zip(histogram.buckets()) {
                bucket.1 += count;
            }
            sum.seconds += histogram.sum_us() as f64 / 1e6;
        }
        sum
    }
}

/// One line a metric. Counters are named without `_total`, which the format adds.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    pub(super) fn counter<N>(&mut self, name: &str, help: &str, value: N) -> Result<(), fmt::Error>
    where
        ConstCounter<N>: EncodeMetric,
    {
        ConstCounter::new(value).encode(self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn counters<V: prometheus_client::encoding::EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (V, u64)>,
    ) -> Result<(), fmt::Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in samples {
            ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    pub(super) fn gauge<N>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: N,
    ) -> Result<(), fmt::Error>
    where
        ConstGauge<N>: EncodeMetric,
    {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let gauge = ConstGauge::new(value);
        if labels.is_empty() {
            gauge.encode(metric)
        } else {
            gauge.encode(metric.encode_family(&labels)?)
        }
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<(), fmt::Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in samples {
            ConstGauge::new(count).encode(metric.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Option<L>, Sum)>,
    ) -> Result<(), fmt::Error> {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, sum) in samples {
            let count = sum.buckets.iter().map(|bucket| bucket.1).sum();
            match &labels {
                None => metric.encode_histogram::<NoLabelSet>(sum.seconds, count, &sum.buckets, None)?,
                Some(labels) => {
                    let mut metric = metric.encode_family(labels)?;
                    metric.encode_histogram::<NoLabelSet>(sum.seconds, count, &sum.buckets, None)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
