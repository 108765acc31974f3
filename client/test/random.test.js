// Whatever comes, in an order that nobody thought of: a client on fakes against a model of the gateway that refuses, falls
// silent and breaks, while the page does as it likes. Each world is made from its number, and so the same each time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeSocket, World, fakeToken } from "./support/fake.js";
import { URL_ } from "./support/login.js";
import { Longwire } from "../longwire.js";

const WORLDS = 1_500;
const NEXT = {
  idle: ["connecting", "closed"],
  connecting: ["open", "waiting", "closed"],
  open: ["waiting", "closed"],
  waiting: ["connecting", "closed"],
  closed: ["connecting"],
};
const CODES = [1001, 1006, 1009, 1012, 4401, 4403, 4408, 4410];

// `below(n)`: a whole number from 0 on; `oneIn(n)`: true once in n times.
function dice(seed) {
  let state = seed * 7_919 + 1;
  const below = (n) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % n;
  };
  for (let n = 0; n < 5; n++) below(2);
  return { below, oneIn: (n) => below(n) === 0 };
}

// The class of the sockets that lead to the gateway of this world. `it.calm`: it is well from now on.
function gateway(it, { below, oneIn }) {
  return class extends FakeSocket {
    topics = new Set();
    #inbox = [];
    #silent = false;

    constructor(...args) {
      super(...args);
      if (!it.calm && oneIn(8)) return; // nobody answers
      setTimeout(() => {
        if (this.readyState !== 0) return;
        if (!it.calm && oneIn(6)) this.end();
        else this.open();
      }, below(800));
    }

    send(text) {
      if (this.readyState !== 1) return;
      this.#inbox.push(JSON.parse(text));
      setTimeout(() => this.#answer(), below(it.calm ? 20 : 300));
    }

    close(code) {
      const seen = this.readyState === 0 ? 1006 : code;
      this.readyState = 2;
      setTimeout(() => this.readyState === 2 && this.end(seen), below(100));
    }

    #answer() {
      if (this.readyState !== 1 || !this.#inbox.length) return;
      const { path, id, token, body } = this.#inbox.shift();
      this.#silent ||= !it.calm && oneIn(12);
      if (this.#silent) return;
      const reply = (status, rest) => id && this.say({ path, id, status, ...rest });
      const refuse = (status, code) => reply(status, { error: { code, message: code } });
      if (path === "connect") {
        assert.ok(!it.refused.has(token), "a refused token is shown again");
        const fate = it.calm ? -1 : below(30);
        if (fate === 0) return it.refused.add(token), refuse(401, "token_expired");
        if (fate === 1) return refuse(429, "rate_limited");
        if (fate === 2) return refuse(503, "overloaded");
        if (fate === 3 && body?.topics?.length) return refuse(403, "topic_forbidden");
        for (const topic of body?.topics ?? []) this.topics.add(topic);
        const expires_at = oneIn(2) ? null : Math.floor(it.world.nowMs / 1000) + 20 + below(600);
        reply(200, { body: { user: "anna", connection: "c", node: "n", expires_at, ping_ms: 2_000 } });
        if (!it.calm && oneIn(10)) {
          this.readyState = 2; // it drains
          setTimeout(() => this.end(1012, `retry_ms=${below(3_000)}`), below(100));
        }
      } else if (path === "subscribe" || path === "unsubscribe") {
        if (!it.calm && oneIn(15)) return refuse(429, "rate_limited");
        for (const topic of body.topics) this.topics[path === "subscribe" ? "add" : "delete"](topic);
        reply(200, { body: { topics: [...this.topics] } });
      } else if (oneIn(3)) refuse(404, "no_handler");
      else reply(200, { body: 1 });
    }
  };
}

function token(it, { below, oneIn }) {
  const jwt = () => fakeToken({ n: ++it.tokens, iat: it.world.nowMs / 1000 });
  if (it.calm || !oneIn(4)) return jwt();
  return [
    () => Promise.reject(new Error("no route")),
    () => new Promise(() => {}),
    () => "<html>",
    () => new Promise((resolve) => setTimeout(() => resolve(jwt()), 700)),
  ][below(4)]();
}

// One thing that the page, the network or the machine does.
async function happen(it, wire, { below, oneIn }) {
  const { world } = it;
  const { socket } = world;
  const topic = `t${below(4)}`;
  const mayFail = (promise, ...codes) => {
    it.pending++;
    const refused = (error) => codes.length && assert.ok(codes.includes(error.code), error.stack);
    promise.then(() => {}, refused).catch((error) => it.faults.push(error)).finally(() => it.pending--);
  };
  switch (below(12)) {
    case 0:
      return mayFail(wire.subscribe(topic), "closed", "rate_limited", "topic_forbidden");
    case 1:
      return mayFail(wire.unsubscribe(topic), "rate_limited");
    case 2:
    case 3:
      return mayFail(wire.request("a", 1, { resend: oneIn(2), queue: !oneIn(3) }));
    case 4:
      return mayFail(Promise.resolve().then(() => wire.send("b")), "closed", "queue_full");
    case 5:
      if (socket && socket.readyState < 3) socket.end(CODES[below(CODES.length)], oneIn(2) ? `retry_ms=${below(5_000)}` : "");
      return;
    case 6:
      if (oneIn(4)) wire.close();
      return void wire.connect();
    case 7:
      return world.happens(oneIn(2) ? "online" : "visibilitychange");
    case 8:
      return world.sleep(below(3_600_000));
    case 9:
      if (oneIn(3)) world.skewMs += below(7_200_000) - 3_600_000;
      return;
    default:
      return world.pass(below(4_000));
  }
}

async function live(seed) {
  const random = dice(seed);
  const { below, oneIn } = random;
  const world = new World({ document: true });
  Math.random = () => below(1_000) / 1_000;
  const it = { world, calm: false, pending: 0, tokens: 0, refused: new Set(), faults: [] };
  const options = { queue: 5, timeout: 5_000, backoff: { base: 100, max: 1_000 } };
  const wire = new Longwire(URL_, { ...options, WebSocket: gateway(it, random), token: () => token(it, random) });
  try {
    wire.onState(({ state }) => {
      if (!it.calm && oneIn(60)) wire.close();
      if (!it.calm && state === "closed" && oneIn(2)) wire.connect();
    });
    let last = "idle";
    wire.onState(({ state }) => {
      if (!NEXT[last].includes(state)) it.faults.push(new Error(`${state} came after ${last}`));
      last = state;
    });
    wire.connect();
    for (let n = 10 + below(40); n > 0; n--) {
      await happen(it, wire, random);
      if (oneIn(3)) await world.pass(below(500));
    }

    it.calm = true;
    for (let n = 0; n < 100; n++) {
      if (wire.state === "closed") wire.connect();
      await world.pass(2_000);
    }
    assert.deepEqual([wire.state, it.pending], ["open", 0]);
    const open = world.sockets.filter(({ readyState }) => readyState === 1);
    assert.equal(open.length, 1, "one connection is open");
    assert.deepEqual([...open[0].topics].sort(), wire.topics.sort(), "the gateway has the topics that are wanted");

    wire.close();
    await world.pass(1_000);
    assert.deepEqual([world.timers, world.listeners, it.pending], [0, [], 0], "nothing is left");
    assert.deepEqual(it.faults, []);
  } catch (error) {
    throw new Error(`world ${seed}: ${error.message}`, { cause: error });
  } finally {
    world.end();
  }
}

test(`the client survives ${WORLDS} worlds, and says what is true in each`, async () => {
  for (let seed = 0; seed < WORLDS; seed++) await live(seed);
});
