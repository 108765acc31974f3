// Subscriptions: they outlive connections, and one that is refused harms no other.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { World } from "./support/fake.js";
import { accept, acceptLogin, makeClient, openClient, refuse } from "./support/login.js";

let world;
beforeEach(() => (world = new World()));
afterEach(() => world.end());

async function answer(status = 200) {
  const { socket } = world;
  const { id, path, body } = socket.sent.at(-1);
  socket.say({ id, path, status, body: { topics: body.topics } });
  await world.pass(0);
}

test("subscribe and unsubscribe ask the gateway, and the next login has what is wanted", async () => {
  const { wire, socket } = await openClient(world, { topics: ["a"] });
  const more = wire.subscribe(["b", "c", "a"]);
  assert.deepEqual(socket.sent.at(-1).body, { topics: ["b", "c"] });
  await answer();
  await more;
  const less = wire.unsubscribe("a");
  assert.deepEqual([socket.sent.at(-1).path, socket.sent.at(-1).body], ["unsubscribe", { topics: ["a"] }]);
  await answer();
  await less;
  const before = socket.sent.length;
  await wire.subscribe("b"); // is there
  await wire.unsubscribe("z"); // never was
  assert.equal(socket.sent.length, before);
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(next.sent[0].body.topics, ["b", "c"]);
  assert.deepEqual(wire.topics, ["b", "c"]);
  wire.close();
});

test("a topic that is refused is not wanted any more", async () => {
  const { wire } = await openClient(world);
  const refused = assert.rejects(wire.subscribe("secret"), { code: "topic_forbidden", status: 403 });
  await refuse(world, 403, "topic_forbidden");
  await refused;
  assert.deepEqual(wire.topics, []);
  wire.close();
});

test("subscribe without a connection waits for the next login, however long", async () => {
  const { wire } = makeClient(world);
  let done = false;
  const early = wire.subscribe("a").then(() => (done = true));
  await world.pass(3_600_000);
  assert.equal(done, false);
  wire.connect();
  await world.pass(0);
  const socket = await accept(world);
  assert.deepEqual(socket.sent[0].body.topics, ["a"]);
  await early;
  assert.equal(socket.sent.length, 1);
  wire.close();
});

test("a connection that is lost before the answer makes no difference", async () => {
  const { wire, socket } = await openClient(world, { topics: ["old"] });
  const more = wire.subscribe("new");
  const less = wire.unsubscribe("old");
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(next.sent[0].body.topics, ["new"]);
  for (const { id } of next.sent.slice(1)) next.say({ id, status: 200, body: { topics: ["new"] } });
  await Promise.all([more, less]);
  wire.close();
});

test("what changes while the login is under way is made good before it counts", async () => {
  const { wire } = makeClient(world, { topics: ["a"] });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  const more = wire.subscribe("b");
  await wire.unsubscribe("a");
  await acceptLogin(world);
  assert.equal(wire.state, "connecting");
  assert.deepEqual([world.socket.sent.at(-1).path, world.socket.sent.at(-1).body.topics], ["subscribe", ["b"]]);
  await answer();
  assert.deepEqual([world.socket.sent.at(-1).path, world.socket.sent.at(-1).body.topics], ["unsubscribe", ["a"]]);
  await answer();
  assert.equal(wire.state, "open");
  await more;
  wire.close();
});

// A gateway that answers each subscribe, until the client is open: 403 if `refuses` says so of one of the topics.
async function answerAll(wire, refuses) {
  let n = 0;
  for (; wire.state === "connecting" && n < 1_000; n++) {
    if (world.socket.sent.at(-1).body.topics.some(refuses)) await refuse(world, 403, "topic_forbidden");
    else await answer();
  }
  return n;
}

test("one topic that the token no longer covers costs that topic, not the login", async () => {
  const { wire, states } = makeClient(world, { topics: ["a", "secret", "b"] });
  const refused = assert.rejects(wire.subscribe("hidden"), { code: "topic_forbidden" });
  wire.connect();
  await world.pass(0);
  const { socket } = world;
  socket.open();
  await refuse(world, 403, "topic_forbidden");
  assert.deepEqual([socket.sent[1].path, socket.sent[1].body.topics], ["connect", []]);
  await acceptLogin(world);
  await answerAll(wire, (topic) => ["secret", "hidden"].includes(topic));
  assert.equal(wire.state, "open");
  assert.deepEqual(Object.keys(states.at(-1).refused), ["secret", "hidden"]);
  assert.equal(states.at(-1).refused.secret.code, "topic_forbidden");
  await refused;
  assert.deepEqual(wire.topics, ["a", "b"]);
  wire.close();
});

test("a forbidden topic among a thousand is found in halves", async () => {
  for (const place of [0, 499, 999]) {
    const topics = Array.from({ length: 1_000 }, (_, n) => `t${n}`);
    const { wire } = makeClient(world, { topics });
    wire.connect();
    await world.pass(0);
    world.socket.open();
    await refuse(world, 403, "topic_forbidden");
    await acceptLogin(world);
    const asked = await answerAll(wire, (topic) => topic === `t${place}`);
    assert.ok(asked <= 60, `${asked} messages`);
    assert.deepEqual(wire.topics, topics.filter((topic) => topic !== `t${place}`));
    wire.close();
  }
});

test("a rate limit while topics are restored is waited out, and no topic is given up", async () => {
  const { wire } = makeClient(world, { topics: ["a", "b"] });
  wire.connect();
  await world.pass(0);
  const { socket } = world;
  socket.open();
  await refuse(world, 403, "topic_forbidden");
  await acceptLogin(world);
  for (let n = 0; n < 20; n++) {
    const before = socket.sent.length;
    await refuse(world, 429, "rate_limited");
    await world.pass(1_000);
    assert.equal(socket.sent.length, before + 1); // still this socket, after more than an attempt's 15 s
    assert.deepEqual(socket.sent.at(-1).body.topics, ["a", "b"]);
  }
  await answer();
  assert.deepEqual([wire.state, wire.topics, world.sockets.length], ["open", ["a", "b"], 1]);
  wire.close();
});

test("a gateway that falls silent while topics are restored is left", async () => {
  const { wire, states } = makeClient(world, { topics: ["a"] });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  await refuse(world, 403, "topic_forbidden");
  await acceptLogin(world);
  await refuse(world, 429, "rate_limited");
  await world.pass(1_000);
  await world.pass(15_000);
  assert.equal(states.at(-1).reason, "no answer");
  wire.close();
});

test("whoever subscribes what is being subscribed waits for the same answer", async () => {
  const { wire, socket } = await openClient(world);
  const ends = [];
  for (let n = 0; n < 2; n++) wire.subscribe("secret").then(() => ends.push("there"), ({ code }) => ends.push(code));
  await world.pass(0);
  assert.deepEqual([ends, socket.sent.length], [[], 2]);
  await refuse(world, 403, "topic_forbidden");
  assert.deepEqual([ends, wire.topics], [["topic_forbidden", "topic_forbidden"], []]);
  const again = wire.subscribe("secret");
  await answer();
  await again;
  wire.close();
});

test("without a connection, a topic that is wanted already is waited for too", async () => {
  const { wire } = makeClient(world, { topics: ["secret"] });
  const refused = assert.rejects(wire.subscribe("secret"), { code: "topic_forbidden" });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  await refuse(world, 403, "topic_forbidden");
  await acceptLogin(world);
  await refuse(world, 403, "topic_forbidden");
  await refused;
  wire.close();
});

test("one topic may be given as it is", async () => {
  const { wire, socket } = await openClient(world, { topics: "room.42" });
  assert.deepEqual(socket.sent[0].body.topics, ["room.42"]);
  wire.close();
});

test("a topic whose end the gateway refuses is as it was, and may be ended again", async () => {
  const { wire, socket } = await openClient(world, { topics: ["a"] });
  const refused = assert.rejects(wire.unsubscribe("a"), { code: "rate_limited" });
  await refuse(world, 429, "rate_limited");
  await refused;
  assert.deepEqual(wire.topics, ["a"]);
  const gone = wire.unsubscribe("a");
  socket.say({ id: socket.sent.at(-1).id, status: 200, body: { topics: [] } });
  await gone;
  assert.deepEqual(wire.topics, []);
  wire.close();
});

test("a refusal does not undo what was asked after it", async () => {
  const { wire, socket } = await openClient(world, { topics: ["b"] });
  const answer = (n, status) => {
    const { id, path } = socket.sent.at(n);
    socket.say({ id, path, status, ...(status === 200 ? { body: {} } : { error: { code: "rate_limited", message: "wait" } }) });
  };
  const outcomes = Promise.allSettled([
    wire.subscribe("a"),
    wire.unsubscribe("a"),
    wire.subscribe("a"),
    wire.unsubscribe("b"),
    wire.subscribe("b"),
    wire.unsubscribe("b"),
  ]);
  for (const [n, status] of [[-6, 429], [-5, 200], [-4, 200], [-3, 429], [-2, 200], [-1, 200]]) answer(n, status);
  const ok = (await outcomes).map(({ status }) => status === "fulfilled");
  assert.deepEqual(ok, [false, true, true, false, true, true]);
  assert.deepEqual(wire.topics, ["a"]); // as the gateway has it
  wire.close();
});

test("close() ends a subscription as well as its end would have", async () => {
  const { wire } = await openClient(world, { topics: ["a"] });
  const gone = wire.unsubscribe("a");
  wire.close();
  await gone;
});

test("what is subscribed while the socket closes goes with the next login, whatever may be queued", async () => {
  const { wire, socket } = await openClient(world, { queue: 0 });
  socket.readyState = 2;
  const more = wire.subscribe("a");
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(next.sent[0].body.topics, ["a"]);
  assert.equal(next.sent.length, 1);
  await more;
  wire.close();
});

test("close() ends the wait of a subscription, and of one that comes after it", async () => {
  const { wire } = makeClient(world);
  const early = wire.subscribe("a");
  wire.connect();
  await world.pass(0);
  wire.close();
  await assert.rejects(early, { code: "closed" });
  await assert.rejects(wire.subscribe("b"), { code: "closed" });
  await wire.unsubscribe("a");
  assert.deepEqual(wire.topics, []);
});
