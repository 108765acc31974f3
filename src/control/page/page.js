// The live page: asks the node every two seconds and gives the answers to the views; switches between views, themes and
// the form for the key. Each view is a file in page/.

import { ApiError, ask, askJson, key } from "./page/api.js";
import { by, confirmed, el } from "./page/dom.js";
import { clock, day, duration } from "./page/format.js";
import { History, parse, sample } from "./page/metrics.js";
import { showCluster, showHistory, showSlow, showTiles } from "./page/overview.js";
import { lookUp } from "./page/users.js";
import { preview } from "./page/push.js";
import "./page/console.js";

const EVERY_MS = 2_000;
const history = new History();

// -- views -------------------------------------------------------------------------------------------------------------

const VIEWS = ["overview", "users", "try"];
// Who has just started a node without a configuration wants to try it; who comes to a node in service wants to look.
const FIRST = document.body.dataset.token ? "try" : "overview";

function currentView() {
  const view = location.hash.slice(1).split("/")[0];
  return VIEWS.includes(view) ? view : FIRST;
}

function showView() {
  const current = currentView();
  for (const view of VIEWS) {
    // The section is not named as the hash is, or the browser would scroll to it.
    by(`view-${view}`).hidden = view !== current;
    const link = by(`to-${view}`);
    if (view === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (current === "users") {
    const user = userInHash();
    if (user) lookUp(user);
  }
}

function userInHash() {
  try {
    return decodeURIComponent(location.hash.split("/").slice(1).join("/"));
  } catch {
    return "";
  }
}

addEventListener("hashchange", () => {
  showView();
  by(`${currentView()}-title`).focus({ preventScroll: true });
  scrollTo(0, 0);
});

// -- asking ------------------------------------------------------------------------------------------------------------

let timer = null;
let answered_at = null;
const isStale = () => document.body.classList.contains("stale");

function banner(text) {
  if (by("banner").textContent !== text) by("banner").textContent = text;
  by("banner").hidden = text === "";
}

async function refresh() {
  clearTimeout(timer);
  try {
    const at = Date.now();
    const [metrics, cluster, slow] = await Promise.all([
      ask("metrics").then((answer) => answer.text()),
      askJson("v1/cluster"),
      askJson("v1/slow"),
    ]);
    const look = sample(parse(metrics), at);
    history.add(look);
    wantKey(false);
    answered_at = at;
    document.body.classList.remove("stale");
    showTiles(history, look);
    showHistory(history, false);
    showCluster(cluster.nodes);
    showSlow(slow.connections, at);
    await showNode(slow.node, look);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) {
      // Without a key every answer would be the same.
      wantKey(true, error.key);
      return;
    }
    document.body.classList.add("stale");
    const last = answered_at ? `Last answer at ${clock(answered_at)}` : "";
    banner(`No news: ${error.message}.${last && ` ${last}.`} Asking again every two seconds.`);
    // How long it is up is not known any more.
    by("node-since").textContent = last.toLowerCase();
    by("node-since").title = "";
    showHistory(history, true);
    setState("bad", "out of reach");
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, EVERY_MS);
}

function setState(kind, text) {
  // What has not changed is not to be read out again.
  if (by("node-state").textContent === text) return;
  by("node-state").className = `badge ${kind}`;
  by("node-state").textContent = text;
}

async function showNode(name, look) {
  // Not ready is an answer, too: draining, or out of reach of its NATS.
  const ready = await fetch("readyz", { cache: "no-store" }).catch(() => null);
  const problem = ready && !ready.ok ? await ready.json().catch(() => null) : null;
  by("node-name").textContent = name;
  by("node-since").textContent = `up ${duration(look.at - look.start_s * 1000)}`;
  by("node-since").title = `since ${day(look.start_s * 1000)}`;
  const trouble = ready?.ok ? "" : (problem?.detail ?? "not ready");
  const [short] = trouble.split(": ");
  setState(trouble ? "warn" : "good", short || "ready");
  // Only NATS has more to say.
  const meanwhile = "This node serves its own clients; what is said of other nodes is as last known.";
  banner(short === trouble ? "" : `${trouble}. ${meanwhile}`);
  document.title = `${name} · longwire`;
}

// -- the key -----------------------------------------------------------------------------------------------------------

// Shows the form, or takes it away. `refused` is the key that was shown to the node and not taken.
function wantKey(wanted, refused = "") {
  // Meanwhile another key was given, and its answer is on the way.
  if (wanted && refused !== key.get()) return;
  const appears = wanted && by("key-part").hidden;
  by("key-part").hidden = !wanted;
  document.body.classList.toggle("locked", wanted);
  by("key-forget").hidden = wanted || !key.get();
  if (!wanted) return;
  banner("");
  setState("", "locked");
  by("key-wrong").textContent = refused ? "The node does not take this key." : "";
  key.forget();
  if (refused) by("key").select();
  if (refused || appears) by("key").focus();
}

by("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const value = by("key").value.trim();
  if (!key.isValid(value)) {
    by("key-wrong").textContent = "A key has no spaces and none but ASCII characters.";
    return;
  }
  key.set(value);
  preview();
  await refresh();
  if (!key.get()) return;
  by("key").value = "";
  showView();
});

by("key-forget").addEventListener("click", async () => {
  const detail = "It is in this tab alone; closing the tab forgets it as well.";
  if (!(await confirmed("Forget the key?", detail, "Forget it"))) return;
  key.forget();
  // What the key has shown goes with it.
  location.reload();
});

// -- theme and window --------------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];
let theme = localStorage.getItem("longwire-theme");
if (!THEMES.includes(theme)) theme = "auto";

function showTheme() {
  document.documentElement.dataset.theme = theme;
  // A narrow screen has room for the last word only.
  by("theme").replaceChildren(el("span", {}, "Theme: "), theme);
  by("theme").setAttribute("aria-label", `Theme: ${theme}`);
}

by("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem("longwire-theme", theme);
  showTheme();
});

by("windows").addEventListener("change", () => showHistory(history, isStale()));

showTheme();
showView();
showHistory(history, false);
refresh();
