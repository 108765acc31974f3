// The client in Node on a real gateway that is killed, drained, paused, that kicks, and whose tokens run out. Needs
// LONGWIRE_BIN and `npm ci`.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { Longwire } from "../longwire.js";
import { Gateway, mintToken, until } from "./support/gateway.js";
import { storm } from "./storm.js";

let gateway;
before(async () => {
  gateway = await Gateway.start({ "timeouts.ping": "1s", "timeouts.drain": "1s", "sessions.one_per_device": "true" });
});
after(() => gateway?.stop());

// A client whose states, tokens asked for and pushes are kept, and which ends with its test.
function client(t, user, options = {}) {
  const seen = { states: [], asked: [], pushes: [] };
  const wire = new Longwire(gateway.url, {
    token: (why) => (seen.asked.push(why), mintToken(user)),
    WebSocket,
    backoff: { base: 200, max: 1_000 },
    ...options,
  });
  wire.onState((event) => seen.states.push(event));
  wire.on("*", (body, push) => seen.pushes.push(push));
  t.after(() => wire.close());
  return Object.assign(seen, { wire });
}

const again = (seen, n = 2) =>
  until(`login ${n}`, () => seen.states.filter(({ state }) => state === "open").length >= n && seen.wire.state === "open");

async function proveWithPush(seen, user, topic) {
  const count = seen.pushes.length;
  assert.equal((await gateway.push(topic ? { topic } : { user }, "hello", count)).matched, 1);
  await until("the push", () => seen.pushes.length > count);
  assert.equal(seen.pushes.at(-1).body, count);
}

test("it logs in, gets pushes, asks, and is told what is wrong", async (t) => {
  const seen = client(t, "anna", { device: "phone", topics: ["room.1"] });
  const session = await seen.wire.connect();
  assert.equal(session.user, "anna");
  await proveWithPush(seen, "anna");
  await proveWithPush(seen, "anna", "room.1");
  await seen.wire.subscribe("room.2");
  await proveWithPush(seen, "anna", "room.2");
  await seen.wire.unsubscribe("room.1");
  assert.equal((await gateway.push({ topic: "room.1" }, "x")).matched, 0);
  assert.deepEqual(await seen.wire.request("ping"), {});
  await assert.rejects(seen.wire.request("order/create"), { code: "no_handler", status: 404 });
  await assert.rejects(seen.wire.subscribe("no topic"), { code: "bad_message", status: 400 });
  assert.deepEqual(seen.wire.topics, ["room.2"]);
  seen.wire.close();
  await until("the end at the gateway", async () => (await gateway.connections("anna")).length === 0);
});

test("a gateway that is killed and started again has its client back, topics and all", async (t) => {
  const seen = client(t, "bert", { topics: ["room.1"] });
  await seen.wire.connect();
  await seen.wire.subscribe("room.9");
  await gateway.kill();
  await until("the loss", () => seen.wire.state !== "open");
  assert.equal(seen.states.find(({ state }) => state === "waiting").code, 1006);
  const queued = seen.wire.request("ping");
  await gateway.start();
  await again(seen);
  assert.deepEqual(await queued, {});
  await proveWithPush(seen, "bert", "room.9");
  assert.deepEqual(seen.asked, ["first"]);
});

test("a gateway that drains is left when it says, and come back to", async (t) => {
  const seen = client(t, "carl");
  await seen.wire.connect();
  assert.equal(await gateway.drain(), 0);
  await until("the close", () => seen.states.some(({ state }) => state === "waiting"));
  const { code, reason, waitMs } = seen.states.find(({ state }) => state === "waiting");
  assert.deepEqual([code, reason], [1012, `retry_ms=${waitMs}`]);
  await gateway.start();
  await again(seen);
  await proveWithPush(seen, "carl");
});

test("a gateway that is stalled is given up, and come back to when it runs again", async (t) => {
  const seen = client(t, "dora");
  await seen.wire.connect();
  gateway.pause();
  t.after(() => gateway.resume());
  await until("the loss", () => seen.states.some(({ state }) => state === "waiting"));
  assert.equal(seen.states.find(({ state }) => state === "waiting").reason, "no sign of life");
  gateway.resume();
  await again(seen);
  await proveWithPush(seen, "dora");
});

test("a token that runs out is renewed on the connection, again and again", async (t) => {
  const asked = [];
  const seen = client(t, "emma", { token: (why) => (asked.push(why), mintToken("emma", { ttlS: 3 })) });
  await seen.wire.connect();
  await until("three renewals", () => asked.length >= 4);
  assert.deepEqual(asked.slice(0, 4), ["first", "expiring", "expiring", "expiring"]);
  assert.equal(seen.states.length, 2);
  await proveWithPush(seen, "emma");
});

test("a token that cannot be renewed ends the connection, and a fresh one brings it back", async (t) => {
  await gateway.stop();
  gateway = await Gateway.start({ "timeouts.ping": "1s", "auth.leeway": "0s", "sessions.one_per_device": "true", "timeouts.drain": "1s" });
  let n = 0;
  const token = () => {
    if (++n === 2) throw new Error("backend is down");
    return mintToken("fred", { ttlS: n === 1 ? 2 : 3_600 });
  };
  const seen = client(t, "fred", { token });
  await seen.wire.connect();
  await again(seen);
  const { code, reason } = seen.states.find(({ state }) => state === "waiting");
  assert.deepEqual([code, reason], [4410, "token_expired"]);
});

test("a fresh token that the gateway refuses is final", async (t) => {
  const seen = client(t, "gina", { token: () => mintToken("gina", { secret: "of somebody else altogether, and long enough" }) });
  await assert.rejects(seen.wire.connect(), { code: "closed", message: /token_invalid/ });
  assert.deepEqual(seen.states.at(-1), { state: "closed", status: 401, reason: "token_invalid" });
});

test("an old token that the gateway refuses is followed by a fresh one", async (t) => {
  const seen = client(t, "hans", { token: (why) => (seen.asked.push(why), mintToken("hans", { secret: gateway.secret })) });
  await seen.wire.connect();
  await gateway.kill();
  const { secret } = gateway;
  t.after(async () => {
    gateway.secret = secret;
    await gateway.kill();
    await gateway.start();
  });
  gateway.secret = "another secret, since the old one has become known";
  await gateway.start();
  await again(seen);
  assert.deepEqual(seen.asked, ["first", "refused"]);
});

test("one who is kicked stays away", async (t) => {
  const seen = client(t, "ida");
  await seen.wire.connect();
  const pending = seen.wire.subscribe("later");
  await pending;
  assert.deepEqual(await gateway.call("DELETE", "/v1/users/ida"), { closed: 1 });
  await until("the end", () => seen.wire.state === "closed");
  assert.deepEqual(seen.states.at(-1), { state: "closed", code: 4403, reason: "kicked" });
  await seen.wire.connect(); // unless the page says so
  assert.equal(seen.wire.state, "open");
});

test("of two clients of one device the first stays away", async (t) => {
  const [first, second] = [client(t, "jane", { device: "phone" }), client(t, "jane", { device: "phone" })];
  await first.wire.connect();
  await second.wire.connect();
  await until("the end", () => first.wire.state === "closed");
  assert.deepEqual(first.states.at(-1), { state: "closed", code: 4409, reason: "session_policy" });
  await proveWithPush(second, "jane");
});

test("topics that a token does not cover are named, and the others are there", async (t) => {
  const token = () => mintToken("kurt", { topics: ["room.*"] });
  const seen = client(t, "kurt", { token, topics: ["room.1", "secret.1", "room.2"] });
  const session = await seen.wire.connect();
  assert.deepEqual(Object.keys(session.refused), ["secret.1"]);
  assert.equal(session.refused["secret.1"].code, "topic_forbidden");
  await proveWithPush(seen, "kurt", "room.2");
});

test("a crowd loses its node and is back, every one of it", async () => {
  const { histogram, back } = await storm({ clients: 60, how: "kill", downMs: 1_000, say: () => {} });
  assert.equal(back, 60);
  assert.equal(histogram.reduce((sum, n) => sum + n, 0), 60);
});
