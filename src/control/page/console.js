// A client of this node, by hand: opens a WebSocket, logs in with a token, sends messages, and lists what comes and goes.
// It needs no key of the API. Follows docs/protocol.md.

import { by, el, name } from "./dom.js";
import { clock, duration } from "./format.js";
import { suggestUser } from "./push.js";

const LINES_MAX = 300;
const { websocket, token } = document.body.dataset;

// What a close code asks of a client, in a few words.
const CLOSES = {
  1000: "as you wished",
  1001: "no sign of life",
  1002: "a frame was malformed",
  1003: "binary messages are not taken",
  1006: "no close frame: nobody listens there, this page's origin is not allowed, or the network broke",
  1007: "not UTF-8",
  1008: "too many messages that were none",
  1009: "the message was too big",
  1011: "a fault of the gateway",
  1012: "the node is draining: come back after the time it says",
  1013: "the node is overloaded: come back later",
  4401: "the token was refused three times",
  4403: "kicked by an operator or a service",
  4408: "no valid connect in time",
  4409: "the session policy let another one in, or not this one",
  4410: "the token expired",
  4413: "too slow: more waited for it than may",
  4429: "too many messages",
};

let socket = null;
let last_id = 0;

function log(kind, mark, text, note = "") {
  const frame = by("log");
  const lines = frame.firstElementChild;
  const at_end = frame.scrollHeight - frame.scrollTop - frame.clientHeight < 40;
  lines.append(
    el(
      "li",
      { class: kind },
      el("time", {}, clock(Date.now())),
      el("span", { class: "mark" }, mark),
      el("span", { class: "text" }, text),
      note ? el("span", { class: "note" }, note) : null,
    ),
  );
  while (lines.children.length > LINES_MAX) lines.firstChild.remove();
  if (at_end) frame.scrollTop = frame.scrollHeight;
  by("log-empty").hidden = true;
}

function setState(kind, ...content) {
  by("client-state").className = `badge ${kind}`;
  by("client-state").replaceChildren(...content);
  by("connect").textContent = socket ? "Disconnect" : "Connect";
  by("send").disabled = kind !== "good" && kind !== "warn";
}

// `body` is JSON text and goes as it was written; "" for none.
function send(path, body, secret = "") {
  const facts = [`"path":${JSON.stringify(path)}`, `"id":${++last_id}`];
  if (secret) facts.push(`"token":${JSON.stringify(secret)}`);
  if (body) facts.push(`"body":${body}`);
  const text = `{${facts.join(",")}}`;
  socket.send(text);
  log("sent", "→", secret ? text.replace(secret, "…") : text);
}

function hear(text) {
  let message = null;
  try {
    message = JSON.parse(text);
  } catch {
    // Services push what they like; it is shown as it came.
  }
  const reply = message !== null && typeof message === "object" && "status" in message;
  if (!reply) return log("push", "←", text, "push");
  log(message.status === 200 ? "reply" : "refused", "←", text, `${message.status}`);
  if (message.path === "connect" && message.status === 200) {
    setState("good", "connected as ", name(message.body.user));
    suggestUser(message.body.user);
  }
}

function connect() {
  const secret = by("token").value.trim();
  try {
    socket = new WebSocket(by("url").value, "longwire.v1");
  } catch (error) {
    return log("end", "×", error.message);
  }
  setState("", "connecting …");
  socket.onopen = () => {
    setState("warn", "not logged in");
    const device = by("device").value;
    send("connect", device ? JSON.stringify({ device }) : "", secret);
  };
  socket.onmessage = (event) => hear(event.data);
  socket.onclose = ({ code, reason }) => {
    socket = null;
    setState("", "not connected");
    log("end", "×", `closed ${code}${reason ? ` ${reason}` : ""}`, CLOSES[code] ?? "");
  };
}

by("connect-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) socket.close(1000);
  else connect();
});

by("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket?.readyState !== WebSocket.OPEN) return;
  const text = by("body").value.trim();
  try {
    if (text) JSON.parse(text);
  } catch (error) {
    return log("end", "×", `The body is not JSON: ${error.message}`);
  }
  send(by("path").value, text);
});

for (const button of document.querySelectorAll("button[data-path]")) {
  button.addEventListener("click", () => {
    by("path").value = button.dataset.path;
    by("body").value = button.dataset.body;
    by("body").focus();
  });
}

by("log-clear").addEventListener("click", () => {
  by("log").firstElementChild.replaceChildren();
  by("log-empty").hidden = false;
});

// Whose token it is and how long it lasts, read from the token itself and not checked: that is the node's to do.
function describeToken() {
  const text = by("token").value.trim();
  let says = [];
  if (text) {
    try {
      const bytes = atob(text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
      const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
      const left_ms = claims.exp * 1000 - Date.now();
      const until = claims.exp === undefined ? "without an end" : left_ms > 0 ? `${duration(left_ms)} left` : "expired";
      says = claims.sub === undefined ? ["no sub"] : ["user ", name(`${claims.sub}`)];
      says.push(`, ${until}`);
      if (typeof claims.sub === "string") suggestUser(claims.sub);
    } catch {
      says = ["this is no JWT"];
    }
  }
  by("token-says").replaceChildren(...says);
  by("token-help").hidden = text !== "";
}

by("token").addEventListener("input", describeToken);
// Where this node takes clients, seen from this browser: as the node says, but where the page came over TLS from the
// same proxy, and where it came from another host not that one's loopback address.
function websocketUrl() {
  if (location.protocol === "https:") return `wss://${location.host}/ws`;
  if (!websocket) return `ws://${location.host}/ws`;
  const url = new URL(websocket);
  const loopback = /^(localhost|127\..*|\[::1\])$/;
  if (loopback.test(url.hostname) && !loopback.test(location.hostname)) url.hostname = location.hostname;
  return url.href;
}

by("url").value = websocketUrl();
by("token").value = token;
describeToken();
setState("", "not connected");
