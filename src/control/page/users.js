// The view of one user: the connections over all nodes, the way to close them, and what happened to the user lately
// where the node keeps that.

import { ask, askJson, userPath } from "./api.js";
import { by, cell, confirmed, el, fill, name } from "./dom.js";
import { bytes, day, duration, plural, seconds } from "./format.js";

// Who is shown; answers for anybody else come too late.
let shown = null;
// The connections that are shown, by their identifiers.
let shown_connections = [];
// How the texts that time changes are brought up to date.
let passing = [];

// The flight recorder hears of a kick when the connection has closed, which may be after the answer to the kick.
const HISTORY_EVERY_MS = 1_000;
const HISTORY_LOOKS_MAX = 5;

const say = (text, kind = "") => {
  by("user-status").textContent = text;
  by("user-status").className = `status ${kind}`;
};

// Looks a user up and shows what comes. Resolves to what `showHistory` has shown.
export async function lookUp(user) {
  shown = user;
  by("user-name").value = user;
  say("Looking …");
  let found;
  try {
    found = await askJson(userPath(user));
  } catch (error) {
    if (shown !== user) return null;
    by("user-card").hidden = true;
    say(error.message, "bad");
    return null;
  }
  if (shown !== user) return null;
  say("");
  show(found);
  return showHistory(user);
}

function show({ user, online, connections, nodes }) {
  by("user-card").hidden = false;
  by("user-title").textContent = user;
  // `nodes` is there if one did not answer.
  by("user-badge").textContent = online ? "online" : nodes ? "not known" : "offline";
  by("user-badge").className = `badge ${online ? "good" : nodes ? "warn" : ""}`;
  by("user-missing").textContent = nodes
    ? `Only ${nodes.answered} of ${plural(nodes.asked, "node")} answered: there may be more.`
    : "";
  by("user-kick").hidden = !online;
  shown_connections = connections.map((it) => it.connection);
  passing = [];
  fill(
    by("user-connections"),
    connections.map((it) =>
      el(
        "tr",
        {},
        cell("Device", it.device ?? "–", { class: "name" }),
        cell("Node", it.node, { class: "long" }),
        cell("Address", it.remote ?? "–", { class: "long" }),
        cell("Here for", passes(`since ${day(it.since_ms)}`, () => duration(Date.now() - it.since_ms))),
        cell("Token", expiry(it.expires_at)),
        cell("Topics", it.topics.length ? it.topics.join(", ") : "none", { class: "long" }),
        cell("Connection", el("code", {}, it.connection), { class: "long" }),
        cell(
          "",
          el(
            "button",
            {
              class: "quiet danger",
              type: "button",
              "aria-label": `Kick connection ${it.connection}`,
              onclick: () => kickOne(it),
            },
            "Kick",
          ),
        ),
      ),
    ),
    nodes ? "No connection on those that answered." : "No connection on any node.",
  );
}

function expiry(expires_at_s) {
  if (expires_at_s === null) return "never expires";
  return passes(day(expires_at_s * 1000), () => {
    const left_ms = expires_at_s * 1000 - Date.now();
    return left_ms > 0 ? `${duration(left_ms)} left` : "expired";
  });
}

// An element whose text is `text()`, now and in every second to come.
function passes(title, text) {
  const span = el("span", { title }, text());
  passing.push(() => {
    const now = text();
    if (span.textContent !== now) span.textContent = now;
  });
  return span;
}

setInterval(() => passing.forEach((update) => update()), 1_000);

// `GET /v1/users/{user}/history`: shown as it comes, and not at all by a node that keeps none. Resolves to the events,
// or null if none are shown.
async function showHistory(user) {
  // It is an addition to what is shown, and the look-up before has said it if the node is away.
  const { events, more, nodes, since_ms } = await askJson(`${userPath(user)}/history`).catch(() => ({}));
  if (shown !== user) return null;
  by("user-history-part").hidden = !Array.isArray(events);
  if (!Array.isArray(events)) return null;
  // Of what is older than the oldest that is shown, nothing is shown.
  const sinceMs = more ? Math.max(since_ms, events[0]?.at_ms ?? 0) : since_ms;
  const whole = nodes ? "those remember everything" : "nothing is missing";
  by("user-history-note").textContent = [
    nodes ? `only ${nodes.answered} of ${plural(nodes.asked, "node")} answered` : null,
    more ? `the newest ${events.length}` : null,
    typeof since_ms === "number" ? `${whole} since ${day(sinceMs)}` : null,
  ]
    .filter(Boolean)
    .map((note) => `· ${note}`)
    .join(" ");
  fill(
    by("user-history"),
    [...events]
      .sort((a, b) => b.at_ms - a.at_ms)
      .map(({ at_ms, event, ...facts }) =>
        el("tr", {}, cell("When", day(at_ms)), cell("What", String(event), { class: "name" }), cell("More", inWords(facts), { class: "long" })),
      ),
    nodes ? "Those that answered know nothing of this user." : "Nothing is known of this user.",
  );
  return events;
}

// What the end of a field's name says of its number.
const UNITS = {
  _at_ms: day,
  _at: (s) => day(s * 1000),
  _ms: (ms) => (ms < 1_000 ? seconds(ms / 1_000) : duration(ms)),
  _bytes: bytes,
};

// All facts of an event, those of a newer node too.
function inWords(facts) {
  const words = el("span", {});
  for (const [field, value] of Object.entries(facts)) {
    if (value === null) continue;
    const unit = typeof value === "number" ? Object.keys(UNITS).find((end) => field.endsWith(end)) : undefined;
    const label = unit ? field.slice(0, -unit.length) : field;
    const text = unit ? UNITS[unit](value) : typeof value === "string" ? value : JSON.stringify(value);
    words.append(words.hasChildNodes() ? " · " : "", `${label} `, name(text));
  }
  return words;
}

const AGAIN = "It is told 4403, kicked. Whoever has a valid token may come back.";

async function kickOne({ connection }) {
  if (!(await confirmed("Close this connection?", `${connection}. ${AGAIN}`, "Kick"))) return;
  await kick(`v1/connections/${encodeURIComponent(connection)}`, [connection]);
}

async function kickAll() {
  const user = shown;
  if (!(await confirmed(["Close every connection of ", name(user), "?"], AGAIN.replace("It is", "Each is"), "Kick all"))) return;
  await kick(userPath(user), shown_connections);
}

async function kick(path, connections) {
  try {
    const { closed } = await (await ask(path, { method: "DELETE" })).json();
    const user = shown;
    const events = await lookUp(user);
    say(`${plural(closed, "connection")} closed.`, "good");
    await showEnds(user, connections, events);
  } catch (error) {
    say(error.message, "bad");
  }
}

// Shows the history again until it tells the end of every one of these connections.
async function showEnds(user, connections, events) {
  for (let look = 0; look < HISTORY_LOOKS_MAX && events && shown === user; look++) {
    const ended = new Set(events.filter(({ event }) => event === "closed").map(({ connection }) => connection));
    if (connections.every((connection) => ended.has(connection))) return;
    await new Promise((resolve) => setTimeout(resolve, HISTORY_EVERY_MS));
    if (shown === user) events = await showHistory(user);
  }
}

by("user-kick").addEventListener("click", kickAll);
by("user-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const to = `#users/${encodeURIComponent(by("user-name").value)}`;
  if (location.hash === to) lookUp(by("user-name").value);
  else location.hash = to;
});
