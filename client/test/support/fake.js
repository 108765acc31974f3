// A world for unit tests: a clock that moves when told, sockets whose other end is the test, a die that is known.
// Used by the *.test.js beside it; every test makes a World and ends it with `end()`, which puts the real things back.

const REAL = { setTimeout, clearTimeout, setInterval, clearInterval, random: Math.random, now: Date.now };
const turn = () => new Promise((resolve) => setImmediate(resolve));

export class FakeSocket {
  static all = [];
  static answersPings;
  readyState = 0;
  sent = [];

  constructor(url, protocol) {
    if (url === "nonsense") throw new SyntaxError("the URL is invalid");
    Object.assign(this, { url, protocol });
    FakeSocket.all.push(this);
  }

  send(text) {
    const message = JSON.parse(text);
    if (message.path !== "ping" || !FakeSocket.answersPings) return void this.sent.push(message);
    queueMicrotask(() => this.say({ id: message.id, path: "ping", status: 200, body: {} }));
  }

  close(code) {
    this.readyState = 2;
    this.closedWith = code;
  }

  // What the gateway does.
  open() {
    this.readyState = 1;
    this.onopen({});
  }

  say(message) {
    this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

export class World {
  nowMs = 1_800_000_000_000;
  #timers = new Map();
  #lastTimer = 0;
  #listeners = new Map();

  constructor({ document = false, answersPings = true } = {}) {
    Object.assign(FakeSocket, { all: [], answersPings });
    const file = (fn, ms = 0, everyMs) => {
      this.#timers.set(++this.#lastTimer, { fn, atMs: this.nowMs + ms, everyMs });
      return this.#lastTimer;
    };
    const cancel = (id) => this.#timers.delete(id);
    globalThis.setTimeout = (fn, ms) => file(fn, ms);
    globalThis.setInterval = (fn, ms) => file(fn, ms, ms);
    globalThis.clearTimeout = globalThis.clearInterval = cancel;
    Date.now = () => this.nowMs + this.skewMs;
    Math.random = () => this.die;
    globalThis.addEventListener = (name, fn) => this.#listeners.set(name, fn);
    globalThis.removeEventListener = (name) => this.#listeners.delete(name);
    if (document) {
      const { addEventListener, removeEventListener } = globalThis;
      globalThis.document = { visibilityState: "visible", addEventListener, removeEventListener };
    }
  }

  skewMs = 0; // how wrong the machine's clock is
  die = 0.5;

  get timers() {
    return this.#timers.size;
  }

  get listeners() {
    return [...this.#listeners.keys()];
  }

  get socket() {
    return FakeSocket.all.at(-1);
  }

  get sockets() {
    return FakeSocket.all;
  }

  happens(name) {
    this.#listeners.get(name)?.();
  }

  // Time passes, timer by timer.
  async pass(ms) {
    const endMs = this.nowMs + ms;
    await turn();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.atMs <= endMs).sort(([, a], [, b]) => a.atMs - b.atMs);
      if (!due.length) break;
      const [id, timer] = due[0];
      this.nowMs = Math.max(this.nowMs, timer.atMs);
      if (timer.everyMs) timer.atMs = this.nowMs + timer.everyMs;
      else this.#timers.delete(id);
      timer.fn();
      await turn();
    }
    this.nowMs = endMs;
  }

  // The machine sleeps: the clock goes on, and no timer with it.
  async sleep(ms) {
    for (const timer of this.#timers.values()) timer.atMs += ms;
    this.nowMs += ms;
    await turn();
  }

  end() {
    const { random, now, ...timers } = REAL;
    Object.assign(globalThis, timers);
    Math.random = random;
    Date.now = now;
    for (const name of ["addEventListener", "removeEventListener", "document"]) delete globalThis[name];
  }
}

// A token like those of a backend, unsigned: fakes do not check.
export function fakeToken(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part(claims)}.c2ln`;
}
