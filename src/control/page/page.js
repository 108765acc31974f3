// The live page: reads this node's figures from its API, and is a WebSocket client for trying things out.
"use strict";

const by = (id) => document.getElementById(id);
const { websocket, token } = document.body.dataset;
let key = "";

// -- figures ---------------------------------------------------------------------------------------

const FIGURES = [
  ["Connections", "longwire_connections", { state: "open" }],
  ["Not logged in yet", "longwire_connections", { state: "unauthenticated" }],
  ["Users", "longwire_users"],
  ["Messages received", "longwire_messages_received_total"],
  ["Pushes", "longwire_pushes_total"],
  ["Deliveries written", "longwire_deliveries_total", { outcome: "written" }],
  ["Deliveries dropped", "longwire_deliveries_total", { outcome: "dropped" }],
  ["Bytes queued", "longwire_outbound_bytes"],
];

// The sum of a metric's samples that have these labels.
function sum(text, name, labels = {}) {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return text
    .split("\n")
    .filter((line) => line.startsWith(name) && (line[name.length] === "{" || line[name.length] === " "))
    .filter((line) => wanted.every((label) => line.includes(label)))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

async function ask(path) {
  const response = await fetch(path, key ? { headers: { Authorization: `Bearer ${key}` } } : {});
  if (response.status === 401) throw new Error("key");
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

async function refresh() {
  try {
    const { nodes } = await (await ask("/v1/cluster")).json();
    const text = await (await ask("/metrics")).text();
    by("key-form").hidden = true;
    by("node").textContent = nodes
      .map((node) => `${node.name} · ${node.version} · ${node.state} · since ${new Date(node.since_ms).toLocaleString()}`)
      .join(" | ");
    by("figures").replaceChildren(
      ...FIGURES.flatMap(([title, name, labels]) => {
        const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
        dt.textContent = title;
        dd.textContent = sum(text, name, labels).toLocaleString();
        return [dt, dd];
      }),
    );
  } catch (error) {
    by("key-form").hidden = error.message !== "key";
    by("node").textContent = error.message === "key" ? "a key is needed for the figures" : "the node does not answer";
  }
  setTimeout(refresh, 2000);
}

by("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = by("key").value;
});

// -- client ----------------------------------------------------------------------------------------

const LINES_MAX = 200;
let socket = null;
let lastId = 0;

function log(mark, text, kind = "") {
  const line = document.createElement("li");
  line.dataset.mark = mark;
  line.className = kind;
  line.textContent = text;
  by("log").prepend(line);
  while (by("log").children.length > LINES_MAX) by("log").lastChild.remove();
}

function send(message) {
  const text = JSON.stringify(message);
  socket.send(text);
  log("→", message.token ? text.replace(message.token, "…") : text);
}

function show(text) {
  let message = null;
  try {
    message = JSON.parse(text);
  } catch {
    // Services push what they like; it is shown as it came.
  }
  log("←", text, message && "status" in message ? "" : "push");
}

by("connect-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) return socket.close(1000);
  try {
    socket = new WebSocket(by("url").value, "longwire.v1");
  } catch (error) {
    return log("×", error.message, "end");
  }
  by("connect").textContent = "Disconnect";
  socket.onopen = () => {
    by("send").disabled = false;
    send({ path: "connect", id: ++lastId, token: by("token").value.trim() });
  };
  socket.onmessage = (event) => show(event.data);
  socket.onclose = ({ code, reason }) => {
    log("×", `closed: ${code} ${reason}`, "end");
    by("connect").textContent = "Connect";
    by("send").disabled = true;
    socket = null;
  };
});

by("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  let body;
  try {
    body = JSON.parse(by("body").value || "null");
  } catch (error) {
    return log("×", `the body is not JSON: ${error.message}`, "end");
  }
  send({ path: by("path").value, id: ++lastId, body });
});

by("url").value = websocket || `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
by("token").value = token;
refresh();
