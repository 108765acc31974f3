// A real gateway for tests: it is started, killed, drained, paused, and started again where it was. Needs LONGWIRE_BIN.
// Used by client/test and by whatever else drives a node from JavaScript; standard library alone.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const PATIENCE_MS = 60_000;
const SECRET = "a secret of the JavaScript tests, longer than thirty-two bytes";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until `look` gives something; what it threw last is in the error.
export async function until(what, look, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  for (let why; ; await sleep(20)) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      why = error;
    }
    if (Date.now() > end) throw new Error(`${what} never came`, { cause: why });
  }
}

export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// An HS256 token that holds for `ttlS` seconds.
export function mintToken(user, { ttlS = 3_600, secret = SECRET, ...claims } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, iat: now, exp: now + ttlS, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export class Gateway {
  #process;
  #directory = mkdtempSync(join(tmpdir(), "longwire-client-"));
  #config = join(this.#directory, "longwire.toml");
  log = "";
  secret = SECRET; // with which it checks tokens from its next start on

  // `settings` become `--set` flags: { "timeouts.ping": "1s" }.
  static async start(settings = {}) {
    const bin = process.env.LONGWIRE_BIN;
    if (!bin) throw new Error("LONGWIRE_BIN must name the longwire to test: cargo build, then target/debug/longwire");
    const gateway = new Gateway();
    Object.assign(gateway, { bin, settings, port: await freePort(), apiPort: await freePort() });
    gateway.url = `ws://127.0.0.1:${gateway.port}/ws`;
    gateway.api = `http://127.0.0.1:${gateway.apiPort}`;
    await gateway.start();
    return gateway;
  }

  // Starts, or starts again at the same addresses.
  async start() {
    writeFileSync(
      this.#config,
      `[server]
listen = ["127.0.0.1:${this.port}"]
node = "client-test"
[auth]
default_topics = ["*"]
[[auth.keys]]
algorithm = "HS256"
secret = "${this.secret}"
[api]
listen = "127.0.0.1:${this.apiPort}"
`,
    );
    const flags = Object.entries(this.settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const child = spawn(this.bin, ["serve", "--config", this.#config, ...flags], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: process.env.PATH },
    });
    child.stderr.on("data", (data) => (this.log = (this.log + data).slice(-20_000)));
    child.ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
    child.once("exit", () => (child.over = true));
    this.#process = child;
    await until("a gateway that is ready", async () => {
      if (child.over) throw new Error(`the gateway ended:\n${this.log}`);
      return (await fetch(`${this.api}/readyz`)).ok;
    }).catch(async (error) => {
      await this.stop();
      throw error;
    });
  }

  get pid() {
    return this.#process.pid;
  }

  // SIGKILL; resolves once it is gone.
  async kill() {
    this.#process.kill("SIGKILL");
    return this.#process.ended;
  }

  // SIGTERM; resolves with the exit code, once everybody was sent away.
  async drain() {
    this.#process.kill("SIGTERM");
    return this.#process.ended;
  }

  pause() {
    this.#process.kill("SIGSTOP");
  }

  resume() {
    this.#process.kill("SIGCONT");
  }

  async stop() {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async call(method, path, body) {
    const response = await fetch(this.api + path, { method, body: body && JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (response.headers.get("content-type") ?? "").includes("json") ? response.json() : response.text();
  }

  push(to, path, body) {
    return this.call("POST", "/v1/push", { to, path, body });
  }

  // The user's connections, as the gateway sees them.
  async connections(user) {
    return (await this.call("GET", `/v1/users/${user}`)).connections;
  }

  // The value of a metric's line, such as `longwire_connections{state="open"}`.
  async metric(line) {
    const text = await this.call("GET", "/metrics");
    const found = text.split("\n").find((other) => other.startsWith(`${line} `));
    return found ? Number(found.slice(line.length)) : 0;
  }
}
