// From the text of /metrics to what happened between two looks at it, kept for the last quarter of an hour. Pure: no
// document, no clock. Used by `overview` and `page`.

// How long a point is kept.
export const KEPT_MS = 15 * 60_000;

// Prometheus's text to a map from each name to its samples, `{labels, value}`.
export function parse(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
    if (!metrics.has(found[1])) metrics.set(found[1], []);
    metrics.get(found[1]).push({ labels, value: number(found[3]) });
  }
  return metrics;
}

const number = (text) => (text === "+Inf" ? Infinity : Number(text));

// What a look at a node's metrics at `at` (ms) says.
export function sample(metrics, at) {
  const all = (name) => metrics.get(name) ?? [];
  const sum = (name, labels = {}) =>
    all(name)
      .filter((it) => Object.entries(labels).every(([label, value]) => it.labels[label] === value))
      .reduce((total, it) => total + it.value, 0);
  const byLabel = (name, label) => Object.fromEntries(all(name).map((it) => [it.labels[label], it.value]));
  const histogram = (name, labels = {}) => ({
    sum_s: sum(`${name}_sum`, labels),
    count: sum(`${name}_count`, labels),
    buckets: all(`${name}_bucket`)
      .filter((it) => Object.entries(labels).every(([label, value]) => it.labels[label] === value))
      .map((it) => ({ le: number(it.labels.le), count: it.value })),
  });
  const auth = byLabel("longwire_auth_total", "result");
  return {
    at,
    start_s: sum("process_start_time_seconds"),
    connections: byLabel("longwire_connections", "state"),
    users: sum("longwire_users"),
    queued_bytes: sum("longwire_outbound_bytes"),
    resident_bytes: sum("process_resident_memory_bytes"),
    counters: {
      logins: auth.ok ?? 0,
      refused_tokens: Object.entries(auth).reduce((n, [result, value]) => n + (result === "ok" ? 0 : value), 0),
      refused: sum("longwire_refused_total"),
      received: sum("longwire_messages_received_total"),
      pushes_api: sum("longwire_pushes_total", { source: "api" }),
      pushes_bus: sum("longwire_pushes_total", { source: "bus" }),
      written: sum("longwire_deliveries_total", { outcome: "written" }),
      dropped: sum("longwire_deliveries_total", { outcome: "dropped" }),
      bytes_in: sum("longwire_bytes_total", { direction: "in" }),
      bytes_out: sum("longwire_bytes_total", { direction: "out" }),
      cpu_s: sum("process_cpu_seconds_total"),
    },
    closed: byLabel("longwire_closed_total", "reason"),
    delay: histogram("longwire_push_delay_seconds"),
    turns: all("longwire_turn_seconds_count").map((it) => histogram("longwire_turn_seconds", it.labels)),
  };
}

// The value below which a share of what was counted between two histograms lies, in seconds; null where nothing was.
// Linear within a bucket, as Prometheus's `histogram_quantile`.
export function quantile(share, before, after) {
  const total = after.count - before.count;
  if (total <= 0) return null;
  const wanted = share * total;
  let low = 0;
  let counted = 0;
  for (const [at, { le, count }] of after.buckets.entries()) {
    const up_to = count - (before.buckets[at]?.count ?? 0);
    if (up_to >= wanted) {
      if (le === Infinity) return low;
      return low + (le - low) * ((wanted - counted) / Math.max(1, up_to - counted));
    }
    low = le;
    counted = up_to;
  }
  return low;
}

// Points of time, each with the gauges then and the rates since the one before.
export class History {
  points = [];
  #last = null;

  // Adds a look. What came before a restart of the node is forgotten: its counters begin anew.
  add(now) {
    const last = this.#last;
    if (last && now.start_s !== last.start_s) this.points = [];
    else if (last && now.at > last.at) {
      this.points.push(between(last, now));
      while (this.points[0].at < now.at - KEPT_MS) this.points.shift();
    }
    this.#last = now;
  }

  get latest() {
    return this.points.at(-1) ?? null;
  }
}

function between(before, after) {
  const passed_s = (after.at - before.at) / 1000;
  const rate = (now, then) => Math.max(0, now - (then ?? 0)) / passed_s;
  const rates = (now, then) => Object.fromEntries(Object.entries(now).map(([name, n]) => [name, rate(n, then[name])]));
  return {
    at: after.at,
    passed_s,
    ...after.connections,
    users: after.users,
    queued_bytes: after.queued_bytes,
    resident_bytes: after.resident_bytes,
    ...rates(after.counters, before.counters),
    closed: rates(after.closed, before.closed),
    delay_p50: quantile(0.5, before.delay, after.delay),
    delay_p99: quantile(0.99, before.delay, after.delay),
    reactors: after.turns.map((now, at) => {
      const then = before.turns[at] ?? { sum_s: 0, count: 0, buckets: [] };
      const turns = now.count - then.count;
      return {
        load: Math.min(1, rate(now.sum_s, then.sum_s)),
        turns_s: turns / passed_s,
        mean_s: turns > 0 ? (now.sum_s - then.sum_s) / turns : null,
        p99_s: quantile(0.99, then, now),
      };
    }),
  };
}
