// longwire's client for browsers and Node: one connection that stays up; owns token, login, waits and topics. Pages and
// programs import it; what is published is this file minified (`npm run build`).
// What it promises: longwire.d.ts; its states: docs/clients.md.

const TICK_MS = 1_000;
const GAP_MS = 6_000; // a tick this late: the machine slept
const ATTEMPT_MS = 15_000; // from the socket to the login
const TOKEN_MS = 30_000;
const FRESH_MS = 5_000; // the machine may sleep on the way to the login
const PONG_MS = 10_000;
const WAKE_PONG_MS = 5_000; // after sleep
const PROVED_MS = 10_000; // held this long, it resets the back-off
const TOLD_MAX_MS = 1_200_000; // a million clients are given up to 1,000 s

const PAUSE_MS = 1_000; // after "rate_limited" while topics are restored

const OWN_FAULT = [1002, 1003, 1007, 1008, 1009]; // something sent was wrong: not once more
const COME_BACK = [4401, 4408, 4410, 4413, 4429]; // of the codes from 3000 on
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const PATH = /^(?=.{1,256}$)[\w-]+(\/[\w-]+)*$/;

export class LongwireError extends Error {
  constructor(code, message, details) {
    super(message);
    this.name = "LongwireError";
    this.code = code;
    Object.assign(this, details);
  }
}

function deferred() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  it.promise.catch(() => {});
  return it;
}

// What a handler throws is the page's.
function call(fn, ...values) {
  try {
    fn(...values);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

// An option that is undefined is none.
function given(options = {}) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function add(set, item) {
  set.add(item);
  return () => set.delete(item);
}

function issuedAt(jwt) {
  try {
    return JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).iat;
  } catch {}
}

export class Longwire {
  #url;
  #options;
  #state = "idle";
  #session = null;
  #link = null; // the attempt or connection
  #ready = deferred();
  #handlers = new Set();
  #watchers = new Set();
  #events = []; // not told to all watchers yet
  #topics; // wanted
  #asking = new Map(); // topic to its latest change that is not answered
  #queue = [];
  #lastId = 0;
  #failures = 0; // since a connection proved itself
  #token = null;
  #tokenAt = 0;
  #renewAt = Infinity;
  #endsAt = Infinity;
  #why = "first";
  #tick;
  #tickedAt = 0;
  #retry;
  #retryAt = 0;
  #told = 0; // of the wait, if the gateway chose it
  #end;

  constructor(url, options = {}) {
    this.#options = { topics: [], timeout: 15_000, queue: 64, WebSocket: globalThis.WebSocket, ...given(options) };
    this.#options.backoff = { base: 1_000, max: 30_000, ...given(options.backoff) };
    if (typeof options.token !== "function") throw new TypeError("token must be a function that fetches a JWT");
    if (!this.#options.WebSocket)
      throw new TypeError('pass { WebSocket }, from "ws" for example: there is none here');
    if (new TextEncoder().encode(options.device).length > 64)
      throw new TypeError("device must be a string of 64 bytes at most");
    this.#url = url;
    const { topics } = this.#options;
    this.#topics = new Set(typeof topics === "string" ? [topics] : topics);
  }

  get state() {
    return this.#state;
  }

  get session() {
    return this.#session;
  }

  get topics() {
    return [...this.#topics];
  }

  connect() {
    if (this.#state === "waiting") this.#wake();
    if (this.#state === "idle" || this.#state === "closed") {
      if (this.#state === "closed") this.#ready = deferred();
      this.#tickedAt = Date.now();
      this.#tick = setInterval(() => this.#look(), TICK_MS);
      globalThis.addEventListener?.("online", this.#wake);
      globalThis.document?.addEventListener("visibilitychange", this.#shown);
      this.#open();
    }
    return this.#ready.promise;
  }

  close() {
    if (this.#state !== "closed") this.#finish({ code: 1000, reason: "client" });
  }

  on(pattern, fn) {
    return add(this.#handlers, { pattern, fn });
  }

  onState(fn) {
    return add(this.#watchers, { fn });
  }

  send(path, body, { queue = true } = {}) {
    this.#submit({ path, text: JSON.stringify({ path, body }) }, queue);
  }

  // `now` is for #tell alone.
  request(path, body, { timeout = this.#options.timeout, resend = false, queue = true, now } = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const fail = (code, message, details) => {
        clearTimeout(entry.timer);
        reject(new LongwireError(code, message, { path, ...details }));
      };
      const done = ({ status, body, error }) => {
        if (status >= 400)
          return fail(error?.code ?? "refused", error?.message ?? `${path}: status ${status}`, { status, body });
        clearTimeout(entry.timer);
        resolve(body);
      };
      const entry = { id, path, resend, done, fail, text: JSON.stringify({ path, id, body }) };
      this.#submit(entry, queue, now);
      if (!(timeout < 2 ** 31)) return;
      entry.timer = setTimeout(() => {
        this.#queue = this.#queue.filter((other) => other !== entry);
        this.#link?.waiting.delete(id);
        fail("timeout", `no reply to ${path} within ${timeout} ms`);
      }, timeout);
    });
  }

  async subscribe(topics) {
    if (this.#state === "closed") throw this.#closed();
    const all = [topics].flat();
    const added = this.#state === "open" ? all.filter((topic) => !this.#topics.has(topic)) : all;
    for (const topic of added) this.#topics.add(topic);
    this.#change("subscribe", added);
    await Promise.all(all.map((topic) => this.#asking.get(topic)?.answer));
  }

  async unsubscribe(topics) {
    const gone = [topics].flat().filter((topic) => this.#topics.delete(topic));
    if (this.#state === "open") await this.#change("unsubscribe", gone);
  }

  #change(path, topics) {
    const ask = { path, topics };
    for (const topic of topics) this.#asking.set(topic, ask);
    ask.answer = this.#tell(ask).finally(() => {
      for (const topic of topics) if (this.#asking.get(topic) === ask) this.#asking.delete(topic);
    });
    return ask.answer;
  }

  async #tell(ask) {
    const { path, topics } = ask;
    if (!topics.length) return;
    if (this.#state !== "open") {
      const { refused } = await this.#ready.promise; // what is wanted goes with the login
      for (const topic of topics) if (refused[topic]) throw refused[topic];
      return;
    }
    const wanted = path === "subscribe";
    try {
      await this.request(path, { topics }, { timeout: Infinity, now: true }); // on a closing socket it is lost, and told so
    } catch (error) {
      if (error.status) {
        // What was asked later stands.
        const latest = topics.filter((topic) => this.#asking.get(topic) === ask);
        for (const topic of latest) this.#topics[wanted ? "delete" : "add"](topic);
      } else if (!wanted) return; // a connection's end is the end of what it had subscribed
      else if (error.code === "connection_lost") return this.#tell(ask);
      throw error;
    }
  }

  // A closing socket loses what it is given.
  get #up() {
    return this.#state === "open" && this.#link.socket.readyState === 1;
  }

  #submit(entry, queue, now = this.#up) {
    const { path } = entry;
    const fail = (code, message) => {
      throw new LongwireError(code, message, { path });
    };
    if (typeof path !== "string" || !PATH.test(path))
      fail("bad_path", "segments of A-Z a-z 0-9 _ - joined by /, 256 bytes at most");
    if (this.#state === "closed") throw this.#closed();
    if (now) return this.#transmit(entry);
    if (!queue || !this.#options.queue) fail("offline", "there is no connection");
    if (this.#queue.length >= this.#options.queue) fail("queue_full", "too much waits already");
    this.#queue.push(entry);
  }

  #transmit(entry) {
    if (entry.id) this.#link.waiting.set(entry.id, entry);
    this.#link.socket.send(entry.text);
  }

  // The whole reply; never, if the link ends first.
  #ask(link, path, body, token) {
    const id = ++this.#lastId;
    return new Promise((done) => {
      link.waiting.set(id, { done });
      link.socket.send(JSON.stringify({ path, id, token, body }));
    });
  }

  #enter(state, detail) {
    this.#state = state;
    // One that comes out of a watcher waits until all have heard of the one before.
    if (this.#events.push({ state, ...detail }) > 1) return;
    for (; this.#events.length; this.#events.shift())
      for (const { fn } of [...this.#watchers]) call(fn, this.#events[0]);
  }

  async #open() {
    const link = (this.#link = { waiting: new Map(), topics: new Set(), early: [], silentMs: 0 });
    this.#enter("connecting");
    if (link !== this.#link) return;
    // Token first: the gateway's clock runs from accept.
    if (this.#token && Date.now() < this.#renewAt) link.old = true;
    else await this.#fetch(link);
    if (link !== this.#link) return;
    try {
      const socket = (link.socket = new this.#options.WebSocket(this.#url, "longwire.v1"));
      socket.onopen = () => link === this.#link && this.#login(link);
      socket.onmessage = ({ data }) => link === this.#link && this.#receive(link, data);
      socket.onclose = ({ code, reason }) => this.#lost(link, { code, reason });
      socket.onerror = () => {};
      this.#arm(link);
    } catch (error) {
      this.#finish({ reason: error.message });
    }
  }

  #arm(link) {
    clearTimeout(link.timer);
    link.timer = setTimeout(() => this.#lost(link, { code: 1006, reason: "no answer" }), ATTEMPT_MS);
  }

  // Without a token an attempt is over, an open connection is not.
  async #fetch(link) {
    const late = new Promise((_, reject) => {
      link.timer = setTimeout(() => reject(new Error("token() takes too long")), TOKEN_MS);
    });
    try {
      const found = await Promise.race([this.#options.token(this.#why), late]);
      const token = typeof found === "string" ? found.trim() : found;
      if (link !== this.#link) return false;
      if (!token) return this.#finish({ reason: "no_token" });
      if (!JWT.test(token)) throw new Error("token() gave something that is no JWT");
      link.old = this.#why === "first"; // the page may have kept it
      this.#token = token;
      this.#tokenAt = Date.now();
      this.#renewAt = Infinity;
      return true;
    } catch (error) {
      if (this.#state !== "open") this.#lost(link, { reason: `no token: ${error?.message ?? error}` });
      return false;
    } finally {
      clearTimeout(link.timer);
    }
  }

  async #login(link) {
    const refused = { __proto__: null };
    for (let topics = this.topics; ; ) {
      this.#arm(link);
      const body = { device: this.#options.device, topics };
      const reply = await this.#ask(link, "connect", body, this.#token);
      const why = { status: reply.status, reason: reply.error?.code };
      if (why.status === 200) {
        link.topics = new Set(topics);
        return (await this.#settle(link, refused)) && this.#opened(link, { ...reply.body, refused });
      }
      const later = why.status === 429 || why.status >= 500;
      if (later || (why.reason === "token_not_yet_valid" && this.#failures < 5)) {
        return this.#lost(link, why);
      } else if (why.status === 401 && !link.again && (link.old || Date.now() - this.#tokenAt > FRESH_MS)) {
        link.again = true;
        clearTimeout(link.timer);
        this.#token = null;
        this.#why = "refused";
        if (!(await this.#fetch(link))) return;
      } else if (topics.length && (why.status === 400 || why.status === 403)) {
        topics = []; // a refused one must not keep the others away
      } else {
        if (why.status === 401) this.#why = "refused";
        return this.#finish(why.status === 409 ? { code: 4409, ...why } : why);
      }
    }
  }

  // Makes the connection's topics those wanted by now, or gives up those refused: what is refused is asked in halves.
  async #settle(link, refused) {
    for (let size = Infinity; ; ) {
      const missing = this.topics.filter((topic) => !link.topics.has(topic));
      const gone = [...link.topics].filter((topic) => !this.#topics.has(topic));
      const [path, change, all] = missing.length ? ["subscribe", "add", missing] : ["unsubscribe", "delete", gone];
      const topics = all.slice(0, size);
      if (!topics.length) return true;
      this.#arm(link);
      const { status, error } = await this.#ask(link, path, { topics });
      if (status >= 500) return this.#lost(link, { status, reason: error.code });
      if (status === 429) {
        clearTimeout(link.timer);
        await new Promise((resolve) => (link.timer = setTimeout(resolve, PAUSE_MS)));
      } else if (status === 200) {
        for (const topic of topics) link.topics[change](topic);
        size *= 2;
      } else if (topics.length > 1) {
        size = topics.length >> 1;
      } else {
        const [topic] = topics;
        this.#topics.delete(topic);
        link.topics.delete(topic);
        refused[topic] = new LongwireError(error.code, error.message, { path, status });
      }
    }
  }

  #opened(link, session) {
    clearTimeout(link.timer);
    link.pingMs = session.ping_ms;
    link.heldMs = Math.min(0, this.#tickedAt - Date.now()); // the next tick brings what was before
    this.#plan(session.expires_at);
    this.#session = session;
    this.#state = "open";
    if (this.#up) for (const entry of this.#queue.splice(0)) this.#transmit(entry);
    this.#ready.resolve(session);
    this.#enter("open", session);
    for (const message of link.early.splice(0)) if (link === this.#link) this.#push(message);
  }

  // Renews at 4/5, and two ticks before the end at the latest. If by this clock the token is over, or has more left than it ever had, the clock is wrong: its life
  // counts from when it came. And no wrong clock renews twice in 15 s or 1/4 life.
  #plan(expiresAt) {
    this.#why = "expiring";
    const now = Date.now();
    const wholeMs = (expiresAt - issuedAt(this.#token)) * 1000;
    const lifeMs = expiresAt !== null && wholeMs > 0 ? wholeMs : Infinity;
    let leftMs = expiresAt === null ? Infinity : expiresAt * 1000 - now;
    if (leftMs <= 0 || leftMs > lifeMs) leftMs = lifeMs - (now - this.#tokenAt);
    this.#endsAt = now + leftMs;
    this.#renewAt = now + Math.max(Math.min(leftMs * 0.8, leftMs - 2 * TICK_MS), Math.min(lifeMs, 60_000) / 4);
  }

  async #renew(link) {
    this.#renewAt = Infinity;
    if (await this.#fetch(link)) {
      const { status, body, error } = await this.#ask(link, "connect", undefined, this.#token);
      if (status === 200) return this.#plan(body.expires_at);
      if (status === 403) return this.#finish({ status, reason: error.code }); // a token of another user
      if (status === 401) this.#token = null;
    }
    const now = Date.now();
    if (link === this.#link) this.#renewAt = now + Math.max(5_000, (this.#endsAt - now) / 2);
  }

  #receive(link, data) {
    link.silentMs = 0;
    clearTimeout(link.probe);
    link.probe = 0;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.status) {
      const entry = link.waiting.get(message.id);
      link.waiting.delete(message.id);
      entry?.done(message);
    } else if (typeof message?.path === "string") {
      if (this.#state === "open" && !link.early.length) this.#push(message);
      else link.early.push(message); // pages hear "open" first
    }
  }

  #push(message) {
    for (const { pattern, fn } of [...this.#handlers]) {
      const all = pattern.endsWith("*") && message.path.startsWith(pattern.slice(0, -1));
      if (all || pattern === message.path) call(fn, message.body, message);
    }
  }

  #look() {
    const now = Date.now();
    const elapsedMs = now - this.#tickedAt;
    this.#tickedAt = now;
    if (elapsedMs < 0) {
      // The clock was set back. What is due is due as soon as before.
      this.#renewAt += elapsedMs;
      this.#endsAt += elapsedMs;
    }
    // Hidden pages' timers are late anyway.
    if (elapsedMs > GAP_MS && globalThis.document?.visibilityState !== "hidden") return this.#wake();
    const link = this.#link;
    if (this.#state !== "open") return;
    link.heldMs += Math.max(0, elapsedMs);
    link.silentMs += Math.max(0, elapsedMs);
    if (link.heldMs >= PROVED_MS) this.#failures = 0;
    if (link.silentMs >= link.pingMs) this.#probe(link, PONG_MS);
    if (now >= this.#renewAt) this.#renew(link);
  }

  #probe(link, patienceMs) {
    if (link.probe) return;
    link.probe = setTimeout(() => this.#lost(link, { code: 1006, reason: "no sign of life" }), patienceMs);
    this.#ask(link, "ping");
  }

  // Network, page or machine is back. A wait that the gateway chose stands.
  #wake = () => {
    if (this.#state === "open") this.#probe(this.#link, WAKE_PONG_MS);
    if (this.#state === "waiting") this.#wait(Math.min(this.#told, this.#retryAt - Date.now()));
  };

  #shown = () => globalThis.document.visibilityState === "visible" && this.#wake();

  #wait(waitMs) {
    clearTimeout(this.#retry);
    this.#retryAt = Date.now() + waitMs;
    this.#retry = setTimeout(() => this.#open(), waitMs);
  }

  #lost(link, why) {
    if (link !== this.#link) return;
    const { code, reason } = why;
    if (code === 1000 || (code >= 3000 && !COME_BACK.includes(code))) return this.#finish(why);
    if (code === 4401 || code === 4410) {
      this.#token = null;
      this.#why = code === 4401 ? "refused" : "expiring";
    }
    this.#drop("connection_lost", `the connection was lost: ${reason || code}`, OWN_FAULT.includes(code));
    const { base, max } = this.#options.backoff;
    const ownMs = Math.random() * Math.min(max, base * 2 ** this.#failures);
    const told = /^retry_ms=(\d+)$/.exec(reason);
    // Told by an unproved connection: back-off too.
    const toldMs = told && (told[1] <= TOLD_MAX_MS ? +told[1] : Math.random() * TOLD_MAX_MS);
    const waitMs = told ? Math.max(toldMs, this.#failures && ownMs) : ownMs;
    this.#told = told ? waitMs : 0;
    this.#failures++;
    this.#wait(waitMs);
    this.#enter("waiting", { ...why, waitMs });
  }

  #finish(why) {
    this.#end = why.reason || why.code;
    this.#token = null; // whoever connects anew may be another user
    if (this.#why !== "refused") this.#why = "first";
    const error = this.#closed();
    this.#drop("closed", error.message);
    for (const entry of this.#queue.splice(0)) entry.fail?.("closed", error.message);
    clearTimeout(this.#retry);
    clearInterval(this.#tick);
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#shown);
    this.#ready.reject(error);
    this.#enter("closed", why);
  }

  #drop(code, message, ownFault) {
    const link = this.#link;
    if (this.#session) this.#ready = deferred();
    this.#session = this.#link = null;
    if (!link) return;
    clearTimeout(link.timer);
    clearTimeout(link.probe);
    link.socket?.close(1000);
    const room = ownFault ? 0 : this.#options.queue - this.#queue.length;
    const again = [...link.waiting.values()].filter((entry) => entry.resend).slice(0, Math.max(0, room));
    for (const entry of link.waiting.values()) if (!again.includes(entry)) entry.fail?.(code, message);
    this.#queue.unshift(...again);
  }

  #closed() {
    return new LongwireError("closed", `the client is closed: ${this.#end}`);
  }
}
