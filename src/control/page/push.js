// Composes a push, shows what its receivers will get and the same call for a terminal, sends it, and says what came of it.

import { askJson, key } from "./api.js";
import { by, confirmed, el } from "./dom.js";
import { clock, plural, visible } from "./format.js";

const RESULTS_MAX = 20;

const audience = () => document.querySelector('input[name="to"]:checked').value;

const NAMES = { user: "User", users: "Users, separated by commas", topic: "Topic" };

// The request as JSON text. The body goes as it was written, as the API promises to pass it on; and so does a name, to
// which a space at its end belongs. Throws what is wrong.
function request() {
  const names = by("push-name").value;
  const to = {
    user: () => ({ user: names }),
    users: () => ({ users: names.split(",").map((name) => name.trim()).filter(Boolean) }),
    topic: () => ({ topic: names }),
    all: () => ({ all: true }),
  }[audience()]();
  return `{"to":${JSON.stringify(to)},"path":${JSON.stringify(by("push-path").value)},"body":${body()}}`;
}

function body() {
  const text = by("push-body").value.trim() || "null";
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`The body is not JSON: ${error.message}`);
  }
  return text;
}

// Shows what the form says now. `page` calls it when there is another key.
export function preview() {
  const all = audience() === "all";
  by("push-name-row").hidden = all;
  by("push-name").required = !all;
  by("push-name-label").textContent = NAMES[audience()] ?? "";
  try {
    const topic = audience() === "topic" ? `,"topic":${JSON.stringify(by("push-name").value)}` : "";
    by("push-preview").textContent = visible(`{"path":${JSON.stringify(by("push-path").value)}${topic},"body":${body()}}`);
    const shown = key.get() ? ' -H "Authorization: Bearer $LONGWIRE_KEY"' : "";
    const url = new URL("v1/push", document.baseURI);
    by("push-curl").textContent = `curl ${url}${shown} -d '${visible(request()).replaceAll("'", "'\\''")}'`;
    by("push-wrong").textContent = "";
  } catch (error) {
    by("push-wrong").textContent = error.message;
  }
}

// One sentence on what the four numbers mean.
function meaning({ matched, queued, dropped, nodes }) {
  const missing = nodes.asked - nodes.answered;
  const unknown = missing > 0 ? ` ${plural(missing, "node")} did not answer in time.` : "";
  if (matched === 0) return missing > 0 ? `Nobody to get it on the nodes that answered.${unknown}` : "Nobody is there to get it.";
  if (dropped > 0) return `${plural(queued, "connection")} took it, ${dropped} could not: too much waits for them.${unknown}`;
  return `${plural(queued, "connection")} took it.${unknown}`;
}

function addResult(kind, title, detail) {
  const results = by("push-results");
  results.prepend(
    el("li", { class: kind }, el("time", {}, clock(Date.now())), el("b", {}, title), el("span", { class: "detail" }, detail)),
  );
  while (results.children.length > RESULTS_MAX) results.lastChild.remove();
}

async function send(event) {
  event.preventDefault();
  preview();
  if (by("push-wrong").textContent) return by("push-body").focus();
  const text = request();
  if (audience() === "all") {
    const open = by("tile-connections").textContent;
    const detail = `Everybody who is logged in gets it, on every node: ${open} connections on this one.`;
    if (!(await confirmed("Push to everybody?", detail, "Push to everybody"))) return;
  }
  by("push-send").disabled = true;
  try {
    const result = await askJson("v1/push", { method: "POST", body: text });
    const { matched, queued, dropped, nodes } = result;
    addResult(
      dropped > 0 ? "bad" : matched === 0 || nodes.answered < nodes.asked ? "none" : "good",
      meaning(result),
      `matched ${matched} · queued ${queued} · dropped ${dropped} · nodes ${nodes.answered} of ${nodes.asked}`,
    );
  } catch (error) {
    const refused = error.status >= 400 && error.status < 500;
    addResult("bad", refused ? "Refused: nothing was sent." : "It was not sent, or nobody knows.", error.message);
  }
  by("push-send").disabled = false;
}

// Fills in whom to push to, unless somebody has written there.
export function suggestUser(user) {
  if (by("push-name").value === "" && audience() === "user") by("push-name").value = user;
  preview();
}

by("push-form").addEventListener("input", preview);
by("push-form").addEventListener("submit", send);
by("push-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(by("push-curl").textContent);
    by("push-copy").textContent = "Copied";
  } catch {
    // No clipboard without TLS, but on this host: then the text is marked, for Ctrl-C.
    getSelection().selectAllChildren(by("push-curl"));
    by("push-copy").textContent = "Marked";
  }
  setTimeout(() => (by("push-copy").textContent = "Copy"), 2000);
});
preview();
