// The first view: plots of the last minutes, the reactors, the cluster's nodes, the slowest consumers. `page` calls it
// with what it has asked the node.

import { by, cell, el, fill } from "./dom.js";
import { bytes, clock, count, day, duration, percent, plural, rate, seconds } from "./format.js";
import { Plot } from "./plot.js";

const line = (name, colour, of) => ({ name, colour, of });
const field = (name, colour, of) => line(name, colour, (point) => point[of] ?? 0);

const COLOURS = ["blue", "violet", "teal", "amber", "pink", "green", "red", "grey"];

// A reason has its colour wherever it shows: blue is the client's own wish, grey the network, violet what was meant to
// happen, amber the client's fault, red a lack of room.
const REASONS = {
  client: "blue",
  connection_lost: "grey",
  ping_timeout: "teal",
  drain: "violet",
  kicked: "pink",
  token_expired: "green",
  session_policy: "violet",
  slow_consumer: "red",
  overload: "red",
  internal: "red",
};

// Every reason that occurred in these points, the most frequent first.
function reasons(points) {
  const totals = {};
  for (const point of points) {
    for (const [reason, n] of Object.entries(point.closed)) totals[reason] = (totals[reason] ?? 0) + n * point.passed_s;
  }
  const occurred = Object.keys(totals).filter((reason) => totals[reason] > 0);
  if (occurred.length === 0) return [line("nobody left", "grey", () => 0)];
  return occurred
    .sort((a, b) => totals[b] - totals[a])
    .map((reason) => line(reason, REASONS[reason] ?? "amber", (point) => point.closed[reason] ?? 0));
}

const closedInView = (line, points) => count(points.reduce((n, point) => n + line.of(point) * point.passed_s, 0));

const PLOTS = [
  new Plot("Connections", {
    series: [
      field("open", "blue", "open"),
      field("no login", "amber", "unauthenticated"),
      field("handshake", "teal", "handshake"),
      field("closing", "red", "closing"),
    ],
    format: count,
    stacked: true,
    least: 10,
  }),
  new Plot("Logins", {
    unit: "a second",
    series: [
      field("logged in", "green", "logins"),
      field("token refused", "red", "refused_tokens"),
      field("not let in", "amber", "refused"),
    ],
    format: rate,
  }),
  new Plot("Closes", { unit: "a second, by reason", series: reasons, format: rate, stacked: true, summary: closedInView }),
  new Plot("Pushes and messages", {
    unit: "a second",
    series: [
      field("pushes from the API", "violet", "pushes_api"),
      field("pushes from NATS", "teal", "pushes_bus"),
      field("messages from clients", "grey", "received"),
    ],
    format: rate,
  }),
  new Plot("Deliveries", {
    unit: "a second",
    series: [field("written", "green", "written"), field("dropped", "red", "dropped")],
    format: rate,
  }),
  new Plot("Queued for clients", {
    series: [field("all queues", "amber", "queued_bytes")],
    format: bytes,
    binary: true,
    least: 1024,
  }),
  new Plot("Delay of a push", {
    unit: "arrival to write",
    series: [
      line("99 of 100 within", "violet", (point) => point.delay_p99),
      line("half within", "blue", (point) => point.delay_p50),
    ],
    format: seconds,
    least: 0.0001,
  }),
  new Plot("Traffic", {
    unit: "a second",
    series: [field("to clients", "blue", "bytes_out"), field("from clients", "teal", "bytes_in")],
    format: bytes,
    binary: true,
    least: 1024,
  }),
  new Plot("Load of the reactors", {
    unit: "share of the time",
    series: (points) =>
      (points.at(-1)?.reactors ?? []).map((_, at) =>
        line(`reactor ${at}`, COLOURS[at % COLOURS.length], (point) => point.reactors[at]?.load ?? null),
      ),
    format: percent,
    least: 0.1,
  }),
];

by("plots").append(...PLOTS.map((plot) => plot.element));

// How far back the plots go.
const windowMs = () => Number(document.querySelector('input[name="window"]:checked').value) * 60_000;

// Draws what `metrics.History` holds. `stale`: the node answers no more, and what was its latest is not how it is now.
export function showHistory(history, stale) {
  const now = history.latest?.at ?? Date.now();
  for (const plot of PLOTS) plot.show(history.points, now, windowMs(), stale);
  const reactors = history.latest?.reactors ?? [];
  fill(
    by("reactors"),
    reactors.map((reactor, at) =>
      el(
        "tr",
        {},
        cell("Reactor", at),
        cell("Load", meter(reactor.load)),
        cell("Turns a second", rate(reactor.turns_s), { class: "number" }),
        cell("Mean turn", reactor.mean_s === null ? "–" : seconds(reactor.mean_s), { class: "number" }),
        cell("99 of 100 within", reactor.p99_s === null ? "–" : seconds(reactor.p99_s), { class: "number" }),
      ),
    ),
    "The first figures are here in two seconds.",
  );
}

function meter(share) {
  const bar = el("i", { class: share > 0.8 ? "red" : share > 0.5 ? "amber" : "blue" });
  bar.style.width = `${Math.max(1, share * 100)}%`;
  return el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": "true" }, bar), percent(share));
}

// The numbers above every view.
export function showTiles({ latest }, look) {
  const { connections } = look;
  const others = (connections.handshake ?? 0) + (connections.unauthenticated ?? 0) + (connections.closing ?? 0);
  const tile = (id, value, note = "") => {
    by(id).textContent = value;
    by(`${id}-note`).textContent = note;
  };
  const a_second = (n) => (latest ? rate(n(latest)) : "–");
  tile("tile-connections", count(connections.open ?? 0), others > 0 ? `and ${count(others)} coming or going` : "logged in");
  tile("tile-users", count(look.users), "online here");
  tile("tile-logins", a_second((it) => it.logins), "a second");
  tile("tile-pushes", a_second((it) => it.pushes_api + it.pushes_bus), "a second");
  tile("tile-deliveries", a_second((it) => it.written), latest?.dropped > 0 ? `${rate(latest.dropped)} dropped` : "a second");
  const delay = latest?.delay_p99 ?? null;
  tile("tile-queued", bytes(look.queued_bytes), delay === null ? "for clients" : `p99 delay ${seconds(delay)}`);
}

// The answer of `/v1/cluster`.
export function showCluster(nodes) {
  const total = nodes.reduce((sum, node) => sum + node.connections, 0);
  by("cluster-note").textContent = `${plural(nodes.length, "node")}, ${plural(total, "connection")}`;
  fill(
    by("cluster"),
    nodes.map((node) =>
      el(
        "tr",
        {},
        cell("Node", node.name, { class: "name" }),
        cell("State", el("span", { class: `badge ${node.state === "up" ? "good" : "warn"}` }, node.state)),
        cell("Connections", count(node.connections), { class: "number" }),
        cell("Up for", el("span", { title: `since ${day(node.since_ms)}` }, duration(Date.now() - node.since_ms)), {
          class: "number",
        }),
        cell("Version", node.version, { class: "number" }),
      ),
    ),
    "No node is known.",
  );
}

// The answer of `/v1/slow`, asked at `at`.
export function showSlow(connections, at) {
  const most = connections[0]?.queued_bytes ?? 1;
  by("slow-note").textContent = connections.length ? clock(at) : "";
  fill(
    by("slow"),
    connections.map((slow) => {
      const bar = el("i", { class: "amber" });
      bar.style.width = `${Math.max(1, (slow.queued_bytes / most) * 100)}%`;
      return el(
        "tr",
        {},
        cell("User", slow.user === null ? "not logged in" : userLink(slow.user), { class: "name" }),
        cell("Device", slow.device ?? "–", { class: "long" }),
        cell("Address", slow.remote ?? "–", { class: "long" }),
        cell(
          "Queued",
          el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": "true" }, bar), bytes(slow.queued_bytes)),
        ),
      );
    }),
    "Nobody: every client takes what it is sent.",
  );
}

// A link to the view of a user.
export const userLink = (user) => el("a", { href: `#users/${encodeURIComponent(user)}` }, user);
