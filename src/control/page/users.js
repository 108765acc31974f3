// The view of one user: the connections over all nodes, the way to close them, and what happened to the user lately
// where the node keeps that.

import { ask, askJson, userPath } from "./api.js";
import { by, cell, confirmed, el, fill } from "./dom.js";
import { day, duration, plural } from "./format.js";

// Who is shown; answers for anybody else come too late.
let shown = null;

const say = (text, kind = "") => {
  by("user-status").textContent = text;
  by("user-status").className = `status ${kind}`;
};

// Looks a user up and shows what comes.
export async function lookUp(user) {
  shown = user;
  by("user-name").value = user;
  say("Looking …");
  let found;
  try {
    found = await askJson(userPath(user));
  } catch (error) {
    by("user-card").hidden = true;
    return say(error.message, "bad");
  }
  if (shown !== user) return;
  say("");
  show(found);
  await showHistory(user);
}

function show({ user, online, connections, nodes }) {
  by("user-card").hidden = false;
  by("user-title").textContent = user;
  by("user-badge").textContent = online ? "online" : "offline";
  by("user-badge").className = `badge ${online ? "good" : ""}`;
  by("user-missing").textContent = nodes
    ? `Only ${nodes.answered} of ${plural(nodes.asked, "node")} answered: there may be more.`
    : "";
  by("user-kick").hidden = !online;
  fill(
    by("user-connections"),
    connections.map((it) =>
      el(
        "tr",
        {},
        cell("Device", it.device ?? "–", { class: "name" }),
        cell("Node", it.node),
        cell("Address", it.remote ?? "–"),
        cell("Here for", el("span", { title: `since ${day(it.since_ms)}` }, duration(Date.now() - it.since_ms))),
        cell("Token", expiry(it.expires_at)),
        cell("Topics", it.topics.length ? it.topics.join(", ") : "none"),
        cell("Connection", el("code", {}, it.connection)),
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
    "No connection on any node.",
  );
}

function expiry(expires_at_s) {
  if (expires_at_s === null) return "never expires";
  const left_ms = expires_at_s * 1000 - Date.now();
  return el("span", { title: day(expires_at_s * 1000) }, left_ms > 0 ? `${duration(left_ms)} left` : "expired");
}

// `GET /v1/users/{user}/history`: shown as it comes, and not at all by a node that keeps none.
async function showHistory(user) {
  let events = null;
  try {
    ({ events } = await askJson(`${userPath(user)}/history`));
  } catch {
    // It is an addition to what is shown, and the look-up before has said it if the node is away.
  }
  if (shown !== user) return;
  by("user-history-part").hidden = !Array.isArray(events);
  if (!Array.isArray(events)) return;
  fill(
    by("user-history"),
    [...events]
      .sort((a, b) => b.at_ms - a.at_ms)
      .map(({ at_ms, event, ...facts }) =>
        el("tr", {}, cell("When", day(at_ms)), cell("What", String(event), { class: "name" }), cell("More", inWords(facts))),
      ),
    "Nothing is known of this user.",
  );
}

const inWords = (facts) =>
  Object.entries(facts)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");

const AGAIN = "It is told 4403, kicked. Whoever has a valid token may come back.";

async function kickOne({ connection }) {
  if (!(await confirmed("Close this connection?", `${connection}. ${AGAIN}`, "Kick"))) return;
  await kick(`v1/connections/${encodeURIComponent(connection)}`);
}

async function kickAll() {
  const user = shown;
  if (!(await confirmed(`Close every connection of ${user}?`, AGAIN.replace("It is", "Each is"), "Kick all"))) return;
  await kick(userPath(user));
}

async function kick(path) {
  try {
    const { closed } = await (await ask(path, { method: "DELETE" })).json();
    await lookUp(shown);
    say(`${plural(closed, "connection")} closed.`, "good");
  } catch (error) {
    say(error.message, "bad");
  }
}

by("user-kick").addEventListener("click", kickAll);
by("user-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const to = `#users/${encodeURIComponent(by("user-name").value)}`;
  if (location.hash === to) lookUp(by("user-name").value);
  else location.hash = to;
});
