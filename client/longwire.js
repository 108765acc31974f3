// longwire's client for browsers and Node: one connection to a gateway, kept up through everything that can heal.
// It owns the token, the login, the waits between attempts, the subscriptions and the requests under way. It stores
// nothing and draws nothing. What it may rely on stands in docs/protocol.md, the states in docs/clients.md; the types
// and what each method promises in longwire.d.ts.

const TICK_MS = 1_000; // how often the clock is looked at, for silence, expiry and sleep
const GAP_MS = 6_000; // a tick this late: the machine slept
const ATTEMPT_MS = 15_000; // an attempt may take this long from the socket's opening to the login
const TOKEN_MS = 30_000; // and token() this long
const PONG_MS = 10_000; // silence after a ping that means a dead connection
const WAKE_PONG_MS = 5_000; // the same after sleep, when it probably is dead
const PROVED_MS = 10_000; // a connection that held this long sets the back-off to its beginning
const TOLD_MAX_MS = 1_200_000; // the longest retry_ms that is believed; a node of a million gives out up to 1,000 s

const COME_BACK = [4401, 4408, 4410, 4413, 4429]; // of the codes from 3000 on, those that can heal
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
  it.promise.catch(() => {}); // nobody has to wait for it
  return it;
}

// A handler's error is the page's, not the connection's.
function call(fn, ...values) {
  try {
    fn(...values);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

function add(set, item) {
  set.add(item);
  return () => set.delete(item);
}

function issuedAt(jwt) {
  try {
    return JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).iat;
  } catch {
    // Whether it is a token is the gateway's to say.
  }
}

export class Longwire {
  #url;
  #options;
  #state = "idle";
  #session = null;
  #link = null; // the attempt or connection under way: its socket, and by id who waits for a reply on it
  #ready = deferred(); // the next login
  #handlers = new Set();
  #watchers = new Set();
  #topics; // those wanted
  #queue = []; // what waits for the next login
  #lastId = 0;
  #failures = 0; // losses since a connection last proved itself
  #token = null;
  #tokenAt = 0;
  #renewAt = Infinity;
  #endsAt = Infinity;
  #why = "first"; // why the next token is asked for
  #tick;
  #tickedAt = 0;
  #retry;
  #retryAt = 0;
  #told = false; // whether the gateway chose #retryAt
  #end; // why it is closed

  constructor(url, options = {}) {
    this.#options = { topics: [], timeout: 15_000, queue: 64, WebSocket: globalThis.WebSocket, ...options };
    this.#options.backoff = { base: 1_000, max: 30_000, ...options.backoff };
    if (typeof options.token !== "function") throw new TypeError("token must be a function that fetches a JWT");
    if (!this.#options.WebSocket)
      throw new TypeError('there is no WebSocket here: pass { WebSocket }, for example from the package "ws"');
    this.#url = url;
    this.#topics = new Set(this.#options.topics);
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

  request(path, body, { timeout = this.#options.timeout, resend = false, queue = true } = {}) {
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
      this.#submit(entry, queue);
      if (!(timeout < 2 ** 31)) return; // runtimes take more than that for 0
      entry.timer = setTimeout(() => {
        this.#queue = this.#queue.filter((other) => other !== entry);
        this.#link?.waiting.delete(id);
        fail("timeout", `no reply to ${path} within ${timeout} ms; it may have been handled all the same`);
      }, timeout);
    });
  }

  async subscribe(topics) {
    if (this.#state === "closed") throw this.#closed();
    const added = [topics].flat().filter((topic) => !this.#topics.has(topic));
    for (const topic of added) this.#topics.add(topic);
    await this.#tell("subscribe", added);
  }

  async unsubscribe(topics) {
    const gone = [topics].flat().filter((topic) => this.#topics.delete(topic));
    if (this.#state === "open") await this.#tell("unsubscribe", gone);
  }

  // No time-out and no queue: what is wanted goes with the next login, whenever that is.
  async #tell(path, topics) {
    if (!topics.length) return;
    if (this.#state === "open") {
      try {
        await this.request(path, { topics }, { timeout: Infinity, queue: false });
        return;
      } catch (error) {
        if (error.status && path === "subscribe") for (const topic of topics) this.#topics.delete(topic);
        if (error.code !== "connection_lost" && error.code !== "offline") throw error;
        if (path === "unsubscribe") return; // the next connection has none but those wanted
      }
    }
    const { refused } = await this.#ready.promise;
    for (const topic of topics) if (refused[topic]) throw refused[topic];
  }

  #submit(entry, queue) {
    const fail = (code, message) => {
      throw new LongwireError(code, message, { path: entry.path });
    };
    if (!PATH.test(entry.path)) fail("bad_path", "a path is segments of A-Z a-z 0-9 _ - joined by /, 256 bytes at most");
    if (this.#state === "closed") throw this.#closed();
    // A socket that is closing takes what it is given and loses it.
    if (this.#state === "open" && this.#link.socket.readyState === 1) return this.#transmit(entry);
    if (!queue || !this.#options.queue) fail("offline", "there is no connection, and it may not wait for one");
    if (this.#queue.length >= this.#options.queue) fail("queue_full", "too much waits for a connection already");
    this.#queue.push(entry);
  }

  #transmit(entry) {
    if (entry.id) this.#link.waiting.set(entry.id, entry);
    this.#link.socket.send(entry.text);
  }

  // The gateway's whole reply. If the link ends first there is none, and who waits is forgotten with the link.
  #ask(link, path, body, token) {
    const id = ++this.#lastId;
    return new Promise((done) => {
      link.waiting.set(id, { done });
      link.socket.send(JSON.stringify({ path, id, token, body }));
    });
  }

  #enter(state, detail) {
    this.#state = state;
    for (const { fn } of [...this.#watchers]) call(fn, { state, ...detail });
  }

  // -- from nothing to logged in ---------------------------------------------------------------------

  async #open() {
    const link = (this.#link = { waiting: new Map(), topics: new Set(), silentMs: 0 });
    this.#enter("connecting");
    // The token first: the gateway's clock runs from the accept.
    if (this.#token && Date.now() < this.#renewAt) link.old = true;
    else await this.#fetch(link);
    if (link !== this.#link) return;
    let socket;
    try {
      socket = link.socket = new this.#options.WebSocket(this.#url, "longwire.v1");
    } catch (error) {
      return this.#finish({ reason: error.message }); // a URL that is none, or one that this page must not open
    }
    this.#arm(link);
    socket.onopen = () => link === this.#link && this.#login(link);
    socket.onmessage = ({ data }) => link === this.#link && this.#receive(link, data);
    socket.onclose = ({ code, reason }) => this.#lost(link, { code, reason });
    socket.onerror = () => {}; // a close follows
  }

  #arm(link) {
    clearTimeout(link.timer);
    link.timer = setTimeout(() => this.#lost(link, { code: 1006, reason: "no answer" }), ATTEMPT_MS);
  }

  // A new token. Without one it returns false, and an attempt is over; an open connection goes on with the old one.
  async #fetch(link) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("token() takes too long")), TOKEN_MS);
    });
    try {
      const token = await Promise.race([this.#options.token(this.#why), late]);
      if (link !== this.#link) return false;
      if (!token) return this.#finish({ reason: "no_token" });
      link.old = false;
      this.#token = token;
      this.#tokenAt = Date.now();
      this.#renewAt = Infinity;
      return true;
    } catch (error) {
      if (this.#state !== "open") this.#lost(link, { reason: `no token: ${error?.message ?? error}` });
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  async #login(link) {
    const refused = {};
    for (let topics = this.topics; ; ) {
      this.#arm(link);
      const body = { device: this.#options.device, topics };
      const reply = await this.#ask(link, "connect", body, this.#token);
      const why = { status: reply.status, reason: reply.error?.code };
      if (why.status === 200) {
        link.topics = new Set(topics);
        return (await this.#settle(link, refused)) && this.#opened(link, { ...reply.body, refused });
      }
      if (why.reason === "token_not_yet_valid" && this.#failures < 5) {
        return this.#lost(link, why); // the issuer's clock is ahead
      } else if (why.status === 401 && link.old) {
        clearTimeout(link.timer);
        this.#why = "refused";
        if (!(await this.#fetch(link))) return;
      } else if (topics.length && (why.status === 400 || why.status === 403)) {
        topics = []; // one topic that is refused must not keep the others away
      } else if (why.status === 429 || why.status >= 500) {
        return this.#lost(link, why);
      } else {
        this.#token = null;
        return this.#finish(why.status === 409 ? { code: 4409, ...why } : why);
      }
    }
  }

  // Until the connection has the topics that are wanted by now, one by one. Those that are refused are given up.
  async #settle(link, refused) {
    for (;;) {
      const missing = this.topics.find((topic) => !link.topics.has(topic));
      const topic = missing ?? [...link.topics].find((topic) => !this.#topics.has(topic));
      if (topic === undefined) return true;
      const path = missing ? "subscribe" : "unsubscribe";
      const { status, error } = await this.#ask(link, path, { topics: [topic] });
      if (status === 429 || status >= 500) return this.#lost(link, { status, reason: error.code });
      if (status !== 200) {
        this.#topics.delete(topic);
        refused[topic] = new LongwireError(error.code, error.message, { path, status });
      } else if (missing) link.topics.add(topic);
      else link.topics.delete(topic);
    }
  }

  #opened(link, session) {
    clearTimeout(link.timer);
    link.pingMs = session.ping_ms;
    link.since = Date.now();
    link.old = true;
    this.#plan(session.expires_at);
    this.#session = session;
    this.#state = "open";
    for (const entry of this.#queue.splice(0)) this.#transmit(entry);
    this.#ready.resolve(session);
    this.#enter("open", session);
  }

  // -- tokens ----------------------------------------------------------------------------------------

  // Renews after four fifths of what is left. This machine's clock may be wrong: if by it the token, which was just
  // taken, is over, or has more left than it ever had, its life is counted from when it came. And whatever the clock
  // says, there is no more than a renewal in 15 s, or in a quarter of a shorter life.
  #plan(expiresAt) {
    this.#why = "expiring";
    const now = Date.now();
    const wholeMs = (expiresAt - issuedAt(this.#token)) * 1000;
    const lifeMs = expiresAt !== null && wholeMs > 0 ? wholeMs : Infinity;
    let leftMs = expiresAt === null ? Infinity : expiresAt * 1000 - now;
    if (leftMs <= 0 || leftMs > lifeMs) leftMs = lifeMs - (now - this.#tokenAt);
    this.#endsAt = now + leftMs;
    this.#renewAt = now + Math.max(leftMs * 0.8, Math.min(lifeMs, 60_000) / 4);
  }

  async #renew(link) {
    this.#renewAt = Infinity;
    if (await this.#fetch(link)) {
      const { status, body, error } = await this.#ask(link, "connect", undefined, this.#token);
      if (status === 200) return this.#plan(body.expires_at);
      if (status === 403) return this.#finish({ status, reason: error.code }); // a token of another user
    }
    // The old one still holds for a while.
    const now = Date.now();
    if (link === this.#link) this.#renewAt = now + Math.max(5_000, (this.#endsAt - now) / 2);
  }

  // -- while it holds --------------------------------------------------------------------------------

  #receive(link, data) {
    link.silentMs = 0;
    clearTimeout(link.probe);
    link.probe = 0;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // a service pushed what is no JSON
    }
    if (message?.status) {
      const entry = link.waiting.get(message.id);
      link.waiting.delete(message.id);
      entry?.done(message);
    } else if (typeof message?.path === "string") {
      for (const { pattern, fn } of [...this.#handlers]) {
        const all = pattern.endsWith("*") && message.path.startsWith(pattern.slice(0, -1));
        if (all || pattern === message.path) call(fn, message.body, message);
      }
    }
  }

  #look() {
    const now = Date.now();
    const elapsedMs = now - this.#tickedAt;
    this.#tickedAt = now;
    // Browsers slow the timers of hidden pages down: there, late says nothing.
    if (elapsedMs > GAP_MS && globalThis.document?.visibilityState !== "hidden") return this.#wake();
    const link = this.#link;
    if (this.#state !== "open") return;
    if (now - link.since >= PROVED_MS) this.#failures = 0;
    link.silentMs += elapsedMs;
    if (link.silentMs >= link.pingMs) this.#probe(link, PONG_MS);
    if (now >= this.#renewAt) this.#renew(link);
  }

  // Scripts see no WebSocket pings: this asks for a sign of life.
  #probe(link, patienceMs) {
    if (link.probe) return;
    link.probe = setTimeout(() => this.#lost(link, { code: 1006, reason: "no sign of life" }), patienceMs);
    this.#ask(link, "ping");
  }

  // The network is back, the page is looked at, the machine woke. Ends a wait that was the client's own choice; the
  // moment that the gateway chose for this client stands.
  #wake = () => {
    if (this.#state === "open") this.#probe(this.#link, WAKE_PONG_MS);
    if (this.#state === "waiting") this.#wait(this.#told ? this.#retryAt - Date.now() : 0);
  };

  #shown = () => globalThis.document.visibilityState === "visible" && this.#wake();

  // -- ends ------------------------------------------------------------------------------------------

  #wait(waitMs) {
    clearTimeout(this.#retry);
    if (waitMs <= 0) return this.#open();
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
    this.#drop("connection_lost", `the connection was lost: ${reason || code}`);
    const { base, max } = this.#options.backoff;
    const ownMs = Math.random() * Math.min(max, base * 2 ** this.#failures);
    const told = /^retry_ms=(\d+)$/.exec(reason);
    // Told again before the last connection proved itself: the back-off holds too.
    const toldMs = told && (told[1] <= TOLD_MAX_MS ? +told[1] : Math.random() * TOLD_MAX_MS);
    const waitMs = told ? Math.max(toldMs, this.#failures && ownMs) : ownMs;
    this.#told = !!told;
    this.#failures++;
    this.#retryAt = Date.now() + waitMs;
    this.#enter("waiting", { ...why, waitMs });
    if (this.#state === "waiting") this.#wait(waitMs); // a watcher may have closed it
  }

  #finish(why) {
    this.#end = why.reason || why.code;
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

  // Ends the link. Requests on it fail, but for those that may be sent again: they go first when there is another.
  #drop(code, message) {
    const link = this.#link;
    if (this.#session) this.#ready = deferred();
    this.#session = this.#link = null;
    if (!link) return;
    clearTimeout(link.timer);
    clearTimeout(link.probe);
    link.socket?.close(1000);
    const waiting = [...link.waiting.values()];
    for (const entry of waiting) if (!entry.resend) entry.fail?.(code, message);
    this.#queue.unshift(...waiting.filter((entry) => entry.resend));
  }

  #closed() {
    return new LongwireError("closed", `the client is closed: ${this.#end}`);
  }
}
