// A real longwire for the tests and for the screenshot, on ports of its own, and clients that are no browser: tokens, the
// API, and a WebSocket that does not read. LONGWIRE_BIN says which binary.

import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BIN = process.env.LONGWIRE_BIN ?? new URL("../../target/debug/longwire", import.meta.url).pathname;
export const SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef";
export const PATIENCE_MS = 30_000;

// Waits until `get` returns something that is not false; its last words where it does not.
export async function until(what, get) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await get();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}

// Starts a node. `settings` are lines of TOML before the first table; null: no configuration at all. `listen` and `api`
// are the addresses, by default on free ports.
export async function start({ settings = "", listen = "127.0.0.1:0", api = "127.0.0.1:0" } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "longwire-browser-"));
  const args = ["--set", `server.listen=${listen}`, "--set", `api.listen=${api}`];
  if (settings !== null) {
    const keys = `[[auth.keys]]\nid = "k"\nalgorithm = "HS256"\nsecret = "${SECRET}"\n`;
    writeFileSync(join(dir, "longwire.toml"), `server.node = "n1"\n${settings}\n${keys}`);
    args.push("--config", join(dir, "longwire.toml"));
  }
  // An environment of its own: LONGWIRE_… variables are settings.
  const child = spawn(BIN, args, { stdio: ["ignore", "pipe", "pipe"], env: {} });
  let said = "";
  child.stdout.on("data", (text) => (said += text));
  child.stderr.on("data", (text) => (said += text));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(dir, { recursive: true, force: true });
  };
  const address = (kind) => new RegExp(`${kind} listening.*address=.*?(127\\.[\\d.]+:\\d+)`).exec(said)?.[1];
  try {
    await until(`the node to listen:\n${said}`, () => {
      // Colours are for a terminal, and there is none; nothing to strip.
      if (child.exitCode !== null) throw new Error(`${BIN} ended: ${said}`);
      return said.includes("serving") && address("websocket") && address("api");
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    page: `http://${address("api")}/`,
    ws: `ws://${address("websocket")}/ws`,
    listen: address("websocket"),
    api: address("api"),
    pid: child.pid,
    stop,
  };
}

// A token of this user, good for an hour, for a node with a configuration.
export function token(user, claims = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp, topics: ["*"], ...claims })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

// Asks a node's API.
export async function ask(node, path, { key, ...options } = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return (await fetch(new URL(path, node.page), { headers, ...options })).json();
}

export const push = (node, to, path = "p", body = null) =>
  ask(node, "v1/push", { method: "POST", body: JSON.stringify({ to, path, body }) });

// A client that is logged in. It reads what comes and forgets it; or, `deaf`, reads nothing after its login; or waits
// `pause_ms` after each read, of 64 KiB at the most.
export async function client(node, user, { deaf = false, pause_ms = 0, device } = {}) {
  const [host, port] = node.listen.split(":");
  const socket = connect({ host, port: Number(port) });
  const key = randomBytes(16).toString("base64");
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: ${node.listen}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  socket.write(text(JSON.stringify({ path: "connect", id: 1, token: token(user), body: device ? { device } : {} })));
  let heard = "";
  socket.on("error", () => {});
  const login = new Promise((resolve, reject) => {
    socket.on("close", () => reject(new Error(`${user} was not logged in: ${heard}`)));
    socket.on("data", (bytes) => {
      if (heard.includes('"status":200')) {
        if (pause_ms > 0) {
          socket.pause();
          setTimeout(() => socket.resume(), pause_ms).unref();
        }
        return;
      }
      heard += bytes;
      if (!heard.includes('"status":200')) return;
      if (deaf) socket.pause();
      resolve();
    });
  });
  login.catch(() => {});
  await login;
  return { end: () => socket.destroy(), ended: () => socket.destroyed };
}

// A masked text frame (RFC 6455 section 5.2), up to 64 KiB.
function text(payload) {
  const bytes = Buffer.from(payload);
  const mask = randomBytes(4);
  const head = bytes.length < 126 ? [0x81, 0x80 | bytes.length] : [0x81, 0xfe, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from(head), mask, bytes.map((byte, at) => byte ^ mask[at % 4])]);
}
